//! Orders that we put on a POS, version 2 (`protocol.md` 3.1 and 3.2).

use hyper::Method;
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

use super::client::{Call, Client};
use super::error::ApiError;
use super::metrics::Name;
use super::wire::{self, Object};
use crate::config::Secret;
use crate::domain::extras::Iva;
use crate::domain::id::{ExternalPosId, ExternalStoreId, Reference, Timestamp};
use crate::domain::money::Money;
use crate::domain::order::{Item, Items, UnitMeasure};

/// An order to be put on a POS.
#[derive(Debug, Clone)]
pub struct NewInstoreOrder<'a> {
    pub external_reference: &'a Reference,
    pub title: &'a str,
    pub description: &'a str,
    pub notification_url: Option<&'a str>,
    /// Always sent: how long an order lives by itself is not documented.
    pub expires_at: Timestamp,
    pub items: &'a Items,
    pub sponsor_id: Option<u64>,
    pub taxes: Option<Iva>,
}

/// What is on a POS. It says nothing of payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstoreOrder {
    pub external_reference: Option<String>,
    pub total_amount: Option<Decimal>,
}

#[derive(Serialize)]
struct Body<'a> {
    external_reference: &'a str,
    title: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification_url: Option<&'a str>,
    #[serde(serialize_with = "with_offset")]
    expiration_date: Timestamp,
    #[serde(serialize_with = "wire::number")]
    total_amount: Money,
    items: Vec<ItemBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sponsor: Option<Sponsor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    taxes: Option<[Tax; 1]>,
}

#[derive(Serialize)]
struct ItemBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sku_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    title: &'a str,
    description: &'a str,
    #[serde(serialize_with = "wire::number")]
    unit_price: Money,
    quantity: u32,
    unit_measure: &'static str,
    #[serde(serialize_with = "wire::number")]
    total_amount: Money,
}

#[derive(Serialize)]
struct Tax {
    #[serde(serialize_with = "wire::number")]
    value: Money,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
pub(super) struct Sponsor {
    pub(super) id: u64,
}

/// `2026-08-22T16:34:56.559+00:00`: the documents show milliseconds and an offset, never a `Z`.
fn with_offset<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    let time = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::MAX);
    to.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S.%3f+00:00"))
}

fn item(item: &Item) -> ItemBody<'_> {
    ItemBody {
        sku_number: item.sku_number.as_ref().map(|sku| sku.as_str()),
        category: item.category.as_ref().map(|category| category.as_str()),
        title: item.title.as_str(),
        description: item.description.as_str(),
        unit_price: item.unit_price,
        quantity: item.quantity.get(),
        unit_measure: item.unit_measure.unwrap_or(UnitMeasure::Unit).as_str(),
        total_amount: total(item),
    }
}

/// Items were summed when they were made, so the total of one is an amount too.
pub(super) fn total(item: &Item) -> Money {
    item.total()
        .expect("an item's total is part of a sum that is an amount")
}

impl NewInstoreOrder<'_> {
    fn body(&self) -> Body<'_> {
        Body {
            external_reference: self.external_reference.as_str(),
            title: self.title,
            description: self.description,
            notification_url: self.notification_url,
            expiration_date: self.expires_at,
            total_amount: self.items.total(),
            items: self.items.iter().map(item).collect(),
            sponsor: self.sponsor_id.map(|id| Sponsor { id }),
            taxes: self.taxes.map(|iva| {
                [Tax {
                    value: iva.value(),
                    kind: "IVA",
                }]
            }),
        }
    }
}

impl InstoreOrder {
    fn read(object: &Object<'_>) -> InstoreOrder {
        InstoreOrder {
            external_reference: object.text("external_reference"),
            total_amount: object.amount("total_amount"),
        }
    }

    /// An array is documented, which may be empty; an object is taken too.
    fn read_any(bytes: &[u8]) -> Result<Option<InstoreOrder>, ApiError> {
        let body = wire::body(bytes)?;
        let object = match body.elements() {
            Ok(elements) => elements.first().map(|order| order.object()).transpose()?,
            Err(_) => Some(body.object()?),
        };
        Ok(object.as_ref().map(InstoreOrder::read))
    }
}

impl Client {
    /// Puts the order on the POS, in place of one that may be there. It is asked for once: by the time of another try it may
    /// have been paid, and must not be put there again.
    pub async fn put_order(
        &self,
        token: &Secret,
        collector: u64,
        store: &ExternalStoreId,
        pos: &ExternalPosId,
        order: &NewInstoreOrder<'_>,
    ) -> Result<(), ApiError> {
        let path = format!("/instore/qr/seller/collectors/{collector}/stores/{store}/pos/{pos}/orders");
        let call = Call::new(Name::OrderPut, Method::PUT, path, token);
        self.ask(call.with(wire::write(&order.body())).once().pressing(), wire::nothing)
            .await
    }

    /// The order on the POS, if there is one.
    pub async fn order(
        &self,
        token: &Secret,
        collector: u64,
        pos: &ExternalPosId,
    ) -> Result<Option<InstoreOrder>, ApiError> {
        let call = Call::new(Name::OrderGet, Method::GET, on_pos(collector, pos), token);
        match self.ask(call, InstoreOrder::read_any).await {
            Err(ApiError::NotFound(_)) => Ok(None),
            result => result,
        }
    }

    /// Takes the order off the POS; whether there was one.
    pub async fn delete_order(&self, token: &Secret, collector: u64, pos: &ExternalPosId) -> Result<bool, ApiError> {
        let call = Call::new(Name::OrderDelete, Method::DELETE, on_pos(collector, pos), token).pressing();
        match self.ask(call, wire::nothing).await {
            Err(ApiError::NotFound(_)) => Ok(false),
            result => result.map(|()| true),
        }
    }
}

fn on_pos(collector: u64, pos: &ExternalPosId) -> String {
    format!("/instore/qr/seller/collectors/{collector}/pos/{pos}/orders")
}

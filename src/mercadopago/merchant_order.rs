//! Merchant orders (`protocol.md` 5.1 to 5.3): one for each scan, so a reference may have many.

use std::collections::BTreeMap;

use hyper::Method;
use rust_decimal::Decimal;

use super::client::{Call, Client};
use super::error::ApiError;
use super::metrics::Name;
use super::payment::PaymentStatus;
use super::wire::{self, Object, words};
use crate::config::Secret;
use crate::domain::id::{Reference, Timestamp};
use crate::limits;

words!(
    /// Only `Closed` says something of payment; `Opened` says nothing.
    MerchantOrderStatus {
        Opened = "opened",
        Closed = "closed",
        Expired = "expired",
    }
);

/// Everything but the id may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerchantOrder {
    pub id: u64,
    pub status: MerchantOrderStatus,
    pub external_reference: Option<String>,
    pub collector_id: Option<u64>,
    pub payments: Vec<PaymentOfOrder>,
    /// Of its items, each once.
    pub currencies: Vec<String>,
    pub total_amount: Option<Decimal>,
}

/// A payment as its merchant order tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentOfOrder {
    pub id: Option<u64>,
    pub status: PaymentStatus,
    pub status_detail: Option<String>,
    /// The price, without the payer's costs. `None` if it is missing or no number.
    pub transaction_amount: Option<Decimal>,
    /// Zero if it is missing; `None` if it is there and no number.
    pub refunded_amount: Option<Decimal>,
    pub currency_id: Option<String>,
    pub date_approved: Option<Timestamp>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerchantOrders {
    /// Each once, in the order of their ids.
    pub orders: Vec<MerchantOrder>,
    /// Whether that is all: else there are more than `limits::API_PAGES` pages.
    pub complete: bool,
}

struct Page {
    orders: Vec<MerchantOrder>,
    total: Option<usize>,
}

impl MerchantOrder {
    /// A whole answer.
    pub fn parse(answer: &[u8]) -> Result<MerchantOrder, ApiError> {
        MerchantOrder::read(&wire::object(answer)?)
    }

    fn read(object: &Object<'_>) -> Result<MerchantOrder, ApiError> {
        let payments = object.list("payments")?;
        let payment = |value: &wire::Value<'_>| Ok(PaymentOfOrder::read(&value.object()?));
        let mut currencies: Vec<_> = object
            .objects("items")
            .iter()
            .filter_map(|item| item.text("currency_id"))
            .collect();
        currencies.sort();
        currencies.dedup();
        Ok(MerchantOrder {
            id: object.need_id("id")?,
            status: MerchantOrderStatus::read(object, "status"),
            external_reference: object.text("external_reference"),
            collector_id: object.object("collector").and_then(|collector| collector.id("id")),
            payments: payments.iter().map(payment).collect::<Result<_, ApiError>>()?,
            currencies,
            total_amount: object.amount("total_amount"),
        })
    }
}

impl PaymentOfOrder {
    fn read(object: &Object<'_>) -> PaymentOfOrder {
        PaymentOfOrder {
            id: object.id("id"),
            status: PaymentStatus::read(object, "status"),
            status_detail: object.text("status_detail"),
            transaction_amount: object.amount("transaction_amount"),
            refunded_amount: object.amount_or_zero("amount_refunded"),
            currency_id: object.text("currency_id"),
            date_approved: object.time("date_approved"),
        }
    }
}

impl Page {
    fn read(bytes: &[u8]) -> Result<Page, ApiError> {
        let page = wire::object(bytes)?;
        let elements = page.list("elements")?;
        Ok(Page {
            orders: elements
                .iter()
                .map(|order| MerchantOrder::read(&order.object()?))
                .collect::<Result<_, _>>()?,
            total: page.count("total"),
        })
    }
}

impl Client {
    pub async fn merchant_order(&self, token: &Secret, id: u64) -> Result<MerchantOrder, ApiError> {
        let call = Call::new(
            Name::MerchantOrderGet,
            Method::GET,
            format!("/merchant_orders/{id}"),
            token,
        );
        self.ask(call, MerchantOrder::parse).await
    }

    /// All merchant orders of a reference, page by page. Between two pages one more may be made, which moves the rest:
    /// an order is then told twice, and kept once.
    pub async fn merchant_orders(&self, token: &Secret, reference: &Reference) -> Result<MerchantOrders, ApiError> {
        let mut found = BTreeMap::new();
        let (mut offset, mut complete) = (0, false);
        for _ in 0..limits::API_PAGES {
            let page = self.page(token, reference, offset).await?;
            offset += page.orders.len();
            complete = page.orders.is_empty() || page.total.is_some_and(|total| offset >= total);
            found.extend(page.orders.into_iter().map(|order| (order.id, order)));
            if complete {
                break;
            }
        }
        let orders = found.into_values().collect();
        Ok(MerchantOrders { orders, complete })
    }

    async fn page(&self, token: &Secret, reference: &Reference, offset: usize) -> Result<Page, ApiError> {
        let limit = limits::API_PAGE;
        let path = format!("/merchant_orders/search?external_reference={reference}&limit={limit}&offset={offset}");
        self.ask(
            Call::new(Name::MerchantOrderSearch, Method::GET, path, token),
            Page::read,
        )
        .await
    }
}

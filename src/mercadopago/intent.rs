//! Intents, the Instore API's orders (`protocol.md` 6). Amounts are strings here.

use hyper::Method;
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::client::{Call, Client};
use super::error::ApiError;
use super::instore::{Sponsor, total};
use super::metrics::Name;
use super::wire::{self, Object, words};
use crate::config::Secret;
use crate::domain::id::{ExternalPosId, IntentId, Reference};
use crate::domain::money::Money;
use crate::domain::order::{Item, Items, UnitMeasure};
use crate::domain::posted::QrMode;

words!(
    /// `Closed` does not mean paid: the payment's own status says that.
    IntentStatus {
        Opened = "OPENED",
        Closed = "CLOSED",
        Canceled = "CANCELED",
        Expired = "EXPIRED",
        OnTerminal = "ON_TERMINAL",
        Processing = "PROCESSING",
        Processed = "PROCESSED",
        Error = "ERROR",
        ConfirmationRequired = "CONFIRMATION_REQUIRED",
    }
);

words!(
    /// What a result's id names.
    IntentSource {
        Payment = "PAYMENT",
        Payout = "PAYOUT",
    }
);

#[derive(Debug, Clone)]
pub struct NewIntent<'a> {
    pub external_reference: &'a Reference,
    pub description: &'a str,
    pub items: &'a Items,
    pub sponsor_id: Option<u64>,
    pub qr: QrMode,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub id: IntentId,
    pub status: IntentStatus,
    pub external_reference: Option<String>,
    /// The sum of its operations; `None` if one has no amount.
    pub amount: Option<Decimal>,
    /// Only once it is closed.
    pub results: Vec<IntentResult>,
    /// What a one-use QR code says.
    pub qr_data: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentResult {
    pub id: Option<u64>,
    pub source: IntentSource,
}

#[derive(Serialize)]
struct Body<'a> {
    description: &'a str,
    external_reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sponsor: Option<Sponsor>,
    operations: [Operation<'a>; 1],
    enabler_configuration: Enabler,
}

#[derive(Serialize)]
struct Operation<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(serialize_with = "text")]
    amount: Money,
    items: Vec<ItemBody<'a>>,
}

#[derive(Serialize)]
struct ItemBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sku_number: Option<&'a str>,
    title: &'a str,
    quantity: u32,
    unit_measure: &'static str,
    #[serde(serialize_with = "text")]
    unit_price: Money,
    #[serde(serialize_with = "text")]
    total_amount: Money,
}

#[derive(Serialize)]
struct Enabler {
    qr_payment_mode: &'static [&'static str],
}

fn text<S: Serializer>(amount: &Money, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(amount)
}

fn item(item: &Item) -> ItemBody<'_> {
    ItemBody {
        sku_number: item.sku_number.as_ref().map(|sku| sku.as_str()),
        title: item.title.as_str(),
        quantity: item.quantity.get(),
        unit_measure: match item.unit_measure.unwrap_or(UnitMeasure::Unit) {
            UnitMeasure::Unit => "UNIT",
            UnitMeasure::Pack => "PACK",
        },
        unit_price: item.unit_price,
        total_amount: total(item),
    }
}

impl NewIntent<'_> {
    fn body(&self) -> Body<'_> {
        Body {
            description: self.description,
            external_reference: self.external_reference.as_str(),
            sponsor: self.sponsor_id.map(|id| Sponsor { id }),
            operations: [Operation {
                kind: "PURCHASE",
                amount: self.items.total(),
                items: self.items.iter().map(item).collect(),
            }],
            enabler_configuration: Enabler {
                qr_payment_mode: match self.qr {
                    QrMode::Static => &["STATIC"],
                    QrMode::Dynamic => &["DYNAMIC"],
                    QrMode::Both => &["STATIC", "DYNAMIC"],
                },
            },
        }
    }
}

impl Intent {
    fn read(bytes: &[u8]) -> Result<Intent, ApiError> {
        let object = wire::object(bytes)?;
        let id = IntentId::parse(&object.need_text("id")?);
        let operations = object.objects("operations");
        let amounts = operations.iter().map(|operation| operation.amount("amount"));
        Ok(Intent {
            id: id.map_err(|rule| ApiError::nonsense(format!("id {rule}")))?,
            status: IntentStatus::read(&object, "status"),
            external_reference: object.text("external_reference"),
            amount: amounts.reduce(|sum, amount| sum?.checked_add(amount?)).flatten(),
            results: operations.iter().flat_map(results).collect(),
            // One document says the first, another the second.
            qr_data: object
                .text("qr_data")
                .or_else(|| object.object("qr").and_then(|qr| qr.text("data"))),
        })
    }
}

fn results(operation: &Object<'_>) -> Vec<IntentResult> {
    let result = |object: &Object<'_>| IntentResult {
        id: object.id("id"),
        source: IntentSource::read(object, "source"),
    };
    operation.objects("results").iter().map(result).collect()
}

impl Client {
    /// 409 while another intent waits on the POS. It is asked for once: nobody says that the key is heeded here, and whoever
    /// asks again must know that the 409 may be for the first one.
    pub async fn create_intent(
        &self,
        token: &Secret,
        pos: &ExternalPosId,
        intent: &NewIntent<'_>,
        key: Uuid,
    ) -> Result<Intent, ApiError> {
        let path = format!("/instore-api/integrations/v1/intents/qr/pos/{pos}");
        let call = Call::new(Name::IntentCreate, Method::POST, path, token);
        self.ask(
            call.with(wire::write(&intent.body())).keyed(key).once().pressing(),
            Intent::read,
        )
        .await
    }

    pub async fn intent(&self, token: &Secret, id: &IntentId) -> Result<Intent, ApiError> {
        self.ask(Call::new(Name::IntentGet, Method::GET, of(id), token), Intent::read)
            .await
    }

    /// Possible only while it is open. How one that is final is answered is not documented: read it again.
    pub async fn cancel_intent(&self, token: &Secret, id: &IntentId) -> Result<(), ApiError> {
        self.ask(
            Call::new(Name::IntentCancel, Method::DELETE, of(id), token).pressing(),
            wire::nothing,
        )
        .await
    }
}

fn of(id: &IntentId) -> String {
    format!("/instore-api/integrations/v1/intents/{id}/qr")
}

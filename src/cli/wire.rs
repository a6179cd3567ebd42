//! What the server's answers hold, as far as a person is shown it. Loose on purpose: an unknown member is none of our
//! business, a missing one shows as nothing. Amounts stay the server's strings.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub struct Pos {
    pub pos: String,
    pub name: Option<String>,
    pub account: String,
    pub mode: String,
    /// Empty for one that is not polled.
    #[serde(deserialize_with = "or_default")]
    pub keys: BTreeMap<String, String>,
    pub state: String,
    pub message: Option<String>,
    pub lease_until: Option<String>,
    #[serde(default)]
    pub require_lease: bool,
    pub url_secret: Option<bool>,
    pub external_id: Option<String>,
    pub external_store_id: Option<String>,
    pub order: Option<Order>,
}

impl Pos {
    pub fn keys(&self) -> String {
        let pairs: Vec<String> = self
            .keys
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join(" ")
    }
}

/// Null is nothing.
fn or_default<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[derive(Deserialize)]
pub struct Order {
    pub external_reference: String,
    pub pos: String,
    pub status: String,
    pub amount: String,
    pub currency_id: String,
    #[serde(default)]
    pub items: Vec<Item>,
    pub metadata: Option<Box<RawValue>>,
    pub created_at: String,
    pub expires_at: Option<String>,
    pub shown_at: Option<String>,
    pub ended_at: Option<String>,
    #[serde(default)]
    pub payments: Vec<Payment>,
    #[serde(default)]
    pub refunds: Vec<Refund>,
    pub delivery: Option<Delivery>,
    /// Of an order that is put at Mercado Pago.
    pub mode: Option<String>,
    #[serde(default)]
    pub canceling: bool,
    pub intent: Option<String>,
    pub qr_data: Option<String>,
    pub reason: Option<String>,
}

impl Order {
    /// With what is under way.
    pub fn standing(&self) -> String {
        let under_way = if self.canceling { ", being canceled" } else { "" };
        format!("{}{under_way}", self.status)
    }

    pub fn money(&self) -> String {
        format!("{} {}", self.amount, self.currency_id)
    }
}

#[derive(Deserialize)]
pub struct Item {
    pub title: String,
    pub quantity: u64,
    pub unit_price: String,
}

#[derive(Deserialize)]
pub struct Payment {
    pub id: u64,
    pub amount: String,
    pub status: String,
    pub approved_at: Option<String>,
    pub reversed: Option<String>,
}

#[derive(Deserialize)]
pub struct Refund {
    pub id: Option<u64>,
    pub payment: u64,
    pub amount: String,
    pub status: String,
    pub cause: Option<String>,
    pub reason: Option<String>,
}

#[derive(Deserialize)]
pub struct Delivery {
    pub result: String,
    pub amount: Option<String>,
    pub reason: Option<String>,
    pub at: Option<String>,
}

/// An event's members as the server wrote them: which there are depends on its type.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Event(BTreeMap<String, Box<RawValue>>);

impl Event {
    /// A member's text: a string without its quotes, anything else as JSON, nothing if it is not there or null.
    pub fn take(&mut self, name: &str) -> String {
        self.0.remove(name).map(|value| plain(&value)).unwrap_or_default()
    }

    /// What was not taken, as `name=value`.
    pub fn rest(self) -> Vec<String> {
        let pairs = self.0.into_iter().map(|(name, value)| (name, plain(&value)));
        pairs
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

/// A string without its quotes, anything else as JSON, null as nothing.
fn plain(value: &RawValue) -> String {
    let text = value.get();
    match serde_json::from_str::<Option<String>>(text) {
        Ok(string) => string.unwrap_or_default(),
        Err(_) => text.to_owned(),
    }
}

//! Refunds (`protocol.md` 7). One key for each refund that is meant, the same however often it is tried.

use hyper::Method;
use rust_decimal::Decimal;
use serde::Serialize;
use uuid::Uuid;

use super::client::{Call, Client};
use super::error::ApiError;
use super::metrics::Name;
use super::wire::{self, Object, words};
use crate::config::Secret;
use crate::domain::id::Timestamp;
use crate::domain::money::Money;

words!(
    /// `InProcess` is not done: it must be read again.
    RefundStatus {
        Approved = "approved",
        InProcess = "in_process",
        Rejected = "rejected",
        Cancelled = "cancelled",
        Authorized = "authorized",
    }
);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    pub id: u64,
    pub payment_id: Option<u64>,
    /// `None` if it is missing or no number.
    pub amount: Option<Decimal>,
    pub status: RefundStatus,
    pub reason: Option<String>,
    pub date_created: Option<Timestamp>,
}

/// Without an amount, all that is left.
#[derive(Serialize)]
struct Body {
    #[serde(serialize_with = "some_number", skip_serializing_if = "Option::is_none")]
    amount: Option<Money>,
}

fn some_number<S: serde::Serializer>(amount: &Option<Money>, to: S) -> Result<S::Ok, S::Error> {
    match amount {
        Some(amount) => wire::number(amount, to),
        None => to.serialize_none(),
    }
}

impl Refund {
    pub(super) fn read(object: &Object<'_>) -> Result<Refund, ApiError> {
        Ok(Refund {
            id: object.need_id("id")?,
            payment_id: object.id("payment_id"),
            amount: object.amount("amount"),
            status: RefundStatus::read(object, "status"),
            reason: object.text("reason"),
            date_created: object.time("date_created"),
        })
    }
}

fn read(bytes: &[u8]) -> Result<Refund, ApiError> {
    Refund::read(&wire::object(bytes)?)
}

impl Client {
    /// Gives back `amount`, or all. Tried again under its key; where the answer is lost for good, `refunds` tells.
    pub async fn create_refund(
        &self,
        token: &Secret,
        payment: u64,
        amount: Option<Money>,
        key: Uuid,
    ) -> Result<Refund, ApiError> {
        let call = Call::new(
            Name::RefundCreate,
            Method::POST,
            format!("/v1/payments/{payment}/refunds"),
            token,
        );
        self.ask(call.with(wire::write(&Body { amount })).keyed(key), read)
            .await
    }

    /// All refunds of a payment, but those that Mercado Pago hides.
    pub async fn refunds(&self, token: &Secret, payment: u64) -> Result<Vec<Refund>, ApiError> {
        let call = Call::new(
            Name::RefundList,
            Method::GET,
            format!("/v1/payments/{payment}/refunds"),
            token,
        );
        let read = |bytes: &[u8]| {
            let elements = wire::body(bytes)?.elements()?;
            elements
                .iter()
                .map(|element| Refund::read(&element.object()?))
                .collect()
        };
        self.ask(call, read).await
    }

    pub async fn refund(&self, token: &Secret, payment: u64, id: u64) -> Result<Refund, ApiError> {
        let path = format!("/v1/payments/{payment}/refunds/{id}");
        self.ask(Call::new(Name::RefundGet, Method::GET, path, token), read)
            .await
    }
}

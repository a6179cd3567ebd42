//! Payments (`protocol.md` 5.5): what makes an order paid is read here once more.

use hyper::Method;
use rust_decimal::Decimal;

use super::client::{Call, Client};
use super::error::ApiError;
use super::metrics::Name;
use super::refund::Refund;
use super::wire::{self, Object, words};
use crate::config::Secret;
use crate::domain::id::Timestamp;

words!(
    /// `protocol.md` 5.3.
    PaymentStatus {
        Pending = "pending",
        Authorized = "authorized",
        InProcess = "in_process",
        InMediation = "in_mediation",
        Approved = "approved",
        Rejected = "rejected",
        Cancelled = "cancelled",
        Refunded = "refunded",
        ChargedBack = "charged_back",
    }
);

/// Everything may be missing, the id too: whoever asked judges what that means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub id: Option<u64>,
    pub status: PaymentStatus,
    pub status_detail: Option<String>,
    /// The price, without the payer's costs. `None` if it is missing or no number.
    pub transaction_amount: Option<Decimal>,
    /// Zero if it is missing; `None` if it is there and no number.
    pub refunded_amount: Option<Decimal>,
    pub currency_id: Option<String>,
    pub external_reference: Option<String>,
    pub collector_id: Option<u64>,
    pub merchant_order: Option<u64>,
    pub date_created: Option<Timestamp>,
    pub date_approved: Option<Timestamp>,
    pub payment_method_id: Option<String>,
    pub payment_type_id: Option<String>,
    pub live_mode: Option<bool>,
    /// Those that could be read; `Client::refunds` tells all.
    pub refunds: Vec<Refund>,
}

impl Payment {
    /// A whole answer.
    pub fn parse(answer: &[u8]) -> Result<Payment, ApiError> {
        Ok(Payment::read(&wire::object(answer)?))
    }

    fn read(object: &Object<'_>) -> Payment {
        let inner = |name| object.object(name).and_then(|inner| inner.id("id"));
        Payment {
            id: object.id("id"),
            status: PaymentStatus::read(object, "status"),
            status_detail: object.text("status_detail"),
            transaction_amount: object.amount("transaction_amount"),
            refunded_amount: object.amount_or_zero("transaction_amount_refunded"),
            currency_id: object.text("currency_id"),
            external_reference: object.text("external_reference"),
            collector_id: object.id("collector_id").or_else(|| inner("collector")),
            merchant_order: inner("order"),
            date_created: object.time("date_created"),
            date_approved: object.time("date_approved"),
            payment_method_id: object.text("payment_method_id"),
            payment_type_id: object.text("payment_type_id"),
            live_mode: object.flag("live_mode"),
            refunds: object
                .objects("refunds")
                .iter()
                .filter_map(|refund| Refund::read(refund).ok())
                .collect(),
        }
    }
}

impl Client {
    pub async fn payment(&self, token: &Secret, id: u64) -> Result<Payment, ApiError> {
        let call = Call::new(Name::PaymentGet, Method::GET, format!("/v1/payments/{id}"), token);
        self.ask(call, Payment::parse).await
    }
}

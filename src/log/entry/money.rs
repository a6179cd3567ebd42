//! The stored form of payments, refunds and sightings.

use serde::{Deserialize, Serialize};

use super::{Read, Str, digits, field, known};
use crate::domain::id::{IdempotencyKey, Timestamp};
use crate::domain::money::{Currency, Money};
use crate::domain::payment::{Ask, Cause, Oddity, Payment, Refund, RefundState, Reversal, Reversed, Sighting, Suspect};
use crate::domain::text::Text;

#[derive(Serialize, Deserialize)]
pub(super) struct StoredPayment<'a> {
    id: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merchant_order: Option<u64>,
    #[serde(borrow)]
    amount: Str<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approved_at: Option<i64>,
    /// How others took it back, and how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reversed: Option<(Str<'a>, Str<'a>)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredRefund<'a> {
    number: u32,
    payment: u64,
    #[serde(borrow)]
    amount: Str<'a>,
    cause: Str<'a>,
    requested_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ask: Option<StoredAsk<'a>>,
    /// Of the refund at Mercado Pago, once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<Str<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StoredAsk<'a> {
    #[serde(borrow)]
    key: Str<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payment: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<Str<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredSighting<'a> {
    Pending(u64),
    Rejected(u64),
    Suspect {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        merchant_order: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payment: Option<u64>,
        #[serde(borrow)]
        why: Str<'a>,
    },
}

pub(super) fn store_payments(payments: &[Payment]) -> Vec<StoredPayment<'_>> {
    payments.iter().map(store_payment).collect()
}

pub(super) fn store_payment(payment: &Payment) -> StoredPayment<'_> {
    StoredPayment {
        id: payment.id,
        merchant_order: payment.merchant_order,
        amount: digits(payment.amount),
        approved_at: payment.approved_at.map(|at| at.0),
        reversed: payment
            .reversed
            .map(|reversed| (reversed.how.as_str().into(), digits(reversed.amount))),
    }
}

pub(super) fn store_refunds(refunds: &[Refund]) -> Vec<StoredRefund<'_>> {
    refunds.iter().map(store_refund).collect()
}

pub(super) fn store_refund(refund: &Refund) -> StoredRefund<'_> {
    let (id, failed) = match &refund.state {
        RefundState::Requested => (None, None),
        RefundState::Done(id) => (Some(*id), None),
        RefundState::Failed(why) => (None, Some(why.as_str().into())),
    };
    let ask = match &refund.cause {
        Cause::Asked(ask) => Some(StoredAsk {
            key: ask.key.as_str().into(),
            payment: ask.payment,
            amount: ask.amount.map(digits),
        }),
        Cause::Late | Cause::Overpaid | Cause::Delivery => None,
    };
    StoredRefund {
        number: refund.number,
        payment: refund.payment,
        amount: digits(refund.amount),
        cause: refund.cause.as_str().into(),
        requested_at: refund.requested_at.0,
        ask,
        id,
        failed,
    }
}

pub(super) fn store_sighting(sighting: &Sighting) -> StoredSighting<'static> {
    match sighting {
        Sighting::Pending(payment) => StoredSighting::Pending(*payment),
        Sighting::Rejected(payment) => StoredSighting::Rejected(*payment),
        Sighting::Suspect(suspect) => StoredSighting::Suspect {
            merchant_order: suspect.merchant_order,
            payment: suspect.payment,
            why: suspect.why.as_str().into(),
        },
    }
}

pub(super) fn read_payments(stored: Vec<StoredPayment<'_>>, currency: Currency) -> Read<Vec<Payment>> {
    let read = |payment| read_payment(payment, currency);
    stored.into_iter().map(read).collect()
}

pub(super) fn read_payment(stored: StoredPayment<'_>, currency: Currency) -> Read<Payment> {
    let reversed = |(how, amount): (Str<'_>, Str<'_>)| {
        Ok(Reversed {
            how: known("reversed", Reversal::parse(&how))?,
            amount: field("reversed", Money::parse(&amount, currency))?,
        })
    };
    Ok(Payment {
        id: stored.id,
        merchant_order: stored.merchant_order,
        amount: field("payments", Money::parse(&stored.amount, currency))?,
        approved_at: stored.approved_at.map(Timestamp),
        reversed: stored.reversed.map(reversed).transpose()?,
    })
}

pub(super) fn read_refunds(stored: Vec<StoredRefund<'_>>, currency: Currency) -> Read<Vec<Refund>> {
    let read = |refund| read_refund(refund, currency);
    stored.into_iter().map(read).collect()
}

pub(super) fn read_refund(stored: StoredRefund<'_>, currency: Currency) -> Read<Refund> {
    let cause = match (&*stored.cause, stored.ask) {
        ("late", None) => Cause::Late,
        ("overpaid", None) => Cause::Overpaid,
        ("delivery", None) => Cause::Delivery,
        ("asked", Some(ask)) => Cause::Asked(Ask {
            key: field("key", IdempotencyKey::parse(&ask.key))?,
            payment: ask.payment,
            amount: ask
                .amount
                .map(|amount| field("ask", Money::parse(&amount, currency)))
                .transpose()?,
        }),
        _ => return known("cause", None),
    };
    let state = match (stored.id, stored.failed) {
        (None, None) => RefundState::Requested,
        (Some(id), None) => RefundState::Done(id),
        (None, Some(why)) => RefundState::Failed(field("failed", Text::parse(&why))?),
        (Some(_), Some(_)) => return known("failed", None),
    };
    Ok(Refund {
        number: stored.number,
        payment: stored.payment,
        amount: field("refunds", Money::parse(&stored.amount, currency))?,
        cause,
        requested_at: Timestamp(stored.requested_at),
        state,
    })
}

pub(super) fn read_sighting(stored: &StoredSighting<'_>) -> Read<Sighting> {
    Ok(match stored {
        StoredSighting::Pending(payment) => Sighting::Pending(*payment),
        StoredSighting::Rejected(payment) => Sighting::Rejected(*payment),
        StoredSighting::Suspect {
            merchant_order,
            payment,
            why,
        } => Sighting::Suspect(Suspect {
            merchant_order: *merchant_order,
            payment: *payment,
            why: known("why", Oddity::parse(why))?,
        }),
    })
}

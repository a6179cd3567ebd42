//! The money of an order: what came, what went back, and what was seen of payments that bring none.

use super::id::{IdempotencyKey, Timestamp};
use super::money::Money;
use super::order::Reason;

/// A payment that Mercado Pago's API itself told to be approved, and to be ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub id: u64,
    pub merchant_order: Option<u64>,
    pub amount: Money,
    pub approved_at: Option<Timestamp>,
    /// What others than us took back.
    pub reversed: Option<Reversed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reversed {
    pub how: Reversal,
    /// All of it until now.
    pub amount: Money,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reversal {
    /// The merchant refunded it at Mercado Pago.
    Refunded,
    /// The customer's bank took it back.
    ChargedBack,
}

impl Reversal {
    pub fn as_str(self) -> &'static str {
        match self {
            Reversal::Refunded => "refunded",
            Reversal::ChargedBack => "charged_back",
        }
    }

    pub fn parse(text: &str) -> Option<Reversal> {
        [Reversal::Refunded, Reversal::ChargedBack]
            .into_iter()
            .find(|how| how.as_str() == text)
    }
}

/// Money that we give back, of one payment. It is written down before Mercado Pago is asked, so that it is asked for
/// exactly this, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Its place among the order's refunds: 1, 2, …
    pub number: u32,
    pub payment: u64,
    pub amount: Money,
    pub cause: Cause,
    pub requested_at: Timestamp,
    pub state: RefundState,
}

impl Refund {
    /// Whether it is still to be pursued.
    pub fn waits(&self) -> bool {
        self.state == RefundState::Requested
    }
}

/// Why money goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It came for an order that had ended.
    Late,
    /// It was more than was asked.
    Overpaid,
    /// The machine could not deliver.
    Delivery,
    /// The controller asked for it.
    Asked(Ask),
}

impl Cause {
    pub fn as_str(&self) -> &'static str {
        match self {
            Cause::Late => "late",
            Cause::Overpaid => "overpaid",
            Cause::Delivery => "delivery",
            Cause::Asked(_) => "asked",
        }
    }
}

/// What the controller asked for, so that the same call again is known as such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    pub key: IdempotencyKey,
    /// None: whichever there are, the newest first.
    pub payment: Option<u64>,
    /// None: all that is left.
    pub amount: Option<Money>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundState {
    Requested,
    /// Mercado Pago's number of it.
    Done(u64),
    /// For good, in Mercado Pago's words.
    Failed(Reason),
}

impl RefundState {
    pub fn as_str(&self) -> &'static str {
        match self {
            RefundState::Requested => "requested",
            RefundState::Done(_) => "done",
            RefundState::Failed(_) => "failed",
        }
    }
}

/// What was seen at the API and is no money of ours. Each is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// The customer has begun to pay.
    Pending(u64),
    /// The customer may try again.
    Rejected(u64),
    Suspect(Suspect),
}

/// Money that names our reference and yet cannot be ours, or an answer that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// None: an intent told of it.
    pub merchant_order: Option<u64>,
    pub payment: Option<u64>,
    pub why: Oddity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// It is credited to another account.
    Collector,
    Currency,
    /// The payment names another order than its merchant order does.
    Reference,
    /// The payment and its merchant order differ about the amount.
    Amount,
    /// A payment without an id.
    PaymentId,
    /// A merchant order that is closed, and has no payments.
    NoPayments,
}

impl Oddity {
    pub const ALL: [Oddity; 6] = [
        Oddity::Collector,
        Oddity::Currency,
        Oddity::Reference,
        Oddity::Amount,
        Oddity::PaymentId,
        Oddity::NoPayments,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Oddity::Collector => "collector",
            Oddity::Currency => "currency",
            Oddity::Reference => "reference",
            Oddity::Amount => "amount",
            Oddity::PaymentId => "payment_without_id",
            Oddity::NoPayments => "closed_without_payments",
        }
    }

    pub fn parse(text: &str) -> Option<Oddity> {
        Oddity::ALL.into_iter().find(|oddity| oddity.as_str() == text)
    }
}

/// All that the API knows of one reference, over all its merchant orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    pub payments: Vec<Found>,
    pub sightings: Vec<Sighting>,
}

/// A payment that is approved, or was until it went back; verified to be ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its `reversed` is all that went back, whoever did it.
    pub payment: Payment,
    /// Its merchant order is closed; only then does it pay.
    pub closed: bool,
}

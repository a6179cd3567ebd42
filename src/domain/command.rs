//! What may be asked of a POS, what then happened, and what was denied.

use std::sync::Arc;

use super::account::{DeliveryFailed, LatePayment, Payee};
use super::id::{AccountId, IdempotencyKey, IntentId, PosId, Reference, Timestamp};
use super::money::{BadAmount, Money};
use super::order::{CancelReason, Content, Delivery, Facts, Order, Reason, Status};
use super::payment::{Findings, Payment, Refund, RefundState, Sighting};
use super::pos::{Message, Registration, Waiting, Word};
use super::posted::QrData;
use crate::limits;

/// One thing asked of one POS.
#[derive(Debug, Clone)]
pub enum Command {
    Register(Registration),
    Remove,
    /// The controller's word on what goes on at the machine.
    Say {
        word: Word,
        lease_seconds: Option<u64>,
    },
    HoldLease {
        seconds: u64,
    },
    Push(Box<Push>),
    Cancel {
        reason: Option<CancelReason>,
    },
    Deliver {
        reference: Reference,
        report: Report,
        /// The account's policy.
        failed: DeliveryFailed,
    },
    /// Gives money back; the amount is read in the order's currency.
    Refund {
        reference: Reference,
        wanted: Wanted,
    },

    /// The first poll that saw the order.
    Shown {
        reference: Reference,
    },
    /// Mercado Pago has the order.
    Sent {
        reference: Reference,
        intent: Option<IntentId>,
        qr_data: Option<QrData>,
    },
    /// Mercado Pago does not take the order.
    Rejected {
        reference: Reference,
        why: Reason,
    },
    /// An order that we put at Mercado Pago is there no more.
    Withdrawn {
        reference: Reference,
        reason: Option<CancelReason>,
    },
    /// Nobody waits any longer for Mercado Pago to take the order.
    GiveUp {
        reference: Reference,
    },
    /// The order's time is up.
    Expire {
        reference: Reference,
    },
    /// The lease that was to end at `until` was not renewed.
    LapseLease {
        until: Timestamp,
    },
    /// All that Mercado Pago's API knows of the order's money.
    Settle {
        reference: Reference,
        findings: Findings,
    },
    /// What became of a refund at Mercado Pago.
    Refunded {
        reference: Reference,
        number: u32,
        state: RefundState,
    },
    /// The controller has said nothing of the product for too long.
    Overdue {
        reference: Reference,
    },
}

#[derive(Debug, Clone)]
pub struct Push {
    pub reference: Reference,
    /// The account that the payee is of. The POS must still be that account's.
    pub account: AccountId,
    pub content: Content,
    pub payee: Payee,
    /// The account's policy; the content may override it.
    pub late_payment: LatePayment,
    pub replace: bool,
}

/// A refund as the controller asks for it.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub key: IdempotencyKey,
    pub payment: Option<u64>,
    pub amount: Option<String>,
}

/// The delivery report as sent; its amount is read in the order's currency.
#[derive(Debug, Clone)]
pub enum Report {
    Dispensed,
    Failed {
        amount: Option<String>,
        reason: Option<Reason>,
    },
}

impl Command {
    /// The order that the command names: who decides about it must know what is recorded under that reference.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Command::Push(push) => Some(&push.reference),
            Command::Deliver { reference, .. }
            | Command::Shown { reference }
            | Command::Sent { reference, .. }
            | Command::Rejected { reference, .. }
            | Command::Withdrawn { reference, .. }
            | Command::GiveUp { reference }
            | Command::Expire { reference }
            | Command::Refund { reference, .. }
            | Command::Settle { reference, .. }
            | Command::Refunded { reference, .. }
            | Command::Overdue { reference } => Some(reference),
            Command::Register(_)
            | Command::Remove
            | Command::Say { .. }
            | Command::HoldLease { .. }
            | Command::Cancel { .. }
            | Command::LapseLease { .. } => None,
        }
    }

    /// Whether it records what has happened already, or ends an offer. Such a command may use the room that is kept
    /// back for a full disk; new business may not.
    pub fn may_use_reserve(&self) -> bool {
        match self {
            Command::Settle { .. }
            | Command::Refunded { .. }
            | Command::Refund { .. }
            | Command::Overdue { .. }
            | Command::Deliver { .. }
            | Command::Cancel { .. }
            | Command::Sent { .. }
            | Command::Rejected { .. }
            | Command::Withdrawn { .. }
            | Command::GiveUp { .. }
            | Command::Expire { .. }
            | Command::LapseLease { .. }
            // Else an order that is there would be withheld, though its controller lives.
            | Command::HoldLease { .. } => true,
            Command::Register(_)
            | Command::Remove
            | Command::Say { .. }
            | Command::Push(_)
            | Command::Shown { .. } => false,
        }
    }

    /// Every name that `name` gives.
    pub const NAMES: [&'static str; 18] = [
        "register",
        "remove",
        "state",
        "lease",
        "push",
        "cancel",
        "deliver",
        "shown",
        "sent",
        "rejected",
        "withdrawn",
        "give_up",
        "expire",
        "lapse_lease",
        "settle",
        "refund",
        "refunded",
        "overdue",
    ];

    /// For logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Register(_) => "register",
            Command::Remove => "remove",
            Command::Say { .. } => "state",
            Command::HoldLease { .. } => "lease",
            Command::Push(_) => "push",
            Command::Cancel { .. } => "cancel",
            Command::Deliver { .. } => "deliver",
            Command::Shown { .. } => "shown",
            Command::Sent { .. } => "sent",
            Command::Rejected { .. } => "rejected",
            Command::Withdrawn { .. } => "withdrawn",
            Command::GiveUp { .. } => "give_up",
            Command::Expire { .. } => "expire",
            Command::LapseLease { .. } => "lapse_lease",
            Command::Settle { .. } => "settle",
            Command::Refund { .. } => "refund",
            Command::Refunded { .. } => "refunded",
            Command::Overdue { .. } => "overdue",
        }
    }
}

/// One thing that happened on one POS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Registered(Registration),
    Changed(Registration),
    Removed,
    /// What polls are told changed without an order beginning or ending.
    StateChanged {
        to: NewState,
        message: Option<Message>,
    },
    /// It can be polled; or, if it is to be put at Mercado Pago, that is begun.
    OrderReady(Arc<Order>),
    OrderShown(Facts),
    /// Mercado Pago has it; perhaps too late, and then it is taken off.
    OrderSent {
        facts: Facts,
        intent: Option<IntentId>,
        qr_data: Option<QrData>,
    },
    /// In Mercado Pago's words.
    OrderRejected {
        facts: Facts,
        why: Reason,
    },
    /// Mercado Pago is asked to let go of it.
    CancelAsked {
        facts: Facts,
        reason: Option<CancelReason>,
    },
    OrderCanceled {
        facts: Facts,
        reason: Option<CancelReason>,
    },
    OrderReplaced(Facts),
    OrderExpired(Facts),
    /// Verified: release the product.
    OrderPaid {
        facts: Facts,
        payments: Vec<Payment>,
        late: bool,
    },
    /// Approved, but less than was asked.
    PaymentPartial {
        facts: Facts,
        payments: Vec<Payment>,
    },
    /// Money for an order that had ended.
    LatePayment {
        facts: Facts,
        payments: Vec<Payment>,
        action: Action,
    },
    /// More money than was asked, or for an order that is paid.
    Overpaid {
        facts: Facts,
        payments: Vec<Payment>,
        excess: Money,
        action: Action,
    },
    DeliveryReported {
        facts: Facts,
        delivery: Delivery,
    },
    DeliveryOverdue(Facts),
    /// A payment that brings no money, or not to us.
    PaymentSeen {
        facts: Facts,
        sighting: Sighting,
    },
    /// Others than us took a recorded payment back, wholly or in part.
    PaymentReversed {
        facts: Facts,
        payment: Payment,
    },
    /// Money will go back: from now on it is the tracker's to do.
    RefundRequested {
        facts: Facts,
        refunds: Vec<Refund>,
    },
    /// It went back, or did not.
    RefundEnded {
        facts: Facts,
        refund: Refund,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewState {
    Waiting(Waiting),
    /// The order is offered again: its controller is back.
    Ready,
}

impl NewState {
    pub fn as_str(self) -> &'static str {
        match self {
            NewState::Waiting(waiting) => waiting.as_str(),
            NewState::Ready => "ready",
        }
    }
}

/// What is done about money that should not be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Report,
    Refund,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Report => "report",
            Action::Refund => "refund",
        }
    }
}

impl Event {
    /// Every name that `name` gives.
    pub const NAMES: [&'static str; 26] = [
        "pos_registered",
        "pos_changed",
        "pos_removed",
        "state_changed",
        "order_ready",
        "order_sending",
        "order_shown",
        "order_sent",
        "order_rejected",
        "order_canceling",
        "order_canceled",
        "order_replaced",
        "order_expired",
        "order_paid",
        "payment_pending",
        "payment_rejected",
        "payment_partial",
        "payment_suspect",
        "payment_reversed",
        "late_payment",
        "overpaid",
        "delivery_reported",
        "delivery_overdue",
        "refund_requested",
        "refund_done",
        "refund_failed",
    ];

    /// As the feed and the metrics call it.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Registered(_) => "pos_registered",
            Event::Changed(_) => "pos_changed",
            Event::Removed => "pos_removed",
            Event::StateChanged { .. } => "state_changed",
            Event::OrderReady(order) if order.posted.is_some() => "order_sending",
            Event::OrderReady(_) => "order_ready",
            Event::OrderShown(_) => "order_shown",
            Event::OrderSent { .. } => "order_sent",
            Event::OrderRejected { .. } => "order_rejected",
            Event::CancelAsked { .. } => "order_canceling",
            Event::OrderCanceled { .. } => "order_canceled",
            Event::OrderReplaced(_) => "order_replaced",
            Event::OrderExpired(_) => "order_expired",
            Event::OrderPaid { .. } => "order_paid",
            Event::PaymentSeen { sighting, .. } => match sighting {
                Sighting::Pending(_) => "payment_pending",
                Sighting::Rejected(_) => "payment_rejected",
                Sighting::Suspect(_) => "payment_suspect",
            },
            Event::PaymentPartial { .. } => "payment_partial",
            Event::PaymentReversed { .. } => "payment_reversed",
            Event::LatePayment { .. } => "late_payment",
            Event::Overpaid { .. } => "overpaid",
            Event::DeliveryReported { .. } => "delivery_reported",
            Event::DeliveryOverdue(_) => "delivery_overdue",
            Event::RefundRequested { .. } => "refund_requested",
            Event::RefundEnded { refund, .. } => match refund.state {
                RefundState::Failed(_) => "refund_failed",
                RefundState::Requested | RefundState::Done(_) => "refund_done",
            },
        }
    }

    /// The order it is about.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Event::OrderReady(order) => Some(&order.reference),
            other => other.facts().map(|facts| &facts.reference),
        }
    }

    /// What it tells of its order; an order that is new is told of whole.
    pub fn facts(&self) -> Option<&Facts> {
        match self {
            Event::Registered(_)
            | Event::Changed(_)
            | Event::Removed
            | Event::StateChanged { .. }
            | Event::OrderReady(_) => None,
            Event::OrderShown(facts)
            | Event::OrderReplaced(facts)
            | Event::OrderExpired(facts)
            | Event::DeliveryOverdue(facts)
            | Event::PaymentSeen { facts, .. }
            | Event::PaymentReversed { facts, .. }
            | Event::RefundRequested { facts, .. }
            | Event::RefundEnded { facts, .. }
            | Event::OrderCanceled { facts, .. }
            | Event::OrderSent { facts, .. }
            | Event::OrderRejected { facts, .. }
            | Event::CancelAsked { facts, .. }
            | Event::OrderPaid { facts, .. }
            | Event::PaymentPartial { facts, .. }
            | Event::LatePayment { facts, .. }
            | Event::Overpaid { facts, .. }
            | Event::DeliveryReported { facts, .. } => Some(facts),
        }
    }
}

/// Why a command was denied. Nothing happened then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such point of sale")]
    PosUnknown,
    #[error("the order {0} is open on this point of sale")]
    OrderOpen(Reference),
    #[error("the point of sale {0} has these keys")]
    KeysTaken(PosId),
    #[error("the point of sale {0} has this external_id at Mercado Pago, in the same account")]
    PlaceTaken(PosId),
    #[error("{0}")]
    ReferenceUsed(Used),
    #[error("the order {0} is paid")]
    OrderPaid(Reference),
    #[error("no order is open on this point of sale")]
    OrderNone,
    #[error("there is no such order")]
    OrderUnknown,
    #[error("the order is {}, not paid", .0.as_str())]
    OrderNotPaid(Status),
    #[error("another delivery was reported for this order")]
    DeliveryContradicts,
    #[error("amount {0}")]
    DeliveryAmount(BadDelivery),
    #[error("amount {0}")]
    RefundAmount(BadRefund),
    #[error("no payment {0} is recorded for this order")]
    PaymentUnknown(u64),
    #[error("this Idempotency-Key was used for another refund of this order")]
    RefundKeyUsed,
    #[error("an order has at most {} refunds", limits::REFUNDS)]
    TooManyRefunds,
    #[error("the point of sale was given to the account {0} while the order came in: push it again")]
    AccountChanged(AccountId),
    #[error("the point of sale has no {0} at Mercado Pago, and its own name is none there: register it with one")]
    NoExternalName(&'static str),
}

/// How a reference was used before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Used {
    #[error("this reference was used on the point of sale {0}")]
    Elsewhere(PosId),
    #[error("this reference was used before for an order with another `{0}`")]
    OtherContent(&'static str),
    #[error("references are compared without regard to case, and {0} was used before")]
    OtherCase(Reference),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRefund {
    #[error("{0}")]
    Amount(#[from] BadAmount),
    #[error("must be at most {0}: that is left of what was paid")]
    TooMuch(Money),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDelivery {
    #[error("{0}")]
    Amount(#[from] BadAmount),
    #[error("must be at most the order's {0}")]
    TooMuch(Money),
}

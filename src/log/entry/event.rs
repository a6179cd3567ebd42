//! The stored form of events.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::money::{
    StoredPayment, StoredRefund, StoredSighting, read_payment, read_payments, read_refund, read_refunds, read_sighting,
    store_payment, store_payments, store_refund, store_refunds, store_sighting,
};
use super::{
    Read, StoredDelivery, StoredFacts, StoredRegistration, Str, digits, field, known, optional, read_delivery,
    read_facts, read_reason, read_registration, store_delivery, store_facts, store_registration, text,
};
use crate::domain::command::{Action, Event, NewState};
use crate::domain::id::IntentId;
use crate::domain::money::Money;
use crate::domain::order::Order;
use crate::domain::pos::Waiting;
use crate::domain::text::Text;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredEvent<'a> {
    #[serde(borrow)]
    Registered(StoredRegistration<'a>),
    Changed(StoredRegistration<'a>),
    Removed,
    StateChanged {
        to: Str<'a>,
        message: Option<Str<'a>>,
    },
    /// The order itself stands in the state of the same entry.
    OrderReady,
    OrderShown(StoredFacts<'a>),
    OrderSent {
        facts: StoredFacts<'a>,
        intent: Option<Str<'a>>,
        qr_data: Option<Str<'a>>,
    },
    OrderRejected {
        facts: StoredFacts<'a>,
        why: Str<'a>,
    },
    CancelAsked {
        facts: StoredFacts<'a>,
        reason: Option<Str<'a>>,
    },
    OrderCanceled {
        facts: StoredFacts<'a>,
        reason: Option<Str<'a>>,
    },
    OrderReplaced(StoredFacts<'a>),
    OrderExpired(StoredFacts<'a>),
    OrderPaid {
        facts: StoredFacts<'a>,
        payments: Vec<StoredPayment<'a>>,
        late: bool,
    },
    PaymentPartial {
        facts: StoredFacts<'a>,
        payments: Vec<StoredPayment<'a>>,
    },
    LatePayment {
        facts: StoredFacts<'a>,
        payments: Vec<StoredPayment<'a>>,
        action: Str<'a>,
    },
    Overpaid {
        facts: StoredFacts<'a>,
        payments: Vec<StoredPayment<'a>>,
        excess: Str<'a>,
        action: Str<'a>,
    },
    DeliveryReported {
        facts: StoredFacts<'a>,
        delivery: StoredDelivery<'a>,
    },
    DeliveryOverdue(StoredFacts<'a>),
    PaymentSeen {
        facts: StoredFacts<'a>,
        sighting: StoredSighting<'a>,
    },
    PaymentReversed {
        facts: StoredFacts<'a>,
        payment: StoredPayment<'a>,
    },
    RefundRequested {
        facts: StoredFacts<'a>,
        refunds: Vec<StoredRefund<'a>>,
    },
    RefundEnded {
        facts: StoredFacts<'a>,
        refund: StoredRefund<'a>,
    },
}

pub(super) fn store_event(event: &Event) -> StoredEvent<'_> {
    match event {
        Event::Registered(registration) => StoredEvent::Registered(store_registration(registration)),
        Event::Changed(registration) => StoredEvent::Changed(store_registration(registration)),
        Event::Removed => StoredEvent::Removed,
        Event::StateChanged { to, message } => StoredEvent::StateChanged {
            to: to.as_str().into(),
            message: message.as_ref().map(text),
        },
        Event::OrderReady(_) => StoredEvent::OrderReady,
        Event::OrderShown(facts) => StoredEvent::OrderShown(store_facts(facts)),
        Event::OrderSent { facts, intent, qr_data } => StoredEvent::OrderSent {
            facts: store_facts(facts),
            intent: intent.as_ref().map(|id| id.as_str().into()),
            qr_data: qr_data.as_ref().map(text),
        },
        Event::OrderRejected { facts, why } => StoredEvent::OrderRejected {
            facts: store_facts(facts),
            why: text(why),
        },
        Event::CancelAsked { facts, reason } => StoredEvent::CancelAsked {
            facts: store_facts(facts),
            reason: reason.map(|reason| reason.as_str().into()),
        },
        Event::OrderCanceled { facts, reason } => StoredEvent::OrderCanceled {
            facts: store_facts(facts),
            reason: reason.map(|reason| reason.as_str().into()),
        },
        Event::OrderReplaced(facts) => StoredEvent::OrderReplaced(store_facts(facts)),
        Event::OrderExpired(facts) => StoredEvent::OrderExpired(store_facts(facts)),
        Event::OrderPaid { facts, payments, late } => StoredEvent::OrderPaid {
            facts: store_facts(facts),
            payments: store_payments(payments),
            late: *late,
        },
        Event::PaymentPartial { facts, payments } => StoredEvent::PaymentPartial {
            facts: store_facts(facts),
            payments: store_payments(payments),
        },
        Event::LatePayment {
            facts,
            payments,
            action,
        } => StoredEvent::LatePayment {
            facts: store_facts(facts),
            payments: store_payments(payments),
            action: action.as_str().into(),
        },
        Event::Overpaid {
            facts,
            payments,
            excess,
            action,
        } => StoredEvent::Overpaid {
            facts: store_facts(facts),
            payments: store_payments(payments),
            excess: digits(*excess),
            action: action.as_str().into(),
        },
        Event::DeliveryReported { facts, delivery } => StoredEvent::DeliveryReported {
            facts: store_facts(facts),
            delivery: store_delivery(delivery),
        },
        Event::DeliveryOverdue(facts) => StoredEvent::DeliveryOverdue(store_facts(facts)),
        Event::PaymentSeen { facts, sighting } => StoredEvent::PaymentSeen {
            facts: store_facts(facts),
            sighting: store_sighting(sighting),
        },
        Event::PaymentReversed { facts, payment } => StoredEvent::PaymentReversed {
            facts: store_facts(facts),
            payment: store_payment(payment),
        },
        Event::RefundRequested { facts, refunds } => StoredEvent::RefundRequested {
            facts: store_facts(facts),
            refunds: store_refunds(refunds),
        },
        Event::RefundEnded { facts, refund } => StoredEvent::RefundEnded {
            facts: store_facts(facts),
            refund: store_refund(refund),
        },
    }
}

fn read_action(text: &str) -> Read<Action> {
    known(
        "action",
        [Action::Report, Action::Refund]
            .into_iter()
            .find(|action| action.as_str() == text),
    )
}

pub(super) fn read_event(stored: StoredEvent<'_>, open: Option<&Arc<Order>>) -> Read<Event> {
    Ok(match stored {
        StoredEvent::Registered(stored) => Event::Registered(read_registration(stored)?),
        StoredEvent::Changed(stored) => Event::Changed(read_registration(stored)?),
        StoredEvent::Removed => Event::Removed,
        StoredEvent::StateChanged { to, message } => Event::StateChanged {
            to: match &*to {
                "ready" => NewState::Ready,
                waiting => NewState::Waiting(known("to", Waiting::parse(waiting))?),
            },
            message: optional("message", message, Text::parse)?,
        },
        StoredEvent::OrderReady => Event::OrderReady(known("open", open)?.clone()),
        StoredEvent::OrderShown(facts) => Event::OrderShown(read_facts(facts)?),
        StoredEvent::OrderSent { facts, intent, qr_data } => Event::OrderSent {
            facts: read_facts(facts)?,
            intent: optional("intent", intent, IntentId::parse)?,
            qr_data: optional("qr_data", qr_data, Text::parse)?,
        },
        StoredEvent::OrderRejected { facts, why } => Event::OrderRejected {
            facts: read_facts(facts)?,
            why: field("why", Text::parse(&why))?,
        },
        StoredEvent::CancelAsked { facts, reason } => Event::CancelAsked {
            facts: read_facts(facts)?,
            reason: read_reason(reason)?,
        },
        StoredEvent::OrderCanceled { facts, reason } => Event::OrderCanceled {
            facts: read_facts(facts)?,
            reason: read_reason(reason)?,
        },
        StoredEvent::OrderReplaced(facts) => Event::OrderReplaced(read_facts(facts)?),
        StoredEvent::OrderExpired(facts) => Event::OrderExpired(read_facts(facts)?),
        StoredEvent::OrderPaid { facts, payments, late } => {
            let facts = read_facts(facts)?;
            let payments = read_payments(payments, facts.amount.currency())?;
            Event::OrderPaid { facts, payments, late }
        }
        StoredEvent::PaymentPartial { facts, payments } => {
            let facts = read_facts(facts)?;
            let payments = read_payments(payments, facts.amount.currency())?;
            Event::PaymentPartial { facts, payments }
        }
        StoredEvent::LatePayment {
            facts,
            payments,
            action,
        } => {
            let facts = read_facts(facts)?;
            let payments = read_payments(payments, facts.amount.currency())?;
            Event::LatePayment {
                facts,
                payments,
                action: read_action(&action)?,
            }
        }
        StoredEvent::Overpaid {
            facts,
            payments,
            excess,
            action,
        } => {
            let facts = read_facts(facts)?;
            let currency = facts.amount.currency();
            let payments = read_payments(payments, currency)?;
            let excess = field("excess", Money::parse(&excess, currency))?;
            Event::Overpaid {
                facts,
                payments,
                excess,
                action: read_action(&action)?,
            }
        }
        StoredEvent::DeliveryReported { facts, delivery } => {
            let facts = read_facts(facts)?;
            let delivery = read_delivery(delivery, facts.amount.currency())?;
            Event::DeliveryReported { facts, delivery }
        }
        StoredEvent::DeliveryOverdue(facts) => Event::DeliveryOverdue(read_facts(facts)?),
        StoredEvent::PaymentSeen { facts, sighting } => Event::PaymentSeen {
            facts: read_facts(facts)?,
            sighting: read_sighting(&sighting)?,
        },
        StoredEvent::PaymentReversed { facts, payment } => {
            let facts = read_facts(facts)?;
            let payment = read_payment(payment, facts.amount.currency())?;
            Event::PaymentReversed { facts, payment }
        }
        StoredEvent::RefundRequested { facts, refunds } => {
            let facts = read_facts(facts)?;
            let refunds = read_refunds(refunds, facts.amount.currency())?;
            Event::RefundRequested { facts, refunds }
        }
        StoredEvent::RefundEnded { facts, refund } => {
            let facts = read_facts(facts)?;
            let refund = read_refund(refund, facts.amount.currency())?;
            Event::RefundEnded { facts, refund }
        }
    })
}

//! All the rules, one place: what a command does to a POS. Pure: the time comes in as data.
//!
//! Nothing here compares `now` with a deadline. That a lease lapsed or an order expired is told by a command, from
//! whoever watches the clock, so that a wall clock that jumps cannot end anything early.

use std::sync::Arc;

use super::account::DeliveryFailed;
use super::command::{BadDelivery, Command, Event, NewState, Push, Refusal, Report, Used};
use super::id::{IntentId, PosId, Reference, Timestamp};
use super::money::Money;
use super::order::{CancelReason, Delivery, Order, Reason, Status};
use super::payment::{Refund, RefundState};
use super::pos::{Pos, Registration, Standing, State, Waiting, Word};
use super::posted::QrData;
use super::settle::{end, not_delivered, refund, settle};

/// What a command names beyond its own POS.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beyond<'a> {
    /// The order recorded under the command's reference, on whichever POS.
    pub order: Option<&'a Order>,
    /// The POS that has the poll keys of a registration.
    pub keys_owner: Option<&'a PosId>,
    /// The POS that has its place at Mercado Pago.
    pub place_owner: Option<&'a PosId>,
}

/// What follows from a command. No events and the same lease: it had been done before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub events: Vec<Event>,
    /// The lease as it stands afterwards.
    pub lease: Option<Timestamp>,
}

pub fn decide(state: &State, beyond: Beyond<'_>, command: &Command, now: Timestamp) -> Result<Decision, Refusal> {
    let lease = state.as_ref().and_then(|pos| pos.lease);
    let with = |events| Ok(Decision { events, lease });
    match (command, state) {
        (Command::Register(registration), pos) => register(pos.as_ref(), beyond, registration).and_then(with),
        // An order outlives the registration of its POS: nobody may lose its money, or a product's fate, by a removal.
        (Command::Settle { findings, .. }, pos) => with(settle(own(pos, beyond.order)?, findings, now)),
        (Command::Deliver { report, failed, .. }, pos) => {
            deliver(own(pos, beyond.order)?, report, *failed, now).and_then(with)
        }
        (Command::Overdue { .. }, pos) => with(overdue(own(pos, beyond.order)?)),
        (Command::Refund { wanted, .. }, pos) => refund(own(pos, beyond.order)?, wanted, now).and_then(with),
        (Command::Refunded { number, state, .. }, pos) => with(refunded(own(pos, beyond.order)?, *number, state)),
        // Of one that has ended, too: what an intent is called must be known to take it off.
        (Command::Sent { intent, qr_data, .. }, pos) => {
            with(sent(own(pos, beyond.order)?, intent.as_ref(), qr_data.as_ref()))
        }
        (_, None) => Err(Refusal::PosUnknown),
        (Command::Remove, Some(pos)) => remove(pos),
        (Command::Say { word, lease_seconds }, Some(pos)) => say(pos, word, *lease_seconds, now),
        (Command::HoldLease { seconds }, Some(pos)) => Ok(hold_lease(pos, *seconds, now)),
        (Command::LapseLease { until }, Some(pos)) => Ok(lapse_lease(pos, *until)),
        (Command::Push(push), Some(pos)) => push_order(pos, beyond.order, push, now).and_then(with),
        (Command::Cancel { reason }, Some(pos)) => cancel(pos, *reason, now).and_then(with),
        (Command::Shown { reference }, Some(pos)) => with(match open(pos, reference) {
            Some(order) if order.status == Status::Ready => vec![Event::OrderShown(order.facts())],
            _ => Vec::new(),
        }),
        (Command::Rejected { reference, why }, Some(pos)) => with(match open(pos, reference) {
            Some(order) if order.status == Status::Sending => rejected(order, why, now),
            _ => Vec::new(),
        }),
        (Command::Withdrawn { reference, reason }, Some(pos)) => with(match open(pos, reference) {
            Some(order) if order.is_canceling() => canceled(order, order.canceled_for, now),
            Some(order) => canceled(order, *reason, now),
            None => Vec::new(),
        }),
        (Command::GiveUp { reference }, Some(pos)) => with(match open(pos, reference) {
            Some(order) if order.status == Status::Sending => canceled(order, order.canceled_for, now),
            _ => Vec::new(),
        }),
        (Command::Expire { reference }, Some(pos)) => with(match open(pos, reference) {
            Some(order) => end(order, Event::OrderExpired(order.facts()), now),
            None => Vec::new(),
        }),
    }
}

/// The open order, if it has this reference.
fn open<'a>(pos: &'a Pos, reference: &Reference) -> Option<&'a Order> {
    pos.open.as_deref().filter(|order| order.reference.same(reference))
}

/// The order that a command names, which must be one of this POS. A POS is removed only once its orders have ended.
fn own<'a>(state: &State, order: Option<&'a Order>) -> Result<&'a Order, Refusal> {
    let is_own = |order: &&Order| match state {
        Some(pos) => pos.id == order.pos,
        None => !order.status.is_open(),
    };
    order.filter(is_own).ok_or(Refusal::OrderUnknown)
}

fn register(pos: Option<&Pos>, beyond: Beyond<'_>, wanted: &Registration) -> Result<Vec<Event>, Refusal> {
    if let Some(owner) = beyond.keys_owner
        && pos.is_none_or(|pos| pos.id != *owner)
    {
        return Err(Refusal::KeysTaken(owner.clone()));
    }
    if let Some(owner) = beyond.place_owner
        && pos.is_none_or(|pos| pos.id != *owner)
    {
        return Err(Refusal::PlaceTaken(owner.clone()));
    }
    let Some(pos) = pos else {
        return Ok(vec![Event::Registered(wanted.clone())]);
    };
    if *wanted == pos.registration {
        return Ok(Vec::new());
    }
    if let Some(order) = &pos.open {
        let only_the_name = Registration {
            name: pos.registration.name.clone(),
            ..wanted.clone()
        } == pos.registration;
        if !only_the_name {
            return Err(Refusal::OrderOpen(order.reference.clone()));
        }
    }
    Ok(vec![Event::Changed(wanted.clone())])
}

fn remove(pos: &Pos) -> Result<Decision, Refusal> {
    match &pos.open {
        Some(order) => Err(Refusal::OrderOpen(order.reference.clone())),
        None => Ok(Decision {
            events: vec![Event::Removed],
            lease: None,
        }),
    }
}

fn say(pos: &Pos, word: &Word, lease_seconds: Option<u64>, now: Timestamp) -> Result<Decision, Refusal> {
    if let Some(order) = &pos.open {
        return Err(Refusal::OrderOpen(order.reference.clone()));
    }
    let events = if *word == pos.word {
        Vec::new()
    } else {
        vec![Event::StateChanged {
            to: NewState::Waiting(word.waiting),
            message: word.message.clone(),
        }]
    };
    let lease = match lease_seconds {
        Some(seconds) => Some(renewed(pos, now.plus_seconds(seconds))),
        None => pos.lease,
    };
    Ok(Decision { events, lease })
}

fn hold_lease(pos: &Pos, seconds: u64, now: Timestamp) -> Decision {
    let was_withheld = matches!(pos.standing(), Standing::Withheld(_));
    let events = if was_withheld {
        vec![Event::StateChanged {
            to: NewState::Ready,
            message: None,
        }]
    } else {
        Vec::new()
    };
    Decision {
        events,
        lease: Some(renewed(pos, now.plus_seconds(seconds))),
    }
}

/// A renewal must be seen as one even while the wall clock stands still: it is another deadline than the one before.
fn renewed(pos: &Pos, until: Timestamp) -> Timestamp {
    if pos.lease == Some(until) {
        Timestamp(until.0 + 1)
    } else {
        until
    }
}

fn lapse_lease(pos: &Pos, until: Timestamp) -> Decision {
    if pos.lease != Some(until) {
        return Decision {
            events: Vec::new(),
            lease: pos.lease,
        };
    }
    let polls_change = match &pos.open {
        Some(order) => pos.registration.require_lease && order.posted.is_none(),
        None => pos.word != Word::plain(Waiting::Timeout),
    };
    let timeout = Event::StateChanged {
        to: NewState::Waiting(Waiting::Timeout),
        message: None,
    };
    Decision {
        events: if polls_change { vec![timeout] } else { Vec::new() },
        lease: None,
    }
}

fn cancel(pos: &Pos, reason: Option<CancelReason>, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    match (&pos.open, pos.last.as_deref()) {
        (Some(order), _) => Ok(match &order.posted {
            None => canceled(order, reason, now),
            Some(posted) if posted.canceling => Vec::new(),
            Some(_) => vec![Event::CancelAsked {
                facts: order.facts(),
                reason,
            }],
        }),
        (None, Some((_, Status::Canceled))) => Ok(Vec::new()),
        (None, Some((reference, Status::Paid))) => Err(Refusal::OrderPaid(reference.clone())),
        (None, _) => Err(Refusal::OrderNone),
    }
}

fn canceled(order: &Order, reason: Option<CancelReason>, now: Timestamp) -> Vec<Event> {
    let facts = order.facts();
    let canceled = Order {
        canceled_for: reason,
        ..order.clone()
    };
    end(&canceled, Event::OrderCanceled { facts, reason }, now)
}

fn sent(order: &Order, intent: Option<&IntentId>, qr_data: Option<&QrData>) -> Vec<Event> {
    let Some(posted) = &order.posted else { return Vec::new() };
    let names_it = posted.intent.is_none() && intent.is_some();
    if order.status != Status::Sending && !names_it {
        return Vec::new();
    }
    vec![Event::OrderSent {
        facts: order.facts(),
        intent: intent.cloned(),
        qr_data: qr_data.cloned(),
    }]
}

/// One that the controller wanted canceled is canceled so.
fn rejected(order: &Order, why: &Reason, now: Timestamp) -> Vec<Event> {
    if order.is_canceling() {
        return canceled(order, order.canceled_for, now);
    }
    let facts = order.facts();
    let why = why.clone();
    end(order, Event::OrderRejected { facts, why }, now)
}

fn push_order(pos: &Pos, known: Option<&Order>, push: &Push, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    if let Some(known) = known {
        return same_again(pos, known, push).map_or(Ok(Vec::new()), |used| Err(Refusal::ReferenceUsed(used)));
    }
    if push.account != pos.registration.account {
        return Err(Refusal::AccountChanged(pos.registration.account.clone()));
    }
    let way = pos.registration.way(&pos.id).map_err(Refusal::NoExternalName)?;
    let mut events = Vec::new();
    match &pos.open {
        Some(order) if !push.replace => return Err(Refusal::OrderOpen(order.reference.clone())),
        Some(order) => events.extend(end(order, Event::OrderReplaced(order.facts()), now)),
        None => {}
    }
    let order = Order::new(
        push.reference.clone(),
        pos.id.clone(),
        pos.registration.account.clone(),
        push.payee.clone(),
        push.content.clone(),
        push.content.late_payment.unwrap_or(push.late_payment),
        now,
    );
    events.push(Event::OrderReady(Arc::new(match way {
        Some(way) => order.to_post(way),
        None => order,
    })));
    Ok(events)
}

/// Why a push is not the one that was recorded under its reference; nothing if it is.
fn same_again(pos: &Pos, known: &Order, push: &Push) -> Option<Used> {
    if known.pos != pos.id {
        Some(Used::Elsewhere(known.pos.clone()))
    } else if known.reference != push.reference {
        Some(Used::OtherCase(known.reference.clone()))
    } else {
        known.content.differs(&push.content).map(Used::OtherContent)
    }
}

fn deliver(order: &Order, report: &Report, failed: DeliveryFailed, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    if order.status != Status::Paid {
        return Err(Refusal::OrderNotPaid(order.status));
    }
    let delivery = match report {
        Report::Dispensed => Delivery::Dispensed,
        Report::Failed { amount, reason } => Delivery::Failed {
            amount: amount
                .as_deref()
                .map(|text| undelivered(order, text))
                .transpose()
                .map_err(Refusal::DeliveryAmount)?,
            reason: reason.clone(),
        },
    };
    match &order.delivery {
        None => {
            let back = not_delivered(order, &delivery, failed, now);
            let facts = order.facts();
            let reported = Event::DeliveryReported { facts, delivery };
            Ok(std::iter::once(reported).chain(back).collect())
        }
        Some((before, _)) if *before == delivery => Ok(Vec::new()),
        Some(_) => Err(Refusal::DeliveryContradicts),
    }
}

/// The part that was not delivered: more than nothing, at most all.
fn undelivered(order: &Order, text: &str) -> Result<Money, BadDelivery> {
    let amount = Money::parse(text, order.currency())?;
    if amount.is_zero() {
        Err(super::money::BadAmount::Zero.into())
    } else if order.amount().covers(amount) {
        Ok(amount)
    } else {
        Err(BadDelivery::TooMuch(order.amount()))
    }
}

fn overdue(order: &Order) -> Vec<Event> {
    if order.status == Status::Paid && order.delivery.is_none() && order.overdue_at.is_none() {
        vec![Event::DeliveryOverdue(order.facts())]
    } else {
        Vec::new()
    }
}

/// A refund ends once.
fn refunded(order: &Order, number: u32, state: &RefundState) -> Vec<Event> {
    let waits = |refund: &&Refund| refund.number == number && refund.waits();
    let ended = order
        .refunds
        .iter()
        .find(waits)
        .filter(|_| *state != RefundState::Requested);
    let ended = ended.map(|refund| Event::RefundEnded {
        facts: order.facts(),
        refund: Refund {
            state: state.clone(),
            ..refund.clone()
        },
    });
    ended.into_iter().collect()
}

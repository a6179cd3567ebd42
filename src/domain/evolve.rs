//! The memory: what an event makes of a POS and of an order. Whatever happened is taken as it is; nothing is judged here.

use std::sync::Arc;

use super::command::{Event, NewState};
use super::id::{PosId, Timestamp};
use super::order::{Order, Status};
use super::payment::{Payment, Sighting};
use super::pos::{Pos, State, Waiting, Word};

/// `id` is the POS's name, for the event that makes it known.
pub fn evolve(state: State, id: &PosId, event: &Event, at: Timestamp) -> State {
    match (state, event) {
        (None, Event::Registered(registration)) => Some(Pos::new(id.clone(), registration.clone())),
        (_, Event::Removed) => None,
        (Some(mut pos), event) => {
            evolve_pos(&mut pos, event, at);
            Some(pos)
        }
        (None, _) => None,
    }
}

fn evolve_pos(pos: &mut Pos, event: &Event, at: Timestamp) {
    match event {
        Event::Registered(registration) | Event::Changed(registration) => pos.registration = registration.clone(),
        Event::Removed => {}
        Event::StateChanged {
            to: NewState::Waiting(waiting),
            message,
        } if pos.open.is_none() => {
            pos.word = Word {
                waiting: *waiting,
                message: message.clone(),
            };
        }
        // An order is open: what polls are told follows from the lease.
        Event::StateChanged { .. } => {}
        Event::OrderReady(order) => {
            pos.word = Word::plain(Waiting::Unavailable);
            pos.open = Some(order.clone());
        }
        Event::OrderShown(_)
        | Event::OrderSent { .. }
        | Event::OrderRejected { .. }
        | Event::CancelAsked { .. }
        | Event::OrderCanceled { .. }
        | Event::OrderReplaced(_)
        | Event::OrderExpired(_)
        | Event::OrderPaid { .. }
        | Event::PaymentPartial { .. }
        | Event::LatePayment { .. }
        | Event::Overpaid { .. }
        | Event::PaymentSeen { .. }
        | Event::PaymentReversed { .. }
        | Event::RefundRequested { .. }
        | Event::RefundEnded { .. }
        | Event::DeliveryReported { .. }
        | Event::DeliveryOverdue(_) => evolve_open(pos, event, at),
    }
}

/// An event of the open order changes it here too; one of an earlier order leaves the POS alone, unless that order is
/// the last that ended.
fn evolve_open(pos: &mut Pos, event: &Event, at: Timestamp) {
    let Some(reference) = event.reference() else { return };
    match pos.open.take() {
        Some(mut order) if order.reference == *reference => {
            evolve_order(Arc::make_mut(&mut order), event, at);
            if order.status.is_open() {
                pos.open = Some(order);
            } else {
                pos.last = Some(Box::new((order.reference.clone(), order.status)));
            }
        }
        open => {
            pos.open = open;
            if let (Event::OrderPaid { .. }, Some(last)) = (event, pos.last.as_deref_mut())
                && last.0 == *reference
            {
                last.1 = Status::Paid;
            }
        }
    }
}

/// The orders that events change, as they stand afterwards. `known` are those that were there before, if they are about
/// them.
pub fn orders_after<'a>(
    known: impl IntoIterator<Item = &'a Arc<Order>>,
    events: &[Event],
    at: Timestamp,
) -> Vec<Arc<Order>> {
    let known: Vec<&Arc<Order>> = known.into_iter().collect();
    let mut changed: Vec<Arc<Order>> = Vec::new();
    for event in events {
        if let Event::OrderReady(order) = event {
            changed.push(order.clone());
            continue;
        }
        let Some(reference) = event.reference() else { continue };
        if changed.iter().all(|order| order.reference != *reference) {
            changed.extend(
                known
                    .iter()
                    .find(|order| order.reference == *reference)
                    .copied()
                    .cloned(),
            );
        }
        for order in changed.iter_mut().filter(|order| order.reference == *reference) {
            evolve_order(Arc::make_mut(order), event, at);
        }
    }
    changed
}

/// What an event makes of the order it is about.
pub fn evolve_order(order: &mut Order, event: &Event, at: Timestamp) {
    let end = |order: &mut Order, status| {
        order.status = status;
        order.ended_at = Some(at);
    };
    match event {
        Event::OrderShown(_) => {
            order.status = Status::Shown;
            order.shown_at = Some(at);
        }
        Event::OrderSent { intent, qr_data, .. } => {
            if order.status == Status::Sending {
                order.status = Status::Ready;
            }
            if let Some(posted) = &mut order.posted {
                posted.intent.clone_from(intent);
                posted.qr_data.clone_from(qr_data);
            }
        }
        Event::OrderRejected { why, .. } => {
            if let Some(posted) = &mut order.posted {
                posted.refused = Some(why.clone());
            }
            end(order, Status::Rejected);
        }
        Event::CancelAsked { reason, .. } => {
            order.canceled_for = *reason;
            if let Some(posted) = &mut order.posted {
                posted.canceling = true;
            }
        }
        Event::OrderCanceled { reason, .. } => {
            order.canceled_for = *reason;
            end(order, Status::Canceled);
        }
        Event::OrderReplaced(_) => end(order, Status::Replaced),
        Event::OrderExpired(_) => end(order, Status::Expired),
        Event::OrderPaid { payments, .. } => {
            record(order, payments);
            end(order, Status::Paid);
        }
        Event::PaymentPartial { payments, .. }
        | Event::LatePayment { payments, .. }
        | Event::Overpaid { payments, .. } => record(order, payments),
        Event::PaymentSeen { sighting, .. } => remember(order, *sighting),
        Event::PaymentReversed { payment, .. } => {
            for known in order.payments.iter_mut().filter(|known| known.id == payment.id) {
                known.reversed = payment.reversed;
            }
        }
        Event::RefundRequested { refunds, .. } => order.refunds.extend(refunds.iter().cloned()),
        Event::RefundEnded { refund, .. } => {
            for known in order.refunds.iter_mut().filter(|known| known.number == refund.number) {
                known.state = refund.state.clone();
            }
        }
        Event::DeliveryReported { delivery, .. } => order.delivery = Some((delivery.clone(), at)),
        Event::DeliveryOverdue(_) => order.overdue_at = Some(at),
        Event::OrderReady(_)
        | Event::Registered(_)
        | Event::Changed(_)
        | Event::Removed
        | Event::StateChanged { .. } => {}
    }
}

/// A payment is recorded once, however many events carry it.
fn record(order: &mut Order, payments: &[Payment]) {
    for payment in payments {
        if order.payments.iter().all(|known| known.id != payment.id) {
            order.payments.push(payment.clone());
        }
    }
}

fn remember(order: &mut Order, sighting: Sighting) {
    if !order.sightings.contains(&sighting) {
        order.sightings.push(sighting);
    }
}

//! What money means for an order: when it is paid, what should not be ours, and what goes back.

use super::account::{DeliveryFailed, LatePayment};
use super::command::{Action, BadRefund, Event, Refusal, Wanted};
use super::id::Timestamp;
use super::money::{BadAmount, Money};
use super::order::{CancelReason, Delivery, Order, Status};
use super::payment::{Ask, Cause, Findings, Found, Payment, Refund, RefundState, Reversed, Sighting};
use crate::limits;

/// What follows from all that the API knows. The first approved payments are kept; the rest should not be ours.
pub(super) fn settle(order: &Order, findings: &Findings, now: Timestamp) -> Vec<Event> {
    let mut events: Vec<Event> = reversals(order, findings)
        .chain(sightings(order, findings))
        .take(limits::NEWS_PER_ENTRY)
        .collect();
    events.extend(money(order, &ledger(order, findings), now));
    events
}

/// One payment of the order as it stands now.
struct Line {
    payment: Payment,
    /// What it brings, after all that went back.
    left: Money,
    /// Its merchant order is closed, so it pays.
    closed: bool,
    is_new: bool,
}

/// Each payment once: those that are recorded and those that are news, the first approved first. Money of another
/// currency is suspect and never counts.
fn ledger(order: &Order, findings: &Findings) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for recorded in &order.payments {
        let found = findings.payments.iter().find(|found| found.payment.id == recorded.id);
        // What went back stays gone, whatever an answer that is behind may say.
        let worse = found.and_then(|found| worse(recorded, by_others(order, found)));
        let payment = Payment {
            reversed: worse.or(recorded.reversed),
            ..recorded.clone()
        };
        lines.push(Line {
            left: order.left_of(&payment),
            payment,
            // What the API does not confirm now pays for nothing now.
            closed: found.is_some_and(|found| found.closed),
            is_new: false,
        });
    }
    for (place, found) in findings.payments.iter().enumerate() {
        let same = |payment: &Payment| payment.id == found.payment.id;
        let known =
            order.payments.iter().any(same) || findings.payments[..place].iter().any(|found| same(&found.payment));
        let left = order.left_of(&found.payment);
        if !known && found.payment.amount.currency() == order.currency() && !left.is_zero() {
            lines.push(Line {
                payment: found.payment.clone(),
                left,
                closed: found.closed,
                is_new: true,
            });
        }
    }
    lines.sort_by_key(|line| line.payment.approved_at);
    lines
}

/// Of all that went back, what was not given back by us.
fn by_others(order: &Order, found: &Found) -> Option<Reversed> {
    let Reversed { how, amount } = found.payment.reversed?;
    let amount = amount.minus(order.given_back(found.payment.id)?)?;
    (!amount.is_zero()).then_some(Reversed { how, amount })
}

/// Recorded payments of which others took back more than is recorded.
fn reversals<'a>(order: &'a Order, findings: &'a Findings) -> impl Iterator<Item = Event> + 'a {
    order.payments.iter().filter_map(move |recorded| {
        let found = findings.payments.iter().find(|found| found.payment.id == recorded.id)?;
        let reversed = worse(recorded, by_others(order, found))?;
        Some(Event::PaymentReversed {
            facts: order.facts(),
            payment: Payment {
                reversed: Some(reversed),
                ..recorded.clone()
            },
        })
    })
}

/// What went back by others now, if that is more than was known.
fn worse(recorded: &Payment, now: Option<Reversed>) -> Option<Reversed> {
    let now = now.map(|now| Reversed {
        amount: if recorded.amount.covers(now.amount) {
            now.amount
        } else {
            recorded.amount
        },
        ..now
    });
    now.filter(|now| recorded.reversed.is_none_or(|before| !before.amount.covers(now.amount)))
}

fn sightings<'a>(order: &'a Order, findings: &'a Findings) -> impl Iterator<Item = Event> + 'a {
    let room = limits::SIGHTINGS.saturating_sub(order.sightings.len());
    let mut told: Vec<Sighting> = Vec::new();
    let is_new = move |sighting: &Sighting| {
        let new = !order.sightings.contains(sighting) && !told.contains(sighting);
        told.push(*sighting);
        new
    };
    let news = findings.sightings.iter().copied().filter(is_new);
    news.take(room).map(|sighting| Event::PaymentSeen {
        facts: order.facts(),
        sighting,
    })
}

fn money(order: &Order, lines: &[Line], now: Timestamp) -> Vec<Event> {
    let news: Vec<&Line> = lines.iter().filter(|line| line.is_new).collect();
    if order.status == Status::Paid {
        return over(order, &news, None, now);
    }
    if (order.status.is_open() || accepts_late(order))
        && let Some(cover) = cover(order, lines)
    {
        let paid = Event::OrderPaid {
            facts: order.facts(),
            payments: cover.kept,
            late: !order.status.is_open(),
        };
        let mut events = vec![paid];
        events.extend(over(order, &cover.rest, cover.part, now));
        return events;
    }
    if news.is_empty() {
        return Vec::new();
    }
    let payments = news.iter().map(|line| line.payment.clone()).collect();
    if order.status.is_open() {
        let facts = order.facts();
        return vec![Event::PaymentPartial { facts, payments }];
    }
    late_money(order, payments, now)
}

/// Payments that bring the whole amount.
struct Cover<'a> {
    kept: Vec<Payment>,
    /// What the last of them brings too much.
    part: Option<(Payment, Money)>,
    rest: Vec<&'a Line>,
}

fn cover<'a>(order: &Order, lines: &'a [Line]) -> Option<Cover<'a>> {
    let mut missing = order.amount();
    let mut cover = Cover {
        kept: Vec::new(),
        part: None,
        rest: Vec::new(),
    };
    for line in lines.iter().filter(|line| !line.left.is_zero()) {
        if missing.is_zero() || !line.closed {
            cover.rest.push(line);
            continue;
        }
        if let Some(more) = line.left.minus(missing).filter(|more| !more.is_zero()) {
            cover.part = Some((line.payment.clone(), more));
        }
        missing = missing.minus(line.left).unwrap_or(Money::zero(order.currency()));
        cover.kept.push(line.payment.clone());
    }
    missing.is_zero().then_some(cover)
}

/// Money beyond what was asked: whole payments, and the part of one that was kept.
fn over(order: &Order, lines: &[&Line], part: Option<(Payment, Money)>, now: Timestamp) -> Vec<Event> {
    let whole = lines.iter().map(|line| (line.payment.clone(), line.left));
    let (payments, amounts): (Vec<Payment>, Vec<Money>) = part.into_iter().chain(whole).unzip();
    let nothing = Money::zero(order.currency());
    // More than an amount can say: the payments beside it tell.
    let excess = amounts.iter().fold(nothing, |sum, more| sum.plus(*more).unwrap_or(sum));
    if excess.is_zero() {
        return Vec::new();
    }
    let action = match order.late_payment {
        LatePayment::Report => Action::Report,
        LatePayment::Refund | LatePayment::Accept => Action::Refund,
    };
    let parts = payments.iter().map(|payment| payment.id).zip(amounts).collect();
    let refunds = back(order, action, parts, &Cause::Overpaid, now);
    let overpaid = Event::Overpaid {
        facts: order.facts(),
        payments,
        excess,
        action,
    };
    std::iter::once(overpaid).chain(refunds).collect()
}

/// The end of an open order. Money that came but was too little is late money from then on.
pub(super) fn end(order: &Order, ending: Event, now: Timestamp) -> Vec<Event> {
    let mut events = vec![ending];
    if !order.payments.is_empty() {
        events.extend(late_money(order, order.payments.clone(), now));
    }
    events
}

fn late_money(order: &Order, payments: Vec<Payment>, now: Timestamp) -> Vec<Event> {
    let action = match order.late_payment {
        // Short money is never enough to release a product, so `accept` cannot mean it.
        LatePayment::Accept if accepts_late(order) => Action::Report,
        LatePayment::Report => Action::Report,
        LatePayment::Refund | LatePayment::Accept => Action::Refund,
    };
    let parts = payments
        .iter()
        .map(|payment| (payment.id, order.left_of(payment)))
        .collect();
    let refunds = back(order, action, parts, &Cause::Late, now);
    let late = Event::LatePayment {
        facts: order.facts(),
        payments,
        action,
    };
    std::iter::once(late).chain(refunds).collect()
}

/// Whether money that comes after the end pays for the product. If that was paid with another wallet, it is paid twice.
fn accepts_late(order: &Order) -> bool {
    order.late_payment == LatePayment::Accept && order.canceled_for != Some(CancelReason::PaidElsewhere)
}

fn back(order: &Order, action: Action, parts: Vec<(u64, Money)>, cause: &Cause, now: Timestamp) -> Option<Event> {
    match action {
        Action::Report => None,
        Action::Refund => request(order, parts, cause, now),
    }
}

fn request(order: &Order, parts: Vec<(u64, Money)>, cause: &Cause, now: Timestamp) -> Option<Event> {
    let parts = parts.into_iter().filter(|(_, amount)| !amount.is_zero());
    let refunds: Vec<Refund> = (order.refunds.len() as u32 + 1..)
        .zip(parts)
        .map(|(number, (payment, amount))| Refund {
            number,
            payment,
            amount,
            cause: cause.clone(),
            requested_at: now,
            state: RefundState::Requested,
        })
        .collect();
    let facts = order.facts();
    (!refunds.is_empty()).then_some(Event::RefundRequested { facts, refunds })
}

/// What follows when the machine could not deliver.
pub(super) fn not_delivered(
    order: &Order,
    delivery: &Delivery,
    policy: DeliveryFailed,
    now: Timestamp,
) -> Option<Event> {
    match (delivery, policy) {
        (Delivery::Failed { amount, .. }, DeliveryFailed::Refund) => {
            // Of the first payments, which paid for it: what came beside them is an overpayment, with a policy of its own.
            let parts = taken(order.payments.iter(), order, amount.unwrap_or(order.amount()));
            request(order, parts, &Cause::Delivery, now)
        }
        (Delivery::Failed { .. }, DeliveryFailed::Report) | (Delivery::Dispensed, _) => None,
    }
}

/// What the controller asks to give back.
pub(super) fn refund(order: &Order, wanted: &Wanted, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let ask = Ask {
        key: wanted.key.clone(),
        payment: wanted.payment,
        amount: wanted
            .amount
            .as_deref()
            .map(|text| more_than_nothing(order, text))
            .transpose()
            .map_err(Refusal::RefundAmount)?,
    };
    let asked = order.refunds.iter().find_map(|refund| match &refund.cause {
        Cause::Asked(before) if before.key == ask.key => Some(before),
        _ => None,
    });
    match asked {
        Some(before) if *before == ask => return Ok(Vec::new()),
        Some(_) => return Err(Refusal::RefundKeyUsed),
        None => {}
    }
    if order.payments.is_empty() {
        return Err(Refusal::OrderNotPaid(order.status));
    }
    if let Some(payment) = ask.payment
        && order.payments.iter().all(|known| known.id != payment)
    {
        return Err(Refusal::PaymentUnknown(payment));
    }
    let left = total_left(order, ask.payment);
    let amount = ask.amount.unwrap_or(left);
    if amount.is_zero() || !left.covers(amount) {
        return Err(Refusal::RefundAmount(BadRefund::TooMuch(left)));
    }
    let parts = newest_first(order, ask.payment, amount);
    if order.refunds.len() + parts.len() > limits::REFUNDS {
        return Err(Refusal::TooManyRefunds);
    }
    Ok(request(order, parts, &Cause::Asked(ask), now).into_iter().collect())
}

fn more_than_nothing(order: &Order, text: &str) -> Result<Money, BadRefund> {
    let amount = Money::parse(text, order.currency())?;
    if amount.is_zero() {
        Err(BadAmount::Zero.into())
    } else {
        Ok(amount)
    }
}

fn total_left(order: &Order, of: Option<u64>) -> Money {
    let payments = order
        .payments
        .iter()
        .filter(|payment| of.is_none_or(|id| id == payment.id));
    payments.fold(Money::zero(order.currency()), |sum, payment| {
        sum.plus(order.left_of(payment)).unwrap_or(sum)
    })
}

/// Of the newest first, since the first was the one that paid.
fn newest_first(order: &Order, of: Option<u64>, amount: Money) -> Vec<(u64, Money)> {
    let wanted = |payment: &&Payment| of.is_none_or(|id| id == payment.id);
    taken(order.payments.iter().rev().filter(wanted), order, amount)
}

/// `amount`, or what is left of it, taken from these payments one after the other.
fn taken<'a>(payments: impl Iterator<Item = &'a Payment>, order: &Order, mut amount: Money) -> Vec<(u64, Money)> {
    let mut parts = Vec::new();
    for payment in payments {
        let left = order.left_of(payment);
        let part = if left.covers(amount) { amount } else { left };
        amount = amount.minus(part).unwrap_or(amount);
        parts.push((payment.id, part));
    }
    parts.retain(|(_, part)| !part.is_zero());
    parts
}

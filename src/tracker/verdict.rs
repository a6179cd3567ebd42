//! What Mercado Pago's answers mean for an order (`protocol.md` 5.4). Pure: answers in, findings out.
//!
//! Nothing else makes an order paid: not a notification, not `order_status`, not `paid_amount`, not a scan.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::domain::id::{Reference, Timestamp};
use crate::domain::money::Money;
use crate::domain::order::{Order, Status};
use crate::domain::payment::{Findings, Found, Oddity, Payment, Reversal, Reversed, Sighting, Suspect};
use crate::limits;
use crate::mercadopago::{self, MerchantOrder, MerchantOrderStatus, PaymentOfOrder, PaymentStatus};

/// The merchant orders that name the order's reference. Mercado Pago compares it without regard to case.
pub(super) fn about(order: &Order, merchant_orders: Vec<MerchantOrder>) -> Vec<MerchantOrder> {
    let names = |found: &MerchantOrder| {
        let reference = found.external_reference.as_deref().map(Reference::parse);
        matches!(reference, Some(Ok(reference)) if reference.same(&order.reference))
    };
    merchant_orders.into_iter().filter(names).collect()
}

/// The payments to be asked for, one by one: those that may count, and those that are not any more what was recorded.
pub(super) fn questions(order: &Order, merchant_orders: &[MerchantOrder]) -> Vec<u64> {
    let all = merchant_orders.iter().flat_map(|found| &found.payments);
    let mut asked: Vec<u64> = all
        .filter(|payment| is_question(order, payment))
        .filter_map(|payment| payment.id)
        .collect();
    let is_recorded = |id: &u64| order.payments.iter().any(|known| known.id == *id);
    // What nobody knows of yet goes first: it must at least be told.
    asked.sort_unstable_by_key(|id| (is_recorded(id), *id));
    asked.dedup();
    asked.truncate(limits::PAYMENTS_PER_LOOK);
    asked
}

fn is_question(order: &Order, told: &PaymentOfOrder) -> bool {
    let recorded = order.payments.iter().find(|known| Some(known.id) == told.id);
    match (&told.status, recorded) {
        (PaymentStatus::Approved, None) => true,
        (PaymentStatus::Approved, Some(recorded)) => {
            // Until it is paid, everything is verified each time.
            order.status != Status::Paid || told.refunded_amount != order.gone_of(recorded).map(Money::amount)
        }
        (PaymentStatus::Refunded | PaymentStatus::ChargedBack, Some(recorded)) => {
            order.gone_of(recorded) != Some(recorded.amount)
        }
        _ => false,
    }
}

/// What all of it comes to. `payments` are the answers to [`questions`].
pub(super) fn findings(
    order: &Order,
    merchant_orders: &[MerchantOrder],
    payments: &BTreeMap<u64, mercadopago::Payment>,
) -> Findings {
    let mut findings = Findings::default();
    for merchant_order in merchant_orders {
        let odd = |payment, why| {
            Sighting::Suspect(Suspect {
                merchant_order: Some(merchant_order.id),
                payment,
                why,
            })
        };
        let closed = merchant_order.status == MerchantOrderStatus::Closed;
        if closed && merchant_order.payments.is_empty() {
            findings.sightings.push(odd(None, Oddity::NoPayments));
        }
        for told in &merchant_order.payments {
            let Some(id) = told.id else {
                findings.sightings.push(odd(None, Oddity::PaymentId));
                continue;
            };
            match judge(order, merchant_order, told, payments.get(&id)) {
                Judged::Nothing => {}
                Judged::Found(payment) => findings.payments.push(Found { payment, closed }),
                Judged::Pending => findings.sightings.push(Sighting::Pending(id)),
                Judged::Rejected => findings.sightings.push(Sighting::Rejected(id)),
                Judged::Odd(why) => findings.sightings.push(odd(Some(id), why)),
            }
        }
    }
    findings
}

/// What a closed intent tells beside the merchant orders: its payments may have none.
pub(super) fn findings_of_intent(
    order: &Order,
    results: &[u64],
    merchant_orders: &[MerchantOrder],
    payments: &BTreeMap<u64, mercadopago::Payment>,
) -> Findings {
    let mut findings = Findings::default();
    for id in results {
        let mut told = merchant_orders.iter().flat_map(|found| &found.payments);
        let Some(answer) = payments.get(id).filter(|_| told.all(|told| told.id != Some(*id))) else {
            continue;
        };
        let judged = match &answer.status {
            PaymentStatus::Pending | PaymentStatus::InProcess | PaymentStatus::Authorized => Judged::Pending,
            PaymentStatus::Rejected | PaymentStatus::Cancelled => Judged::Rejected,
            PaymentStatus::Approved | PaymentStatus::Refunded | PaymentStatus::ChargedBack => {
                let own = paid(order, *id, answer, answer.merchant_order, None);
                own.unwrap_or_else(Judged::Odd)
            }
            _ => Judged::Nothing,
        };
        match judged {
            Judged::Nothing => {}
            Judged::Found(payment) => findings.payments.push(Found { payment, closed: true }),
            Judged::Pending => findings.sightings.push(Sighting::Pending(*id)),
            Judged::Rejected => findings.sightings.push(Sighting::Rejected(*id)),
            Judged::Odd(why) => findings.sightings.push(Sighting::Suspect(Suspect {
                merchant_order: answer.merchant_order,
                payment: Some(*id),
                why,
            })),
        }
    }
    findings
}

enum Judged {
    Nothing,
    Found(Payment),
    Pending,
    Rejected,
    Odd(Oddity),
}

/// `answer` is what the API says of the payment itself, where it was asked.
fn judge(
    order: &Order,
    merchant_order: &MerchantOrder,
    told: &PaymentOfOrder,
    answer: Option<&mercadopago::Payment>,
) -> Judged {
    match (&told.status, answer) {
        (PaymentStatus::Pending | PaymentStatus::InProcess | PaymentStatus::Authorized, _) => Judged::Pending,
        (PaymentStatus::Rejected | PaymentStatus::Cancelled, _) => Judged::Rejected,
        (PaymentStatus::Approved | PaymentStatus::Refunded | PaymentStatus::ChargedBack, Some(answer)) => {
            verified(order, merchant_order, told, answer).unwrap_or_else(Judged::Odd)
        }
        _ => Judged::Nothing,
    }
}

/// A payment is ours if it and its merchant order say so, with the same amount.
fn verified(
    order: &Order,
    merchant_order: &MerchantOrder,
    told: &PaymentOfOrder,
    answer: &mercadopago::Payment,
) -> Result<Judged, Oddity> {
    let collector = order.payee.collector_id;
    // Of a merchant order anything may be missing; the payment itself must say whose it is.
    if merchant_order.collector_id.is_some_and(|id| id != collector) {
        return Err(Oddity::Collector);
    }
    let other_currency = |code: &String| code != order.currency().code();
    if merchant_order.currencies.iter().any(other_currency) || told.currency_id.as_ref().is_some_and(other_currency) {
        return Err(Oddity::Currency);
    }
    let id = told.id.ok_or(Oddity::PaymentId)?;
    let judged = paid(order, id, answer, Some(merchant_order.id), told.date_approved)?;
    if told
        .transaction_amount
        .is_some_and(|told| Some(told) != answer.transaction_amount)
    {
        return Err(Oddity::Amount);
    }
    Ok(judged)
}

/// What the payment says of itself. It must say whose it is.
fn paid(
    order: &Order,
    asked: u64,
    answer: &mercadopago::Payment,
    merchant_order: Option<u64>,
    approved_at: Option<Timestamp>,
) -> Result<Judged, Oddity> {
    if answer.collector_id != Some(order.payee.collector_id) {
        return Err(Oddity::Collector);
    }
    if answer.currency_id.as_deref() != Some(order.currency().code()) {
        return Err(Oddity::Currency);
    }
    let reference = answer.external_reference.as_deref().map(Reference::parse);
    if !matches!(reference, Some(Ok(reference)) if reference.same(&order.reference)) {
        return Err(Oddity::Reference);
    }
    let (Some(id), Some(amount)) = (answer.id, money(order, answer.transaction_amount)) else {
        return Err(if answer.id.is_none() {
            Oddity::PaymentId
        } else {
            Oddity::Amount
        });
    };
    if id != asked {
        return Err(Oddity::Amount);
    }
    let refunded = money(order, answer.refunded_amount).ok_or(Oddity::Amount)?;
    let reversed = match answer.status {
        PaymentStatus::Approved if refunded.is_zero() => None,
        PaymentStatus::Approved => Some((Reversal::Refunded, refunded)),
        PaymentStatus::Refunded => Some((Reversal::Refunded, amount)),
        PaymentStatus::ChargedBack => Some((Reversal::ChargedBack, amount)),
        // It has not come to that yet, or not any more: the next look tells.
        _ => return Ok(Judged::Nothing),
    };
    Ok(Judged::Found(Payment {
        id,
        merchant_order,
        amount,
        approved_at: answer.date_approved.or(approved_at),
        reversed: reversed.map(|(how, amount)| Reversed { how, amount }),
    }))
}

/// More decimals than the currency has, or none at all, is no money.
fn money(order: &Order, amount: Option<Decimal>) -> Option<Money> {
    Money::from_decimal(amount?, order.currency())
}

#[cfg(test)]
pub(super) mod tests;

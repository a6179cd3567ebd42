//! What no answer of the API may break. Built for the fuzzer, and for the tests, which try what it kept.

use std::collections::{BTreeMap, BTreeSet};

use super::verdict::{about, findings, questions};
use crate::domain::account::{LatePayment, Payee};
use crate::domain::command::{Command, Event};
use crate::domain::decide::{Beyond, decide};
use crate::domain::evolve::evolve_order;
use crate::domain::id::{AccountId, PosId, Reference, Timestamp};
use crate::domain::money::{Currency, Money};
use crate::domain::order::{Content, Item, Items, Order, Quantity, Status};
use crate::domain::payment::{Findings, Found, RefundState};
use crate::domain::pos::{Mode, Pos, Registration};
use crate::domain::text::Text;
use crate::limits;
use crate::mercadopago::{MerchantOrder, Payment, PaymentStatus};

const OURS: u64 = 178_106_235;
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// A line for each answer: a merchant order, and the payments that are asked for. Then the same merchant order once more,
/// as if nothing had been heard of its payments.
pub fn payment(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let Ok(merchant_order) = MerchantOrder::parse(lines.next().unwrap_or_default()) else {
        return;
    };
    let payments: Vec<Payment> = lines
        .take(limits::PAYMENTS_PER_LOOK)
        .filter_map(|line| Payment::parse(line).ok())
        .collect();
    for late_payment in [LatePayment::Report, LatePayment::Refund, LatePayment::Accept] {
        for status in [Status::Shown, Status::Expired] {
            let mut order = order(late_payment);
            if status == Status::Expired {
                let expired = Event::OrderExpired(order.facts());
                evolve_order(&mut order, &expired, NOW);
            }
            look(&mut order, &merchant_order, &payments);
            look(&mut order, &merchant_order, &[]);
        }
    }
}

/// Looks until there is nothing new, as the tracker does.
fn look(order: &mut Order, merchant_order: &MerchantOrder, payments: &[Payment]) {
    // The most that one look can tell, told a few at a time; then there is nothing new.
    let rounds = 2 + (limits::SIGHTINGS + limits::PAYMENTS_PER_LOOK) / limits::NEWS_PER_ENTRY;
    for _ in 0..rounds {
        let found = ask(order, merchant_order, payments);
        let events = settle(order, found.clone());
        assert!(events.len() as u64 <= limits::EVENTS_PER_ENTRY);
        let nothing_new = events.is_empty();
        for event in events {
            paid_is_paid(&event, &found, payments);
            evolve_order(order, &event, NOW);
        }
        no_more_goes_back_than_came(order);
        if nothing_new {
            return;
        }
    }
    panic!("every look tells something new: {order:?}");
}

fn ask(order: &Order, merchant_order: &MerchantOrder, payments: &[Payment]) -> Findings {
    let merchant_orders = about(order, vec![merchant_order.clone()]);
    let asked = questions(order, &merchant_orders);
    assert!(asked.len() <= limits::PAYMENTS_PER_LOOK);
    assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len());
    // Mercado Pago may answer with another payment than the one that was asked for.
    let answers: BTreeMap<u64, Payment> = asked.into_iter().zip(payments.iter().cloned()).collect();
    findings(order, &merchant_orders, &answers)
}

fn settle(order: &Order, findings: Findings) -> Vec<Event> {
    let registration = Registration {
        account: order.account.clone(),
        mode: Mode::Unattended,
        keys: None,
        name: None,
        require_lease: false,
        url_secret: false,
        external: None,
    };
    let state = Some(Pos::new(order.pos.clone(), registration));
    let beyond = Beyond {
        order: Some(order),
        keys_owner: None,
        place_owner: None,
    };
    let reference = order.reference.clone();
    let command = Command::Settle { reference, findings };
    decide(&state, beyond, &command, NOW)
        .expect("what is found is taken")
        .events
}

/// Released only for what the API itself says is ours, approved and enough, payment by payment.
fn paid_is_paid(event: &Event, found: &Findings, answers: &[Payment]) {
    let Event::OrderPaid { facts, payments, .. } = event else {
        return;
    };
    let ids: BTreeSet<u64> = payments.iter().map(|payment| payment.id).collect();
    assert_eq!(ids.len(), payments.len(), "a payment counts once");
    let mut sum = 0;
    for payment in payments {
        let closed = |found: &&Found| found.payment.id == payment.id && found.closed;
        assert!(found.payments.iter().any(|found| closed(&found)), "{payment:?}");
        let is_it = |said: &Payment| {
            said.id == Some(payment.id)
                && said.status == PaymentStatus::Approved
                && said.collector_id == Some(OURS)
                && said.currency_id.as_deref() == Some("ARS")
                && said
                    .external_reference
                    .as_ref()
                    .is_some_and(|text| text.eq_ignore_ascii_case("T-1"))
                && said.transaction_amount == Some(payment.amount.amount())
        };
        assert!(answers.iter().any(is_it), "{payment:?}");
        sum += units(payment.amount) - payment.reversed.map_or(0, |reversed| units(reversed.amount));
    }
    assert!(sum >= units(facts.amount), "{event:?}");
}

fn no_more_goes_back_than_came(order: &Order) {
    let ids: BTreeSet<u64> = order.payments.iter().map(|payment| payment.id).collect();
    assert_eq!(ids.len(), order.payments.len(), "a payment is recorded once");
    for payment in &order.payments {
        let reversed = payment.reversed.map_or(0, |reversed| units(reversed.amount));
        let live = order
            .refunds
            .iter()
            .filter(|refund| !matches!(refund.state, RefundState::Failed(_)));
        let back: i128 = live
            .filter(|refund| refund.payment == payment.id)
            .map(|refund| units(refund.amount))
            .sum();
        assert!(
            reversed <= units(payment.amount) && back + reversed <= units(payment.amount),
            "{order:?}"
        );
    }
}

/// In centavos, without a decimal library; never negative.
fn units(money: Money) -> i128 {
    let units = money.to_string().replace('.', "").parse().expect("digits");
    assert!(units >= 0);
    units
}

fn order(late_payment: LatePayment) -> Order {
    let price = Money::parse("100", Currency::Ars).expect("an amount");
    let (title, description) = (Text::parse("SUPER").expect("text"), Text::parse("SUPER").expect("text"));
    Order::new(
        Reference::parse("T-1").expect("a reference"),
        PosId::parse("P").expect("a name"),
        AccountId::parse("main").expect("a name"),
        Payee {
            collector_id: OURS,
            sponsor_id: None,
            notification_url: None,
            client_id: None,
        },
        Content::plain(
            Items::new(vec![Item::plain(title, description, Quantity::ONE, price)]).expect("items"),
            300,
        ),
        late_payment,
        NOW,
    )
}

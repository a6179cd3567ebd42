//! Laws that hold after every step of any sequence of commands.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::world::{World, pos_id, replay};
use crate::domain::account::LatePayment;
use crate::domain::command::{Command, Event};
use crate::domain::money::Money;
use crate::domain::order::{Order, Status};
use crate::domain::payment::Cause;
use crate::limits;

/// A sentence of `world`'s language, from pools so small that commands meet.
fn sentence() -> impl Strategy<Value = String> {
    let reference = || select(vec!["A", "a", "B", "C", "D"]);
    let amount = || select(vec!["50", "100"]);
    let payment = (
        1..5_u64,
        select(vec!["30", "50", "100", "150", "100BRL", "100?", "100-40", "100!100"]),
    )
        .prop_map(|(id, sum)| format!("{id}:{sum}"));
    let push = (
        reference(),
        amount(),
        any::<bool>(),
        select(vec!["", " late accept", " late refund"]),
    );
    prop_oneof![
        2 => select(vec![
            "register", "register require_lease", "register keys 1", "register keys 1 named Pump", "register attended", "register intent",
            "remove", "say in_process", "say in_process for 30", "say timeout message wait", "hold 30", "lapse",
            "lapse-older", "cancel", "cancel paid_elsewhere",
        ]).prop_map(str::to_owned),
        3 => push.prop_map(|(reference, amount, replace, late)| {
            format!("push {reference} {amount}{late}{}", if replace { " replace" } else { "" })
        }),
        1 => (select(vec!["sent", "withdraw", "give-up"]), reference()).prop_map(|(what, of)| format!("{what} {of}")),
        1 => reference().prop_map(|of| format!("reject {of} why")),
        1 => (select(vec!["shown", "expire", "dispensed", "failed"]), reference()).prop_map(|(what, of)| format!("{what} {of}")),
        1 => (reference(), amount()).prop_map(|(of, amount)| format!("failed {of} amount {amount}")),
        1 => (reference(), select(vec!["k1", "k2"]), select(vec!["", " amount 30", " of 1", " of 2 amount 60"]))
            .prop_map(|(of, key, rest)| format!("refund {of} {key}{rest}")),
        1 => (select(vec!["refunded", "not-refunded"]), reference(), 1..4_u64)
            .prop_map(|(what, of, number)| format!("{what} {of} {number}")),
        1 => reference().prop_map(|of| format!("overdue {of}")),
        1 => (reference(), select(vec!["pending:1", "rejected:1", "currency:1"])).prop_map(|(of, seen)| format!("see {of} {seen}")),
        2 => (reference(), vec(payment, 1..4)).prop_map(|(of, payments)| format!("pay {of} {}", payments.join(" "))),
    ]
}

fn policy() -> impl Strategy<Value = LatePayment> {
    select(vec![LatePayment::Report, LatePayment::Refund, LatePayment::Accept])
}

type Step = (&'static str, String, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec((select(vec!["P", "P", "Q"]), sentence(), 0..3_u64), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_the_laws_hold(policy in policy(), steps in steps()) {
        let mut world = World::new(policy);
        for pos in ["P", "Q"] {
            let register = world.read(&pos_id(pos), "register");
            world.apply(&pos_id(pos), &register).expect("a new POS");
        }
        let mut ended = BTreeSet::new();
        for (pos, sentence, seconds) in steps {
            world.now = world.now.plus_seconds(seconds);
            let pos = pos_id(pos);
            let command = world.read(&pos, &sentence);
            if let Ok(events) = world.apply(&pos, &command) {
                prop_assert!(events.len() as u64 <= limits::EVENTS_PER_ENTRY);
                released_by_a_settle_that_covers(&command, &events)?;
                let again = world.apply(&pos, &command);
                let nothing_new = again.as_ref().is_ok_and(Vec::is_empty);
                prop_assert!(nothing_new || matches!(command, Command::Remove), "{sentence} again: {again:?}");
            }
            an_order_is_open_on_its_pos_alone(&world)?;
            what_ended_stays_ended(&world, &mut ended)?;
        }
        replaying_gives_the_same(&world)?;
        no_more_goes_back_than_came(&world)?;
        no_money_goes_unsaid(&world)?;
    }
}

fn released_by_a_settle_that_covers(command: &Command, events: &[Event]) -> Result<(), TestCaseError> {
    for event in events {
        if let Event::OrderPaid { facts, payments, .. } = event {
            prop_assert!(matches!(command, Command::Settle { .. }), "paid by {command:?}");
            let sum = payments
                .iter()
                .try_fold(Money::zero(facts.amount.currency()), |sum, p| sum.plus(p.amount));
            prop_assert!(sum.is_some_and(|sum| sum.covers(facts.amount)), "{event:?}");
            let ids: BTreeSet<u64> = payments.iter().map(|payment| payment.id).collect();
            prop_assert_eq!(ids.len(), payments.len(), "a payment counted twice");
        }
    }
    Ok(())
}

fn an_order_is_open_on_its_pos_alone(world: &World) -> Result<(), TestCaseError> {
    let open: Vec<&Order> = world.orders.values().filter(|order| order.status.is_open()).collect();
    let on_pos: Vec<&Order> = world
        .pos
        .values()
        .flatten()
        .filter_map(|pos| pos.open.as_deref())
        .collect();
    prop_assert_eq!(open.len(), on_pos.len());
    for order in on_pos {
        prop_assert_eq!(world.order(&order.reference), Some(order));
        let own = world.pos.get(&order.pos).and_then(Option::as_ref);
        prop_assert_eq!(own.and_then(|pos| pos.open.as_deref()), Some(order));
        prop_assert_eq!(order.ended_at, None);
    }
    Ok(())
}

fn what_ended_stays_ended(world: &World, ended: &mut BTreeSet<String>) -> Result<(), TestCaseError> {
    for (reference, order) in &world.orders {
        prop_assert_eq!(order.status.is_open(), order.ended_at.is_none());
        prop_assert!(
            !(ended.contains(reference) && order.status.is_open()),
            "{} was opened again",
            reference
        );
        if !order.status.is_open() {
            ended.insert(reference.clone());
        }
    }
    Ok(())
}

fn replaying_gives_the_same(world: &World) -> Result<(), TestCaseError> {
    let (pos, orders) = replay(&world.history);
    prop_assert_eq!(&orders, &world.orders);
    for (id, state) in pos {
        let mut expected = world.state(&id);
        if let Some(pos) = &mut expected {
            pos.lease = None;
        }
        prop_assert_eq!(state, expected);
    }
    Ok(())
}

fn no_more_goes_back_than_came(world: &World) -> Result<(), TestCaseError> {
    for order in world.orders.values() {
        for payment in &order.payments {
            let back = order.given_back(payment.id).expect("small");
            prop_assert!(payment.amount.covers(back), "{back:?} of {payment:?}");
        }
        for refund in &order.refunds {
            prop_assert!(order.payments.iter().any(|payment| payment.id == refund.payment));
        }
        let numbers: BTreeSet<u32> = order.refunds.iter().map(|refund| refund.number).collect();
        prop_assert_eq!(numbers.len(), order.refunds.len(), "a number names one refund");
    }
    Ok(())
}

/// Of each order: what its events say of its money is what came.
fn no_money_goes_unsaid(world: &World) -> Result<(), TestCaseError> {
    let mut paid: BTreeMap<String, u32> = BTreeMap::new();
    let mut excess: BTreeMap<String, Money> = BTreeMap::new();
    let mut late: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for (_, event, _) in &world.history {
        let Some(reference) = event.reference().map(|reference| reference.folded()) else {
            continue;
        };
        match event {
            Event::OrderPaid { .. } => *paid.entry(reference).or_default() += 1,
            Event::Overpaid { excess: more, .. } => {
                let sum = excess.entry(reference).or_insert(Money::zero(more.currency()));
                *sum = sum.plus(*more).expect("small");
            }
            Event::LatePayment { payments, .. } => {
                late.entry(reference)
                    .or_default()
                    .extend(payments.iter().map(|payment| payment.id));
            }
            _ => {}
        }
    }
    for (reference, order) in &world.orders {
        let zero = Money::zero(order.currency());
        let came = order
            .payments
            .iter()
            .try_fold(zero, |sum, p| sum.plus(p.amount))
            .expect("small");
        let ids: BTreeSet<u64> = order.payments.iter().map(|payment| payment.id).collect();
        prop_assert_eq!(ids.len(), order.payments.len(), "a payment is recorded once");
        let is_paid = order.status == Status::Paid;
        prop_assert_eq!(paid.get(reference).copied().unwrap_or(0), u32::from(is_paid));
        // What went back before the order was paid did not pay it.
        let went_back = order.payments.iter().any(|payment| payment.reversed.is_some());
        let asked = order
            .refunds
            .iter()
            .any(|refund| matches!(refund.cause, Cause::Asked(_)));
        if is_paid && (went_back || asked) {
            continue;
        }
        if is_paid {
            prop_assert_eq!(
                came.minus(order.amount()),
                Some(excess.get(reference).copied().unwrap_or(zero))
            );
        } else {
            prop_assert!(!excess.contains_key(reference));
        }
        if !is_paid && !order.status.is_open() {
            prop_assert_eq!(late.get(reference).cloned().unwrap_or_default(), ids);
        }
    }
    Ok(())
}

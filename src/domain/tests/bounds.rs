//! What is just allowed, and what is one too many; and words that are read as they are written.

use std::collections::BTreeSet;
use std::time::Duration;

use super::rules::story;
use super::world::{START, World, ars, pos_id, reference, told};
use crate::domain::account::LatePayment;
use crate::domain::command::Command;
use crate::domain::hint::{Signature, Topic};
use crate::domain::id::{Rev, Timestamp};
use crate::domain::money::{Currency, Money};
use crate::domain::order::{BadItems, CancelReason, Item, Items, Order, Quantity, Status, UnitMeasure};
use crate::domain::payment::{Oddity, Reversal};
use crate::domain::pos::{Mode, Waiting};
use crate::domain::text::Text;
use crate::limits;

fn ask(world: &mut World, sentence: &str) -> String {
    let p = pos_id("P");
    let command = world.read(&p, sentence);
    match world.apply(&p, &command) {
        Ok(events) => events.iter().map(told).collect::<Vec<_>>().join(", "),
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn a_renewal_is_another_deadline_even_while_the_clock_stands_still() {
    let mut world = story(LatePayment::Report, &[]);
    let mut hold = |sentence| {
        ask(&mut world, sentence);
        world.state(&pos_id("P")).and_then(|pos| pos.lease).expect("it is held")
    };
    let until = START.plus_seconds(30);
    assert_eq!(hold("hold 30"), until);
    assert_eq!(hold("hold 30"), Timestamp(until.0 + 1));
    assert_eq!(hold("hold 30"), until);
    assert_eq!(hold("say in_process for 30"), Timestamp(until.0 + 1));
    assert_eq!(hold("hold 20"), START.plus_seconds(20), "it may be shortened");
}

#[test]
fn an_order_has_so_many_refunds_and_no_more() {
    let mut world = story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            ("pay A 1:50 2:50", "paid by 1+2 A", "unavailable"),
        ],
    );
    for number in 2..=limits::REFUNDS {
        let said = ask(&mut world, &format!("refund A k{number} of 1 amount 0.01"));
        assert_eq!(said, "back 1:0.01 A");
    }
    let too_many = format!("an order has at most {} refunds", limits::REFUNDS);
    assert_eq!(ask(&mut world, "refund A both amount 60"), too_many, "it would be two");
    assert_eq!(ask(&mut world, "refund A last amount 40"), "back 2:40.00 A");
    assert_eq!(ask(&mut world, "refund A more amount 1"), too_many);
    assert!(world.order(&reference("A")).is_some_and(Order::refunds_wait));
}

fn item(price: Money) -> Item {
    let (title, description) = (Text::parse("a").expect("text"), Text::parse("a").expect("text"));
    Item::plain(title, description, Quantity::ONE, price)
}

#[test]
fn items_are_few_of_one_currency_and_their_sum_is_an_amount() {
    let total = |items| Items::new(items).map(|items| items.total());
    let many = |count| vec![item(ars("1")); count];
    assert_eq!(total(many(limits::ITEMS)), Ok(ars("50")));
    assert_eq!(total(many(limits::ITEMS + 1)), Err(BadItems::TooMany));
    assert_eq!(total(many(0)), Err(BadItems::None));
    assert_eq!(total(vec![item(ars("0"))]), Err(BadItems::ZeroTotal));
    assert_eq!(total(vec![item(ars("0")), item(ars("0.01"))]), Ok(ars("0.01")));
    let most = ars("999999999999.99");
    assert_eq!(total(vec![item(most), item(ars("0"))]), Ok(most));
    assert_eq!(total(vec![item(most), item(ars("0.01"))]), Err(BadItems::TooLarge));
    let brl = Money::parse("1", Currency::Brl).expect("an amount");
    assert_eq!(total(vec![item(ars("1")), item(brl)]), Err(BadItems::Currencies));
}

#[test]
fn a_quantity_is_a_whole_number_up_to_a_million() {
    assert_eq!(Quantity::new(0), None);
    assert_eq!(Quantity::new(1), Some(Quantity::ONE));
    assert_eq!(Quantity::new(limits::QUANTITY).map(Quantity::get), Some(1_000_000));
    assert_eq!(Quantity::new(limits::QUANTITY + 1), None);
    let three = Item {
        quantity: Quantity::new(3).expect("in range"),
        ..item(ars("0.33"))
    };
    assert_eq!(three.total(), Some(ars("0.99")));
}

#[test]
fn instants_and_revisions_are_counted() {
    let at = Timestamp(5_000);
    assert_eq!(at.plus_seconds(2), Timestamp(7_000));
    assert_eq!(at.minus_seconds(2), Timestamp(3_000));
    assert_eq!(at.since(Timestamp(3_500)), Duration::from_millis(1_500));
    assert_eq!(Timestamp(3_500).since(at), Duration::ZERO);
    assert_eq!(Timestamp(i64::MAX).plus_seconds(u64::MAX), Timestamp(i64::MAX));
    assert_eq!(Timestamp(i64::MIN).minus_seconds(u64::MAX), Timestamp(i64::MIN));
    assert_eq!(Rev(7).next(), Rev(8));
}

#[test]
fn words_are_read_as_they_are_written() {
    fn check<T: Copy + PartialEq>(all: &[T], write: fn(T) -> &'static str, read: fn(&str) -> Option<T>) {
        let words: BTreeSet<&str> = all.iter().map(|one| write(*one)).collect();
        assert_eq!(words.len(), all.len(), "{words:?}");
        assert!(all.iter().all(|one| read(write(*one)) == Some(*one)), "{words:?}");
        assert!(read("").is_none() && read("xyzzy").is_none());
    }
    check(&Status::ALL, Status::as_str, Status::parse);
    check(&Mode::ALL, Mode::as_str, Mode::parse);
    check(&Waiting::ALL, Waiting::as_str, Waiting::parse);
    check(&Topic::ALL, Topic::as_str, Topic::parse);
    check(&Signature::ALL, Signature::as_str, Signature::parse);
    check(&Oddity::ALL, Oddity::as_str, Oddity::parse);
    let reversals = [Reversal::Refunded, Reversal::ChargedBack];
    check(&reversals, Reversal::as_str, Reversal::parse);
    let measures = [UnitMeasure::Unit, UnitMeasure::Pack];
    check(&measures, UnitMeasure::as_str, UnitMeasure::parse);
    check(
        &[CancelReason::PaidElsewhere],
        CancelReason::as_str,
        CancelReason::parse,
    );
}

#[test]
fn what_ends_an_offer_or_records_money_may_use_the_reserve() {
    let world = story(LatePayment::Report, &[]);
    let read = |sentence| -> Command { world.read(&pos_id("P"), sentence) };
    for (sentence, name, may) in [
        ("pay A 1:100", "settle", true),
        ("refunded A 1", "refunded", true),
        ("refund A k", "refund", true),
        ("overdue A", "overdue", true),
        ("dispensed A", "deliver", true),
        ("cancel", "cancel", true),
        ("expire A", "expire", true),
        ("lapse", "lapse_lease", true),
        ("hold 30", "lease", true),
        ("register", "register", false),
        ("remove", "remove", false),
        ("say in_process", "state", false),
        ("push A 100", "push", false),
        ("shown A", "shown", false),
    ] {
        let command = read(sentence);
        assert_eq!((command.name(), command.may_use_reserve()), (name, may));
        assert!(Command::NAMES.contains(&name));
    }
}

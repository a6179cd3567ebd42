use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use super::*;
use crate::domain::account::{Dialect, LatePayment, Payee};
use crate::domain::id::{AccountId, PosId, Reference, Timestamp};
use crate::domain::money::{Currency, Money};
use crate::domain::order::{Content, Item, Items, Order, Quantity, Status};
use crate::domain::pos::{Mode, PollKey, Pos, Registration, Waiting, Word};
use crate::domain::text::Text;
use crate::limits;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn table(secrets: &[&str]) -> (Table, Receiver<Ring>) {
    let (doorbell, rings) = doorbell();
    let names = Names::new(&["locationId", "positionId"]).expect("good names");
    (Table::new(names, UrlSecrets::new(secrets), doorbell), rings)
}

fn id(i: usize) -> PosId {
    PosId::parse(&format!("POS-{i}")).expect("a name")
}

fn key(i: usize) -> PollKey {
    PollKey::new(&["6232", &i.to_string()]).expect("good values")
}

fn query(i: usize) -> String {
    format!("locationId=6232&positionId={i}")
}

fn pos(i: usize) -> Pos {
    let registration = Registration {
        account: AccountId::parse("main").expect("a name"),
        mode: Mode::Unattended,
        keys: Some(key(i)),
        name: None,
        require_lease: false,
        url_secret: false,
        external: None,
    };
    Pos::new(id(i), registration)
}

fn order(i: usize, expires_in_seconds: u64) -> Order {
    let item = Item::plain(
        Text::parse("SUPER").expect("text"),
        Text::parse("SUPER").expect("text"),
        Quantity::ONE,
        Money::parse("18525.50", Currency::Ars).expect("an amount"),
    );
    Order::new(
        Reference::parse(&format!("T-{i}")).expect("a reference"),
        id(i),
        AccountId::parse("main").expect("a name"),
        Payee {
            collector_id: 1,
            sponsor_id: None,
            notification_url: None,
            client_id: None,
        },
        Content::plain(Items::new(vec![item]).expect("good items"), expires_in_seconds),
        LatePayment::Report,
        NOW,
    )
}

fn says(waiting: Waiting) -> Arc<Reply> {
    Reply::of(
        &Pos {
            word: Word::plain(waiting),
            ..pos(0)
        },
        Dialect::Documented,
        Instant::now(),
        None,
    )
}

fn offers(order: Order) -> Arc<Reply> {
    let until = Instant::now() + order.expires_at.since(NOW);
    Reply::of(
        &Pos {
            open: Some(Arc::new(order)),
            ..pos(0)
        },
        Dialect::Documented,
        until,
        None,
    )
}

fn slot(i: usize, reply: Arc<Reply>) -> Slot {
    Slot::new(key(i), id(i), &[], reply)
}

fn heard(rings: &mut Receiver<Ring>) -> Vec<Ring> {
    std::iter::from_fn(|| rings.try_recv().ok()).collect()
}

#[test]
fn a_poll_finds_its_pos() {
    let (table, _rings) = table(&[]);
    table.insert_all((0..5000).map(|i| slot(i, says(Waiting::InProcess))).collect());
    table.insert(slot(7, says(Waiting::Timeout)));
    assert_eq!(table.answer(&query(6)).outcome, Outcome::InProcess);
    assert_eq!(table.answer(&query(7)).outcome, Outcome::Timeout);
    let reply = says(Waiting::Unavailable);
    table.set_reply(&key(7), &reply);
    assert_eq!(table.answer(&query(7)).outcome, Outcome::Unavailable);
    assert!(table.reply(&key(7)).is_some_and(|found| Arc::ptr_eq(&found, &reply)));
    table.remove(&key(7), &id(8));
    assert_eq!(
        table.answer(&query(7)).outcome,
        Outcome::Unavailable,
        "that key is not POS-8's"
    );
    table.remove(&key(7), &id(7));
    table.remove(&key(7), &id(7));
    table.set_reply(&key(7), &reply);
    for unknown in [&query(7), &query(5000), "", "locationId=6232"] {
        let answer = table.answer(unknown);
        assert_eq!(
            (answer.status.as_u16(), answer.outcome),
            (400, Outcome::Invalid),
            "{unknown}"
        );
        assert_eq!(answer.body, r#"{"error":{"type":"invalid"}}"#);
    }
    assert!(
        (0..5000)
            .filter(|i| *i != 7)
            .all(|i| table.answer(&query(i)).outcome == Outcome::InProcess)
    );
}

/// Keys of many lengths, so that both ways of keeping them are found.
#[test]
fn long_keys_are_found_too() {
    let (table, _rings) = table(&[]);
    for len in 1..=limits::POLL_VALUE_LEN {
        let key = PollKey::new(&["6232".into(), "x".repeat(len)]).expect("good values");
        table.insert(Slot::new(key, id(len), &[], says(Waiting::InProcess)));
    }
    for len in 1..=limits::POLL_VALUE_LEN {
        let found = table.answer(&format!("locationId=6232&positionId={}", "x".repeat(len)));
        assert_eq!(found.outcome, Outcome::InProcess, "{len}");
    }
}

#[test]
fn readers_never_miss_what_is_registered() {
    let (table, _rings) = table(&[]);
    table.insert_all((0..2000).map(|i| slot(i, says(Waiting::InProcess))).collect());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let read = || {
            let mut polls = 0_usize;
            while !done.load(Ordering::Relaxed) || polls < 2000 {
                assert_eq!(table.answer(&query(polls % 2000)).outcome, Outcome::InProcess);
                polls += 1;
            }
        };
        scope.spawn(read);
        scope.spawn(read);
        for i in 2000..12_000 {
            table.insert(slot(i, says(Waiting::Timeout)));
            table.remove(&key(i), &id(i));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(table.answer(&query(2000)).outcome, Outcome::Invalid);
}

/// Copies of a shard are made while its POS are polled: what is polled is the old one or the new one, and whole.
#[test]
fn polls_see_one_reply_or_the_next_while_it_changes() {
    let (table, _rings) = table(&[]);
    let neighbours = SHARDS / 4;
    table.insert_all((0..neighbours).map(|i| slot(i, says(Waiting::InProcess))).collect());
    let (one, other) = (offers(order(1, 300)), says(Waiting::Timeout));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut polls = 0_usize;
            while !done.load(Ordering::Relaxed) || polls < 2000 {
                let outcome = table.answer(&query(1)).outcome;
                let one_of_them = [Outcome::InProcess, Outcome::Order, Outcome::Timeout];
                assert!(one_of_them.contains(&outcome), "{outcome:?}");
                assert!(table.answer(&query(polls % neighbours + 2)).outcome != Outcome::Order);
                polls += 1;
            }
        });
        for _ in 0..20_000 {
            table.set_reply(&key(1), &one);
            assert_eq!(table.answer(&query(1)).outcome, Outcome::Order, "set is seen");
            table.set_reply(&key(1), &other);
            assert_eq!(table.answer(&query(1)).outcome, Outcome::Timeout, "set is seen");
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// A visit goes on though its POS, and those beside it, change.
#[test]
fn what_changes_does_not_begin_a_visit() {
    let (table, mut rings) = table(&[]);
    table.insert(slot(1, says(Waiting::InProcess)));
    table.answer(&query(1));
    assert_eq!(heard(&mut rings), [Ring::Scanned { pos: id(1) }]);
    table.set_reply(&key(1), &says(Waiting::Timeout));
    table.insert(slot(1, says(Waiting::Unavailable)));
    table.answer(&query(1));
    assert_eq!(heard(&mut rings), []);
    // Another POS that takes the key over is another machine.
    table.insert(Slot::new(key(1), id(2), &[], says(Waiting::Unavailable)));
    table.answer(&query(1));
    assert_eq!(heard(&mut rings), [Ring::Scanned { pos: id(2) }]);
}

#[test]
fn an_order_rings_once_and_is_the_same_each_time() {
    let (table, mut rings) = table(&[]);
    table.insert(slot(1, offers(order(1, 300))));
    let first = table.answer(&query(1));
    assert_eq!((first.status.as_u16(), first.outcome), (200, Outcome::Order));
    assert_eq!(table.answer(&query(1)).body, first.body);
    let reference = Reference::parse("T-1").expect("a reference");
    assert_eq!(heard(&mut rings), [Ring::Shown { pos: id(1), reference }]);

    let shown = Order {
        status: Status::Shown,
        ..order(2, 300)
    };
    table.insert(slot(2, offers(shown)));
    assert_eq!(table.answer(&query(2)).outcome, Outcome::Order);
    assert_eq!(heard(&mut rings), []);
}

#[test]
fn an_order_is_not_offered_beyond_its_end() {
    let (table, mut rings) = table(&[]);
    table.insert(slot(1, offers(order(1, 0))));
    assert_eq!(table.answer(&query(1)).outcome, Outcome::Unavailable);
    assert_eq!(heard(&mut rings), [Ring::Scanned { pos: id(1) }]);
}

#[test]
fn a_visit_rings_once_until_nobody_polls_for_its_gap() {
    let (table, mut rings) = table(&[]);
    table.insert(slot(1, says(Waiting::InProcess)));
    let gap = limits::VISIT_GAP.as_secs();
    // A poll at each of these seconds; the last one comes a whole gap after the one before it.
    for second in [0, 1, gap, 2 * gap - 1] {
        table.clock().set(second);
        table.answer(&query(1));
    }
    assert_eq!(heard(&mut rings), [Ring::Scanned { pos: id(1) }]);
    table.clock().set(3 * gap - 1);
    table.answer(&query(1));
    table.answer(&query(1));
    assert_eq!(heard(&mut rings), [Ring::Scanned { pos: id(1) }]);
}

#[test]
fn polls_for_an_order_are_part_of_the_visit() {
    let (table, mut rings) = table(&[]);
    let shown = Order {
        status: Status::Shown,
        ..order(1, 300)
    };
    table.insert(slot(1, offers(shown)));
    table.answer(&query(1));
    table.set_reply(&key(1), &says(Waiting::Unavailable));
    table.clock().set(limits::VISIT_GAP.as_secs() - 1);
    table.answer(&query(1));
    assert_eq!(heard(&mut rings), []);
}

#[test]
fn a_full_bell_is_rung_again() {
    let (table, mut rings) = table(&[]);
    let count = limits::RINGS + 10;
    table.insert_all((0..count).map(|i| slot(i, says(Waiting::InProcess))).collect());
    table.insert(slot(count, offers(order(count, 300))));
    let all = |i| table.answer(&query(i)).outcome != Outcome::Invalid;
    assert!((0..=count).all(all));
    assert_eq!(heard(&mut rings).len(), limits::RINGS);
    assert!((0..=count).all(all));
    let rest = heard(&mut rings);
    assert_eq!(rest.len(), 11);
    assert!(matches!(&rest[10], Ring::Shown { pos, .. } if *pos == id(count)));
    assert!((0..=count).all(all));
    assert_eq!(heard(&mut rings), []);
}

#[test]
fn a_wrong_secret_is_an_unknown_pos() {
    let (table, _rings) = table(&["new", "old"]);
    let tags = table.secrets().tags(&id(1));
    let texts: Vec<String> = tags.iter().map(|tag| tag.as_str().to_owned()).collect();
    table.insert(Slot::new(key(1), id(1), &tags, says(Waiting::InProcess)));
    table.insert(slot(2, says(Waiting::InProcess)));
    for right in &texts {
        assert_eq!(
            table.answer(&format!("{}&k={right}", query(1))).outcome,
            Outcome::InProcess
        );
        assert_eq!(
            table.answer(&format!("k={right}&{}", query(1))).outcome,
            Outcome::InProcess
        );
    }
    for wrong in [
        "",
        "&k=",
        "&k=AAAAAAAAAAAAAAAAAAAAAA",
        &format!("&k={}", &texts[0][1..]),
    ] {
        let answer = table.answer(&format!("{}{wrong}", query(1)));
        assert_eq!(answer.body, table.answer("").body, "{wrong}");
        assert_eq!(answer.outcome, Outcome::Invalid, "{wrong}");
    }
    assert_eq!(
        table.answer(&query(2)).outcome,
        Outcome::InProcess,
        "registered without a secret"
    );
}

#[test]
fn an_order_is_not_offered_beyond_its_lease() {
    let (table, _rings) = table(&[]);
    let now = Instant::now();
    let leased = |lapse: Instant| {
        let mut leased = pos(0);
        leased.registration.require_lease = true;
        leased.lease = Some(NOW);
        leased.open = Some(Arc::new(order(0, 300)));
        let until = now + Duration::from_secs(300);
        Reply::of(&leased, Dialect::Documented, until, Some(lapse))
    };
    let reply = leased(now);
    table.insert(slot(0, reply.clone()));
    // It rounds up to the next millisecond.
    let made = Instant::now();
    while made.elapsed() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    assert_eq!(
        table.answer(&query(0)).outcome,
        Outcome::Timeout,
        "though nobody took the order away"
    );
    reply.renew(now + Duration::from_secs(30));
    assert_eq!(
        table.answer(&query(0)).outcome,
        Outcome::Order,
        "the controller is back"
    );
}

#[test]
fn what_was_rung_in_vain_is_rung_again() {
    let (table, mut rings) = table(&[]);
    let reply = offers(order(0, 300));
    table.insert(slot(0, reply.clone()));
    for _ in 0..3 {
        table.answer(&query(0));
    }
    assert_eq!(heard(&mut rings).len(), 1);
    reply.ring_again();
    for _ in 0..3 {
        table.answer(&query(0));
    }
    assert_eq!(heard(&mut rings).len(), 1);
}

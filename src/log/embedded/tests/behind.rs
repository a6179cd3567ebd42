//! The tables follow the entries, whatever is between them: a crash, a start, a commit that pays for it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::evolve::evolve_order;
use crate::domain::payment::{Cause, Refund, RefundState};
use crate::log::samples::{ars, caught_up};

#[derive(Debug, Clone)]
enum Step {
    /// An order on a POS, by its number.
    Made(usize),
    /// Something happens to one of the orders that there are.
    Happened(usize),
    /// What was said since goes into a commit.
    Committed,
    /// The tables take up so many entries.
    TakenUp(usize),
    Crashed,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0_usize..3).prop_map(Step::Made),
        5 => (0_usize..20).prop_map(Step::Happened),
        4 => Just(Step::Committed),
        2 => (1_usize..6).prop_map(Step::TakenUp),
        1 => Just(Step::Crashed),
    ]
}

/// An event that changes an order each time it is applied: once too often, and the order is another.
fn refund(order: &Order) -> Event {
    Event::RefundRequested {
        facts: order.facts(),
        refunds: vec![Refund {
            number: u32::try_from(order.refunds.len()).expect("few") + 1,
            payment: 1,
            amount: ars("1"),
            cause: Cause::Late,
            requested_at: Timestamp(1),
            state: RefundState::Requested,
        }],
    }
}

/// Entries in the making, and what must be read once they are committed.
#[derive(Default)]
struct World {
    book: Book,
    orders: BTreeMap<String, Order>,
    /// Of each POS.
    entries: BTreeMap<String, Vec<u64>>,
    uncommitted: Vec<(String, Event)>,
}

impl World {
    fn say(&mut self, pos: &str, event: Event) {
        if let Event::OrderReady(order) = &event {
            self.orders.insert(order.reference.to_string(), (**order).clone());
        } else if let Some(order) = event.reference().and_then(|found| self.orders.get_mut(found.as_str())) {
            evolve_order(order, &event, Timestamp(1));
        }
        self.uncommitted.push((pos.to_owned(), event));
    }

    fn commit(&mut self, log: &mut Log) {
        let said = std::mem::take(&mut self.uncommitted);
        log.commit(false, |batch| {
            for (pos, event) in said {
                self.book.append(batch, &pos, 1, event)?;
                let seq = self.book.written.len() as u64;
                self.entries.entry(pos).or_default().push(seq);
            }
            Ok(())
        })
        .expect("written");
    }

    async fn is_read(&self, log: &mut Log) {
        let reader = log.reader().expect("a reader");
        for (name, order) in &self.orders {
            let found = reader.order(reference(name)).await.expect("read");
            assert_eq!(found.as_deref(), Some(order));
            let known = log.commit(false, |batch| batch.order(&reference(name))).expect("read");
            assert_eq!(known.as_deref(), Some(order));
        }
        for (pos, entries) in &self.entries {
            for after in [0, entries[entries.len() / 2]] {
                let page = reader.entries(after, Some(pos_id(pos))).await.expect("read");
                let found: Vec<u64> = page.entries.iter().map(|entry| entry.seq).collect();
                let expected: Vec<u64> = entries.iter().copied().filter(|seq| *seq > after).collect();
                assert_eq!((found, page.read_to), (expected, self.book.written.len() as u64));
            }
            let (rev, _) = log.commit(false, |batch| batch.chain(&pos_id(pos))).expect("read");
            assert_eq!(rev, Rev(entries.len() as u64));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_between_them_tables_say_what_entries_say(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let folder = folder();
        let mut world = World::default();
        let mut log = open(folder.path());
        for pos in ["P", "Q", "R"] {
            world.say(pos, registered(pos));
        }
        for step in steps {
            match step {
                Step::Made(pos) => {
                    let pos = ["P", "Q", "R"][pos];
                    let made = order(&format!("T-{}", world.orders.len()), pos, 1);
                    world.say(pos, Event::OrderReady(Arc::new(made)));
                }
                Step::Happened(to) if !world.orders.is_empty() => {
                    let order = world.orders.values().nth(to % world.orders.len()).expect("one of them");
                    let (pos, event) = (order.pos.to_string(), refund(order));
                    world.say(&pos, event);
                }
                Step::Happened(_) => {}
                Step::Committed => world.commit(&mut log),
                Step::TakenUp(entries) => {
                    log.take_up(entries).expect("written");
                }
                Step::Crashed => {
                    world.commit(&mut log);
                    drop(log);
                    log = open(folder.path());
                    prop_assert!(log.behind.is_empty(), "a start takes up all");
                }
            }
        }
        world.commit(&mut log);
        runtime.block_on(world.is_read(&mut log));
        caught_up(&mut log);
        runtime.block_on(world.is_read(&mut log));
        let listed: i64 = log.connection.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).expect("read");
        prop_assert_eq!(listed as usize, world.orders.len());
    }
}

#[test]
fn who_adds_entries_faster_than_the_tables_follow_pays_for_it() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    for _ in 0..limits::TABLES_BEHIND / 256 + 4 {
        log.commit(false, |batch| {
            (0..256).try_for_each(|_| book.append(batch, "P", 1, said("filling")))
        })
        .expect("written");
        assert!(log.behind.late().len() < limits::TABLES_BEHIND + 256);
    }
    drop(log);
    assert_eq!(open(folder.path()).last_seq().expect("read"), book.written.len() as u64);
}

#[test]
fn an_entry_that_the_tables_lack_is_missed_at_the_start() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    book.write(&mut log, "P", 1, registered("P"));
    book.write(&mut log, "P", 2, said("1"));
    book.write(&mut log, "P", 3, said("2"));
    drop(log);
    meddle(folder.path(), "DELETE FROM entry WHERE seq = 2");
    match Log::open(folder.path(), "locationId,positionId") {
        Err(OpenError::Log(LogError::Damaged(damage))) => assert_eq!(damage.place, "entry 2"),
        other => panic!("{other:?}"),
    }
}

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
                let page = reader.entries(after, pos_id(pos).into()).await.expect("read");
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
                    log.catch_up(entries).expect("written");
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
        let late = log.behind.late();
        prop_assert!(world.orders.keys().all(|name| late.order(&reference(name)).is_none()));
        prop_assert!(world.entries.keys().all(|pos| late.head(&pos_id(pos)).is_none()), "nothing is kept twice");
        drop(late);
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
    for _ in 0..2 * limits::TABLES_BEHIND / limits::COMMIT_COMMANDS + 4 {
        log.commit(false, |batch| {
            (0..limits::COMMIT_COMMANDS).try_for_each(|_| book.append(batch, "P", 1, said("filling")))
        })
        .expect("written");
        assert!(log.behind.late().len() <= limits::TABLES_BEHIND + limits::COMMIT_COMMANDS);
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

/// As the writer does it while somebody waits for a list, and others go on adding.
#[test]
fn who_waits_for_the_tables_is_answered_under_constant_load() {
    let folder = folder();
    let (mut book, mut log) = (Book::default(), open(folder.path()));
    let mut full_group = |log: &mut Log| {
        log.commit(false, |batch| {
            (0..limits::COMMIT_COMMANDS).try_for_each(|_| book.append(batch, "P", 1, said("filling")))
        })
        .expect("written");
    };
    for _ in 0..4 {
        full_group(&mut log);
    }
    let asked = log.last_seq().expect("read");
    let answered = (0..4).any(|_| {
        full_group(&mut log);
        log.catch_up(limits::TABLES_PIECE).expect("written");
        log.taken_up() >= asked
    });
    assert!(answered, "{} entries behind", log.behind.late().len());
}

#[test]
fn a_full_disk_is_started_on_with_entries_that_the_tables_lack() {
    let Some(disk) = SmallDisk::mount(12) else { return };
    let folder = disk.0.path();
    let (mut book, mut log) = (Book::default(), open(folder));
    book.write(&mut log, "P", 1, registered("P"));
    caught_up(&mut log);
    let long = "x".repeat(limits::MESSAGE_LEN);
    // The ballast is given up at the first "full", and what happens uses its room.
    let (mut fulls, mut n) = (0, 0);
    while fulls < 3 {
        n += 1;
        if n % 16 == 0 {
            // As every 50 ms, whether there is room for it or not.
            let _ = log.catch_up(limits::TABLES_PIECE);
        }
        let seq = log.last_seq().expect("read") + 1;
        let (rev, sum) = log.commit(true, |batch| batch.chain(&pos_id("P"))).expect("read");
        let entry = Entry {
            seq,
            pos: pos_id("P"),
            rev: rev.next(),
            at: Timestamp(2),
            events: vec![said(&long)],
            state_after: book.written[0].state_after.clone(),
        };
        match log.commit(true, |batch| batch.append(&entry, sum, Vec::new())) {
            Ok(_) => {}
            Err(LogError::Full) => fulls += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(matches!(log.catch_up(limits::TABLES_PIECE), Err(LogError::Full)));
    let seq = log.last_seq().expect("read");
    drop(log);
    let log = open(folder);
    let found = newest(&log).expect("whole").remove(0);
    assert_eq!((found.seq, found.rev), (seq, Rev(seq)), "though the tables lack it");
    assert!(log.taken_up() < seq);
}

#[test]
fn a_damaged_order_does_not_stop_the_start() {
    let folder = folder();
    let (mut book, mut log) = (Book::default(), open(folder.path()));
    let made = order("T-1", "P", 1);
    book.write(&mut log, "P", 1, registered("P"));
    book.write(&mut log, "P", 1, Event::OrderReady(Arc::new(made.clone())));
    caught_up(&mut log);
    book.write(&mut log, "P", 2, refund(&made));
    drop(log);
    meddle(folder.path(), "UPDATE orders SET sum = zeroblob(16)");
    let again = Log::open(folder.path(), "locationId,positionId");
    assert!(again.is_ok(), "its newest entry has a copy: {:?}", again.err());
}

#[tokio::test]
async fn a_folder_of_the_second_version_keeps_its_entries() {
    let folder = folder();
    let (mut book, mut log) = (Book::default(), open(folder.path()));
    for n in 0..600 {
        let pos = ["P", "Q", "R"][n % 3];
        let event = if n < 3 {
            registered(pos)
        } else {
            Event::OrderReady(Arc::new(order(&format!("T-{n}"), pos, 1)))
        };
        book.write(&mut log, pos, 1, event);
    }
    caught_up(&mut log);
    drop(log);
    meddle(
        folder.path(),
        "DROP TABLE token; DROP TABLE entry_of; CREATE INDEX entry_pos ON entry (pos); DELETE FROM meta WHERE key = 'tables_seq'; \
         ALTER TABLE orders DROP COLUMN seq; CREATE INDEX orders_created ON orders (created_at); PRAGMA user_version = 2;",
    );
    let mut log = open(folder.path());
    let reader = log.reader().expect("a reader");
    book.write(&mut log, "P", 2, refund(&order("T-3", "P", 1)));
    for _ in 0..2 {
        let found = reader.order(reference("T-3")).await.expect("read").expect("there");
        assert_eq!(found.refunds.len(), 1);
        let page = reader.entries(590, pos_id("P").into()).await.expect("read");
        let seqs: Vec<u64> = page.entries.iter().map(|entry| entry.seq).collect();
        assert_eq!(seqs, [592, 595, 598, 601]);
        caught_up(&mut log);
    }
}

/// What a reader of the whole feed was told, it finds under its reference.
#[test]
fn who_saw_an_entry_finds_its_order() {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let mut log = open(folder.path());
    let reader = log.reader().expect("a reader");
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ended = done.clone();
    let look = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (mut after, mut looked, mut orders, mut gone) = (0, 0_u64, 0_u64, 0_u64);
            while !ended.load(Relaxed) {
                let page = reader.entries(after, Scope::All).await.expect("read");
                let Some(last) = page.entries.last() else { continue };
                after = last.seq;
                if let Some(found) = last.events[0].reference() {
                    looked += 1;
                    let of_pos = reader.entries(after - 1, pos_id("P").into()).await.expect("read");
                    gone += u64::from(of_pos.read_to < after);
                    orders += u64::from(reader.order(found.clone()).await.expect("read").is_none());
                }
            }
            (looked, orders, gone)
        })
    });
    let mut book = Book::default();
    book.write(&mut log, "P", 1, registered("P"));
    for n in 0..5_000 {
        book.write(
            &mut log,
            "P",
            1,
            Event::OrderReady(Arc::new(order(&format!("T-{n}"), "P", 1))),
        );
        if n % 64 == 0 {
            log.catch_up(limits::TABLES_PIECE).expect("written");
        }
    }
    done.store(true, Relaxed);
    let (looked, orders, gone) = look.join().expect("no panic");
    assert!(
        orders == 0 && gone == 0,
        "of {looked} seen, {orders} orders were not there, {gone} entries not of their POS"
    );
}

/// More than the tables take up at once, found at the start.
#[tokio::test]
async fn a_start_takes_up_all_however_much_it_is() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    let entries = limits::TABLES_PIECE * 2 + 1;
    log.commit(false, |batch| {
        book.append(batch, "P", 1, registered("P"))?;
        (1..entries).try_for_each(|_| book.append(batch, "P", 1, said("filling")))
    })
    .expect("written");
    drop(log);
    let mut log = open(folder.path());
    assert!(log.behind.is_empty());
    let stored: (u64, u64) = log
        .connection
        .query_row("SELECT count(*), (SELECT seq FROM head) FROM entry_of", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("read");
    assert_eq!(stored, (entries as u64, entries as u64));
    book.write(&mut log, "P", 2, said("and on"));
    let page = log
        .reader()
        .expect("a reader")
        .entries(entries as u64, pos_id("P").into())
        .await;
    assert_eq!(page.expect("read").read_to, entries as u64 + 1);
}

/// What its columns say of an order, by which it is found and trimmed, follows it like its body.
#[test]
fn an_orders_row_follows_it() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    let row = |log: &mut Log| -> (String, Option<i64>, bool, u64) {
        caught_up(log)
            .connection
            .query_row("SELECT status, ended_at, work, seq FROM orders", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .expect("one order")
    };
    let mut order = order("T-1", "P", 1);
    log.commit(false, |batch| book.put(batch, order.clone()))
        .expect("written");
    assert_eq!(row(&mut log), ("ready".into(), None, false, 1));
    order = ended(order, Status::Paid, 5);
    log.commit(false, |batch| book.put(batch, order.clone()))
        .expect("written");
    assert_eq!(row(&mut log), ("paid".into(), Some(5), false, 2));
    book.write(&mut log, "P", 6, refund(&order));
    assert_eq!(row(&mut log), ("paid".into(), Some(5), true, 3));
}

/// An order that a later entry changed is written once, as the later entry left it; and when that one's turn comes, no
/// more.
#[test]
fn an_order_that_was_written_ahead_is_not_written_again() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    let made = order("T-1", "P", 1);
    log.commit(false, |batch| book.put(batch, made.clone()))
        .expect("written");
    book.write(&mut log, "P", 2, refund(&made));
    assert!(log.catch_up(1).expect("written"), "one more is behind");
    assert!(log.behind.late().piece(1).is_some_and(|piece| piece.orders.is_empty()));
    let order = log
        .commit(false, |batch| batch.order(&reference("T-1")))
        .expect("read")
        .expect("there");
    book.write(&mut log, "P", 3, refund(&order));
    caught_up(&mut log);
    let stored = stored_order(&log.connection, &reference("T-1")).expect("read");
    assert_eq!(stored.map(|order| order.refunds.len()), Some(2), "it was changed again");
}

/// Nobody may be told of what did not come to the disk.
#[tokio::test]
async fn a_commit_that_fails_is_seen_by_nobody() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    book.write(&mut log, "P", 1, registered("P"));
    caught_up(&mut log);
    log.commit(false, |batch| book.put(batch, order("T-1", "P", 1)))
        .expect("written");
    log.connection.commit_hook(Some(|| true)).expect("a hook");
    let failed = log.catch_up(1);
    assert!(matches!(failed, Err(LogError::Failed(_))), "{failed:?}");
    assert_eq!(log.behind.late().len(), 1, "the tables lack it still");
    log.failed = None;
    let failed = log.commit(false, |batch| book.put(batch, order("T-2", "P", 1)));
    assert!(matches!(failed, Err(LogError::Failed(_))), "{failed:?}");
    let reader = log.reader().expect("a reader");
    assert!(reader.order(reference("T-1")).await.expect("read").is_some());
    assert!(reader.order(reference("T-2")).await.expect("read").is_none());
    let page = reader.entries(0, pos_id("P").into()).await.expect("read");
    assert_eq!((page.entries.len(), page.read_to), (2, 2));
}

/// What was trimmed must be in the tables first, or the next start would miss it.
#[test]
fn what_the_tables_lack_is_taken_up_before_it_is_trimmed() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    book.write(&mut log, "P", 1, registered("P"));
    book.write(&mut log, "P", 2, said("2"));
    book.write(&mut log, "P", 3, said("3"));
    log.trim(Timestamp(10), Timestamp(0)).expect("trimmed");
    assert_eq!(kept(&log), [3]);
    assert!(log.behind.is_empty());
    drop(log);
    open(folder.path());
}

#[test]
fn a_closed_log_is_one_file_with_all_in_its_tables() {
    let folder = folder();
    let mut log = open(folder.path());
    let wal = folder.path().join(format!("{FILE}-wal"));
    let length = || std::fs::metadata(&wal).map_or(0, |file| file.len());
    assert_eq!(length(), limits::WAL_BYTES, "laid out");
    log.commit(false, |batch| Book::default().put(batch, order("T-1", "P", 1)))
        .expect("written");
    log.close().expect("closed");
    assert_eq!(length(), 0);
    let file = Connection::open(folder.path().join(FILE)).expect("the file");
    let listed: i64 = file
        .query_row("SELECT count(*) FROM orders", [], |row| row.get(0))
        .expect("read");
    assert_eq!(listed, 1);
}

#[test]
fn a_commit_sees_where_its_own_entries_left_a_chain() {
    let folder = folder();
    let mut log = open(folder.path());
    let mut book = Book::default();
    log.commit(false, |batch| {
        for rev in 1..=3 {
            book.append(batch, "P", 1, said("filling"))?;
            assert_eq!(batch.chain(&pos_id("P"))?.0, Rev(rev));
        }
        Ok(())
    })
    .expect("written");
}

/// Only tables may come to the disk later, whether they could be written or not.
#[test]
fn commits_are_synced_after_the_tables_followed() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    let is_full = |log: &Log| {
        let level = log.connection.pragma_query_value(None, "synchronous", |row| row.get(0));
        level.is_ok_and(|level: i64| level == 2)
    };
    assert!(is_full(&log));
    book.write(&mut log, "P", 1, registered("P"));
    caught_up(&mut log);
    assert!(is_full(&log));
    book.write(&mut log, "P", 1, Event::OrderReady(Arc::new(order("T-1", "P", 1))));
    log.connection.commit_hook(Some(|| true)).expect("a hook");
    assert!(log.catch_up(1).is_err());
    assert!(is_full(&log));
}

use std::process::Command;

use super::*;
use crate::domain::access::Scope;
use crate::domain::command::Event;
use crate::domain::order::Status;
use crate::domain::pos::PollKey;
use crate::log::Archive;
use crate::log::samples::{Book, caught_up, ended, open, order, pos_id, reference, registered, said};

mod behind;
mod inbox;
mod tokens;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Somebody else's hands on the file.
fn meddle(folder: &Path, sql: &str) {
    let connection = Connection::open(folder.join(FILE)).expect("the file");
    connection.execute_batch(sql).expect(sql);
}

fn newest(log: &Log) -> Result<Vec<Newest>, LogError> {
    let mut found = Vec::new();
    log.newest(|newest| found.push(newest))?;
    found.sort_by_key(|newest| newest.seq);
    Ok(found)
}

#[test]
fn what_was_written_is_there_after_opening_again() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    assert_eq!(log.last_seq().expect("read"), 0);
    book.write(&mut log, "P", 1, registered("P"));
    book.write(&mut log, "Q", 2, registered("Q"));
    book.write(&mut log, "P", 3, said("filling"));
    book.write(&mut log, "Q", 4, Event::Removed);
    let made = order("T-1", "P", 3);
    log.commit(false, |batch| {
        book.put(batch, made.clone())?;
        batch.put_lease(&pos_id("P"), Some(Timestamp(9)))?;
        batch.put_lease(&pos_id("P"), Some(Timestamp(10)))?;
        batch.put_lease(&pos_id("Q"), Some(Timestamp(11)))?;
        batch.put_lease(&pos_id("Q"), None)
    })
    .expect("written");
    drop(log);

    let mut log = open(folder.path());
    assert_eq!(log.last_seq().expect("read"), 5);
    let found = newest(&log).expect("whole");
    let states: Vec<_> = found
        .iter()
        .map(|newest| (newest.seq, newest.rev, newest.state.clone()))
        .collect();
    let expected: Vec<_> = book.written[3..]
        .iter()
        .map(|e| (e.seq, e.rev, e.state_after.clone()))
        .collect();
    assert_eq!(states, expected);
    let mut leases = Vec::new();
    log.leases(|pos, until| leases.push((pos.to_owned(), until)))
        .expect("read");
    assert_eq!(leases, [("P".to_owned(), Timestamp(10))]);
    log.commit(false, |batch| {
        assert_eq!(
            batch.order(&reference("t-1"))?,
            Some(Arc::new(made)),
            "whatever its case"
        );
        assert_eq!(batch.order(&reference("T-2"))?, None);
        assert_eq!(batch.chain(&pos_id("P"))?, (found[1].rev, found[1].sum));
        assert_eq!(batch.chain(&pos_id("never"))?, (Rev(0), Sum::NONE));
        Ok(())
    })
    .expect("read");
    book.write(&mut log, "Q", 5, registered("Q"));
    assert_eq!(
        newest(&log).expect("whole").last().map(|newest| newest.rev),
        Some(Rev(3)),
        "its chain goes on"
    );
}

#[test]
fn poll_keys_belong_to_one_pos_until_it_gives_them_up() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    let keys = PollKey::new(&["6232", "P"]).expect("keys");
    book.write(&mut log, "P", 1, registered("P"));
    let owner = |log: &mut Log| log.commit(false, |batch| batch.keys_owner(&keys)).expect("read");
    assert_eq!(owner(&mut log), Some(pos_id("P")));
    book.write(&mut log, "P", 2, Event::Removed);
    assert_eq!(owner(&mut log), None);
}

#[test]
fn work_that_fails_leaves_nothing() {
    let folder = folder();
    let mut log = open(folder.path());
    let damage = Damage {
        place: "somewhere".into(),
        what: "something".into(),
    };
    let answer: Result<(), LogError> = log.commit(false, |batch| {
        let mut book = Book::default();
        book.append(batch, "P", 1, registered("P"))?;
        book.put(batch, order("T-1", "P", 1))?;
        Err(damage.into())
    });
    assert!(matches!(answer, Err(LogError::Damaged(_))));
    assert_eq!(log.last_seq().expect("read"), 0);
    Book::default().write(&mut log, "P", 1, registered("P"));
    let order = log.commit(false, |batch| batch.order(&reference("T-1"))).expect("read");
    assert_eq!(order, None);
}

#[test]
fn after_a_failure_nothing_is_written() {
    let folder = folder();
    let mut log = open(folder.path());
    let answer: Result<(), LogError> = log.commit(true, |_| Err(LogError::Failed("fsync".into())));
    assert!(matches!(answer, Err(LogError::Failed(_))));
    let after = log.commit(true, |batch| Book::default().append(batch, "P", 1, registered("P")));
    assert!(matches!(after, Err(LogError::Failed(what)) if what == "fsync"));
    assert!(matches!(log.trim(Timestamp(1), Timestamp(1)), Err(LogError::Failed(_))));
    drop(log);
    assert_eq!(open(folder.path()).last_seq().expect("read"), 0);
}

#[test]
fn a_commit_of_nothing_writes_nothing() {
    let folder = folder();
    let mut log = open(folder.path());
    Book::default().write(&mut log, "P", 1, registered("P"));
    // A session that went further than the last one writes that.
    log.trim(Timestamp(100), Timestamp(100)).expect("nothing to trim");
    // Each commit tells how many there are.
    log.wal_pages.store(u32::MAX, Relaxed);
    log.commit(false, |batch| batch.order(&reference("T-1"))).expect("read");
    log.trim(Timestamp(100), Timestamp(100)).expect("nothing to trim");
    assert_eq!(log.wal_pages.load(Relaxed), u32::MAX);
}

#[test]
fn damage_is_named() {
    for (sql, place) in [
        (
            "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), 'filling', 'fulling') AS BLOB)",
            "entry 2 (point of sale P",
        ),
        ("UPDATE entry SET at = at + 1 WHERE seq = 2", "entry 2 (point of sale P"),
        ("UPDATE entry SET rev = 7 WHERE seq = 2", "entry 2 (point of sale P"),
        (
            "UPDATE entry SET prev = zeroblob(16) WHERE seq = 2",
            "entry 2 (point of sale P",
        ),
        (
            "UPDATE entry SET sum = zeroblob(16) WHERE seq = 2",
            "entry 2 (point of sale P",
        ),
        ("UPDATE entry SET pos = 'Q' WHERE seq = 2", "entry 2 (point of sale P"),
        ("UPDATE entry SET seq = 3 WHERE seq = 2", "entry 2 (point of sale P"),
        ("UPDATE head SET seq = 9", "entry 9 (point of sale P"),
        ("DELETE FROM entry WHERE seq = 2", "entry 2 (point of sale P"),
    ] {
        let folder = folder();
        let mut book = Book::default();
        let mut log = open(folder.path());
        book.write(&mut log, "P", 1, registered("P"));
        book.write(&mut log, "P", 2, said("filling"));
        caught_up(&mut log);
        assert!(newest(&log).is_ok());
        meddle(folder.path(), sql);
        match newest(&log) {
            Err(LogError::Damaged(damage)) => assert!(damage.place.starts_with(place), "{sql}: {damage}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[test]
fn a_damaged_order_is_named_and_hurts_no_other() {
    for sql in [
        "UPDATE orders SET body = CAST(replace(CAST(body AS TEXT), '18525.50', '18525.51') AS BLOB) WHERE id = 1",
        "UPDATE orders SET sum = zeroblob(16) WHERE id = 1",
        "UPDATE orders SET (body, sum) = (SELECT body, sum FROM orders WHERE id = 2) WHERE id = 1",
    ] {
        let folder = folder();
        let mut log = open(folder.path());
        log.commit(false, |batch| {
            let mut book = Book::default();
            book.put(batch, order("T-1", "P", 1))?;
            book.put(batch, order("T-2", "P", 1))
        })
        .expect("written");
        caught_up(&mut log);
        meddle(folder.path(), sql);
        let damaged = log.commit(false, |batch| batch.order(&reference("T-1")));
        assert!(
            matches!(damaged, Err(LogError::Damaged(damage)) if damage.place == "order T-1"),
            "{sql}"
        );
        let other = log
            .commit(false, |batch| batch.order(&reference("T-2")))
            .expect("whole");
        assert!(other.is_some());
    }
}

#[test]
fn one_process_has_the_folder() {
    let folder = folder();
    let log = open(folder.path());
    let second = Log::open(folder.path(), "locationId,positionId");
    assert!(matches!(second, Err(OpenError::Held(held)) if held == folder.path()));
    drop(log);
    open(folder.path());
}

#[test]
fn a_newer_file_is_refused() {
    let folder = folder();
    drop(open(folder.path()));
    meddle(folder.path(), "PRAGMA user_version = 99");
    let newer = Log::open(folder.path(), "locationId,positionId");
    assert!(matches!(newer, Err(OpenError::Newer(_, 99))));
}

#[test]
fn a_file_that_is_no_log_is_refused() {
    let folder = folder();
    std::fs::write(folder.path().join(FILE), "a shopping list".repeat(100)).expect("written");
    let refused = Log::open(folder.path(), "locationId,positionId");
    assert!(
        matches!(refused, Err(OpenError::Log(LogError::Failed(_)))),
        "{refused:?}"
    );
}

/// An emptied file, or one whose tables were in a write-ahead log that is gone, was once taken for a new one.
#[test]
fn a_file_that_lost_its_tables_is_no_new_one() {
    for lost in [true, false] {
        let folder = folder();
        drop(open(folder.path()));
        std::fs::write(folder.path().join(format!("{FILE}-wal")), "").expect("written");
        if lost {
            std::fs::write(folder.path().join(FILE), "").expect("written");
        }
        match Log::open(folder.path(), "locationId,positionId") {
            Err(OpenError::Log(LogError::Damaged(damage))) => assert_eq!(damage.place, FILE),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn poll_keys_cannot_be_renamed_under_registered_pos() {
    let folder = folder();
    drop(open(folder.path()));
    drop(Log::open(folder.path(), "station").expect("nothing is registered yet"));
    let mut log = open(folder.path());
    let mut book = Book::default();
    book.write(&mut log, "P", 1, registered("P"));
    drop(log);
    let refused = Log::open(folder.path(), "station");
    assert!(matches!(refused, Err(OpenError::PollKeys { stored, .. }) if stored == "locationId,positionId"));
    book.write(&mut open(folder.path()), "P", 2, Event::Removed);
    assert!(
        Log::open(folder.path(), "station").is_ok(),
        "nothing is registered any more"
    );
}

fn kept(log: &Log) -> Vec<u64> {
    let mut statement = log
        .connection
        .prepare("SELECT seq FROM entry ORDER BY seq")
        .expect("sql");
    let kept = statement.query_map([], |row| row.get(0)).expect("read");
    kept.collect::<Result<_, _>>().expect("numbers")
}

/// Each kept entry follows the one before it, or its POS's anchor.
fn chain_is_whole(log: &Log) {
    let archive = Archive::open(&log.folder).expect("a log");
    archive.verify(|damage| panic!("{damage}")).expect("it can be read");
}

#[test]
fn old_entries_go_but_never_the_newest_of_a_pos() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    for (at, pos) in [(1, "A"), (2, "B")] {
        book.write(&mut log, pos, at, registered(pos));
    }
    for (at, pos) in [(3, "B"), (4, "B"), (50, "A"), (60, "B")] {
        book.write(&mut log, pos, at, said(&at.to_string()));
    }
    let all = Timestamp(0);
    log.trim(Timestamp(0), all).expect("trimmed");
    assert_eq!(kept(&log), [1, 2, 3, 4, 5, 6]);
    log.trim(Timestamp(4), all).expect("trimmed");
    assert_eq!(kept(&log), [4, 5, 6]);
    chain_is_whole(&log);
    log.trim(Timestamp(100), all).expect("trimmed");
    assert_eq!(kept(&log), [5, 6], "the newest of A and of B");
    chain_is_whole(&log);
    assert_eq!(newest(&log).expect("whole").len(), 2);
    assert_eq!(trimmed_seq(&log.connection).expect("read"), 4);
    book.write(&mut log, "A", 70, said("again"));
    chain_is_whole(&log);
}

/// A POS's newest entry stays when later ones of others go. When it went at last, the feed once believed that nothing
/// later had been trimmed.
#[test]
fn the_trimmed_number_never_goes_back() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    book.write(&mut log, "A", 1, registered("A"));
    book.write(&mut log, "B", 2, registered("B"));
    book.write(&mut log, "B", 3, said("3"));
    book.write(&mut log, "B", 4, said("4"));
    log.trim(Timestamp(10), Timestamp(0)).expect("trimmed");
    assert_eq!(
        (kept(&log), trimmed_seq(&log.connection).expect("read")),
        (vec![1, 4], 3)
    );
    book.write(&mut log, "A", 20, said("20"));
    log.trim(Timestamp(10), Timestamp(0)).expect("trimmed");
    assert_eq!(
        (kept(&log), trimmed_seq(&log.connection).expect("read")),
        (vec![4, 5], 3)
    );
    chain_is_whole(&log);
}

const DAY: i64 = 86_400_000;

#[test]
fn a_clock_that_is_years_ahead_takes_a_day_of_history_each_time() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    let years = Timestamp(4_000 * DAY);
    assert_eq!(log.trim(years, years).expect("nothing is there"), 0);
    book.write(&mut log, "A", 1, registered("A"));
    for day in 1..=4 {
        book.write(&mut log, "A", day * DAY, said(&day.to_string()));
    }
    let orders = [("o-0", 0), ("o-1", DAY), ("o-2", 2 * DAY)];
    log.commit(false, |batch| {
        orders
            .iter()
            .try_for_each(|(name, at)| book.put(batch, ended(order(name, "A", *at), Status::Paid, *at)))
    })
    .expect("written");
    let left = |log: &mut Log| {
        let mut there = |name| log.commit(false, |batch| batch.order(&reference(name))).expect("read");
        orders.iter().filter(|(name, _)| there(name).is_some()).count()
    };
    log.trim(years, years).expect("trimmed");
    assert_eq!((kept(&log), left(&mut log)), (vec![3, 4, 5, 6, 7, 8], 2));
    drop(log);
    let mut log = open(folder.path());
    log.trim(years, years).expect("trimmed");
    assert_eq!(
        (kept(&log), left(&mut log)),
        (vec![4, 5, 6, 7, 8], 1),
        "another day, not all anew"
    );
    let right = Timestamp(DAY / 2);
    log.trim(right, right).expect("nothing is that old");
    log.trim(years, years).expect("and that is where it goes on");
    assert_eq!((kept(&log), left(&mut log)), (vec![4, 5, 6, 7, 8], 1));
    chain_is_whole(&log);
}

#[test]
fn a_session_of_many_pieces_goes_one_day() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    let rows = limits::TRIM_ROWS as i64;
    log.commit(false, |batch| {
        book.append(batch, "P", 1, registered("P"))?;
        (0..3 * rows).try_for_each(|n| book.append(batch, "P", 2 + n * DAY / rows, said("s")))
    })
    .expect("written");
    let years = Timestamp(4_000 * DAY);
    let mut gone = 0;
    loop {
        let looked_at = log.trim(years, years).expect("trimmed");
        gone += looked_at;
        if looked_at < limits::TRIM_ROWS {
            break;
        }
    }
    assert_eq!(gone, limits::TRIM_ROWS + 1);
}

#[test]
fn a_file_in_the_place_of_the_folder_is_named() {
    let folder = folder();
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    for place in [file.clone(), file.join("below")] {
        let refused = Log::open(&place, "a").expect_err("no folder");
        assert!(matches!(refused, OpenError::NotAFolder(_)), "{refused}");
        assert!(refused.to_string().starts_with("data.dir: "), "{refused}");
    }
}

#[test]
fn the_trimmer_walks_past_many_silent_pos() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    log.commit(false, |batch| {
        for n in 0..limits::TRIM_ROWS {
            book.append(batch, &format!("silent-{n}"), 1, registered(&n.to_string()))?;
        }
        book.append(batch, "P", 2, registered("P"))?;
        book.append(batch, "P", 3, said("3"))
    })
    .expect("written");
    assert_eq!(
        log.trim(Timestamp(10), Timestamp(0)).expect("trimmed"),
        limits::TRIM_ROWS,
        "there may be more"
    );
    assert_eq!(
        log.trim(Timestamp(10), Timestamp(0)).expect("trimmed"),
        2,
        "that was all"
    );
    assert_eq!(kept(&log).len(), limits::TRIM_ROWS + 1);
    assert_eq!(
        log.trim(Timestamp(10), Timestamp(0)).expect("trimmed"),
        limits::TRIM_ROWS,
        "it begins anew"
    );
}

#[test]
fn old_orders_go_once_they_have_ended() {
    let folder = folder();
    let mut log = open(folder.path());
    log.commit(false, |batch| {
        let mut book = Book::default();
        book.put(batch, order("open", "P", 1))?;
        book.put(batch, ended(order("old", "P", 1), Status::Paid, 5))?;
        book.put(batch, ended(order("late", "P", 1), Status::Paid, 50))?;
        book.put(batch, ended(order("new", "P", 40), Status::Expired, 45))
    })
    .expect("written");
    caught_up(&mut log).trim(Timestamp(0), Timestamp(10)).expect("trimmed");
    for (name, stays) in [("open", true), ("old", false), ("late", true), ("new", true)] {
        let found = log.commit(false, |batch| batch.order(&reference(name))).expect("read");
        assert_eq!(found.is_some(), stays, "{name}");
    }
}

#[test]
fn a_checkpoint_loses_nothing() {
    let folder = folder();
    let mut book = Book::default();
    let mut log = open(folder.path());
    log.commit(false, |batch| book.append(batch, "P", 1, registered("P")))
        .expect("written");
    while log.wal_pages.load(Relaxed) < limits::CHECKPOINT_PAGES {
        log.commit(false, |batch| book.append(batch, "P", 2, said("filling")))
            .expect("written");
    }
    log.checkpoint_if_due(true).expect("not yet");
    assert_ne!(log.wal_pages.load(Relaxed), 0, "it is put off while somebody waits");
    log.checkpoint_if_due(false).expect("copied");
    assert_eq!(log.wal_pages.load(Relaxed), 0);
    drop(log);
    let log = open(folder.path());
    assert_eq!(log.last_seq().expect("read"), book.written.len() as u64);
    chain_is_whole(&log);
}

/// A small file system of its own, given back at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None where the test may not mount.
    fn mount(mebibytes: u64) -> Option<SmallDisk> {
        let disk = SmallDisk(folder());
        let mounted = disk.run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "surtidor-test"],
        );
        mounted.then_some(disk)
    }

    fn resize(&self, mebibytes: u64) {
        assert!(self.run("mount", &["-o", &format!("remount,size={mebibytes}m")]));
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let output = Command::new(program).args(arguments).arg(self.0.path()).output();
        output.is_ok_and(|output| output.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.run("umount", &[]);
    }
}

#[test]
fn a_full_disk_takes_what_has_happened_and_recovers_in_place() {
    let Some(disk) = SmallDisk::mount(12) else {
        println!("skipped: mounting a small tmpfs needs root");
        return;
    };
    let folder = disk.0.path();
    let ballast = folder.join("ballast");
    let mut log = open(folder);
    assert!(!log.is_full() && ballast.exists());
    Book::default().write(&mut log, "P", 1, registered("P"));
    let (rev, sum) = log.commit(false, |batch| batch.chain(&pos_id("P"))).expect("read");
    let mut last = (rev, sum);
    let template = newest(&log).expect("whole").remove(0);
    let next = |log: &mut Log, reserve: bool, (rev, sum): (Rev, Sum)| {
        let entry = Entry {
            seq: rev.0 + 1,
            pos: pos_id("P"),
            rev: rev.next(),
            at: Timestamp(2),
            events: vec![said(&"x".repeat(limits::MESSAGE_LEN))],
            state_after: template.state.clone(),
        };
        log.commit(reserve, |batch| batch.append(&entry, sum, Vec::new()))
            .map(|sum| (rev.next(), sum))
    };
    let full = loop {
        match next(&mut log, false, last) {
            Ok(written) => last = written,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, LogError::Full), "{full}");
    assert!(log.is_full() && !ballast.exists(), "the ballast was given up");

    assert!(
        matches!(next(&mut log, false, last), Err(LogError::Full)),
        "new business waits"
    );
    last = next(&mut log, true, last).expect("what has happened is recorded");
    log.reserve.refill_now();
    assert!(
        matches!(next(&mut log, false, last), Err(LogError::Full)),
        "the ballast's own room is no room"
    );
    last = next(&mut log, true, last).expect("and again");

    disk.resize(64);
    log.reserve.refill_now();
    last = next(&mut log, false, last).expect("there is room again");
    assert!(!log.is_full());
    assert_eq!(
        std::fs::metadata(&ballast).expect("there again").len(),
        limits::BALLAST_BYTES
    );
    drop(log);

    let log = open(folder);
    assert_eq!(
        newest(&log).expect("whole")[0].rev,
        last.0,
        "nothing acknowledged is lost"
    );
    chain_is_whole(&log);
}

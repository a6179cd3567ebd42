//! What SQLite alone reaches when many writers share its commits: the least that a durable push can cost there.

use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// As long as a push's entry without its copy of the POS.
type Record = [u8; 600];

#[derive(Default)]
struct Waiting {
    records: Vec<Record>,
    /// That ever waited.
    pushed: u64,
}

/// Records that wait, and how many are durable.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
    durable: Mutex<u64>,
    woken: Condvar,
}

/// Durable records a second, of so many writers that each wait for theirs.
pub fn rate(folder: &Path, writers: usize, seconds: u64) -> f64 {
    let connection = Connection::open(folder.join("bare.sqlite")).expect("a file");
    connection
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
             CREATE TABLE log (seq INTEGER PRIMARY KEY, entry BLOB NOT NULL);",
        )
        .expect("a table");
    let queue = Queue::default();
    let until = Instant::now() + Duration::from_secs(seconds);
    std::thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| write(&queue, until));
        }
        commit(&queue, connection, until);
    });
    let durable = *queue.durable.lock().expect("no panic");
    durable as f64 / seconds as f64
}

fn write(queue: &Queue, until: Instant) {
    while Instant::now() < until {
        let own = {
            let mut waiting = queue.waiting.lock().expect("no panic");
            waiting.records.push([7; 600]);
            waiting.pushed += 1;
            waiting.pushed
        };
        queue.more.notify_one();
        let mut durable = queue.durable.lock().expect("no panic");
        while *durable < own && Instant::now() < until {
            durable = queue
                .woken
                .wait_timeout(durable, Duration::from_millis(100))
                .expect("no panic")
                .0;
        }
    }
}

fn commit(queue: &Queue, mut connection: Connection, until: Instant) {
    let mut seq = 0_i64;
    while Instant::now() < until {
        let waiting = queue.waiting.lock().expect("no panic");
        let (mut waiting, _) = queue
            .more
            .wait_timeout_while(waiting, Duration::from_millis(100), |waiting| {
                waiting.records.is_empty()
            })
            .expect("no panic");
        let records = std::mem::take(&mut waiting.records);
        drop(waiting);
        let transaction = connection.transaction().expect("begun");
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO log (seq, entry) VALUES (?1, ?2)")
                .expect("a statement");
            for record in &records {
                seq += 1;
                insert.execute((seq, &record[..])).expect("inserted");
            }
        }
        transaction.commit().expect("durable");
        *queue.durable.lock().expect("no panic") += records.len() as u64;
        queue.woken.notify_all();
    }
}

//! Questions to the log, answered by threads of its own on connections that cannot write.
//!
//! There are two: whoever asks for one order never waits for those who read the history.

use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use rusqlite::{Connection, OptionalExtension, params_from_iter, types::Value};
use tokio::sync::oneshot;

use super::embedded::{self, Row, failure, open_for_reading, trimmed_seq};
use super::entry::Entry;
use super::{Damage, LogError, Sum};
use crate::domain::command::Event;
use crate::domain::id::{PosId, Reference, Rev, Timestamp};
use crate::domain::order::{Order, Status};
use crate::limits;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("too many questions wait for the log")]
    Busy,
    #[error(transparent)]
    Log(#[from] LogError),
}

/// An entry without what became of it: all that readers of the feed are told, and much less to keep in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    pub seq: u64,
    pub pos: PosId,
    pub rev: Rev,
    pub at: Timestamp,
    pub events: Vec<Event>,
}

impl From<Entry> for Happening {
    fn from(entry: Entry) -> Happening {
        Happening {
            seq: entry.seq,
            pos: entry.pos,
            rev: entry.rev,
            at: entry.at,
            events: entry.events,
        }
    }
}

/// Entries after a place of the log.
#[derive(Debug)]
pub struct EntryPage {
    pub entries: Vec<Happening>,
    /// Whether the log had more of them, that is, the page is full.
    pub more: bool,
    /// Every entry of the question's POS up to this number is in `entries`, or was asked for before.
    pub read_to: u64,
    /// Entries up to this number were trimmed (but for each POS's newest).
    pub trimmed_to: u64,
}

/// Which orders are asked for, newest first.
#[derive(Debug, Clone, Default)]
pub struct OrderQuery {
    pub pos: Option<PosId>,
    pub status: Option<Status>,
    pub since: Option<Timestamp>,
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<u64>,
}

#[derive(Debug)]
pub struct OrderPage {
    pub orders: Vec<Order>,
    /// The cursor of the next page, if there is one.
    pub next: Option<u64>,
}

type Question = Box<dyn FnOnce(&Connection) + Send>;

/// A handle to the reader's threads, which end when the last handle is gone.
#[derive(Debug, Clone)]
pub struct Reader {
    /// One row, or names: answered in no time.
    points: SyncSender<Question>,
    /// Pages of entries and of orders.
    scans: SyncSender<Question>,
}

impl Reader {
    pub fn open(file: &Path) -> Result<Reader, LogError> {
        Ok(Reader {
            points: thread(file, "log-points")?,
            scans: thread(file, "log-scans")?,
        })
    }

    async fn ask<T: Send + 'static>(
        questions: &SyncSender<Question>,
        question: impl FnOnce(&Connection) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |connection| {
            // Who asked may have gone.
            let _ = answer.send(question(connection));
        });
        questions.try_send(question).map_err(|error| match error {
            TrySendError::Full(_) => ReadError::Busy,
            TrySendError::Disconnected(_) => LogError::Failed("the log's reader is gone".into()).into(),
        })?;
        match answered.await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(LogError::Failed("the log's reader is gone".into()).into()),
        }
    }

    pub async fn order(&self, reference: Reference) -> Result<Option<Order>, ReadError> {
        Reader::ask(&self.points, move |connection| embedded::order(connection, &reference)).await
    }

    pub async fn orders(&self, query: OrderQuery) -> Result<OrderPage, ReadError> {
        Reader::ask(&self.scans, move |connection| orders(connection, &query)).await
    }

    /// A page of the orders that were made since a time, and of those for which money is still to go back; oldest first.
    pub async fn unsettled(&self, since: Timestamp, cursor: u64) -> Result<OrderPage, ReadError> {
        Reader::ask(&self.scans, move |connection| unsettled(connection, since, cursor)).await
    }

    /// Whether a POS was ever registered.
    pub async fn knows(&self, pos: PosId) -> Result<bool, ReadError> {
        Reader::ask(&self.points, move |connection| {
            connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM head WHERE pos = ?1)")
                .and_then(|mut statement| statement.query_row([pos.as_str()], |row| row.get(0)))
                .map_err(failure)
        })
        .await
    }

    /// The names of POS that were ever registered, in order, after `cursor`.
    pub async fn names(&self, cursor: Option<PosId>, limit: usize) -> Result<Vec<PosId>, ReadError> {
        Reader::ask(&self.points, move |connection| {
            names(connection, cursor.as_ref(), limit)
        })
        .await
    }

    /// The entries after number `after`, of one POS or of all, at most a page.
    pub async fn entries(&self, after: u64, pos: Option<PosId>) -> Result<EntryPage, ReadError> {
        Reader::ask(&self.scans, move |connection| entries(connection, after, pos.as_ref())).await
    }
}

fn thread(file: &Path, name: &str) -> Result<SyncSender<Question>, LogError> {
    let connection = open_for_reading(file)?;
    let (questions, waiting) = sync_channel::<Question>(limits::READS);
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            for question in waiting {
                question(&connection);
            }
        })
        .map_err(|error| LogError::Failed(format!("no thread for the log's reader: {error}")))?;
    Ok(questions)
}

/// What a page still takes. It takes one row always, or a row that is too large would be the end of all reading.
struct Room {
    empty: bool,
    rows: usize,
    bytes: usize,
}

impl Room {
    fn new(rows: usize, bytes: usize) -> Room {
        let empty = true;
        Room { empty, rows, bytes }
    }

    fn takes(&mut self, body: &[u8]) -> bool {
        let fits = self.empty || (self.rows > 0 && body.len() <= self.bytes);
        self.empty = false;
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(body.len());
        fits
    }
}

fn names(connection: &Connection, cursor: Option<&PosId>, limit: usize) -> Result<Vec<PosId>, LogError> {
    let mut statement = connection
        .prepare_cached("SELECT pos FROM head WHERE pos > ?1 ORDER BY pos LIMIT ?2")
        .map_err(failure)?;
    let names: Vec<String> = statement
        .query_map((cursor.map_or("", PosId::as_str), limit as i64), |row| row.get(0))
        .and_then(Iterator::collect)
        .map_err(failure)?;
    let parse = |name: String| PosId::parse(&name).map_err(|_| LogError::Failed(format!("head has the name {name:?}")));
    names.into_iter().map(parse).collect()
}

fn entries(connection: &Connection, after: u64, pos: Option<&PosId>) -> Result<EntryPage, LogError> {
    const COLUMNS: &str = "SELECT seq, pos, rev, at, body, prev, sum FROM entry";
    // All three answers are of one moment.
    let transaction = connection.unchecked_transaction().map_err(failure)?;
    let trimmed_to = trimmed_seq(&transaction).map_err(failure)?;
    let newest: u64 = transaction
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM entry")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(failure)?;
    let sql = match pos {
        Some(_) => format!("{COLUMNS} WHERE pos = ?3 AND seq > ?1 ORDER BY seq LIMIT ?2"),
        None => format!("{COLUMNS} WHERE seq > ?1 ORDER BY seq LIMIT ?2"),
    };
    // One more than a page tells whether there are more.
    let mut values = vec![Value::from(after as i64), Value::from(limits::FEED_PAGE as i64 + 1)];
    values.extend(pos.map(|pos| Value::from(pos.as_str().to_owned())));
    let mut statement = transaction.prepare_cached(&sql).map_err(failure)?;
    let rows = statement
        .query_map(params_from_iter(values), Row::read)
        .map_err(failure)?;
    let mut room = Room::new(limits::FEED_PAGE, limits::FEED_READ_BYTES);
    let mut entries: Vec<Happening> = Vec::new();
    let mut more = false;
    for row in rows {
        let row = row.map_err(failure)?;
        if !room.takes(row.body()) {
            more = true;
            break;
        }
        entries.push(row.verified()?.into());
    }
    match pos {
        Some(pos) => none_missing_of_one(&entries, place_before(&transaction, pos, after)?, trimmed_to)?,
        None => none_missing(&entries, after, trimmed_to)?,
    }
    let read_to = match entries.last() {
        Some(last) if more => last.seq,
        _ => newest.max(after),
    };
    Ok(EntryPage {
        entries,
        more,
        read_to,
        trimmed_to,
    })
}

/// Entries are numbered without a gap, so one that is not there was lost; but for those that were trimmed.
fn none_missing(entries: &[Happening], after: u64, trimmed_to: u64) -> Result<(), Damage> {
    let kept = entries.iter().filter(|entry| entry.seq > trimmed_to);
    for (expected, entry) in (after.max(trimmed_to) + 1..).zip(kept) {
        if entry.seq != expected {
            return Err(missing(format!("entry {expected}")));
        }
    }
    Ok(())
}

/// So are a POS's revisions; `before` is what the first follows.
fn none_missing_of_one(entries: &[Happening], mut before: Option<(u64, Rev)>, trimmed_to: u64) -> Result<(), Damage> {
    for entry in entries {
        if let Some((seq, rev)) = before
            && seq > trimmed_to
            && entry.rev != rev.next()
        {
            return Err(missing(format!("revision {} of {}", rev.next().0, entry.pos)));
        }
        before = Some((entry.seq, entry.rev));
    }
    Ok(())
}

/// Number and revision of the POS's newest entry up to number `after`.
fn place_before(connection: &Connection, pos: &PosId, after: u64) -> Result<Option<(u64, Rev)>, LogError> {
    connection
        .prepare_cached("SELECT seq, rev FROM entry WHERE pos = ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT 1")
        .and_then(|mut statement| {
            statement
                .query_row((pos.as_str(), after as i64), |row| Ok((row.get(0)?, Rev(row.get(1)?))))
                .optional()
        })
        .map_err(failure)
}

fn missing(place: String) -> Damage {
    let what = "it is missing".into();
    Damage { place, what }
}

fn orders(connection: &Connection, query: &OrderQuery) -> Result<OrderPage, LogError> {
    let mut sql = String::from("SELECT id, reference, body, sum FROM orders WHERE id < ?1");
    let mut values = vec![Value::from(
        query
            .cursor
            .map_or(i64::MAX, |cursor| i64::try_from(cursor).unwrap_or(i64::MAX)),
    )];
    let mut narrow = |condition: &str, value: Value| {
        values.push(value);
        sql.push_str(" AND ");
        sql.push_str(&condition.replace("{}", &values.len().to_string()));
    };
    if let Some(pos) = &query.pos {
        narrow("pos = ?{}", Value::from(pos.as_str().to_owned()));
    }
    if let Some(status) = query.status {
        narrow("status = ?{}", Value::from(status.as_str().to_owned()));
    }
    if let Some(since) = query.since {
        // `created_at` grows with `id`, so this is where the walk ends.
        narrow(
            "id >= (SELECT id FROM orders WHERE created_at >= ?{} ORDER BY created_at, id LIMIT 1)",
            Value::from(since.0),
        );
    }
    let limit = query.limit.clamp(1, limits::PAGE_MAX);
    // One more than asked tells whether there is a next page.
    narrow("1 = 1 ORDER BY id DESC LIMIT ?{}", Value::from(limit as i64 + 1));
    order_page(connection, &sql, values, limit)
}

fn unsettled(connection: &Connection, since: Timestamp, cursor: u64) -> Result<OrderPage, LogError> {
    let sql = "SELECT id, reference, body, sum FROM orders WHERE id IN (
        SELECT id FROM orders WHERE created_at >= ?1 AND id > ?2
        UNION SELECT id FROM orders WHERE work = 1 AND id > ?2 ORDER BY id LIMIT ?3
    ) ORDER BY id";
    let limit = limits::PAGE_MAX;
    // One more than a page tells whether there is a next one.
    let values = [since.0, i64::try_from(cursor).unwrap_or(i64::MAX), limit as i64 + 1];
    order_page(connection, sql, values.map(Value::from).to_vec(), limit)
}

fn order_page(connection: &Connection, sql: &str, values: Vec<Value>, limit: usize) -> Result<OrderPage, LogError> {
    let mut statement = connection.prepare_cached(sql).map_err(failure)?;
    let rows = statement
        .query_map(params_from_iter(values), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .map_err(failure)?;
    let mut room = Room::new(limit, limits::ORDERS_PAGE_BYTES);
    let mut page = OrderPage {
        orders: Vec::new(),
        next: None,
    };
    let mut last = None;
    for row in rows {
        let (id, reference, body, sum): (u64, String, Vec<u8>, [u8; 16]) = row.map_err(failure)?;
        if !room.takes(&body) {
            page.next = last;
            break;
        }
        page.orders.push(embedded::verified_order(&reference, &body, Sum(sum))?);
        last = Some(id);
    }
    Ok(page)
}

#[cfg(test)]
mod tests;

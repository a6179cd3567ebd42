//! Questions to the log, answered by threads of its own on connections that cannot write.
//!
//! There are two: whoever asks for one order never waits for those who read the history.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use rusqlite::{Connection, OptionalExtension, params_from_iter, types::Value};
use tokio::sync::oneshot;

use super::embedded::{self, Behind, Row, failure, open_for_reading, trimmed_seq};
use super::entry::Entry;
use super::{Damage, LogError, Space, Sum};
use crate::domain::access::Scope;
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
    /// Every entry of the question's scope up to this number is in `entries`, or was asked for before.
    pub read_to: u64,
    /// Entries up to this number were trimmed (but for each POS's newest).
    pub trimmed_to: u64,
}

/// Which orders are asked for, newest first.
#[derive(Debug, Clone)]
pub struct OrderQuery {
    pub of: Scope,
    pub status: Option<Status>,
    pub since: Option<Timestamp>,
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<u64>,
}

#[derive(Debug, Default)]
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
    behind: Arc<Behind>,
    folder: PathBuf,
}

impl Reader {
    pub(super) fn open(file: &Path, behind: &Arc<Behind>) -> Result<Reader, LogError> {
        Ok(Reader {
            points: thread(file, "log-points")?,
            scans: thread(file, "log-scans")?,
            behind: behind.clone(),
            folder: file.parent().unwrap_or(Path::new(".")).to_owned(),
        })
    }

    /// Whether lists of orders may lack what was acknowledged already: the writer must catch up first.
    pub fn is_behind(&self) -> bool {
        !self.behind.is_empty()
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

    pub async fn order(&self, reference: Reference) -> Result<Option<Arc<Order>>, ReadError> {
        if let Some(order) = self.behind.order(&reference) {
            return Ok(Some(order));
        }
        Reader::ask(&self.points, move |connection| {
            Ok(embedded::stored_order(connection, &reference)?.map(Arc::new))
        })
        .await
    }

    /// The orders that their table may lack, or have as they were.
    pub fn late_orders(&self) -> Vec<Arc<Order>> {
        self.behind.orders()
    }

    /// Orders as their table has them: it follows the entries.
    pub async fn orders(&self, query: OrderQuery) -> Result<OrderPage, ReadError> {
        Reader::ask(&self.scans, move |connection| orders(connection, &query)).await
    }

    /// A page of the orders that were made since a time, and of those for which money is still to go back; oldest first.
    pub async fn unsettled(&self, since: Timestamp, cursor: u64) -> Result<OrderPage, ReadError> {
        Reader::ask(&self.scans, move |connection| unsettled(connection, since, cursor)).await
    }

    /// Asked here because a disk that stalls would stop who asks it.
    pub async fn space(&self) -> Result<io::Result<Space>, ReadError> {
        let folder = self.folder.clone();
        Reader::ask(&self.points, move |_| Ok(Space::of(&folder))).await
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

    /// The entries after number `after`, of some POS or of all, at most a page.
    pub async fn entries(&self, after: u64, scope: Scope) -> Result<EntryPage, ReadError> {
        let behind = self.behind.clone();
        Reader::ask(&self.scans, move |connection| match scope {
            Scope::Of(names) => entries_of(connection, &behind, after, &names),
            Scope::All => entries(connection, &behind, after),
        })
        .await
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

fn entries(connection: &Connection, behind: &Behind, after: u64) -> Result<EntryPage, LogError> {
    // Not all that is there: who is told of an entry must find what it says.
    let newest = behind.last_seq();
    // Both answers are of one moment.
    let transaction = connection.unchecked_transaction().map_err(failure)?;
    let trimmed_to = trimmed_seq(&transaction).map_err(failure)?;
    let mut statement = transaction
        .prepare_cached(&Row::select("seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3"))
        .map_err(failure)?;
    // One more than a page tells whether there are more.
    let values = (after as i64, newest as i64, limits::FEED_PAGE as i64 + 1);
    let rows = statement.query_map(values, Row::read).map_err(failure)?;
    let page = entry_page(rows, newest.max(after), trimmed_to)?;
    none_missing(&page.entries, after, trimmed_to)?;
    Ok(page)
}

fn entries_of(connection: &Connection, behind: &Behind, after: u64, names: &[PosId]) -> Result<EntryPage, LogError> {
    // Before the table is read: what is not behind any more is in it.
    let (late, newest) = behind.entries_of(names);
    let transaction = connection.unchecked_transaction().map_err(failure)?;
    let trimmed_to = trimmed_seq(&transaction).map_err(failure)?;
    let mut of = transaction
        .prepare_cached("SELECT seq FROM entry_of WHERE pos = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4")
        .map_err(failure)?;
    let limit = limits::FEED_PAGE + 1;
    let mut numbers: BTreeSet<u64> = late.iter().flatten().copied().filter(|seq| *seq > after).collect();
    for pos in names {
        let values = (pos.as_str(), after as i64, newest as i64, limit as i64);
        let found = of.query_map(values, |row| row.get::<_, u64>(0)).map_err(failure)?;
        for seq in found {
            numbers.insert(seq.map_err(failure)?);
        }
    }
    let mut entry = transaction.prepare_cached(&Row::select("seq = ?1")).map_err(failure)?;
    // One that is not there is missed by its revision.
    let rows = numbers
        .iter()
        .take(limit)
        .filter_map(|seq| entry.query_row([*seq as i64], Row::read).optional().transpose());
    let page = entry_page(rows, newest.max(after), trimmed_to)?;
    for (pos, late) in names.iter().zip(late) {
        let before = late.into_iter().filter(|seq| *seq <= after).max();
        let of_pos = page.entries.iter().filter(|entry| entry.pos == *pos);
        none_missing_of_one(of_pos, place_before(&transaction, pos, after, before)?, trimmed_to)?;
    }
    Ok(page)
}

/// As many of the rows as a page takes; `newest` is what was read to if that is all.
fn entry_page(
    rows: impl Iterator<Item = rusqlite::Result<Row>>,
    newest: u64,
    trimmed_to: u64,
) -> Result<EntryPage, LogError> {
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
    let read_to = match entries.last() {
        Some(last) if more => last.seq,
        _ => newest,
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
            return Err(Damage::missing(format!("entry {expected}")));
        }
    }
    Ok(())
}

/// So are a POS's revisions; `before` is what the first follows.
fn none_missing_of_one<'a>(
    entries: impl Iterator<Item = &'a Happening>,
    mut before: Option<(u64, Rev)>,
    trimmed_to: u64,
) -> Result<(), Damage> {
    for entry in entries {
        if let Some((seq, rev)) = before
            && seq > trimmed_to
            && entry.rev != rev.next()
        {
            return Err(Damage::missing(format!("revision {} of {}", rev.next().0, entry.pos)));
        }
        before = Some((entry.seq, entry.rev));
    }
    Ok(())
}

/// Number and revision of the POS's newest entry up to number `after`; `late` is the one that its table lacks, if there is
/// one.
fn place_before(
    connection: &Connection,
    pos: &PosId,
    after: u64,
    late: Option<u64>,
) -> Result<Option<(u64, Rev)>, LogError> {
    connection
        .prepare_cached(
            "SELECT seq, rev FROM entry
             WHERE seq = coalesce(?3, (SELECT max(seq) FROM entry_of WHERE pos = ?1 AND seq <= ?2))",
        )
        .and_then(|mut statement| {
            let values = (pos.as_str(), after as i64, late.map(|seq| seq as i64));
            statement
                .query_row(values, |row| Ok((row.get(0)?, Rev(row.get(1)?))))
                .optional()
        })
        .map_err(failure)
}

fn orders(connection: &Connection, query: &OrderQuery) -> Result<OrderPage, LogError> {
    let limit = query.limit.clamp(1, limits::PAGE_MAX);
    // One more than asked tells whether there is a next page.
    let mut values = vec![
        Value::from(limit as i64 + 1),
        Value::from(
            query
                .cursor
                .map_or(i64::MAX, |cursor| i64::try_from(cursor).unwrap_or(i64::MAX)),
        ),
    ];
    let mut place_of = |value: Value| {
        values.push(value);
        values.len()
    };
    let mut condition = String::from("id < ?2");
    if let Some(status) = query.status {
        let place = place_of(Value::from(status.as_str().to_owned()));
        condition.push_str(&format!(" AND status = ?{place}"));
    }
    if let Some(since) = query.since {
        let place = place_of(Value::from(first_since(connection, since).map_err(failure)?));
        condition.push_str(&format!(" AND id >= ?{place}"));
    }
    // Of each POS its newest, so that nobody pays for what others sold.
    let newest_of = |pos: &PosId| {
        let place = place_of(Value::from(pos.as_str().to_owned()));
        format!("SELECT * FROM (SELECT id FROM orders WHERE {condition} AND pos = ?{place} ORDER BY id DESC LIMIT ?1)")
    };
    let condition = match &query.of {
        Scope::All => condition.clone(),
        Scope::Of(names) if names.is_empty() => return Ok(OrderPage::default()),
        Scope::Of(names) => format!(
            "id IN ({})",
            names.iter().map(newest_of).collect::<Vec<_>>().join(" UNION ALL ")
        ),
    };
    let sql = format!("SELECT id, reference, body, sum FROM orders WHERE {condition} ORDER BY id DESC LIMIT ?1");
    order_page(connection, &sql, values, limit)
}

/// The first order that was made at that time or later; the next that will be, if there is none.
fn first_since(connection: &Connection, since: Timestamp) -> rusqlite::Result<i64> {
    let mut ends = connection.prepare_cached("SELECT coalesce(min(id), 1), coalesce(max(id), 0) + 1 FROM orders")?;
    let (mut from, mut to): (i64, i64) = ends.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // `created_at` grows with `id`; some of those between were trimmed.
    let mut at = connection.prepare_cached("SELECT id, created_at FROM orders WHERE id >= ?1 ORDER BY id LIMIT 1")?;
    while from < to {
        let middle = from + (to - from) / 2;
        let (id, created_at): (i64, i64) = at.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if created_at < since.0 {
            from = id + 1;
        } else {
            to = middle;
        }
    }
    Ok(from)
}

fn unsettled(connection: &Connection, since: Timestamp, cursor: u64) -> Result<OrderPage, LogError> {
    let sql = "SELECT id, reference, body, sum FROM orders WHERE id IN (
        SELECT id FROM orders WHERE id >= ?1 AND id > ?2
        UNION SELECT id FROM orders WHERE work = 1 AND id > ?2 ORDER BY id LIMIT ?3
    ) ORDER BY id";
    let limit = limits::PAGE_MAX;
    let first = first_since(connection, since).map_err(failure)?;
    // One more than a page tells whether there is a next one.
    let values = [first, i64::try_from(cursor).unwrap_or(i64::MAX), limit as i64 + 1];
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
    let mut page = OrderPage::default();
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

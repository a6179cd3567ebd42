//! The default engine: one folder, one SQLite file in it, one process.
//!
//! What SQLite is trusted with, and what not: a commit is durable when it returns (WAL, `synchronous=FULL`). Its pages
//! carry no checksum, so each entry has its own. It forgets an IO error by the next commit, so the first one latches
//! here: after a failed fsync nobody knows what is on the disk. Its automatic checkpoints swallow such errors, or write
//! after them, so checkpoints are made by hand. And it shows what a killed process wrote but did not sync as if it had
//! been: that is made durable before anybody is told of it.

mod batch;
mod behind;
mod inbox;
mod reserve;
mod schema;
mod start;
mod tables;
pub(super) mod tokens;
mod trim;

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use ring::digest;
use ring::rand::SystemRandom;
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

pub use batch::Batch;

use batch::Transaction;
pub(super) use behind::Behind;
use behind::{Late, Piece};
pub use inbox::Kept;
pub use start::Newest;

use reserve::Reserve;
use schema::SCHEMA;
pub(super) use schema::Schema;
use trim::{OLDEST_ENTRY, OLDEST_ORDER};

use super::entry::{self, Entry, Unreadable};
use super::reader::Reader;
use super::space::{Space, free_bytes};
use super::{Damage, LogError, Sum};
use crate::domain::id::{PosId, Reference, Rev, Timestamp};
use crate::domain::order::Order;
use crate::domain::text::unhex;
use crate::limits;
use crate::seal::KEY_LEN;

pub(super) const FILE: &str = "surtidor.sqlite";

/// Name and version.
pub(super) fn engine() -> String {
    format!("SQLite {}", rusqlite::version())
}
const LOCK: &str = "lock";

const POLL_KEYS: &str = "poll_keys";
const SEAL_KEY: &str = "seal_key";
const TRIMMED_SEQ: &str = "trimmed_seq";
/// Up to which entry the tables have taken up what entries say.
const TABLES_SEQ: &str = "tables_seq";
/// Up to which time the last whole session of the trimmer went.
const ENTRIES_TRIMMED_BEFORE: &str = "entries_trimmed_before";
const ORDERS_TRIMMED_BEFORE: &str = "orders_trimmed_before";

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("data.dir: {path}: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("data.dir: {0} cannot be a folder: a file is in its place")]
    NotAFolder(PathBuf),
    #[error("another process has the data folder {0}")]
    Held(PathBuf),
    #[error("{0} was written by a newer version (tables {1}, this program knows {SCHEMA})")]
    Newer(PathBuf, i64),
    #[error(
        "the points of sale in {folder} were registered under the poll keys {stored}, and the configuration says {configured}: \
         set poll.keys to what it was, or begin with an empty folder"
    )]
    PollKeys {
        folder: PathBuf,
        stored: String,
        configured: String,
    },
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The writer's handle. Dropping it gives the folder back.
#[derive(Debug)]
pub struct Log {
    connection: Connection,
    folder: PathBuf,
    /// The first failure: nothing is written after it.
    failed: Option<String>,
    reserve: Reserve,
    /// The trimmer has looked at the entries up to this one; 0 when it begins anew.
    trimmer_at: u64,
    /// Pages in the write-ahead log after the last commit.
    wal_pages: Arc<AtomicU32>,
    behind: Arc<Behind>,
    /// Held as long as the log is open.
    _lock: File,
}

impl Log {
    /// Opens the folder, and makes it and the file in it if they are not there. `poll_keys` are the names under which
    /// POS are registered: stored values mean nothing under other ones.
    pub fn open(folder: &Path, poll_keys: &str) -> Result<Log, OpenError> {
        let in_folder = |source| OpenError::Folder {
            path: folder.to_owned(),
            source,
        };
        let new = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        new.map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory => OpenError::NotAFolder(folder.to_owned()),
            _ => in_folder(source),
        })?;
        let lock = private(&folder.join(LOCK)).map_err(in_folder)?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => OpenError::Held(folder.to_owned()),
            std::fs::TryLockError::Error(source) => in_folder(source),
        })?;

        let wal_pages = Arc::default();
        let reserve = Reserve::new(folder);
        // The ballast comes after the tables. A file that lost them must not pass for a new one: all that was acknowledged
        // would be gone, and nobody told.
        let had_tables = reserve.is_there();
        let connection = reserve.spend_if_full(|| connect(folder, &wal_pages))?;
        match reserve.spend_if_full(|| checkpoint(&connection, "TRUNCATE")) {
            // The write-ahead log keeps it all the longer; it was synced first.
            Ok(()) | Err(LogError::Full) => {}
            Err(error) => return Err(error.into()),
        }
        let mut log = Log {
            connection,
            folder: folder.to_owned(),
            failed: None,
            reserve,
            trimmer_at: 0,
            wal_pages,
            behind: Arc::default(),
            _lock: lock,
        };
        let steps = schema::steps(&log.connection)?.map_err(|newer| OpenError::Newer(log.file(), newer))?;
        if steps.are_all() && had_tables {
            let (place, what) = (FILE.into(), "it has no tables, and this folder was used before".into());
            return Err(LogError::from(Damage { place, what }).into());
        }
        log.reserve.spend_if_full(|| steps.take(&log.connection))?;
        log.check_poll_keys(poll_keys)?;
        // The folder's entry for a new file is durable only when the folder is.
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(in_folder)?;
        log.refill_reserve()?;
        log.recall()?;
        log.lay_out().map_err(in_folder)?;
        Ok(log)
    }

    /// Questions to this log, answered beside its writer.
    pub fn reader(&self) -> Result<Reader, LogError> {
        Reader::open(&self.file(), &self.behind)
    }

    pub fn space(&self) -> std::io::Result<Space> {
        Space::of(&self.folder)
    }

    /// Gives the write-ahead log the room that it will use, where there is plenty. Writing over what is there, a sync has no
    /// new size and no new blocks to record, and takes half the time. What follows the last commit in that file is no
    /// commit, so SQLite does not mind.
    fn lay_out(&self) -> std::io::Result<()> {
        if free_bytes(&self.folder)? < limits::WAL_ROOM {
            return Ok(());
        }
        let mut file = private(&self.folder.join(format!("{FILE}-wal")))?;
        let length = file.seek(SeekFrom::End(0))?;
        let missing = limits::WAL_BYTES.saturating_sub(length);
        let written = file
            .write_all(&vec![0; missing as usize])
            .and_then(|()| file.sync_all());
        match written {
            // It is allowed us no longer; then the file grows as it always does.
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                file.set_len(length)
            }
            done => done,
        }
    }

    fn check_poll_keys(&self, poll_keys: &str) -> Result<(), OpenError> {
        let stored: Option<String> = meta(&self.connection, POLL_KEYS).map_err(failure)?;
        let in_use: bool = self
            .connection
            .query_row("SELECT EXISTS (SELECT 1 FROM head WHERE keys IS NOT NULL)", [], |row| {
                row.get(0)
            })
            .map_err(failure)?;
        match stored {
            Some(stored) if stored != poll_keys && in_use => Err(OpenError::PollKeys {
                folder: self.folder.clone(),
                stored,
                configured: poll_keys.to_owned(),
            }),
            Some(stored) if stored == poll_keys => Ok(()),
            _ => set_meta(&self.connection, POLL_KEYS, poll_keys).map_err(|error| failure(error).into()),
        }
    }

    /// The key of our seal, made at the first start: what it sealed must be known after every other.
    pub fn seal_key(&self) -> Result<[u8; KEY_LEN], LogError> {
        if let Some(stored) = meta(&self.connection, SEAL_KEY).map_err(failure)? {
            let damage = || Damage {
                place: SEAL_KEY.into(),
                what: format!("that is no key of {KEY_LEN} bytes"),
            };
            return Ok(unhex(&stored).ok_or_else(damage)?);
        }
        let key: [u8; KEY_LEN] = ring::rand::generate(&SystemRandom::new())
            .map_err(|_| LogError::Failed("the system gave no random bytes".into()))?
            .expose();
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        self.reserve
            .spend_if_full(|| set_meta(&self.connection, SEAL_KEY, &hex).map_err(failure))?;
        Ok(key)
    }

    /// Does all of `work` in one commit with one fsync, or none of it. When it returns, what it did is durable; if it
    /// did nothing, nothing is written.
    ///
    /// Work that may not use the reserve is refused as `Full` while the reserve is open.
    pub fn commit<T>(
        &mut self,
        may_use_reserve: bool,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let late = self.behind.late();
        // Whoever adds entries faster than the tables follow pays for it.
        let owed = if late.len() >= limits::TABLES_BEHIND {
            late.piece(limits::TABLES_PIECE)
        } else {
            None
        };
        drop(late);
        self.commit_with(owed, may_use_reserve, work)
    }

    /// The tables take up a piece in the same commit.
    fn commit_with<T>(
        &mut self,
        piece: Option<Piece>,
        may_use_reserve: bool,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        if let Some(first) = &self.failed {
            return Err(LogError::Failed(first.clone()));
        }
        if self.reserve.is_open() {
            self.refill_reserve()?;
        }
        if self.reserve.is_open() && !may_use_reserve {
            return Err(LogError::Full);
        }
        let result = self.try_commit(piece, work);
        match &result {
            // A damaged row concerns who asked for it; the rest of the log is as good as it was.
            Ok(_) | Err(LogError::Damaged(_) | LogError::Locked) => {}
            Err(LogError::Full) => self.reserve.give_up(),
            Err(LogError::Failed(what)) => self.failed = Some(what.clone()),
        }
        result
    }

    fn try_commit<T>(
        &self,
        piece: Option<Piece>,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let transaction = Transaction::begin(&self.connection).map_err(failure)?;
        let mut batch = Batch {
            transaction,
            behind: &self.behind,
            late: Late::default(),
            changes: 0,
        };
        let done = work(&mut batch)?;
        piece.iter().try_for_each(|piece| batch.take_up(piece))?;
        let Batch {
            transaction,
            late: newer,
            changes,
            ..
        } = batch;
        if changes > 0 {
            transaction.commit().map_err(failure)?;
        }
        let mut late = self.behind.late();
        piece.iter().for_each(|piece| late.done(piece));
        late.extend(newer);
        Ok(done)
    }

    /// Copies the write-ahead log into the database, if it has grown enough to be worth it: a good deal while others
    /// wait, sooner while nobody does.
    pub fn checkpoint_if_due(&mut self, somebody_waits: bool) -> Result<(), LogError> {
        let due = if somebody_waits {
            limits::CHECKPOINT_PAGES_BUSY
        } else {
            limits::CHECKPOINT_PAGES
        };
        if self.failed.is_some() || self.wal_pages.load(Relaxed) < due {
            return Ok(());
        }
        self.checkpoint("PASSIVE")
    }

    /// The last one, so that all is in one file. Closing does not write.
    pub fn close(mut self) -> Result<(), LogError> {
        if self.failed.is_some() {
            return Ok(());
        }
        loop {
            match self.catch_up(limits::TABLES_PIECE) {
                Ok(true) => {}
                // The next start does it.
                Ok(false) | Err(LogError::Full | LogError::Locked) => break,
                Err(error) => return Err(error),
            }
        }
        self.checkpoint("TRUNCATE")
    }

    fn checkpoint(&mut self, mode: &str) -> Result<(), LogError> {
        // If it cannot copy all now, the next commit counts anew.
        self.wal_pages.store(0, Relaxed);
        match checkpoint(&self.connection, mode) {
            // The write-ahead log keeps it all the longer.
            Ok(()) | Err(LogError::Full | LogError::Locked) => Ok(()),
            Err(error) => {
                self.failed = Some(error.what());
                Err(error)
            }
        }
    }

    /// Whether pushes are refused for want of room.
    pub fn is_full(&self) -> bool {
        self.reserve.is_open()
    }

    /// Tries to fill the reserve, now and then. Want of room leaves it open; any other error is one of the disk.
    fn refill_reserve(&mut self) -> Result<(), LogError> {
        self.reserve.refill_if_due().map_err(|error| {
            let what = format!("the ballast: {error}");
            self.failed = Some(what.clone());
            LogError::Failed(what)
        })
    }

    /// Deletes entries made before `entries_before` and orders that ended before `orders_before`; never a POS's
    /// newest entry, never an open order. Tells how many rows it looked at: as many as `limits::TRIM_ROWS`, and more
    /// may be left; fewer, and a session is at its end.
    ///
    /// Whatever it is asked, a session goes no further than `limits::TRIM_STEP` beyond the one before it: the times come
    /// from a wall clock, and one that jumps ahead must not take the history with it.
    pub fn trim(&mut self, entries_before: Timestamp, orders_before: Timestamp) -> Result<usize, LogError> {
        // A start must find the entries that the tables have not taken up.
        while self.catch_up(limits::TABLES_PIECE)? {}
        let from = self.trimmer_at;
        let (looked_at, go_on_after) = self.commit(true, |batch| {
            let entries_before = batch.within_a_step(ENTRIES_TRIMMED_BEFORE, OLDEST_ENTRY, entries_before)?;
            let orders_before = batch.within_a_step(ORDERS_TRIMMED_BEFORE, OLDEST_ORDER, orders_before)?;
            let mut looked_at = 0;
            let mut go_on_after = 0;
            if let Some(before) = entries_before {
                let walked = batch.trim_entries(from, before)?;
                (looked_at, go_on_after) = (walked.looked_at, walked.go_on_after);
            }
            if let Some(before) = orders_before {
                looked_at = looked_at.max(batch.trim_orders(before)?);
            }
            if looked_at < limits::TRIM_ROWS {
                batch.remember_time(ENTRIES_TRIMMED_BEFORE, entries_before)?;
                batch.remember_time(ORDERS_TRIMMED_BEFORE, orders_before)?;
            }
            Ok((looked_at, go_on_after))
        })?;
        self.trimmer_at = go_on_after;
        Ok(looked_at)
    }

    pub fn file(&self) -> PathBuf {
        self.folder.join(FILE)
    }
}

/// A row of `entry` as it stands on the disk, not yet believed.
pub(super) struct Row {
    seq: u64,
    pos: String,
    rev: u64,
    at: i64,
    body: Vec<u8>,
    prev: Sum,
    sum: Sum,
}

impl Row {
    /// What reads rows, those for which the condition holds.
    pub(super) fn select(condition: &str) -> String {
        format!("SELECT seq, pos, rev, at, body, prev, sum FROM entry WHERE {condition}")
    }

    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
        Ok(Row {
            seq: row.get(0)?,
            pos: row.get(1)?,
            rev: row.get(2)?,
            at: row.get(3)?,
            body: row.get(4)?,
            prev: Sum(row.get(5)?),
            sum: Sum(row.get(6)?),
        })
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    pub(super) fn pos(&self) -> &str {
        &self.pos
    }

    pub(super) fn rev(&self) -> Rev {
        Rev(self.rev)
    }

    pub(super) fn at(&self) -> i64 {
        self.at
    }

    /// What the entry before it has as its sum.
    pub(super) fn prev(&self) -> Sum {
        self.prev
    }

    pub(super) fn sum(&self) -> Sum {
        self.sum
    }

    /// The entry, if it is what was written.
    pub(super) fn verified(&self) -> Result<Entry, Damage> {
        let damage = |what: String| Damage {
            place: format!("entry {} (point of sale {}, revision {})", self.seq, self.pos, self.rev),
            what,
        };
        let found = checksum(
            self.prev,
            self.seq,
            &self.pos,
            Rev(self.rev),
            Timestamp(self.at),
            &self.body,
        );
        if found != self.sum {
            return Err(damage(format!("its checksum is {found}, not {}", self.sum)));
        }
        let unreadable = |error: Unreadable| damage(error.to_string());
        let pos = PosId::parse(&self.pos).map_err(|_| unreadable(Unreadable::Field("pos")))?;
        let (events, state_after) = entry::read_body(&pos, &self.body).map_err(unreadable)?;
        Ok(Entry {
            seq: self.seq,
            pos,
            rev: Rev(self.rev),
            at: Timestamp(self.at),
            events,
            state_after,
        })
    }
}

fn checksum(prev: Sum, seq: u64, pos: &str, rev: Rev, at: Timestamp, body: &[u8]) -> Sum {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&prev.0);
    hash.update(&seq.to_be_bytes());
    hash.update(&(pos.len() as u64).to_be_bytes());
    hash.update(pos.as_bytes());
    hash.update(&rev.0.to_be_bytes());
    hash.update(&at.0.to_be_bytes());
    hash.update(body);
    cut(hash.finish())
}

fn sum_of(body: &[u8]) -> Sum {
    cut(digest::digest(&digest::SHA256, body))
}

/// Half of it is plenty against rot and hand edits.
fn cut(digest: digest::Digest) -> Sum {
    let mut sum = [0; 16];
    sum.copy_from_slice(&digest.as_ref()[..16]);
    Sum(sum)
}

/// Opens a file, making one that only its owner may read: customers' orders stand in it.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true).mode(0o600).open(path)
}

fn connect(folder: &Path, wal_pages: &Arc<AtomicU32>) -> Result<Connection, LogError> {
    let file = folder.join(FILE);
    // SQLite would let everybody read a file that it makes. Why it could not be made, it says itself.
    let _ = private(&file);
    let mut connection = Connection::open(file).map_err(failure)?;
    settings(&mut connection, Arc::clone(wal_pages)).map_err(failure)?;
    Ok(connection)
}

/// Copies the write-ahead log into the database and syncs both.
///
/// At start this makes durable what the last process left. It may have been killed, or have failed, between writing and
/// syncing; and whoever repeats a call is told "the same again" without another sync. Syncing the write-ahead log once
/// more would not do after a failed sync, since its pages count as clean: copied, they are written anew.
fn checkpoint(connection: &Connection, mode: &str) -> Result<(), LogError> {
    connection
        .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
        .map_err(failure)
}

fn settings(connection: &mut Connection, wal_pages: Arc<AtomicU32>) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(32);
    connection.busy_timeout(Duration::from_secs(5))?;
    // Closing would checkpoint, also after a failure.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    Syncing::Commits.set(connection)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.wal_hook(Some(move |_: &mut Wal, pages: i32| {
        wal_pages.store(u32::try_from(pages).unwrap_or(0), Relaxed);
        Ok(())
    }))?;
    // Else statements are compiled anew for each value that is bound to them, since one index is of some orders only.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cache_size", -16_384)
}

/// When SQLite syncs the write-ahead log.
#[derive(Debug, Clone, Copy)]
enum Syncing {
    /// With each commit, which is durable once it returns.
    Commits,
    /// Before it is copied into the database: what is lost by a crash is the newest commits, and never the older of two.
    Checkpoints,
}

impl Syncing {
    fn set(self, connection: &Connection) -> rusqlite::Result<()> {
        let value = match self {
            Syncing::Commits => "FULL",
            Syncing::Checkpoints => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", value)
    }
}

/// A second connection, for questions only.
pub(super) fn open_for_reading(file: &Path) -> Result<Connection, LogError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(failure)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.busy_timeout(Duration::from_secs(5)).map_err(failure)?;
    connection
        .pragma_update(None, "trusted_schema", false)
        .map_err(failure)?;
    Ok(connection)
}

/// An order as its table has it.
pub(super) fn stored_order(connection: &Connection, reference: &Reference) -> Result<Option<Order>, LogError> {
    let found: Option<(Vec<u8>, [u8; 16])> = connection
        .prepare_cached("SELECT body, sum FROM orders WHERE reference = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([reference.folded()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(failure)?;
    found
        .map(|(body, sum)| Ok(verified_order(reference.as_str(), &body, Sum(sum))?))
        .transpose()
}

pub(super) fn verified_order(reference: &str, body: &[u8], sum: Sum) -> Result<Order, Damage> {
    let damage = |what: String| Damage {
        place: format!("order {reference}"),
        what,
    };
    let found = sum_of(body);
    if found != sum {
        return Err(damage(format!("its checksum is {found}, not {sum}")));
    }
    let order = entry::read_order_body(body).map_err(|error| damage(error.to_string()))?;
    if order.reference.as_str().eq_ignore_ascii_case(reference) {
        Ok(order)
    } else {
        Err(damage(format!("it is the order {}", order.reference)))
    }
}

/// Entries up to this number were trimmed, but for each POS's newest.
pub(super) fn trimmed_seq(connection: &Connection) -> rusqlite::Result<u64> {
    number(connection, TRIMMED_SEQ)
}

/// Entries up to this number are in the tables that are made of them.
pub(super) fn tables_seq(connection: &Connection) -> rusqlite::Result<u64> {
    number(connection, TABLES_SEQ)
}

/// 0 if it was never set.
fn number(connection: &Connection, key: &str) -> rusqlite::Result<u64> {
    let text = meta(connection, key)?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

fn set_meta(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )?
        .execute([key, value])?;
    Ok(())
}

pub(super) fn failure(error: rusqlite::Error) -> LogError {
    // Sizing the shared index of the write-ahead log needs room too, and SQLite calls the want of it an IO error.
    const IOERR_SHMSIZE: i32 = 10 | (19 << 8);
    match error.sqlite_error() {
        Some(e) if e.code == ErrorCode::DiskFull || e.extended_code == IOERR_SHMSIZE => LogError::Full,
        Some(e) if e.code == ErrorCode::DatabaseBusy => LogError::Locked,
        _ => LogError::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests;

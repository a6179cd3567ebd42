//! What one commit reads and writes.

use std::ops::Deref;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::behind::{Behind, Late};
use super::{checksum, failure};
use crate::domain::command::Event;
use crate::domain::id::{PosId, Reference, Rev, Timestamp};
use crate::domain::order::Order;
use crate::domain::pos::PollKey;
use crate::log::entry::{self, Entry};
use crate::log::{Damage, LogError, Sum};

/// A transaction whose beginning and end are prepared once. rusqlite's own would compile both for every push.
pub(super) struct Transaction<'a> {
    connection: &'a Connection,
    is_open: bool,
}

impl<'a> Transaction<'a> {
    pub(super) fn begin(connection: &'a Connection) -> rusqlite::Result<Transaction<'a>> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let is_open = true;
        Ok(Transaction { connection, is_open })
    }

    pub(super) fn commit(mut self) -> rusqlite::Result<()> {
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.is_open = false;
        Ok(())
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // A failed commit may have rolled back already; and what fails here, the next one meets.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

/// One commit in the making. It sees its own writes.
pub struct Batch<'a> {
    pub(super) transaction: Transaction<'a>,
    pub(super) behind: &'a Behind,
    /// What its own entries say.
    pub(super) late: Late,
    /// Rows written; none, and there is nothing to commit.
    pub(super) changes: u32,
}

impl Batch<'_> {
    /// The order recorded under a reference, whatever the case of its letters.
    pub fn order(&self, reference: &Reference) -> Result<Option<Arc<Order>>, LogError> {
        match self.late.order(reference) {
            Some(own) => Ok(Some(own.order.clone())),
            None => self.behind.order_beside(&self.transaction, reference),
        }
    }

    /// The POS that has these poll keys.
    pub fn keys_owner(&self, keys: &PollKey) -> Result<Option<PosId>, LogError> {
        let owner: Option<String> = self
            .transaction
            .prepare_cached("SELECT pos FROM head WHERE keys = ?1")
            .and_then(|mut statement| statement.query_row([keys.joined()], |row| row.get(0)).optional())
            .map_err(failure)?;
        owner
            .map(|pos| {
                PosId::parse(&pos).map_err(|_| {
                    let place = format!("head of {pos:?}");
                    let what = "that is no name of a point of sale".into();
                    Damage { place, what }.into()
                })
            })
            .transpose()
    }

    /// Where the chain of a POS stands: it may have one also if it is not registered now.
    pub fn chain(&self, pos: &PosId) -> Result<(Rev, Sum), LogError> {
        let late = self.late.head(pos).or_else(|| self.behind.late().head(pos));
        let found: Option<(u64, [u8; 16])> = self
            .transaction
            .prepare_cached(
                "SELECT rev, sum FROM entry WHERE seq = coalesce(?1, (SELECT seq FROM head WHERE pos = ?2))",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(params![late, pos.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .map_err(failure)?;
        Ok(found.map_or((Rev(0), Sum::NONE), |(rev, sum)| (Rev(rev), Sum(sum))))
    }

    /// Appends an entry after the newest of its POS, which has the checksum `prev`. `changed` are the orders that it
    /// changes, as they stand afterwards.
    pub fn append(&mut self, entry: &Entry, prev: Sum, changed: Vec<Arc<Order>>) -> Result<Sum, LogError> {
        let pos = entry.pos.as_str();
        let body = entry::body(&entry.events, &entry.state_after);
        let sum = checksum(prev, entry.seq, pos, entry.rev, entry.at, &body);
        self.transaction
            .prepare_cached(
                "INSERT INTO entry (seq, pos, rev, at, body, prev, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )
            .and_then(|mut statement| {
                statement.execute(params![entry.seq, pos, entry.rev.0, entry.at.0, body, prev.0, sum.0])
            })
            .map_err(failure)?;
        let is_of_registry = |event: &Event| matches!(event, Event::Registered(_) | Event::Changed(_) | Event::Removed);
        if entry.events.iter().any(is_of_registry) {
            self.put_keys(entry)?;
        }
        self.late.add(entry.seq, &entry.pos, changed);
        self.changes += 1;
        Ok(sum)
    }

    /// Who has which poll keys does not wait for the tables to follow: the next registration must know.
    fn put_keys(&mut self, entry: &Entry) -> Result<(), LogError> {
        let state = entry.state_after.as_ref();
        let keys = state.and_then(|pos| pos.registration.keys.as_ref());
        self.transaction
            .prepare_cached(
                "INSERT INTO head (pos, seq, keys) VALUES (?1, ?2, ?3)
                 ON CONFLICT (pos) DO UPDATE SET seq = excluded.seq, keys = excluded.keys",
            )
            .and_then(|mut statement| {
                statement.execute(params![entry.pos.as_str(), entry.seq, keys.map(PollKey::joined)])
            })
            .map_err(failure)?;
        Ok(())
    }

    pub fn put_lease(&mut self, pos: &PosId, until: Option<Timestamp>) -> Result<(), LogError> {
        let written = match until {
            Some(until) => self
                .transaction
                .prepare_cached("INSERT INTO lease (pos, until) VALUES (?1, ?2) ON CONFLICT (pos) DO UPDATE SET until = excluded.until")
                .and_then(|mut statement| statement.execute(params![pos.as_str(), until.0])),
            None => self
                .transaction
                .prepare_cached("DELETE FROM lease WHERE pos = ?1")
                .and_then(|mut statement| statement.execute([pos.as_str()])),
        };
        written.map_err(failure)?;
        self.changes += 1;
        Ok(())
    }
}

//! The tables that follow the entries: made of them, never the other way round.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::behind::{LateOrder, Piece};
use super::{Batch, Log, Row, Syncing, TABLES_SEQ, failure, set_meta, sum_of, tables_seq};
use crate::domain::evolve::orders_after;
use crate::domain::id::{PosId, Reference};
use crate::domain::order::Order;
use crate::limits;
use crate::log::entry::{self, Entry};
use crate::log::{Damage, LogError};

impl Log {
    /// Up to which entry the tables have taken up what entries say.
    pub fn taken_up(&self) -> u64 {
        self.behind.late().taken_up()
    }

    /// Brings the tables nearer to the entries, by so many of them; true if more is left.
    pub fn catch_up(&mut self, entries: usize) -> Result<bool, LogError> {
        let piece = self.behind.late().piece(entries);
        if piece.is_some() {
            // It follows from entries that are on the disk. The next commit's sync takes it there too, and a start after a
            // crash makes it anew.
            self.set_syncing(Syncing::Checkpoints)?;
            let done = self.commit_with(piece, true, |_| Ok(()));
            self.set_syncing(Syncing::Commits)?;
            done?;
        }
        Ok(!self.behind.is_empty())
    }

    /// What it cannot set, nobody may build on.
    fn set_syncing(&mut self, syncing: Syncing) -> Result<(), LogError> {
        syncing.set(&self.connection).map_err(|error| {
            let what = format!("PRAGMA synchronous: {error}");
            self.failed = Some(what.clone());
            LogError::Failed(what)
        })
    }

    /// At start: the tables take up what the last process left behind.
    pub(super) fn recall(&mut self) -> Result<(), LogError> {
        let stored = tables_seq(&self.connection).map_err(failure)?;
        self.behind.late().begin_after(stored);
        let mut next = stored + 1;
        loop {
            let page = self.entries_from(next)?;
            if page.is_empty() {
                return Ok(());
            }
            for (entry, expected) in page.iter().zip(next..) {
                if entry.seq != expected {
                    return Err(Damage::missing(format!("entry {expected}")).into());
                }
                let changed = self.changed_by(entry)?;
                self.behind.late().add(entry.seq, &entry.pos, changed);
            }
            next += page.len() as u64;
            // On a full disk the first try gives up the ballast. If that is not enough either, they wait in memory.
            let caught_up = match self.catch_up(limits::TABLES_PIECE) {
                Err(LogError::Full) => self.catch_up(limits::TABLES_PIECE),
                done => done,
            };
            match caught_up {
                Ok(_) | Err(LogError::Full) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn entries_from(&self, seq: u64) -> Result<Vec<Entry>, LogError> {
        let mut statement = self
            .connection
            .prepare_cached(&Row::select("seq >= ?1 ORDER BY seq LIMIT ?2"))
            .map_err(failure)?;
        let rows = statement
            .query_map(params![seq, limits::TABLES_PIECE as i64], Row::read)
            .map_err(failure)?;
        rows.map(|row| Ok(row.map_err(failure)?.verified()?)).collect()
    }

    /// The orders that an entry changed, but for those of which the table has this entry or a later one.
    fn changed_by(&self, entry: &Entry) -> Result<Vec<Arc<Order>>, LogError> {
        let open = entry.state_after.as_ref().and_then(|pos| pos.open.as_ref());
        let mut changed: Vec<Arc<Order>> = Vec::new();
        let mut known = Vec::new();
        let mut news = Vec::new();
        for event in &entry.events {
            let Some(reference) = event.reference() else { continue };
            if self.row_seq(reference)? >= entry.seq {
                continue;
            }
            match open.filter(|open| open.reference == *reference) {
                // The entry has a whole copy, so it does not matter what the table has.
                Some(open) if changed.contains(open) => {}
                Some(open) => changed.push(open.clone()),
                None => {
                    known.extend(self.behind.order_beside(&self.connection, reference)?);
                    news.push(event.clone());
                }
            }
        }
        changed.extend(orders_after(&known, &news, entry.at));
        Ok(changed)
    }

    /// The entry that changed an order's row last; 0 if there is none.
    fn row_seq(&self, reference: &Reference) -> Result<u64, LogError> {
        let found: Option<u64> = self
            .connection
            .prepare_cached("SELECT seq FROM orders WHERE reference = ?1")
            .and_then(|mut statement| statement.query_row([reference.folded()], |row| row.get(0)).optional())
            .map_err(failure)?;
        Ok(found.unwrap_or(0))
    }
}

impl Batch<'_> {
    pub(super) fn take_up(&mut self, piece: &Piece) -> Result<(), LogError> {
        self.write_piece(piece).map_err(failure)?;
        self.changes += 1;
        Ok(())
    }

    fn write_piece(&self, piece: &Piece) -> rusqlite::Result<()> {
        let mut of = self
            .transaction
            .prepare_cached("INSERT INTO entry_of (pos, seq) VALUES (?1, ?2)")?;
        for (pos, seq) in &piece.entries {
            of.execute(params![pos.as_str(), seq])?;
        }
        // A registration has written its own already.
        let mut head = self.transaction.prepare_cached(
            "INSERT INTO head (pos, seq) VALUES (?1, ?2) ON CONFLICT (pos) DO UPDATE SET seq = max(seq, excluded.seq)",
        )?;
        // Of several entries of a POS the last one stays.
        let heads: HashMap<&PosId, u64> = piece.entries.iter().map(|(pos, seq)| (pos, *seq)).collect();
        for (pos, seq) in heads {
            head.execute(params![pos.as_str(), seq])?;
        }
        piece.orders.iter().try_for_each(|late| self.write_order(late))?;
        set_meta(&self.transaction, TABLES_SEQ, &piece.last_seq.to_string())
    }

    fn write_order(&self, late: &LateOrder) -> rusqlite::Result<()> {
        let order = &late.order;
        let body = entry::order_body(order);
        self.transaction
            .prepare_cached(
                "INSERT INTO orders (reference, pos, status, created_at, ended_at, body, sum, work, seq)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (reference) DO UPDATE SET status = excluded.status, ended_at = excluded.ended_at,
                 body = excluded.body, sum = excluded.sum, work = excluded.work, seq = excluded.seq",
            )?
            .execute(params![
                order.reference.folded(),
                order.pos.as_str(),
                order.status.as_str(),
                order.created_at.0,
                order.ended_at.map(|at| at.0),
                body,
                sum_of(&body).0,
                order.refunds_wait(),
                late.seq,
            ])?;
        Ok(())
    }
}

//! The tables that follow the entries: made of them, never the other way round.

use std::sync::Arc;

use rusqlite::params;

use super::behind::{LateOrder, Piece};
use super::{Batch, Log, Row, TABLES_SEQ, failure, number, set_meta, sum_of};
use crate::domain::evolve::orders_after;
use crate::domain::id::Reference;
use crate::domain::order::Order;
use crate::limits;
use crate::log::entry::{self, Entry};
use crate::log::{Damage, LogError};

impl Log {
    /// Brings the tables nearer to the entries, by a piece; true if more is left.
    pub fn catch_up(&mut self) -> Result<bool, LogError> {
        self.take_up(limits::TABLES_PIECE)
    }

    pub(super) fn take_up(&mut self, entries: usize) -> Result<bool, LogError> {
        let piece = self.behind.late().piece(entries);
        if piece.is_some() {
            self.commit_with(piece, true, |_| Ok(()))?;
        }
        Ok(!self.behind.is_empty())
    }

    /// At start: the tables take up what the last process left behind.
    pub(super) fn recall(&mut self) -> Result<(), LogError> {
        let stored = number(&self.connection, TABLES_SEQ).map_err(failure)?;
        self.behind.late().begin_after(stored);
        let mut next = stored + 1;
        loop {
            let page = self.entries_from(next)?;
            if page.is_empty() {
                return Ok(());
            }
            for (entry, expected) in page.iter().zip(next..) {
                if entry.seq != expected {
                    let place = format!("entry {expected}");
                    let what = "it is missing".into();
                    return Err(Damage { place, what }.into());
                }
                let changed = self.changed_by(entry)?;
                self.behind.late().add(entry.seq, &entry.pos, changed);
            }
            next += page.len() as u64;
            // On a full disk the first try gives up the ballast. If that is not enough either, they wait in memory.
            let caught_up = match self.catch_up() {
                Err(LogError::Full) => self.catch_up(),
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
            .prepare_cached(
                "SELECT seq, pos, rev, at, body, prev, sum FROM entry WHERE seq >= ?1 ORDER BY seq LIMIT ?2",
            )
            .map_err(failure)?;
        let rows = statement
            .query_map(params![seq, limits::TABLES_PIECE as i64], Row::read)
            .map_err(failure)?;
        rows.map(|row| Ok(row.map_err(failure)?.verified()?)).collect()
    }

    /// The orders that an entry changed, but for those of which the table has this entry or a later one.
    fn changed_by(&self, entry: &Entry) -> Result<Vec<Arc<Order>>, LogError> {
        let mut known = Vec::new();
        let mut news = Vec::new();
        for event in &entry.events {
            let Some(reference) = event.reference() else { continue };
            match self.known(reference)? {
                Some((_, seq)) if seq >= entry.seq => continue,
                found => known.extend(found.map(|(order, _)| order)),
            }
            news.push(event.clone());
        }
        Ok(orders_after(&known, &news, entry.at))
    }

    /// An order as it stands, and the entry that changed it last.
    fn known(&self, reference: &Reference) -> Result<Option<(Arc<Order>, u64)>, LogError> {
        if let Some(late) = self.behind.late().order(reference) {
            return Ok(Some((late.order.clone(), late.seq)));
        }
        let stored = super::stored_order(&self.connection, reference)?;
        Ok(stored.map(|(order, seq)| (Arc::new(order), seq)))
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
        for (pos, seq) in &piece.heads {
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

//! What is older than what is kept goes, a piece at a time; never a POS's newest entry, never an open order.

use rusqlite::{OptionalExtension, params};

use super::{Batch, TRIMMED_SEQ, failure, meta, number, set_meta};
use crate::domain::id::Timestamp;
use crate::limits;
use crate::log::LogError;

/// The times from which the trimmer begins.
pub(super) const OLDEST_ENTRY: &str = "SELECT at FROM entry ORDER BY seq LIMIT 1";
pub(super) const OLDEST_ORDER: &str = "SELECT created_at FROM orders ORDER BY id LIMIT 1";

impl Batch<'_> {
    /// How far this session may go: to `asked`, but no more than a step beyond where the last one ended, or beyond the
    /// oldest row if there was none. None if there is nothing to trim.
    pub(super) fn within_a_step(
        &mut self,
        key: &str,
        oldest: &str,
        asked: Timestamp,
    ) -> Result<Option<Timestamp>, LogError> {
        let stored = meta(&self.transaction, key).map_err(failure)?;
        let last = match stored.and_then(|stored| stored.parse().ok()) {
            Some(last) => Some(Timestamp(last)),
            None => {
                let oldest = self.transaction.query_row(oldest, [], |row| row.get(0)).optional();
                let oldest = oldest.map_err(failure)?.map(Timestamp);
                // Kept at once: the oldest row goes in the course of the session.
                self.remember_time(key, oldest)?;
                oldest
            }
        };
        Ok(last.map(|last| asked.min(last.plus_seconds(limits::TRIM_STEP.as_secs()))))
    }

    pub(super) fn remember_time(&mut self, key: &str, time: Option<Timestamp>) -> Result<(), LogError> {
        let text = time.map(|time| time.0.to_string());
        match text {
            Some(text) if meta(&self.transaction, key).map_err(failure)?.as_ref() != Some(&text) => {
                set_meta(&self.transaction, key, &text).map_err(failure)?;
                self.changes += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// `at` grows with `seq`, so what is too old is a prefix; but each POS's newest entry stays in it, so it is walked in
    /// pieces. The chain's last deleted link stays as the POS's anchor.
    pub(super) fn trim_entries(&mut self, from: u64, before: Timestamp) -> Result<Walked, LogError> {
        let old = self.entries_before(from, before).map_err(failure)?;
        let mut newest_gone = None;
        for Old { seq, pos, rev, sum, .. } in old.iter().filter(|old| !old.is_newest) {
            self.transaction
                .prepare_cached(
                    "INSERT INTO anchor (pos, rev, sum) VALUES (?1, ?2, ?3)
                     ON CONFLICT (pos) DO UPDATE SET rev = excluded.rev, sum = excluded.sum",
                )
                .and_then(|mut statement| statement.execute(params![pos, rev, sum]))
                .and_then(|_| self.transaction.prepare_cached("DELETE FROM entry WHERE seq = ?1"))
                .and_then(|mut statement| statement.execute([seq]))
                .and_then(|_| {
                    self.transaction
                        .prepare_cached("DELETE FROM entry_of WHERE pos = ?1 AND seq = ?2")
                })
                .and_then(|mut statement| statement.execute(params![pos, seq]))
                .map_err(failure)?;
            self.changes += 1;
            newest_gone = Some(*seq);
        }
        if let Some(seq) = newest_gone {
            // A POS's entry that was its newest may go after later ones of others.
            let trimmed = number(&self.transaction, TRIMMED_SEQ).map_err(failure)?.max(seq);
            set_meta(&self.transaction, TRIMMED_SEQ, &trimmed.to_string()).map_err(failure)?;
        }
        let go_on_after = match old.last() {
            Some(last) if old.len() == limits::TRIM_ROWS => last.seq,
            _ => 0,
        };
        Ok(Walked {
            looked_at: old.len(),
            go_on_after,
        })
    }

    fn entries_before(&self, from: u64, before: Timestamp) -> rusqlite::Result<Vec<Old>> {
        let mut statement = self.transaction.prepare_cached(
            "SELECT e.seq, e.pos, e.rev, e.sum, e.at, e.seq IS h.seq FROM entry e LEFT JOIN head h ON h.pos = e.pos
             WHERE e.seq > ?1 ORDER BY e.seq LIMIT ?2",
        )?;
        let rows = statement.query_map(params![from, limits::TRIM_ROWS as i64], |row| {
            Ok(Old {
                seq: row.get(0)?,
                pos: row.get(1)?,
                rev: row.get(2)?,
                sum: row.get(3)?,
                at: Timestamp(row.get(4)?),
                is_newest: row.get(5)?,
            })
        })?;
        rows.take_while(|row| row.as_ref().map_or(true, |row| row.at < before))
            .collect()
    }

    /// Looks at the oldest only: `created_at` grows with `id`, and no order stays open for long.
    pub(super) fn trim_orders(&mut self, before: Timestamp) -> Result<usize, LogError> {
        let gone = self
            .transaction
            .prepare_cached(
                "DELETE FROM orders WHERE id IN
                 (SELECT id FROM (SELECT id, ended_at FROM orders ORDER BY id LIMIT ?2) WHERE ended_at < ?1)",
            )
            .and_then(|mut statement| statement.execute(params![before.0, limits::TRIM_ROWS as i64]))
            .map_err(failure)?;
        self.changes += gone as u32;
        Ok(gone)
    }
}

/// A piece of the trimmer's walk.
pub(super) struct Walked {
    pub(super) looked_at: usize,
    pub(super) go_on_after: u64,
}

/// An entry that is older than what is kept.
struct Old {
    seq: u64,
    pos: String,
    rev: u64,
    sum: [u8; 16],
    at: Timestamp,
    is_newest: bool,
}

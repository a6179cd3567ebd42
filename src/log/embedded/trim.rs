//! Old entries and orders go, a piece at a time; what must stay to read the rest never does.

use rusqlite::params;

use super::{Batch, LogError, TRIMMED_SEQ, failure, set_meta, trimmed_seq};
use crate::domain::id::Timestamp;
use crate::limits;

impl Batch<'_> {
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
                .map_err(failure)?;
            self.changes += 1;
            newest_gone = Some(*seq);
        }
        if let Some(seq) = newest_gone {
            // A POS's entry that was its newest may go after later ones of others.
            let trimmed = trimmed_seq(&self.transaction).map_err(failure)?.max(seq);
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

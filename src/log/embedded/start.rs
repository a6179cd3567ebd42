//! What a start reads: each POS as it stands, the leases, and where the numbers went on.

use rusqlite::OptionalExtension;

use super::{Log, Row, failure};
use crate::domain::id::{PosId, Rev, Timestamp};
use crate::domain::pos::State;
use crate::log::{Damage, LogError, Sum};

/// A POS as its newest entry left it.
#[derive(Debug)]
pub struct Newest {
    pub pos: PosId,
    pub seq: u64,
    pub rev: Rev,
    pub at: Timestamp,
    pub sum: Sum,
    pub state: State,
}

impl Log {
    /// Each POS that was ever registered, as its newest entry left it, verified.
    pub fn newest(&self, mut each: impl FnMut(Newest)) -> Result<(), LogError> {
        let mut heads = self.connection.prepare("SELECT pos, seq FROM head").map_err(failure)?;
        let mut entry = self
            .connection
            .prepare(&Row::select("seq = ?1 AND pos = ?2"))
            .map_err(failure)?;
        let mut rows = heads.query([]).map_err(failure)?;
        while let Some(row) = rows.next().map_err(failure)? {
            let (pos, seq): (String, u64) = (row.get(0).map_err(failure)?, row.get(1).map_err(failure)?);
            let seq = self.late_head(&pos).unwrap_or(seq);
            let found = entry.query_row((seq, &pos), Row::read).optional().map_err(failure)?;
            let row = found.ok_or_else(|| Damage {
                place: format!("entry {seq} (point of sale {pos})"),
                what: "the newest entry is missing".into(),
            })?;
            let entry = row.verified()?;
            each(Newest {
                pos: entry.pos,
                seq: entry.seq,
                rev: entry.rev,
                at: entry.at,
                sum: row.sum,
                state: entry.state_after,
            });
        }
        Ok(())
    }

    /// On a full disk the tables may still be behind.
    fn late_head(&self, pos: &str) -> Option<u64> {
        let pos = PosId::parse(pos).ok()?;
        self.behind.late().head(&pos)
    }

    /// The leases that were held.
    pub fn leases(&self, mut each: impl FnMut(&str, Timestamp)) -> Result<(), LogError> {
        let mut statement = self
            .connection
            .prepare("SELECT pos, until FROM lease")
            .map_err(failure)?;
        let mut rows = statement.query([]).map_err(failure)?;
        while let Some(row) = rows.next().map_err(failure)? {
            let pos = row.get_ref(0).map_err(failure)?;
            let until = Timestamp(row.get(1).map_err(failure)?);
            each(pos.as_str().unwrap_or_default(), until);
        }
        Ok(())
    }

    /// The number of the newest entry; 0 if there is none.
    pub fn last_seq(&self) -> Result<u64, LogError> {
        self.connection
            .query_row("SELECT coalesce(max(seq), 0) FROM entry", [], |row| row.get(0))
            .map_err(failure)
    }
}

//! Notifications, kept until they are worked off.

use rusqlite::params;

use super::{Batch, Log, failure};
use crate::domain::hint::{Hint, Signature, Thing, Topic};
use crate::domain::id::{AccountId, Reference, Timestamp};
use crate::log::{Damage, LogError};

/// A hint as it stands in the inbox. Whoever takes it out says what became of it: so there is only one of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub row: u64,
    pub hint: Hint,
    /// When it was kept.
    pub at: Timestamp,
}

impl Batch<'_> {
    /// Keeps a hint under a row that no other has.
    pub fn keep(&mut self, kept: &Kept) -> Result<(), LogError> {
        let Kept { row, hint, at } = kept;
        self.transaction
            .prepare_cached(
                "INSERT INTO inbox (id, account, topic, thing, reference, signature, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    row,
                    hint.account.as_str(),
                    hint.thing.topic().as_str(),
                    hint.thing.id(),
                    hint.reference.as_ref().map(Reference::as_str),
                    hint.signature.as_str(),
                    at.0,
                ])
            })
            .map_err(failure)?;
        self.changes += 1;
        Ok(())
    }

    /// Deletes what was worked off.
    pub fn forget(&mut self, row: u64) -> Result<(), LogError> {
        self.transaction
            .prepare_cached("DELETE FROM inbox WHERE id = ?1")
            .and_then(|mut statement| statement.execute([row]))
            .map_err(failure)?;
        self.changes += 1;
        Ok(())
    }
}

impl Log {
    /// What waits to be worked off, oldest first.
    pub fn inbox(&self, mut each: impl FnMut(Kept)) -> Result<(), LogError> {
        let mut statement = self
            .connection
            .prepare("SELECT id, at, account, topic, thing, signature, reference FROM inbox ORDER BY id")
            .map_err(failure)?;
        let mut rows = statement.query([]).map_err(failure)?;
        while let Some(row) = rows.next().map_err(failure)? {
            let id: u64 = row.get(0).map_err(failure)?;
            let at = Timestamp(row.get(1).map_err(failure)?);
            let text = |column: usize| row.get::<_, Option<String>>(column).map_err(failure);
            let hint = hint([text(2)?, text(3)?, text(4)?, text(5)?], text(6)?).ok_or_else(|| Damage {
                place: format!("inbox {id}"),
                what: "that is no notification".into(),
            })?;
            each(Kept { row: id, hint, at });
        }
        Ok(())
    }
}

fn hint([account, topic, thing, signature]: [Option<String>; 4], reference: Option<String>) -> Option<Hint> {
    Some(Hint {
        account: AccountId::parse(&account?).ok()?,
        thing: Thing::parse(Topic::parse(&topic?)?, &thing?)?,
        reference: reference.map(|text| Reference::parse(&text)).transpose().ok()?,
        signature: Signature::parse(&signature?)?,
    })
}

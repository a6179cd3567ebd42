//! The tables' versions, and what leads from each to the next.

use rusqlite::Connection;

use super::failure;
use crate::log::LogError;

/// What leads from each version of the tables to the next, from none on. Bodies carry a version of their own.
pub(super) const STEPS: [&str; 4] = [
    include_str!("tables-1.sql"),
    include_str!("tables-2.sql"),
    include_str!("tables-3.sql"),
    include_str!("tables-4.sql"),
];
pub(super) const SCHEMA: usize = STEPS.len();

/// Whose tables a file has, for who only reads it.
pub(in crate::log) enum Schema {
    Ours,
    Older,
    Newer,
    /// It has none.
    Empty,
}

impl Schema {
    pub(in crate::log) fn of(connection: &Connection) -> Result<Schema, LogError> {
        Ok(match steps(connection)? {
            Ok(steps) if steps.are_none() => Schema::Ours,
            Ok(steps) if steps.are_all() => Schema::Empty,
            Ok(_) => Schema::Older,
            Err(_) => Schema::Newer,
        })
    }
}

/// What a file's tables lack.
pub(super) struct Steps(&'static [&'static str]);

/// An error in the answer is the version of tables that are newer than this program.
pub(super) fn steps(connection: &Connection) -> Result<Result<Steps, i64>, LogError> {
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failure)?;
    let missing = usize::try_from(version).ok().and_then(|done| STEPS.get(done..));
    Ok(missing.map(Steps).ok_or(version))
}

impl Steps {
    /// There are no tables yet.
    pub(super) fn are_all(&self) -> bool {
        self.0.len() == SCHEMA
    }

    /// The tables are this program's.
    pub(super) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them or none.
    pub(super) fn take(&self, connection: &Connection) -> Result<(), LogError> {
        if self.are_none() {
            return Ok(());
        }
        let transaction = connection.unchecked_transaction().map_err(failure)?;
        transaction.execute_batch(&self.0.concat()).map_err(failure)?;
        transaction
            .pragma_update(None, "user_version", SCHEMA)
            .map_err(failure)?;
        transaction.commit().map_err(failure)
    }
}

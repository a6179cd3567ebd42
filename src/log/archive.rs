//! A log's file as others than its server see it: whether all in it is what was written, and a copy of it.
//!
//! It reads beside a server that runs, and never writes: what it finds is told, and mended by nobody.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::embedded::{FILE, Row, Schema, failure, open_for_reading, tables_seq, tokens, trimmed_seq, verified_order};
use super::{Damage, LogError, Sum};
use crate::domain::id::{PosId, Rev, Timestamp};

/// Why a file could not be read as a log, or not be copied.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("{0} is neither a data folder nor a copy of one's log")]
    NoLog(PathBuf),
    #[error("{0} was written by a newer version: read it with that one")]
    Newer(PathBuf),
    #[error("{0} was written by an older version: start the server on it once, which brings it up to date")]
    Older(PathBuf),
    #[error("{0} is there already, and nothing is written over")]
    Taken(PathBuf),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A data folder's log, or a copy of one.
#[derive(Debug)]
pub struct Archive {
    connection: Connection,
}

/// What was looked at.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Looked {
    pub entries: u64,
    pub pos: u64,
    pub orders: u64,
    /// Earlier entries were trimmed.
    pub trimmed_to: u64,
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
}

/// What a POS's next entry must follow.
type Ends = HashMap<String, (Rev, Sum)>;

impl Archive {
    /// `place` is a data folder, or a file.
    pub fn open(place: &Path) -> Result<Archive, ArchiveError> {
        let file = if place.is_dir() {
            place.join(FILE)
        } else {
            place.to_owned()
        };
        let no_log = || ArchiveError::NoLog(place.to_owned());
        if !file.is_file() {
            return Err(no_log());
        }
        let connection = open_for_reading(&file).map_err(|_| no_log())?;
        match Schema::of(&connection) {
            Ok(Schema::Ours) => Ok(Archive { connection }),
            Ok(Schema::Newer) => Err(ArchiveError::Newer(file)),
            Ok(Schema::Older) => Err(ArchiveError::Older(file)),
            Ok(Schema::Empty) | Err(_) => Err(no_log()),
        }
    }

    /// Looks at all of it, as it stands at one moment, and tells what is not as it was written.
    pub fn verify(&self, mut tell: impl FnMut(Damage)) -> Result<Looked, LogError> {
        let moment = self.connection.unchecked_transaction().map_err(failure)?;
        structure(&moment, &mut tell)?;
        let mut ends = anchors(&moment)?;
        let mut looked = Looked {
            trimmed_to: trimmed_seq(&moment).map_err(failure)?,
            ..Looked::default()
        };
        entries(&moment, &mut ends, &mut looked, &mut tell)?;
        looked.pos = newest(&moment, &ends, &mut tell)?;
        of_pos(&moment, &mut tell)?;
        looked.orders = orders(&moment, &mut tell)?;
        tokens::damaged(&moment, &mut tell)?;
        Ok(looked)
    }

    /// Writes a copy, as it stands at one moment. It appears under its name once it is whole and on the disk.
    pub fn copy_to(&self, file: &Path) -> Result<(), ArchiveError> {
        let in_file = |source| ArchiveError::File {
            path: file.to_owned(),
            source,
        };
        if file.exists() {
            return Err(ArchiveError::Taken(file.to_owned()));
        }
        let mut unfinished = file.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        // SQLite takes an empty file for none, and would let everybody read one that it makes.
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let made = options.open(&unfinished).map_err(in_file)?;
        let copied = self.fill(&unfinished).map_err(ArchiveError::Log).and_then(|()| {
            made.sync_all().map_err(in_file)?;
            // Unlike a rename, a link does not write over what came there meanwhile.
            std::fs::hard_link(&unfinished, file).map_err(|source| match source.kind() {
                ErrorKind::AlreadyExists => ArchiveError::Taken(file.to_owned()),
                _ => in_file(source),
            })
        });
        let removed = std::fs::remove_file(&unfinished).map_err(in_file);
        // On a full disk SQLite leaves this beside a copy that did not fit.
        let mut journal = unfinished.into_os_string();
        journal.push("-journal");
        drop(std::fs::remove_file(journal));
        copied.and(removed)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(in_file)
    }

    fn fill(&self, file: &Path) -> Result<(), LogError> {
        let name = file.to_str().ok_or_else(|| {
            let what = format!("{} is not UTF-8, and SQLite takes no other name", file.display());
            LogError::Failed(what)
        })?;
        let copied = self.connection.execute("VACUUM INTO ?1", [name]);
        copied.map(drop).map_err(failure)
    }
}

/// Whether SQLite's own pages and indexes agree.
fn structure(connection: &Connection, tell: &mut impl FnMut(Damage)) -> Result<(), LogError> {
    let mut statement = connection.prepare("PRAGMA integrity_check(10)").map_err(failure)?;
    let found = statement
        .query_map([], |row| row.get(0))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<String>>>)
        .map_err(failure)?;
    for what in found.into_iter().filter(|line| line != "ok") {
        tell(Damage {
            place: FILE.into(),
            what,
        });
    }
    Ok(())
}

/// What the oldest kept entries follow, where earlier ones were trimmed.
fn anchors(connection: &Connection) -> Result<Ends, LogError> {
    let mut statement = connection
        .prepare("SELECT pos, rev, sum FROM anchor")
        .map_err(failure)?;
    let anchors = statement.query_map([], |row| {
        let (pos, rev, sum): (String, u64, [u8; 16]) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((pos, (Rev(rev), Sum(sum))))
    });
    anchors.and_then(Iterator::collect).map_err(failure)
}

/// Each entry against its own checksum, and against the one before it: of all, and of its POS.
fn entries(
    connection: &Connection,
    ends: &mut Ends,
    looked: &mut Looked,
    tell: &mut impl FnMut(Damage),
) -> Result<(), LogError> {
    let mut statement = connection.prepare(&Row::select("1 ORDER BY seq")).map_err(failure)?;
    let mut rows = statement.query([]).map_err(failure)?;
    let mut next = looked.trimmed_to + 1;
    while let Some(row) = rows.next().map_err(failure)? {
        let row = Row::read(row).map_err(failure)?;
        looked.entries += 1;
        // Of trimmed entries, each POS's newest stays.
        if row.seq() >= next {
            gap(next, row.seq()).into_iter().for_each(&mut *tell);
            next = row.seq() + 1;
        }
        if let Err(damage) = row.verified() {
            tell(damage);
        }
        let at = Timestamp(row.at());
        looked.oldest = looked.oldest.or(Some(at));
        looked.newest = looked.newest.max(Some(at));
        let (rev, sum) = ends.get(row.pos()).copied().unwrap_or((Rev(0), Sum::NONE));
        if (row.rev(), row.prev()) != (rev.next(), sum) {
            tell(Damage {
                place: format!(
                    "entry {} (point of sale {}, revision {})",
                    row.seq(),
                    row.pos(),
                    row.rev().0
                ),
                what: format!("it does not follow revision {} of that point of sale", rev.0),
            });
        }
        ends.insert(row.pos().to_owned(), (row.rev(), row.sum()));
    }
    Ok(())
}

/// What is missing from `first` up to before `next`. It is told in one: a number that is damaged itself may be any.
fn gap(first: u64, next: u64) -> Option<Damage> {
    match next - first {
        0 => None,
        1 => Some(Damage::missing(format!("entry {first}"))),
        _ => Some(Damage {
            place: format!("entries {first} to {}", next - 1),
            what: "they are missing".into(),
        }),
    }
}

/// Each POS's newest entry must be there; how many there are.
fn newest(connection: &Connection, ends: &Ends, tell: &mut impl FnMut(Damage)) -> Result<u64, LogError> {
    let mut statement = connection.prepare("SELECT pos FROM head").map_err(failure)?;
    let names = statement
        .query_map([], |row| row.get(0))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<String>>>)
        .map_err(failure)?;
    for name in names.iter().filter(|name| !ends.contains_key(*name)) {
        tell(Damage::missing(format!("the newest entry of {name}")));
    }
    let known = |name: &&String| PosId::parse(name).is_ok();
    Ok(names.iter().filter(known).count() as u64)
}

/// Where a POS's entries are, and which of them is its newest: who follows it would not be told of one that is not there.
fn of_pos(connection: &Connection, tell: &mut impl FnMut(Damage)) -> Result<(), LogError> {
    let taken_up = tables_seq(connection).map_err(failure)?;
    for (lost, what) in [
        (
            "SELECT 'entry ' || seq FROM entry WHERE seq <= ?1
             AND NOT EXISTS (SELECT 1 FROM entry_of own WHERE own.pos = entry.pos AND own.seq = entry.seq) ORDER BY seq",
            "who follows its point of sale does not find it",
        ),
        (
            "SELECT 'the newest entry of ' || pos FROM entry WHERE seq <= ?1 GROUP BY pos
             HAVING max(seq) > coalesce((SELECT head.seq FROM head WHERE head.pos = entry.pos), 0)",
            "it is not known to be that",
        ),
    ] {
        let mut statement = connection.prepare(lost).map_err(failure)?;
        let mut rows = statement.query([taken_up]).map_err(failure)?;
        while let Some(row) = rows.next().map_err(failure)? {
            tell(Damage {
                place: row.get(0).map_err(failure)?,
                what: what.into(),
            });
        }
    }
    Ok(())
}

fn orders(connection: &Connection, tell: &mut impl FnMut(Damage)) -> Result<u64, LogError> {
    let mut statement = connection
        .prepare("SELECT reference, body, sum FROM orders ORDER BY id")
        .map_err(failure)?;
    let mut rows = statement.query([]).map_err(failure)?;
    let mut count = 0;
    while let Some(row) = rows.next().map_err(failure)? {
        let read = || -> rusqlite::Result<(String, Vec<u8>, [u8; 16])> { Ok((row.get(0)?, row.get(1)?, row.get(2)?)) };
        let (reference, body, sum) = read().map_err(failure)?;
        count += 1;
        if let Err(damage) = verified_order(&reference, &body, Sum(sum)) {
            tell(damage);
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests;

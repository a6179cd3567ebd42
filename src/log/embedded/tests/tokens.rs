//! What the fourth version of the tables brought.

use super::*;
use crate::domain::access::{Grant, Scope, TokenHash};
use crate::domain::id::TokenName;

/// A body as the first form has it. Newer versions go on reading it.
const TOKEN_V1: &str = include_str!("../../../../tests/wire/token-v1.json");

fn grant(name: &str, hash: u8, scope: Scope) -> Grant {
    Grant {
        name: TokenName::parse(name).expect("a name"),
        hash: TokenHash([hash; 32]),
        scope,
        created_at: Timestamp(1_763_733_909_123),
    }
}

fn of(names: [&str; 2]) -> Scope {
    Scope::of(names.map(pos_id))
}

fn grants(log: &Log) -> Result<Vec<(Grant, Option<Timestamp>)>, LogError> {
    let mut found = Vec::new();
    log.grants(|grant, used_at| found.push((grant, used_at)))?;
    Ok(found)
}

#[test]
fn tokens_are_there_until_they_are_revoked() {
    let folder = folder();
    let mut log = open(folder.path());
    let (north, office) = (grant("north", 1, of(["P", "Q"])), grant("office", 2, Scope::All));
    log.commit(false, |batch| {
        batch.put_grant(&office)?;
        batch.put_grant(&north)?;
        batch.note_use(&office.name, Timestamp(7))
    })
    .expect("written");
    drop(log);
    let mut log = open(folder.path());
    let both = [(north.clone(), None), (office.clone(), Some(Timestamp(7)))];
    assert_eq!(grants(&log).expect("read"), both);
    log.commit(true, |batch| {
        batch.drop_grant(&office.name)?;
        // It was used a moment ago.
        batch.note_use(&office.name, Timestamp(8))
    })
    .expect("written");
    drop(log);
    assert_eq!(grants(&open(folder.path())).expect("read"), [(north, None)]);
}

#[test]
fn the_first_form_stays_readable() {
    let folder = folder();
    let mut log = open(folder.path());
    let north = grant("north", 1, of(["PUMP1", "PUMP2"]));
    log.commit(false, |batch| batch.put_grant(&north)).expect("written");
    let read = |log: &Log| -> String {
        let body: Vec<u8> = log
            .connection
            .query_row("SELECT body FROM token", [], |row| row.get(0))
            .expect("one row");
        String::from_utf8(body).expect("text")
    };
    assert_eq!(read(&log), TOKEN_V1.trim_end(), "what is written now");
    assert_eq!(grants(&log).expect("read"), [(north, None)]);
}

/// What a token opens is not what somebody, or the disk, made of it since.
#[test]
fn a_damaged_token_stops_the_start_and_is_named() {
    for meddling in [
        r#"UPDATE token SET body = CAST('{"v":1,"created_at":1763733909123}' AS BLOB)"#,
        "UPDATE token SET body = CAST(replace(CAST(body AS TEXT), 'Q', 'R') AS BLOB)",
        "UPDATE token SET hash = x'0909090909090909090909090909090909090909090909090909090909090909'",
        "UPDATE token SET hash = x'09'",
        "UPDATE token SET name = 'south'",
        "UPDATE token SET sum = x'00'",
        "UPDATE token SET body = x'ff'",
    ] {
        let folder = folder();
        let mut log = open(folder.path());
        let north = grant("north", 1, of(["P", "Q"]));
        log.commit(false, |batch| batch.put_grant(&north)).expect("written");
        drop(log);
        meddle(folder.path(), meddling);
        let Err(LogError::Damaged(damage)) = grants(&open(folder.path())) else {
            panic!("{meddling}")
        };
        assert!(damage.place.starts_with("token "), "{damage}");
        let archive = Archive::open(folder.path()).expect("it opens");
        let mut told = Vec::new();
        archive.verify(|damage| told.push(damage)).expect("read");
        assert_eq!(told, [damage], "{meddling}");
    }
}

#[test]
fn a_newer_form_is_refused_by_name() {
    let folder = folder();
    let mut log = open(folder.path());
    let north = grant("north", 1, of(["P", "Q"]));
    log.commit(false, |batch| batch.put_grant(&north)).expect("written");
    drop(log);
    let newer = br#"{"v":2,"pos":["P"],"created_at":1,"until":9}"#.as_slice();
    let sum = super::super::tokens::sum("north", &north.hash, newer);
    Connection::open(folder.path().join(FILE))
        .expect("the file")
        .execute("UPDATE token SET body = ?1, sum = ?2", (newer, sum.0))
        .expect("meddled");
    let Err(LogError::Damaged(damage)) = grants(&open(folder.path())) else {
        panic!("it was read")
    };
    assert!(damage.what.contains("version 2"), "{damage}");
}

#[test]
fn a_folder_of_the_third_version_is_upgraded_at_start() {
    let folder = folder();
    let (mut book, mut log) = (Book::default(), open(folder.path()));
    book.write(&mut log, "P", 1, registered("P"));
    drop(log);
    meddle(folder.path(), "DROP TABLE token; PRAGMA user_version = 3");
    let archive = Archive::open(folder.path());
    assert!(
        matches!(archive, Err(crate::log::ArchiveError::Older(_))),
        "{archive:?}"
    );
    let mut log = open(folder.path());
    assert_eq!(newest(&log).expect("read").len(), 1);
    assert!(grants(&log).expect("its table is there").is_empty());
    let north = grant("north", 1, of(["P", "Q"]));
    log.commit(false, |batch| batch.put_grant(&north)).expect("written");
}

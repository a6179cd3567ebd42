use super::*;
use crate::domain::order::Status;
use crate::log::samples::{Book, caught_up, ended, open, order, registered, said};

/// A folder with two POS, an order and an entry or two; closed.
fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = open(folder.path());
    let mut book = Book::default();
    for (at, pos) in [(1, "A"), (2, "B")] {
        book.write(&mut log, pos, at, registered(pos));
    }
    log.commit(false, |batch| book.put(batch, order("T-1", "A", 3)))
        .expect("written");
    book.write(&mut log, "B", 4, said("hello"));
    book.write(&mut log, "B", 5, said("again"));
    log.close().expect("closed");
    folder
}

fn damages(place: &Path) -> (Vec<String>, Looked) {
    let archive = Archive::open(place).expect("a log");
    let mut damages = Vec::new();
    let looked = archive.verify(|damage| damages.push(damage.to_string()));
    (damages, looked.expect("it can be read"))
}

fn meddled(sql: &str) -> Vec<String> {
    let folder = written();
    let connection = Connection::open(folder.path().join(FILE)).expect("a file");
    connection.execute_batch(sql).expect("sql");
    damages(folder.path()).0
}

#[test]
fn what_was_written_is_whole() {
    let folder = written();
    let (damages, looked) = damages(folder.path());
    assert_eq!(damages, [""; 0]);
    let expected = Looked {
        entries: 5,
        pos: 2,
        orders: 1,
        trimmed_to: 0,
        oldest: Some(Timestamp(1)),
        newest: Some(Timestamp(5)),
    };
    assert_eq!(looked, expected);
}

#[test]
fn each_damage_is_named() {
    for (sql, expected) in [
        (
            "UPDATE entry SET at = 9 WHERE seq = 4",
            vec!["entry 4 (point of sale B, revision 2): its checksum is"],
        ),
        (
            "DELETE FROM entry WHERE seq = 4",
            vec![
                "entry 4: it is missing",
                "entry 5 (point of sale B, revision 3): it does not follow revision 1",
            ],
        ),
        (
            "DELETE FROM entry WHERE pos = 'A'",
            vec![
                "entry 1: it is missing",
                "entry 3: it is missing",
                "the newest entry of A: it is missing",
            ],
        ),
        (
            "DELETE FROM entry_of WHERE seq = 4",
            vec!["entry 4: who follows its point of sale"],
        ),
        (
            "UPDATE entry_of SET pos = 'A' WHERE seq = 5",
            vec!["entry 5: who follows its point of sale"],
        ),
        (
            "UPDATE head SET seq = 4 WHERE pos = 'B'",
            vec!["the newest entry of B: it is not known"],
        ),
        (
            "DELETE FROM head WHERE pos = 'B'",
            vec!["the newest entry of B: it is not known"],
        ),
        ("UPDATE orders SET body = x'7b7d'", vec!["order t-1: its checksum is"]),
        (
            "UPDATE entry SET prev = zeroblob(16), sum = zeroblob(16) WHERE seq = 5",
            vec![
                "entry 5 (point of sale B, revision 3): its checksum is",
                "entry 5 (point of sale B, revision 3): it does not follow revision 2",
            ],
        ),
        // What another entry could have said in its place has the right sum, and another history.
        (
            "UPDATE entry SET (at, body, prev, sum) = (SELECT at, body, prev, sum FROM entry WHERE seq = 2), rev = 1, seq = 9 WHERE seq = 5",
            vec!["entries 5 to 8: they are missing"],
        ),
        // Told at once, and not one by one.
        (
            "UPDATE entry SET seq = 9000000000000000000 WHERE seq = 5",
            vec![
                "entries 5 to 8999999999999999999: they are missing",
                "entry 9000000000000000000 (point of sale B, revision 3): its checksum is",
            ],
        ),
    ] {
        let found = meddled(sql);
        assert!(found.len() >= expected.len(), "{sql}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{sql}: {found}");
        }
    }
}

#[test]
fn a_copy_is_a_log_and_is_never_written_over() {
    let folder = written();
    let archive = Archive::open(folder.path()).expect("a log");
    let file = folder.path().join("copy");
    archive.copy_to(&file).expect("copied");
    assert_eq!(damages(&file), damages(folder.path()));
    assert!(matches!(archive.copy_to(&file), Err(ArchiveError::Taken(_))));
    let kept: Vec<_> = std::fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().contains("unfinished"))
        .collect();
    assert!(kept.is_empty(), "{kept:?}");

    let elsewhere = tempfile::tempdir().expect("a folder");
    std::fs::rename(&file, elsewhere.path().join(FILE)).expect("moved");
    let mut log = open(elsewhere.path());
    assert_eq!(log.last_seq().expect("read"), 5);
    caught_up(&mut log);
}

#[test]
fn it_reads_beside_a_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = open(folder.path());
    let mut book = Book::default();
    book.write(&mut log, "A", 1, registered("A"));
    let closed = ended(order("T-1", "A", 3), Status::Canceled, 4);
    log.commit(false, |batch| book.put(batch, closed)).expect("written");
    let archive = Archive::open(folder.path()).expect("a log");
    let file = folder.path().join("copy");
    archive.copy_to(&file).expect("copied");
    book.write(&mut log, "A", 5, said("later"));
    assert_eq!(damages(&file).1.entries, 2);
    assert_eq!(damages(folder.path()).1.entries, 3);
}

#[test]
fn what_is_no_log_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(matches!(Archive::open(folder.path()), Err(ArchiveError::NoLog(_))));
    let file = folder.path().join("text");
    std::fs::write(
        &file,
        "not a database, but long enough to be looked at as one by a program that does not care",
    )
    .expect("written");
    assert!(matches!(Archive::open(&file), Err(ArchiveError::NoLog(_))));
    for (version, newer) in [(99, true), (1, false)] {
        let folder = written();
        let connection = Connection::open(folder.path().join(FILE)).expect("a file");
        connection.pragma_update(None, "user_version", version).expect("sql");
        match Archive::open(folder.path()) {
            Err(ArchiveError::Newer(_)) => assert!(newer),
            Err(ArchiveError::Older(_)) => assert!(!newer),
            other => panic!("{other:?}"),
        }
    }
    let missing = folder.path().join("nowhere").join("copy");
    let log = written();
    let copied = Archive::open(log.path()).expect("a log").copy_to(&missing);
    assert!(matches!(copied, Err(ArchiveError::File { .. })), "{copied:?}");
}

//! What the second version of the tables brought.

use super::*;
use crate::domain::hint::{Hint, Signature, Thing, Topic};
use crate::domain::id::AccountId;

fn kept(row: u64, topic: Topic, thing: &str, of: Option<&str>, signature: Signature) -> Kept {
    let hint = Hint {
        account: AccountId::parse("main").expect("a name"),
        thing: Thing::parse(topic, thing).expect("an id"),
        reference: of.map(reference),
        signature,
    };
    let at = Timestamp(1_763_733_909_000 + row as i64);
    Kept { row, hint, at }
}

fn inbox(log: &Log) -> Result<Vec<Kept>, LogError> {
    let mut found = Vec::new();
    log.inbox(|kept| found.push(kept))?;
    Ok(found)
}

#[test]
fn notifications_are_there_until_they_are_worked_off() {
    let folder = folder();
    let mut log = open(folder.path());
    let all = || {
        [
            kept(1, Topic::MerchantOrder, "23603350837", Some("T-1"), Signature::Absent),
            kept(2, Topic::Payment, "9999999999999999999", None, Signature::Valid),
            kept(7, Topic::Intent, "7c1d2e3f-1a2b", None, Signature::Invalid),
        ]
    };
    log.commit(false, |batch| all().iter().try_for_each(|kept| batch.keep(kept)))
        .expect("written");
    drop(log);
    let mut log = open(folder.path());
    assert_eq!(inbox(&log).expect("read"), all());
    log.commit(true, |batch| batch.forget(2)).expect("written");
    log.commit(true, |batch| batch.forget(2)).expect("gone already");
    let [first, _, last] = all();
    assert_eq!(inbox(&log).expect("read"), [first, last]);
    meddle(folder.path(), "UPDATE inbox SET thing = '0' WHERE id = 1");
    assert!(matches!(inbox(&log), Err(LogError::Damaged(damage)) if damage.place == "inbox 1"));
}

#[test]
fn the_seals_key_is_made_once() {
    let (one, other) = (folder(), folder());
    let key = open(one.path()).seal_key().expect("made");
    assert_eq!(open(one.path()).seal_key().expect("kept"), key);
    assert_ne!(open(other.path()).seal_key().expect("made"), key);
    meddle(one.path(), "UPDATE meta SET value = 'beef' WHERE key = 'seal_key'");
    assert!(matches!(open(one.path()).seal_key(), Err(LogError::Damaged(_))));
}

#[test]
fn a_folder_of_the_first_version_is_upgraded_in_place() {
    let folder = folder();
    let file = folder.path().join(FILE);
    let mut first = Connection::open(&file).expect("a file");
    settings(&mut first, Arc::default()).expect("as it was made");
    first.execute_batch(schema::STEPS[0]).expect("its tables");
    first.pragma_update(None, "user_version", 1).expect("its version");
    set_meta(&first, POLL_KEYS, "locationId,positionId").expect("its poll keys");
    let made = order("T-1", "P", 3);
    let body = entry::order_body(&made);
    first
        .execute(
            "INSERT INTO orders (reference, pos, status, created_at, body, sum) VALUES ('t-1', 'P', 'ready', 3, ?1, ?2)",
            (&body, sum_of(&body).0),
        )
        .expect("an order");
    drop(first);

    for _ in 0..2 {
        let mut log = open(folder.path());
        assert!(
            schema::steps(&log.connection)
                .expect("read")
                .is_ok_and(|steps| steps.are_none())
        );
        let found = log.commit(false, |batch| batch.order(&reference("T-1")));
        assert_eq!(found.expect("read"), Some(Arc::new(made.clone())));
        assert!(inbox(&log).expect("its table is there").is_empty());
        let work: i64 = log
            .connection
            .query_row("SELECT count(*) FROM orders WHERE work = 0", [], |row| row.get(0))
            .expect("read");
        assert_eq!(work, 1);
    }
    // What an upgrade leads to is what a new folder has.
    let schema = |folder: &Path| -> Vec<String> {
        let connection = Connection::open(folder.join(FILE)).expect("the file");
        let mut statement = connection
            .prepare("SELECT sql FROM sqlite_schema ORDER BY name")
            .expect("SQL");
        let rows = statement
            .query_map([], |row| row.get::<_, Option<String>>(0))
            .expect("rows");
        rows.filter_map(|row| row.expect("text")).collect()
    };
    let new = tempfile::tempdir().expect("a folder");
    drop(open(new.path()));
    assert_eq!(schema(folder.path()), schema(new.path()));
}

//! What earlier versions stored: each form of it, in a file that the program of its time left, is read as it was meant and
//! written on. `tests/stored/README.md` says where they come from.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use surtidor::log::{Archive, ArchiveError};

use crate::support::golden::golden;
use crate::support::station::{Setup, Station, order};

/// What is written today: the tables that `tables-4.sql` leads to, and the `v` of an entry's body.
const TABLES: u32 = 4;
const ENTRIES: u64 = 3;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored").join(name)
}

/// A server of today on what was stored then; the file is of these tables, and its references begin with `V` and a digit.
async fn of(name: &str, tables: u32) -> Station {
    // It answers to nobody, and is never too old to be read.
    let setup = Setup::default()
        .account("id = \"shop\"\ncollector_id = 178106235\nsite = \"MLA\"\ndelivery_seconds = 1")
        .env("SURTIDOR_ACCOUNT__SHOP__ACCESS_TOKEN", surtidor::sandbox::TEST_TOKEN)
        .env("SURTIDOR_DATA__KEEP_DAYS", "36500");
    let mut station = Station::with(setup).await;
    station.stop().await;
    let data = station.folder().join("data");
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    let copy = data.join("surtidor.sqlite");
    fs::write(&copy, fs::read(file(name)).unwrap()).unwrap();
    match Archive::open(&copy) {
        Ok(_) => assert_eq!(tables, TABLES),
        Err(ArchiveError::Older(_)) => assert!(tables < TABLES),
        Err(other) => panic!("{other}"),
    }
    station.start_again().await;
    station
}

/// Its points of sale as they are registered, its orders but the open one, and its events until that was shown.
async fn told(station: &Station, open: &str) -> String {
    let mut text = String::new();
    let list = station.get("/v1/pos").await.json();
    for pos in list["pos"].as_array().unwrap() {
        let mut pos = pos.clone();
        // These go on: leases run out, and the open order may have expired.
        for changing in ["state", "message", "lease_until", "order", "rev"] {
            pos.as_object_mut().unwrap().remove(changing).unwrap();
        }
        writeln!(text, "{pos}").unwrap();
    }
    let list = station.get("/v1/orders").await.json();
    let ended = |order: &&Value| order["external_reference"] != open;
    for order in list["orders"].as_array().unwrap().iter().filter(ended) {
        writeln!(text, "{order}").unwrap();
    }
    let events = station.page("?after=0&wait=0").await.events;
    let shown = |event: &Value| event["type"] == "order_shown" && event["external_reference"] == open;
    let end = events.iter().position(shown).expect("it was shown");
    for event in &events[..=end] {
        writeln!(text, "{event}").unwrap();
    }
    text
}

/// What was stored binds, and more can be stored.
async fn goes_on(station: &mut Station, open: &str) {
    let status = station.status(open).await;
    assert!(["shown", "expired"].contains(&status.as_str()), "{status}");
    station.register_as("NEW", json!({"account": "shop"})).await;
    let used = station.push("NEW", order(&open.to_lowercase(), "1.00")).await;
    assert_eq!((used.status, used.word().as_str()), (409, "reference_used"));
    assert_eq!(station.push("NEW", order("N-1", "1.00")).await, 201);
    station.restart().await;
    assert_eq!(station.status("N-1").await, "ready");
    station.stop().await;
    let archive = Archive::open(&station.folder().join("data")).expect("it was brought up to date");
    let looked = archive.verify(|damage| panic!("{damage}")).expect("it can be read");
    assert!(looked.entries > 15, "{looked:?}");
}

#[tokio::test]
async fn each_form_that_was_ever_stored_is_read_as_it_was_meant() {
    for (version, tables, name) in [
        (0, 1, "tables-1-entries-1"),
        (1, 1, "tables-1-entries-2"),
        (2, 2, "tables-2-entries-2"),
        (3, 3, "tables-3-entries-3"),
        (4, 4, "tables-4-entries-3"),
    ] {
        let mut station = of(&format!("{name}.sqlite"), tables).await;
        let open = format!("V{version}-9");
        golden(&format!("stored-{name}.txt"), &told(&station, &open).await);
        let waiting = f64::from(u8::from(tables >= 2));
        let untrusted = "surtidor_inbox{trusted=\"no\"}";
        assert_eq!(station.metric(untrusted).await, waiting, "{name}: a notification");
        let tokens = station.get("/v1/tokens").await.json();
        let names: Vec<&str> = tokens["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|token| token["name"].as_str().unwrap())
            .collect();
        let made: &[&str] = if tables >= 4 { &["north", "office"] } else { &[] };
        assert_eq!(names, made, "{name}");
        goes_on(&mut station, &open).await;
    }
}

#[tokio::test]
async fn a_file_is_kept_of_what_is_written_today() {
    let mut station = Station::start().await;
    station.register("PUMP1").await;
    station.stop().await;
    let new = rusqlite::Connection::open(station.folder().join("data/surtidor.sqlite")).unwrap();
    let tables: u32 = new.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let body: Vec<u8> = new.query_row("SELECT body FROM entry", [], |row| row.get(0)).unwrap();
    let entry: Value = serde_json::from_slice(&body).unwrap();
    let written = (tables, entry["v"].as_u64().unwrap());
    assert_eq!(
        written,
        (TABLES, ENTRIES),
        "tests/stored/README.md says how to make its file"
    );
    assert!(file(&format!("tables-{TABLES}-entries-{ENTRIES}.sqlite")).exists());
}

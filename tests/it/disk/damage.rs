//! Files that lost their end, or one byte of which is another: what is served is what was acknowledged, or nothing is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use crate::support::dice::Dice;
use crate::support::process::{
    Client, Ended, Server, all_events, folder, folder_in_memory, long, on, poll, push, register, say, text, told,
    verify_numbers,
};

const FILE: &str = "surtidor.sqlite";
const WAL: &str = "surtidor.sqlite-wal";
const PAGE: u64 = 4096;
const STATIONS: [&str; 3] = ["PUMP1", "PUMP2", "PUMP3"];

/// What was acknowledged.
struct Truth {
    events: Vec<Value>,
    orders: BTreeMap<String, Value>,
}

/// Orders on three points of sale, two of them with one that is open.
fn busy(folder: &Path) -> (Server, Truth) {
    let server = on(folder).start();
    let mut client = server.controller();
    for pos in STATIONS {
        register(&mut client, pos);
    }
    let mut references = Vec::new();
    for n in 0..5 {
        for pos in STATIONS {
            let reference = format!("{pos}-{n}");
            push(&mut client, pos, &reference).unwrap().expect(201);
            if n < 4 || pos == "PUMP2" {
                assert_eq!(super::cancel(&mut client, pos), 204);
            }
            references.push(reference);
        }
    }
    let events = all_events(&mut client);
    let read = |reference: String| {
        let order = client
            .get(&format!("/v1/orders/{reference}"))
            .unwrap()
            .expect(200)
            .json();
        (reference, order)
    };
    let orders = references.into_iter().map(read).collect();
    (server, Truth { events, orders })
}

/// The data folder as it is, on a disk that costs no time, with one file of it made another.
fn with_changed(data: &Path, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> tempfile::TempDir {
    let copy = folder_in_memory();
    fs::create_dir(copy.path().join("data")).unwrap();
    for entry in fs::read_dir(data).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join("data").join(entry.file_name())).unwrap();
    }
    let changed = copy.path().join("data").join(file);
    let mut bytes = fs::read(&changed).unwrap();
    change(&mut bytes);
    fs::write(changed, bytes).unwrap();
    copy
}

/// How much of a write-ahead log was written: behind that it is laid out with zeros, and a page may end with some too.
fn whole_frames(wal: &[u8]) -> u64 {
    let header = 32;
    let frame = 24 + PAGE;
    let last = wal.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    header + (last + 1 - header).div_ceil(frame) * frame
}

/// All of the page boundaries, or some with the first two and the last.
fn cuts(length: u64) -> Vec<u64> {
    let pages = length.div_ceil(PAGE);
    let step = (pages / if long() { 200 } else { 10 }).max(1);
    let mut cuts: Vec<u64> = (0..pages)
        .filter(|page| page % step == 0 || *page == 1 || page + 1 == pages)
        .collect();
    cuts.iter_mut().for_each(|page| *page *= PAGE);
    cuts
}

/// What a start says that does not go on with a damaged folder.
fn is_refusal(ended: &Ended, place: &str) {
    assert!(
        matches!(ended.code, Some(74 | 78)),
        "{place}: {:?}\n{}",
        ended.code,
        ended.log
    );
    assert!(!ended.log.contains("panicked"), "{place}: {}", ended.log);
}

/// The file says in its first page how long it is.
#[test]
fn a_file_that_lost_its_end_stops_the_start() {
    let folder = folder();
    let (server, _) = busy(folder.path());
    assert_eq!(server.stop().code, Some(0));
    let data = folder.path().join("data");
    let length = fs::metadata(data.join(FILE)).unwrap().len();
    for cut in cuts(length) {
        let place = format!("{cut} of {length} bytes");
        let copy = with_changed(&data, FILE, |bytes| bytes.truncate(cut as usize));
        match on(copy.path()).try_start() {
            Err(ended) => assert_eq!(ended.code, Some(74), "{place}: {}", ended.log),
            Ok(server) => panic!("{place}: it started\n{}", server.log),
        }
    }
}

/// A killed server's write-ahead log was synced with each acknowledgement, so one that lost its end is a damaged disk;
/// and one that cannot always be noticed, since a shorter log is a log as well. What is promised is that the server is
/// then where it once was: all entries up to one of them, and no order or poll that knows of a later one. One that lost
/// even the tables is refused.
#[test]
fn a_write_ahead_log_that_lost_its_end_is_an_earlier_state_and_no_mixture() {
    let folder = folder();
    let (server, truth) = busy(folder.path());
    server.kill();
    let data = folder.path().join("data");
    let wal = fs::read(data.join(WAL)).unwrap();
    let used = whole_frames(&wal);
    let (mut refused, mut shorter) = (0, 0);
    for cut in cuts(used).into_iter().chain([used]) {
        let place = format!("{cut} of {used} bytes");
        let copy = with_changed(&data, WAL, |bytes| bytes.truncate(cut as usize));
        match on(copy.path()).try_start() {
            Err(ended) => {
                is_refusal(&ended, &place);
                assert!(cut < used, "{place}: {}", ended.log);
                refused += 1;
            }
            Ok(server) => {
                let events = all_events(&mut server.controller());
                assert!(cut < used || events.len() == truth.events.len(), "{place}");
                shorter += u32::from(events.len() < truth.events.len());
                is_at(&server, &truth, &events, &place);
            }
        }
    }
    assert!(
        refused > 0 && shorter > 0,
        "{refused} starts refused, {shorter} earlier states"
    );
}

/// All that is served follows from these events, which are the first ones.
fn is_at(server: &Server, truth: &Truth, events: &[Value], place: &str) {
    assert_eq!(events, &truth.events[..events.len()], "{place}");
    verify_numbers(events);
    let mut statuses = BTreeMap::new();
    let mut open = BTreeMap::new();
    for event in events {
        let (pos, reference) = (text(event, "pos"), text(event, "external_reference"));
        match text(event, "type") {
            "pos_registered" => {
                open.insert(pos, "unavailable");
            }
            "order_ready" => {
                statuses.insert(reference, "ready");
                open.insert(pos, reference);
            }
            "order_canceled" => {
                statuses.insert(reference, "canceled");
                open.insert(pos, "unavailable");
            }
            _ => {}
        }
    }
    let (mut client, mut poller) = (server.controller(), server.poller());
    for (reference, whole) in &truth.orders {
        let reply = client.get(&format!("/v1/orders/{reference}")).unwrap();
        let Some(status) = statuses.get(reference.as_str()) else {
            reply.expect(404);
            continue;
        };
        let order = reply.expect(200).json();
        assert_eq!(text(&order, "status"), *status, "{place}: {order}");
        assert_eq!(order["amount"], whole["amount"], "{place}");
    }
    for pos in STATIONS {
        let reply = poll(&mut poller, pos).unwrap();
        assert_eq!(told(&reply), *open.get(pos).unwrap_or(&"invalid"), "{place}: {pos}");
    }
}

/// SQLite's pages have no checksums, so a byte of its own may hide a row, and what asks for it is told that it is not
/// there. What is promised is that nothing wrong is served.
#[test]
fn a_flipped_byte_makes_nothing_wrong_be_served() {
    let folder = folder();
    let (server, truth) = busy(folder.path());
    assert_eq!(server.stop().code, Some(0));
    let data = folder.path().join("data");
    let length = fs::metadata(data.join(FILE)).unwrap().len();
    let mut dice = Dice::from_seed();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..if long() { 1_000 } else { 40 } {
        let (at, bit) = (dice.below(length), dice.below(8));
        let place = format!("bit {bit} of byte {at} of {length}");
        let copy = with_changed(&data, FILE, |bytes| bytes[at as usize] ^= 1 << bit);
        let outcome = match on(copy.path()).try_start() {
            Err(ended) => {
                is_refusal(&ended, &place);
                "refused"
            }
            Ok(server) => serves_nothing_wrong(server, &truth, &place),
        };
        *seen.entry(outcome).or_default() += 1;
    }
    say(&format!("flipped bytes: {seen:?}"));
}

/// How it served; or it ended, as after any failure of the log.
fn serves_nothing_wrong(server: Server, truth: &Truth, place: &str) -> &'static str {
    let outcome = match right_or_missing(&server, truth, place) {
        Ok(true) => "as it was",
        Ok(false) => "less, and nothing wrong",
        Err(_) => {
            is_refusal(&server.ended(), place);
            return "ended";
        }
    };
    let ended = server.kill();
    assert!(!ended.log.contains("panicked"), "{place}: {}", ended.log);
    outcome
}

/// Whether all is there as it was. What is not there, or told to be damaged, is not wrong.
fn right_or_missing(server: &Server, truth: &Truth, place: &str) -> io::Result<bool> {
    let (mut client, mut poller) = (server.try_controller()?, Client::tcp(server.polls)?);
    let mut whole = true;
    let page = client.get("/v1/events?after=0&wait=0")?;
    if page.status == 200 {
        let events = page.json()["events"].as_array().unwrap().clone();
        assert_eq!(events[..], truth.events[..events.len()], "{place}");
        whole &= events.len() == truth.events.len();
    } else {
        assert!(matches!(page.status, 500 | 503), "{place}: {page:?}");
        whole = false;
    }
    for (reference, order) in &truth.orders {
        let reply = client.get(&format!("/v1/orders/{reference}"))?;
        match reply.status {
            200 => assert_eq!(reply.json(), *order, "{place}"),
            // SQLite may find its own page malformed: that is a failed read.
            404 | 500 | 503 => whole = false,
            _ => panic!("{place}: {reply:?}"),
        }
    }
    for (pos, newest) in STATIONS.into_iter().zip(["PUMP1-4", "unavailable", "PUMP3-4"]) {
        let told = told(&poll(&mut poller, pos)?);
        assert!(told == newest || told == "invalid", "{place}: {pos} is told {told}");
        whole &= told == newest;
    }
    Ok(whole)
}

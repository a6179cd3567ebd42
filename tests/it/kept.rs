//! What is stored, for others than the server: copies, whether they are whole, and what the accountant reads.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use serde_json::{Value, json};

use crate::support::process::{Mount, all_events, binary, folder, on, push, register};
use crate::support::station::{Station, order};

fn surtidor(args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).env_clear().output().expect("the binary runs")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Standard output of what ended with this code; else all that was said.
#[track_caller]
fn said(ran: &Output, code: i32) -> String {
    assert_eq!(ran.status.code(), Some(code), "{ran:?}");
    let out = if code == 0 { &ran.stdout } else { &ran.stderr };
    String::from_utf8_lossy(out).into_owned()
}

#[test]
fn a_copy_made_under_load_has_all_that_was_acknowledged_before() {
    let folder = folder();
    let server = on(folder.path()).start();
    let data = folder.path().join("data");
    register(&mut server.controller(), "PUMP1");
    let token = server
        .controller()
        .ask("PUT", "/v1/tokens/north", r#"{"pos":["PUMP1"]}"#);
    token.unwrap().expect(201);
    let (pushed, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut client = server.controller();
    let copies: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                let next = pushed.load(SeqCst) + 1;
                push(&mut client, "PUMP1", &format!("T-{next}")).unwrap().expect(201);
                client.ask("DELETE", "/v1/pos/PUMP1/order", "").unwrap().expect(204);
                pushed.store(next, SeqCst);
            }
        });
        let copy = |number: u64| {
            while pushed.load(SeqCst) < 50 * number {
                std::thread::yield_now();
            }
            let before = pushed.load(SeqCst);
            let file = folder.path().join(format!("copy-{number}"));
            let ran = surtidor(&["backup", text(&file), "--from", text(&data)]);
            assert!(said(&ran, 0).contains("is written"));
            (file, before)
        };
        let copies = (1..=3).map(copy).collect();
        stop.store(true, SeqCst);
        copies
    });
    assert!(said(&surtidor(&["log", "verify", text(&data)]), 0).contains("all as it was written"));
    let taken = surtidor(&["backup", text(&copies[0].0), "--from", text(&data)]);
    assert!(said(&taken, 2).contains("nothing is written over"));
    server.stop();
    for (file, before) in copies {
        assert!(said(&surtidor(&["log", "verify", text(&file)]), 0).contains("all as it was written"));
        let elsewhere = crate::support::process::folder();
        std::fs::create_dir(elsewhere.path().join("data")).unwrap();
        std::fs::copy(&file, elsewhere.path().join("data/surtidor.sqlite")).unwrap();
        let server = on(elsewhere.path()).start();
        let mut client = server.controller();
        for number in 1..=before {
            let order = client.get(&format!("/v1/orders/T-{number}")).unwrap().expect(200);
            assert_eq!(order.json()["status"], "canceled");
        }
        assert!(all_events(&mut client).len() as u64 > 2 * before);
        let tokens = client.get("/v1/tokens").unwrap().expect(200).json();
        assert_eq!(tokens["tokens"][0]["name"], "north");
        register(&mut client, "PUMP2");
        push(&mut client, "PUMP2", "after").unwrap().expect(201);
        server.stop();
    }
}

#[test]
fn a_copy_is_restored_in_place_as_the_help_says() {
    let folder = folder();
    let data = folder.path().join("data");
    let copy = folder.path().join("copy");
    let server = on(folder.path()).start();
    let mut client = server.controller();
    register(&mut client, "PUMP1");
    push(&mut client, "PUMP1", "BEFORE").unwrap().expect(201);
    said(&surtidor(&["backup", text(&copy), "--from", text(&data)]), 0);
    client.ask("DELETE", "/v1/pos/PUMP1/order", "").unwrap().expect(204);
    push(&mut client, "PUMP1", "AFTER").unwrap().expect(201);
    // What it had not copied from the write-ahead log must not come back.
    server.kill();
    for file in ["surtidor.sqlite", "surtidor.sqlite-wal", "surtidor.sqlite-shm"] {
        std::fs::remove_file(data.join(file)).unwrap();
    }
    std::fs::copy(&copy, data.join("surtidor.sqlite")).unwrap();
    let server = on(folder.path()).start();
    let mut client = server.controller();
    let order = client.get("/v1/orders/BEFORE").unwrap().expect(200).json();
    assert_eq!(order["status"], "ready");
    client.get("/v1/orders/AFTER").unwrap().expect(404);
    server.stop();
    assert!(said(&surtidor(&["log", "verify", text(&data)]), 0).contains("all as it was written"));
}

#[test]
fn a_copy_onto_a_full_disk_is_an_error_and_no_half_file() {
    let folder = folder();
    let server = on(folder.path()).start();
    let mut client = server.controller();
    register(&mut client, "PUMP1");
    // More than SQLite's cache holds: it writes before it has all.
    let data = folder.path().join("data");
    for n in 0..250 {
        let metadata = json!({"text": "x".repeat(4_000)});
        let order = json!({"external_reference": format!("M-{n}"), "amount": "1", "title": "x", "metadata": metadata});
        let path = "/v1/pos/PUMP1/order?replace=true";
        client.ask("PUT", path, &order.to_string()).unwrap().expect(201);
    }
    client.ask("DELETE", "/v1/pos/PUMP1/order", "").unwrap().expect(204);
    let small = folder.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let Some(_mount) = Mount::new(&small, &["-t", "tmpfs", "-o", "size=64k", "tmpfs"]) else {
        return;
    };
    let ran = surtidor(&["backup", text(&small.join("copy")), "--from", text(&data)]);
    assert!(said(&ran, 74).contains("the disk is full"), "{ran:?}");
    assert_eq!(std::fs::read_dir(&small).unwrap().count(), 0);
    push(&mut client, "PUMP1", "T-1").unwrap().expect(201);
    let nowhere = surtidor(&["backup", text(&small.join("copy")), "--from", text(&small)]);
    assert!(said(&nowhere, 2).contains("neither a data folder"));
}

#[test]
fn a_flipped_byte_is_found_and_named() {
    let folder = folder();
    let server = on(folder.path()).start();
    let mut client = server.controller();
    register(&mut client, "PUMP1");
    push(&mut client, "PUMP1", "T-FLIPPED").unwrap().expect(201);
    server.stop();
    let file = folder.path().join("data/surtidor.sqlite");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes
        .windows(9)
        .position(|bytes| bytes == b"T-FLIPPED")
        .expect("it is stored");
    bytes[at + 3] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let ran = surtidor(&["log", "verify", text(&folder.path().join("data"))]);
    let why = said(&ran, 74);
    let named = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(why.contains("damaged or missing"), "{why}");
    assert!(named.contains("checksum"), "{named}");
}

#[tokio::test]
async fn an_accountant_reads_what_came_and_what_went() {
    let mut station = Station::start().await;
    station.register("PUMP1").await;
    station.push("PUMP1", order("T-1", "100")).await;
    station.pay("PUMP1", "T-1", 1, "100").await;
    station.push("PUMP1", order("T-2", "50.5")).await;
    station.pay("PUMP1", "T-2", 2, "50.5").await;
    let refunded = surtidor::domain::command::Command::Refunded {
        reference: crate::support::learn::reference("T-2"),
        number: 1,
        state: surtidor::domain::payment::RefundState::Done(41),
    };
    station.refund("T-2", "k", json!({"amount": "10.5"})).await;
    station.learn("PUMP1", [refunded]).await;
    let export = |format: &str, since: &[&str]| {
        let socket = station.socket();
        let mut args = vec!["log", "export", "--socket", text(&socket), "--format", format];
        args.extend(since);
        said(&surtidor(&args), 0)
    };
    let csv = export("csv", &[]);
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(
        rows[0].join(","),
        "time,kind,external_reference,pos,payment,merchant_order,amount,currency_id"
    );
    let told: Vec<String> = rows[1..].iter().map(|row| row[1..].join(",")).collect();
    assert_eq!(
        told,
        [
            "payment,T-1,PUMP1,1,1001,100.00,ARS",
            "payment,T-2,PUMP1,2,1002,50.50,ARS",
            "refund,T-2,PUMP1,2,,-10.50,ARS",
        ]
    );
    let lines = export("jsonl", &[]);
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let page = station.page("?after=0&wait=0").await;
    assert_eq!(events.len(), page.events.len());
    assert_eq!(export("jsonl", &["--since", "2100-01-01"]), "");
    assert_eq!(export("csv", &["--since", "2100-01-01"]).lines().count(), 1);
}

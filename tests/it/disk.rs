//! Disks that are full, fail or lie.

mod damage;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::process::{
    Client, Mount, Server, WAIT, all_events, folder, long, on, poll, push, register, run, skip, told,
};

/// Takes all the room there is, to the last page.
fn fill(folder: &Path, name: &str) -> PathBuf {
    let filler = folder.join(name);
    let mut file = fs::File::create(&filler).unwrap();
    for size in [1 << 20, 4096] {
        let bytes = vec![1; size];
        while file.write_all(&bytes).is_ok() {}
    }
    filler
}

fn ready(server: &Server) -> String {
    server.ready().unwrap().expect(200).body
}

fn cancel(client: &mut Client, pos: &str) -> u16 {
    client
        .ask("DELETE", &format!("/v1/pos/{pos}/order"), "")
        .unwrap()
        .status
}

/// The server looks for room once a second by itself; readiness is where it says so.
fn wait_for_room(server: &Server) {
    let begun = std::time::Instant::now();
    while ready(server) != "ready\n" {
        assert!(begun.elapsed() < WAIT, "there is room, and it was not seen");
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_full_disk_stops_new_orders_and_nothing_else() {
    let folder = folder();
    let Some(_mount) = Mount::new(folder.path(), &["-t", "tmpfs", "-o", "size=24m", "tmpfs"]) else {
        return;
    };
    let server = on(folder.path()).start();
    let (mut client, mut poller) = (server.controller(), server.poller());
    for pos in ["PUMP1", "PUMP2", "PUMP3"] {
        register(&mut client, pos);
    }
    for pos in ["PUMP1", "PUMP2"] {
        push(&mut client, pos, &format!("{pos}-A")).unwrap().expect(201);
    }
    let token = |client: &mut Client, method, name| {
        let path = format!("/v1/tokens/{name}");
        client.ask(method, &path, r#"{"all":true}"#).unwrap().status
    };
    assert_eq!(token(&mut client, "PUT", "lost"), 201);
    assert_eq!(ready(&server), "ready\n");

    let filler = fill(folder.path(), "filler");
    let refused = push(&mut client, "PUMP3", "PUMP3-A").unwrap().expect(507);
    assert_eq!(refused.code(), "storage_full");
    assert_eq!(token(&mut client, "PUT", "new"), 507);
    assert_eq!(
        token(&mut client, "DELETE", "lost"),
        204,
        "a lost one cannot wait for room"
    );
    client
        .ask("PUT", "/v1/pos/PUMP3/state", r#"{"state":"in_process"}"#)
        .unwrap()
        .expect(507);
    let payment = "/notifications/main?topic=payment&id=1";
    let refused = poller.ask("POST", payment, "").unwrap().expect(503);
    assert!(refused.body.contains("disk_full"), "it comes again: {refused:?}");
    assert!(ready(&server).contains("disk is full"));
    assert_eq!(told(&poll(&mut poller, "PUMP1").unwrap()), "PUMP1-A");
    assert_eq!(told(&poll(&mut poller, "PUMP3").unwrap()), "unavailable");
    assert_eq!(cancel(&mut client, "PUMP2"), 204, "the reserve is there for it");
    assert_eq!(told(&poll(&mut poller, "PUMP2").unwrap()), "unavailable");

    // Also for one that starts now.
    server.kill();
    let server = on(folder.path()).start();
    let (mut client, mut poller) = (server.controller(), server.poller());
    assert!(ready(&server).contains("disk is full"));
    assert_eq!(told(&poll(&mut poller, "PUMP1").unwrap()), "PUMP1-A");
    assert_eq!(told(&poll(&mut poller, "PUMP2").unwrap()), "unavailable");
    assert_eq!(token(&mut client, "DELETE", "lost"), 404, "it stays revoked");
    push(&mut client, "PUMP3", "PUMP3-A").unwrap().expect(507);
    assert_eq!(cancel(&mut client, "PUMP1"), 204);

    fs::remove_file(filler).unwrap();
    wait_for_room(&server);
    push(&mut client, "PUMP3", "PUMP3-A").unwrap().expect(201);
    poller.ask("POST", payment, "").unwrap().expect(200);
    assert_eq!(told(&poll(&mut poller, "PUMP3").unwrap()), "PUMP3-A");

    server.kill();
    let server = on(folder.path()).start();
    let mut client = server.controller();
    for (order, status) in [("PUMP1-A", "canceled"), ("PUMP2-A", "canceled"), ("PUMP3-A", "ready")] {
        assert!(has(&mut client, order, &[status]), "{order}");
    }
    assert_eq!(server.stop().code, Some(0));
}

fn has(client: &mut Client, order: &str, statuses: &[&str]) -> bool {
    let reply = client.get(&format!("/v1/orders/{order}")).unwrap();
    match reply.status {
        404 => false,
        200 => {
            let order = reply.json();
            let status = order["status"].as_str().unwrap();
            // A poll may have come meanwhile.
            assert!(
                statuses.contains(&status) || statuses.contains(&"ready") && status == "shown",
                "{order}"
            );
            true
        }
        _ => panic!("{reply:?}"),
    }
}

#[test]
fn not_a_byte_left_and_polls_go_on() {
    let folder = folder();
    let Some(_mount) = Mount::new(folder.path(), &["-t", "tmpfs", "-o", "size=24m", "tmpfs"]) else {
        return;
    };
    let server = on(folder.path()).start();
    let mut client = server.controller();
    register(&mut client, "PUMP1");
    register(&mut client, "PUMP2");
    push(&mut client, "PUMP1", "A").unwrap().expect(201);
    let filler = fill(folder.path(), "filler");
    push(&mut client, "PUMP2", "B").unwrap().expect(507);
    // The ballast was given up, and somebody else takes its room too.
    let more = fill(folder.path(), "more");
    let refused = client.ask("DELETE", "/v1/pos/PUMP1/order", "").unwrap().expect(507);
    assert_eq!(refused.code(), "storage_full");
    assert_eq!(told(&poll(&mut server.poller(), "PUMP1").unwrap()), "A");

    server.kill();
    for ending in ["KILL", "TERM"] {
        let server = on(folder.path()).start();
        assert!(ready(&server).contains("disk is full"));
        assert_eq!(told(&poll(&mut server.poller(), "PUMP1").unwrap()), "A");
        server.signal(ending);
        server.ended();
    }
    let server = on(folder.path()).start();
    let mut client = server.controller();
    fs::remove_file(more).unwrap();
    fs::remove_file(filler).unwrap();
    wait_for_room(&server);
    push(&mut client, "PUMP2", "B").unwrap().expect(201);
    assert_eq!(cancel(&mut client, "PUMP1"), 204);
}

/// A power cut takes the shared index of the write-ahead log with it; a full disk has no room for a new one.
#[test]
fn a_full_disk_is_started_on_with_the_ballasts_room() {
    let folder = folder();
    let Some(_mount) = Mount::new(folder.path(), &["-t", "tmpfs", "-o", "size=24m", "tmpfs"]) else {
        return;
    };
    let server = on(folder.path()).start();
    let mut client = server.controller();
    register(&mut client, "PUMP1");
    push(&mut client, "PUMP1", "A").unwrap().expect(201);
    server.kill();
    fs::remove_file(folder.path().join("data/surtidor.sqlite-shm")).unwrap();
    let filler = fill(folder.path(), "filler");
    let server = on(folder.path()).start();
    let mut client = server.controller();
    assert!(ready(&server).contains("disk is full"));
    assert_eq!(told(&poll(&mut server.poller(), "PUMP1").unwrap()), "A");
    assert_eq!(cancel(&mut client, "PUMP1"), 204);
    fs::remove_file(filler).unwrap();
    wait_for_room(&server);
    push(&mut client, "PUMP1", "B").unwrap().expect(201);
}

/// Errors that strace makes: the N-th call of a kind in each thread fails, and is not done.
#[test]
fn after_a_failed_write_nothing_is_acknowledged() {
    if !run("strace", &["-o", "/dev/null"], Path::new("true")) {
        return skip("injected disk errors: strace does not work here");
    }
    let calls: Vec<(&str, u32)> = if long() {
        (1..=40).flat_map(|n| [("fdatasync", n), ("pwrite64", n)]).collect()
    } else {
        vec![("fdatasync", 2), ("fdatasync", 6), ("pwrite64", 5), ("pwrite64", 40)]
    };
    let mut ran = 0;
    for (call, n) in calls {
        ran += u32::from(fail_once(call, n));
    }
    assert!(ran >= 2, "the server ran and failed, not only its start");
}

/// Whether it ran before it failed.
fn fail_once(call: &str, n: u32) -> bool {
    let place = format!("{call} number {n}");
    let (folder, outside) = (folder(), self::folder());
    let server = on(folder.path()).start();
    register(&mut server.controller(), "PUMP1");
    push(&mut server.controller(), "PUMP1", "FIRST").unwrap().expect(201);
    // It leaves a write-ahead log behind, so that the start has something to do.
    server.kill();

    let report = outside.path().join("strace");
    let inject = format!("inject={call}:error=EIO:when={n}");
    let file = folder.path().join("data/surtidor.sqlite").display().to_string();
    let wal = format!("{file}-wal");
    // Only these two files: SQLite does not look at how a sync of the folder went, so `Log::open` does.
    let trace = [
        "-P",
        &file,
        "-P",
        &wal,
        "-e",
        "trace=fsync,fdatasync,pwrite64",
        "-e",
        &inject,
    ];
    let mut asked = vec!["FIRST".to_owned()];
    let ran = match on(folder.path()).under_strace(&report, &trace).try_start() {
        Err(ended) => {
            assert_eq!(ended.code, Some(74), "{place}: {}", ended.log);
            false
        }
        Ok(server) => {
            push_until_it_fails(server, &mut asked, &place);
            true
        }
    };
    writes_end_with_the_error(&fs::read_to_string(report).unwrap(), &place);

    let server = on(folder.path()).start();
    let mut client = server.controller();
    let doubt = asked.pop_if(|_| ran);
    for pair in asked.windows(2) {
        assert!(has(&mut client, &pair[0], &["replaced"]), "{place}: {}", pair[0]);
    }
    let newest = asked.last().unwrap();
    let events = all_events(&mut client);
    let polled = told(&poll(&mut server.poller(), "PUMP1").unwrap());
    let Some(doubt) = doubt else {
        assert_eq!(polled, *newest, "{place}");
        return ran;
    };
    let there = has(&mut client, &doubt, &["ready"]);
    let is_ready = |event: &Value| event["type"] == "order_ready" && event["external_reference"] == *doubt;
    assert_eq!(events.iter().any(is_ready), there, "{place}: feed and history");
    assert_eq!(
        polled,
        *if there { &doubt } else { newest },
        "{place}: poll and history"
    );
    assert!(
        has(&mut client, newest, &[if there { "replaced" } else { "ready" }]),
        "{place}"
    );
    ran
}

/// Each order replaces the one before. The last of `asked` is the one that was not acknowledged.
fn push_until_it_fails(server: Server, asked: &mut Vec<String>, place: &str) {
    let mut client = server.controller();
    loop {
        let reference = format!("R-{}", asked.len());
        assert!(asked.len() < 100, "{place}: no error came");
        let body =
            format!(r#"{{"external_reference":"{reference}","amount":"1.00","title":"S","expires_in_seconds":86400}}"#);
        asked.push(reference);
        match client.ask("PUT", "/v1/pos/PUMP1/order?replace=true", &body) {
            Ok(reply) if reply.status == 201 => {}
            Ok(reply) => {
                assert_eq!(reply.code(), "log_failed", "{place}: {reply:?}");
                break;
            }
            Err(_) => break,
        }
    }
    // It is not ready any more, or not even there.
    if let Ok(ready) = server.ready() {
        assert_eq!(ready.status, 503, "{place}: {}", ready.body);
    }
    if let Ok(reply) = server
        .try_controller()
        .and_then(|mut client| push(&mut client, "PUMP1", "AFTER"))
    {
        assert!(reply.status >= 400, "{place}: {reply:?}");
    }
    let ended = server.ended();
    assert_eq!(ended.code, Some(74), "{place}: {}", ended.log);
}

/// After a failed write or sync nobody knows what is on the disk, so nothing more is written on it.
fn writes_end_with_the_error(report: &str, place: &str) {
    let after = report.lines().skip_while(|line| !line.contains("(INJECTED)")).skip(1);
    let more: Vec<_> = after.filter(|line| line.contains("surtidor.sqlite")).collect();
    assert!(more.is_empty(), "{place}: {more:#?}");
}

/// A log of a few entries of two POS, closed; and a connection to its file.
fn with_history(folder: &Path) -> rusqlite::Connection {
    let server = on(folder).start();
    let mut client = server.controller();
    for pos in ["PUMP1", "PUMP2"] {
        register(&mut client, pos);
        for order in ["A", "B"] {
            push(&mut client, pos, &format!("{pos}-{order}")).unwrap().expect(201);
            assert_eq!(cancel(&mut client, pos), 204);
        }
    }
    assert_eq!(server.stop().code, Some(0));
    rusqlite::Connection::open(folder.join("data/surtidor.sqlite")).unwrap()
}

/// Changes one letter of an order's name: all that is read is still of the right form.
fn damage(file: &rusqlite::Connection, seq: i64) {
    let sql = "SELECT body FROM entry WHERE seq = ?1";
    let mut body: Vec<u8> = file.query_row(sql, [seq], |row| row.get(0)).unwrap();
    let name = body.windows(6).position(|bytes| bytes == b"PUMP1-").unwrap();
    body[name + 6] ^= 4;
    file.execute("UPDATE entry SET body = ?1 WHERE seq = ?2", (body, seq))
        .unwrap();
}

/// The number of a POS's entry of this revision.
fn seq(file: &rusqlite::Connection, pos: &str, rev: i64) -> i64 {
    let sql = "SELECT seq FROM entry WHERE pos = ?1 AND rev = ?2";
    file.query_row(sql, (pos, rev), |row| row.get(0)).unwrap()
}

#[test]
fn a_damaged_newest_entry_stops_the_start() {
    let folder = folder();
    let file = with_history(folder.path());
    let newest = seq(&file, "PUMP1", 5);
    damage(&file, newest);
    drop(file);
    let ended = on(folder.path()).refused();
    assert_eq!(ended.code, Some(74), "{}", ended.log);
    let name = format!("entry {newest} (point of sale PUMP1, revision 5)");
    assert!(ended.log.contains(&name), "{}", ended.log);
}

#[test]
fn a_damaged_older_entry_is_named_and_never_skipped() {
    let folder = folder();
    let file = with_history(folder.path());
    let older = seq(&file, "PUMP1", 3);
    damage(&file, older);
    drop(file);
    let name = format!("entry {older} (point of sale PUMP1, revision 3)");
    names_the_damage(folder.path(), [&name, &name]);
}

#[test]
fn a_missing_older_entry_is_named_and_never_skipped() {
    let folder = folder();
    let file = with_history(folder.path());
    let older = seq(&file, "PUMP1", 3);
    file.execute("DELETE FROM entry WHERE seq = ?1", [older]).unwrap();
    drop(file);
    names_the_damage(folder.path(), [&format!("entry {older}:"), "revision 3 of PUMP1"]);
}

/// Whoever reads over it is told its name, among all entries and among those of its POS; others are served.
fn names_the_damage(folder: &Path, [of_all, of_one]: [&str; 2]) {
    let server = on(folder).start();
    let mut client = server.controller();
    let reads = [
        ("?after=0&wait=0", of_all),
        ("?after=0", of_all),
        ("?after=0&wait=0&pos=PUMP1", of_one),
        ("?after=0&pos=PUMP1", of_one),
    ];
    for (range, name) in reads {
        let reply = client.get(&format!("/v1/events{range}")).unwrap().expect(500);
        assert_eq!(reply.code(), "log_damaged");
        assert!(reply.body.contains(name), "{}", reply.body);
    }
    client.get("/v1/events?after=0&wait=0&pos=PUMP2").unwrap().expect(200);
    push(&mut client, "PUMP1", "NEW").unwrap().expect(201);
    assert_eq!(told(&poll(&mut server.poller(), "PUMP1").unwrap()), "NEW");
}

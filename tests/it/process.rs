//! The server as a process: signals, reloading, who may start beside it, and what stops a start.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use crate::support::process::{Server, all_events, config, folder, on, poll, push, register, run, skip, told};

/// `deploy/surtidor.service` kills after 15 s; the server promises 10.
const STOP_TIME: Duration = Duration::from_secs(10);

#[test]
fn sigterm_answers_what_is_in_flight_and_ends() {
    let folder = folder();
    let server = on(folder.path()).start();
    let mut in_flight = server.controller();
    register(&mut in_flight, "PUMP1");
    let mut idle = server.poller();
    assert_eq!(told(&poll(&mut idle, "PUMP1").expect("it runs")), "unavailable");
    let mut events = server.controller().follow("/v1/events", 0).expect("it runs");
    assert_eq!(events.next().expect("an event")["type"], "pos_registered");

    // Once it says 100, the request is in the server's hands.
    let body = r#"{"external_reference":"LAST","amount":"1.00","title":"S"}"#;
    let length = body.len();
    let head = format!(
        "PUT /v1/pos/PUMP1/order HTTP/1.1\r\nHost: s\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    );
    in_flight.send(&head).expect("it runs");
    assert!(
        in_flight
            .head()
            .expect("it waits for the body")
            .starts_with("HTTP/1.1 100 ")
    );

    let begun = Instant::now();
    server.signal("TERM");
    // The stream ends with its last chunk, and the idle connection without a word.
    assert_eq!(events.find(|event| event["seq"].is_u64()), None);
    assert!(events.ended, "not cut off");
    assert!(idle.is_closed());
    // The listener goes at about the same time, while the request is still in flight.
    while server.try_controller().is_ok() {
        assert!(begun.elapsed() < STOP_TIME, "somebody new is let in");
        std::thread::yield_now();
    }
    in_flight.send(body).expect("it still reads");
    let reply = in_flight.reply().expect("it was taken, so it is answered").expect(201);
    assert!(
        reply.head.to_ascii_lowercase().contains("\r\nconnection: close"),
        "{}",
        reply.head
    );
    assert!(in_flight.is_closed());

    let socket = server.socket.clone();
    let ended = server.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(begun.elapsed() < STOP_TIME);
    assert!(!socket.exists());
    let again = on(folder.path()).start();
    assert_eq!(told(&poll(&mut again.poller(), "PUMP1").expect("it runs")), "LAST");
}

#[test]
fn a_request_that_never_ends_does_not_hold_up_the_end() {
    let folder = folder();
    let server = on(folder.path()).start();
    let mut stuck = server.controller();
    stuck
        .send("PUT /v1/pos/P HTTP/1.1\r\nHost: s\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        .expect("it runs");
    stuck.head().expect("it waits for the body");
    let begun = Instant::now();
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(begun.elapsed() < STOP_TIME, "{:?}", begun.elapsed());
}

/// A pipe takes 64 KiB, and then whoever writes to it waits.
#[test]
fn a_log_that_nobody_reads_holds_up_no_order() {
    let folder = folder();
    let pipe = folder.path().join("log");
    assert!(run("mkfifo", &[], &pipe));
    let all = OsStr::new("surtidor=debug");
    let server = on(folder.path())
        .with_log_to(&pipe)
        .with(&[("SURTIDOR_LOG", all)])
        .start();
    let mut client = server.controller();
    register(&mut client, "PUMP1");
    let long = "x".repeat(50);
    for n in 0..1_500 {
        let body = format!(r#"{{"external_reference":"{n}-{long}","amount":"1.00","title":"S"}}"#);
        let reply = client.ask("PUT", "/v1/pos/PUMP1/order?replace=true", &body);
        reply.expect("it runs").expect(201);
    }
    let begun = Instant::now();
    assert_eq!(server.stop().code, Some(0));
    assert!(begun.elapsed() < STOP_TIME);
}

#[test]
fn sigint_is_as_sigterm() {
    let folder = folder();
    let server = on(folder.path()).start();
    server.signal("INT");
    assert_eq!(server.ended().code, Some(0));
}

/// A new dialect holds for what is offered from now on; an order keeps its bytes for as long as it is offered.
#[test]
fn sighup_takes_accounts_over() {
    let folder = folder();
    let mut server = on(folder.path()).start();
    let (mut client, mut poller) = (server.controller(), server.poller());
    for pos in ["OFFERS", "WAITS"] {
        register(&mut client, pos);
    }
    push(&mut client, "OFFERS", "OLD").expect("it runs").expect(201);
    let offered = poll(&mut poller, "OFFERS").expect("it runs").expect(200);

    let file = folder.path().join("surtidor.toml");
    fs::write(&file, config(folder.path()) + "poll_dialect = \"order-version-2\"\n").expect("it is ours");
    server.signal("HUP");
    server.says("the configuration was read anew");

    let still = poll(&mut poller, "OFFERS").expect("it runs").expect(200);
    assert_eq!(still.body, offered.body, "an order keeps its reply");
    assert!(!still.head.contains("order-version"), "{}", still.head);
    // The push comes after the new dialect in the writer's queue.
    push(&mut client, "WAITS", "NEW").expect("it runs").expect(201);
    assert!(
        poll(&mut poller, "WAITS")
            .expect("it runs")
            .expect(200)
            .head
            .contains("order-version: 2")
    );
    for pos in ["OFFERS", "WAITS"] {
        client
            .ask("DELETE", &format!("/v1/pos/{pos}/order"), "")
            .expect("it runs")
            .expect(204);
        poll(&mut poller, pos).expect("it runs").expect(202);
    }
}

#[test]
fn sighup_reaches_pos_that_only_wait() {
    let folder = folder();
    let mut server = on(folder.path()).start();
    let (mut client, mut poller) = (server.controller(), server.poller());
    register(&mut client, "PUMP1");
    poll(&mut poller, "PUMP1").expect("it runs").expect(400);
    let file = folder.path().join("surtidor.toml");
    fs::write(&file, config(folder.path()) + "poll_dialect = \"order-version-2\"\n").expect("it is ours");
    server.signal("HUP");
    server.says("the configuration was read anew");
    // The first of them may be of the same commit as the reload; then the second comes after it.
    register(&mut client, "PUMP2");
    register(&mut client, "PUMP3");
    poll(&mut poller, "PUMP1").expect("it runs").expect(202);
}

#[test]
fn sighup_that_takes_an_account_from_under_its_pos_says_so() {
    let folder = folder();
    let mut server = on(folder.path()).start();
    register(&mut server.controller(), "PUMP1");
    let good = config(folder.path());
    let renamed = good.replace("id = \"main\"", "id = \"other\"");
    assert_ne!(renamed, good);
    fs::write(folder.path().join("surtidor.toml"), renamed).expect("it is ours");
    server.signal("HUP");
    let said = server.says("name an account that is not configured");
    assert!(said.contains("main"), "{said}");
}

#[test]
fn sighup_refuses_what_needs_a_restart_and_keeps_the_old() {
    let folder = folder();
    let mut server = on(folder.path()).start();
    register(&mut server.controller(), "PUMP1");
    let file = folder.path().join("surtidor.toml");
    let good = config(folder.path());
    let moved = good.replacen("127.0.0.1:0", "127.0.0.1:1", 1) + "poll_dialect = \"order-version-2\"\n";
    fs::write(&file, moved).expect("it is ours");
    server.signal("HUP");
    let said = server.says("the old configuration stays");
    assert!(said.contains("poll.listen"), "{said}");
    fs::write(&file, good.replacen("listen", "lisen", 1)).expect("it is ours");
    server.signal("HUP");
    let said = server.says("the old configuration stays");
    assert!(said.contains("surtidor.toml:3") && said.contains("lisen"), "{said}");
    register(&mut server.controller(), "PUMP2");
    for pos in ["PUMP1", "PUMP2"] {
        poll(&mut server.poller(), pos).expect("the old address").expect(400);
    }
}

#[test]
fn a_second_process_on_the_folder_is_refused() {
    let (folder, other) = (folder(), self::folder());
    let server = on(folder.path()).start();
    register(&mut server.controller(), "PUMP1");
    let same_data = config(other.path()).replace(
        &format!("{}/data", other.path().display()),
        &format!("{}/data", folder.path().display()),
    );
    fs::write(other.path().join("surtidor.toml"), same_data).expect("it is ours");
    let ended = on(other.path()).refused();
    assert_eq!(ended.code, Some(75), "{}", ended.log);
    assert!(
        ended.log.contains("another process has the data folder"),
        "{}",
        ended.log
    );
    poll(&mut server.poller(), "PUMP1").expect("unharmed").expect(400);
}

#[test]
fn a_live_socket_is_not_replaced() {
    let (folder, other) = (folder(), self::folder());
    let server = on(folder.path()).start();
    let same_socket = config(other.path()).replace(
        &format!("{}/control.sock", other.path().display()),
        &server.socket.display().to_string(),
    );
    fs::write(other.path().join("surtidor.toml"), same_socket).expect("it is ours");
    let ended = on(other.path()).refused();
    assert_eq!(ended.code, Some(75), "{}", ended.log);
    register(&mut server.controller(), "PUMP1");
}

#[test]
fn a_stale_socket_is_replaced_and_its_mode_is_as_configured() {
    let folder = folder();
    let socket = folder.path().join("control.sock");
    drop(UnixListener::bind(&socket).expect("it is free"));
    assert!(socket.exists());
    let with_mode = config(folder.path()).replace("[admin]", "socket_mode = \"0600\"\n[admin]");
    fs::write(folder.path().join("surtidor.toml"), with_mode).expect("it is ours");
    let server = on(folder.path()).start();
    register(&mut server.controller(), "PUMP1");
    let mode = fs::metadata(&socket).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// What the configuration takes can be bound.
#[test]
fn the_longest_path_of_a_socket_is_served() {
    let folder = folder();
    let usual = folder.path().join("control.sock").display().to_string();
    let longest = format!("{:x<1$}", folder.path().join("s").display().to_string(), 103);
    for (path, fits) in [(longest.clone(), true), (longest + "x", false)] {
        let long = config(folder.path()).replace(&usual, &path);
        fs::write(folder.path().join("surtidor.toml"), long).expect("it is ours");
        if fits {
            let server = on(folder.path()).start();
            register(&mut server.controller(), "PUMP1");
            assert_eq!(server.stop().code, Some(0));
        } else {
            let ended = on(folder.path()).refused();
            assert_eq!(ended.code, Some(78), "{}", ended.log);
        }
    }
}

#[test]
fn a_file_in_the_sockets_place_is_not_replaced() {
    let folder = folder();
    let socket = folder.path().join("control.sock");
    fs::write(&socket, "somebody's").expect("it is ours");
    let ended = on(folder.path()).refused();
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    assert!(ended.log.contains("is no socket"), "{}", ended.log);
    assert_eq!(fs::read_to_string(&socket).expect("untouched"), "somebody's");
}

#[test]
fn a_file_in_the_place_of_the_data_folder_is_named() {
    let folder = folder();
    fs::write(folder.path().join("data"), "somebody's").expect("it is ours");
    let ended = on(folder.path()).refused();
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    assert!(ended.log.contains("data.dir"), "{}", ended.log);
}

#[test]
fn a_typo_in_the_configuration_is_named_with_its_line() {
    let folder = folder();
    let typo = config(folder.path()).replace("collector_id", "colector_id");
    let line = 1 + typo
        .lines()
        .position(|line| line.contains("colector_id"))
        .expect("it is there");
    fs::write(folder.path().join("surtidor.toml"), typo).expect("it is ours");
    let ended = on(folder.path()).refused();
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    assert!(ended.log.contains(&format!("surtidor.toml:{line}")), "{}", ended.log);
    assert!(ended.log.contains("collector_id"), "{}", ended.log);
}

/// All that anybody can ask of a server, but for the time of the asking.
fn whole(server: &Server) -> Vec<String> {
    let mut client = server.controller();
    let events = all_events(&mut client).into_iter().map(|event| event.to_string());
    let mut all: Vec<String> = events.collect();
    for path in ["/v1/pos", "/v1/orders"] {
        all.push(client.get(path).expect("it runs").expect(200).body);
    }
    all.push(poll(&mut server.poller(), "PUMP1").expect("it runs").body);
    all
}

#[test]
fn two_restarts_in_a_row_change_nothing() {
    let folder = folder();
    let server = on(folder.path()).start();
    assert_eq!(all_events(&mut server.controller()).len(), 0, "an empty folder");
    let mut client = server.controller();
    register(&mut client, "PUMP1");
    push(&mut client, "PUMP1", "A").expect("it runs").expect(201);
    client
        .ask("DELETE", "/v1/pos/PUMP1/order", "")
        .expect("it runs")
        .expect(204);
    push(&mut client, "PUMP1", "B").expect("it runs").expect(201);
    // The first poll of an order is an event of its own.
    let mut events = server.controller().follow("/v1/events", 0).expect("it runs");
    poll(&mut server.poller(), "PUMP1").expect("it runs").expect(200);
    assert!(events.any(|event| event["type"] == "order_shown"));
    let before = whole(&server);
    assert_eq!(server.stop().code, Some(0));
    for _ in 0..2 {
        let server = on(folder.path()).start();
        assert_eq!(whole(&server), before);
        assert_eq!(server.stop().code, Some(0));
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    const NOBODY: u32 = 65_534;
    let folder = folder();
    if !fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
        return skip("a folder without write permission: it takes root to become another user");
    }
    let ended = on(folder.path()).by_user(NOBODY).refused();
    assert_eq!(ended.code, Some(74), "{}", ended.log);
    let data = folder.path().join("data");
    assert!(ended.log.contains(&data.display().to_string()), "{}", ended.log);
    assert!(ended.log.contains("Permission denied"), "{}", ended.log);
}

#[test]
fn a_newer_file_is_refused_and_left_alone() {
    let folder = folder();
    assert_eq!(on(folder.path()).start().stop().code, Some(0));
    let file = folder.path().join("data/surtidor.sqlite");
    let newer = rusqlite::Connection::open(&file).expect("it is closed");
    newer.pragma_update(None, "user_version", 1_000).expect("it is ours");
    drop(newer);
    let before = fs::read(&file).expect("it is closed");
    let ended = on(folder.path()).refused();
    assert_eq!(ended.code, Some(74), "{}", ended.log);
    assert!(ended.log.contains("newer version"), "{}", ended.log);
    assert_eq!(fs::read(&file).expect("it is closed"), before);
}

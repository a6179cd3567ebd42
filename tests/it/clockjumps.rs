//! A wall clock that jumps by an hour, to and fro: what was promised for a time comes at that time, and `at` never runs
//! back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::process::{
    Client, Events, Launch, Server, all_events, folder_in_memory, on, poll, register, skip, text, told,
};

const HOUR: i64 = 3_600;
/// Leases and orders.
const TIME: Duration = Duration::from_secs(3);
/// What is due may come by so much later, on a machine with much to do.
const LATE: Duration = Duration::from_secs(2);

/// The wall clock of one server.
struct Wall {
    library: PathBuf,
    file: PathBuf,
}

impl Wall {
    /// None, and said so, where it cannot be moved.
    fn of(folder: &Path) -> Option<Wall> {
        let Some(library) = library() else {
            skip("libfaketime is not installed: no clock jumps");
            return None;
        };
        let file = folder.join("clock");
        let wall = Wall { library, file };
        wall.set_off_by(0);
        Some(wall)
    }

    fn set_off_by(&self, seconds: i64) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}")).expect("the folder is ours");
        fs::rename(new, &self.file).expect("the folder is ours");
    }

    /// Else it jumped for nobody. An `at` that was once told holds also when the clock has gone back.
    fn was_off_by(seconds: i64, at: &str) {
        let at: jiff::Timestamp = at.parse().expect("a time");
        let off = at.as_second() - jiff::Timestamp::now().as_second();
        assert!((off - seconds).abs() < 300, "it was off by {off} s");
    }

    fn start(&self, folder: &Path) -> Server {
        let launch: Launch = on(folder).with(&[
            ("LD_PRELOAD", self.library.as_os_str()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.as_os_str()),
            ("FAKETIME_NO_CACHE", "1".as_ref()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".as_ref()),
            ("DONT_FAKE_MONOTONIC", "1".as_ref()),
        ]);
        launch.start()
    }
}

/// Below each architecture's folder.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut places = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    places.find(|place| place.exists())
}

/// A lease and an order, both for [`TIME`], on points of sale of their own.
struct Promised {
    lease: String,
    order: String,
    asked: Instant,
    answered: Instant,
}

impl Promised {
    fn by(client: &mut Client, name: &str) -> Promised {
        let (lease, order) = (format!("LEASE-{name}"), format!("ORDER-{name}"));
        for pos in [&lease, &order] {
            register(client, pos);
        }
        let asked = Instant::now();
        let seconds = TIME.as_secs();
        let word = format!(r#"{{"state":"in_process","lease_seconds":{seconds}}}"#);
        let said = client.ask("PUT", &format!("/v1/pos/{lease}/state"), &word);
        said.expect("it runs").expect(204);
        let push =
            format!(r#"{{"external_reference":"{name}","amount":1,"title":"S","expires_in_seconds":{seconds}}}"#);
        let pushed = client.ask("PUT", &format!("/v1/pos/{order}/order"), &push);
        pushed.expect("it runs").expect(201);
        Promised {
            lease,
            order,
            asked,
            answered: Instant::now(),
        }
    }

    fn holds(&self, poller: &mut Client) {
        let polled = [&self.lease, &self.order].map(|pos| told(&poll(poller, pos).expect("it runs")));
        // On a machine that took as long as that, nothing can be said.
        if self.asked.elapsed() < TIME {
            assert_eq!(polled[0], "in_process");
            assert_ne!(polled[1], "unavailable");
        }
    }

    /// Both end when they should, for the feed and for polls. Tells what the wall clock said then.
    fn ends_in_time(&self, poller: &mut Client, events: &mut Events) -> String {
        let (mut lapsed, mut expired) = (false, false);
        let mut at = String::new();
        while !(lapsed && expired) {
            let event = events.next().expect("the feed goes on");
            match (text(&event, "type"), text(&event, "pos")) {
                ("state_changed", pos) if pos == self.lease && event["state"] == "timeout" => lapsed = true,
                ("order_expired", pos) if pos == self.order => expired = true,
                _ => continue,
            }
            text(&event, "at").clone_into(&mut at);
            assert!(self.asked.elapsed() >= TIME, "early: {event}");
            assert!(self.answered.elapsed() < TIME + LATE, "late: {event}");
        }
        assert_eq!(told(&poll(poller, &self.lease).expect("it runs")), "timeout");
        assert_eq!(told(&poll(poller, &self.order).expect("it runs")), "unavailable");
        at
    }
}

/// A controller that is alive says so again and again, also while the wall clock is behind what was told already.
#[test]
fn a_lease_that_is_renewed_after_the_clock_went_back_goes_on() {
    let folder = folder_in_memory();
    let Some(wall) = Wall::of(folder.path()) else { return };
    let server = wall.start(folder.path());
    let (mut client, mut poller) = (server.controller(), server.poller());
    register(&mut client, "PUMP1");
    register(&mut client, "WATCH");
    wall.set_off_by(-HOUR);
    let mut events = server.controller().follow("/v1/events?pos=WATCH", 0).expect("it runs");
    // The other one's lease tells the time, which is twice what the first one is held for.
    let hold = |client: &mut Client, pos: &str| {
        let word = format!(r#"{{"state":"in_process","lease_seconds":{}}}"#, TIME.as_secs());
        let said = client.ask("PUT", &format!("/v1/pos/{pos}/state"), &word);
        said.expect("it runs").expect(204);
    };
    for _ in 0..2 {
        hold(&mut client, "PUMP1");
        let begun = Instant::now();
        hold(&mut client, "WATCH");
        while begun.elapsed() < TIME / 2 {
            assert_eq!(told(&poll(&mut poller, "PUMP1").expect("it runs")), "in_process");
        }
        hold(&mut client, "PUMP1");
        events
            .find(|event| event["state"] == "timeout")
            .expect("the feed goes on");
        if begun.elapsed() < TIME + TIME / 4 {
            assert_eq!(told(&poll(&mut poller, "PUMP1").expect("it runs")), "in_process");
        }
    }
    drop((client, poller, events));
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_jump_of_the_clock_moves_no_deadline_and_no_event() {
    let folder = folder_in_memory();
    let Some(wall) = Wall::of(folder.path()) else { return };
    let mut server = wall.start(folder.path());
    let mut newest = 0;
    // Where the clock is when something is promised, and where it jumps to then.
    for (round, (from, to)) in [(0, HOUR), (HOUR, 0), (0, -HOUR), (-HOUR, 0), (0, 0)]
        .into_iter()
        .enumerate()
    {
        wall.set_off_by(from);
        let (mut client, mut poller) = (server.controller(), server.poller());
        let mut events = server.controller().follow("/v1/events", newest).expect("it runs");
        let promised = Promised::by(&mut client, &round.to_string());
        wall.set_off_by(to);
        promised.holds(&mut poller);
        let at = promised.ends_in_time(&mut poller, &mut events);
        Wall::was_off_by(HOUR, &at);
        newest = newest_of(&never_back(&mut client));
    }
    // Across a restart too: while it was away the clock went back.
    for (round, to) in [("A", -HOUR), ("B", HOUR), ("C", 0)] {
        let mut client = server.controller();
        let promised = Promised::by(&mut client, round);
        assert_eq!(server.stop().code, Some(0));
        wall.set_off_by(to);
        let begun = Instant::now();
        server = wall.start(folder.path());
        let (mut client, mut poller) = (server.controller(), server.poller());
        loop {
            let polled = [&promised.lease, &promised.order].map(|pos| told(&poll(&mut poller, pos).expect("it runs")));
            if polled == ["timeout", "unavailable"] {
                break;
            }
            let waited = begun.elapsed();
            assert!(
                waited < 2 * TIME + LATE,
                "{round}: {polled:?} {waited:?} after the start"
            );
        }
        // Its entry is written soon after it is seen.
        let mut events = server.controller().follow("/v1/events", newest).expect("it runs");
        events.find(|event| event["type"] == "order_expired" && event["pos"] == promised.order.as_str());
        newest = newest_of(&never_back(&mut client));
    }
    assert_eq!(server.stop().code, Some(0));
}

/// All events so far.
fn never_back(client: &mut Client) -> Vec<Value> {
    let events = all_events(client);
    for pair in events.windows(2) {
        assert!(
            text(&pair[0], "at") <= text(&pair[1], "at"),
            "{} then {}",
            pair[0],
            pair[1]
        );
    }
    events
}

fn newest_of(events: &[Value]) -> u64 {
    events
        .last()
        .and_then(|event| event["seq"].as_u64())
        .expect("something happened")
}

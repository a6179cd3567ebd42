//! What the controller hears: every outcome, in order, also after it was away.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::golden::{golden, timeless};
use crate::support::http::patiently;
use crate::support::station::{Station, order, order_for};

#[tokio::test]
async fn events_are_this_text() {
    let station = Station::start().await;
    let mut feed = station.feed("?after=0").await;
    station.register_as("PUMP1", json!({"name": "Pump 1"})).await;
    station.register_as("PUMP1", json!({"require_lease": true})).await;
    station.register("PUMP1").await;
    station
        .say(
            "PUMP1",
            json!({"state": "in_process", "message": "Llenando: «\"súper\"»\u{2028}"}),
        )
        .await;
    station
        .push(
            "PUMP1",
            json!({"external_reference": "T-1", "amount": 18525.5, "title": "SUPER", "metadata": {"nozzle": 4}}),
        )
        .await;
    station.poll("PUMP1").await;
    let mut said = String::new();
    while !said.contains("order_shown") {
        said.push_str(&format!("{}\n\n", feed.next().await.text));
    }
    station.replace("PUMP1", order("T-2", "1")).await;
    station.delete("/v1/pos/PUMP1/order?reason=paid_elsewhere").await;
    station.push("PUMP1", order_for("T-3", 1)).await;
    while !said.contains("order_expired") {
        said.push_str(&format!("{}\n\n", feed.next().await.text));
    }
    station.poll("PUMP1").await;
    station.delete("/v1/pos/PUMP1").await;
    while !said.contains("pos_removed") {
        said.push_str(&format!("{}\n\n", feed.next().await.text));
    }
    golden("events.txt", &timeless(&said));
}

#[tokio::test]
async fn a_reader_that_was_away_goes_on_where_it_was() {
    let mut station = Station::start().await;
    station.register("PUMP1").await;
    station.push("PUMP1", order("T-1", "1")).await;
    let mut feed = station.feed("?after=0").await;
    feed.until("order_ready").await;
    station.replace("PUMP1", order("T-2", "2")).await;
    // The connection breaks between the two events of one entry.
    let replaced = feed.until("order_replaced").await;
    assert_eq!(replaced.data["external_reference"], "T-1");
    drop(feed);
    station.cancel("PUMP1").await;
    station.restart().await;
    let last = replaced.id.expect("a number").to_string();
    for (query, header) in [
        (String::new(), Some(last.as_str())),
        (format!("?after={last}"), None),
        ("?after=0".to_owned(), Some(last.as_str())),
        (format!("?after={last}&pos=PUMP1"), None),
    ] {
        let mut feed = station.feed_from(&query, header).await;
        let ready = feed.next().await;
        assert_eq!(
            (ready.kind.as_str(), &ready.data["external_reference"]),
            ("order_ready", &json!("T-2"))
        );
        assert_eq!(
            ready.id,
            replaced.id.map(|id| id + 1),
            "the next event of the same entry"
        );
        assert_eq!(ready.data["rev"], replaced.data["rev"]);
        assert_eq!(feed.next().await.kind, "order_canceled");
    }
}

#[tokio::test]
async fn without_a_place_the_feed_begins_now() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let mut feed = station.feed("").await;
    station.say("PUMP1", json!({"state": "in_process"})).await;
    assert_eq!(feed.next().await.kind, "state_changed", "nothing of before");
}

#[tokio::test]
async fn one_pos_is_followed_without_the_others() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    station.register("PUMP2").await;
    let mut one = station.feed("?pos=PUMP2&after=0").await;
    let mut live = station.feed("?pos=PUMP2").await;
    for (n, pos) in ["PUMP1", "PUMP2", "PUMP1", "PUMP2"].iter().enumerate() {
        station.push(pos, order(&format!("T-{n}"), "1")).await;
        station.cancel(pos).await;
    }
    let mut kinds = Vec::new();
    for _ in 0..5 {
        let event = one.next().await;
        assert_eq!(event.data["pos"], "PUMP2");
        kinds.push(event.kind);
    }
    assert_eq!(
        kinds,
        [
            "pos_registered",
            "order_ready",
            "order_canceled",
            "order_ready",
            "order_canceled"
        ]
    );
    for kind in &kinds[1..] {
        assert_eq!(&live.next().await.kind, kind);
    }
    let page = station.page("?pos=PUMP1&after=0&wait=0").await;
    assert!(page.events.iter().all(|event| event["pos"] == "PUMP1"));
    assert_eq!(page.events.len(), 5);
}

#[tokio::test]
async fn someone_at_the_machine_is_told_once_a_visit_and_only_live() {
    let station = Station::start().await;
    for pos in ["PUMP1", "PUMP2", "PUMP3"] {
        station.register(pos).await;
    }
    let (mut all, mut one) = (station.feed("").await, station.feed("?pos=PUMP1").await);
    for _ in 0..5 {
        station.poll("PUMP1").await;
    }
    station.poll("PUMP9").await;
    // A poll that finds an order is told as `order_shown`.
    station.push("PUMP3", order("T-1", "1")).await;
    station.poll("PUMP3").await;
    station.poll("PUMP2").await;
    let mut heard = Vec::new();
    while heard.last() != Some(&("scanned".to_owned(), "PUMP2".to_owned())) {
        let event = all.next().await;
        if event.kind == "scanned" {
            assert_eq!(
                (event.id, event.data.get("seq"), event.data.get("rev")),
                (None, None, None)
            );
            heard.push((event.kind, event.data["pos"].as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(one.next().await.kind, "scanned");
    let page = station.page("?after=0&wait=0").await;
    assert!(!page.types().contains(&"scanned"), "it is in no log");
}

#[tokio::test]
async fn a_long_poll_answers_at_once_or_when_something_happens() {
    let station = Station::start().await;
    // A fresh server has nothing, and its `next` is a place to go on from.
    let empty = station.page("?after=0&wait=0").await;
    assert!(empty.events.is_empty());
    assert!(
        station
            .page(&format!("?after={}&wait=0", empty.next))
            .await
            .events
            .is_empty()
    );
    station.register("PUMP1").await;
    let first = station.page(&format!("?after={}&wait=0", empty.next)).await;
    assert_eq!(first.types(), ["pos_registered"]);
    assert!(station.page("?wait=0").await.events.is_empty(), "from now on");
    assert!(
        station
            .page(&format!("?after={}&wait=0", first.next))
            .await
            .events
            .is_empty()
    );

    // One that waits is woken by the event, long before its time.
    let began = Instant::now();
    let mut waiting = station.controller().await;
    let ask = format!(
        "GET /v1/events?after={}&wait=60 HTTP/1.1\r\nhost: a\r\n\r\n",
        first.next
    );
    waiting.send(ask.as_bytes()).await;
    // It listens once the server counts it as a follower.
    patiently(async { while station.metric("surtidor_feed_followers").await < 1.0 {} }).await;
    station.say("PUMP1", json!({"state": "in_process"})).await;
    let woken = waiting.reply().await;
    woken.check_control();
    assert_eq!(woken.json()["events"][0]["type"], "state_changed");
    assert!(began.elapsed().as_secs() < 20);
    let next = woken.json()["next"].as_u64().expect("a number");
    let nothing = station.page(&format!("?after={next}&wait=1")).await;
    assert_eq!(
        (nothing.events.len(), nothing.next),
        (0, next),
        "after its time it answers with nothing"
    );

    // From now on, a waiting page tells of a visit as well, and goes on behind it.
    waiting
        .send(format!("GET /v1/events?after={next}&wait=60 HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
        .await;
    patiently(async { while station.metric("surtidor_feed_followers").await < 1.0 {} }).await;
    station.poll("PUMP1").await;
    let scanned = waiting.reply().await.json();
    assert_eq!(scanned["events"][0]["type"], "scanned");
    assert_eq!(scanned["next"], next);
}

#[tokio::test]
async fn pages_join_without_loss_or_repetition() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    // Each replacement is an entry of two events, so that a page of 1,000 ends within one.
    let mut wire = station.controller().await;
    for n in 0..1100 {
        let body = order(&format!("T-{n}"), "1").to_string();
        let head = "PUT /v1/pos/PUMP1/order?replace=true HTTP/1.1\r\nhost: a\r\n";
        wire.send(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())
            .await;
        assert_eq!(wire.reply().await.status, 201);
    }
    let (mut seen, mut after, mut sizes) = (Vec::<u64>::new(), 0, Vec::new());
    loop {
        let page = station.page(&format!("?after={after}&wait=0")).await;
        if page.events.is_empty() {
            break;
        }
        sizes.push(page.events.len());
        seen.extend(page.events.iter().map(|event| event["seq"].as_u64().unwrap()));
        after = page.next;
    }
    assert_eq!((seen.len(), &sizes[..2]), (2200, &[1000, 1000][..]));
    assert!(seen.is_sorted_by(|a, b| a < b));
    // The stream has the same.
    let mut feed = station.feed("?after=0&pos=PUMP1").await;
    for seq in &seen {
        assert_eq!(feed.next().await.id, Some(*seq));
    }
}

#[tokio::test]
async fn a_long_poll_is_no_slow_answer() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let answered = async || station.metric("surtidor_control_seconds_count").await;
    assert_eq!(answered().await, 1.0);
    station.page("?after=0&wait=0").await;
    assert_eq!(answered().await, 1.0);
}

#[tokio::test]
async fn a_place_that_never_was_is_gone() {
    let station = Station::start().await;
    for after in ["1", "14", "16", "1000000", "18446744073709551615"] {
        let gone = station.get(&format!("/v1/events?after={after}&wait=0")).await;
        assert_eq!(gone, (410, "events_trimmed"), "{after}");
        assert!(gone.json()["oldest"].is_u64());
        assert_eq!(
            station.get(&format!("/v1/events?after={after}")).await,
            (410, "events_trimmed")
        );
    }
    station.register("PUMP1").await;
    for after in [0, 16, 31] {
        assert_eq!(
            station.get(&format!("/v1/events?after={after}&wait=0")).await,
            200,
            "{after}"
        );
    }
    assert_eq!(station.get("/v1/events?after=32&wait=0").await, (410, "events_trimmed"));
}

#[tokio::test]
async fn who_does_not_read_holds_nobody_up_and_misses_nothing() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let (mut idle, mut idle_one) = (station.feed("").await, station.feed("?pos=PUMP1").await);
    let mut reads = station.feed("").await;
    // More than sockets and the memory of a POS's feed hold.
    let metadata = "x".repeat(4000);
    let pushes = 300;
    for n in 0..pushes {
        let mut order = order(&format!("T-{n}"), "1");
        order["metadata"] = json!({"a": metadata});
        assert_eq!(station.replace("PUMP1", order).await, 201);
        while reads.until("order_ready").await.data["external_reference"] != format!("T-{n}") {}
    }
    assert_eq!(station.metric("surtidor_feed_followers").await, 3.0);
    assert!(
        station.metric("surtidor_feed_lag_entries").await > 0.0,
        "the operator sees that one is behind"
    );
    for feed in [&mut idle, &mut idle_one] {
        let mut ready = 0;
        while ready < pushes {
            let event = feed.next().await;
            if event.kind == "order_ready" {
                assert_eq!(
                    event.data["external_reference"],
                    format!("T-{ready}"),
                    "in order, each once"
                );
                ready += 1;
            }
        }
    }
}

/// Each POS has its own controller here, and all of them share commits.
#[tokio::test]
async fn events_come_in_order_whoever_causes_them() {
    let station = Station::start().await;
    let names: Vec<String> = (0..8).map(|n| format!("PUMP{n}")).collect();
    for pos in &names {
        station.register(pos).await;
    }
    let mut live = station.feed("").await;
    let rounds = 25;
    for round in 0..rounds {
        let mut wires = Vec::new();
        for pos in &names {
            let mut wire = station.controller().await;
            let order = order(&format!("{pos}-{round}"), "1").to_string();
            let push = format!("PUT /v1/pos/{pos}/order?replace=true HTTP/1.1\r\nhost: a\r\n");
            let push = format!("{push}content-length: {}\r\n\r\n{order}", order.len());
            let cancel = format!("DELETE /v1/pos/{pos}/order HTTP/1.1\r\nhost: a\r\n\r\n");
            wire.send(push.as_bytes()).await;
            if round % 2 == 1 {
                wire.send(cancel.as_bytes()).await;
            }
            wires.push(wire);
        }
        for (wire, pos) in wires.iter_mut().zip(&names) {
            assert_eq!(wire.reply().await.status, 201);
            if round % 2 == 1 {
                assert_eq!(wire.reply().await.status, 204);
            } else {
                // Acknowledged is visible.
                assert_eq!(station.poll(pos).await, (200, format!("{pos}-{round}").as_str()));
            }
        }
    }
    let last = station.page("?wait=0").await.next;
    let (mut seq, mut revs, mut told) = (0, BTreeMap::new(), Vec::new());
    while seq + 16 <= last {
        let event = live.next().await;
        let Some(id) = event.id else { continue };
        assert!(id > seq, "{id} after {seq}");
        seq = id;
        let rev = event.data["rev"].as_u64().unwrap();
        let before = revs
            .insert(event.data["pos"].as_str().unwrap().to_owned(), rev)
            .unwrap_or(1);
        assert!(
            rev == before + 1 || (rev == before && id % 16 > 0),
            "no gap: {}",
            event.text
        );
        told.push(event.data);
    }
    // An order may be shown after we looked for the last event.
    let logged = async |query: &str| {
        let mut events = station.page(&format!("?after=0&wait=0{query}")).await.events;
        events.retain(|event| event["seq"].as_u64() <= Some(last));
        events
    };
    let all = logged("").await;
    assert!(all[names.len()..] == told[..], "live and from the log it is the same");
    for pos in &names {
        let told = told.iter().filter(|event| event["pos"] == *pos);
        assert!(logged(&format!("&pos={pos}")).await[1..].iter().eq(told), "{pos}");
    }
}

#[tokio::test]
async fn many_follow() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let mut followers = Vec::new();
    for n in 0..300 {
        followers.push(station.feed(["", "?pos=PUMP1", "?after=0"][n % 3]).await);
    }
    station.push("PUMP1", order("T-1", "1")).await;
    for follower in &mut followers {
        assert_eq!(follower.until("order_ready").await.data["external_reference"], "T-1");
    }
    assert_eq!(station.metric("surtidor_feed_followers").await, 300.0);
    drop(followers);
    patiently(async { while station.metric("surtidor_feed_followers").await > 0.0 {} }).await;
}

#[tokio::test]
async fn streams_and_long_polls_end_when_the_server_stops() {
    let mut station = Station::start().await;
    station.register("PUMP1").await;
    let mut feed = station.feed("").await;
    let mut waiting = station.controller().await;
    waiting
        .send(b"GET /v1/events?wait=60 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    patiently(async { while station.metric("surtidor_feed_followers").await < 2.0 {} }).await;
    let began = Instant::now();
    station.stop().await;
    assert!(began.elapsed().as_secs() < 5, "they do not hold it up");
    assert!(feed.next_or_end().await.is_none());
    let page = waiting.reply().await;
    assert_eq!(page.status, 200, "it is answered");
    assert_eq!(page.json()["events"], Value::Array(Vec::new()));
}

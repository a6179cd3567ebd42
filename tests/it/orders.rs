//! An order's life as its controller sees it: pushed once, ended once, found again.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::station::{Setup, Station, order, order_for};

#[tokio::test]
async fn a_push_is_repeated_without_harm() {
    let mut station = Station::start().await;
    station.register("PUMP1").await;
    let pushed = r#"{"external_reference":"T-1","items":[{"title":"SUPER","quantity":1,"unit_price":100}],
                     "metadata":{"a":1,"b":[true,null]}}"#;
    // Equal values, other bytes.
    let same = r#"{ "metadata": {"b":[true,null],"a":1}, "expires_in_seconds": 300, "items": [ {"unit_price": "100.00",
                   "description": "SUPER", "title": "SUP\u0045R", "quantity": 1.0} ], "external_reference": "T-1"}"#;
    let short = r#"{"amount":"100.0","title":"SUPER","metadata":{"a":1,"b":[true,null]},"external_reference":"T-1"}"#;
    let first = station.push("PUMP1", pushed).await;
    assert_eq!(first, (201, "T-1"));
    let rev = station.pos("PUMP1").await["rev"].clone();
    for again in [pushed, same, short] {
        let repeated = station.push("PUMP1", again).await;
        assert_eq!(repeated, (200, "T-1"));
        assert_eq!(repeated.body, first.body, "its expiry too is what it was");
        assert_eq!(
            station.replace("PUMP1", again).await,
            (200, "T-1"),
            "it does not replace itself"
        );
    }
    assert_eq!(station.pos("PUMP1").await["rev"], rev, "nothing happened");

    // Over a restart, and after its end: never reopened.
    station.restart().await;
    assert_eq!(station.push("PUMP1", pushed).await.body, first.body);
    assert_eq!(station.cancel("PUMP1").await, 204);
    let ended = station.push("PUMP1", pushed).await;
    assert_eq!(ended, (200, "T-1"));
    assert_eq!(ended.json()["status"], "canceled");
    assert_eq!(station.poll("PUMP1").await, (400, "unavailable"));
    station.push("PUMP1", order("T-2", "1")).await;
    let ended = station.replace("PUMP1", pushed).await;
    assert_eq!(ended.json()["status"], "canceled", "also while another is open");
    assert_eq!(station.poll("PUMP1").await, (200, "T-2"));
}

#[tokio::test]
async fn a_reference_is_used_once() {
    let mut station = Station::start().await;
    station.register("PUMP1").await;
    station.register("PUMP2").await;
    let made = json!({"external_reference": "T-1a", "amount": "100", "title": "SUPER", "metadata": {"a": 1}});
    station.push("PUMP1", &made).await;
    let with = |field: &str, value: Value| {
        let mut other = made.clone();
        other[field] = value;
        other
    };
    for round in ["while it is open", "after its end", "after a restart"] {
        for (other, field) in [
            (with("amount", json!("100.01")), "items"),
            (with("title", json!("Super")), "items"),
            (with("expires_in_seconds", json!(301)), "expires_in_seconds"),
            (with("metadata", json!({"a": 2})), "metadata"),
            (with("metadata", Value::Null), "metadata"),
            (with("late_payment", json!("refund")), "late_payment"),
            (with("external_reference", json!("t-1A")), "T-1a"),
        ] {
            let refused = station.replace("PUMP1", &other).await;
            assert_eq!(refused, (409, "reference_used"), "{round}: {field}");
            let detail = refused.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(field), "{round}: {detail}");
        }
        let refused = station.push("PUMP2", &made).await;
        assert_eq!(refused, (409, "reference_used"), "{round}: elsewhere");
        assert!(refused.json()["detail"].as_str().unwrap().contains("PUMP1"));
        if round == "while it is open" {
            station.cancel("PUMP1").await;
        } else {
            station.restart().await;
        }
    }
    assert_eq!(
        station.order("t-1A").await["external_reference"],
        "T-1a",
        "found whatever its case"
    );
}

#[tokio::test]
async fn a_reference_is_made_if_none_is_given() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let order = json!({"amount": "100", "title": "SUPER"});
    let first = station.push("PUMP1", &order).await.json()["external_reference"].clone();
    let reference = first.as_str().unwrap();
    assert_eq!((reference.len(), &reference[14..15]), (36, "7"), "a UUIDv7");
    assert_eq!(station.poll("PUMP1").await, (200, reference));
    assert_eq!(
        station.push("PUMP1", &order).await,
        (409, "order_open"),
        "another push is another order"
    );
    let second = station.replace("PUMP1", &order).await.json()["external_reference"].clone();
    assert_ne!(first, second);
}

#[tokio::test]
async fn one_order_at_a_time_unless_it_is_to_be_replaced() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    assert_eq!(station.push("NOBODY", order("T-0", "1")).await, (404, "pos_unknown"));
    station.push("PUMP1", order("T-1", "100")).await;
    let refused = station.push("PUMP1", order("T-2", "200")).await;
    assert_eq!(refused, (409, "order_open"));
    assert_eq!(refused.json()["external_reference"], "T-1");
    assert_eq!(
        station.get("/v1/orders/T-2").await,
        (404, "order_unknown"),
        "a refused one leaves its reference free"
    );

    let mut feed = station.feed("").await;
    assert_eq!(station.poll("PUMP1").await, (200, "T-1"));
    feed.until("order_shown").await;
    assert_eq!(
        station.replace("PUMP1", order("T-2", "200")).await,
        (201, "T-2"),
        "also after it was shown"
    );
    assert_eq!(station.poll("PUMP1").await, (200, "T-2"));
    let replaced = station.order("T-1").await;
    assert_eq!(replaced["status"], "replaced");
    assert!(replaced["shown_at"].is_string() && replaced["ended_at"].is_string());
    assert_eq!(
        station.push("PUMP1", order("T-1", "100")).await.json()["status"],
        "replaced"
    );
    assert_eq!(station.cancel("PUMP1").await, 204);
    assert_eq!(station.status("T-2").await, "canceled");
    assert_eq!(
        station.replace("PUMP1", order("T-3", "300")).await,
        (201, "T-3"),
        "with nothing to replace"
    );
}

#[tokio::test]
async fn a_cancel_is_repeated_without_harm() {
    let mut station = Station::start().await;
    station.register("PUMP1").await;
    assert_eq!(station.cancel("PUMP1").await, (404, "order_none"));
    station.push("PUMP1", order("T-1", "100")).await;
    station.poll("PUMP1").await;
    for _ in 0..2 {
        assert_eq!(station.delete("/v1/pos/PUMP1/order?reason=paid_elsewhere").await, 204);
    }
    station.restart().await;
    assert_eq!(station.cancel("PUMP1").await, 204);
    let page = station.page("?after=0&wait=0").await;
    let canceled: Vec<&Value> = page
        .events
        .iter()
        .filter(|event| event["type"] == "order_canceled")
        .collect();
    assert_eq!(canceled.len(), 1);
    assert_eq!(canceled[0]["reason"], "paid_elsewhere");
    // Of one that was replaced or has expired there is none to cancel.
    let mut feed = station.feed("?pos=PUMP1").await;
    station.push("PUMP1", order_for("T-2", 1)).await;
    feed.until("order_expired").await;
    assert_eq!(station.cancel("PUMP1").await, (404, "order_none"));
}

#[tokio::test]
async fn an_order_expires_on_time() {
    let station = Station::with(Setup::quiet()).await;
    station.register("PUMP1").await;
    let mut feed = station.feed("").await;
    let pushed = station.push("PUMP1", order_for("T-1", 1)).await.json();
    assert_eq!(station.poll("PUMP1").await, (200, "T-1"));
    let expired = feed.until("order_expired").await.data;
    assert_eq!(expired["external_reference"], "T-1");
    assert_eq!(station.poll("PUMP1").await, (400, "unavailable"));
    let order = station.order("T-1").await;
    assert_eq!(order["status"], "expired");
    let (due, ended) = (time(&pushed["expires_at"]), time(&order["ended_at"]));
    assert!(ended >= due && ended <= due + 5_000, "{due:?} {ended:?}");
    assert_eq!(due - time(&pushed["created_at"]), 1_000);
    assert_eq!(
        station.push("PUMP1", order_for("T-1", 1)).await.json()["status"],
        "expired"
    );
    assert_eq!(
        station.push("PUMP1", order_for("T-2", 1)).await,
        201,
        "and the next one may come"
    );
    assert_eq!(feed.until("order_expired").await.data["external_reference"], "T-2");
}

#[tokio::test]
async fn a_repeated_push_does_not_extend_the_expiry() {
    let station = Station::with(Setup::quiet()).await;
    station.register("PUMP1").await;
    let mut feed = station.feed("").await;
    let first = station.push("PUMP1", order_for("T-1", 2)).await.json();
    station.register("PUMP2").await;
    station.push("PUMP2", order_for("T-9", 1)).await;
    feed.until("order_expired").await;
    assert_eq!(
        station.push("PUMP1", order_for("T-1", 2)).await.json()["expires_at"],
        first["expires_at"]
    );
    feed.until("order_expired").await;
    let ended = time(&station.order("T-1").await["ended_at"]);
    assert!(ended < time(&first["created_at"]) + 4_000);
}

#[tokio::test]
async fn expiry_holds_across_a_restart() {
    let mut station = Station::start().await;
    for pos in ["PUMP1", "PUMP2", "PUMP3"] {
        station.register(pos).await;
    }
    let soon = station.push("PUMP1", order_for("T-1", 1)).await.json();
    let later = station.push("PUMP2", order_for("T-2", 3)).await.json();
    station.push("PUMP3", order_for("T-3", 3600)).await;
    let (still, long) = (station.poll("PUMP2").await.body, station.poll("PUMP3").await.body);
    let last = station.page("?wait=0").await.next;
    station.stop().await;
    // It is down while the first expires: the deadline itself is waited for.
    let left = (time(&soon["expires_at"]) - now()).try_into().unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(left)).await;
    station.start_again().await;
    assert_eq!(
        station.poll("PUMP1").await,
        (400, "unavailable"),
        "at once, whatever is told of it when"
    );
    assert_eq!(station.poll("PUMP3").await.body, long, "the same bytes");
    if now() < time(&later["expires_at"]) {
        assert_eq!(station.poll("PUMP2").await.body, still);
    }
    let mut feed = station.feed(&format!("?after={last}")).await;
    assert_eq!(feed.until("order_expired").await.data["external_reference"], "T-1");
    assert_eq!(station.status("T-1").await, "expired");
    assert_eq!(
        feed.until("order_expired").await.data["external_reference"],
        "T-2",
        "on time"
    );
    assert_eq!(station.poll("PUMP2").await, (400, "unavailable"));
    assert_eq!(station.status("T-3").await, "shown");
}

#[tokio::test]
async fn what_was_shown_is_told_once() {
    let mut station = Station::start().await;
    station.register("PUMP1").await;
    let mut feed = station.feed("?pos=PUMP1").await;
    station.push("PUMP1", order("T-1", "100")).await;
    assert_eq!(station.status("T-1").await, "ready");
    for _ in 0..5 {
        station.poll("PUMP1").await;
    }
    let shown = feed.until("order_shown").await.data;
    assert_eq!(shown["external_reference"], "T-1");
    assert_eq!(station.status("T-1").await, "shown");
    station.restart().await;
    station.poll("PUMP1").await;
    station.cancel("PUMP1").await;
    let page = station.page("?after=0&wait=0").await;
    assert_eq!(
        page.types(),
        ["pos_registered", "order_ready", "order_shown", "order_canceled"]
    );
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let mut station = Station::start().await;
    station.register_as("PUMP1", json!({"name": "Pump 1"})).await;
    station.register("PUMP2").await;
    station.register("PUMP3").await;
    station.delete("/v1/pos/PUMP3").await;
    station
        .say("PUMP2", json!({"state": "in_process", "message": "Filling"}))
        .await;
    station.push("PUMP1", order_for("T-1", 3600)).await;
    station.poll("PUMP1").await;
    station.feed("?after=0&pos=PUMP1").await.until("order_shown").await;
    let before = [
        station.get("/v1/pos").await.json(),
        station.get("/v1/orders").await.json(),
        station.get("/v1/events?after=0&wait=0").await.json(),
    ];
    let polls = [
        station.poll("PUMP1").await.body,
        station.poll("PUMP2").await.body,
        station.poll("PUMP3").await.body,
    ];
    for _ in 0..2 {
        station.restart().await;
        let after = [
            station.get("/v1/pos").await.json(),
            station.get("/v1/orders").await.json(),
            station.get("/v1/events?after=0&wait=0").await.json(),
        ];
        assert_eq!(after, before);
        for (pos, body) in ["PUMP1", "PUMP2", "PUMP3"].iter().zip(&polls) {
            assert_eq!(&station.poll(pos).await.body, body);
        }
    }
    assert_eq!(station.metric("surtidor_pos").await, 2.0);
    assert_eq!(
        station
            .metric("surtidor_orders_open{state=\"shown\",mode=\"unattended\"}")
            .await,
        1.0
    );
}

#[tokio::test]
async fn the_history_is_found_in_pages_newest_first() {
    let station = Station::start().await;
    for pos in ["PUMP1", "PUMP2"] {
        station.register(pos).await;
    }
    for n in 0..7 {
        station
            .replace(["PUMP1", "PUMP2"][n % 2], order(&format!("T-{n}"), "100"))
            .await;
    }
    station.cancel("PUMP2").await;
    let found = async |query: &str| -> (Vec<String>, Option<String>) {
        let page = station.get(&format!("/v1/orders?{query}")).await.json();
        let rows = page["orders"].as_array().unwrap().iter();
        let references = rows.map(|row| row["external_reference"].as_str().unwrap().to_owned());
        (references.collect(), page["next"].as_str().map(str::to_owned))
    };
    let all = ["T-6", "T-5", "T-4", "T-3", "T-2", "T-1", "T-0"];
    assert_eq!(found("").await, (all.map(str::to_owned).to_vec(), None));
    assert_eq!(found("pos=PUMP2").await.0, ["T-5", "T-3", "T-1"]);
    assert_eq!(found("status=replaced&pos=PUMP1").await.0, ["T-4", "T-2", "T-0"]);
    assert_eq!(found("status=ready").await.0, ["T-6"]);
    assert_eq!(found("status=canceled&pos=PUMP1").await.0, [""; 0]);
    assert_eq!(found("pos=NOBODY").await.0, [""; 0]);
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let (rows, next) = found(&format!("limit=3{cursor}")).await;
        seen.extend(rows);
        pages += 1;
        let Some(next) = next else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((seen, pages), (all.map(str::to_owned).to_vec(), 3));
    let made = station.order("T-4").await["created_at"].as_str().unwrap().to_owned();
    let since = found(&format!("since={made}")).await.0;
    assert!(
        since.starts_with(&["T-6".to_owned(), "T-5".to_owned(), "T-4".to_owned()]),
        "{since:?}"
    );
    let here = made.replace('Z', "%2B00:00");
    assert_eq!(found(&format!("since={here}")).await.0, since, "an offset is as good");
    assert_eq!(found("since=2999-01-01T00:00:00Z").await.0, [""; 0]);
}

#[tokio::test]
async fn a_delivery_needs_a_paid_order() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let path = "/v1/orders/T-1/delivery";
    let dispensed = json!({"result": "dispensed"});
    assert_eq!(station.put(path, &dispensed).await, (404, "order_unknown"));
    station.push("PUMP1", order("T-1", "100")).await;
    for status in ["ready", "canceled"] {
        for report in [
            dispensed.clone(),
            json!({"result": "failed", "amount": "50.00", "reason": "nozzle"}),
        ] {
            let refused = station.put(path, report).await;
            assert_eq!(refused, (409, "order_not_paid"));
            assert_eq!(refused.json()["order_status"], status);
        }
        station.cancel("PUMP1").await;
    }
}

/// An order's life under many hands at once: each push is answered, and only one is open.
#[tokio::test]
async fn pushes_that_race_leave_one_order() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let mut wires = Vec::new();
    for _ in 0..32 {
        wires.push(station.controller().await);
    }
    for (n, wire) in wires.iter_mut().enumerate() {
        let body = order(&format!("T-{}", n / 2), "100").to_string();
        let head = format!(
            "PUT /v1/pos/PUMP1/order HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        wire.send((head + &body).as_bytes()).await;
    }
    let mut statuses = Vec::new();
    for wire in &mut wires {
        statuses.push(wire.reply().await.status);
    }
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((count(201), count(200), count(409)), (1, 1, 30), "{statuses:?}");
    assert_eq!(
        station.page("?after=0&wait=0").await.types(),
        ["pos_registered", "order_ready"]
    );
}

/// Milliseconds since 1970.
fn time(text: &Value) -> i64 {
    let time: jiff::Timestamp = text.as_str().unwrap().parse().unwrap();
    time.as_millisecond()
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

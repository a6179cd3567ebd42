//! The numbers that alarms are made of.

mod prometheus;
mod shipped;

use serde_json::json;

use crate::support::market::{Market, hurried};
use crate::support::station::{Station, order};

/// An order that is paid, with nobody following the feed.
async fn paid(market: &Market, pos: &str, reference: &str) {
    market.push(pos, reference, "100").await;
    market.scan(pos).await.pay().await;
    until(async || market.station.status(reference).await == "paid").await;
}

/// Asks until it is so.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !is_so().await {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    crate::support::http::patiently(asked).await;
}

async fn unfetched(market: &Market) -> f64 {
    market.station.metric("surtidor_paid_unfetched").await
}

#[tokio::test]
async fn a_paid_order_counts_as_unfetched_until_a_follower_of_its_pos_is_told() {
    let market = Market::open().await;
    for pos in ["PUMP1", "PUMP2", "PUMP3"] {
        market.register(pos).await;
    }
    assert_eq!(unfetched(&market).await, 0.0);
    let mut other = market.station.feed("?pos=PUMP2").await;
    paid(&market, "PUMP1", "T-1").await;
    assert_eq!(unfetched(&market).await, 1.0);
    let since = "surtidor_paid_unfetched_oldest_seconds";
    until(async || market.station.metric(since).await > 0.0).await;
    paid(&market, "PUMP2", "T-2").await;
    other.until("order_paid").await;
    assert_eq!(unfetched(&market).await, 1.0, "that of the POS that nobody follows");
    let _from_now_on = market.station.feed("").await;
    market.station.page("?wait=0").await;
    market.station.page("?pos=PUMP3&after=0&wait=0").await;
    assert_eq!(unfetched(&market).await, 1.0, "none of these was told");
    let page = market.station.page("?pos=PUMP1&after=0&wait=0").await;
    assert!(page.types().contains(&"order_paid"));
    assert_eq!(unfetched(&market).await, 0.0);
    assert_eq!(market.station.metric(since).await, 0.0);
}

#[tokio::test]
async fn a_reader_that_resumes_after_it_and_a_delivery_report_say_that_it_was_fetched() {
    let market = Market::open().await;
    for pos in ["PUMP1", "PUMP2"] {
        market.register(pos).await;
    }
    paid(&market, "PUMP1", "T-1").await;
    let seq = market.station.page("?after=0&wait=0").await.next;
    paid(&market, "PUMP1", "T-2").await;
    assert_eq!(unfetched(&market).await, 1.0, "the first was on the page");
    market.station.page(&format!("?pos=PUMP2&after={seq}&wait=0")).await;
    assert_eq!(unfetched(&market).await, 1.0);
    let dispensed = json!({"result": "dispensed"});
    market.station.put("/v1/orders/T-2/delivery", &dispensed).await;
    assert_eq!(unfetched(&market).await, 0.0);
    paid(&market, "PUMP1", "T-3").await;
    assert_eq!(unfetched(&market).await, 1.0);
    // Somebody who has the event from elsewhere, perhaps from a copy of the answer.
    let order = market.station.order("T-3").await;
    assert_eq!(order["status"], "paid");
    let newest = market.station.page("?pos=PUMP2&after=0&wait=0").await.next;
    let mut resumed = market.station.feed_from("?pos=PUMP1", Some(&newest.to_string())).await;
    assert_eq!(unfetched(&market).await, 0.0);
    paid(&market, "PUMP1", "T-4").await;
    resumed.until("order_paid").await;
    assert_eq!(unfetched(&market).await, 0.0);
}

#[tokio::test]
async fn a_product_that_nobody_speaks_of_is_counted_also_after_a_restart() {
    let mut market = Market::with(hurried(), "delivery_seconds = 1").await;
    market.register("PUMP1").await;
    let (undelivered, overdue) = ("surtidor_paid_undelivered", "surtidor_paid_overdue");
    let mut feed = market.feed().await;
    paid(&market, "PUMP1", "T-1").await;
    let count = async |market: &Market| {
        let metrics = [undelivered, overdue].map(|name| market.station.metric(name));
        let [undelivered, overdue] = metrics;
        (undelivered.await, overdue.await)
    };
    feed.until("delivery_overdue").await;
    until(async || count(&market).await == (1.0, 1.0)).await;
    drop(feed);
    market.station.restart().await;
    until(async || count(&market).await == (1.0, 1.0)).await;
    let failed = json!({"result": "failed"});
    market.station.put("/v1/orders/T-1/delivery", &failed).await;
    until(async || count(&market).await == (0.0, 0.0)).await;
}

#[tokio::test]
async fn points_of_sale_are_counted_by_state_and_by_whether_a_controller_is_there() {
    let station = Station::start().await;
    let state = |state: &str| format!("surtidor_pos_state{{state=\"{state}\"}}");
    let lacking = "surtidor_pos_without_controller";
    station.register("PUMP1").await;
    station.register_as("PUMP2", json!({"require_lease": true})).await;
    let expect = async |unavailable: f64, in_process: f64, timeout: f64, ready: f64, without: f64| {
        for (name, value) in [
            (state("unavailable").as_str(), unavailable),
            (&state("in_process"), in_process),
            (&state("timeout"), timeout),
            (&state("ready"), ready),
            (lacking, without),
        ] {
            assert_eq!(station.metric(name).await, value, "{name}");
        }
    };
    expect(2.0, 0.0, 0.0, 0.0, 1.0).await;
    station.hold_lease("PUMP2", 60).await;
    expect(2.0, 0.0, 0.0, 0.0, 0.0).await;
    station.say("PUMP1", json!({"state": "in_process"})).await;
    station.push("PUMP2", order("T-1", "100")).await;
    expect(0.0, 1.0, 0.0, 1.0, 0.0).await;
    let mut feed = station.feed("?pos=PUMP2&after=0").await;
    // Its lease lapses, and the order is withheld.
    station.hold_lease("PUMP2", 1).await;
    feed.until("state_changed").await;
    expect(0.0, 1.0, 1.0, 0.0, 1.0).await;
    station.say("PUMP1", json!({"state": "timeout"})).await;
    expect(0.0, 0.0, 2.0, 0.0, 2.0).await;
    station.hold_lease("PUMP2", 60).await;
    station.delete("/v1/pos/PUMP1").await;
    expect(0.0, 0.0, 0.0, 1.0, 0.0).await;
}

#[tokio::test]
async fn the_room_on_the_disk_is_told_from_the_start() {
    let station = Station::start().await;
    let free = station.metric("surtidor_disk_free_bytes").await;
    let log = station.metric("surtidor_log_bytes").await;
    assert!(free > 1e6, "{free}");
    assert!((8e6..100e6).contains(&log), "the ballast is there: {log}");
}

#[tokio::test]
async fn events_are_counted_by_type() {
    let station = Station::start().await;
    let events = |kind: &str| format!("surtidor_events_total{{type=\"{kind}\"}}");
    station.register("PUMP1").await;
    station.push("PUMP1", order("T-1", "100")).await;
    station.cancel("PUMP1").await;
    for (kind, count) in [
        ("pos_registered", 1.0),
        ("order_ready", 1.0),
        ("order_canceled", 1.0),
        ("refund_failed", 0.0),
    ] {
        assert_eq!(station.metric(&events(kind)).await, count, "{kind}");
    }
}

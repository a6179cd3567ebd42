//! Forged notifications, a thousand a second: the API is called no more often for them, and no customer waits for them.
//! Nor is it called more often for true ones.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::support::http::{Wire, patiently};
use crate::support::market::{Market, hurried};

const CALLS_PER_SECOND: u32 = 20;
/// A second's calls may have been saved up, and what is under way makes the calls that it still needs.
const CALLS_AT_ONCE: u64 = CALLS_PER_SECOND as u64 + 10;
const FORGERS: u64 = 20;
/// Each of them.
const FORGED_EVERY: Duration = Duration::from_millis(20);

#[tokio::test]
async fn forged_notifications_cost_a_bounded_number_of_calls_and_delay_no_order() {
    let market = Market::limited(hurried(), "", CALLS_PER_SECOND).await;
    market.register("PUMP").await;
    let mut feed = market.feed().await;
    let begun = Instant::now();
    let (forged, mut so_far) = watch::channel(0);
    let mut forgers = JoinSet::new();
    for forger in 0..FORGERS {
        forgers.spawn(forge(market.station.poller().await, forger, forged.clone()));
    }
    for (i, reference) in ["T-1", "T-2", "T-3"].into_iter().enumerate() {
        let enough = (i as u64 + 1) * 1_000;
        patiently(so_far.wait_for(|forged| *forged >= enough))
            .await
            .expect("they go on");
        market.push("PUMP", reference, "100").await;
        let customer = market.scan("PUMP").await;
        let paid = Instant::now();
        customer.pay().await;
        feed.until("order_paid").await;
        assert!(paid.elapsed() < Duration::from_secs(5), "{:?}", paid.elapsed());
    }
    forgers.shutdown().await;
    let made: u64 = market.sandbox.calls().await.expect("it answers").values().sum();
    let millis = u64::try_from(begun.elapsed().as_millis()).expect("not that long");
    let allowed = millis * u64::from(CALLS_PER_SECOND) / 1_000 + CALLS_AT_ONCE;
    assert!(made <= allowed, "{made} calls, and {allowed} are allowed");
    let name = "surtidor_api_calls_total{call=\"payment_get\",outcome=\"not_found\"}";
    assert!(
        market.station.metric(name).await > 0.0,
        "they are looked up while there is time"
    );
}

/// All that there is to look at comes at once, and is not begun at once: who pays next would wait for all those calls.
#[tokio::test]
async fn many_that_are_due_at_once_keep_to_the_rate() {
    const RATE: u32 = 4;
    const ORDERS: usize = 24;
    let market = Market::limited(hurried(), "", RATE).await;
    for i in 0..ORDERS {
        market.register(&format!("PUMP{i}")).await;
        market.push(&format!("PUMP{i}"), &format!("T-{i}"), "100").await;
    }
    let begun = Instant::now();
    for i in 0..ORDERS {
        // Each is notified of: a merchant order was opened.
        market.scan(&format!("PUMP{i}")).await;
    }
    let mut made = 0;
    // Enough to have paid for the calls of half of the looks.
    while made < ORDERS as u64 {
        made = market.sandbox.calls().await.expect("it answers").values().sum();
        let millis = u64::try_from(begun.elapsed().as_millis()).expect("not that long");
        // A second's calls were saved up, and one look makes three.
        let allowed = millis * u64::from(RATE) / 1_000 + u64::from(RATE) + 3;
        assert!(made <= allowed, "{made} calls, and {allowed} are allowed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ids that nobody gave out, neither sealed nor signed; one in four is a repeat.
async fn forge(mut wire: Wire, forger: u64, forged: watch::Sender<u64>) {
    let mut pace = interval(FORGED_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for i in 1.. {
        pace.tick().await;
        let id = (i - i % 4 / 3 * 3) * FORGERS + forger;
        let target = format!("/notifications/shop?topic=payment&id={id}");
        let head = "host: x\r\ncontent-length: 2";
        wire.send(format!("POST {target} HTTP/1.1\r\n{head}\r\n\r\n{{}}").as_bytes())
            .await;
        let reply = wire.reply().await;
        assert!(matches!(reply.status, 200 | 503), "{reply:?}");
        forged.send_modify(|forged| *forged += 1);
    }
}

//! Forged notifications, a thousand a second: the API is called no more often for them, and no customer waits for them.

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

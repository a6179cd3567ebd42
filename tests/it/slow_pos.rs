//! Points of sale about which Mercado Pago answers late: they hold up no order of another one.

use std::time::Duration;

use serde_json::json;
use surtidor::sandbox::Faults;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::support::caller::Caller;
use crate::support::market::{Market, hurried};
use crate::support::process::{long, say};
use crate::support::station::Feed;

const SLOW: usize = 500;
/// As long as they are under way, from the first of their calls on.
const ANSWER_TIME: Duration = Duration::from_secs(5);
const PUSHES: usize = 30;
/// As the server is by itself.
const CALLS_PER_SECOND: u32 = 20;

#[tokio::test]
async fn five_hundred_slow_points_of_sale_hold_up_no_other() {
    for mode in ["attended", "intent"] {
        let mut quiet = Market::limited(hurried(), "", CALLS_PER_SECOND).await;
        let mut held = Market::limited(hurried(), "", CALLS_PER_SECOND).await;
        let slow: Vec<String> = (0..SLOW).map(|number| format!("SLOW{number}")).collect();
        for market in [&quiet, &held] {
            market.register_at("PUMP4", mode).await;
        }
        for pos in &slow {
            held.register_at(pos, mode).await;
        }
        let faults = Faults {
            slow: ANSWER_TIME,
            slow_for: "SLOW".into(),
            ..Faults::default()
        };
        held.sandbox.set_faults(faults).await.expect("it runs");

        push_all(&held, &slow).await;
        compare(mode, "sent", &quiet, &held, &slow).await;
        // All that was under way is looked for, and sent again.
        for market in [&mut quiet, &mut held] {
            market.station.restart().await;
        }
        compare(mode, "sent again", &quiet, &held, &slow).await;
    }
}

/// Their calls end by our own limit, all at the same time, and are tried again: that says nothing of Mercado Pago. Only in the
/// long form, since that limit is ten seconds.
#[tokio::test]
async fn points_of_sale_that_are_never_answered_rest_the_api_for_no_other() {
    if !long() {
        return;
    }
    let market = Market::limited(hurried(), "", CALLS_PER_SECOND).await;
    let slow: Vec<String> = (0..SLOW).map(|number| format!("SLOW{number}")).collect();
    for pos in slow.iter().map(String::as_str).chain(["PUMP4"]) {
        market.register_at(pos, "intent").await;
    }
    let faults = Faults {
        slow: Duration::from_secs(60),
        slow_for: "SLOW".into(),
        ..Faults::default()
    };
    market.sandbox.set_faults(faults).await.expect("it runs");
    push_all(&market, &slow).await;
    let mut feed = market.station.feed("?pos=PUMP4").await;
    let calls = |outcome| format!(r#"surtidor_api_calls_total{{call="intent_create",outcome="{outcome}"}}"#);
    let begun = Instant::now();
    while market.station.metric(&calls("broken")).await < 500.0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "they are never given up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        market.station.metric("surtidor_api_resting").await > 0.0,
        "nobody was answered meanwhile"
    );
    // They are tried again all the while.
    for push in 0..PUSHES {
        // Whoever is refused a call waits for a second at least.
        let reference = format!("T-{push}");
        let pushed = push_once(&market, &mut feed, &reference);
        let pushed = timeout(Duration::from_secs(1), pushed).await;
        assert!(pushed.is_ok(), "push {push} was held up");
    }
    assert!(market.station.metric("surtidor_api_resting").await < 1.0, "it answers");
}

async fn push_all(market: &Market, slow: &[String]) {
    let caller = Caller::new(market.station.socket());
    let mut pushing = JoinSet::new();
    for pos in slow {
        let (caller, pos) = (caller.clone(), pos.clone());
        pushing.spawn(async move {
            let order = json!({"external_reference": format!("{pos}-1"), "amount": 5, "title": "S"});
            let pushed = caller.ask("PUT", &format!("/v1/pos/{pos}/order"), &order).await;
            assert_eq!(pushed.status, 201);
        });
    }
    pushing.join_all().await;
}

/// By turns, as a busy machine slows down both.
async fn compare(mode: &str, what: &str, quiet: &Market, held: &Market, slow: &[String]) {
    let markets = [quiet, held];
    let mut feeds = [
        quiet.station.feed("?pos=PUMP4").await,
        held.station.feed("?pos=PUMP4").await,
    ];
    let mut times = [Vec::new(), Vec::new()];
    for push in 0..PUSHES {
        let turns = markets.iter().zip(&mut feeds).zip(&mut times);
        for ((market, feed), times) in turns {
            times.push(push_once(market, feed, &format!("{}-{push}", what.replace(' ', "-"))).await);
        }
    }
    let (first, last) = (&slow[0], &slow[SLOW - 1]);
    for pos in [first, last] {
        let status = held.station.status(&format!("{pos}-1")).await;
        assert_eq!(status, "sending", "they were under way all the time");
    }
    let [quiet, held] = times.map(|mut times| {
        times.sort_unstable();
        [times[PUSHES / 2], times[PUSHES - 1]]
    });
    say(&format!(
        "{mode}, {PUSHES} pushes until order_sent: {quiet:?} alone, {held:?} beside {SLOW} that are {what}"
    ));
    // Debug builds on a machine with much to do: what would wait for one slow answer takes five seconds.
    assert!(
        held[0] <= 3 * quiet[0],
        "{:?} is more than three times {:?}",
        held[0],
        quiet[0]
    );
    assert!(held[1] < ANSWER_TIME / 2, "{:?}", held[1]);
}

async fn push_once(market: &Market, feed: &mut Feed, reference: &str) -> Duration {
    let order = json!({"external_reference": reference, "amount": 5, "title": "S"});
    let begun = Instant::now();
    assert_eq!(market.station.replace("PUMP4", &order).await, 201);
    feed.until("order_sent").await;
    begun.elapsed()
}

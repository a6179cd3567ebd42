//! What the operator sees, and what nobody may see.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::log;
use crate::support::market::Market;
use crate::support::station::{CANARIES, Setup, Station, order};

#[tokio::test]
async fn metrics_move_with_what_happens() {
    let station = Station::start().await;
    let polls = |outcome: &str| format!("surtidor_polls_total{{outcome=\"{outcome}\"}}");
    for outcome in [
        "order",
        "unavailable",
        "in_process",
        "timeout",
        "invalid",
        "not_found",
        "method_not_allowed",
        "body",
    ] {
        let metrics = station.admin("GET", "/metrics").await.text();
        assert!(
            metrics.contains(&format!("{} 0\n", polls(outcome))),
            "{outcome} is there from the start: {metrics}"
        );
    }
    station.register("PUMP1").await;
    station.register("PUMP2").await;
    station.poll("PUMP1").await;
    for state in ["in_process", "timeout"] {
        station.say("PUMP1", json!({"state": state})).await;
        station.poll("PUMP1").await;
    }
    station.poll("NOBODY").await;
    station.push("PUMP1", order("T-1", "100")).await;
    station.push("PUMP1", order("T-1", "100")).await;
    station.push("PUMP1", order("T-2", "100")).await;
    assert_eq!(
        station
            .metric("surtidor_orders_open{state=\"ready\",mode=\"unattended\"}")
            .await,
        1.0
    );
    let mut feed = station.feed("").await;
    for _ in 0..130 {
        station.poll("PUMP1").await;
    }
    feed.until("order_shown").await;
    for (name, value) in [
        (polls("order").as_str(), 130.0),
        (&polls("unavailable"), 1.0),
        (&polls("in_process"), 1.0),
        (&polls("timeout"), 1.0),
        (&polls("invalid"), 1.0),
        ("surtidor_pos", 2.0),
        ("surtidor_orders_open{state=\"ready\",mode=\"unattended\"}", 0.0),
        ("surtidor_orders_open{state=\"shown\",mode=\"unattended\"}", 1.0),
        ("surtidor_commands_total{command=\"push\",outcome=\"done\"}", 1.0),
        ("surtidor_commands_total{command=\"push\",outcome=\"unchanged\"}", 1.0),
        ("surtidor_commands_total{command=\"push\",outcome=\"refused\"}", 1.0),
        ("surtidor_control_requests_total{status=\"409\"}", 1.0),
        ("surtidor_control_problems_total{code=\"order_open\"}", 1.0),
        ("surtidor_feed_followers", 1.0),
        ("surtidor_log_full", 0.0),
        ("surtidor_log_errors_total{kind=\"failed\"}", 0.0),
        // A repeated push makes nothing durable.
        ("surtidor_push_durable_seconds_count", 1.0),
    ] {
        assert_eq!(station.metric(name).await, value, "{name}");
    }
    for name in [
        "surtidor_poll_seconds_count",
        "surtidor_commit_seconds_count",
        "surtidor_commit_commands_count",
        "process_open_fds",
    ] {
        assert!(station.metric(name).await > 0.0, "{name}");
    }
    station.cancel("PUMP1").await;
    station.delete("/v1/pos/PUMP2").await;
    assert_eq!(
        station
            .metric("surtidor_orders_open{state=\"shown\",mode=\"unattended\"}")
            .await,
        0.0
    );
    assert_eq!(station.metric("surtidor_pos").await, 1.0);
    let canceled = "surtidor_orders_ended_total{mode=\"unattended\",ending=\"canceled\"}";
    assert_eq!(station.metric(canceled).await, 1.0);
}

#[tokio::test]
async fn orders_are_counted_by_mode() {
    for mode in ["attended", "intent"] {
        let market = Market::open().await;
        market.register_at("PUMP1", mode).await;
        let unknown = json!({"account": "shop", "mode": mode, "external_store_id": "S1"});
        market.station.register_as("NOWHERE", unknown).await;
        let mut feed = market.feed().await;
        market.push("PUMP1", "T-1", "100").await;
        feed.until("order_sent").await;
        let open = |state: &str| format!("surtidor_orders_open{{state=\"{state}\",mode=\"{mode}\"}}");
        let ended = |how: &str| format!("surtidor_orders_ended_total{{mode=\"{mode}\",ending=\"{how}\"}}");
        assert_eq!(market.station.metric(&open("sending")).await, 0.0);
        assert_eq!(market.station.metric(&open("ready")).await, 1.0);
        let other = json!({"external_reference": "T-2", "amount": 7, "title": "S"});
        market.station.replace("PUMP1", &other).await;
        feed.until("order_sent").await;
        market.stand_at("PUMP1").await.pay().await;
        feed.until("order_paid").await;
        market.push("NOWHERE", "T-3", "100").await;
        feed.until("order_rejected").await;
        for (name, value) in [
            (open("ready").as_str(), 0.0),
            (&ended("replaced"), 1.0),
            (&ended("paid"), 1.0),
            (&ended("rejected"), 1.0),
            (&ended("canceled"), 0.0),
            (&format!("surtidor_order_sent_seconds_count{{mode=\"{mode}\"}}"), 2.0),
            ("surtidor_errands{state=\"waiting\"}", 0.0),
        ] {
            assert_eq!(market.station.metric(name).await, value, "{name}");
        }
    }
}

/// What `promtool check metrics` looks at, in short.
#[tokio::test]
async fn every_metric_is_described_and_well_named() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    station.push("PUMP1", order("T-1", "100")).await;
    station.poll("PUMP1").await;
    station.get("/v1/pos/NOBODY").await;
    let text = station.admin("GET", "/metrics").await.text();
    let (mut help, mut kind) = (BTreeMap::new(), BTreeMap::new());
    let mut samples = 0;
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some((name, words)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            assert!(!words.is_empty() && help.insert(name, words).is_none(), "{line}");
        } else if let Some((name, word)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            assert!(
                ["counter", "gauge", "histogram"].contains(&word) && kind.insert(name, word).is_none(),
                "{line}"
            );
            assert_eq!(name.ends_with("_total"), word == "counter", "{line}");
        } else {
            let name = line.split(['{', ' ']).next().expect("a name");
            let bare = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
                let bare = name.strip_suffix(end)?;
                (kind.get(bare) == Some(&"histogram")).then_some(bare)
            });
            let name = bare.unwrap_or(name);
            assert!(help.contains_key(name) && kind.contains_key(name), "{line}");
            assert!(name.starts_with("surtidor_") || name.starts_with("process_"), "{line}");
            let value = line.rsplit(' ').next().expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            samples += 1;
        }
    }
    assert!(samples > 100, "{samples}");
    assert!(
        !text.contains("PUMP1") && !text.contains("T-1"),
        "no label comes from outside: {text}"
    );
}

#[tokio::test]
async fn the_admin_face_answers_and_changes_nothing() {
    let station = Station::start().await;
    for (path, says) in [("/healthz", "well\n"), ("/readyz", "ready\n")] {
        let reply = station.admin("GET", path).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, says));
    }
    let plain = station.admin("GET", "/").await;
    assert!(plain.text().contains("/metrics  for Prometheus"), "{plain:?}");
    assert_eq!(station.admin("GET", "/v1/pos").await.status, 404);
    for path in ["/metrics", "/healthz", "/readyz"] {
        let refused = station.admin("POST", path).await;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    }
}

/// What it shows, `tests/browser/operator.test.mjs` sees.
#[tokio::test]
async fn a_browser_gets_a_page_that_asks_nobody_else() {
    let station = Station::start().await;
    let page = station.admin_as("text/html,application/xhtml+xml", "GET", "/").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"),
        "{policy}"
    );
    let text = page.text();
    assert!(
        !text.contains("http://") && !text.contains("https://"),
        "it names no other place"
    );
    let refused = station.admin_as("text/html", "POST", "/").await;
    assert_eq!(refused.status, 405);
}

/// Each reply of every test is looked at too; here is what no reply shows.
#[tokio::test]
async fn secrets_are_seen_nowhere() {
    let setup = Setup::default()
        .env("SURTIDOR_CONTROL__TCP", "127.0.0.1:0")
        .env("SURTIDOR_CONTROL__TOKEN", CANARIES[2])
        .env("SURTIDOR_POLL__SECRET", CANARIES[3]);
    let station = Station::with(setup).await;
    station.register("PUMP1").await;
    station.push("PUMP1", order("T-1", "100")).await;
    station.poll("PUMP1").await;
    let bearer = format!("Bearer {}", CANARIES[2]);
    station.call_tcp(Some(&bearer), "GET", "/v1/nowhere").await;
    station.admin("GET", "/metrics").await;
    log::check();
    let config = format!("{:?}", station.config());
    assert!(config.contains("178106235"), "the rest is there");
    let mut files = vec![config.into_bytes()];
    for entry in std::fs::read_dir(station.folder().join("data")).unwrap() {
        files.push(std::fs::read(entry.unwrap().path()).unwrap());
    }
    for canary in CANARIES {
        for file in &files {
            assert!(
                !file.windows(canary.len()).any(|bytes| bytes == canary.as_bytes()),
                "{canary} was written"
            );
        }
    }
}

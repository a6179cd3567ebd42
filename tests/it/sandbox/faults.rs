//! What goes wrong on command.

use std::time::Duration;

use serde_json::{Value, json};
use surtidor::sandbox::{Chance, Faults, Flavour, Proof, Settings, Status, TEST_TOKEN};

use super::{Desk, place, refused};
use crate::support::http::patiently;
use crate::support::merchant::Merchant;

/// IPN only, with its repeats at once, so that the counts are plain.
fn hurried() -> Settings {
    let settings = Settings {
        flavour: Flavour::Ipn,
        ..Settings::default()
    };
    settings.hurried(1_000_000)
}

async fn with(faults: Faults) -> (Desk, Merchant) {
    let desk = Desk::with(Settings { faults, ..hurried() });
    let merchant = Merchant::start().await;
    merchant.sells("T-1", "10.00");
    (desk, merchant)
}

#[tokio::test]
async fn an_unanswered_notification_is_repeated_then_given_up() {
    let (desk, mut merchant) = with(Faults::default()).await;
    merchant.answers(500);
    desk.sees(place(&merchant.url("/pay"))).await;
    let all = merchant.notifications(4).await;
    assert!(all.iter().all(|asked| asked.target == all[0].target));
    let ended = patiently(desk.sandbox.until_notified(|notified| notified.given_up == 1)).await;
    let ended = ended.unwrap();
    assert_eq!((ended.failed, ended.delivered, ended.waiting), (4, 0, 0));
    merchant.answers(201);
    desk.sees(place(&merchant.url("/pay"))).await;
    patiently(desk.sandbox.until_notified(|notified| notified.delivered == 1))
        .await
        .unwrap();
}

#[tokio::test]
async fn notifications_are_lost_and_repeated() {
    let (desk, mut merchant) = with(Faults {
        lose: Chance::next(1),
        repeat: 2,
        reorder: Duration::from_millis(5),
        delay: Duration::from_millis(1),
        ..Faults::default()
    })
    .await;
    let scan = desk.sees(place(&merchant.url("/pay"))).await;
    assert_eq!(desk.sandbox.notified().await.unwrap().lost, 1);
    desk.pays(scan, Status::Approved).await;
    // Two notifications, each three times.
    merchant.notifications(6).await;
    let ended = patiently(desk.sandbox.until_notified(|notified| notified.waiting == 0)).await;
    assert_eq!(ended.unwrap().delivered, 6);
}

#[tokio::test]
async fn forged_notifications_name_what_does_not_exist() {
    let (desk, mut merchant) = with(Faults::default()).await;
    desk.sandbox
        .forge(&merchant.url("/notifications/test"), 20, Proof::None)
        .await
        .unwrap();
    for asked in merchant.notifications(20).await {
        assert_eq!(asked.header("x-signature"), None);
        let id = asked.parameter("id").unwrap();
        let of = match asked.parameter("topic") {
            Some("payment") => format!("/v1/payments/{id}"),
            _ => format!("/merchant_orders/{id}"),
        };
        assert_eq!(desk.call("GET", &of, "").await.status, 404);
    }
    assert_eq!(desk.sandbox.notified().await.unwrap().forged, 20);
}

#[tokio::test]
async fn calls_fail_as_told() {
    let (desk, _merchant) = with(Faults {
        too_many: Chance::next(1),
        retry_after_seconds: 7,
        broken: Chance::next(1),
        ..Faults::default()
    })
    .await;
    let reply = desk.call("GET", "/pos", "").await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("7")));
    assert_eq!(refused(&desk.call("GET", "/pos", "").await).0, 500);
    assert_eq!(desk.call("GET", "/pos", "").await.status, 200);
    let mut failed = 0;
    let one_in = json!({"broken": {"one_in": 5}}).to_string();
    let reply = desk.call_with("POST", "/sandbox/faults", "", &one_in).await;
    assert_eq!(reply.json()["broken"], json!({"next": 0, "one_in": 5}));
    for _ in 0..100 {
        failed += u32::from(desk.call("GET", "/pos", "").await.status == 500);
    }
    assert!((5..40).contains(&failed), "{failed} with seed {}", desk.sandbox.seed());
}

#[tokio::test]
async fn a_connection_is_cut_before_or_after_the_work() {
    let (desk, merchant) = with(Faults::default()).await;
    let scan = desk.sees(place(&merchant.url("/pay"))).await;
    let payment = desk.pays(scan, Status::Approved).await.id;
    let refund = async || {
        let mut wire = desk.wire().await;
        let head = format!("Authorization: Bearer {TEST_TOKEN}\r\nX-Idempotency-Key: k\r\nContent-Length: 0");
        let request = format!("POST /v1/payments/{payment}/refunds HTTP/1.1\r\nHost: s\r\n{head}\r\n\r\n");
        wire.send(request.as_bytes()).await;
        wire.rest().await
    };
    let cut = |before, after| Faults {
        cut_before: Chance::next(before),
        cut_after: Chance::next(after),
        ..Faults::default()
    };
    desk.sandbox.set_faults(cut(1, 0)).await.unwrap();
    assert_eq!(refund().await, b"");
    assert!(desk.sandbox.refunds("T-1").await.unwrap().is_empty());
    desk.sandbox.set_faults(cut(0, 1)).await.unwrap();
    assert_eq!(refund().await, b"");
    assert_eq!(desk.sandbox.refunds("T-1").await.unwrap().len(), 1);
    assert_eq!(desk.refund(payment, "k", "").await.status, 201, "the same again");
    assert_eq!(desk.sandbox.refunds("T-1").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_stale_search_does_not_show_what_is_new() {
    let (desk, merchant) = with(Faults {
        stale: Duration::from_secs(3_600),
        ..Faults::default()
    })
    .await;
    let scan = desk.sees(place(&merchant.url("/pay"))).await;
    let payment = desk.pays(scan, Status::Approved).await;
    let search = "/merchant_orders/search?external_reference=T-1";
    assert_eq!(desk.get(search).await["elements"], Value::Null);
    let order = desk.get(&format!("/merchant_orders/{}", payment.merchant_order)).await;
    assert_eq!(order["status"], "closed", "asked for by its number it is as it is");
    desk.sandbox.set_faults(Faults::default()).await.unwrap();
    assert_eq!(desk.get(search).await["elements"][0]["status"], "closed");
}

#[tokio::test]
async fn calls_about_some_points_of_sale_are_slow() {
    let desk = Desk::start();
    for pos in ["SLOW1", "QUICK1"] {
        desk.pos(pos, "").await;
    }
    let slow = Duration::from_millis(300);
    let faults = json!({"slow_ms": 300, "slow_for": "SLOW"}).to_string();
    assert_eq!(
        desk.call("POST", "/sandbox/faults", &faults).await.json()["slow_for"],
        "SLOW"
    );
    let took = async |method: &str, target: &str, body: &str| {
        let begun = tokio::time::Instant::now();
        let reply = desk.call(method, target, body).await;
        (reply, begun.elapsed())
    };
    for (pos, is_slow) in [("SLOW1", true), ("QUICK1", false)] {
        let target = format!("/instore-api/integrations/v1/intents/qr/pos/{pos}");
        let body = format!(
            r#"{{"description":"S","external_reference":"{pos}-1","operations":[{{"type":"PURCHASE","amount":"5.00"}}]}}"#
        );
        let (made, took_to_make) = took("POST", &target, &body).await;
        let intent = made.json()["id"].as_str().unwrap().to_owned();
        let (_, took_to_read) = took("GET", &format!("/instore-api/integrations/v1/intents/{intent}/qr"), "").await;
        let search = format!("/merchant_orders/search?external_reference={pos}-1");
        let (_, took_to_search) = took("GET", &search, "").await;
        for took in [took_to_make, took_to_read, took_to_search] {
            assert_eq!(took >= slow, is_slow, "{pos}: {took:?}");
        }
    }
}

#[tokio::test]
async fn the_same_seed_spoils_the_same_calls() {
    let run = async |seed| {
        let faults = Faults {
            broken: Chance::one_in(3),
            ..Faults::default()
        };
        let desk = Desk::with(Settings {
            faults,
            seed,
            ..hurried()
        });
        let mut statuses = Vec::new();
        for _ in 0..30 {
            statuses.push(desk.call("GET", "/pos", "").await.status);
        }
        statuses
    };
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await);
}

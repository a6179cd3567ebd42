//! Scanning, paying, and what the merchant hears of it.

use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use surtidor::sandbox::{Attempt, Flavour, Outcome, Place, Refused, Screen, Settings, Status, signature};

use super::{Desk, USER, place};
use crate::support::http::patiently;
use crate::support::merchant::Merchant;

const WAITING: &str = r#"{"error":{"type":"in_process"}}"#;

#[tokio::test]
async fn a_telephone_asks_until_there_is_an_order() {
    let desk = Desk::start();
    let mut merchant = Merchant::start().await;
    desk.pos("PUMP4", &merchant.url("/pay-mp?locationId=6232&positionId=4"))
        .await;
    merchant.polls(400, WAITING);
    let scan = desk.sandbox.scan(Place::Pos("PUMP4".into())).await.unwrap();
    for _ in 0..3 {
        let poll = merchant.poll().await;
        assert_eq!(
            (poll.method.as_str(), poll.target.as_str()),
            ("GET", "/pay-mp?locationId=6232&positionId=4")
        );
    }
    let pays = |outcome| Attempt {
        scan,
        outcome,
        amount: None,
    };
    let early = desk.sandbox.pay(pays(Outcome::of(Status::Approved))).await;
    assert_eq!(early.err(), Some(Refused::NothingShown(scan)));
    merchant.sells("T-1", "1.50");
    let shown = patiently(desk.sandbox.shown(scan)).await.unwrap();
    assert!(shown.polls >= 3 && shown.last == "T-1", "{shown:?}");
    assert_eq!(desk.sandbox.violations().await.unwrap(), [""; 0]);

    // A rejected attempt leaves the order open; card names steer it.
    let rejected = desk.sandbox.pay(pays(Outcome::of_card("FUND").unwrap())).await.unwrap();
    assert_eq!(rejected.detail, "cc_rejected_insufficient_amount");
    let order = &desk.sandbox.merchant_orders("T-1").await.unwrap()[0];
    assert_eq!((order.status, order.order_status), ("opened", "payment_required"));
    desk.pays(scan, Status::Approved).await;
    let again = desk.sandbox.pay(pays(Outcome::of(Status::Approved))).await;
    assert!(matches!(again, Err(Refused::Closed(_))), "{again:?}");
}

#[tokio::test]
async fn two_that_are_approved_after_a_review_may_be_more_than_a_decimal_holds() {
    let desk = Desk::start();
    let merchant = Merchant::start().await;
    merchant.sells("T-1", "70000000000000000000000000000");
    let scan = desk.sees(place(&merchant.url("/pay"))).await;
    let (first, second) = (
        desk.pays(scan, Status::Pending).await,
        desk.pays(scan, Status::Pending).await,
    );
    for payment in [first, second] {
        desk.sandbox.finish(payment.id, Status::Approved).await.unwrap();
    }
    let order = &desk.sandbox.merchant_orders("T-1").await.unwrap()[0];
    assert_eq!((order.status, order.paid), ("closed", Decimal::MAX));
}

#[tokio::test]
async fn a_telephone_gives_up_and_a_customer_leaves() {
    let desk = Desk::with(Settings {
        poll_for: Duration::from_millis(20),
        ..Settings::default()
    });
    let merchant = Merchant::start().await;
    let scan = desk.sandbox.scan(place(&merchant.url("/pay"))).await.unwrap();
    assert_eq!(patiently(desk.sandbox.shown(scan)).await.unwrap().screen, Screen::Over);
    merchant.sells("T-1", "1.50");
    let scan = desk.sees(place(&merchant.url("/pay"))).await;
    desk.sandbox.leave(scan).await.unwrap();
    let attempt = Attempt {
        scan,
        outcome: Outcome::of(Status::Approved),
        amount: None,
    };
    assert_eq!(desk.sandbox.pay(attempt).await.err(), Some(Refused::Over(scan)));
    let nobody = desk.sandbox.scan(Place::Pos("NONE".into())).await;
    assert!(matches!(nobody, Err(Refused::Unknown { .. })));
}

#[tokio::test]
async fn two_customers_at_one_pump_have_two_merchant_orders() {
    let desk = Desk::start();
    let merchant = Merchant::start().await;
    merchant.sells("T-1", "10.00");
    let [one, two] = [
        desk.sees(place(&merchant.url("/pay"))).await,
        desk.sees(place(&merchant.url("/pay"))).await,
    ];
    for scan in [one, two] {
        desk.pays(scan, Status::Approved).await;
    }
    let orders = desk.sandbox.merchant_orders("T-1").await.unwrap();
    assert_eq!(
        orders.iter().map(|order| order.status).collect::<Vec<_>>(),
        ["closed", "closed"]
    );
    assert_eq!(desk.sandbox.payments("t-1").await.unwrap().len(), 2);
}

#[tokio::test]
async fn sums_and_states_follow_the_payments() {
    let desk = Desk::start();
    let merchant = Merchant::start().await;
    merchant.sells("T-1", "100.00");
    let scan = desk.sees(place(&merchant.url("/pay"))).await;
    let stands = async || {
        let order = desk.sandbox.merchant_orders("T-1").await.unwrap().remove(0);
        (order.status, order.order_status, order.paid.to_string())
    };
    let part = Attempt {
        scan,
        outcome: Outcome::of(Status::Approved),
        amount: Some(Decimal::new(4000, 2)),
    };
    let first = desk.sandbox.pay(part).await.unwrap();
    assert_eq!(stands().await, ("opened", "partially_paid", "40.00".into()));
    let pending = desk.pays(scan, Status::Pending).await;
    assert_eq!(pending.amount, Decimal::new(6000, 2), "what is left");
    assert_eq!(stands().await, ("opened", "payment_in_process", "40.00".into()));
    desk.sandbox.finish(pending.id, Status::Approved).await.unwrap();
    assert_eq!(stands().await, ("closed", "paid", "100.00".into()));
    assert!(
        desk.sandbox.finish(pending.id, Status::Approved).await.is_err(),
        "it has ended"
    );
    // By Mercado Pago's own definition a charged back payment counts as paid.
    desk.sandbox.charge_back(first.id).await.unwrap();
    assert_eq!(stands().await, ("closed", "paid", "60.00".into()));
    desk.sandbox.refund_from_outside(pending.id, None).await.unwrap();
    assert_eq!(stands().await, ("closed", "reverted", "0".into()));
}

#[tokio::test]
async fn answers_to_polls_are_read_strictly() {
    let desk = Desk::start();
    let merchant = Merchant::start().await;
    let order = |item: &str, more: &str| {
        format!(
            r#"{{"collector_id":178106235,"items":[{{"title":"S","description":"D","currency_id":"ARS","quantity":1,
            "unit_price":1.50{item}}}],"external_reference":"T-1"{more}}}"#
        )
    };
    let json = "Content-Type: application/json\r\n";
    let third = "Content-Type: application/json\r\norder-version: 2\r\n";
    // Each is a decimal, and their sum is none.
    let item = r#"{"title":"S","quantity":1,"unit_measure":"unit","unit_price":7e28,"total_amount":7e28}"#;
    let huge = format!(
        r#"{{"external_reference":"T-1","total_amount":7e28,"items":[{item},{item}],"title":"S","description":"D"}}"#
    );
    for (status, headers, body, said) in [
        (200, "", order("", ""), "Content-Type"),
        (503, json, "{}".into(), "HTTP 503"),
        (400, json, r#"{"error":{"type":"later"}}"#.into(), "error.type is not"),
        (400, json, r#"{"type":"timeout"}"#.into(), "error is missing"),
        (
            202,
            json,
            r#"{"status":{"status_detail":"nothing_to_pay"}}"#.into(),
            "status_detail is not",
        ),
        (
            200,
            json,
            order("", r#","total_amount":1.5"#),
            "total_amount is not a known member",
        ),
        (200, json, order(r#","litres":1"#, ""), "items.litres is not a known"),
        (
            200,
            json,
            order("", "").replace("1.50", "\"1.50\""),
            "items.unit_price is not",
        ),
        (
            200,
            json,
            order("", "").replace("1.50", "1.505"),
            "more than 2 decimals",
        ),
        (
            200,
            json,
            order("", "").replace(":1,", ":1.5,"),
            "items.quantity is not",
        ),
        (200, json, order("", "").replace("ARS", "BRL"), "currency_id is not ARS"),
        (
            200,
            json,
            order("", "").replace("178106235", "1"),
            "collector_id is not 178106235",
        ),
        (200, json, order("", "").replace("T-1", "T 1"), "special characters"),
        (
            200,
            json,
            order("", "").replace("\"description\":\"D\",", ""),
            "items.description is missing",
        ),
        (
            200,
            json,
            order("", r#","notification_url":"ftp://x""#),
            "notification_url is not",
        ),
        (200, third, order("", ""), "total_amount is missing"),
        (200, third, huge.clone(), "the items' sum is beyond all reason"),
        (
            200,
            "Content-Type: application/json\r\norder-version: 3\r\n",
            order("", ""),
            "order-version",
        ),
    ] {
        merchant.polls_with(status, headers, &body);
        let scan = desk.sandbox.scan(place(&merchant.url("/pay"))).await.unwrap();
        patiently(async {
            while !desk.sandbox.scanned(scan).await.unwrap().last.contains(said) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        desk.sandbox.leave(scan).await.unwrap();
    }
    assert!(desk.sandbox.merchant_orders("T-1").await.unwrap().is_empty());
    assert!(desk.sandbox.violations().await.unwrap().len() >= 17, "each is kept");
}

#[tokio::test]
async fn the_newest_dialect_is_understood_and_never_mixed() {
    let desk = Desk::start();
    let merchant = Merchant::start().await;
    merchant.polls(202, r#"{"status":{"status_detail":"Waiting_for_order"}}"#);
    let scan = desk.sandbox.scan(place(&merchant.url("/pay"))).await.unwrap();
    let said = async |word: &str| {
        patiently(async {
            while !desk.sandbox.scanned(scan).await.unwrap().last.contains(word) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    said("Waiting_for_order").await;
    merchant.polls(400, WAITING);
    said("two dialects").await;
    let order = r#"{"external_reference":"T-2","total_amount":3.00,"items":[{"sku_number":"A","category":"fuel","title":"S",
        "description":"D","quantity":2,"unit_measure":"unit","unit_price":1.50,"total_amount":3.00}],"title":"Pump","description":"D"}"#;
    merchant.polls_with(200, "Content-Type: application/json\r\norder-version: 2\r\n", order);
    let shown = patiently(desk.sandbox.shown(scan)).await.unwrap();
    assert_eq!(shown.last, "T-2");
    let order = &desk.sandbox.merchant_orders("T-2").await.unwrap()[0];
    assert_eq!(order.order.total, Decimal::new(300, 2));
}

#[tokio::test]
async fn notifications_have_their_documented_shapes() {
    let desk = Desk::start();
    let mut merchant = Merchant::start().await;
    merchant.sells("T-1", "10.00");
    let scan = desk.sees(place(&merchant.url("/pay"))).await;
    let order = desk.sandbox.merchant_orders("T-1").await.unwrap()[0].id.to_string();
    let opened = merchant.notifications(2).await;
    let is_ipn = |asked: &&crate::support::merchant::Asked| asked.parameter("topic").is_some();
    let ipn = opened.iter().find(is_ipn).unwrap();
    assert_eq!(
        ipn.target,
        format!("/notifications/test?mine=1&topic=merchant_order&id={order}")
    );
    let resource = format!("https://api.mercadolibre.com/merchant_orders/{order}");
    assert_eq!(ipn.json(), json!({"resource": resource, "topic": "merchant_order"}));
    assert!(
        ipn.header("x-signature")
            .is_some_and(|header| header.starts_with("ts="))
    );
    let webhook = opened.iter().find(|asked| !is_ipn(asked)).unwrap();
    assert_eq!(
        webhook.target,
        "/notifications/test?mine=1&type=topic_merchant_order_wh"
    );
    let body = webhook.json();
    assert_eq!(
        (&body["id"], &body["action"], &body["status"]),
        (&json!(order), &json!("create"), &json!("opened"))
    );
    assert_eq!((&body["user_id"], body["data"].get("id")), (&json!(USER), None));
    assert_signed(webhook, None);

    let payment = desk.pays(scan, Status::Approved).await.id.to_string();
    let paid = merchant.notifications(4).await;
    let webhook = paid
        .iter()
        .find(|asked| asked.parameter("type") == Some("payment"))
        .unwrap();
    assert_eq!(webhook.parameter("data.id"), Some(payment.as_str()));
    assert_eq!(
        (&webhook.json()["action"], &webhook.json()["data"]),
        (&json!("payment.created"), &json!({"id": payment}))
    );
    assert_signed(webhook, Some(&payment));
    let closed = paid
        .iter()
        .find(|asked| asked.parameter("type") == Some("topic_merchant_order_wh"))
        .unwrap();
    assert_eq!(
        (&closed.json()["action"], &closed.json()["status"]),
        (&json!("update"), &json!("closed"))
    );
    assert!(paid.iter().any(|asked| asked.parameter("topic") == Some("payment")));
}

/// By the test secret, over what the request itself says.
fn assert_signed(asked: &crate::support::merchant::Asked, data_id: Option<&str>) {
    let header = asked.header("x-signature").unwrap();
    let ts = header.strip_prefix("ts=").unwrap().split(',').next().unwrap();
    assert_eq!(ts.len(), 13, "milliseconds");
    let again = signature(
        surtidor::sandbox::TEST_SECRET,
        data_id,
        asked.header("x-request-id"),
        ts,
    );
    assert_eq!(again, header);
}

#[tokio::test]
async fn one_flavour_can_be_asked_for() {
    let desk = Desk::with(Settings {
        flavour: Flavour::Ipn,
        ..Settings::default()
    });
    let mut merchant = Merchant::start().await;
    merchant.sells("T-1", "10.00");
    let scan = desk.sees(place(&merchant.url("/pay"))).await;
    desk.pays(scan, Status::Rejected).await;
    for asked in merchant.notifications(3).await {
        assert!(asked.parameter("topic").is_some(), "{asked:?}");
    }
    patiently(
        desk.sandbox
            .until_notified(|notified| notified.delivered == 3 && notified.waiting == 0),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn an_order_put_on_a_pos_is_what_a_scan_sees() {
    let desk = Desk::start();
    desk.pos("PUMP4", "").await;
    let orders = format!("/instore/qr/seller/collectors/{USER}/stores/S1/pos/PUMP4/orders");
    let body = r#"{"external_reference":"T-9","title":"t","description":"d","total_amount":5.25,
        "items":[{"title":"S","unit_price":5.25,"quantity":1,"unit_measure":"unit","total_amount":5.25}]}"#;
    let scan = desk.sandbox.scan(Place::Pos("PUMP4".into())).await.unwrap();
    assert_eq!(desk.sandbox.scanned(scan).await.unwrap().screen, Screen::Waiting);
    assert_eq!(desk.call("PUT", &orders, body).await.status, 204);
    patiently(desk.sandbox.shown(scan)).await.unwrap();
    desk.pays(scan, Status::Rejected).await;
    let of = orders.replace("/stores/S1", "");
    assert_eq!(desk.get(&of).await[0]["external_reference"], "T-9", "still there");
    desk.pays(scan, Status::Approved).await;
    assert_eq!(
        desk.call("GET", &of, "").await.status,
        404,
        "a paid order leaves the POS"
    );
}

#[tokio::test]
async fn an_intent_is_closed_by_its_payment_and_told_once() {
    let mut merchant = Merchant::start().await;
    let desk = Desk::with(Settings {
        dashboard_url: Some(merchant.url("/notifications/test")),
        ..Settings::default()
    });
    desk.pos("PUMP4", "").await;
    let body = r#"{"description":"Pump 4","external_reference":"T-7","operations":[{"type":"PURCHASE","items":[
        {"title":"S","quantity":2,"unit_measure":"UNIT","unit_price":"7.25","total_amount":"14.50"}]}],
        "enabler_configuration":{"qr_payment_mode":["STATIC","DYNAMIC"]}}"#;
    let made = desk
        .call("POST", "/instore-api/integrations/v1/intents/qr/pos/PUMP4", body)
        .await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let scan = desk.sees(Place::Pos("PUMP4".into())).await;
    let payment = desk.pays(scan, Status::Approved).await;
    assert_eq!(payment.amount, Decimal::new(1450, 2));
    let told = merchant.notification().await;
    assert_eq!(
        told.target,
        format!("/notifications/test?data.id={id}&type=topic_instore_integration_wh")
    );
    let body = told.json();
    assert_eq!(body["action"], "topic_instore_integration_wh.application.authorized");
    assert_eq!(
        (&body["data"]["status"], &body["data"]["id"]),
        (&json!("CLOSED"), &json!(id))
    );
    assert!(body["data"]["qr"]["data"].is_string() && body["data"]["url"].is_string());
    assert_eq!(
        body["date_created"].as_str().unwrap().len(),
        "2026-07-27 20:24:21.776642198-0400".len()
    );
    assert_signed(&told, Some(&id));
    let read = desk.get(&format!("/instore-api/integrations/v1/intents/{id}/qr")).await;
    assert_eq!(
        read["operations"][0]["results"],
        json!([{"id": payment.id, "source": "PAYMENT"}])
    );
    let notified = desk.sandbox.notified().await.unwrap();
    assert_eq!(
        notified.delivered + notified.waiting,
        1,
        "of an intent nothing else is told"
    );
}

#[tokio::test]
async fn an_intent_that_nobody_pays_expires_and_is_told_of() {
    let mut merchant = Merchant::start().await;
    let desk = Desk::with(Settings {
        dashboard_url: Some(merchant.url("/notifications/test")),
        intent_life: Duration::from_millis(50),
        ..Settings::default()
    });
    desk.pos("PUMP4", "").await;
    let intents = "/instore-api/integrations/v1/intents/qr/pos/PUMP4";
    let body = r#"{"description":"S","external_reference":"T-7","operations":[{"type":"PURCHASE","amount":"5.00"}]}"#;
    let made = desk.call("POST", intents, body).await;
    assert_eq!(
        (made.status, desk.sandbox.standing("PUMP4").await.unwrap()),
        (201, Some("T-7".into()))
    );
    assert_eq!(desk.call("POST", intents, body).await.status, 409);
    assert_eq!(merchant.notification().await.json()["data"]["status"], "EXPIRED");
    assert_eq!(desk.sandbox.standing("PUMP4").await.unwrap(), None);
    assert_eq!(desk.call("POST", intents, body).await.status, 201);
    let placed = desk.sandbox.placed("t-7").await.unwrap();
    let states: Vec<_> = placed.iter().map(|one| one.intent.as_ref().unwrap().status).collect();
    assert_eq!(states, ["EXPIRED", "OPENED"], "what was refused was not put there");
}

#[tokio::test]
async fn the_control_calls_do_what_the_methods_do() {
    let desk = Desk::start();
    let merchant = Merchant::start().await;
    merchant.sells("T-1", "10.00");
    let post = async |command: &str, body: Value| {
        let reply = desk
            .call_with("POST", &format!("/sandbox/{command}"), "", &body.to_string())
            .await;
        (reply.status, reply.json())
    };
    let (status, scan) = post("scan", json!({"url": merchant.url("/pay")})).await;
    assert_eq!((status, &scan["screen"]), (200, &json!("waiting")));
    let scan = scan["id"].as_u64().unwrap();
    patiently(desk.sandbox.shown(scan)).await.unwrap();
    let shown = desk.get(&format!("/sandbox/scans/{scan}")).await;
    assert_eq!((&shown["screen"], &shown["last"]), (&json!("order"), &json!("T-1")));
    let (_, payment) = post("pay", json!({"scan": scan, "outcome": "in_process", "amount": "4.00"})).await;
    let id = payment["id"].clone();
    assert_eq!(
        (&payment["status"], &payment["transaction_amount"]),
        (&json!("in_process"), &json!(4.00))
    );
    assert_eq!(
        post("finish", json!({"payment": id, "outcome": "approved"})).await.1["status"],
        "approved"
    );
    assert_eq!(
        post("refund", json!({"payment": id, "amount": 1.5})).await.1["status"],
        "approved"
    );
    assert_eq!(
        post("mediate", json!({"payment": id})).await.1["status"],
        "in_mediation"
    );
    assert_eq!(
        post("charge_back", json!({"payment": id})).await.1["status"],
        "charged_back"
    );
    assert_eq!(
        post("pay", json!({"scan": scan, "card": "OTHE"})).await.1["status"],
        "rejected"
    );
    assert_eq!(post("leave", json!({"scan": scan})).await.1["screen"], "over");
    for (command, body, status) in [
        ("pay", json!({"scan": scan}), 409),
        ("pay", json!({"scan": 99}), 404),
        ("pay", json!({}), 400),
        ("scan", json!({}), 400),
        ("finish", json!({"payment": id, "outcome": "maybe"}), 400),
        ("faults", json!({"lose": 5}), 400),
        ("nothing", json!({}), 400),
    ] {
        assert_eq!(post(command, body.clone()).await.0, status, "{command} {body}");
    }
    assert_eq!(desk.call_with("GET", "/sandbox/none", "", "").await.status, 404);
    let state = desk.get("/sandbox/state").await;
    assert_eq!(state["merchant_orders"][0]["external_reference"], "T-1");
    assert_eq!(state["violations"], json!([]));
    let page = desk.get("/sandbox/events?after=0&wait=0").await;
    assert_eq!(page["events"][0]["kind"], "scanned");
    let next = page["next"].as_u64().unwrap();
    assert!(desk.get(&format!("/sandbox/events?after={next}&wait=0")).await["events"].is_array());
}

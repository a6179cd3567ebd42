//! What becomes of an order's money, from the customer's telephone to the controller's feed. The API is the simulated
//! Mercado Pago's, over its socket.

use serde_json::{Value, json};
use surtidor::sandbox::{Chance, Faults, Settings, Status};

use crate::support::market::{Market, hurried};

/// Of the events until one of `last`, the types.
async fn kinds(feed: &mut crate::support::station::Feed, last: &str) -> Vec<String> {
    let mut kinds = Vec::new();
    loop {
        let event = feed.next().await;
        kinds.push(event.kind.clone());
        if event.kind == last {
            return kinds;
        }
    }
}

async fn until(feed: &mut crate::support::station::Feed, kind: &str) -> Value {
    feed.until(kind).await.data
}

/// A market in which no notification arrives.
async fn deaf() -> Market {
    let faults = Faults {
        lose: Chance::one_in(1),
        ..Faults::default()
    };
    Market::with(Settings { faults, ..hurried() }, "").await
}

#[tokio::test]
async fn an_order_is_paid_and_the_controller_is_told() {
    let market = Market::open().await;
    market.register("PUMP").await;
    let mut feed = market.feed().await;
    market.push("PUMP", "T-1", "18525.50").await;
    let customer = market.scan("PUMP").await;
    let payment = customer.pay().await;
    let paid = until(&mut feed, "order_paid").await;
    assert_eq!(paid["external_reference"], "T-1");
    assert_eq!(paid["payments"][0]["id"], payment.id);
    assert_eq!(paid["payments"][0]["amount"], "18525.50");
    assert_eq!(paid["payments"][0]["merchant_order"], customer.merchant_order);
    assert_eq!(market.station.poll("PUMP").await.json()["error"]["type"], "unavailable");
    assert_eq!(market.station.status("T-1").await, "paid");
    market.no_violations().await;
}

#[tokio::test]
async fn a_rejected_payment_leaves_the_order_and_a_pending_one_is_told() {
    let market = Market::open().await;
    market.register("PUMP").await;
    let mut feed = market.feed().await;
    market.push("PUMP", "T-1", "100").await;
    let customer = market.scan("PUMP").await;
    let rejected = customer.attempt(Status::Rejected, None).await;
    assert_eq!(until(&mut feed, "payment_rejected").await["payment"], rejected.id);
    assert_eq!(market.station.poll("PUMP").await, 200, "the customer may try again");
    let pending = customer.attempt(Status::Pending, None).await;
    assert_eq!(until(&mut feed, "payment_pending").await["payment"], pending.id);
    market
        .sandbox
        .finish(pending.id, Status::Approved)
        .await
        .expect("it was pending");
    assert_eq!(until(&mut feed, "order_paid").await["payments"][0]["id"], pending.id);
}

#[tokio::test]
async fn parts_add_up() {
    let market = Market::open().await;
    market.register("PUMP").await;
    let mut feed = market.feed().await;
    market.push("PUMP", "T-1", "100").await;
    let customer = market.scan("PUMP").await;
    customer.pay_part("40").await;
    let partial = until(&mut feed, "payment_partial").await;
    assert_eq!(partial["payments"][0]["amount"], "40.00");
    customer.pay_part("60").await;
    let paid = until(&mut feed, "order_paid").await;
    assert_eq!(paid["payments"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn of_two_customers_the_second_gets_the_money_back() {
    for (policy, action) in [("report", "report"), ("refund", "refund"), ("accept", "refund")] {
        let market = Market::with(hurried(), &format!("late_payment = \"{policy}\"")).await;
        market.register("PUMP").await;
        let mut feed = market.feed().await;
        market.push("PUMP", "T-1", "100").await;
        let (first, second) = (market.scan("PUMP").await, market.scan("PUMP").await);
        assert_ne!(first.merchant_order, second.merchant_order);
        first.pay().await;
        until(&mut feed, "order_paid").await;
        let twice = second.pay().await;
        let over = until(&mut feed, "overpaid").await;
        assert_eq!(
            (over["action"].as_str(), over["excess"].as_str()),
            (Some(action), Some("100.00"))
        );
        if action == "refund" {
            let done = until(&mut feed, "refund_done").await;
            assert_eq!(done["refunds"][0]["payment"], twice.id);
            let refunds = market.refunds("T-1").await;
            assert_eq!(refunds.len(), 1, "once");
            assert_eq!(done["refunds"][0]["id"], refunds[0].id);
        } else {
            assert!(market.refunds("T-1").await.is_empty());
        }
        let order = market.station.order("T-1").await;
        assert_eq!(order["status"], "paid");
        assert_eq!(order["payments"].as_array().map(Vec::len), Some(2));
    }
}

#[tokio::test]
async fn money_for_an_order_that_ended_is_late_and_goes_by_the_policy() {
    for (policy, told) in [
        ("report", &["late_payment"][..]),
        ("refund", &["late_payment", "refund_requested", "refund_done"]),
        ("accept", &["order_paid"]),
    ] {
        for ending in ["cancel", "replace"] {
            let market = Market::with(hurried(), &format!("late_payment = \"{policy}\"")).await;
            market.register("PUMP").await;
            let mut feed = market.feed().await;
            market.push("PUMP", "T-1", "100").await;
            let customer = market.scan("PUMP").await;
            // That it was shown is told later than the telephone knows it, and not at all once it has ended.
            until(&mut feed, "order_shown").await;
            let ended = if ending == "cancel" {
                assert_eq!(market.station.cancel("PUMP").await, 204);
                "order_canceled"
            } else {
                let order = json!({"external_reference": "T-2", "amount": "7", "title": "SUPER"});
                assert_eq!(market.station.replace("PUMP", order).await, 201);
                "order_ready"
            };
            until(&mut feed, ended).await;
            customer.pay().await;
            let last = told.last().expect("something is told");
            assert_eq!(kinds(&mut feed, last).await, told, "{policy} after {ending}");
            let refunded = market.refunds("T-1").await.len();
            assert_eq!(refunded, usize::from(policy == "refund"), "{policy} after {ending}");
            let order = market.station.order("T-1").await;
            let paid = order["payments"][0]["status"].as_str();
            assert_eq!(paid, Some(if refunded == 1 { "refunded" } else { "approved" }));
        }
    }
}

#[tokio::test]
async fn a_payment_whose_notifications_are_lost_is_found() {
    let market = deaf().await;
    market.register("PUMP").await;
    let mut feed = market.feed().await;
    market.push("PUMP", "T-1", "100").await;
    let customer = market.scan("PUMP").await;
    customer.pay().await;
    let begun = std::time::Instant::now();
    until(&mut feed, "order_paid").await;
    assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_last_look_before_expiry_finds_the_payment() {
    let market = deaf().await;
    market.register("PUMP").await;
    let mut feed = market.feed().await;
    let order = |reference: &str| json!({"external_reference": reference, "amount": "5", "title": "X", "expires_in_seconds": 2});
    market.push_as("PUMP", order("T-1")).await;
    market.scan("PUMP").await.pay().await;
    assert_eq!(
        kinds(&mut feed, "order_paid").await,
        ["pos_registered", "order_ready", "order_shown", "order_paid"]
    );
    market.push_as("PUMP", order("T-2")).await;
    market.scan("PUMP").await;
    assert_eq!(
        kinds(&mut feed, "order_expired").await,
        ["order_ready", "order_shown", "order_expired"]
    );
}

#[tokio::test]
async fn an_order_expires_though_mercado_pago_does_not_answer() {
    let down = Faults {
        broken: Chance::one_in(1),
        ..Faults::default()
    };
    let market = Market::open().await;
    market.register("PUMP").await;
    let mut feed = market.feed().await;
    let order = json!({"external_reference": "T-1", "amount": "5", "title": "X", "expires_in_seconds": 1});
    market.push_as("PUMP", order).await;
    market.sandbox.set_faults(down).await.expect("faults");
    let begun = std::time::Instant::now();
    until(&mut feed, "order_expired").await;
    let took = begun.elapsed().as_secs();
    assert!((9..14).contains(&took), "it waits for ten seconds, not {took}");
    assert_eq!(market.station.poll("PUMP").await, 400);
}

#[tokio::test]
async fn a_chargeback_and_a_refund_from_outside_are_told() {
    let market = Market::open().await;
    market.register("PUMP").await;
    let mut feed = market.feed().await;
    market.push("PUMP", "T-1", "100").await;
    let payment = market.scan("PUMP").await.pay().await;
    until(&mut feed, "order_paid").await;
    let part = Some("30".parse().expect("an amount"));
    market
        .sandbox
        .refund_from_outside(payment.id, part)
        .await
        .expect("it is paid");
    let reversed = until(&mut feed, "payment_reversed").await;
    assert_eq!(reversed["payments"][0]["reversed"], "30.00");
    market.sandbox.charge_back(payment.id).await.expect("it is paid");
    let reversed = until(&mut feed, "payment_reversed").await;
    assert_eq!(reversed["payments"][0]["status"], "charged_back");
    assert_eq!(market.station.status("T-1").await, "paid", "history does not change");
}

#[tokio::test]
async fn a_product_that_did_not_come_out_is_paid_back_once() {
    let market = Market::open().await;
    market.register("PUMP").await;
    let mut feed = market.feed().await;
    market.push("PUMP", "T-1", "100").await;
    market.scan("PUMP").await.pay().await;
    until(&mut feed, "order_paid").await;
    let failed = json!({"result": "failed", "amount": "30", "reason": "nozzle"});
    for _ in 0..2 {
        assert_eq!(market.station.put("/v1/orders/T-1/delivery", &failed).await, 200);
    }
    assert_eq!(
        kinds(&mut feed, "refund_done").await,
        ["delivery_reported", "refund_requested", "refund_done"]
    );
    let refunds = market.refunds("T-1").await;
    assert_eq!(
        (refunds.len(), refunds[0].amount.normalize().to_string().as_str()),
        (1, "30")
    );
}

#[tokio::test]
async fn silence_after_paid_is_an_alarm() {
    let market = Market::with(hurried(), "delivery_seconds = 1").await;
    market.register("PUMP").await;
    let mut feed = market.feed().await;
    for (reference, speaks) in [("T-1", true), ("T-2", false)] {
        market.push("PUMP", reference, "100").await;
        market.scan("PUMP").await.pay().await;
        until(&mut feed, "order_paid").await;
        if speaks {
            let report = json!({"result": "dispensed"});
            assert_eq!(
                market
                    .station
                    .put(&format!("/v1/orders/{reference}/delivery"), report)
                    .await,
                200
            );
        }
    }
    let overdue = until(&mut feed, "delivery_overdue").await;
    assert_eq!(overdue["external_reference"], "T-2");
}

#[tokio::test]
async fn refunds_are_made_once_though_answers_are_lost() {
    let market = Market::with(hurried(), "late_payment = \"refund\"").await;
    market.register("PUMP").await;
    let mut feed = market.feed().await;
    market.push("PUMP", "T-1", "100").await;
    let customer = market.scan("PUMP").await;
    assert_eq!(market.station.cancel("PUMP").await, 204);
    let cut = Faults {
        cut_after: Chance::one_in(2),
        ..Faults::default()
    };
    market.sandbox.set_faults(cut).await.expect("faults");
    customer.pay().await;
    until(&mut feed, "refund_done").await;
    assert_eq!(market.refunds("T-1").await.len(), 1);
}

#[tokio::test]
async fn what_was_under_way_goes_on_after_a_restart() {
    let mut market = Market::with(hurried(), "late_payment = \"refund\"").await;
    market.register("PUMP").await;
    market.push("PUMP", "T-1", "100").await;
    let down = Faults {
        broken: Chance::one_in(1),
        ..Faults::default()
    };
    let first = market.scan("PUMP").await;
    let second = market.scan("PUMP").await;
    market.sandbox.set_faults(down).await.expect("faults");
    first.pay().await;
    second.pay().await;
    // Notified of both, and able to ask about none.
    market
        .sandbox
        .until_notified(|notified| notified.delivered >= 4)
        .await
        .expect("it answers");
    market.station.restart().await;
    market.sandbox.set_faults(Faults::default()).await.expect("faults");
    let mut feed = market.feed().await;
    until(&mut feed, "order_paid").await;
    until(&mut feed, "refund_done").await;
    assert_eq!(market.refunds("T-1").await.len(), 1);
}

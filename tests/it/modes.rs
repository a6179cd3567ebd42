//! Orders that we put at Mercado Pago: in the attended model and as intents, each the same to the controller.

use std::time::Duration;

use serde_json::{Value, json};
use surtidor::domain::command::Command;
use surtidor::domain::id::IntentId;
use surtidor::domain::order::CancelReason;
use surtidor::domain::text::Text;
use surtidor::sandbox::{Chance, Faults, Settings, Status};
use tokio::time::Instant;

use crate::support::golden::{golden, timeless};
use crate::support::learn::reference;
use crate::support::market::{Market, hurried};
use crate::support::station::{Feed, Setup, Station, order};
use crate::support::{NOBODY, api};

const MODES: [&str; 2] = ["attended", "intent"];

/// A market with one POS of the mode, and its feed.
async fn market(mode: &str) -> (Market, Feed) {
    let market = Market::open().await;
    market.register_at("PUMP4", mode).await;
    let feed = market.feed().await;
    (market, feed)
}

async fn sent(market: &Market, feed: &mut Feed, reference: &str, amount: &str) -> Value {
    market.push("PUMP4", reference, amount).await;
    let sending = feed.until("order_sending").await.data;
    assert_eq!(sending["external_reference"], reference);
    feed.until("order_sent").await.data
}

#[tokio::test]
async fn an_order_is_sent_and_paid() {
    for mode in MODES {
        let (market, mut feed) = market(mode).await;
        let order =
            json!({"external_reference": "T-1", "amount": "18525.50", "title": "SUPER", "metadata": {"nozzle": 4}});
        let pushed = market.station.push("PUMP4", &order).await;
        assert_eq!(pushed.status, 201);
        assert_eq!(pushed.json()["status"], "sending", "{mode}");
        let sent = feed.until("order_sent").await.data;
        assert_eq!(sent["metadata"], json!({"nozzle": 4}));
        assert_eq!(sent["intent"].is_string(), mode == "intent");
        assert_eq!(market.station.status("T-1").await, "ready");
        assert_eq!(market.station.pos("PUMP4").await["state"], "ready");
        assert_eq!(
            market.station.poll("PUMP4").await.json()["error"]["type"],
            "unavailable"
        );
        let customer = market.stand_at("PUMP4").await;
        let payment = customer.pay().await;
        let paid = feed.until("order_paid").await.data;
        assert_eq!(paid["payments"][0]["id"], payment.id, "{mode}");
        assert_eq!(paid["payments"][0]["merchant_order"], customer.merchant_order);
        let order = market.station.order("T-1").await;
        assert_eq!((&order["status"], &order["mode"]), (&json!("paid"), &json!(mode)));
        market.no_violations().await;
    }
}

#[tokio::test]
async fn a_cancel_is_confirmed_by_mercado_pago() {
    for mode in MODES {
        let (market, mut feed) = market(mode).await;
        sent(&market, &mut feed, "T-1", "100").await;
        assert_eq!(market.station.cancel("PUMP4").await, 204, "{mode}");
        feed.until("order_canceling").await;
        assert_eq!(feed.until("order_canceled").await.data["external_reference"], "T-1");
        assert_eq!(market.station.cancel("PUMP4").await, 204, "again");
        // The place is free.
        sent(&market, &mut feed, "T-2", "50").await;
        market.stand_at("PUMP4").await.pay().await;
        assert_eq!(feed.until("order_paid").await.data["external_reference"], "T-2");
        let late = market.station.cancel("PUMP4").await;
        assert_eq!((late.status, late.json()["code"].clone()), (409, json!("order_paid")));
        market.no_violations().await;
    }
}

#[tokio::test]
async fn a_cancel_that_comes_too_late_finds_the_payment() {
    for mode in MODES {
        let faults = Faults {
            lose: Chance::one_in(1),
            ..Faults::default()
        };
        let (market, mut feed) = market(mode).await;
        market.sandbox.set_faults(faults).await.expect("it runs");
        sent(&market, &mut feed, "T-1", "100").await;
        market.stand_at("PUMP4").await.pay().await;
        let late = market.station.cancel("PUMP4").await;
        assert_eq!(
            (late.status, late.json()["code"].clone()),
            (409, json!("order_paid")),
            "{mode}"
        );
        feed.until("order_paid").await;
    }
}

#[tokio::test]
async fn what_mercado_pago_does_not_take_is_told_in_its_words() {
    for mode in MODES {
        let market = Market::open().await;
        let more = json!({"account": "shop", "mode": mode, "external_store_id": "S1"});
        assert_eq!(market.station.register_as("NOWHERE", more).await, 201);
        let mut feed = market.feed().await;
        market.push("NOWHERE", "T-1", "100").await;
        let rejected = feed.until("order_rejected").await.data;
        let why = rejected["reason"].as_str().expect("words");
        assert!(why.contains("404") && why.contains("no such point of sale"), "{why}");
        let order = market.station.order("T-1").await;
        assert_eq!(
            (&order["status"], order["reason"].as_str()),
            (&json!("rejected"), Some(why))
        );

        let path = "/v1/pos/NOWHERE/order?wait=10";
        let waited = market.station.put(path, json!({"amount": 5, "title": "S"})).await;
        assert_eq!(
            (waited.status, waited.json()["code"].clone()),
            (422, json!("order_rejected"))
        );
        assert!(
            waited.json()["detail"]
                .as_str()
                .expect("words")
                .contains("no such point of sale")
        );
    }
}

#[tokio::test]
async fn who_waits_is_answered_when_it_is_there() {
    for mode in MODES {
        let (market, mut feed) = market(mode).await;
        let path = "/v1/pos/PUMP4/order?wait=10";
        let order = json!({"external_reference": "T-1", "amount": 5, "title": "S"});
        let waited = market.station.put(path, &order).await;
        assert_eq!(
            (waited.status, waited.json()["status"].clone()),
            (201, json!("ready")),
            "{mode}"
        );
        let again = market.station.put(path, &order).await;
        assert_eq!((again.status, again.json()["status"].clone()), (200, json!("ready")));
        feed.until("order_sent").await;
    }
}

#[tokio::test]
async fn what_is_not_there_in_time_is_canceled_before_that_is_said() {
    for mode in MODES {
        let (market, mut feed) = market(mode).await;
        let faults = Faults {
            slow: Duration::from_secs(3),
            ..Faults::default()
        };
        market.sandbox.set_faults(faults).await.expect("it runs");
        let path = "/v1/pos/PUMP4/order?wait=1";
        let order = json!({"external_reference": "T-1", "amount": 5, "title": "S"});
        let waited = market.station.put(path, &order).await;
        assert_eq!(
            (waited.status, waited.json()["code"].clone()),
            (504, json!("order_not_sent")),
            "{mode}"
        );
        assert_eq!(market.station.status("T-1").await, "canceled");
        feed.until("order_canceled").await;
        // It came there nevertheless, and is taken off again.
        market.sandbox.set_faults(Faults::default()).await.expect("it runs");
        let order = json!({"external_reference": "T-2", "amount": 7, "title": "S"});
        assert_eq!(market.station.put("/v1/pos/PUMP4/order?wait=20", &order).await, 201);
        let customer = market.stand_at("PUMP4").await;
        customer.pay().await;
        assert_eq!(feed.until("order_paid").await.data["external_reference"], "T-2");
    }
}

#[tokio::test]
async fn one_is_replaced_and_its_place_taken() {
    for mode in MODES {
        let (market, mut feed) = market(mode).await;
        sent(&market, &mut feed, "T-1", "100").await;
        let order = json!({"external_reference": "T-2", "amount": 7, "title": "S"});
        assert_eq!(market.station.replace("PUMP4", &order).await, 201);
        assert_eq!(feed.until("order_replaced").await.data["external_reference"], "T-1");
        assert_eq!(
            feed.until("order_sent").await.data["external_reference"],
            "T-2",
            "{mode}"
        );
        market.stand_at("PUMP4").await.pay().await;
        assert_eq!(feed.until("order_paid").await.data["external_reference"], "T-2");
        market.no_violations().await;
    }
}

#[tokio::test]
async fn a_place_at_mercado_pago_is_one_pos_s() {
    let (market, _) = market("attended").await;
    for (pos, mode) in [("OTHER", "attended"), ("OTHER", "intent")] {
        let more = json!({"account": "shop", "mode": mode, "external_id": "pump4", "external_store_id": "S1"});
        let taken = market.station.register_as(pos, more).await;
        assert_eq!(taken, (409, "external_id_taken"));
        assert_eq!(taken.json()["pos"], "PUMP4");
    }
    let other = json!({"account": "shop", "mode": "attended", "external_id": "PUMP5", "external_store_id": "S1"});
    assert_eq!(market.station.register_as("PUMP4", other).await, 200);
    let free = json!({"account": "shop", "mode": "intent", "external_id": "PUMP4"});
    assert_eq!(market.station.register_as("OTHER", free).await, 201);
}

#[tokio::test]
async fn one_that_expires_is_taken_off() {
    for mode in MODES {
        let (market, mut feed) = market(mode).await;
        let order = json!({"external_reference": "T-1", "amount": 7, "title": "S", "expires_in_seconds": 2});
        assert_eq!(market.station.push("PUMP4", &order).await, 201);
        let sent = feed.until("order_sent").await.data;
        assert_eq!(feed.until("order_expired").await.data["external_reference"], "T-1");
        let target = match mode {
            "intent" => format!(
                "/instore-api/integrations/v1/intents/{}/qr",
                sent["intent"].as_str().expect("an id")
            ),
            _ => format!("/instore/qr/seller/collectors/{}/pos/PUMP4/orders", api::USER),
        };
        let there = api::call(market.sandbox.address(), "GET", &target, "").await;
        match mode {
            "intent" => assert_eq!(there.json()["status"], "CANCELED"),
            _ => assert_eq!(there.status, 404),
        }
    }
}

#[tokio::test]
async fn an_intent_whose_payment_is_rejected_is_over() {
    let (market, mut feed) = market("intent").await;
    sent(&market, &mut feed, "T-1", "100").await;
    let rejected = market.stand_at("PUMP4").await.attempt(Status::Rejected, None).await;
    assert_eq!(feed.until("payment_rejected").await.data["payment"], rejected.id);
    assert_eq!(feed.until("order_canceled").await.data["reason"], "not_paid");
}

/// A market of the mode in which the next calls are answered by nobody, although they are done.
async fn mute(mode: &str, calls: u32, more: Faults) -> (Market, Feed) {
    let settings = Settings {
        intent_life: Duration::from_secs(4),
        ..hurried()
    };
    let market = Market::with(settings, "").await;
    market.register_at("PUMP4", mode).await;
    let feed = market.feed().await;
    let faults = Faults {
        cut_after: Chance::next(calls),
        ..more
    };
    market.sandbox.set_faults(faults).await.expect("it runs");
    (market, feed)
}

/// How often an intent was asked for.
async fn asked_for(market: &Market) -> u64 {
    let calls = market.sandbox.calls().await.expect("it answers");
    let create = "POST /instore-api/integrations/v1/intents/qr/pos/{}";
    calls.get(create).copied().unwrap_or(0)
}

async fn placed(market: &Market, reference: &str) -> usize {
    market.sandbox.placed(reference).await.expect("it answers").len()
}

#[tokio::test]
async fn what_is_there_although_nobody_said_so_is_not_put_there_again() {
    for mode in MODES {
        let (market, mut feed) = mute(mode, 1, Faults::default()).await;
        let begun = Instant::now();
        let sent = sent(&market, &mut feed, "T-1", "100").await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert_eq!(sent["intent"], Value::Null, "its name is lost");
        assert_eq!(placed(&market, "T-1").await, 1, "{mode}");
        market.stand_at("PUMP4").await.pay().await;
        feed.until("order_paid").await;
        market.no_violations().await;
    }
}

#[tokio::test]
async fn what_was_paid_before_anybody_heard_of_it_is_not_put_there_again() {
    let behind = Faults {
        lose: Chance::one_in(1),
        stale: Duration::from_secs(2),
        ..Faults::default()
    };
    let (market, mut feed) = mute("attended", 1, behind).await;
    market.push("PUMP4", "T-1", "100").await;
    market.stand_at("PUMP4").await.pay().await;
    feed.until("order_paid").await;
    assert_eq!(placed(&market, "T-1").await, 1);
}

#[tokio::test]
async fn an_intent_that_is_made_again_although_the_first_was_paid_is_taken_off() {
    // Neither the search nor a notification tells of the payment in time.
    let behind = Faults {
        delay: Duration::from_secs(2),
        stale: Duration::from_secs(10),
        ..Faults::default()
    };
    let (market, mut feed) = mute("intent", 1, behind).await;
    market.push("PUMP4", "T-1", "100").await;
    market.stand_at("PUMP4").await.pay().await;
    let sent = feed.until("order_sent").await.data;
    feed.until("order_paid").await;
    let second = async || {
        let placed = market.sandbox.placed("T-1").await.expect("it answers");
        assert_eq!(placed.len(), 2);
        placed[1].intent.clone().expect("an intent")
    };
    let begun = Instant::now();
    while second().await.status == "OPENED" {
        assert!(begun.elapsed() < Duration::from_secs(2), "anybody can pay it still");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        (second().await.status, json!(second().await.id)),
        ("CANCELED", sent["intent"].clone())
    );
}

#[tokio::test]
async fn an_intent_that_somebody_has_scanned_is_there_and_not_made_again() {
    let (market, mut feed) = mute("intent", 1, Faults::default()).await;
    market.push("PUMP4", "T-1", "100").await;
    let customer = market.stand_at("PUMP4").await;
    feed.until("order_sent").await;
    assert_eq!(asked_for(&market).await, 1);
    customer.pay().await;
    feed.until("order_paid").await;
}

#[tokio::test]
async fn an_intent_whose_code_is_lost_is_not_told_to_be_there_and_can_be_canceled() {
    let (market, mut feed) = market("intent").await;
    let faults = Faults {
        cut_after: Chance::next(1),
        ..Faults::default()
    };
    market.sandbox.set_faults(faults).await.expect("it runs");
    let order = json!({"external_reference": "T-1", "amount": 7, "title": "S", "qr": "dynamic"});
    assert_eq!(market.station.push("PUMP4", &order).await, 201);
    // It is asked for again and again, and refused because of itself.
    while asked_for(&market).await < 4 {
        assert_eq!(market.station.status("T-1").await, "sending");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(market.station.cancel("PUMP4").await, 204, "nobody can show it");
    feed.until("order_canceled").await;
}

#[tokio::test]
async fn an_intent_whose_name_is_lost_is_known_by_its_end() {
    let (market, mut feed) = mute("intent", 1, Faults::default()).await;
    let sent_first = sent(&market, &mut feed, "T-1", "100").await;
    assert_eq!(sent_first["intent"], Value::Null, "its name is lost");
    // Nobody can cancel it; the next order is told so, and the notification of its end names it.
    assert_eq!(market.station.cancel("PUMP4").await, 204);
    let canceled = feed.until("order_canceled").await.data;
    assert_eq!(canceled["external_reference"], "T-1");
    let placed = market.sandbox.placed("T-1").await.expect("it answers");
    let states: Vec<_> = placed
        .iter()
        .flat_map(|placed| &placed.intent)
        .map(|intent| intent.status)
        .collect();
    assert_eq!(states, ["EXPIRED"]);
    sent(&market, &mut feed, "T-2", "100").await;
}

#[tokio::test]
async fn what_may_be_an_earlier_one_is_not_told_to_be_there() {
    let (market, mut feed) = mute("intent", 1, Faults::default()).await;
    let order = json!({"external_reference": "T-1", "amount": 7, "title": "S", "expires_in_seconds": 2});
    assert_eq!(market.station.push("PUMP4", &order).await, 201);
    feed.until("order_expired").await;
    // The first is there for two seconds more. That the second is refused because of it nobody is told.
    let faults = Faults {
        cut_after: Chance::next(2),
        ..Faults::default()
    };
    market.sandbox.set_faults(faults).await.expect("it runs");
    market.push("PUMP4", "T-2", "100").await;
    let sent = feed.until("order_sent").await.data;
    assert_eq!(sent["external_reference"], "T-2");
    assert!(
        sent["intent"].is_string(),
        "its own, made after the first was over: {sent}"
    );
    assert_eq!(placed(&market, "T-2").await, 1);
}

#[tokio::test]
async fn what_may_be_a_second_one_of_an_order_that_was_paid_is_not_told_to_be_the_next() {
    let (market, mut feed) = mute("intent", 1, Faults::default()).await;
    market.push("PUMP4", "T-1", "100").await;
    let customer = market.stand_at("PUMP4").await;
    feed.until("order_sent").await;
    customer.pay().await;
    feed.until("order_paid").await;
    // As if it had been asked for twice, and both answers were lost.
    let second = json!({"description": "S", "external_reference": "T-1",
        "operations": [{"type": "PURCHASE", "amount": "100.00"}]});
    let target = "/instore-api/integrations/v1/intents/qr/pos/PUMP4";
    let made = api::call(market.sandbox.address(), "POST", target, &second.to_string()).await;
    assert_eq!(made.status, 201);
    let faults = Faults {
        cut_after: Chance::next(2),
        ..Faults::default()
    };
    market.sandbox.set_faults(faults).await.expect("it runs");
    market.push("PUMP4", "T-2", "100").await;
    let sent = feed.until("order_sent").await.data;
    assert_eq!(sent["external_reference"], "T-2");
    assert!(sent["intent"].is_string(), "its own, made after that was over: {sent}");
    assert_eq!(placed(&market, "T-2").await, 1);
}

#[tokio::test]
async fn a_cancel_that_fails_at_first_is_tried_again_at_once() {
    for mode in MODES {
        let (market, mut feed) = market(mode).await;
        sent(&market, &mut feed, "T-1", "100").await;
        // All tries of one call.
        let faults = Faults {
            broken: Chance::next(3),
            ..Faults::default()
        };
        market.sandbox.set_faults(faults).await.expect("it runs");
        let begun = Instant::now();
        let answer = market.station.cancel("PUMP4").await;
        assert!([204, 202].contains(&answer.status), "{mode}: {answer:?}");
        if answer.status == 202 {
            // A machine with much to do needs longer than a cancel waits; the try after this one would come yet later.
            feed.until("order_canceled").await;
            assert!(begun.elapsed() < Duration::from_secs(9), "{mode}");
        }
        assert_eq!(market.sandbox.standing("PUMP4").await.expect("a place"), None);
    }
}

#[tokio::test]
async fn an_intent_may_have_a_code_of_its_own() {
    let (market, mut feed) = market("intent").await;
    let order = json!({"external_reference": "T-1", "amount": 7, "title": "S", "qr": "dynamic"});
    assert_eq!(market.station.push("PUMP4", &order).await, 201);
    let sent = feed.until("order_sent").await.data;
    assert!(
        sent["qr_data"].as_str().expect("a code").starts_with("00020101"),
        "{sent}"
    );
    assert_eq!(market.station.order("T-1").await["qr_data"], sent["qr_data"]);
}

/// All that only such an order has, in events and in the order, while Mercado Pago is out of reach.
#[tokio::test]
async fn the_events_of_orders_at_mercado_pago_are_these_bytes() {
    let setup = Setup::default().env("SURTIDOR_MERCADOPAGO__BASE_URL", NOBODY);
    let mut station = Station::with(setup).await;
    station.register_as("PUMP1", json!({"mode": "intent"})).await;
    let sent = |name: &str, id: Option<&str>, code: Option<&str>| Command::Sent {
        reference: reference(name),
        intent: id.map(|id| IntentId::parse(id).expect("an id")),
        qr_data: code.map(|code| Text::parse(code).expect("a code")),
    };
    let gone = |name: &str, reason| Command::Withdrawn {
        reference: reference(name),
        reason,
    };
    let mut first = order("T-1", "100");
    first["qr"] = json!("dynamic");
    first["metadata"] = json!({"nozzle": 4});
    assert_eq!(station.push("PUMP1", first).await, 201);
    station
        .learn("PUMP1", [sent("T-1", Some("7c1d2e3f-1a2b"), Some("000201010212"))])
        .await;
    let canceling = station.delete("/v1/pos/PUMP1/order?reason=paid_elsewhere").await;
    assert_eq!(
        (canceling.status, canceling.json()["canceling"].clone()),
        (202, json!(true))
    );
    station.learn("PUMP1", [gone("T-1", None)]).await;
    station.push("PUMP1", order("T-2", "100")).await;
    let why = Text::parse("404 pos_not_found: no such point of sale").expect("words");
    let refused = Command::Rejected {
        reference: reference("T-2"),
        why,
    };
    station.learn("PUMP1", [refused]).await;
    station.push("PUMP1", order("T-3", "100")).await;
    let there = Some(CancelReason::AtMercadoPago);
    station
        .learn("PUMP1", [sent("T-3", None, None), gone("T-3", there)])
        .await;
    let mut said = String::new();
    let feed = &mut station.feed("?after=0").await;
    loop {
        let event = feed.next().await;
        said.push_str(&format!("{}\n\n", event.text));
        if event.data["reason"] == "at_mercadopago" {
            break;
        }
    }
    for name in ["T-1", "T-2", "T-3"] {
        said.push_str(&format!("# GET /v1/orders/{name}\n{}\n", station.order(name).await));
    }
    golden("posted.txt", &timeless(&said));
}

/// What stands on the POS at Mercado Pago.
async fn standing(market: &Market, pos: &str) -> Value {
    let target = format!("/instore/qr/seller/collectors/{}/pos/{pos}/orders", api::USER);
    let there = api::call(market.sandbox.address(), "GET", &target, "").await;
    match there.status {
        404 => Value::Null,
        _ => there.json()[0]["external_reference"].clone(),
    }
}

#[tokio::test]
async fn what_was_to_be_replaced_goes_with_the_one_that_is_canceled_at_once() {
    let (market, _) = market("attended").await;
    for round in 0..20 {
        let order = |name: &str| json!({"external_reference": format!("{name}-{round}"), "amount": 7, "title": "S"});
        assert_eq!(market.station.put("/v1/pos/PUMP4/order?wait=10", order("A")).await, 201);
        let order = order("B");
        let (replaced, canceled) =
            tokio::join!(market.station.replace("PUMP4", &order), market.station.cancel("PUMP4"));
        assert_eq!(replaced, 201);
        assert!([204, 404].contains(&canceled.status), "{canceled:?}");
        // Whichever came first: after the last cancel nothing is there.
        assert_eq!(market.station.cancel("PUMP4").await, 204);
        assert_eq!(standing(&market, "PUMP4").await, Value::Null, "round {round}");
    }
}

#[tokio::test]
async fn an_order_that_left_its_place_by_itself_may_have_been_paid() {
    let (market, mut feed) = market("attended").await;
    sent(&market, &mut feed, "T-1", "100").await;
    let faults = Faults {
        lose: Chance::one_in(1),
        stale: Duration::from_secs(2),
        ..Faults::default()
    };
    market.sandbox.set_faults(faults).await.expect("it runs");
    market.stand_at("PUMP4").await.pay().await;
    let late = market.station.cancel("PUMP4").await;
    assert_eq!(
        (late.status, late.json()["code"].clone()),
        (409, json!("order_paid")),
        "although the search was behind"
    );
}

#[tokio::test]
async fn an_intent_that_comes_there_too_late_is_named_and_canceled() {
    let (market, mut feed) = market("intent").await;
    let faults = Faults {
        slow: Duration::from_secs(2),
        ..Faults::default()
    };
    market.sandbox.set_faults(faults).await.expect("it runs");
    let order = json!({"external_reference": "T-1", "amount": 5, "title": "S"});
    let given_up = market.station.put("/v1/pos/PUMP4/order?wait=1", &order).await;
    assert_eq!(given_up.json()["code"], "order_not_sent");
    // It comes there nevertheless.
    let sent = feed.until("order_sent").await.data;
    let target = format!(
        "/instore-api/integrations/v1/intents/{}/qr",
        sent["intent"].as_str().expect("a name")
    );
    let begun = Instant::now();
    while api::call(market.sandbox.address(), "GET", &target, "").await.json()["status"] != "CANCELED" {
        assert!(begun.elapsed() < Duration::from_secs(40), "it is there still");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(market.station.status("T-1").await, "canceled");
}

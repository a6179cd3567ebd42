//! Money that came and money that goes back, as the controller sees it: refunds, deliveries that failed, receipts.

use serde_json::{Value, json};
use surtidor::domain::command::Command;
use surtidor::domain::payment::{Oddity, RefundState, Reversal, Reversed, Sighting, Suspect};
use surtidor::domain::text::Text;

use crate::support::golden::{golden, timeless};
use crate::support::learn::{APPROVED, ars, payment, reference, reversed, settle};
use crate::support::market::Market;
use crate::support::station::{CANARIES, Setup, Station, order};

fn refunded(name: &str, number: u32, state: RefundState) -> Command {
    Command::Refunded {
        reference: reference(name),
        number,
        state,
    }
}

/// A station with one order of 100 pesos, T-1, paid by the payment 1.
async fn paid(setup: Setup) -> Station {
    let mut station = Station::with(setup).await;
    station.register_as("PUMP1", json!({"name": "Surtidor 1"})).await;
    station.push("PUMP1", order("T-1", "100")).await;
    station.pay("PUMP1", "T-1", 1, "100").await;
    station
}

fn amounts(order: &Value) -> Vec<(u64, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let refunds = order["refunds"].as_array().unwrap().iter();
    refunds
        .map(|one| {
            (
                one["payment"].as_u64().unwrap(),
                text(&one["amount"]),
                text(&one["status"]),
            )
        })
        .collect()
}

#[tokio::test]
async fn money_goes_back_once_for_each_key() {
    let mut station = paid(Setup::default()).await;
    let part = station.refund("T-1", "k-1", json!({"amount": "10.50"})).await;
    assert_eq!(part, (201, "T-1"));
    let expected = |refunds: &[(u64, &str, &str)]| -> Vec<(u64, String, String)> {
        let owned = |&(of, amount, status): &(u64, &str, &str)| (of, amount.to_owned(), status.to_owned());
        refunds.iter().map(owned).collect()
    };
    let first = [(1, "10.50", "requested")];
    assert_eq!(amounts(&part.json()), expected(&first));
    assert_eq!(part.json()["payments"][0]["status"], "approved");
    for body in [json!({"amount": 10.5}), json!({"amount": "10.50"})] {
        let again = station.refund("t-1", "k-1", body).await;
        assert_eq!(again, (200, "T-1"), "the same again");
        assert_eq!(amounts(&again.json()), expected(&first));
    }
    for body in [
        json!({}),
        json!({"amount": "10.51"}),
        json!({"amount": "10.50", "payment": 1}),
    ] {
        assert_eq!(station.refund("T-1", "k-1", body).await, (409, "refund_key_used"));
    }
    station.restart().await;
    assert_eq!(
        station.refund("T-1", "k-1", json!({"amount": "10.50"})).await,
        (200, "T-1")
    );
    let rest = station.refund("T-1", "k-2", "").await;
    assert_eq!(rest, (201, "T-1"), "no body is all that is left");
    let both = [(1, "10.50", "requested"), (1, "89.50", "requested")];
    assert_eq!(amounts(&rest.json()), expected(&both));
    assert_eq!(rest.json()["payments"][0]["status"], "refunded");
    assert_eq!(station.refund("T-1", "k-2", "{}").await, (200, "T-1"));
    assert_eq!(station.refund("T-1", "k-3", "{}").await, (409, "refund_nothing_left"));

    let failed = RefundState::Failed(Text::parse("no money").unwrap());
    let ended = [refunded("T-1", 1, RefundState::Done(41)), refunded("T-1", 2, failed)];
    station.learn("PUMP1", ended).await;
    let again = station.refund("T-1", "k-1", json!({"amount": "10.50"})).await.json();
    let after = [(1, "10.50", "done"), (1, "89.50", "failed")];
    assert_eq!(amounts(&again), expected(&after), "what became of it");
    assert_eq!(again["refunds"][0]["id"], 41);
    assert_eq!(again["refunds"][1]["reason"], "no money");
    assert_eq!(again, station.order("T-1").await);
    let third = station
        .refund("T-1", "k-3", json!({"payment": 1, "amount": "89.5"}))
        .await;
    assert_eq!(third, (201, "T-1"), "what failed can be asked for anew");
    let events = station.page("?after=0&wait=0").await;
    let told = |kind: &str| events.types().iter().filter(|found| **found == kind).count();
    assert_eq!(
        (told("refund_requested"), told("refund_done"), told("refund_failed")),
        (3, 1, 1)
    );
}

#[tokio::test]
async fn a_refund_that_cannot_be_is_refused() {
    let mut station = paid(Setup::default()).await;
    for (body, status, code, pointer) in [
        (r#"{"amount":"100.01"}"#, 400, "invalid_field", "/amount"),
        (r#"{"amount":"0"}"#, 400, "invalid_field", "/amount"),
        (r#"{"amount":"-1"}"#, 400, "invalid_field", "/amount"),
        (r#"{"amount":"1.001"}"#, 400, "invalid_field", "/amount"),
        (r#"{"amount":1e1}"#, 400, "invalid_field", "/amount"),
        (r#"{"amount":true}"#, 400, "invalid_field", "/amount"),
        (r#"{"payment":"1"}"#, 400, "invalid_field", "/payment"),
        (r#"{"payment":-1}"#, 400, "invalid_field", "/payment"),
        (r#"{"payment":7}"#, 404, "payment_unknown", "/payment"),
        (r#"{"amout":"1"}"#, 400, "unknown_field", "/amout"),
        (r#"{"amount":"1","reason":"x"}"#, 400, "unknown_field", "/reason"),
        (r#"{"amount":"1","amount":"1"}"#, 400, "duplicate_key", "/amount"),
        ("[]", 400, "invalid_field", ""),
        ("{", 400, "invalid_json", ""),
    ] {
        let refused = station.refund("T-1", "k", body).await;
        assert_eq!(refused, (status, code), "{body}");
        let found = refused.json();
        assert_eq!(
            found.get("pointer").and_then(Value::as_str).unwrap_or_default(),
            pointer,
            "{body}"
        );
    }
    let long = "k".repeat(129);
    for (headers, word) in [
        (String::new(), "missing"),
        ("idempotency-key: \r\n".into(), "not valid"),
        ("idempotency-key: a b\r\n".into(), "not valid"),
        ("idempotency-key: ñ\r\n".into(), "not valid"),
        (format!("idempotency-key: {long}\r\n"), "not valid"),
        ("idempotency-key: a\r\nidempotency-key: a\r\n".into(), "twice"),
    ] {
        let refused = station
            .call_with("POST", "/v1/orders/T-1/refunds", &headers, "{}")
            .await;
        assert_eq!(refused, (400, "invalid_idempotency_key"), "{headers:?}");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.contains(word) && detail.contains("must be 1 to 128 printable"),
            "{detail}"
        );
    }
    assert_eq!(station.refund("NONE", "k", "{}").await, (404, "order_unknown"));
    station.push("PUMP1", order("T-2", "100")).await;
    assert_eq!(station.refund("T-2", "k", "{}").await, (409, "order_not_paid"));

    // A refund that takes of many payments counts as many.
    let many: Vec<_> = (10..80).map(|id| payment(id, "1")).collect();
    station.learn("PUMP1", [settle("T-2", &many, &[])]).await;
    station.cancel("PUMP1").await;
    assert_eq!(station.refund("T-2", "k", "{}").await, (409, "refunds_too_many"));
    assert_eq!(station.order("T-1").await["refunds"], json!([]), "nothing was recorded");
    let problems = "surtidor_control_problems_total{code=\"refunds_too_many\"}";
    assert_eq!(station.metric(problems).await, 1.0);
}

#[tokio::test]
async fn without_an_access_token_nothing_is_promised() {
    let poor = || Setup::default().account("id = \"poor\"\ncollector_id = 1\nsite = \"MLA\"");
    let rich = || poor().env("SURTIDOR_ACCOUNT__POOR__ACCESS_TOKEN", CANARIES[0]);
    let mut station = Station::with(rich()).await;
    station.register_as("PUMP1", json!({"account": "poor"})).await;
    station.push("PUMP1", order("T-1", "100")).await;
    station.pay("PUMP1", "T-1", 1, "100").await;
    let first = station.refund("T-1", "k-1", json!({"amount": "40"})).await;
    assert_eq!(first, (201, "T-1"));

    station.restart_with(poor()).await;
    let refused = station.refund("T-1", "k-2", "{}").await;
    assert_eq!(refused, (409, "account_without_token"));
    assert_eq!(refused.json()["account"], "poor");
    let again = station.refund("T-1", "k-1", json!({"amount": "40"})).await;
    assert_eq!(again, (200, "T-1"), "what was promised is still told");
    assert_eq!(again.json(), first.json());

    station.restart_with(Setup::default()).await;
    assert_eq!(
        station.refund("T-1", "k-2", "{}").await,
        (409, "account_without_token"),
        "the account is gone altogether"
    );
    station.restart_with(rich()).await;
    assert_eq!(station.refund("T-1", "k-2", "{}").await, (201, "T-1"));
}

#[tokio::test]
async fn what_failed_to_be_delivered_goes_back_by_the_policy() {
    let strict = "id = \"strict\"\ncollector_id = 1\nsite = \"MLA\"\ndelivery_failed = \"report\"";
    let setup = Setup::default()
        .account(strict)
        .env("SURTIDOR_ACCOUNT__STRICT__ACCESS_TOKEN", CANARIES[0]);
    let mut station = Station::with(setup).await;
    station.register_as("PUMP1", json!({"account": "test"})).await;
    station.register_as("PUMP2", json!({"account": "strict"})).await;
    for (pos, reference, id) in [("PUMP1", "T-1", 1), ("PUMP1", "T-2", 2), ("PUMP2", "T-3", 3)] {
        station.push(pos, order(reference, "100")).await;
        station.pay(pos, reference, id, "100").await;
    }
    let failed = async |reference: &str, report: Value| {
        let path = format!("/v1/orders/{reference}/delivery");
        let reply = station.put(&path, &report).await;
        assert_eq!(reply, (200, reference));
        assert_eq!(station.put(&path, &report).await.json(), reply.json(), "once");
        reply.json()
    };
    let all = failed("T-1", json!({"result": "failed"})).await;
    let part = failed("T-2", json!({"result": "failed", "amount": "30", "reason": "nozzle"})).await;
    let none = failed("T-3", json!({"result": "failed"})).await;
    let back = |order: &Value| {
        let refunds = order["refunds"].as_array().unwrap().iter();
        refunds
            .map(|one| format!("{} {} {}", one["amount"], one["status"], one["cause"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(back(&all), [r#""100.00" "requested" "delivery""#]);
    assert_eq!(back(&part), [r#""30.00" "requested" "delivery""#]);
    assert_eq!(back(&none), [""; 0]);
    let types = station.page("?after=0&wait=0&pos=PUMP1").await;
    let last = &types.types()[5..];
    let each = ["delivery_reported", "refund_requested"];
    assert_eq!(last, [each, each].concat());
}

/// The same with the simulated Mercado Pago behind it.
#[tokio::test]
async fn what_the_controller_asks_for_arrives() {
    let market = Market::open().await;
    market.register("PUMP").await;
    let station = &market.station;
    let mut feed = market.feed().await;
    market.push("PUMP", "T-1", "100").await;
    let paid = market.scan("PUMP").await.pay().await;
    feed.until("order_paid").await;
    assert_eq!(
        station.refund("T-1", "k-1", json!({"amount": "10.50"})).await,
        (201, "T-1")
    );
    let requested = feed.until("refund_requested").await.data;
    let done = feed.until("refund_done").await.data;
    let made = market.refunds("T-1").await;
    assert_eq!(made.len(), 1);
    for (name, value) in [
        ("id", json!(made[0].id)),
        ("payment", json!(paid.id)),
        ("amount", json!("10.50")),
        ("status", json!("done")),
        ("key", json!("k-1")),
    ] {
        assert_eq!(done["refunds"][0][name], value);
    }
    assert_eq!(requested["refunds"][0]["key"], "k-1");
    let again = station.refund("T-1", "k-1", json!({"amount": "10.50"})).await;
    assert_eq!(again, (200, "T-1"));
    assert_eq!(again.json()["refunds"], done["refunds"]);

    let path = "/v1/orders/T-1/delivery";
    assert_eq!(station.put(path, json!({"result": "failed"})).await, (200, "T-1"));
    let rest = feed.until("refund_done").await.data;
    assert_eq!(rest["refunds"][0]["amount"], "89.50");
    assert_eq!(rest["refunds"][0]["cause"], "delivery");
    assert_eq!(market.refunds("T-1").await.len(), 2);
    let receipt = station
        .call_with("GET", "/v1/orders/T-1/receipt?width=32", "", "")
        .await
        .text();
    assert!(receipt.contains("\nSaldo                       0.00\n"), "{receipt}");
    market.no_violations().await;
}

/// Every event of the feed that tells of money, in the order in which a controller could see them, and the order after.
#[tokio::test]
async fn the_events_of_money_are_these_bytes() {
    let mut station = Station::start().await;
    station.register("PUMP1").await;
    let push = |name: &str, policy: &str| {
        let mut order = order(name, "100");
        order["late_payment"] = json!(policy);
        order["metadata"] = json!({"nozzle": 4});
        order
    };
    station.push("PUMP1", push("T-1", "refund")).await;
    let suspect = Sighting::Suspect(Suspect {
        merchant_order: Some(1009),
        payment: Some(9),
        why: Oddity::Collector,
    });
    let odd = Sighting::Suspect(Suspect {
        merchant_order: Some(1010),
        payment: None,
        why: Oddity::NoPayments,
    });
    let seen = [Sighting::Pending(1), Sighting::Rejected(1), suspect, odd];
    let (short, rest, more) = (payment(1, "40"), payment(2, "80"), payment(3, "100"));
    let back = |how, amount| Reversed {
        how,
        amount: ars(amount),
    };
    let no_money = RefundState::Failed(Text::parse("no money").unwrap());
    station
        .learn(
            "PUMP1",
            [
                settle("T-1", &[], &seen),
                settle("T-1", std::slice::from_ref(&short), &[]),
                settle("T-1", &[short.clone(), rest.clone()], &[]),
                refunded("T-1", 1, RefundState::Done(41)),
                settle("T-1", &[short.clone(), rest, more.clone()], &[]),
                refunded("T-1", 2, no_money),
                settle("T-1", &[reversed(short, back(Reversal::ChargedBack, "40"))], &[]),
                settle("T-1", &[reversed(more, back(Reversal::Refunded, "60"))], &[]),
                Command::Overdue {
                    reference: reference("T-1"),
                },
            ],
        )
        .await;
    station.refund("T-1", "k-1", json!({"amount": "5"})).await;
    station
        .put(
            "/v1/orders/T-1/delivery",
            json!({"result": "failed", "amount": "7", "reason": "nozzle"}),
        )
        .await;
    for (name, policy, id) in [("T-2", "report", 4), ("T-3", "refund", 5), ("T-4", "accept", 6)] {
        station.push("PUMP1", push(name, policy)).await;
        station.cancel("PUMP1").await;
        station.pay("PUMP1", name, id, "100").await;
    }
    let mut said = String::new();
    let feed = &mut station.feed("?after=0").await;
    loop {
        let event = feed.next().await;
        said.push_str(&format!("{}\n\n", event.text));
        if event.data["late"] == true {
            break;
        }
    }
    for name in ["T-1", "T-3"] {
        said.push_str(&format!("# GET /v1/orders/{name}\n{}\n", station.order(name).await));
    }
    for (key, body) in [
        ("k-1", "{}"),
        ("k-2", r#"{"amount":"1000"}"#),
        ("k-2", r#"{"payment":9}"#),
        ("k-2", r#"{"payment":1}"#),
        ("", "{}"),
    ] {
        let refused = station.refund("T-1", key, body).await.text();
        said.push_str(&format!("# POST /v1/orders/T-1/refunds {key} {body}\n{refused}\n"));
    }
    golden("money.txt", &timeless(&said));
}

#[tokio::test]
async fn a_receipt_once_it_is_over() {
    let mut station = paid(Setup::default()).await;
    let get = async |station: &Station, path: &str, accept: &str| {
        let headers = match accept {
            "" => String::new(),
            accept => format!("accept: {accept}\r\n"),
        };
        station.call_with("GET", path, &headers, "").await
    };
    let path = "/v1/orders/T-1/receipt";
    let text = get(&station, path, "").await;
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(text.text().starts_with("Surtidor 1\nComprobante de pago\nPedido T-1\n"));
    assert!(
        text.text()
            .contains("\n2026-11-21 11:05:09 -03:00\nPago 1\nOrden 1001\n")
    );
    assert_eq!(text.text().lines().map(|line| line.chars().count()).max(), Some(42));
    for width in [32, 42, 48] {
        let text = get(&station, &format!("{path}?width={width}"), "*/*").await.text();
        assert_eq!(text.lines().map(|line| line.chars().count()).max(), Some(width));
    }
    let json = get(&station, path, "application/json").await;
    assert_eq!(json, (200, "T-1"));
    let time = jiff::Timestamp::from_millisecond(APPROVED.0 + 1).unwrap().to_string();
    assert_eq!(json.json()["payments"][0]["approved_at"], time);
    assert_eq!(
        (&json.json()["left"], &json.json()["name"]),
        (&json!("100.00"), &json!("Surtidor 1"))
    );
    assert_eq!(get(&station, &format!("{path}?format=json"), "").await.body, json.body);
    assert_eq!(
        get(&station, &format!("{path}?format=text"), "application/json")
            .await
            .body,
        text.body
    );

    station.refund("T-1", "k", json!({"amount": "40"})).await;
    station
        .put("/v1/orders/T-1/delivery", json!({"result": "failed", "amount": "40"}))
        .await;
    assert_eq!(station.delete("/v1/pos/PUMP1").await, 204);
    let after = get(&station, &format!("{path}?width=32"), "").await.text();
    assert!(after.starts_with("PUMP1\n"), "its name went with it: {after}");
    for line in [
        "Devolución en curso       -40.00\n",
        "Saldo                      20.00\n",
        "Producto no entregado      40.00\n",
    ] {
        assert!(after.contains(line), "{after}");
    }

    station.register("PUMP1").await;
    station.push("PUMP1", order("T-2", "100")).await;
    let open = get(&station, "/v1/orders/T-2/receipt", "").await;
    assert_eq!(open, (409, "order_open"));
    assert_eq!(open.json()["external_reference"], "T-2");
    station.cancel("PUMP1").await;
    let unpaid = get(&station, "/v1/orders/T-2/receipt", "").await;
    assert_eq!(unpaid, (409, "order_not_paid"));
    assert_eq!(unpaid.json()["order_status"], "canceled");
    station.pay("PUMP1", "T-2", 2, "100").await;
    let late = get(&station, "/v1/orders/T-2/receipt", "").await.text();
    assert!(late.contains("\nPedido cancelado\n"), "late money has one too: {late}");
}

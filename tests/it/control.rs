//! What a controller asks for: points of sale, their states and leases, and who may ask.

use serde_json::{Value, json};

use crate::support::golden::{golden, timeless};
use crate::support::http::Wire;
use crate::support::station::{CANARIES, Setup, Station, order, order_for};

#[tokio::test]
async fn replies_are_this_json() {
    let station = Station::start().await;
    let mut said = String::new();
    let registration = json!({
        "keys": {"locationId": "6232", "positionId": "1"}, "name": "Pump 1", "require_lease": true,
        "external_id": "PUMP1", "external_store_id": "STORE1",
    });
    let order = r#"{
        "external_reference": "T-000123", "expires_in_seconds": 120, "late_payment": "refund",
        "items": [{"title": "SUPER 23.45 L", "description": "Pump 4", "quantity": 1, "unit_price": 18525.50,
                   "sku_number": "S", "category": "fuel", "unit_measure": "pack", "picture_url": "http://a.example/s.png"},
                  {"title": "Caf\u00e9", "quantity": 2.0, "unit_price": "900"}],
        "metadata": {"nozzle": 4, "a": [1.50, null, "ñ", 12345678901234567890123]}
    }"#;
    for (method, path, body) in [
        ("PUT", "/v1/pos/PUMP1", registration.to_string()),
        ("PUT", "/v1/pos/PUMP1/lease", json!({"seconds": 60}).to_string()),
        ("PUT", "/v1/pos/PUMP1/order", order.to_string()),
        ("GET", "/v1/pos/PUMP1", String::new()),
        ("PUT", "/v1/pos/PUMP1/state", json!({"state": "timeout"}).to_string()),
        (
            "PUT",
            "/v1/pos/PUMP1/order",
            json!({"amount": "1", "titel": "SUPER"}).to_string(),
        ),
        ("DELETE", "/v1/pos/PUMP1/order?reason=paid_elsewhere", String::new()),
        (
            "PUT",
            "/v1/pos/PUMP1/state",
            json!({"state": "in_process", "message": "Filling"}).to_string(),
        ),
        ("GET", "/v1/pos?limit=1", String::new()),
        ("GET", "/v1/orders?limit=1", String::new()),
        ("GET", "/v1/events?after=0&wait=0", String::new()),
        ("POST", "/v1/events", String::new()),
    ] {
        let reply = station.call(method, path, body).await;
        said.push_str(&format!("# {method} {path}\n{}\n", timeless(&reply.bytes())));
    }
    golden("control.txt", &said);
}

#[tokio::test]
async fn a_pos_is_registered_changed_and_removed() {
    let station = Station::start().await;
    assert_eq!(station.register("PUMP1").await, (201, "PUMP1"));
    let again = station.register("PUMP1").await;
    assert_eq!(again, (200, "PUMP1"), "the same again");
    assert_eq!(again.json()["rev"], 1, "and nothing happened");
    let changed = station
        .register_as("PUMP1", json!({"name": "Pump 1", "require_lease": true}))
        .await;
    assert_eq!(changed, (200, "PUMP1"));
    assert_eq!(
        (&changed.json()["name"], &changed.json()["rev"]),
        (&json!("Pump 1"), &json!(2))
    );
    let changed = station.register("PUMP1").await.json();
    assert_eq!(
        (&changed["name"], &changed["require_lease"]),
        (&Value::Null, &json!(false)),
        "a full replacement"
    );

    let elsewhere = json!({"keys": {"locationId": "2", "positionId": "9"}});
    station.register_as("PUMP1", elsewhere).await;
    assert_eq!(
        station.poll("PUMP1").await,
        (400, "invalid"),
        "the old place is nobody's"
    );
    assert_eq!(
        station.poll_with("locationId=2&positionId=9").await,
        (400, "unavailable")
    );

    assert_eq!(station.delete("/v1/pos/PUMP1").await, 204);
    assert_eq!(station.delete("/v1/pos/PUMP1").await, (404, "pos_unknown"));
    assert_eq!(station.get("/v1/pos/PUMP1").await, (404, "pos_unknown"));
    assert_eq!(station.register("PUMP1").await, (201, "PUMP1"), "it may come back");
}

#[tokio::test]
async fn poll_keys_belong_to_one_pos() {
    let mut station = Station::start().await;
    let keys = json!({"keys": {"locationId": "1", "positionId": "PUMP1"}});
    station.register("PUMP1").await;
    let taken = station.register_as("PUMP2", keys.clone()).await;
    assert_eq!(taken, (409, "keys_taken"));
    assert_eq!(taken.json()["pos"], "PUMP1");
    station.register("PUMP2").await;
    assert_eq!(station.register_as("PUMP2", keys.clone()).await, (409, "keys_taken"));
    station.restart().await;
    assert_eq!(station.register_as("PUMP2", keys.clone()).await, (409, "keys_taken"));
    station.delete("/v1/pos/PUMP1").await;
    assert_eq!(
        station.register_as("PUMP2", keys).await,
        (200, "PUMP2"),
        "now they are free"
    );
    assert_eq!(station.poll("PUMP1").await, (400, "unavailable"));
    assert_eq!(station.poll("PUMP2").await, (400, "invalid"));
}

/// Two POS that hand their keys on within one commit must both end up in the table.
#[tokio::test]
async fn keys_that_move_from_one_pos_to_another_are_polled_as_the_new_one() {
    let station = Station::start().await;
    let keys = |n: u32| json!({"locationId": "1", "positionId": format!("place-{n}")});
    for n in 0..8 {
        let body = json!({"keys": keys(n)});
        assert_eq!(station.register_as(&format!("POS{n}"), body).await, 201);
    }
    let mut wires = Vec::new();
    for _ in 0..16 {
        wires.push(station.controller().await);
    }
    for round in 1..=20_u32 {
        // POS i leaves for a place of its own, and another one takes its place at once: they share commits.
        let mut asked = Vec::new();
        for n in 0..8 {
            let place = json!({"keys": {"locationId": "2", "positionId": format!("{round}-{n}")}});
            asked.push((format!("POS{}", (round - 1) * 8 + n), place));
            asked.push((format!("POS{}", round * 8 + n), json!({"keys": keys(n)})));
        }
        for (wire, (pos, body)) in wires.iter_mut().zip(&asked) {
            let body = body.to_string();
            let head = format!(
                "PUT /v1/pos/{pos} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            wire.send((head + &body).as_bytes()).await;
        }
        for (wire, (pos, body)) in wires.iter_mut().zip(&asked) {
            let reply = wire.reply().await;
            // It came before the old one had left: then it comes again.
            if reply == (409, "keys_taken") {
                assert_eq!(station.register_as(pos, body.clone()).await, 201);
            }
        }
        for n in 0..8 {
            let polled = station.poll(&format!("place-{n}")).await;
            assert_eq!(polled, (400, "unavailable"), "round {round}, place {n}");
        }
    }
}

#[tokio::test]
async fn an_open_order_holds_its_pos() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    station.push("PUMP1", order("T-1", "100")).await;
    let polled = station.poll("PUMP1").await.body;
    for change in [
        json!({"require_lease": true}),
        json!({"keys": {"locationId": "2", "positionId": "2"}}),
        json!({"url_secret": false}),
        json!({"mode": "attended"}),
        json!({"external_id": "A"}),
    ] {
        let refused = station.register_as("PUMP1", change).await;
        assert_eq!(refused, (409, "order_open"));
        assert_eq!(refused.json()["external_reference"], "T-1");
    }
    assert_eq!(station.delete("/v1/pos/PUMP1").await, (409, "order_open"));
    assert_eq!(
        station.register_as("PUMP1", json!({"name": "Pump 1"})).await,
        200,
        "only the name may change"
    );
    assert_eq!(station.poll("PUMP1").await.body, polled);
    for state in ["unavailable", "in_process", "timeout"] {
        assert_eq!(station.say("PUMP1", json!({"state": state})).await, (409, "order_open"));
    }
    station.cancel("PUMP1").await;
    assert_eq!(station.register_as("PUMP1", json!({"mode": "attended"})).await, 200);
}

#[tokio::test]
async fn accounts_are_named_where_there_are_several() {
    let several = Setup::default().account("id = \"chile\"\ncollector_id = 7\nsite = \"MLC\"");
    let mut station = Station::start().await;
    assert_eq!(
        station.register("PUMP1").await.json()["account"],
        "test",
        "the only one"
    );
    let unknown = station.register_as("PUMP1", json!({"account": "nobody"})).await;
    assert_eq!(unknown, (400, "account_unknown"));
    assert_eq!(unknown.json()["pointer"], "/account");

    station.restart_with(several).await;
    assert_eq!(station.register("PUMP2").await, (400, "account_unknown"), "left out");
    assert_eq!(station.register_as("PUMP2", json!({"account": "chile"})).await, 201);
    let refused = station.push("PUMP2", order("T-1", "100.50")).await;
    assert_eq!(refused, (400, "invalid_field"), "pesos of Chile have no decimals");
    assert_eq!(refused.json()["pointer"], "/amount");
    let pushed = station.push("PUMP2", order("T-1", "100")).await.json();
    assert_eq!(
        (&pushed["amount"], &pushed["currency_id"]),
        (&json!("100"), &json!("CLP"))
    );

    // An account that is configured no more keeps what it offered, and gets nothing new.
    station.restart_with(Setup::default()).await;
    assert_eq!(station.poll("PUMP2").await, (200, "T-1"));
    assert_eq!(
        station.replace("PUMP2", order("T-2", "100")).await,
        (400, "account_unknown")
    );
    assert_eq!(station.cancel("PUMP2").await, 204);
}

#[tokio::test]
async fn points_of_sale_are_listed_by_name_in_pages() {
    let station = Station::start().await;
    for pos in ["C", "a", "B.1", "A", "b-2"] {
        station.register(pos).await;
    }
    station.register("gone").await;
    station.delete("/v1/pos/gone").await;
    let names = |page: &Value| -> Vec<String> {
        let rows = page["pos"].as_array().expect("rows").iter();
        rows.map(|row| row["pos"].as_str().expect("a name").to_owned())
            .collect()
    };
    let all = station.get("/v1/pos").await.json();
    assert_eq!(names(&all), ["A", "B.1", "C", "a", "b-2"]);
    assert_eq!(all["next"], Value::Null);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = station.get(&format!("/v1/pos?limit=2{cursor}")).await.json();
        assert!(names(&page).len() <= 2);
        seen.extend(names(&page));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, names(&all), "each once");
    assert_eq!(
        station.get("/v1/pos?cursor=zzz").await.json(),
        json!({"pos": [], "next": null})
    );
}

/// However large the orders are that are open on them.
#[tokio::test]
async fn a_page_of_points_of_sale_is_bounded_in_bytes() {
    let station = Station::start().await;
    let item = json!({"title": "t".repeat(100), "description": "d".repeat(255), "quantity": 1, "unit_price": 1,
        "sku_number": "s".repeat(100), "category": "c".repeat(100), "picture_url": format!("https://{}", "u".repeat(492))});
    let large = json!({"items": vec![item; 50]});
    let all: Vec<String> = (10..40).map(|n| format!("P-{n}")).collect();
    for pos in &all {
        assert_eq!(station.register(pos).await, 201);
        assert_eq!(station.push(pos, &large).await, 201);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    let mut pages = 0;
    loop {
        let page = station.get(&format!("/v1/pos?limit=1000{cursor}")).await;
        assert!(page.body.len() < 1_200_000, "{} bytes", page.body.len());
        let page = page.json();
        let rows = page["pos"].as_array().expect("rows").iter();
        seen.extend(rows.map(|row| row["pos"].as_str().expect("a name").to_owned()));
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, all, "each once");
    assert!(pages > 1, "one page holds them all");
}

#[tokio::test]
async fn a_state_is_what_polls_are_told() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    for state in ["in_process", "timeout", "unavailable", "in_process"] {
        assert_eq!(station.say("PUMP1", json!({"state": state})).await, 204);
        assert_eq!(station.poll("PUMP1").await, (400, state));
        assert_eq!(station.pos("PUMP1").await["state"], state);
    }
    station
        .say("PUMP1", json!({"state": "in_process", "message": "Cargando"}))
        .await;
    assert_eq!(station.pos("PUMP1").await["message"], "Cargando");
    assert_eq!(station.poll("PUMP1").await.json()["error"]["message"], "Cargando");
    let rev = station.pos("PUMP1").await["rev"].clone();
    station
        .say("PUMP1", json!({"state": "in_process", "message": "Cargando"}))
        .await;
    assert_eq!(
        station.pos("PUMP1").await["rev"],
        rev,
        "the same word again is nothing new"
    );
    assert_eq!(
        station.say("PUMP9", json!({"state": "timeout"})).await,
        (404, "pos_unknown")
    );
    assert_eq!(station.hold_lease("PUMP9", 30).await, (404, "pos_unknown"));

    // An order ends what was said, and any ending leaves it unavailable.
    station.push("PUMP1", order("T-1", "100")).await;
    assert_eq!(station.pos("PUMP1").await["state"], "ready");
    assert_eq!(station.pos("PUMP1").await["message"], Value::Null);
    station.cancel("PUMP1").await;
    assert_eq!(station.poll("PUMP1").await, (400, "unavailable"));
}

#[tokio::test]
async fn a_lease_that_runs_out_is_a_timeout() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let mut feed = station.feed("").await;
    let word = json!({"state": "in_process", "message": "Filling", "lease_seconds": 1});
    assert_eq!(station.say("PUMP1", word).await, 204);
    assert_eq!(feed.until("state_changed").await.data["state"], "in_process");
    assert!(station.pos("PUMP1").await["lease_until"].is_string());
    let lapsed = feed.until("state_changed").await;
    assert_eq!(lapsed.data["state"], "timeout");
    assert_eq!(station.poll("PUMP1").await, (400, "timeout"));
    let pos = station.pos("PUMP1").await;
    assert_eq!(
        (&pos["state"], &pos["lease_until"], &pos["message"]),
        (&json!("timeout"), &Value::Null, &Value::Null)
    );

    // Renewed in time it goes on, and says nothing.
    station
        .say("PUMP1", json!({"state": "in_process", "lease_seconds": 1}))
        .await;
    assert_eq!(station.hold_lease("PUMP1", 3600).await, 204);
    station.register("PUMP2").await;
    station
        .say("PUMP2", json!({"state": "in_process", "lease_seconds": 2}))
        .await;
    while feed.until("state_changed").await.data["pos"] != "PUMP2" {}
    assert_eq!(
        feed.next().await.data["pos"],
        "PUMP2",
        "the first lease, older than this one, did not lapse"
    );
    assert_eq!(station.poll("PUMP1").await, (400, "in_process"));
    // A new word without a lease keeps the one that is held.
    station.say("PUMP1", json!({"state": "unavailable"})).await;
    assert!(station.pos("PUMP1").await["lease_until"].is_string());
}

#[tokio::test]
async fn a_lease_touches_no_order_unless_it_is_required() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    station.register_as("PUMP2", json!({"require_lease": true})).await;
    let mut feed = station.feed("?pos=PUMP2").await;

    station.push("PUMP2", order_for("T-2", 3600)).await;
    assert_eq!(
        station.poll("PUMP2").await,
        (400, "timeout"),
        "no controller has said that it is alive"
    );
    assert_eq!(station.pos("PUMP2").await["state"], "timeout");
    assert_eq!(
        station.pos("PUMP2").await["order"]["status"],
        "ready",
        "the order stays"
    );
    station.hold_lease("PUMP2", 3600).await;
    let offered = station.poll("PUMP2").await;
    assert_eq!(offered, (200, "T-2"));

    station.push("PUMP1", order_for("T-1", 3600)).await;
    station.hold_lease("PUMP1", 1).await;
    station.hold_lease("PUMP2", 1).await;
    let mut states = Vec::new();
    while states.last() != Some(&json!("timeout")) || states.len() < 2 {
        states.push(feed.until("state_changed").await.data["state"].clone());
    }
    assert_eq!(states, ["ready", "timeout"]);
    assert_eq!(station.poll("PUMP2").await, (400, "timeout"));
    assert_eq!(station.poll("PUMP1").await, (200, "T-1"), "this one asks for none");
    assert_eq!(station.pos("PUMP1").await["state"], "ready");

    station.hold_lease("PUMP2", 3600).await;
    assert_eq!(feed.until("state_changed").await.data["state"], "ready");
    assert_eq!(station.poll("PUMP2").await.body, offered.body, "the same bytes again");
    assert_eq!(station.status("T-2").await, "shown");
}

#[tokio::test]
async fn leases_hold_across_a_restart() {
    let mut station = Station::start().await;
    station.register_as("PUMP1", json!({"require_lease": true})).await;
    station.hold_lease("PUMP1", 3600).await;
    station.push("PUMP1", order_for("T-1", 3600)).await;
    let offered = station.poll("PUMP1").await;
    let until = station.pos("PUMP1").await["lease_until"].clone();
    station.register("PUMP2").await;
    station
        .say("PUMP2", json!({"state": "in_process", "lease_seconds": 1}))
        .await;
    station.restart().await;
    assert_eq!(station.pos("PUMP1").await["lease_until"], until);
    assert_eq!(station.poll("PUMP1").await.body, offered.body);
    let mut feed = station.feed("?after=0&pos=PUMP2").await;
    assert_eq!(feed.until("state_changed").await.data["state"], "in_process");
    assert_eq!(
        feed.until("state_changed").await.data["state"],
        "timeout",
        "it lapses all the same"
    );
    assert_eq!(station.poll("PUMP2").await, (400, "timeout"));
}

#[tokio::test]
async fn over_tcp_only_the_token_opens() {
    let setup = Setup::default()
        .env("SURTIDOR_CONTROL__TCP", "127.0.0.1:0")
        .env("SURTIDOR_CONTROL__TOKEN", CANARIES[2]);
    let station = Station::with(setup).await;
    let bearer = format!("Bearer {}", CANARIES[2]);
    assert_eq!(station.call_tcp(Some(&bearer), "GET", "/v1/pos").await, 200);
    let shouted = format!("bEARER {}", CANARIES[2]);
    assert_eq!(station.call_tcp(Some(&shouted), "GET", "/v1/pos").await, 200);
    let longer = format!("{bearer}x");
    for wrong in [
        None,
        Some(""),
        Some("Bearer"),
        Some("Bearer "),
        Some("Bearer wrong"),
        Some(&longer),
        Some("Basic YTpi"),
    ] {
        for (method, path) in [
            ("GET", "/v1/pos"),
            ("PUT", "/v1/pos/PUMP1"),
            ("GET", "/nowhere"),
            ("GET", "/v1/events"),
        ] {
            assert_eq!(
                station.call_tcp(wrong, method, path).await,
                (401, "unauthorized"),
                "{wrong:?}"
            );
        }
    }
    assert_eq!(
        station
            .metric("surtidor_control_problems_total{code=\"unauthorized\"}")
            .await,
        28.0
    );
    assert_eq!(station.get("/v1/pos").await, 200, "the socket needs none");
}

#[tokio::test]
async fn a_connection_serves_many_calls() {
    let station = Station::start().await;
    let mut wire: Wire = station.controller().await;
    for n in 0..100 {
        let body = json!({"keys": {"locationId": "1", "positionId": n.to_string()}}).to_string();
        let head = format!(
            "PUT /v1/pos/P{n} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        wire.send((head + &body).as_bytes()).await;
        let reply = wire.reply().await;
        reply.check_control();
        assert_eq!(reply, 201);
    }
    wire.send(b"GET /v1/pos/P99 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(wire.reply().await, (200, "P99"));
    assert!(wire.rest().await.is_empty());
}

/// An order must be offered for the merchant whose POS it is, whoever that was when its first byte came.
#[tokio::test]
async fn an_order_is_read_under_the_account_that_its_pos_has_by_then() {
    let other = "id = \"other\"\ncollector_id = 999\nsite = \"MLC\"";
    let station = Station::with(Setup::default().account(other)).await;
    let keys = json!({"locationId": "1", "positionId": "A"});
    let given_to = |account: &str| json!({"account": account, "keys": keys});
    assert_eq!(station.put("/v1/pos/A", given_to("test")).await, 201);

    let order = order("T-1", "100").to_string();
    let mut slow = station.controller().await;
    let length = order.len();
    slow.send(format!("PUT /v1/pos/A/order HTTP/1.1\r\nhost: s\r\ncontent-length: {length}\r\n\r\n").as_bytes())
        .await;
    slow.send(&order.as_bytes()[..5]).await;
    assert_eq!(station.put("/v1/pos/A", given_to("other")).await, 200);
    slow.send(&order.as_bytes()[5..]).await;
    let reply = slow.reply().await;
    assert_eq!(reply, 201);
    assert_eq!(reply.json()["currency_id"], "CLP");
    let polled = station.poll_with("locationId=1&positionId=A").await;
    assert_eq!(polled.json()["collector_id"], 999);
}

/// As `nc -N` and many a small client do: ask, say that there is no more, and read.
#[tokio::test]
async fn a_client_that_says_no_more_is_answered() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let order = order("T-1", "100").to_string();
    let mut wire = station.controller().await;
    let length = order.len();
    let call = format!("PUT /v1/pos/PUMP1/order HTTP/1.1\r\nhost: s\r\ncontent-length: {length}\r\n\r\n{order}");
    wire.send(call.as_bytes()).await;
    wire.say_no_more().await;
    assert_eq!(wire.reply().await, 201);
}

/// Whoever was away reads what happened on a POS that is gone by then.
#[tokio::test]
async fn the_events_of_a_removed_pos_can_be_read() {
    let station = Station::start().await;
    station.register("GONE").await;
    assert_eq!(station.delete("/v1/pos/GONE").await, 204);
    let page = station.page("?pos=GONE&after=0&wait=0").await;
    assert_eq!(page.types(), ["pos_registered", "pos_removed"]);
    assert_eq!(station.get("/v1/events?pos=NEVER&wait=0").await, (404, "pos_unknown"));
}

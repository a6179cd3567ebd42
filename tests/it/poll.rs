//! What Mercado Pago sees.

use serde_json::json;
use surtidor::app::ReloadError;

use crate::support::golden::golden;
use crate::support::http::patiently;
use crate::support::station::{CANARIES, Setup, Station, order, order_for};

#[tokio::test]
async fn an_order_is_polled_from_the_push_to_its_end_and_not_beyond() {
    let station = Station::start().await;
    assert_eq!(station.poll("PUMP1").await, (400, "invalid"), "nobody registered it");
    station.register("PUMP1").await;
    assert_eq!(station.poll("PUMP1").await, (400, "unavailable"));
    station.push("PUMP1", order("T-1", "18525.50")).await;
    let first = station.poll("PUMP1").await;
    assert_eq!(first, (200, "T-1"));
    for _ in 0..3 {
        assert_eq!(
            station.poll("PUMP1").await.body,
            first.body,
            "the same bytes while it can be paid"
        );
    }
    station.cancel("PUMP1").await;
    assert_eq!(station.poll("PUMP1").await, (400, "unavailable"));
    station.delete("/v1/pos/PUMP1").await;
    assert_eq!(station.poll("PUMP1").await, (400, "invalid"));
}

#[tokio::test]
async fn replies_are_these_bytes() {
    let setup = Setup::default()
        .env(
            "SURTIDOR_NOTIFICATIONS__PUBLIC_URL",
            "https://pay.example.com/notifications",
        )
        .account("id = \"v2\"\ncollector_id = 7\nsponsor_id = 8\nsite = \"MCO\"\npoll_dialect = \"order-version-2\"")
        .account("id = \"bare\"\ncollector_id = 9\nsite = \"MLC\"");
    let station = Station::with(setup).await;
    station.register_as("PUMP1", json!({"account": "test"})).await;
    station.register_as("PUMP2", json!({"account": "v2"})).await;
    station.register_as("PUMP3", json!({"account": "bare"})).await;

    let mut said = format!("# no such place\n{}", station.poll("PUMP9").await.bytes());
    for (dialect, pos) in [("documented", "PUMP1"), ("order-version-2", "PUMP2")] {
        for (name, word) in [
            ("unavailable", json!({"state": "unavailable"})),
            ("in_process", json!({"state": "in_process"})),
            ("timeout", json!({"state": "timeout"})),
            (
                "in_process with a message",
                json!({"state": "in_process", "message": "Sale \"nafta\", ¡ojo! \\o/"}),
            ),
            (
                "timeout with a message",
                json!({"state": "timeout", "message": "El surtidor no responde."}),
            ),
        ] {
            assert_eq!(station.say(pos, word).await, 204);
            said.push_str(&format!("\n# {dialect}: {name}\n{}", station.poll(pos).await.bytes()));
        }
    }
    golden("poll-waiting.txt", &said);

    let items = |price: &str| {
        json!({"items": [
            {"title": "SUPER 23.45 L", "description": "Pump 4, SUPER", "quantity": 1, "unit_price": price,
             "sku_number": "SUPER", "category": "fuel", "unit_measure": "unit", "picture_url": "https://a.example/s.png"},
            {"title": "Café", "quantity": 2, "unit_price": 900},
        ], "metadata": {"nozzle": 4}, "external_reference": ""})
    };
    let mut said = String::new();
    for (pos, name, reference, price) in [
        ("PUMP1", "documented", "T-000123", "18525.50"),
        ("PUMP2", "order-version-2", "T-000124", "18525"),
        ("PUMP3", "documented, no sponsor, no decimals", "T-000125", "18525"),
    ] {
        let mut order = items(price);
        order["external_reference"] = json!(reference);
        assert_eq!(station.push(pos, order).await, (201, reference));
        said.push_str(&format!("# {name}\n{}\n", unmarked(&station.poll(pos).await.bytes())));
    }
    golden("poll-order.txt", &said);
}

/// Without our mark, which is of a key that each folder has anew.
fn unmarked(text: &str) -> String {
    let (before, rest) = text.split_once("&t=").expect("a notification_url with our mark");
    let (mark, after) = rest.split_at(22);
    assert!(
        mark.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
        "{mark}"
    );
    format!("{before}&t={}{after}", "x".repeat(22))
}

#[tokio::test]
async fn amounts_keep_their_digits() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    for (i, (given, polled)) in [
        ("18525.50", "18525.50"),
        ("18525.5", "18525.50"),
        ("0.01", "0.01"),
        ("7", "7.00"),
        ("999999999999.99", "999999999999.99"),
    ]
    .into_iter()
    .enumerate()
    {
        for (form, amount) in [("number", given.to_owned()), ("string", format!("{given:?}"))] {
            let body = format!(r#"{{"external_reference":"T-{form}-{i}","amount":{amount},"title":"SUPER"}}"#);
            let pushed = station.replace("PUMP1", body).await;
            assert_eq!(pushed, 201);
            assert_eq!(pushed.json()["amount"], polled);
            let poll = station.poll("PUMP1").await.text();
            assert!(
                poll.contains(&format!("\"unit_price\":{polled}")),
                "{given} as a {form}: {poll}"
            );
        }
    }
}

#[tokio::test]
async fn keys_name_a_pos_however_they_are_written() {
    let station = Station::start().await;
    let keys = json!({"keys": {"locationId": "62 32", "positionId": "ñ&=1"}});
    station.register_as("PUMP1", keys).await;
    for query in [
        "locationId=62%2032&positionId=%C3%B1%26%3D1",
        "positionId=%C3%B1%26%3D1&locationId=62+32",
        "locationId=62%2032&positionId=%c3%b1%26%3d1&other=1&x",
        "a=b&&locationId=62%2032&c&positionId=%C3%B1%26=1",
        "locationId=62%2032&locationId=other&positionId=%C3%B1%26%3D1&positionId=2",
        "%6cocationId=62%2032&positionId=%C3%B1%26%3D1",
    ] {
        assert_eq!(station.poll_with(query).await, (400, "unavailable"), "{query}");
    }
    for query in [
        "",
        "locationId=62%2032",
        "positionId=%C3%B1%26%3D1",
        "locationId=&positionId=%C3%B1%26%3D1",
        "locationId=other&locationId=62%2032&positionId=%C3%B1%26%3D1",
        "locationid=62%2032&positionid=%C3%B1%26%3D1",
        "locationId=62%2032%1F%C3%B1%26%3D1",
        "locationId=62%2032&positionId=%C3%B1%26%3D1x",
        &format!("locationId=62%2032&positionId={}", "x".repeat(4000)),
    ] {
        assert_eq!(station.poll_with(query).await, (400, "invalid"), "{query}");
    }
}

#[tokio::test]
async fn other_keys_and_another_path_are_a_matter_of_configuration() {
    let setup = Setup::default()
        .env("SURTIDOR_POLL__PATH", "/qr/unattended")
        .env("SURTIDOR_POLL__KEYS", "apies,pos,side");
    let station = Station::with(setup).await;
    let keys = json!({"keys": {"apies": "6232", "pos": "1", "side": "A"}});
    assert_eq!(station.register_as("PUMP1", keys).await, (201, "PUMP1"));
    let mut wire = station.poller().await;
    wire.send(b"GET /qr/unattended?side=A&apies=6232&pos=1 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    assert_eq!(wire.reply().await, (400, "unavailable"));
    wire.send(b"GET /pay-mp?side=A&apies=6232&pos=1 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    assert_eq!(wire.reply().await, (404, "not_found"));
}

#[tokio::test]
async fn a_url_secret_is_asked_for_where_one_is_configured() {
    let secrets = |text: &str| Setup::default().env("SURTIDOR_POLL__SECRET", text);
    let tag = |secret: &str, pos: &str| {
        let pos = surtidor::domain::id::PosId::parse(pos).expect("a name");
        surtidor::table::UrlSecrets::new(&[secret]).tags(&pos)[0]
            .as_str()
            .to_owned()
    };
    let with = |tag: &str| format!("locationId=1&positionId=PUMP1&k={tag}");
    let mut station = Station::with(secrets(CANARIES[3])).await;
    station.register("PUMP1").await;
    station.register_as("PUMP2", json!({"url_secret": false})).await;

    let right = tag(CANARIES[3], "PUMP1");
    assert_eq!(station.poll_with(&with(&right)).await, (400, "unavailable"));
    let in_front = format!("k={right}&positionId=PUMP1&locationId=1");
    assert_eq!(station.poll_with(&in_front).await, (400, "unavailable"));
    for wrong in [
        "",
        "x",
        &right[1..],
        &tag(CANARIES[3], "PUMP2"),
        &tag("another-secret", "PUMP1"),
    ] {
        assert_eq!(station.poll_with(&with(wrong)).await, (400, "invalid"), "{wrong:?}");
    }
    assert_eq!(station.poll("PUMP1").await, (400, "invalid"), "no secret");
    assert_eq!(station.poll("PUMP2").await, (400, "unavailable"), "it needs none");

    // Turned: the new one makes URLs, the old one is still good; then the old one goes.
    station.push("PUMP1", order("T-1", "100")).await;
    station
        .restart_with(secrets(&format!("the-new-secret\n{}", CANARIES[3])))
        .await;
    assert_eq!(station.poll_with(&with(&right)).await, (200, "T-1"));
    let new = tag("the-new-secret", "PUMP1");
    assert_eq!(station.poll_with(&with(&new)).await, (200, "T-1"));
    station.restart_with(secrets("the-new-secret")).await;
    assert_eq!(station.poll_with(&with(&right)).await, (400, "invalid"));
    assert_eq!(station.poll_with(&with(&new)).await, (200, "T-1"));
    station.cancel("PUMP1").await;

    // A POS may be changed to need none while it runs.
    station.register_as("PUMP1", json!({"url_secret": false})).await;
    assert_eq!(station.poll("PUMP1").await, (400, "unavailable"));
    station.register("PUMP1").await;
    assert_eq!(station.poll("PUMP1").await, (400, "invalid"));
    station.restart_with(Setup::default()).await;
    assert_eq!(
        station.poll("PUMP1").await,
        (400, "unavailable"),
        "none is configured any more"
    );
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    station.push("PUMP1", order("T-1", "100")).await;
    let whole = station.poll("PUMP1").await;
    let mut wire = station.poller().await;
    let target = "/pay-mp?locationId=1&positionId=PUMP1";
    for _ in 0..2 {
        wire.send(format!("HEAD {target} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
            .await;
        let head = wire.head().await;
        assert_eq!(head.status, 200);
        for name in ["content-type", "content-length", "cache-control"] {
            assert_eq!(head.header(name), whole.header(name), "{name}");
        }
    }
    // No byte of a body stands before the next reply.
    wire.send(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
        .await;
    assert_eq!(wire.reply().await.body, whole.body);
}

#[tokio::test]
async fn what_is_no_poll_is_refused() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let target = "/pay-mp?locationId=1&positionId=PUMP1";
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        let mut wire = station.poller().await;
        wire.send(format!("{method} {target} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{{}}").as_bytes())
            .await;
        let reply = wire.reply().await;
        reply.check_poll();
        assert_eq!(reply, (405, "method_not_allowed"), "{method}");
        assert_eq!(reply.header("allow"), Some("GET, HEAD"));
    }
    for path in [
        "/",
        "/pay-mp/",
        "/pay-mp/x",
        "/PAY-MP",
        "/v1/pos",
        "//pay-mp",
        "/metrics",
    ] {
        let mut wire = station.poller().await;
        wire.send(format!("GET {path}?locationId=1&positionId=PUMP1 HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
            .await;
        let reply = wire.reply().await;
        reply.check_poll();
        assert_eq!(reply, (404, "not_found"), "{path}");
    }
    for body in [
        "content-length: 2\r\n\r\n{}",
        "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ] {
        let mut wire = station.poller().await;
        wire.send(format!("GET {target} HTTP/1.1\r\nhost: a\r\n{body}").as_bytes())
            .await;
        let reply = wire.reply().await;
        reply.check_poll();
        assert_eq!(reply, (400, "invalid"), "a body");
        assert_eq!(reply.header("connection"), Some("close"));
        assert!(wire.rest().await.is_empty(), "it closes");
    }
    assert_eq!(station.poll("PUMP1").await, (400, "unavailable"), "and hurts nobody");
}

#[tokio::test]
async fn a_connection_is_kept_until_it_is_to_be_closed() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let get = |version: &str, connection: &str| {
        let line = format!("GET /pay-mp?locationId=1&positionId=PUMP1 {version}\r\nhost: a\r\n");
        format!("{line}{connection}\r\n").into_bytes()
    };
    let mut wire = station.poller().await;
    for _ in 0..50 {
        wire.send(&get("HTTP/1.1", "")).await;
        assert_eq!(wire.reply().await, (400, "unavailable"));
    }
    // Several asked for at once are answered in order.
    wire.send(&[get("HTTP/1.1", ""), get("HTTP/1.1", ""), get("HTTP/1.1", "")].concat())
        .await;
    for _ in 0..3 {
        assert_eq!(wire.reply().await, (400, "unavailable"));
    }
    wire.send(&get("HTTP/1.1", "connection: close\r\n")).await;
    let last = wire.reply().await;
    assert_eq!(last.header("connection"), Some("close"));
    assert!(wire.rest().await.is_empty());

    let mut old = station.poller().await;
    old.send(&get("HTTP/1.0", "")).await;
    let whole = String::from_utf8(old.rest().await).expect("text");
    assert!(
        whole.starts_with("HTTP/1.0 400 ") && whole.ends_with(r#"{"error":{"type":"unavailable"}}"#),
        "{whole}"
    );
}

#[tokio::test]
async fn malformed_requests_are_closed_and_counted_and_hurt_nobody() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let long = format!("GET /pay-mp?locationId={} HTTP/1.1\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET /pay-mp HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100));
    let bad: [&[u8]; 7] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"GET /pay-mp HTTP/9.9\r\n\r\n",
        b"GET /pay-mp HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /pay-mp\xff HTTP/1.1\r\n\x00: 1\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    let mut bystander = station.poller().await;
    for bytes in bad {
        let mut wire = station.poller().await;
        wire.send(bytes).await;
        let answer = String::from_utf8(wire.rest().await).expect("text");
        let refused = ["HTTP/1.1 400 ", "HTTP/1.1 431 ", "HTTP/1.1 414 "];
        assert!(
            answer.is_empty() || refused.iter().any(|line| answer.starts_with(line)),
            "{answer}"
        );
        bystander
            .send(b"GET /pay-mp?locationId=1&positionId=PUMP1 HTTP/1.1\r\nhost: a\r\n\r\n")
            .await;
        assert_eq!(bystander.reply().await, (400, "unavailable"));
    }
    assert_eq!(
        station
            .metric("surtidor_connections_malformed_total{face=\"poll\"}")
            .await,
        7.0
    );
}

#[tokio::test]
async fn connections_beyond_the_cap_are_closed_and_counted() {
    let station = Station::with(Setup::default().env("SURTIDOR_POLL__CONNECTIONS", "3")).await;
    station.register("PUMP1").await;
    let get = b"GET /pay-mp?locationId=1&positionId=PUMP1 HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut wire = station.poller().await;
        wire.send(get).await;
        assert_eq!(wire.reply().await, 400);
        held.push(wire);
    }
    let mut one_more = station.poller().await;
    one_more.send(get).await;
    assert!(one_more.rest().await.is_empty(), "it is closed without a word");
    assert_eq!(
        station
            .metric("surtidor_connections_refused_total{face=\"poll\"}")
            .await,
        1.0
    );
    assert_eq!(station.metric("surtidor_connections{face=\"poll\"}").await, 3.0);
    // One that closes makes room. Its end is seen once ours is answered with nothing more.
    let mut leaving = held.pop().expect("three are held");
    leaving
        .send(b"GET /pay-mp HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    leaving.rest().await;
    held[0].send(get).await;
    assert_eq!(held[0].reply().await, 400);
    let mut next = station.poller().await;
    next.send(get).await;
    assert_eq!(next.reply().await, (400, "unavailable"));
}

#[tokio::test]
async fn both_dialects_follow_the_account_also_after_a_reload() {
    let documented = "id = \"other\"\ncollector_id = 7\nsite = \"MLA\"";
    let newer = format!("{documented}\npoll_dialect = \"order-version-2\"");
    let mut station = Station::with(Setup::default().account(documented)).await;
    for (pos, account) in [("PUMP1", "test"), ("PUMP2", "other"), ("PUMP3", "other")] {
        station.register_as(pos, json!({"account": account})).await;
    }
    station.push("PUMP3", order("T-3", "100")).await;
    let offered = station.poll("PUMP3").await.body;

    station.setup(Setup::default().account(&newer));
    station
        .app()
        .reload(station.config())
        .await
        .expect("accounts may change");
    assert_eq!(station.poll("PUMP1").await, (400, "unavailable"));
    // The writer follows when it comes to it.
    patiently(async { while station.poll("PUMP2").await != (202, "Waiting_for_order") {} }).await;
    assert_eq!(station.poll("PUMP3").await.body, offered, "an order keeps its bytes");
    station.push("PUMP2", order("T-2", "100")).await;
    assert_eq!(station.poll("PUMP2").await.header("order-version"), Some("2"));
    assert_eq!(station.poll("PUMP1").await.header("order-version"), None);
    station.cancel("PUMP3").await;
    assert_eq!(station.poll("PUMP3").await, (202, "Waiting_for_order"));
    assert_eq!(
        station.poll_with("locationId=1&positionId=9").await,
        (400, "invalid"),
        "of no account"
    );
}

#[tokio::test]
async fn a_reload_refuses_what_cannot_change() {
    let mut station = Station::start().await;
    station.setup(Setup::default().env("SURTIDOR_POLL__PATH", "/elsewhere"));
    let refused = station.app().reload(station.config()).await;
    assert!(matches!(refused, Err(ReloadError::Fixed(keys)) if keys == ["poll.path"]));
}

#[tokio::test]
async fn an_order_of_a_pos_that_is_not_polled_is_never_shown() {
    let station = Station::start().await;
    for mode in ["attended", "intent"] {
        station.register_as(mode, json!({"mode": mode})).await;
        assert_eq!(station.poll(mode).await, (400, "unavailable"));
        station.say(mode, json!({"state": "in_process"})).await;
        assert_eq!(station.poll(mode).await, (400, "unavailable"), "whatever its state");
        let order = order_for(&format!("T-{mode}"), 60);
        assert_eq!(station.push(mode, order).await, 201);
        assert_eq!(station.poll(mode).await, (400, "unavailable"), "Mercado Pago has it");
    }
}

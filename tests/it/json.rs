//! JSON as it should not be written, and numbers as they should not be read: each call says what is wrong and where, and
//! no digit is lost.

use serde_json::Value;

use crate::support::http::Reply;
use crate::support::station::{Station, order};

/// All calls that take a body.
const CALLS: &[(&str, &str)] = &[
    ("PUT", "/v1/pos/PUMP2"),
    ("PUT", "/v1/pos/PUMP1/state"),
    ("PUT", "/v1/pos/PUMP1/lease"),
    ("PUT", "/v1/pos/PUMP1/order"),
    ("PUT", "/v1/orders/T-1/delivery"),
    ("POST", "/v1/orders/T-1/refunds"),
];

const NOT_JSON: &[&[u8]] = &[
    b"\xef\xbb\xbf{}",
    b"\xef\xbb\xbf",
    b"\xff\xfe{\0}\0",
    b"{/* comment */}",
    b"// comment\n{}",
    b"# comment\n{}",
    b"{}{}",
    b"{} ]",
    b"{",
    b"}",
    b"[1,]",
    b"{\"a\":1,}",
    b"{,}",
    b"{\"a\"}",
    b"{\"a\":}",
    b"{a:1}",
    b"{'a':1}",
    b"{1:1}",
    b"{\"a\":NaN}",
    b"{\"a\":-Infinity}",
    b"{\"a\":0x10}",
    b"{\"a\":.5}",
    b"{\"a\":5.}",
    b"{\"a\":00}",
    b"{\"a\":-}",
    b"{\"a\":1e}",
    b"{\"a\":True}",
    b"{\"a\":nul}",
    b"{\"a\":\"\t\"}",
    b"{\"a\":\"\\x41\"}",
    b"{\"a\":\"\\u00g0\"}",
    b"{\"a\":\"\xff\"}",
    b"{\"\xff\":1}",
    b"{\"a\":\"\xc0\x80\"}",
    b"{\"a\":\"\xf4\x90\x80\x80\"}",
    b"{\"a\":\"",
    b"{\"a\":\"\\",
];

async fn call(station: &Station, method: &str, path: &str, body: &[u8]) -> Reply {
    let mut wire = station.controller().await;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nidempotency-key: k\r\ncontent-length: {length}\r\n\r\n");
    wire.send(&[head.as_bytes(), body].concat()).await;
    let reply = wire.reply().await;
    reply.check_control();
    reply
}

async fn station() -> Station {
    let station = Station::start().await;
    station.register("PUMP1").await;
    assert_eq!(station.push("PUMP1", order("T-1", "100")).await, 201);
    station
}

#[tokio::test]
async fn what_is_no_json_is_no_json_for_every_call() {
    let station = station().await;
    let before = station.pos("PUMP1").await;
    for (method, path) in CALLS {
        for body in NOT_JSON {
            let reply = call(&station, method, path, body).await;
            assert_eq!(reply, (400, "invalid_json"), "{path} {}", body.escape_ascii());
        }
        for deep in [
            "[".repeat(10_000),
            "{\"a\":".repeat(10_000),
            "[{\"a\":".repeat(5_000),
            format!("{{\"metadata\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000)),
        ] {
            let reply = call(&station, method, path, deep.as_bytes()).await;
            assert_eq!(reply, (400, "too_deep"), "{path}");
        }
        let long = format!("{{\"title\":\"{}\"}}", "x".repeat(1_000_000));
        let reply = call(&station, method, path, long.as_bytes()).await;
        assert_eq!(reply, (413, "body_too_large"), "{path}");
    }
    assert_eq!(station.pos("PUMP1").await, before, "nothing happened");
}

#[tokio::test]
async fn what_is_no_object_is_refused_by_every_call() {
    let station = station().await;
    for (method, path) in CALLS {
        for body in [
            "[]",
            "[{}]",
            "null",
            "true",
            "0",
            "-0",
            "1e400",
            "\"{}\"",
            "\"\\ud800\"",
        ] {
            let reply = call(&station, method, path, body.as_bytes()).await;
            assert_eq!(reply, (400, "invalid_field"), "{path} {body}");
            assert_eq!(pointer(&reply), "", "{path} {body}");
        }
        for (body, code, at) in [
            (r#"{"x":1,"x":1}"#, "duplicate_key", "/x"),
            (r#"{"x":1,"\u0078":1}"#, "duplicate_key", "/x"),
        ] {
            let reply = call(&station, method, path, body.as_bytes()).await;
            assert_eq!(
                (reply.word().as_str(), pointer(&reply).as_str()),
                (code, at),
                "{path} {body}"
            );
        }
    }
}

fn pointer(reply: &Reply) -> String {
    let problem = reply.json();
    problem
        .get("pointer")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn a_number_that_is_no_amount_is_refused_where_it_stands() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let digits = "9".repeat(29);
    let point = format!("0.{}", "0".repeat(28) + "1");
    for number in [
        "1E400",
        "-1e400",
        "1e-400",
        "1E-400",
        "0e0",
        "1e0",
        "1E+2",
        "-0",
        "-0.0",
        "-0.00",
        "0.0",
        "0.001",
        "-1",
        &digits,
        &point,
        &"1".repeat(5_000),
    ] {
        for (amount, form) in [(number.to_owned(), "a number"), (format!("{number:?}"), "a text")] {
            let short = format!(r#"{{"title":"a","amount":{amount}}}"#);
            let reply = station.push("PUMP1", short).await;
            assert_eq!(pointer(&reply), "/amount", "{number} as {form}");
            assert_eq!(reply, (400, "invalid_field"), "{number} as {form}");
            let items = format!(
                r#"{{"items":[{{"title":"a","quantity":1,"unit_price":"1"}},{{"title":"b","quantity":1,"unit_price":{amount}}}]}}"#
            );
            let reply = station.push("PUMP1", items).await;
            // A second item may be free of charge, however nothing is written.
            if reply.status != 201 {
                assert_eq!(reply, (400, "invalid_field"), "{number} as {form}");
                assert_eq!(pointer(&reply), "/items/1/unit_price", "{number} as {form}");
            }
            station.cancel("PUMP1").await;
        }
    }
}

#[tokio::test]
async fn sums_are_exact() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let cents = vec![("0.01", 1); 50];
    for (lines, sum) in [
        (vec![("0.1", 1), ("0.2", 1)], "0.30"),
        (vec![("0.1", 3)], "0.30"),
        (vec![("0.1", 1), ("0.7", 1), ("0.2", 1)], "1.00"),
        (vec![("1.1", 3), ("2.2", 1)], "5.50"),
        (vec![("0.07", 100)], "7.00"),
        (vec![("4.35", 100)], "435.00"),
        (vec![("1.15", 1_000_000)], "1150000.00"),
        (vec![("999999999999.98", 1), ("0.01", 1)], "999999999999.99"),
        (cents, "0.50"),
    ] {
        for quote in ["", "\""] {
            let item = |(price, quantity): &(&str, u32)| {
                format!(r#"{{"title":"a","quantity":{quantity},"unit_price":{quote}{price}{quote}}}"#)
            };
            let items: Vec<String> = lines.iter().map(item).collect();
            let pushed = station
                .replace("PUMP1", format!(r#"{{"items":[{}]}}"#, items.join(",")))
                .await;
            assert_eq!(pushed, 201, "{lines:?}");
            assert_eq!(pushed.json()["amount"], sum, "{lines:?}");
            let reference = pushed.json()["external_reference"].as_str().unwrap().to_owned();
            let kept = station.order(&reference).await;
            assert_eq!(kept["amount"], sum, "{lines:?}");
        }
    }
}

/// It is the controller's own, so not a digit of it is ours to lose. But an event that others cannot parse would stop them.
#[tokio::test]
async fn metadata_comes_back_digit_for_digit() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let metadata = r#"{"a":1e308,"b":[0,null],"c":1E-400,"d":0.1,"e":12345678901234567890123456789,"f":0.30000000000000004,"g":-1.50000000000000000000000000001,"h":"\ud83d\ude00"}"#;
    let body = format!(r#"{{"external_reference":"T-1","title":"a","amount":1,"metadata":{metadata}}}"#);
    let pushed = station.push("PUMP1", body).await;
    assert_eq!(pushed, 201);
    let kept = metadata.replace("\\ud83d\\ude00", "\u{1f600}");
    for told in [
        pushed.text(),
        station.get("/v1/orders/T-1").await.text(),
        station.get("/v1/events?after=0&wait=0").await.text(),
    ] {
        assert!(told.contains(&kept), "{told}");
    }
    for wrong in [
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\ud800\u0041"}"#,
        r#"{"a":"\udc00\ud800"}"#,
        r#"{"\ud800":1}"#,
        r#"{"a":[1e400]}"#,
        r#"{"a":{"b":-1E309}}"#,
    ] {
        let body = format!(r#"{{"title":"a","amount":1,"metadata":{wrong}}}"#);
        let reply = station.replace("PUMP1", body).await;
        assert_eq!(reply.status, 400, "{wrong}");
        assert!(pointer(&reply).starts_with("/metadata"), "{wrong}: {reply:?}");
    }
}

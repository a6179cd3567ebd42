//! Bad input: a clear error with a stable code and the place of what is wrong, and nothing lost.

use serde_json::{Value, json};

use crate::support::golden::golden;
use crate::support::station::{Station, order};

/// A body of an order, and the code and pointer with which it is refused.
const ORDERS: &[(&str, &str, &str)] = &[
    // No JSON at all.
    ("", "invalid_json", ""),
    ("   ", "invalid_json", ""),
    ("nope", "invalid_json", ""),
    ("{", "invalid_json", ""),
    (r#"{"amount":"1","title":"a"} x"#, "invalid_json", ""),
    (r#"{"amount":"1","title":"a",}"#, "invalid_json", ""),
    (r#"{"amount":01,"title":"a"}"#, "invalid_json", ""),
    (r#"{"amount":NaN,"title":"a"}"#, "invalid_json", ""),
    (r#"{"amount":Infinity,"title":"a"}"#, "invalid_json", ""),
    (r#"{"amount":1.,"title":"a"}"#, "invalid_json", ""),
    (r#"{"amount":+1,"title":"a"}"#, "invalid_json", ""),
    ("{\"amount\":\"1\",\"title\":\"a\u{0}\"}", "invalid_json", ""),
    // Another shape.
    ("null", "invalid_field", ""),
    ("[]", "invalid_field", ""),
    ("\"order\"", "invalid_field", ""),
    ("17", "invalid_field", ""),
    ("{}", "invalid_field", "/items"),
    // Amounts.
    (r#"{"title":"a","amount":1e400}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":1e2}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":"1e2"}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":-1}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":"-0.01"}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":0}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":"0.00"}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":1.001}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":"1.000"}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":"1,50"}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":" 1"}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":"+1"}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":""}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":"."}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":"NaN"}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":"1_000"}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":"１"}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":1000000000000}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":true}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":[1]}"#, "invalid_field", "/amount"),
    (r#"{"title":"a","amount":null}"#, "invalid_field", "/items"),
    // Texts.
    (r#"{"amount":"1"}"#, "invalid_field", "/title"),
    (r#"{"amount":"1","title":""}"#, "invalid_field", "/title"),
    (r#"{"amount":"1","title":7}"#, "invalid_field", "/title"),
    (r#"{"amount":"1","title":"a\nb"}"#, "invalid_field", "/title"),
    (r#"{"amount":"1","title":"a\u0000"}"#, "invalid_field", "/title"),
    (r#"{"amount":"1","title":"\ud800"}"#, "invalid_field", "/title"),
    (r#"{"amount":"1","title":"  "}"#, "invalid_field", "/title"),
    (r#"{"amount":"1","title":"a\u202eb"}"#, "invalid_field", "/title"),
    (
        r#"{"amount":"1","title":"a","description":""}"#,
        "invalid_field",
        "/description",
    ),
    // The reference.
    (
        r#"{"amount":"1","title":"a","external_reference":""}"#,
        "invalid_field",
        "/external_reference",
    ),
    (
        r#"{"amount":"1","title":"a","external_reference":"a b"}"#,
        "invalid_field",
        "/external_reference",
    ),
    (
        r#"{"amount":"1","title":"a","external_reference":"á"}"#,
        "invalid_field",
        "/external_reference",
    ),
    (
        r#"{"amount":"1","title":"a","external_reference":7}"#,
        "invalid_field",
        "/external_reference",
    ),
    // The rest.
    (
        r#"{"amount":"1","title":"a","expires_in_seconds":0}"#,
        "invalid_field",
        "/expires_in_seconds",
    ),
    (
        r#"{"amount":"1","title":"a","expires_in_seconds":86401}"#,
        "invalid_field",
        "/expires_in_seconds",
    ),
    (
        r#"{"amount":"1","title":"a","expires_in_seconds":-1}"#,
        "invalid_field",
        "/expires_in_seconds",
    ),
    (
        r#"{"amount":"1","title":"a","expires_in_seconds":1.5}"#,
        "invalid_field",
        "/expires_in_seconds",
    ),
    (
        r#"{"amount":"1","title":"a","expires_in_seconds":"300"}"#,
        "invalid_field",
        "/expires_in_seconds",
    ),
    (
        r#"{"amount":"1","title":"a","expires_in_seconds":1e400}"#,
        "invalid_field",
        "/expires_in_seconds",
    ),
    (
        r#"{"amount":"1","title":"a","metadata":7}"#,
        "invalid_field",
        "/metadata",
    ),
    (
        r#"{"amount":"1","title":"a","metadata":[]}"#,
        "invalid_field",
        "/metadata",
    ),
    (
        r#"{"amount":"1","title":"a","metadata":{"a":"\udc00"}}"#,
        "invalid_field",
        "/metadata/a",
    ),
    (
        r#"{"amount":"1","title":"a","late_payment":"keep"}"#,
        "invalid_field",
        "/late_payment",
    ),
    (
        r#"{"amount":"1","title":"a","late_payment":"Refund"}"#,
        "invalid_field",
        "/late_payment",
    ),
    // Items.
    (r#"{"items":[]}"#, "invalid_field", "/items"),
    (r#"{"items":{}}"#, "invalid_field", "/items"),
    (r#"{"items":[7]}"#, "invalid_field", "/items/0"),
    (r#"{"items":[{}]}"#, "invalid_field", "/items/0/title"),
    (
        r#"{"items":[{"title":"a","quantity":1,"unit_price":1}],"amount":"1"}"#,
        "invalid_field",
        "/amount",
    ),
    (
        r#"{"items":[{"title":"a","quantity":1,"unit_price":1},{"title":"b","unit_price":1}]}"#,
        "invalid_field",
        "/items/1/quantity",
    ),
    (
        r#"{"items":[{"title":"a","quantity":23.45,"unit_price":1}]}"#,
        "invalid_field",
        "/items/0/quantity",
    ),
    (
        r#"{"items":[{"title":"a","quantity":0,"unit_price":1}]}"#,
        "invalid_field",
        "/items/0/quantity",
    ),
    (
        r#"{"items":[{"title":"a","quantity":1000001,"unit_price":1}]}"#,
        "invalid_field",
        "/items/0/quantity",
    ),
    (
        r#"{"items":[{"title":"a","quantity":4294967297,"unit_price":1}]}"#,
        "invalid_field",
        "/items/0/quantity",
    ),
    (
        r#"{"items":[{"title":"a","quantity":"1","unit_price":1}]}"#,
        "invalid_field",
        "/items/0/quantity",
    ),
    (
        r#"{"items":[{"title":"a","quantity":1}]}"#,
        "invalid_field",
        "/items/0/unit_price",
    ),
    (
        r#"{"items":[{"title":"a","quantity":1,"unit_price":-1}]}"#,
        "invalid_field",
        "/items/0/unit_price",
    ),
    (
        r#"{"items":[{"title":"a","quantity":1,"unit_price":0}]}"#,
        "invalid_field",
        "/items",
    ),
    (
        r#"{"items":[{"title":"a","quantity":1000000,"unit_price":"999999999999.99"}]}"#,
        "invalid_field",
        "/items",
    ),
    (
        r#"{"items":[{"title":"a","quantity":1,"unit_price":1,"unit_measure":"litre"}]}"#,
        "invalid_field",
        "/items/0/unit_measure",
    ),
    (
        r#"{"items":[{"title":"a","quantity":1,"unit_price":1,"picture_url":"ftp://a"}]}"#,
        "invalid_field",
        "/items/0/picture_url",
    ),
    (
        r#"{"items":[{"title":"a","quantity":1,"unit_price":1,"sku_number":7}]}"#,
        "invalid_field",
        "/items/0/sku_number",
    ),
    // Unknown and repeated.
    (r#"{"amont":"1","title":"a"}"#, "unknown_field", "/amont"),
    (r#"{"amount":"1","title":"a","titel":"a"}"#, "unknown_field", "/titel"),
    (
        r#"{"amount":"1","title":"a","currency_id":"ARS"}"#,
        "unknown_field",
        "/currency_id",
    ),
    (
        r#"{"amount":"1","title":"a","collector_id":1}"#,
        "unknown_field",
        "/collector_id",
    ),
    (r#"{"amount":"1","title":"a","a/b~c":1}"#, "unknown_field", "/a~1b~0c"),
    (r#"{"amount":"1","title":"a","":1}"#, "unknown_field", "/"),
    (
        r#"{"amount":"1","title":"a","quantity":1}"#,
        "unknown_field",
        "/quantity",
    ),
    (
        r#"{"items":[{"title":"a","quantity":1,"unit_price":1,"price":1}]}"#,
        "unknown_field",
        "/items/0/price",
    ),
    (r#"{"amount":"1","title":"a","amount":"2"}"#, "duplicate_key", "/amount"),
    (
        r#"{"amount":"1","title":"a","\u0074itle":"b"}"#,
        "duplicate_key",
        "/title",
    ),
    (
        r#"{"items":[{"title":"a","quantity":1,"unit_price":1,"quantity":2}]}"#,
        "duplicate_key",
        "/items/0/quantity",
    ),
    (
        r#"{"amount":"1","title":"a","metadata":{"x":{"y":1,"y":1}}}"#,
        "duplicate_key",
        "/metadata/x/y",
    ),
];

#[tokio::test]
async fn a_wrong_order_is_refused_with_its_place() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    for (body, code, pointer) in ORDERS {
        let reply = station.push("PUMP1", body).await;
        assert_eq!(reply, (400, *code), "{body}");
        let problem = reply.json();
        let found = problem.get("pointer").and_then(Value::as_str).unwrap_or_default();
        assert_eq!(found, *pointer, "{body}");
    }
    assert_eq!(
        station.poll("PUMP1").await,
        (400, "unavailable"),
        "nothing was left behind"
    );
    assert_eq!(station.get("/v1/orders").await.json()["orders"], json!([]));
    assert_eq!(
        station
            .metric("surtidor_control_problems_total{code=\"duplicate_key\"}")
            .await,
        4.0
    );
    assert_eq!(station.push("PUMP1", order("T-1", "1")).await, 201, "and it goes on");
}

#[tokio::test]
async fn every_bound_of_an_order_is_at_its_place() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let item = |key: &str, value: Value| {
        let mut item = json!({"title": "a", "quantity": 1, "unit_price": 1});
        item[key] = value;
        json!({"items": [item]})
    };
    let short = |key: &str, value: Value| {
        let mut order = json!({"title": "a", "amount": 1});
        order[key] = value;
        order
    };
    let text = |len: usize| json!("ñ".repeat(len));
    let items = |count: usize| json!({"items": vec![json!({"title": "a", "quantity": 1, "unit_price": 1}); count]});
    let url = |len: usize| json!(format!("https://{}", "a".repeat(len - 8)));
    let metadata = |len: usize| json!({"a": "x".repeat(len - r#"{"a":""}"#.len())});
    for length in [101, 255, 256] {
        let refused = station.push("PUMP1", short("title", text(length))).await.json();
        assert_eq!(refused["detail"], "title must have at most 100 characters", "{length}");
    }
    for (pointer, fits, too_much) in [
        ("/title", short("title", text(100)), short("title", text(101))),
        (
            "/description",
            short("description", text(255)),
            short("description", text(256)),
        ),
        (
            "/external_reference",
            short("external_reference", json!("x".repeat(64))),
            short("external_reference", json!("x".repeat(65))),
        ),
        ("/items/0/title", item("title", text(100)), item("title", text(101))),
        (
            "/items/0/description",
            item("description", text(255)),
            item("description", text(256)),
        ),
        (
            "/items/0/sku_number",
            item("sku_number", text(100)),
            item("sku_number", text(101)),
        ),
        (
            "/items/0/category",
            item("category", text(100)),
            item("category", text(101)),
        ),
        (
            "/items/0/picture_url",
            item("picture_url", url(500)),
            item("picture_url", url(501)),
        ),
        (
            "/items/0/quantity",
            item("quantity", json!(1_000_000)),
            item("quantity", json!(1_000_001)),
        ),
        ("/items", items(50), items(51)),
        (
            "/metadata",
            short("metadata", metadata(4096)),
            short("metadata", metadata(4097)),
        ),
        (
            "/expires_in_seconds",
            short("expires_in_seconds", json!(86400)),
            short("expires_in_seconds", json!(86401)),
        ),
    ] {
        assert_eq!(station.replace("PUMP1", fits).await, 201, "{pointer}");
        let refused = station.replace("PUMP1", too_much).await;
        assert_eq!(refused, (400, "invalid_field"), "{pointer}");
        assert_eq!(refused.json()["pointer"], pointer);
    }
}

#[tokio::test]
async fn wrong_registrations_states_and_leases_are_refused_with_their_place() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let keys = r#""keys":{"locationId":"1","positionId":"2"}"#;
    let long = "x".repeat(61);
    let name = "x".repeat(45);
    for (path, body, code, pointer) in [
        ("/v1/pos/P", "{}".to_owned(), "invalid_field", "/keys"),
        ("/v1/pos/P", r#"{"keys":7}"#.into(), "invalid_field", "/keys"),
        (
            "/v1/pos/P",
            r#"{"keys":{}}"#.into(),
            "invalid_field",
            "/keys/locationId",
        ),
        (
            "/v1/pos/P",
            r#"{"keys":{"locationId":"1"}}"#.into(),
            "invalid_field",
            "/keys/positionId",
        ),
        (
            "/v1/pos/P",
            r#"{"keys":{"locationId":1,"positionId":"2"}}"#.into(),
            "invalid_field",
            "/keys/locationId",
        ),
        (
            "/v1/pos/P",
            r#"{"keys":{"locationId":"1","positionId":""}}"#.into(),
            "invalid_field",
            "/keys/positionId",
        ),
        (
            "/v1/pos/P",
            format!(r#"{{"keys":{{"locationId":"1","positionId":"{long}"}}}}"#),
            "invalid_field",
            "/keys/positionId",
        ),
        (
            "/v1/pos/P",
            r#"{"keys":{"locationId":"1\u001f","positionId":"2"}}"#.into(),
            "invalid_field",
            "/keys/locationId",
        ),
        (
            "/v1/pos/P",
            r#"{"keys":{"locationId":"1","positionId":"2","k":"3"}}"#.into(),
            "unknown_field",
            "/keys/k",
        ),
        (
            "/v1/pos/P",
            r#"{"keys":{"locationId":"1","positionId":"2","positionId":"3"}}"#.into(),
            "duplicate_key",
            "/keys/positionId",
        ),
        (
            "/v1/pos/P",
            format!(r#"{{{keys},"mode":"other"}}"#),
            "invalid_field",
            "/mode",
        ),
        (
            "/v1/pos/P",
            format!(r#"{{{keys},"name":"{name}"}}"#),
            "invalid_field",
            "/name",
        ),
        (
            "/v1/pos/P",
            format!(r#"{{{keys},"require_lease":"yes"}}"#),
            "invalid_field",
            "/require_lease",
        ),
        (
            "/v1/pos/P",
            format!(r#"{{{keys},"url_secret":0}}"#),
            "invalid_field",
            "/url_secret",
        ),
        (
            "/v1/pos/P",
            format!(r#"{{{keys},"external_id":"A-1"}}"#),
            "invalid_field",
            "/external_id",
        ),
        (
            "/v1/pos/P",
            format!(r#"{{{keys},"external_store_id":"a b"}}"#),
            "invalid_field",
            "/external_store_id",
        ),
        (
            "/v1/pos/P",
            format!(r#"{{{keys},"account":7}}"#),
            "invalid_field",
            "/account",
        ),
        (
            "/v1/pos/P",
            format!(r#"{{{keys},"account":"a b"}}"#),
            "account_unknown",
            "/account",
        ),
        (
            "/v1/pos/P",
            format!(r#"{{{keys},"state":"ready"}}"#),
            "unknown_field",
            "/state",
        ),
        ("/v1/pos/PUMP1/state", "{}".into(), "invalid_field", "/state"),
        (
            "/v1/pos/PUMP1/state",
            r#"{"state":"ready"}"#.into(),
            "invalid_field",
            "/state",
        ),
        (
            "/v1/pos/PUMP1/state",
            r#"{"state":"invalid"}"#.into(),
            "invalid_field",
            "/state",
        ),
        (
            "/v1/pos/PUMP1/state",
            r#"{"state":"timeout","message":7}"#.into(),
            "invalid_field",
            "/message",
        ),
        (
            "/v1/pos/PUMP1/state",
            format!(r#"{{"state":"timeout","message":"{}"}}"#, "x".repeat(256)),
            "invalid_field",
            "/message",
        ),
        (
            "/v1/pos/PUMP1/state",
            r#"{"state":"timeout","lease_seconds":0}"#.into(),
            "invalid_field",
            "/lease_seconds",
        ),
        (
            "/v1/pos/PUMP1/state",
            r#"{"state":"timeout","seconds":1}"#.into(),
            "unknown_field",
            "/seconds",
        ),
        ("/v1/pos/PUMP1/lease", "{}".into(), "invalid_field", "/seconds"),
        (
            "/v1/pos/PUMP1/lease",
            r#"{"seconds":86401}"#.into(),
            "invalid_field",
            "/seconds",
        ),
        (
            "/v1/pos/PUMP1/lease",
            r#"{"seconds":"30"}"#.into(),
            "invalid_field",
            "/seconds",
        ),
        (
            "/v1/pos/PUMP1/lease",
            r#"{"seconds":30,"seconds":30}"#.into(),
            "duplicate_key",
            "/seconds",
        ),
        ("/v1/orders/T-1/delivery", "{}".into(), "invalid_field", "/result"),
        (
            "/v1/orders/T-1/delivery",
            r#"{"result":"ok"}"#.into(),
            "invalid_field",
            "/result",
        ),
        (
            "/v1/orders/T-1/delivery",
            r#"{"result":"dispensed","amount":"1"}"#.into(),
            "unknown_field",
            "/amount",
        ),
        (
            "/v1/orders/T-1/delivery",
            r#"{"result":"failed","amount":true}"#.into(),
            "invalid_field",
            "/amount",
        ),
        (
            "/v1/orders/T-1/delivery",
            r#"{"result":"failed","reason":""}"#.into(),
            "invalid_field",
            "/reason",
        ),
    ] {
        let reply = station.put(path, &body).await;
        assert_eq!(reply, (400, code), "{body}");
        assert_eq!(reply.json()["pointer"], pointer, "{body}");
    }
    assert_eq!(station.get("/v1/pos/P").await, (404, "pos_unknown"));
    assert_eq!(station.pos("PUMP1").await["rev"], 1, "nothing happened");
}

#[tokio::test]
async fn wrong_names_paths_methods_and_parameters_are_refused() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let long = format!("/v1/pos/{}", "x".repeat(65));
    for (method, path, status, code) in [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v2/pos", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/pos/PUMP1/other", 404, "not_found"),
        ("GET", "/v1/orders/T-1/receipt", 404, "order_unknown"),
        ("GET", "/v1/orders/T-1/receipt?width=40", 400, "invalid_parameter"),
        ("GET", "/v1/orders/T-1/receipt?width=032", 400, "invalid_parameter"),
        ("GET", "/v1/orders/T-1/receipt?format=pdf", 400, "invalid_parameter"),
        ("GET", "/v1/orders/T-1/receipt?columns=32", 400, "invalid_parameter"),
        ("POST", "/v1/orders/T-1/receipt", 405, "method_not_allowed"),
        ("GET", "/v1/orders/T-1/refunds", 405, "method_not_allowed"),
        ("PUT", "/v1/orders/T-1/refunds", 405, "method_not_allowed"),
        ("POST", "/v1/orders/T-1/refunds", 400, "invalid_idempotency_key"),
        ("POST", "/v1/orders/T-1/refunds?amount=1", 400, "invalid_parameter"),
        ("GET", "/V1/POS", 404, "not_found"),
        ("GET", &long, 400, "invalid_name"),
        ("GET", "/v1/pos/", 400, "invalid_name"),
        ("GET", "/v1/pos/..", 400, "invalid_name"),
        ("GET", "//v1/pos", 404, "not_found"),
        ("GET", "/v1/pos/a%20b", 400, "invalid_name"),
        ("GET", "/v1/pos/a%2Fb", 400, "invalid_name"),
        ("GET", "/v1/pos/%ff", 400, "invalid_name"),
        ("GET", "/v1/pos/NOBODY", 404, "pos_unknown"),
        ("GET", "/v1/pos/pump1", 404, "pos_unknown"),
        ("GET", "/v1/pos/%50UMP1", 200, "PUMP1"),
        ("GET", "/v1/orders/T-1", 404, "order_unknown"),
        ("GET", "/v1/orders/a%20b", 404, "order_unknown"),
        ("DELETE", "/v1/pos/PUMP1/order", 404, "order_none"),
        ("DELETE", "/v1/pos/NOBODY/order", 404, "pos_unknown"),
        ("DELETE", "/v1/pos/NOBODY", 404, "pos_unknown"),
        ("POST", "/v1/pos", 405, "method_not_allowed"),
        ("POST", "/v1/pos/PUMP1", 405, "method_not_allowed"),
        ("GET", "/v1/pos/PUMP1/order", 405, "method_not_allowed"),
        ("GET", "/v1/pos/PUMP1/state", 405, "method_not_allowed"),
        ("DELETE", "/v1/pos/PUMP1/lease", 405, "method_not_allowed"),
        ("PUT", "/v1/orders", 405, "method_not_allowed"),
        ("DELETE", "/v1/orders/T-1", 405, "method_not_allowed"),
        ("GET", "/v1/orders/T-1/delivery", 405, "method_not_allowed"),
        ("DELETE", "/v1/events", 405, "method_not_allowed"),
        ("GET", "/v1/pos?limit=0", 400, "invalid_parameter"),
        ("GET", "/v1/pos?limit=1001", 400, "invalid_parameter"),
        ("GET", "/v1/pos?limit=x", 400, "invalid_parameter"),
        ("GET", "/v1/pos?cursor=a%20b", 400, "invalid_parameter"),
        ("GET", "/v1/pos?page=2", 400, "invalid_parameter"),
        ("GET", "/v1/pos/PUMP1?verbose", 400, "invalid_parameter"),
        ("DELETE", "/v1/pos/PUMP1?force=true", 400, "invalid_parameter"),
        ("PUT", "/v1/pos/PUMP1/order?replcae=true", 400, "invalid_parameter"),
        ("PUT", "/v1/pos/PUMP1/order?replace=yes", 400, "invalid_parameter"),
        (
            "PUT",
            "/v1/pos/PUMP1/order?replace=true&replace=false",
            400,
            "invalid_parameter",
        ),
        (
            "DELETE",
            "/v1/pos/PUMP1/order?reason=changed_mind",
            400,
            "invalid_parameter",
        ),
        ("GET", "/v1/orders?status=open", 400, "invalid_parameter"),
        ("GET", "/v1/orders?since=yesterday", 400, "invalid_parameter"),
        ("GET", "/v1/orders?since=2026-11-21", 400, "invalid_parameter"),
        ("GET", "/v1/orders?cursor=abc", 400, "invalid_parameter"),
        ("GET", "/v1/orders?cursor=-1", 400, "invalid_parameter"),
        ("GET", "/v1/orders?pos=a%20b", 400, "invalid_parameter"),
        ("GET", "/v1/events?wait=61", 400, "invalid_parameter"),
        ("GET", "/v1/events?wait=-1", 400, "invalid_parameter"),
        ("GET", "/v1/events?after=-1", 400, "invalid_parameter"),
        ("GET", "/v1/events?after=99999999999999999999", 400, "invalid_parameter"),
        ("GET", "/v1/events?pos=NOBODY", 404, "pos_unknown"),
    ] {
        assert_eq!(station.call(method, path, "").await, (status, code), "{method} {path}");
    }
    assert_eq!(station.get("/v1/pos/PUMP1").await, 200);
}

#[tokio::test]
async fn large_deep_and_foreign_bodies_are_refused() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let path = "/v1/pos/PUMP1/order";
    let million = format!(r#"{{"amount":"1","title":"{}"}}"#, "x".repeat(1_000_000));
    assert_eq!(station.put(path, &million).await, (413, "body_too_large"));
    let just = |len: usize| format!("{{\"amount\":\"1\",\"title\":\"a\"{}}}", " ".repeat(len - 26));
    assert_eq!(station.put(path, just(64 * 1024)).await, 201);
    assert_eq!(station.put(path, just(64 * 1024 + 1)).await, (413, "body_too_large"));

    // The same in chunks, without a length told before.
    let mut wire = station.controller().await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let head = format!("PUT {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    wire.send((head + &chunk.repeat(4)).as_bytes()).await;
    let refused = wire.reply().await;
    refused.check_control();
    assert_eq!(refused, (413, "body_too_large"));

    for deep in [
        "[".repeat(30_000),
        "{\"a\":".repeat(10_000),
        format!("{}{}", "[".repeat(17), "]".repeat(17)),
    ] {
        assert_eq!(station.put(path, &deep).await, (400, "too_deep"));
    }
    let nested = |levels: usize| {
        let inner = format!("{}1{}", r#"{"a":"#.repeat(levels - 1), "}".repeat(levels - 1));
        format!(r#"{{"amount":"1","title":"a","metadata":{inner}}}"#)
    };
    assert_eq!(station.replace("PUMP1", nested(16)).await, 201);
    assert_eq!(station.replace("PUMP1", nested(17)).await, (400, "too_deep"));

    for bytes in [
        &b"\xff\xfe"[..],
        b"{\"amount\":\"1\",\"title\":\"\xff\"}",
        b"{\"amount\":\"1\",\"title\":\"\xed\xa0\x80\"}",
        b"\x00\x00\x00\x00",
    ] {
        assert_eq!(station.call_bytes("PUT", path, bytes).await, (400, "invalid_json"));
    }
    // Thousands of members are looked at once each, not once for each pair.
    let members: Vec<String> = (0..6_000).map(|n| format!("\"{n}\":0")).collect();
    let begun = std::time::Instant::now();
    let refused = station.put(path, format!("{{{}}}", members.join(","))).await;
    assert_eq!(refused.status, 400);
    assert!(begun.elapsed().as_secs() < 5);
    assert_eq!(station.pos("PUMP1").await["state"], "ready", "it goes on");
}

#[tokio::test]
async fn problems_are_this_json() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    station.register("PUMP2").await;
    station.push("PUMP1", order("T-1", "100")).await;
    let mut said = String::new();
    for (method, path, body) in [
        ("GET", "/v1/pos/NOBODY", ""),
        ("GET", "/v1/orders/NONE", ""),
        ("DELETE", "/v1/pos/PUMP2/order", ""),
        (
            "PUT",
            "/v1/pos/PUMP1/order",
            r#"{"amount":"7","title":"a","external_reference":"T-2"}"#,
        ),
        (
            "PUT",
            "/v1/pos/PUMP1/order",
            r#"{"amount":"7","title":"SUPER","external_reference":"T-1"}"#,
        ),
        (
            "PUT",
            "/v1/pos/PUMP1/order",
            r#"{"amount":"100","title":"SUPER","external_reference":"t-1"}"#,
        ),
        (
            "PUT",
            "/v1/pos/PUMP2/order",
            r#"{"amount":"100","title":"SUPER","external_reference":"T-1"}"#,
        ),
        (
            "PUT",
            "/v1/pos/PUMP2",
            r#"{"keys":{"locationId":"1","positionId":"PUMP1"}}"#,
        ),
        (
            "PUT",
            "/v1/pos/PUMP2",
            r#"{"keys":{"locationId":"1","positionId":"2"},"account":"none"}"#,
        ),
        ("PUT", "/v1/orders/T-1/delivery", r#"{"result":"dispensed"}"#),
        ("POST", "/v1/orders/T-1/refunds", "{}"),
        ("GET", "/v1/orders/T-1/receipt", ""),
        ("GET", "/v1/orders/T-1/receipt?width=40", ""),
        ("PUT", "/v1/pos/PUMP1/order", "{"),
        (
            "PUT",
            "/v1/pos/PUMP1/order",
            r#"{"items":[{"title":"a","quantity":2.5,"unit_price":1}]}"#,
        ),
        (
            "PUT",
            "/v1/pos/PUMP1/order",
            r#"{"amount":"1","title":"a","currency":"ARS"}"#,
        ),
        ("PUT", "/v1/pos/PUMP1/order", r#"{"amount":1e400,"title":"a"}"#),
        ("GET", "/v1/events?after=999999", ""),
        ("GET", "/v1/pos?limit=0", ""),
        ("GET", "/v1/pos/a%20b", ""),
        ("GET", "/nowhere", ""),
        ("PATCH", "/v1/pos/PUMP1", ""),
    ] {
        let reply = station.call(method, path, body).await;
        said.push_str(&format!("# {method} {path} {body}\n{}\n", reply.text()));
    }
    golden("problems.txt", &said);
}

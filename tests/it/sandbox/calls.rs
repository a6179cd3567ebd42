//! Each endpoint's shapes and refusals.

use serde_json::{Value, json};
use surtidor::sandbox::{Account, Settings, Status, TEST_TOKEN};

use super::{Desk, STORE, USER, place, refused};
use crate::support::merchant::Merchant;

#[tokio::test]
async fn a_token_is_asked_for_everywhere() {
    let desk = Desk::start();
    for header in ["", "Authorization: Bearer nobody-1\r\n", "Authorization: Basic x\r\n"] {
        for target in ["/pos", "/merchant_orders/search", "/v1/payments/1"] {
            let reply = desk.call_with("GET", target, header, "").await;
            assert_eq!(refused(&reply), (401, "unauthorized".into(), json!(401)));
        }
    }
    let reply = desk.call("GET", "/users/1/stores/search", "").await;
    assert_eq!(refused(&reply).0, 403, "another user's");
    assert_eq!(desk.call("GET", "/users/x/stores/search", "").await.status, 400);
    assert_eq!(desk.call("GET", "/nowhere", "").await.status, 404);
    assert_eq!(desk.sandbox.calls().await.unwrap()["GET /pos"], 3);
    assert!(desk.sandbox.stop());
}

#[tokio::test]
async fn stores_are_kept_and_refused_by_key() {
    let desk = Desk::start();
    let stores = format!("/users/{USER}/stores");
    let made = desk.call("POST", &stores, STORE).await.json();
    let id: u64 = made["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(made["location"]["address_line"], "Av. Uno 1, Rosario, Santa Fe");
    assert_eq!(made["location"]["latitude"], json!(-32.95));
    assert_eq!(desk.get(&format!("/stores/{id}")).await, made);
    let found = desk.get(&format!("{stores}/search?external_id=S1")).await;
    assert_eq!(found["results"], json!([made]));

    for (from, to, key) in [
        ("\"external_id\":\"S1\",", "", ""),
        ("S1", "S1", "VALIDATION_ERROR"),
        ("\"name\":\"Station\",", "", "INVALID_NAME"),
        ("\"name\"", "\"nombre\"", "INVALID_NAME"),
        ("\"name\":", "\"more\":1,\"name\":", "UNKNOWN_FIELD"),
        (
            "\"street_number\":\"1\"",
            "\"street_number\":1",
            "INVALID_STREET_NUMBER",
        ),
        ("-32.95", "-132.95", "INVALID_LATITUDE"),
        ("\"longitude\":-60.64", "\"longitude\":\"x\"", "INVALID_LONGITUDE"),
        ("monday", "lunes", "INVALID_DAY"),
        ("08:00", "25:00", "INVALID_BUSINESS_HOURS"),
    ] {
        let reply = desk.call("POST", &stores, &STORE.replace(from, to)).await;
        if key.is_empty() {
            assert_eq!(reply.status, 200, "{reply:?}");
        } else {
            assert_eq!(refused(&reply).1, key, "{from} {to}");
        }
    }
    let reply = desk.call("PUT", &format!("{stores}/{id}"), r#"{"name":"Other"}"#).await;
    assert_eq!(reply.json()["name"], "Other");
    let gone = desk.call("DELETE", &format!("{stores}/{id}"), "").await;
    assert_eq!(gone.json(), json!({"store": id, "user": USER}));
    assert_eq!(desk.call("GET", &format!("/stores/{id}"), "").await.status, 404);
}

#[tokio::test]
async fn a_pos_has_the_documented_limits() {
    let settings = Settings {
        url_hosts: vec!["pay.example.com".into()],
        ..Settings::default()
    };
    let desk = Desk::with(settings);
    let made = desk.pos("PUMP4", "https://pay.example.com/pay-mp?locationId=1").await;
    assert_eq!(made["user_id"], USER);
    assert_eq!(made["external_store_id"], "S1");
    assert!(made["store_id"].is_string() && made["id"].is_u64() && made["status"] == "active");
    let id = made["id"].as_u64().unwrap();

    let good = json!({"name": "P", "fixed_amount": true, "external_store_id": "S1", "external_id": "PUMP5"});
    for (member, value, status, key) in [
        ("external_id", json!("pump4"), 409, "EXTERNAL_ID_ALREADY_USED"),
        ("external_id", json!("PUMP-5"), 400, "INVALID_EXTERNAL_ID"),
        ("external_id", json!("A".repeat(40)), 400, "EXTERNAL_ID_TOO_LONG"),
        ("name", json!("n".repeat(45)), 400, "NAME_TOO_LONG"),
        ("name", Value::Null, 400, "INVALID_NAME"),
        ("fixed_amount", json!("true"), 400, "INVALID_FIXED_AMOUNT"),
        ("category", json!(5_812), 400, "UNKNOWN_MCC"),
        ("category", json!("fuel"), 400, "INVALID_CATEGORY"),
        ("external_store_id", json!("S2"), 400, "INEXISTENT_EXTERNAL_STORE_ID"),
        ("external_store_id", Value::Null, 400, "INVALID_STORE_ID"),
        ("store_id", json!("x"), 400, "INVALID_STORE_ID"),
        ("store_id", json!(1), 404, "STORE_NOT_FOUND"),
        ("url", json!("pay.example.com"), 400, "INVALID_URL"),
        (
            "url",
            json!(format!("https://pay.example.com/{}", "a".repeat(280))),
            400,
            "URL_TOO_LONG",
        ),
        ("url", json!("https://elsewhere.example.com/"), 403, "forbidden"),
        ("more", json!(1), 400, "UNKNOWN_FIELD_EXCEPTION"),
    ] {
        let mut body = good.clone();
        body[member] = value;
        let reply = desk.call("POST", "/pos", &body.to_string()).await;
        assert_eq!((refused(&reply).0, refused(&reply).1.as_str()), (status, key), "{body}");
    }
    assert_eq!(refused(&desk.call("POST", "/pos", "").await).1, "MISSING_BODY");

    let of = format!("/pos/{id}");
    for (body, key) in [
        (r#"{"external_id":"NEW"}"#, "UNKNOWN_FIELD_EXCEPTION"),
        (r#"{"fixed_amount":false}"#, "FIXED_AMOUNT_FALSE"),
        (r#"{"category":1}"#, "POS_UNKNOWN_MCC"),
        (r#"{"store_id":"x"}"#, "POS_INVALID_STORE_ID"),
    ] {
        assert_eq!(refused(&desk.call("PUT", &of, body).await).1, key, "{body}");
    }
    let changed = desk.call("PUT", &of, r#"{"name":"Pump 44"}"#).await.json();
    assert_eq!(desk.get(&of).await, changed);
    assert_eq!((&changed["name"], &changed["url"]), (&json!("Pump 44"), &made["url"]));
    let found = desk
        .get("/pos?external_id=PUMP4&external_store_id=S1&category=473000")
        .await;
    assert_eq!((&found["paging"]["total"], &found["results"][0]), (&json!(1), &changed));
    assert_eq!(desk.get("/pos?external_id=NONE").await["results"], json!([]));
    assert_eq!(refused(&desk.call("GET", "/pos/x", "").await).1, "INVALID_POS_ID");
    assert_eq!(desk.call("DELETE", &of, "").await.status, 204);
    assert_eq!(desk.call("GET", &of, "").await.status, 404);
}

#[tokio::test]
async fn the_qr_is_a_picture_that_needs_no_token() {
    let desk = Desk::start();
    let pos = desk.pos("PUMP4", "").await;
    let image = pos["qr"]["image"].as_str().unwrap().to_owned();
    let target = image.strip_prefix(&desk.sandbox.base_url()).unwrap();
    let reply = desk.call_with("GET", target, "", "").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("image/png")));
    assert!(reply.body.starts_with(b"\x89PNG\r\n"));
    assert_eq!(
        desk.call_with("GET", "/instore/merchant/qr/1/x.png", "", "")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn merchant_orders_and_payments_have_their_members() {
    let desk = Desk::start();
    let merchant = Merchant::start().await;
    let nothing = desk.get("/merchant_orders/search?external_reference=T-1").await;
    assert_eq!(nothing, json!({"elements": null, "next_offset": 0, "total": 0}));
    merchant.sells("T-1", "18525.50");
    let scan = desk.sees(place(&merchant.url("/pay"))).await;
    let payment = desk.pays(scan, Status::Approved).await;

    // References do not differ by case.
    let found = desk.get("/merchant_orders/search?external_reference=t-1").await;
    let order = &found["elements"][0];
    assert_eq!((&found["total"], &found["next_offset"]), (&json!(1), &json!(1)));
    let id = order["id"].as_u64().unwrap();
    assert_eq!(&desk.get(&format!("/merchant_orders/{id}")).await, order);
    assert_eq!(
        &desk.get("/merchant_orders?external_reference=T-1&status=closed").await["elements"][0],
        order
    );
    for (member, value) in [
        ("/status", json!("closed")),
        ("/order_status", json!("paid")),
        ("/external_reference", json!("T-1")),
        ("/collector/id", json!(USER)),
        ("/payer", Value::Null),
        ("/marketplace", json!("NONE")),
        ("/site_id", json!("MLA")),
        ("/items/0/currency_id", json!("ARS")),
        ("/payments/0/id", json!(payment.id)),
        ("/payments/0/status", json!("approved")),
        ("/payments/0/status_detail", json!("accredited")),
        ("/payments/0/operation_type", json!("regular_payment")),
        ("/cancelled", json!(false)),
    ] {
        assert_eq!(order.pointer(member), Some(&value), "{member}");
    }
    // Numbers keep the decimals that they were sent with.
    let text = desk.call("GET", &format!("/merchant_orders/{id}"), "").await.text();
    assert!(
        text.contains(r#""total_amount":18525.50,"paid_amount":18525.50,"#),
        "{text}"
    );
    let of = format!("/v1/payments/{}", payment.id);
    let shown = desk.get(&of).await;
    assert_eq!(shown["order"], json!({"id": id.to_string(), "type": "mercadopago"}));
    assert_eq!(
        (&shown["collector_id"], &shown["external_reference"]),
        (&json!(USER), &json!("T-1"))
    );
    let found = desk.get("/v1/payments/search?external_reference=T-1").await;
    assert_eq!(found["results"], json!([shown]));
    for query in [
        "status=opened",
        "date_created_from=2999-01-01T00:00:00Z",
        "payer_id=1",
        "site_id=MLB",
    ] {
        let target = format!("/merchant_orders/search?external_reference=T-1&{query}");
        assert_eq!(desk.get(&target).await["elements"], Value::Null, "{query}");
    }
    let reply = desk.call("GET", "/merchant_orders/search?limit=x", "").await;
    assert_eq!(refused(&reply).1, "ds_search_query");
    assert_eq!(
        refused(&desk.call("GET", "/merchant_orders/x", "").await).1,
        "invalid_format"
    );
    let unknown = desk.call("GET", "/v1/payments/1", "").await;
    assert_eq!(refused(&unknown), (404, "not_found".into(), json!(2000)));
}

#[tokio::test]
async fn another_collector_sees_nothing() {
    let other = "APP_USR-1-010112-abc-2";
    let accounts = [Account::new(TEST_TOKEN, "MLA"), Account::new(other, "MLC")];
    let desk = Desk::with(Settings {
        accounts: accounts.into_iter().map(Result::unwrap).collect(),
        ..Settings::default()
    });
    let merchant = Merchant::start().await;
    merchant.sells("T-1", "10.00");
    let scan = desk.sees(place(&merchant.url("/pay"))).await;
    let payment = desk.pays(scan, Status::Approved).await;
    let header = format!("Authorization: Bearer {other}\r\n");
    let get = async |target: String| desk.call_with("GET", &target, &header, "").await;
    let order = get(format!("/merchant_orders/{}", payment.merchant_order)).await;
    assert_eq!(refused(&order).1, "invalid_caller_id");
    assert_eq!(refused(&get(format!("/v1/payments/{}", payment.id)).await).2, 2000);
    let found = get("/merchant_orders/search?external_reference=T-1".into()).await;
    assert_eq!(found.json()["elements"], Value::Null);
}

#[tokio::test]
async fn refunds_are_idempotent_and_never_more_than_the_payment() {
    let desk = Desk::start();
    let merchant = Merchant::start().await;
    merchant.sells("T-1", "100.00");
    let scan = desk.sees(place(&merchant.url("/pay"))).await;
    let id = desk.pays(scan, Status::Approved).await.id;
    let refunds = format!("/v1/payments/{id}/refunds");

    let without = desk.call("POST", &refunds, "{}").await;
    assert_eq!(refused(&without), (404, "bad_request".into(), json!(4292)));
    for (body, code) in [
        (r#"{"amount":"1"}"#, 4041),
        (r#"{"amount":0}"#, 4040),
        (r#"{"amount":100.01}"#, 2063),
    ] {
        assert_eq!(refused(&desk.refund(id, "k0", body).await).2, code, "{body}");
    }
    assert_eq!(refused(&desk.refund(1, "k0", "").await).2, 2000);
    assert_eq!(refused(&desk.refund(id, "k0", r#"{"amount":0.001}"#).await).2, 2063);

    let part = desk.refund(id, "k1", r#"{"amount":30.10}"#).await;
    assert_eq!(part.status, 201);
    assert_eq!(
        desk.refund(id, "k1", r#"{"amount":30.1}"#).await.json(),
        part.json(),
        "the same again"
    );
    assert_eq!(desk.refund(id, "k1", r#"{"amount":30}"#).await.status, 409);
    let part = part.json();
    assert_eq!((&part["payment_id"], &part["status"]), (&json!(id), &json!("approved")));
    let payment = desk.get(&format!("/v1/payments/{id}")).await;
    assert_eq!(
        (&payment["status"], &payment["status_detail"]),
        (&json!("approved"), &json!("partially_refunded"))
    );

    assert_eq!(refused(&desk.refund(id, "k2", r#"{"amount":70}"#).await).2, 2063);
    let rest = desk.refund(id, "k3", "").await.json();
    assert_eq!(rest["amount"], json!(69.90));
    assert_eq!(
        refused(&desk.refund(id, "k4", "").await),
        (404, "bad_request".into(), json!(4296))
    );
    assert_eq!(
        desk.refund(id, "k3", "").await.json(),
        rest,
        "a repeat is answered even now"
    );
    assert_eq!(desk.get(&refunds).await, json!([part, rest]));
    assert_eq!(desk.get(&format!("{refunds}/{}", rest["id"])).await, rest);
    assert_eq!(refused(&desk.call("GET", &format!("{refunds}/1"), "").await).2, 2032);
    assert_eq!(desk.get(&format!("/v1/payments/{id}")).await["status"], "refunded");
    let order = &desk.sandbox.merchant_orders("T-1").await.unwrap()[0];
    assert_eq!((order.status, order.order_status), ("closed", "reverted"));
    assert_eq!(desk.sandbox.refunds("T-1").await.unwrap().len(), 2);
}

const ORDER: &str = r#"{"external_reference":"T-9","title":"Pump 4","description":"SUPER","total_amount":18525.5,
    "items":[{"title":"SUPER","unit_price":18525.5,"quantity":1,"unit_measure":"unit","total_amount":18525.5}]}"#;

#[tokio::test]
async fn an_order_is_put_on_a_pos_and_taken_off() {
    let desk = Desk::start();
    desk.pos("PUMP4", "").await;
    let put = format!("/instore/qr/seller/collectors/{USER}/stores/S1/pos/PUMP4/orders");
    let of = format!("/instore/qr/seller/collectors/{USER}/pos/PUMP4/orders");
    let none = desk.call("GET", &of, "").await;
    assert_eq!(refused(&none).1, "point_of_sale_in_store_order_not_found");
    assert_eq!(desk.call("DELETE", &of, "").await.status, 404);
    for (from, to, key) in [
        ("T-9", "T 9", "invalid_external_reference"),
        ("\"title\":\"Pump 4\",", "", "invalid_title"),
        ("\"description\":\"SUPER\",", "", "invalid_description"),
        (
            "\"total_amount\":18525.5,",
            "\"total_amount\":18525,",
            "invalid_total_amount",
        ),
        ("\"quantity\":1", "\"quantity\":\"1\"", "invalid_items.quantity"),
        ("\"quantity\":1,", "", "invalid_quantity"),
        (
            "\"unit_price\":18525.5",
            "\"unit_price\":\"18525.5\"",
            "invalid_items.unit_price",
        ),
        ("\"title\":\"Pump 4\"", "\"title\":\"x\",\"sponsor\":{}", "invalid_id"),
        (
            "\"title\":\"Pump 4\"",
            "\"title\":\"x\",\"sponsor\":{\"id\":\"x\"}",
            "invalid_sponsor.id",
        ),
        (
            "\"title\":\"Pump 4\"",
            "\"title\":\"x\",\"expiration_date\":\"2020-08-22T16:34:56.559-04:00\"",
            "invalid_expiration_date",
        ),
    ] {
        let reply = desk.call("PUT", &put, &ORDER.replacen(from, to, 1)).await;
        assert_eq!((refused(&reply).0, refused(&reply).1.as_str()), (400, key), "{from}");
    }
    let empty = r#"{"external_reference":"T","title":"t","description":"d","total_amount":1}"#;
    assert_eq!(
        refused(&desk.call("PUT", &put, empty).await).1,
        "error_creating_seller_qr_order"
    );
    assert_eq!(desk.call("PUT", &put.replace("S1", "S2"), ORDER).await.status, 404);
    assert_eq!(refused(&desk.call("PUT", &put.replace("178", "1"), ORDER).await).0, 403);

    assert_eq!(desk.call("PUT", &put, ORDER).await.status, 204);
    assert_eq!(
        desk.get(&of).await,
        json!([serde_json::from_str::<Value>(ORDER).unwrap()])
    );
    assert_eq!(
        desk.call("PUT", &put, &ORDER.replace("T-9", "T-10")).await.status,
        204,
        "it replaces"
    );
    assert_eq!(desk.get(&of).await[0]["external_reference"], "T-10");
    assert_eq!(desk.call("DELETE", &of, "").await.status, 204);
    assert_eq!(desk.call("GET", &of, "").await.status, 404);
}

const INTENT: &str = r#"{"description":"Pump 4","external_reference":"T-7","sponsor":{"id":334249281},
    "operations":[{"type":"PURCHASE","amount":"14.53"}],"enabler_configuration":{"qr_payment_mode":["STATIC"]}}"#;

#[tokio::test]
async fn an_intent_is_made_read_and_cancelled() {
    let desk = Desk::start();
    desk.pos("PUMP4", "").await;
    let create = "/instore-api/integrations/v1/intents/qr/pos/PUMP4";
    for (from, to) in [
        ("\"14.53\"", "14.53"),
        ("\"14.53\"", "\"0.00\""),
        ("PURCHASE", "BUY"),
        ("\"amount\":\"14.53\"", "\"more\":1"),
        ("STATIC", "PRINTED"),
        ("\"description\":\"Pump 4\",", ""),
    ] {
        let reply = desk.call("POST", create, &INTENT.replacen(from, to, 1)).await;
        assert_eq!(
            (refused(&reply).0, refused(&reply).1.as_str()),
            (400, "bad_request"),
            "{to}"
        );
    }
    let elsewhere = desk.call("POST", &create.replace("PUMP4", "PUMP9"), INTENT).await;
    assert_eq!(refused(&elsewhere).1, "pos_not_found");
    let made = desk.call("POST", create, INTENT).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    assert_eq!(
        (&made["status"], &made["operations"][0]["amount"]),
        (&json!("OPENED"), &json!("14.53"))
    );
    assert_eq!(refused(&desk.call("POST", create, INTENT).await).1, "Conflict");
    let of = format!(
        "/instore-api/integrations/v1/intents/{}/qr",
        made["id"].as_str().unwrap()
    );
    assert_eq!(desk.get(&of).await, made);
    assert_eq!(desk.call("DELETE", &of, "").await.status, 204);
    assert_eq!(desk.get(&of).await["status"], "CANCELED");
    assert_eq!(desk.call("DELETE", &of, "").await.status, 409);
    let dynamic = INTENT.replace("STATIC", "DYNAMIC");
    assert!(desk.call("POST", create, &dynamic).await.json()["qr_data"].is_string());
    let unknown = desk.call("GET", "/instore-api/integrations/v1/intents/x/qr", "").await;
    assert_eq!(refused(&unknown).1, "not_found");
}

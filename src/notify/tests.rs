//! Every shape of `protocol.md` 4, and what is not one of them.

use super::read::{Query, Subject, Told};
use super::*;
use crate::domain::hint::{Thing, Topic};

fn told(query: &str, body: &str) -> Result<Told, NotStored> {
    let query = Query::read(query).ok_or(NotStored::Unreadable)?;
    Told::read(&query, body.as_bytes())
}

fn thing(query: &str, body: &str) -> Result<Thing, NotStored> {
    match told(query, body)?.subject? {
        Subject::Thing(thing) => Ok(thing),
        Subject::Link => panic!("of a link: {query} {body}"),
    }
}

const PAYMENT: &str = r#"{"id": 12345, "live_mode": true, "type": "payment", "date_created": "2026-03-25T10:04:58.396-04:00",
    "user_id": 44444, "api_version": "v1", "action": "payment.created", "data": {"id": "999999999"}}"#;
const ORDER: &str = r#"{"action": "update", "application_id": "7910800073137785",
    "data": {"currency_id": "", "marketplace": "NONE", "status": "closed"}, "date_created": "2026-10-06T17:42:13.510-04:00",
    "id": "23603350837", "live_mode": true, "status": "closed", "type": "topic_merchant_order_wh", "user_id": 178106235,
    "version": 1}"#;
const INTENT: &str = r#"{"action": "topic_instore_integration_wh.application.authorized", "api_version": "v1",
    "data": {"id": "7c1d2e3f-1a2b-4c5d-8e9f-0a1b2c3d4e5f", "status": "CANCELED", "external_reference": "T-000123",
    "url": "https://api.mercadopago.com/instore-api/integrations/v1/intents/7c1d2e3f/qr"},
    "date_created": "2026-07-27 20:24:21.776642198-0400", "id": "another-id", "type": "topic_instore_integration_wh",
    "user_id": 178106235}"#;
const IPN_ORDER: &str =
    r#"{"resource":"https://api.mercadolibre.com/merchant_orders/23603350837","topic":"merchant_order"}"#;
const IPN_PAYMENT: &str = r#"{"resource":"1234567890","topic":"payment"}"#;

#[test]
fn each_shape_names_its_thing() {
    use Topic::{Intent, MerchantOrder, Payment};
    for (query, body, topic, id) in [
        ("topic=merchant_order&id=23603350837", "", MerchantOrder, "23603350837"),
        (
            "topic=merchant_order&id=23603350837",
            IPN_ORDER,
            MerchantOrder,
            "23603350837",
        ),
        ("topic=payment&id=1234567890", "", Payment, "1234567890"),
        ("", IPN_ORDER, MerchantOrder, "23603350837"),
        ("", IPN_PAYMENT, Payment, "1234567890"),
        ("source_news=ipn&r=T-1&t=x", IPN_PAYMENT, Payment, "1234567890"),
        ("data.id=999999999&type=payment", PAYMENT, Payment, "999999999"),
        ("", PAYMENT, Payment, "999999999"),
        ("type=payment", PAYMENT, Payment, "999999999"),
        ("", ORDER, MerchantOrder, "23603350837"),
        (
            "type=topic_merchant_order_wh&data.id=23603350837",
            ORDER,
            MerchantOrder,
            "23603350837",
        ),
        (
            "type=topic_merchant_order_wh&id=23603350837",
            "{}",
            MerchantOrder,
            "23603350837",
        ),
        ("", INTENT, Intent, "7c1d2e3f-1a2b-4c5d-8e9f-0a1b2c3d4e5f"),
        (
            "type=topic_instore_integration_wh&data.id=7c1d-2",
            INTENT,
            Intent,
            "7c1d-2",
        ),
        // The query comes before the body, `data.id` before `id`, `topic` before `type`.
        ("data.id=1&id=2", PAYMENT, Payment, "1"),
        ("id=2", PAYMENT, Payment, "2"),
        ("topic=merchant_order&type=payment&id=2", PAYMENT, MerchantOrder, "2"),
        // The first of a repeated one counts, an empty one is none, escapes are read.
        ("type=payment&id=2&id=3", "", Payment, "2"),
        ("type=&data.id=&topic=payment&id=2", "", Payment, "2"),
        ("t%79pe=p%61yment&data%2Eid=%32", "", Payment, "2"),
        // Ids are numbers as well.
        (
            "",
            r#"{"type":"payment","data":{"id":999999999}}"#,
            Payment,
            "999999999",
        ),
        (
            "",
            r#"{"type":"topic_merchant_order_wh","id":23603350837}"#,
            MerchantOrder,
            "23603350837",
        ),
        (
            "",
            r#"{"topic":"payment","resource":1234567890}"#,
            Payment,
            "1234567890",
        ),
        (
            "",
            r#"{"topic":"payment","resource":"https://evil.example/77?x=88#99"}"#,
            Payment,
            "77",
        ),
        // Where the query says all, the body need not be readable.
        ("type=payment&data.id=2", "\u{0}not JSON", Payment, "2"),
    ] {
        assert_eq!(
            thing(query, body),
            Ok(Thing::parse(topic, id).expect(id)),
            "{query} {body}"
        );
    }
}

#[test]
fn what_we_do_not_know_is_no_error_of_mercado_pagos() {
    for (query, body) in [
        ("topic=chargebacks&id=1", ""),
        ("topic=point_integration_ipn&id=1", ""),
        ("topic=delivery_cancellation&id=1", ""),
        ("type=stop_delivery_op_wh&data.id=1", ""),
        ("type=order&data.id=ORD01JQ4S4KY8HWQ6NA5PXB65B3D3", "{}"),
        ("topic=Payment&id=1", ""),
        ("", r#"{"type":"order","data":{"id":"1"}}"#),
        ("id=1", "{}"),
        ("", r#"{"type":null,"topic":["payment"],"data":{"id":1}}"#),
    ] {
        assert_eq!(thing(query, body), Err(NotStored::UnknownTopic), "{query} {body}");
    }
    for (query, body) in [
        ("topic=payment&id=0", ""),
        ("topic=payment&id=-1", ""),
        ("topic=payment&id=1.5", ""),
        ("topic=payment&id=12345678901234567890", ""),
        ("topic=payment&id=1/../2", ""),
        ("topic=payment&data.id=x&id=2", ""),
        ("type=payment", "{}"),
        ("", r#"{"type":"payment","id":12345}"#),
        ("", r#"{"type":"payment","data":{"id":1.5}}"#),
        ("", r#"{"type":"payment","data":{"id":1e30}}"#),
        ("", r#"{"type":"payment","data":"999"}"#),
        (
            "",
            r#"{"topic":"merchant_order","resource":"https://api.mercadolibre.com/merchant_orders/"}"#,
        ),
        (
            "",
            r#"{"topic":"merchant_order","resource":"https://api.mercadolibre.com/merchant_orders/1x"}"#,
        ),
        ("type=topic_instore_integration_wh&data.id=..%2Fx", ""),
        ("", r#"{"type":"topic_instore_integration_wh","resource":"1"}"#),
    ] {
        assert_eq!(thing(query, body), Err(NotStored::ImpossibleId), "{query} {body}");
    }
}

#[test]
fn only_what_is_needed_must_be_readable() {
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    for (query, body) in [
        ("", ""),
        ("", "topic=payment&id=1"),
        ("", "[]"),
        ("", r#"{"type":"payment","data":{"id":"1"}"#),
        ("", &deep),
        ("topic=payment", ""),
        ("id=1", "\"payment\""),
        ("topic=payment&id=%ff", ""),
        ("topic=%c3%28&id=1", ""),
    ] {
        assert_eq!(told(query, body), Err(NotStored::Unreadable), "{query} {body}");
    }
    let query = Query::read("topic=payment").expect("text");
    let body = b"{\"data\":{\"id\":\"1\"},\"x\":\"\xff\"}";
    assert_eq!(Told::read(&query, body), Err(NotStored::Unreadable), "no UTF-8");
    assert!(
        thing("other=%ff&topic=payment&id=1", "").is_ok(),
        "that one is not ours"
    );
    // A topic that is not looked up needs no body.
    assert_eq!(thing("topic=chargebacks", ""), Err(NotStored::UnknownTopic));
}

#[test]
fn the_seller_is_told_as_number_or_text() {
    let user = |query, body| told(query, body).expect("readable").user_id;
    assert_eq!(user("", PAYMENT).as_deref(), Some("44444"));
    assert_eq!(user("topic=payment&id=1", r#"{"user_id":"7"}"#).as_deref(), Some("7"));
    assert_eq!(user("topic=payment&id=1", ""), None);
    assert_eq!(user("", IPN_PAYMENT), None);
}

#[test]
fn reasons_are_numbered_as_they_are_listed() {
    for (i, why) in NotStored::ALL.into_iter().enumerate() {
        assert_eq!(why as usize, i, "{why:?}");
    }
    for (i, topic) in Topic::ALL.into_iter().enumerate() {
        assert_eq!(topic as usize, i, "{topic:?}");
    }
    for (i, signature) in Signature::ALL.into_iter().enumerate() {
        assert_eq!(signature as usize, i, "{signature:?}");
    }
}

#[test]
fn a_link_that_was_made_or_cut_is_told_by_whom() {
    let cut =
        r#"{"id":1,"type":"mp-connect","action":"application.deauthorized","user_id":178106235,"data":{"id":"77"}}"#;
    for (query, body, user) in [
        ("data.id=77&type=mp-connect", cut, Some("178106235")),
        ("", cut, Some("178106235")),
        ("type=mp-connect", "", None),
    ] {
        let told = told(query, body).expect("readable");
        assert_eq!((told.subject, told.user_id.as_deref()), (Ok(Subject::Link), user));
    }
}

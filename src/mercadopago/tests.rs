//! Each call as `protocol.md` writes it: what is sent, and what is read from the answers that it shows.

use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;
use crate::domain::extras::Iva;
use crate::domain::id::{ExternalPosId, ExternalStoreId, Reference, Timestamp};
use crate::domain::money::{Currency, Money, Site};
use crate::domain::order::{Item, Items, Quantity};
use crate::domain::posted::QrMode;
use crate::limits;

pub(crate) mod server;

use server::{Server, say, token};

const COLLECTOR: u64 = 178_106_235;

fn decimal(text: &str) -> Option<Decimal> {
    Some(Decimal::from_str_exact(text).unwrap())
}

fn pos_id() -> ExternalPosId {
    ExternalPosId::parse("STATION01PUMP4").unwrap()
}

fn store_id() -> ExternalStoreId {
    ExternalStoreId::parse("STATION01").unwrap()
}

fn reference() -> Reference {
    Reference::parse("T-000123").unwrap()
}

fn items(price: &str, quantity: u32) -> Items {
    let text = |text| crate::domain::text::Text::parse(text).unwrap();
    Items::new(vec![Item {
        title: text("SUPER 23.45 L"),
        description: crate::domain::text::Text::parse("Pump 4").unwrap(),
        quantity: Quantity::new(quantity).unwrap(),
        unit_price: Money::parse(price, Currency::Ars).unwrap(),
        sku_number: None,
        category: None,
        unit_measure: None,
        picture_url: None,
    }])
    .unwrap()
}

#[tokio::test]
async fn a_pos_is_made_read_changed_and_removed() {
    let told = r#"{"id":2711382,"qr":{"image":"https://www.mercadopago.com/instore/merchant/qr/2711382/a.png",
        "template_document":"https://x/t.pdf","template_image":"https://x/t.png"},"status":"active","uuid":"a","user_id":1,
        "name":"Pump 4","fixed_amount":true,"category":473000,"store_id":"30148503","external_store_id":"STATION01",
        "external_id":"STATION01PUMP4","url":"https://pay.example.com/pay-mp?positionId=4","new_field":{"a":[1]}}"#;
    let found = format!(r#"{{"paging":{{"total":2}},"results":[{{"external_id":"OTHER"}},{told}]}}"#);
    let server = Server::start([
        say(201, told),
        say(200, told),
        say(200, &found),
        say(200, &format!("[{told}]")),
        say(200, r#"{"results":[]}"#),
        say(200, told),
        say(204, ""),
    ])
    .await;
    let (client, token) = (server.client(), token());
    let fields = PosFields {
        name: "Pump 4".into(),
        category: Some(Trade::PetrolStation.category(Site::Mla)),
        url: Some("https://pay.example.com/pay-mp?positionId=4".into()),
    };
    let new = NewPos {
        external_id: pos_id(),
        external_store_id: store_id(),
        fields: fields.clone(),
    };
    let made = client.create_pos(&token, &new).await.unwrap();
    assert_eq!(
        (made.id, made.store_id, made.category),
        (2_711_382, Some(30_148_503), Some(473_000))
    );
    assert_eq!(
        made.qr_image.as_deref(),
        Some("https://www.mercadopago.com/instore/merchant/qr/2711382/a.png")
    );
    assert_eq!(
        (made.fixed_amount, made.url.as_deref()),
        (Some(true), fields.url.as_deref())
    );
    assert_eq!(client.pos(&token, made.id).await.unwrap(), made);
    let lower = ExternalPosId::parse("station01pump4").unwrap();
    assert_eq!(client.find_pos(&token, &lower).await.unwrap(), Some(made.clone()));
    assert_eq!(client.find_pos(&token, &pos_id()).await.unwrap(), Some(made.clone()));
    assert_eq!(client.find_pos(&token, &pos_id()).await.unwrap(), None);
    let bare = PosFields {
        category: None,
        url: None,
        ..fields
    };
    client.update_pos(&token, made.id, &bare).await.unwrap();
    client.delete_pos(&token, made.id).await.unwrap();

    let asked = server.asked();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "POST /pos",
            "GET /pos/2711382",
            "GET /pos?external_id=station01pump4",
            "GET /pos?external_id=STATION01PUMP4",
            "GET /pos?external_id=STATION01PUMP4",
            "PUT /pos/2711382",
            "DELETE /pos/2711382"
        ]
    );
    assert_eq!(
        asked[0].body,
        r#"{"name":"Pump 4","fixed_amount":true,"category":473000,"url":"https://pay.example.com/pay-mp?positionId=4","external_id":"STATION01PUMP4","external_store_id":"STATION01"}"#
    );
    assert_eq!(asked[5].body, r#"{"name":"Pump 4","fixed_amount":true}"#);
}

#[tokio::test]
async fn those_of_a_store_are_read_page_by_page() {
    let page = |ids: &[u64]| {
        let pos: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":{id}}}"#)).collect();
        say(
            200,
            &format!(r#"{{"paging":{{"total":4}},"results":[{}]}}"#, pos.join(",")),
        )
    };
    // One was made between two pages, which moves the rest; the last page is told again, as by who takes no offset.
    let server = Server::start([page(&[1, 3]), page(&[3, 2]), page(&[3, 2])]).await;
    let (client, token) = (server.client(), token());
    let found = client.pos_of_store(&token, &store_id()).await.unwrap();
    assert_eq!(found.iter().map(|pos| pos.id).collect::<Vec<_>>(), [1, 2, 3]);
    let lines: Vec<String> = server.asked().into_iter().map(|asked| asked.line).collect();
    let path = "GET /pos?external_store_id=STATION01&limit=50&offset=";
    assert_eq!(lines, [0, 2, 4].map(|offset| format!("{path}{offset}")));
}

#[tokio::test]
async fn a_store_is_made_read_changed_and_removed() {
    let told = r#"{"id":"30148503","name":"Station","date_creation":"2026-01-12T14:11:12.000Z","business_hours":{},
        "location":{"address_line":"Calle 1, Rosario","latitude":-32.94,"longitude":"***"},"external_id":"STATION01"}"#;
    let found = format!(r#"{{"paging":{{}},"results":[{told}]}}"#);
    let server = Server::start([
        say(200, told),
        say(200, &found),
        say(200, told),
        say(200, told),
        say(200, r#"{"store":30148503,"user":178106235}"#),
    ])
    .await;
    let (client, token) = (server.client(), token());
    let new = NewStore {
        name: "Station".into(),
        external_id: store_id(),
        location: Location {
            street_number: "1".into(),
            street_name: "Calle".into(),
            city_name: "Rosario".into(),
            state_name: "Santa Fe".into(),
            latitude: Decimal::from_str_exact("-32.9442426").unwrap(),
            longitude: Decimal::from_str_exact("-60.6505388").unwrap(),
            reference: None,
        },
    };
    let made = client.create_store(&token, COLLECTOR, &new).await.unwrap();
    let expected = Store {
        id: 30_148_503,
        name: Some("Station".into()),
        external_id: Some("STATION01".into()),
        address: Some("Calle 1, Rosario".into()),
    };
    assert_eq!(made, expected);
    assert_eq!(
        client.find_store(&token, COLLECTOR, &store_id()).await.unwrap(),
        Some(expected)
    );
    client.store(&token, made.id).await.unwrap();
    client.update_store(&token, COLLECTOR, made.id, &new).await.unwrap();
    client.delete_store(&token, COLLECTOR, made.id).await.unwrap();

    let asked = server.asked();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "POST /users/178106235/stores",
            "GET /users/178106235/stores/search?external_id=STATION01",
            "GET /stores/30148503",
            "PUT /users/178106235/stores/30148503",
            "DELETE /users/178106235/stores/30148503"
        ]
    );
    let location = r#""location":{"street_number":"1","street_name":"Calle","city_name":"Rosario","state_name":"Santa Fe","latitude":-32.9442426,"longitude":-60.6505388}"#;
    assert_eq!(
        asked[0].body,
        format!(r#"{{"name":"Station","external_id":"STATION01",{location}}}"#)
    );
    assert_eq!(asked[3].body, format!(r#"{{"name":"Station",{location}}}"#));
}

#[tokio::test]
async fn a_merchant_order_is_read_with_its_payments() {
    let told = r#"{"id":23603350837,"status":"closed","order_status":"paid","external_reference":"T-000123",
        "collector":{"id":178106235,"nickname":"N"},"payer":null,"sponsor_id":"334249281","total_amount":18525.50,
        "paid_amount":"***","items":[{"currency_id":"ARS","unit_price":18525.5},{"currency_id":"ARS"}],
        "payments":[
          {"id":7186040733,"transaction_amount":18525.50,"total_paid_amount":19000,"currency_id":"ARS","status":"approved",
           "status_detail":"accredited","date_approved":"2026-03-28T13:50:19.143-04:00","amount_refunded":0},
          {"id":"7186040734","transaction_amount":1e2,"status":"rejected","date_approved":null,"amount_refunded":"***"},
          {"status":"brand_new"}]}"#;
    let server = Server::start([
        say(200, told),
        say(200, r#"{"id":1}"#),
        say(200, r#"{"status":"closed"}"#),
    ])
    .await;
    let (client, token) = (server.client(), token());
    let order = client.merchant_order(&token, 23_603_350_837).await.unwrap();
    assert_eq!(
        (order.id, &order.status),
        (23_603_350_837, &MerchantOrderStatus::Closed)
    );
    assert_eq!(
        (order.collector_id, order.external_reference.as_deref()),
        (Some(COLLECTOR), Some("T-000123"))
    );
    assert_eq!(
        (order.currencies, order.total_amount),
        (vec!["ARS".to_owned()], decimal("18525.50"))
    );
    let [paid, rejected, odd] = &order.payments[..] else {
        panic!("three payments")
    };
    assert_eq!((paid.id, &paid.status), (Some(7_186_040_733), &PaymentStatus::Approved));
    assert_eq!(
        (paid.transaction_amount, paid.refunded_amount),
        (decimal("18525.50"), decimal("0"))
    );
    assert_eq!(paid.date_approved, Some(Timestamp(1_774_720_219_143)));
    assert_eq!(
        (rejected.id, rejected.transaction_amount),
        (Some(7_186_040_734), decimal("100"))
    );
    assert_eq!(
        (rejected.refunded_amount, rejected.date_approved),
        (None, None),
        "what is masked is not zero"
    );
    assert_eq!(
        (odd.id, odd.status.as_str(), odd.refunded_amount),
        (None, "brand_new", decimal("0"))
    );

    let bare = client.merchant_order(&token, 1).await.unwrap();
    assert_eq!(
        (bare.status.as_str(), bare.payments.len(), bare.collector_id),
        ("", 0, None)
    );
    let error = client.merchant_order(&token, 1).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Mercado Pago's answer makes no sense: id is missing, or no whole number above zero"
    );
    assert_eq!(server.asked()[0].line, "GET /merchant_orders/23603350837");
}

#[tokio::test]
async fn a_search_goes_on_until_all_are_found() {
    let page = |ids: std::ops::Range<u64>, total: &str| {
        let orders: Vec<String> = ids.map(|id| format!(r#"{{"id":{id},"status":"opened"}}"#)).collect();
        say(
            200,
            &format!(r#"{{"elements":[{}],"next_offset":0{total}}}"#, orders.join(",")),
        )
    };
    let ids = |found: &MerchantOrders| found.orders.iter().map(|order| order.id).collect::<Vec<_>>();
    let server = Server::start([
        say(200, r#"{"elements":null,"next_offset":0,"total":0}"#),
        // A new one came between the pages, and moved 30 to the second.
        page(1..31, r#","total":61"#),
        page(30..61, r#","total":61"#),
        // No total is told: an empty page is the end.
        page(7..8, ""),
        say(200, r#"{"elements":[]}"#),
    ])
    .await;
    let (client, token) = (server.client(), token());
    let none = client.merchant_orders(&token, &reference()).await.unwrap();
    assert_eq!((ids(&none), none.complete), (vec![], true));
    let many = client.merchant_orders(&token, &reference()).await.unwrap();
    assert_eq!((ids(&many), many.complete), ((1..61).collect(), true));
    let one = client.merchant_orders(&token, &reference()).await.unwrap();
    assert_eq!((ids(&one), one.complete), (vec![7], true));
    let asked = server.asked();
    assert_eq!(
        asked[1].line,
        "GET /merchant_orders/search?external_reference=T-000123&limit=50&offset=0"
    );
    assert_eq!(
        asked[2].line,
        "GET /merchant_orders/search?external_reference=T-000123&limit=50&offset=30"
    );
    assert_eq!((asked[4].line.rsplit_once('=').unwrap().1, asked.len()), ("1", 5));
}

#[tokio::test]
async fn a_search_is_bounded() {
    let page = |i| {
        say(
            200,
            &format!(r#"{{"elements":[{{"id":{}}}],"total":"1000000"}}"#, i + 1),
        )
    };
    let server = Server::start((0..limits::API_PAGES).map(page)).await;
    let found = server.client().merchant_orders(&token(), &reference()).await.unwrap();
    assert_eq!((found.orders.len(), found.complete), (limits::API_PAGES, false));
}

#[tokio::test]
async fn a_payment_is_read_whatever_is_masked_or_missing() {
    let told = r#"{"id":"7186040733","status":"approved","status_detail":"accredited","transaction_amount":18525.50,
        "transaction_amount_refunded":0.1,"currency_id":"ARS","external_reference":"T-000123","collector_id":"178106235",
        "order":{"id":"23603350837","type":"mercadopago"},"card":{"first_six_digits":"***"},"date_approved":"soon",
        "payment_method_id":"account_money","payment_type_id":"account_money","live_mode":true,
        "transaction_details":{"net_received_amount":"***"},
        "refunds":[{"id":1,"amount":0.1,"status":"approved"},{"status":"approved"},7]}"#;
    let server = Server::start([say(200, told), say(200, "{}")]).await;
    let (client, token) = (server.client(), token());
    let payment = client.payment(&token, 7_186_040_733).await.unwrap();
    assert_eq!(
        (payment.id, payment.collector_id),
        (Some(7_186_040_733), Some(COLLECTOR))
    );
    assert_eq!(
        (payment.transaction_amount, payment.refunded_amount),
        (decimal("18525.50"), decimal("0.1"))
    );
    assert_eq!(
        (payment.merchant_order, payment.date_approved),
        (Some(23_603_350_837), None)
    );
    assert_eq!((payment.live_mode, payment.refunds.len()), (Some(true), 1));
    let empty = client.payment(&token, 1).await.unwrap();
    assert_eq!(
        (empty.id, empty.status.as_str(), empty.transaction_amount),
        (None, "", None)
    );
    assert_eq!(server.asked()[0].line, "GET /v1/payments/7186040733");
}

#[tokio::test]
async fn a_refund_is_asked_for_read_and_listed() {
    let told = r#"{"id":1622029222,"payment_id":7186040733,"amount":10.5,"metadata":{},"source":[{"id":"1"}],
        "date_created":"2026-02-05T15:35:49.000-04:00","unique_sequence_number":null,"refund_mode":"standard",
        "adjustment_amount":0,"status":"in_process","reason":null}"#;
    let list = format!("[{told}]");
    let server = Server::start([say(201, told), say(200, told), say(200, &list), say(200, told)]).await;
    let (client, token, key) = (server.client(), token(), Uuid::now_v7());
    let amount = Money::parse("10.50", Currency::Ars).unwrap();
    let refund = client
        .create_refund(&token, 7_186_040_733, Some(amount), key)
        .await
        .unwrap();
    assert_eq!(
        (refund.id, refund.payment_id, refund.amount),
        (1_622_029_222, Some(7_186_040_733), decimal("10.5"))
    );
    assert_eq!(
        (&refund.status, refund.reason.as_deref()),
        (&RefundStatus::InProcess, None)
    );
    client.create_refund(&token, 7_186_040_733, None, key).await.unwrap();
    assert_eq!(
        client.refunds(&token, 7_186_040_733).await.unwrap(),
        std::slice::from_ref(&refund)
    );
    assert_eq!(client.refund(&token, 7_186_040_733, refund.id).await.unwrap(), refund);

    let asked = server.asked();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    let path = "/v1/payments/7186040733/refunds";
    assert_eq!(
        lines,
        [
            format!("POST {path}"),
            format!("POST {path}"),
            format!("GET {path}"),
            format!("GET {path}/1622029222")
        ]
    );
    assert_eq!(
        (asked[0].body.as_str(), asked[1].body.as_str()),
        (r#"{"amount":10.50}"#, "{}")
    );
    assert_eq!(asked[0].header("x-idempotency-key"), Some(key.to_string().as_str()));
    assert_eq!(asked[2].header("x-idempotency-key"), None);
}

#[tokio::test]
async fn an_order_is_put_on_a_pos_read_and_taken_off() {
    let held = r#"{"external_reference":"T-000123","total_amount":37051.00,"items":[]}"#;
    let none = r#"{"error":"point_of_sale_in_store_order_not_found","message":"m","status":404}"#;
    let server = Server::start([
        say(204, ""),
        say(200, &format!("[{held}]")),
        say(200, held),
        say(200, "[]"),
        say(404, none),
        say(204, ""),
        say(404, none),
    ])
    .await;
    let (client, token, items) = (server.client(), token(), items("18525.50", 2));
    let reference = reference();
    let new = NewInstoreOrder {
        external_reference: &reference,
        title: "Pump 4",
        description: "SUPER 23.45 L",
        notification_url: Some("https://pay.example.com/n"),
        expires_at: Timestamp(1_787_430_896_559),
        items: &items,
        sponsor_id: Some(334_249_281),
        taxes: Iva::new(Money::parse("6430.34", Currency::Ars).unwrap(), None, items.total()).ok(),
    };
    client
        .put_order(&token, COLLECTOR, &store_id(), &pos_id(), &new)
        .await
        .unwrap();
    let there = Some(InstoreOrder {
        external_reference: Some("T-000123".into()),
        total_amount: decimal("37051.00"),
    });
    for expected in [there.clone(), there, None, None] {
        assert_eq!(client.order(&token, COLLECTOR, &pos_id()).await.unwrap(), expected);
    }
    client.delete_order(&token, COLLECTOR, &pos_id()).await.unwrap();
    client
        .delete_order(&token, COLLECTOR, &pos_id())
        .await
        .expect("gone is gone");

    let asked = server.asked();
    assert_eq!(
        asked[0].line,
        "PUT /instore/qr/seller/collectors/178106235/stores/STATION01/pos/STATION01PUMP4/orders"
    );
    assert_eq!(
        asked[1].line,
        "GET /instore/qr/seller/collectors/178106235/pos/STATION01PUMP4/orders"
    );
    assert_eq!(
        asked[5].line,
        "DELETE /instore/qr/seller/collectors/178106235/pos/STATION01PUMP4/orders"
    );
    assert_eq!(
        asked[0].body,
        concat!(
            r#"{"external_reference":"T-000123","title":"Pump 4","description":"SUPER 23.45 L","#,
            r#""notification_url":"https://pay.example.com/n","expiration_date":"2026-08-22T20:34:56.559+00:00","#,
            r#""total_amount":37051.00,"items":[{"title":"SUPER 23.45 L","description":"Pump 4","unit_price":18525.50,"#,
            r#""quantity":2,"unit_measure":"unit","total_amount":37051.00}],"sponsor":{"id":334249281},"#,
            r#""taxes":[{"value":6430.34,"type":"IVA"}]}"#
        )
    );
}

#[tokio::test]
async fn an_intent_is_made_read_and_canceled() {
    let open = r#"{"id":"7c1d2e3f-1a2b-4c5d-8e9f-0a1b2c3d4e5f","status":"OPENED","external_reference":"T-000123",
        "sponsor":{"id":"1"},"operations":[{"type":"PURCHASE","amount":"14.53"}]}"#;
    let closed = r#"{"id":"7c1d2e3f-1a2b-4c5d-8e9f-0a1b2c3d4e5f","status":"CLOSED","external_reference":"T-000123",
        "operations":[{"amount":"10.03","results":[{"id":123456789012,"source":"PAYMENT"}]},{"amount":4.50}]}"#;
    let server = Server::start([
        say(201, open),
        say(200, closed),
        say(204, ""),
        say(200, r#"{"id":"../pos","status":"OPENED"}"#),
        say(
            409,
            r#"{"message":"There is already a queued intent for the device","error":"Conflict","status":409}"#,
        ),
    ])
    .await;
    let (client, token, items, reference) = (server.client(), token(), items("14.53", 1), reference());
    let new = NewIntent {
        external_reference: &reference,
        description: "Pump 4",
        items: &items,
        sponsor_id: None,
        qr: QrMode::Static,
    };
    let key = Uuid::now_v7();
    let made = client.create_intent(&token, &pos_id(), &new, key).await.unwrap();
    assert_eq!(
        (&made.status, made.amount, made.results.len()),
        (&IntentStatus::Opened, decimal("14.53"), 0)
    );
    let read = client.intent(&token, &made.id).await.unwrap();
    assert_eq!(
        (&read.id, &read.status, read.amount),
        (&made.id, &IntentStatus::Closed, decimal("14.53"))
    );
    let result = IntentResult {
        id: Some(123_456_789_012),
        source: IntentSource::Payment,
    };
    assert_eq!(read.results, [result]);
    client.cancel_intent(&token, &made.id).await.unwrap();
    let odd = client.create_intent(&token, &pos_id(), &new, key).await.unwrap_err();
    assert!(
        matches!(odd, ApiError::Nonsense { .. }),
        "an id that could lead elsewhere: {odd}"
    );
    let queued = client.create_intent(&token, &pos_id(), &new, key).await.unwrap_err();
    assert!(queued.has_code("Conflict") && !queued.may_pass(), "{queued}");

    let asked = server.asked();
    let intent = "/instore-api/integrations/v1/intents/7c1d2e3f-1a2b-4c5d-8e9f-0a1b2c3d4e5f/qr";
    assert_eq!(
        asked[0].line,
        "POST /instore-api/integrations/v1/intents/qr/pos/STATION01PUMP4"
    );
    assert_eq!(
        (&asked[1].line, &asked[2].line),
        (&format!("GET {intent}"), &format!("DELETE {intent}"))
    );
    assert_eq!(
        asked[0].body,
        concat!(
            r#"{"description":"Pump 4","external_reference":"T-000123","operations":[{"type":"PURCHASE","#,
            r#""amount":"14.53","items":[{"title":"SUPER 23.45 L","quantity":1,"unit_measure":"UNIT","#,
            r#""unit_price":"14.53","total_amount":"14.53"}]}],"enabler_configuration":{"qr_payment_mode":["STATIC"]}}"#
        )
    );
}

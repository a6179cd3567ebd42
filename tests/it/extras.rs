//! What stations and countries add to an order: Colombia's IVA, Argentina's loyalty programmes, a marketplace's fee. The
//! simulated Mercado Pago reads each strictly; and each is refused by name where there is no place for it.

use serde_json::{Value, json};
use surtidor::sandbox::{Account, Sandbox, Settings, TEST_CLIENT_SECRET, TEST_TOKEN};

use crate::support::api;
use crate::support::golden::golden;
use crate::support::http::patiently;
use crate::support::market::{Market, free_port, hurried};
use crate::support::station::{Setup, Station};

const LOYALTY: &str = r#"{"program": "CTC", "transaction_id": "00029-4-T-1", "invoice_number": "123",
    "transaction_date": "2026-01-12T07:40:49-03:00", "transaction_amount": 18525.70, "store_id": "29",
    "products": [{"code": "2", "quantity": 14.852, "unit": "litre", "unit_price": "1247.35"}], "shift": "1"}"#;

fn loyalty() -> Value {
    serde_json::from_str(LOYALTY).expect("JSON")
}

fn order(reference: &str, amount: Value, more: &[(&str, Value)]) -> Value {
    let mut order = json!({"external_reference": reference, "amount": amount, "title": "SUPER"});
    for (name, value) in more {
        order[*name] = value.clone();
    }
    order
}

/// A market whose account is Colombian.
async fn bogota(account: &str) -> Market {
    let settings = Settings {
        accounts: vec![Account::new(TEST_TOKEN, "MCO").expect("it ends in a number")],
        ..hurried()
    };
    let setup = Setup::default()
        .account(&format!(
            "id = \"shop\"\ncollector_id = {}\nsite = \"MCO\"\n{account}",
            api::USER
        ))
        .env("SURTIDOR_ACCOUNT__SHOP__ACCESS_TOKEN", TEST_TOKEN);
    Market::over(Sandbox::start(settings).expect("it starts"), free_port(), setup).await
}

#[tokio::test]
async fn the_iva_of_colombia_is_polled() {
    for (dialect, told) in [
        ("documented", json!([{"value": 1900, "type": "IVA"}])),
        ("order-version-2", json!([{"type": "IVA", "value": 1900}])),
    ] {
        let market = bogota(&format!("poll_dialect = \"{dialect}\"")).await;
        market.register("PUMP4").await;
        let taxes = [("taxes", json!([{"type": "IVA", "value": "1900"}]))];
        market.push_as("PUMP4", order("T-1", json!(11900), &taxes)).await;
        assert_eq!(market.station.poll("PUMP4").await.json()["taxes"], told);
        assert_eq!(market.station.order("T-1").await["taxes"], taxes[0].1);
        let mut feed = market.feed().await;
        market.scan("PUMP4").await.pay().await;
        feed.until("order_paid").await;
        market.no_violations().await;
    }
}

#[tokio::test]
async fn the_iva_of_colombia_is_put_on_a_pos() {
    let market = bogota("").await;
    let call = async |method, target: String, body| api::call(market.sandbox.address(), method, &target, body).await;
    let store = call("POST", format!("/users/{}/stores", api::USER), api::STORE).await;
    assert_eq!(store.status, 200, "{store:?}");
    let pos = r#"{"name":"Pump 4","fixed_amount":true,"category":4731,"external_store_id":"S1","external_id":"PUMP4"}"#;
    assert_eq!(call("POST", "/pos".into(), pos).await.status, 200);
    let more = json!({"account": "shop", "mode": "attended", "external_store_id": "S1"});
    assert_eq!(market.station.register_as("PUMP4", more).await, 201);
    let mut feed = market.feed().await;
    // None is more than nothing: of an order that says nothing Mercado Pago takes 19 %.
    let taxes = [("taxes", json!([{"type": "IVA", "value": 0}]))];
    market.push_as("PUMP4", order("T-1", json!(11900), &taxes)).await;
    feed.until("order_sent").await;
    let there = format!("/instore/qr/seller/collectors/{}/pos/PUMP4/orders", api::USER);
    let there = call("GET", there, "").await.json();
    assert_eq!(there[0]["taxes"], json!([{"type": "IVA", "value": 0}]));
    market.stand_at("PUMP4").await.pay().await;
    feed.until("order_paid").await;
    market.no_violations().await;
}

#[tokio::test]
async fn points_are_told_to_the_programme_in_its_own_form() {
    let market = Market::open().await;
    market.register("PUMP4").await;
    let pushed = order("T-1", json!("18525.70"), &[("loyalty", loyalty())]);
    market.push_as("PUMP4", pushed.clone()).await;
    let polled = market.station.poll("PUMP4").await.json();
    let expected = json!({"program": "CTC", "transaction_id": "00029-4-T-1", "invoice_number": "00000123",
        "transaction_date": "2026-01-12T10:40:49.000+00:00", "transaction_amount": 18525.70, "store_id": "00029",
        "products": [{"code": "2", "quantity": 14.852, "unit": "litre", "unit_price": 1247.35}],
        "cashier_identification": {"type": "DNI", "number": "00000000"}, "period": "0000", "shift": "1",
        "affinity_plan": "7"});
    assert_eq!(polled["loyalty"], expected);

    // What is the same once it is written out is the same; what is not is named.
    let mut again = pushed.clone();
    again["loyalty"]["invoice_number"] = json!("00000123");
    again["loyalty"]["period"] = json!("0000");
    again["loyalty"]["products"][0]["quantity"] = json!("14.852");
    assert_eq!(market.station.push("PUMP4", &again).await, 200);
    let shown = market.station.order("T-1").await["loyalty"].clone();
    assert_eq!(shown["products"][0]["quantity"], "14.852");
    again["loyalty"] = shown;
    assert_eq!(market.station.push("PUMP4", &again).await, 200, "as it is shown");
    again["loyalty"]["store_id"] = json!("30");
    let other = market.station.push("PUMP4", &again).await;
    assert_eq!(other, (409, "reference_used"));
    assert!(other.text().contains("loyalty"), "{}", other.text());

    let mut feed = market.feed().await;
    market.scan("PUMP4").await.pay().await;
    feed.until("order_paid").await;
    market.no_violations().await;
}

#[tokio::test]
async fn a_marketplace_takes_its_fee_and_is_named() {
    let sandbox = Sandbox::start(hurried()).expect("it starts");
    let code = sandbox.consent(api::USER).await.expect("a seller");
    let body = json!({"client_secret": TEST_CLIENT_SECRET, "grant_type": "authorization_code", "code": code,
        "redirect_uri": "https://integrator.example.com/"});
    let tokens = api::call(sandbox.address(), "POST", "/oauth/token", &body.to_string()).await;
    let refresh = tokens.json()["refresh_token"].as_str().expect("a token").to_owned();
    let account = format!(
        "id = \"shop\"\ncollector_id = {}\nsite = \"MLA\"\npoll_dialect = \"order-version-2\"\noauth_owner_id = 334249281",
        api::USER
    );
    let setup = Setup::default()
        .account(&account)
        .env("SURTIDOR_ACCOUNT__SHOP__OAUTH_CLIENT_SECRET", TEST_CLIENT_SECRET)
        .env("SURTIDOR_ACCOUNT__SHOP__OAUTH_REFRESH_TOKEN", &refresh);
    let mut market = Market::over(sandbox, free_port(), setup).await;
    market.register("PUMP4").await;
    let fee = [("marketplace_fee", json!("185.25"))];
    market.push_as("PUMP4", order("T-1", json!("18525.70"), &fee)).await;
    market.station.restart().await;
    let polled = market.station.poll("PUMP4").await;
    assert_eq!(polled.header("client-id"), Some("334249281"));
    assert!(
        polled.text().contains(r#""marketplace_fee":185.25}"#),
        "{}",
        polled.text()
    );
    let too_much = order("T-2", json!(5), &[("marketplace_fee", json!(5))]);
    let refused = market.station.replace("PUMP4", too_much).await;
    assert_eq!(refused, (400, "invalid_field"));
    assert_eq!(
        refused.json()["detail"],
        "marketplace_fee must be less than the order's amount, which is 5.00"
    );
    let mut feed = market.feed().await;
    market.scan("PUMP4").await.pay().await;
    feed.until("order_paid").await;
    market.no_violations().await;
}

/// What is refused with a mark of its own in a programme's data: a path, another value, and the pointer.
const WRONG_LOYALTY: &[(&str, &str, &str)] = &[
    ("/program", "\"Serviclub\"", "/loyalty/program"),
    (
        "/transaction_id",
        "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"",
        "/loyalty/transaction_id",
    ),
    ("/invoice_number", "\"123456789\"", "/loyalty/invoice_number"),
    ("/invoice_number", "123", "/loyalty/invoice_number"),
    ("/transaction_date", "\"2026-01-12\"", "/loyalty/transaction_date"),
    (
        "/transaction_date",
        "\"2026-01-12T10:40:49\"",
        "/loyalty/transaction_date",
    ),
    (
        "/transaction_date",
        "\"1926-01-12T10:40:49Z\"",
        "/loyalty/transaction_date",
    ),
    ("/transaction_amount", "0", "/loyalty/transaction_amount"),
    ("/store_id", "\"123456\"", "/loyalty/store_id"),
    ("/products", "[]", "/loyalty/products"),
    ("/products/0/code", "null", "/loyalty/products/0/code"),
    ("/products/0/quantity", "14.8521", "/loyalty/products/0/quantity"),
    ("/products/0/quantity", "0", "/loyalty/products/0/quantity"),
    ("/products/0/unit", "\"gallon\"", "/loyalty/products/0/unit"),
    ("/products/0/unit_price", "1e3", "/loyalty/products/0/unit_price"),
    ("/shift", "\"12\"", "/loyalty/shift"),
    ("/period", "\"20261\"", "/loyalty/period"),
    ("/affinity_plan", "7", "/loyalty/affinity_plan"),
    (
        "/cashier_identification",
        "{\"name\":\"Ana\"}",
        "/loyalty/cashier_identification/name",
    ),
    (
        "/cashier_identification",
        "{\"number\":\"\"}",
        "/loyalty/cashier_identification/number",
    ),
    ("/points", "1", "/loyalty/points"),
];

#[tokio::test]
async fn what_a_programme_cannot_read_is_refused_with_its_place() {
    let station = Station::start().await;
    station.register("PUMP1").await;
    let mut said = String::new();
    for (place, value, pointer) in WRONG_LOYALTY {
        let mut wrong = loyalty();
        let (object, name) = place.rsplit_once('/').expect("a path");
        wrong.pointer_mut(object).expect("an object")[name] = serde_json::from_str(value).expect("JSON");
        // The number as it is written, whatever serde makes of it.
        let body = order("T-1", json!(5), &[("loyalty", wrong)])
            .to_string()
            .replace(":1000.0", ":1e3");
        let refused = station.push("PUMP1", &body).await;
        assert_eq!(refused.status, 400, "{body}");
        assert_eq!(refused.json()["pointer"], *pointer, "{body}");
        said.push_str(&format!("# loyalty{place} {value}\n{}\n", refused.text()));
    }
    let many = vec![loyalty()["products"][0].clone(); 21];
    let mut wrong = loyalty();
    wrong["products"] = json!(many);
    let refused = station
        .push("PUMP1", order("T-1", json!(5), &[("loyalty", wrong)]))
        .await;
    assert_eq!(refused.json()["detail"], "loyalty/products must have 1 to 20 products");
    golden("problems-loyalty.txt", &said);
    assert_eq!(station.get("/v1/orders").await.json()["orders"], json!([]));
}

#[tokio::test]
async fn what_a_country_or_a_mode_has_no_place_for_is_refused_by_name() {
    let setup = Setup::quiet()
        .account("id = \"bogota\"\ncollector_id = 7\nsite = \"MCO\"")
        .account("id = \"cali\"\ncollector_id = 8\nsite = \"MCO\"\npoll_dialect = \"order-version-2\"")
        .account("id = \"salta\"\ncollector_id = 9\nsite = \"MLA\"\npoll_dialect = \"order-version-2\"");
    let station = Station::with(setup).await;
    for (pos, account, mode) in [
        ("ARGENTINA", "test", "unattended"),
        ("ARGENTINA2", "test", "attended"),
        ("ARGENTINA3", "test", "intent"),
        ("SALTA", "salta", "unattended"),
        ("BOGOTA", "bogota", "unattended"),
        ("BOGOTA2", "bogota", "attended"),
        ("CALI", "cali", "unattended"),
    ] {
        let reply = station
            .register_as(pos, json!({"account": account, "mode": mode}))
            .await;
        assert_eq!(reply, 201, "{pos}");
    }
    let iva = |value: Value| json!([{"type": "IVA", "value": value}]);
    let mut said = String::new();
    for (pos, field, value, pointer) in [
        ("ARGENTINA", "taxes", iva(json!(19)), "/taxes"),
        ("ARGENTINA3", "taxes", iva(json!(19)), "/taxes"),
        ("BOGOTA", "taxes", json!({"type": "IVA", "value": 19}), "/taxes"),
        ("BOGOTA", "taxes", json!([]), "/taxes"),
        ("BOGOTA", "taxes", json!([iva(json!(1))[0], iva(json!(1))[0]]), "/taxes"),
        ("BOGOTA", "taxes", iva(json!(1001)), "/taxes/0/value"),
        ("BOGOTA", "taxes", iva(json!("19.50")), "/taxes/0/value"),
        ("BOGOTA", "taxes", iva(json!(-1)), "/taxes/0/value"),
        ("BOGOTA", "taxes", json!([{"type": "IVA"}]), "/taxes/0/value"),
        ("BOGOTA", "taxes", json!([{"type": "INC", "value": 1}]), "/taxes/0/type"),
        (
            "BOGOTA",
            "taxes",
            json!([{"type": "IVA", "value": 1, "rate": 19}]),
            "/taxes/0/rate",
        ),
        (
            "BOGOTA",
            "taxes",
            json!([{"type": "IVA", "value": 1, "percentage": 19}]),
            "/taxes/0/percentage",
        ),
        (
            "BOGOTA2",
            "taxes",
            json!([{"type": "IVA", "value": 1, "percentage": 19}]),
            "/taxes/0/percentage",
        ),
        (
            "CALI",
            "taxes",
            json!([{"type": "IVA", "value": 1, "percentage": 101}]),
            "/taxes/0/percentage",
        ),
        ("BOGOTA", "loyalty", loyalty(), "/loyalty"),
        ("ARGENTINA2", "loyalty", loyalty(), "/loyalty"),
        ("ARGENTINA3", "loyalty", loyalty(), "/loyalty"),
        ("SALTA", "loyalty", loyalty(), "/loyalty"),
        ("ARGENTINA", "loyalty", json!("CTC"), "/loyalty"),
        ("ARGENTINA", "marketplace_fee", json!(1), "/marketplace_fee"),
        ("ARGENTINA2", "marketplace_fee", json!(1), "/marketplace_fee"),
        ("SALTA", "marketplace_fee", json!(1), "/marketplace_fee"),
    ] {
        let refused = station
            .push(pos, order("T-1", json!(1000), &[(field, value.clone())]))
            .await;
        assert_eq!(refused.status, 400, "{pos} {field} {value}");
        assert_eq!(refused.json()["pointer"], pointer, "{pos} {field} {value}");
        if field == "loyalty" {
            said.push_str(&format!("# {pos} loyalty\n{}\n", refused.text()));
        } else {
            said.push_str(&format!("# {pos} {field} {value}\n{}\n", refused.text()));
        }
    }
    // An intent has no place for what comes along for nothing.
    let gift = json!({"items": [{"title": "SUPER", "quantity": 1, "unit_price": 5},
        {"title": "COFFEE", "quantity": 1, "unit_price": 0}]});
    let refused = station.push("ARGENTINA3", &gift).await;
    assert_eq!(refused.json()["pointer"], "/items/1/unit_price");
    said.push_str(&format!("# ARGENTINA3 {gift}\n{}\n", refused.text()));
    assert_eq!(station.push("ARGENTINA", &gift).await, 201);
    let nowhere = station
        .register_as("CALI2", json!({"account": "cali", "mode": "intent"}))
        .await;
    assert_eq!(nowhere.json()["pointer"], "/mode");
    said.push_str(&format!("# CALI2 intent\n{}\n", nowhere.text()));
    golden("problems-extras.txt", &said);
}

#[tokio::test]
async fn what_is_recorded_is_told_again_although_its_pos_has_no_place_for_it_any_more() {
    let setup =
        Setup::quiet().account("id = \"cali\"\ncollector_id = 8\nsite = \"MCO\"\npoll_dialect = \"order-version-2\"");
    let station = Station::with(setup).await;
    let registered = async |pos, account, mode| {
        let more = json!({"account": account, "mode": mode, "external_store_id": "S1"});
        station.register_as(pos, more).await.status
    };
    let taxes = json!([{"type": "IVA", "value": 1, "percentage": 19}]);
    for (pos, account, field, value) in [
        ("SHELL", "test", "loyalty", loyalty()),
        ("CALI", "cali", "taxes", taxes),
    ] {
        assert_eq!(registered(pos, account, "unattended").await, 201);
        let pushed = |amount| order(&format!("{pos}-1"), json!(amount), &[(field, value.clone())]);
        assert_eq!(station.push(pos, pushed(1000)).await, 201);
        assert_eq!(station.cancel(pos).await, 204);
        assert_eq!(registered(pos, account, "attended").await, 200);
        let again = station.push(pos, pushed(1000)).await;
        assert_eq!(
            (again.status, again.json()["status"].clone()),
            (200, json!("canceled")),
            "{pos}"
        );
        let other = station.push(pos, pushed(1001)).await;
        assert_eq!(
            (other.status, other.json()["code"].clone()),
            (409, json!("reference_used")),
            "{pos}"
        );
        let new = station
            .push(pos, order("T-2", json!(1000), &[(field, value.clone())]))
            .await;
        assert_eq!(new.status, 400, "{pos}");
    }
}

/// The simulated Mercado Pago is not told by us what is right.
#[tokio::test]
async fn what_is_wrong_in_a_poll_is_seen() {
    for (site, field, value, said) in [
        (
            "MLA",
            "taxes",
            json!([{"type": "IVA", "value": 1}]),
            "taxes are for MCO",
        ),
        ("MCO", "taxes", json!([{"type": "IVA", "value": 6}]), "within the total"),
        (
            "MCO",
            "taxes",
            json!([{"type": "IVA", "value": 0.5}]),
            "within the total",
        ),
        (
            "MCO",
            "taxes",
            json!([{"type": "IVA", "value": "1"}]),
            "within the total",
        ),
        (
            "MCO",
            "taxes",
            json!([{"type": "IVA", "value": 1, "percentage": 19}]),
            "not a known member",
        ),
        ("MCO", "loyalty", loyalty(), "loyalty is for MLA"),
        ("MLA", "loyalty", loyalty(), "loyalty.invoice_number is not padded to 8"),
        ("MLA", "loyalty", loyalty(), "loyalty.cashier_identification is missing"),
        (
            "MLA",
            "loyalty",
            loyalty(),
            "loyalty.products.unit_price is not as it must be",
        ),
    ] {
        let merchant = crate::support::merchant::Merchant::start().await;
        let settings = Settings {
            accounts: vec![Account::new(TEST_TOKEN, site).expect("it ends in a number")],
            ..hurried()
        };
        let sandbox = Sandbox::start(settings).expect("it starts");
        let currency = if site == "MCO" { "COP" } else { "ARS" };
        let mut body = json!({"collector_id": api::USER, "external_reference": "T-1",
            "items": [{"title": "S", "description": "D", "currency_id": currency, "quantity": 1, "unit_price": 5}]});
        body[field] = value;
        merchant.polls(200, &body.to_string());
        let place = surtidor::sandbox::Place::Url(merchant.url("/pay"));
        let scan = sandbox.scan(place).await.expect("a place");
        patiently(async {
            while !sandbox.scanned(scan).await.expect("it answers").last.contains(said) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

use super::*;
use crate::domain::account::{LatePayment, Payee};
use crate::domain::extras::{Cashier, Code, Fee, Iva, Loyalty, Measure, Percentage, Product, Products, Program, Unit};
use crate::domain::id::{AccountId, PosId, Timestamp};
use crate::domain::money::{Currency, Money};
use crate::domain::order::{Content, Items, Quantity};
use crate::domain::pos::{PollKey, Registration};
use crate::domain::text::Text;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::parse(text).expect(text)
}

fn item(title: &str, price: &str, currency: Currency) -> Item {
    Item::plain(
        text(title),
        text("Pump 4, \"SUPER\" ñ"),
        Quantity::ONE,
        Money::parse(price, currency).expect(price),
    )
}

fn order(items: Vec<Item>) -> Order {
    Order::new(
        Reference::parse("T-000123").expect("a reference"),
        PosId::parse("PUMP-4").expect("a name"),
        AccountId::parse("main").expect("a name"),
        Payee {
            collector_id: 178_106_235,
            sponsor_id: Some(334_249_281),
            notification_url: Some("https://pay.example.com/notifications/main".into()),
            client_id: None,
        },
        Content::plain(Items::new(items).expect("good items"), 300),
        LatePayment::Report,
        NOW,
    )
}

fn pos() -> Pos {
    let registration = Registration {
        account: AccountId::parse("main").expect("a name"),
        mode: Mode::Unattended,
        keys: Some(PollKey::new(&["6232", "1"]).expect("good values")),
        name: None,
        require_lease: false,
        url_secret: false,
        external: None,
    };
    Pos::new(PosId::parse("PUMP-4").expect("a name"), registration)
}

fn sent(reply: &Reply) -> (u16, bool, String) {
    let answer = reply.answer();
    let body = String::from_utf8(answer.body.to_vec()).expect("JSON is text");
    (answer.status.as_u16(), answer.order_version_2, body)
}

fn says(word: &Word, dialect: Dialect) -> (u16, bool, String) {
    sent(&Reply::of(
        &Pos {
            word: word.clone(),
            ..pos()
        },
        dialect,
        Instant::now(),
        None,
    ))
}

#[test]
fn waiting_as_documented() {
    for (waiting, body) in [
        (Waiting::Unavailable, r#"{"error":{"type":"unavailable"}}"#),
        (Waiting::InProcess, r#"{"error":{"type":"in_process"}}"#),
        (Waiting::Timeout, r#"{"error":{"type":"timeout"}}"#),
    ] {
        assert_eq!(
            says(&Word::plain(waiting), Dialect::Documented),
            (400, false, body.into())
        );
    }
    let word = Word {
        waiting: Waiting::InProcess,
        message: Some(text("Fuel is \"still\" flowing, ñandú \\o/")),
    };
    let body = r#"{"error":{"type":"in_process","message":"Fuel is \"still\" flowing, ñandú \\o/"}}"#;
    assert_eq!(says(&word, Dialect::Documented), (400, false, body.into()));
}

#[test]
fn waiting_in_order_version_2() {
    for (waiting, body) in [
        (
            Waiting::Unavailable,
            r#"{"status":{"status_detail":"Waiting_for_order"}}"#,
        ),
        (Waiting::InProcess, r#"{"status":{"status_detail":"in_process"}}"#),
        (Waiting::Timeout, r#"{"status":{"status_detail":"Waiting_for_order"}}"#),
    ] {
        assert_eq!(
            says(&Word::plain(waiting), Dialect::OrderVersion2),
            (202, false, body.into())
        );
    }
    let word = Word {
        waiting: Waiting::InProcess,
        message: Some(text("Fuel is still flowing.")),
    };
    let body = r#"{"status":{"status_detail":"in_process","message":"Fuel is still flowing."}}"#;
    assert_eq!(says(&word, Dialect::OrderVersion2), (202, false, body.into()));
}

#[test]
fn an_order_as_documented() {
    let wash = Item {
        quantity: Quantity::new(2).expect("two"),
        picture_url: Some(text("https://pay.example.com/wash.png")),
        sku_number: Some(text("WASH")),
        ..item("CAR WASH", "0.10", Currency::Ars)
    };
    let order = order(vec![item("SUPER 23.45 L", "18525.50", Currency::Ars), wash]);
    let reply = Reply::order(&order, Dialect::Documented, Instant::now(), None);
    let golden = include_str!("../../../tests/wire/order_documented.json").trim_end();
    assert_eq!(sent(&reply), (200, false, golden.into()));
}

#[test]
fn an_order_in_order_version_2() {
    let wash = Item {
        quantity: Quantity::new(2).expect("two"),
        sku_number: Some(text("WASH")),
        category: Some(text("service")),
        unit_measure: Some(UnitMeasure::Pack),
        ..item("CAR WASH", "0.10", Currency::Ars)
    };
    let order = order(vec![item("SUPER 23.45 L", "18525.50", Currency::Ars), wash]);
    let reply = Reply::order(&order, Dialect::OrderVersion2, Instant::now(), None);
    let golden = include_str!("../../../tests/wire/order_version_2.json").trim_end();
    assert_eq!(sent(&reply), (200, true, golden.into()));
}

fn loyalty(currency: Currency) -> Loyalty {
    let product = |code, quantity, unit, price| Product {
        code: Code::parse(code).expect(code),
        quantity: Measure::parse(quantity).expect(quantity),
        unit,
        unit_price: Measure::parse(price).expect(price),
    };
    let products = vec![
        product("2", "14.852", Unit::Litre, "1247.35"),
        product("7", "1", Unit::Piece, "0.20"),
    ];
    Loyalty {
        program: Program::Ctc,
        transaction_id: text("00029-4-T-000123"),
        invoice_number: Code::padded("123").expect("a number"),
        transaction_date: NOW,
        transaction_amount: Money::parse("18525.70", currency).expect("an amount"),
        store_id: Code::padded("29").expect("a number"),
        products: Products::new(products).expect("two"),
        cashier: Cashier {
            kind: Cashier::unknown_kind(),
            number: Cashier::unknown_number(),
        },
        period: Loyalty::unknown_period(),
        shift: Some(Code::parse("1").expect("a shift")),
        affinity_plan: Loyalty::usual_plan(),
    }
}

#[test]
fn points_of_argentina() {
    let mut order = order(vec![item("SUPER 14.852 L", "18525.70", Currency::Ars)]);
    order.content.loyalty = Some(Box::new(loyalty(Currency::Ars)));
    let reply = Reply::order(&order, Dialect::Documented, Instant::now(), None);
    let golden = include_str!("../../../tests/wire/order_documented_loyalty.json").trim_end();
    assert_eq!(sent(&reply), (200, false, golden.into()));
}

#[test]
fn taxes_of_colombia() {
    let cop = |text| Money::parse(text, Currency::Cop).expect(text);
    let mut order = order(vec![item("SUPER", "11900", Currency::Cop)]);
    let total = order.amount();
    order.content.taxes = Iva::new(cop("1900"), None, total).ok();
    let reply = Reply::order(&order, Dialect::Documented, Instant::now(), None);
    let golden = include_str!("../../../tests/wire/order_documented_taxes.json").trim_end();
    assert_eq!(sent(&reply), (200, false, golden.into()));

    order.content.taxes = Iva::new(cop("1900"), Percentage::parse("19").ok(), total).ok();
    order.content.marketplace_fee = Fee::new(cop("119"), total).ok();
    let reply = Reply::order(&order, Dialect::OrderVersion2, Instant::now(), None);
    let golden = include_str!("../../../tests/wire/order_version_2_extras.json").trim_end();
    assert_eq!(sent(&reply), (200, true, golden.into()));
    assert_eq!(reply.answer().client_id, None);

    order.payee.client_id = Some(334_249_281);
    let told = |dialect| Reply::order(&order, dialect, Instant::now(), None).answer().client_id;
    assert_eq!(told(Dialect::OrderVersion2), Some(334_249_281));
    assert_eq!(told(Dialect::Documented), None);
}

#[test]
fn what_is_not_configured_is_left_out_and_whole_currencies_stay_whole() {
    let mut order = order(vec![item("SUPER", "999999999999", Currency::Cop)]);
    order.payee = Payee {
        collector_id: 1,
        sponsor_id: None,
        notification_url: None,
        client_id: None,
    };
    let body = concat!(
        r#"{"collector_id":1,"items":[{"title":"SUPER","description":"Pump 4, \"SUPER\" ñ","currency_id":"COP","#,
        r#""quantity":1,"unit_price":999999999999}],"external_reference":"T-000123"}"#
    );
    assert_eq!(
        sent(&Reply::order(&order, Dialect::Documented, Instant::now(), None)).2,
        body
    );
}

#[test]
fn only_an_order_that_may_be_paid_is_offered() {
    let open = || Some(Arc::new(order(vec![item("SUPER", "1", Currency::Ars)])));
    let outcome = |pos: &Pos| {
        Reply::of(pos, Dialect::Documented, Instant::now(), None)
            .answer()
            .outcome
    };
    let mut pos = Pos { open: open(), ..pos() };
    assert_eq!(outcome(&pos), Outcome::Order);
    pos.registration.require_lease = true;
    assert_eq!(outcome(&pos), Outcome::Timeout);
    pos.lease = Some(NOW.plus_seconds(30));
    assert_eq!(outcome(&pos), Outcome::Order);
    pos.registration.mode = Mode::Attended;
    assert_eq!(outcome(&pos), Outcome::Unavailable);
}

#[test]
fn outcomes_are_numbered_as_they_are_listed() {
    assert!(
        Outcome::ALL
            .into_iter()
            .enumerate()
            .all(|(i, outcome)| outcome as usize == i)
    );
}

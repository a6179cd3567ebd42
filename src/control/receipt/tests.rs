use proptest::prelude::*;

use super::*;
use crate::domain::account::{LatePayment, Payee};
use crate::domain::id::{AccountId, PosId, Reference};
use crate::domain::money::Site;
use crate::domain::order::{Content, Items, Quantity};
use crate::domain::payment::{Cause, Reversed};
use crate::domain::text::Text;

/// 2026-11-21T14:05:09Z
const AT: Timestamp = Timestamp(1_795_269_909_000);

fn money(text: &str, currency: Currency) -> Money {
    Money::parse(text, currency).expect(text)
}

fn item(title: &str, quantity: u32, price: Money) -> Item {
    Item::plain(
        Text::parse(title).expect(title),
        Text::parse("-").expect("text"),
        Quantity::new(quantity).expect("some"),
        price,
    )
}

fn order(reference: &str, items: Vec<Item>) -> Order {
    Order {
        status: Status::Paid,
        ended_at: Some(AT),
        ..Order::new(
            Reference::parse(reference).expect(reference),
            PosId::parse("PUMP4").expect("a name"),
            AccountId::parse("main").expect("a name"),
            Payee {
                collector_id: 1,
                sponsor_id: None,
                notification_url: None,
                client_id: None,
            },
            Content::plain(Items::new(items).expect("items"), 300),
            LatePayment::Report,
            AT,
        )
    }
}

fn payment(id: u64, amount: Money) -> Payment {
    Payment {
        id,
        merchant_order: Some(id + 1),
        amount,
        approved_at: Some(AT),
        reversed: None,
    }
}

fn refund(number: u32, payment: u64, amount: Money, state: RefundState) -> Refund {
    Refund {
        number,
        payment,
        amount,
        cause: Cause::Delivery,
        requested_at: AT,
        state,
    }
}

fn text(order: &Order, name: Option<&str>, width: usize) -> String {
    let receipt = Receipt::of(order, name).unwrap_or_else(|refusal| panic!("{refusal}"));
    receipt.text(Width::parse(&width.to_string()).expect("a width"))
}

#[test]
fn a_sale_with_money_that_went_back() {
    let ars = |text| money(text, Currency::Ars);
    let title = "Café con leche de almendras y tostadas de pan de campo";
    let mut sale = order(
        "T-1",
        vec![item("SUPER 23.45 L", 1, ars("18525.50")), item(title, 3, ars("900"))],
    );
    sale.payments = vec![payment(7_000_000_001, ars("21225.50"))];
    sale.refunds = vec![
        refund(1, 7_000_000_001, ars("200"), RefundState::Done(41)),
        refund(2, 7_000_000_001, ars("25.50"), RefundState::Requested),
        refund(
            3,
            7_000_000_001,
            ars("1"),
            RefundState::Failed(Text::parse("no money").expect("text")),
        ),
    ];
    sale.delivery = Some((
        Delivery::Failed {
            amount: Some(ars("225.50")),
            reason: None,
        },
        AT,
    ));
    let expected = "\
Surtidor 4
Comprobante de pago
Pedido T-1
--------------------------------
SUPER 23.45 L
1 x 18525.50            18525.50
Café con leche de almendras y
tostadas de pan de campo
3 x 900.00               2700.00
--------------------------------
TOTAL ARS               21225.50
Mercado Pago            21225.50
2026-11-21 11:05:09 -03:00
Pago 7000000001
Orden 7000000002
--------------------------------
Devolución 41            -200.00
Devolución en curso       -25.50
Devolución no realizada     1.00
Saldo                   21000.00
Producto no entregado     225.50
--------------------------------
No válido como factura
";
    assert_eq!(text(&sale, Some("Surtidor 4"), 32), expected);
}

#[test]
fn late_money_in_brazil() {
    let brl = |text| money(text, Currency::Brl);
    let mut late = order(&"x".repeat(64), vec![item("Água", 1_000_000, brl("999999"))]);
    late.status = Status::Expired;
    let taken = Reversed {
        how: Reversal::ChargedBack,
        amount: brl("999999000000"),
    };
    late.payments = vec![Payment {
        merchant_order: None,
        approved_at: None,
        reversed: Some(taken),
        ..payment(9, brl("999999000000"))
    }];
    late.delivery = Some((
        Delivery::Failed {
            amount: None,
            reason: None,
        },
        AT,
    ));
    let expected = "\
PUMP4
Comprovante de pagamento
Pedido
xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
xxxxxxxxxxxxxxxxxxxxxx
Pedido vencido
------------------------------------------
Água
1000000 x 999999.00        999999000000.00
------------------------------------------
TOTAL BRL                  999999000000.00
Mercado Pago               999999000000.00
2026-11-21 11:05:09 -03:00
Pagamento 9
------------------------------------------
Estorno do banco          -999999000000.00
Saldo                                 0.00
Produto não entregue
------------------------------------------
Não é documento fiscal
";
    assert_eq!(text(&late, None, 42), expected);
}

#[test]
fn a_program_is_told_the_same() {
    let ars = |text| money(text, Currency::Ars);
    let mut sale = order("T-1", vec![item("SUPER", 2, ars("50"))]);
    sale.payments = vec![payment(1, ars("100"))];
    sale.refunds = vec![refund(1, 1, ars("40"), RefundState::Done(41))];
    let receipt = Receipt::of(&sale, Some("Surtidor 4")).unwrap_or_else(|refusal| panic!("{refusal}"));
    let expected = concat!(
        r#"{"external_reference":"T-1","pos":"PUMP4","name":"Surtidor 4","status":"paid","#,
        r#""ended_at":"2026-11-21T14:05:09.000Z","#,
        r#""items":[{"title":"SUPER","quantity":2,"unit_price":"50.00","amount":"100.00"}],"#,
        r#""amount":"100.00","currency_id":"ARS","payments":[{"id":1,"merchant_order":2,"amount":"100.00","#,
        r#""status":"approved","approved_at":"2026-11-21T14:05:09.000Z"}],"#,
        r#""refunds":[{"id":41,"payment":1,"amount":"40.00","status":"done","cause":"delivery"}],"#,
        r#""left":"60.00","delivery":null}"#
    );
    assert_eq!(
        String::from_utf8(write::to_json(&receipt.view())).expect("text"),
        expected
    );
}

#[test]
fn there_is_none_before_the_end_nor_without_money() {
    let ars = |text| money(text, Currency::Ars);
    let mut order = order("T-1", vec![item("SUPER", 1, ars("100"))]);
    for status in Status::ALL {
        order.status = status;
        let refusal = Receipt::of(&order, None).err();
        let expected = if status.is_open() {
            Refusal::OrderOpen(order.reference.clone())
        } else {
            Refusal::OrderNotPaid(status)
        };
        assert_eq!(refusal, Some(expected));
    }
    order.payments = vec![payment(1, ars("40"))];
    for status in Status::ALL {
        order.status = status;
        assert_eq!(Receipt::of(&order, None).is_ok(), !status.is_open(), "{status:?}");
    }
}

#[test]
fn every_country_has_its_hour() {
    let hours: Vec<String> = Site::ALL.map(|site| local(AT, site.currency())).into();
    let of = |hour: &str| format!("2026-11-21 {hour}");
    let summer = [
        "11:05:09 -03:00",
        "11:05:09 -03:00",
        "11:05:09 -03:00",
        "09:05:09 -05:00",
        "08:05:09 -06:00",
        "09:05:09 -05:00",
        "11:05:09 -03:00",
    ];
    assert_eq!(hours, summer.map(of));
    let june = Timestamp(1_781_000_000_000);
    assert!(local(june, Currency::Clp).ends_with("-04:00"), "Chile's winter");
}

#[test]
fn the_first_that_accept_names_is_taken() {
    for (accept, format) in [
        ("application/json", Format::Json),
        ("text/html, application/json; q=0.9, text/plain", Format::Json),
        ("text/plain, application/json", Format::Text),
        ("*/*", Format::Text),
        ("image/png", Format::Text),
        ("", Format::Text),
    ] {
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().expect("a header"))]);
        assert_eq!(Format::accepted(&headers), format, "{accept}");
    }
    assert_eq!(Format::accepted(&HeaderMap::new()), Format::Text);
}

prop_compose! {
    fn any_money(currency: Currency)(cents in 1_u64..1_000_000_000) -> Money {
        let text = match currency.places() {
            0 => cents.to_string(),
            _ => format!("{}.{:02}", cents / 100, cents % 100),
        };
        money(&text, currency)
    }
}

fn any_title() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zñÁ ]{0,60}[!-~]", "[ñ€]{100}", "\\PC{1,100}"]
        .prop_filter("a title", |title| Text::<{ limits::TITLE_LEN }>::parse(title).is_ok())
}

fn any_state() -> impl Strategy<Value = RefundState> {
    prop_oneof![
        Just(RefundState::Requested),
        any::<u64>().prop_map(RefundState::Done),
        Just(RefundState::Failed(Text::parse("no").expect("text"))),
    ]
}

fn any_order() -> impl Strategy<Value = Order> {
    let site = proptest::sample::select(&Site::ALL[..]);
    site.prop_flat_map(|site| {
        let currency = site.currency();
        let items = prop::collection::vec((any_title(), 1_u32..20, any_money(currency)), 1..6);
        let payments = prop::collection::vec((any::<u64>(), any_money(currency), any::<bool>()), 1..4);
        let refunds = prop::collection::vec((any_money(currency), any_state()), 0..4);
        let failed = prop::option::of(prop::option::of(any_money(currency)));
        let status = proptest::sample::select(&Status::ALL[3..]);
        (items, payments, refunds, failed, status, "[A-Za-z0-9_-]{1,64}")
    })
    .prop_map(|(items, payments, refunds, failed, status, reference)| {
        let items = items
            .into_iter()
            .map(|(title, quantity, price)| item(&title, quantity, price));
        let paid = |(id, amount, whole): (u64, Money, bool)| Payment {
            merchant_order: whole.then_some(u64::MAX),
            reversed: (!whole).then_some(Reversed {
                how: Reversal::Refunded,
                amount,
            }),
            ..payment(id / 2, amount)
        };
        let payments: Vec<Payment> = payments.into_iter().map(paid).collect();
        let of = payments[0].id;
        let refunds = (1..).zip(refunds);
        Order {
            status,
            refunds: refunds
                .map(|(number, (amount, state))| refund(number, of, amount, state))
                .collect(),
            payments,
            delivery: failed.map(|amount| (Delivery::Failed { amount, reason: None }, AT)),
            ..order(&reference, items.collect())
        }
    })
}

proptest! {
    #[test]
    fn nothing_is_wider_than_the_paper(order in any_order(), name in prop::option::of("[A-Zñ ]{0,43}[A-Z]")) {
        for width in [32, 42, 48] {
            let text = text(&order, name.as_deref(), width);
            for line in text.lines() {
                prop_assert!(line.chars().count() <= width, "{line:?} at {width}");
                prop_assert_eq!(line, line.trim_end());
                prop_assert!(!line.is_empty());
            }
            let total = order.amount().to_string();
            prop_assert!(text.lines().any(|line| line.starts_with("TOTAL") && line.ends_with(&total)));
        }
    }

    /// No letter is lost, and none is added but spaces and line breaks.
    #[test]
    fn wrapping_keeps_every_letter(title in any_title(), width in 1_usize..50) {
        let letters = |text: &str| text.split_whitespace().collect::<String>();
        prop_assert_eq!(letters(&wrapped(&title, width).concat()), letters(&title));
    }
}

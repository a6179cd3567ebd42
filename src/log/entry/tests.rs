use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::domain::command::{Action, NewState};
use crate::domain::extras::{Cashier, Code, Fee, Iva, Loyalty, Measure, Percentage, Product, Products, Program, Unit};
use crate::domain::id::IdempotencyKey;
use crate::domain::payment::{Ask, Cause, Oddity, Payment, Refund, RefundState, Reversal, Reversed, Sighting, Suspect};
use crate::domain::posted::QrMode;
use crate::log::samples::{ars, order, pos_id, reference, text};

/// Logs of older versions must stay readable: these files are what they wrote, and no test may make them anew.
const ENTRY_V1: &str = include_str!("../../../tests/wire/entry-v1.json");
const ORDER_V1: &str = include_str!("../../../tests/wire/order-v1.json");
const ENTRY_V2: &str = include_str!("../../../tests/wire/entry-v2.json");
const ORDER_V2: &str = include_str!("../../../tests/wire/order-v2.json");
const ENTRY_V3: &str = include_str!("../../../tests/wire/entry-v3.json");
const ORDER_V3: &str = include_str!("../../../tests/wire/order-v3.json");

fn full_order() -> Order {
    let plain = order("T-000123", "PUMP-4", 1_763_733_909_123);
    let [item] = &plain.content.items.iter().cloned().collect::<Vec<_>>()[..] else {
        panic!("one item")
    };
    let second = Item {
        title: text("Café \"grande\""),
        quantity: Quantity::new(2).expect("in range"),
        unit_price: ars("0.25"),
        sku_number: Some(text("SKU-1")),
        category: Some(text("food")),
        unit_measure: Some(UnitMeasure::Pack),
        picture_url: Some(text("https://example.com/cafe.png")),
        ..item.clone()
    };
    Order {
        content: Content {
            items: Items::new(vec![item.clone(), second]).expect("items"),
            late_payment: Some(LatePayment::Accept),
            ..plain.content.clone()
        },
        late_payment: LatePayment::Accept,
        status: Status::Shown,
        shown_at: Some(Timestamp(1_763_733_915_000)),
        payments: vec![payment(41, "100")],
        ..plain
    }
}

fn closed_order() -> Order {
    Order {
        status: Status::Paid,
        ended_at: Some(Timestamp(1_763_733_930_000)),
        delivery: Some((failed(), Timestamp(1_763_733_940_000))),
        ..full_order()
    }
}

/// With money that went back, as version 1 did not know it.
fn settled_order() -> Order {
    Order {
        payments: vec![payment(41, "100"), reversed()],
        refunds: refunds(),
        sightings: sightings(),
        overdue_at: Some(Timestamp(1_763_733_950_000)),
        ..closed_order()
    }
}

/// With what an intent has, and what stations and countries add, although no account has all of that.
fn posted_order() -> Order {
    let way = Way::Intent {
        pos: ExternalPosId::parse("PUMP4").expect("a name"),
    };
    let order = settled_order();
    Order {
        payee: Payee {
            client_id: Some(334_249_281),
            ..order.payee.clone()
        },
        content: Content {
            qr: QrMode::Dynamic,
            taxes: Iva::new(ars("2957.93"), Percentage::parse("19").ok(), order.amount()).ok(),
            loyalty: Some(Box::new(loyalty())),
            marketplace_fee: Fee::new(ars("18.53"), order.amount()).ok(),
            ..order.content.clone()
        },
        posted: Some(Box::new(Posted {
            intent: IntentId::parse("7c1d2e3f-1a2b-4c5d-8e9f-0a1b2c3d4e5f").ok(),
            qr_data: Some(text("000201010211")),
            canceling: true,
            refused: Some(text("409 Conflict")),
            ..Posted::new(way)
        })),
        ..order
    }
}

fn loyalty() -> Loyalty {
    let product = Product {
        code: code("2"),
        quantity: Measure::parse("14.852").expect("litres"),
        unit: Unit::Litre,
        unit_price: Measure::parse("1247.35").expect("a price"),
    };
    Loyalty {
        program: Program::Serviclub,
        transaction_id: text("00029-4-T-000123"),
        invoice_number: Code::padded("45ea80").expect("a number"),
        transaction_date: Timestamp(1_763_733_900_000),
        transaction_amount: ars("18526"),
        store_id: Code::padded("29").expect("a number"),
        products: Products::new(vec![product]).expect("one"),
        cashier: Cashier {
            kind: code("DNI"),
            number: code("00000000"),
        },
        period: code("0000"),
        shift: Some(code("1")),
        affinity_plan: code("7"),
    }
}

fn code<const N: usize>(code: &str) -> Code<N> {
    Code::parse(code).expect(code)
}

fn payment(id: u64, amount: &str) -> Payment {
    Payment {
        id,
        merchant_order: Some(7),
        amount: ars(amount),
        approved_at: Some(Timestamp(1_763_733_920_000)),
        reversed: None,
    }
}

fn reversed() -> Payment {
    Payment {
        reversed: Some(Reversed {
            how: Reversal::ChargedBack,
            amount: ars("50"),
        }),
        ..payment(42, "100")
    }
}

fn refunds() -> Vec<Refund> {
    let ask = Ask {
        key: IdempotencyKey::parse("a+b/c=").expect("a key"),
        payment: Some(41),
        amount: Some(ars("0.01")),
    };
    let whole = Ask {
        payment: None,
        amount: None,
        ..ask.clone()
    };
    let failed = || RefundState::Failed(text("no money"));
    let causes = [
        (Cause::Late, RefundState::Requested),
        (Cause::Overpaid, RefundState::Done(1_622_029_222)),
        (Cause::Delivery, failed()),
        (Cause::Asked(ask), failed()),
        (Cause::Asked(whole), RefundState::Requested),
    ];
    (1..)
        .zip(causes)
        .map(|(number, (cause, state))| Refund {
            number,
            payment: 41,
            amount: ars("0.01"),
            cause,
            requested_at: Timestamp(1_763_733_935_000),
            state,
        })
        .collect()
}

fn sightings() -> Vec<Sighting> {
    let suspect = |payment, why| {
        Sighting::Suspect(Suspect {
            merchant_order: Some(7),
            payment,
            why,
        })
    };
    let odd = Oddity::ALL.map(|why| suspect(Some(43), why));
    [
        Sighting::Pending(44),
        Sighting::Rejected(44),
        suspect(None, Oddity::PaymentId),
    ]
    .into_iter()
    .chain(odd)
    .collect()
}

fn failed() -> Delivery {
    Delivery::Failed {
        amount: Some(ars("18525.50")),
        reason: Some(text("nozzle blocked")),
    }
}

fn full_registration() -> Registration {
    Registration {
        account: AccountId::parse("main").expect("a name"),
        mode: Mode::Attended,
        keys: Some(PollKey::new(&["6232", "4"]).expect("keys")),
        name: Some(text("Pump 4")),
        require_lease: true,
        url_secret: true,
        external: Some(Box::new(External {
            pos: ExternalPosId::parse("PUMP4").ok(),
            store: ExternalStoreId::parse("STORE1").ok(),
        })),
    }
}

/// Every event there is: a new one must be added here and, with a new version, to a new file.
fn every_event() -> Vec<Event> {
    let facts = full_order().facts();
    let intent = IntentId::parse("7c1d2e3f-1a2b-4c5d-8e9f-0a1b2c3d4e5f").expect("an id");
    let posted = vec![
        Event::OrderSent {
            facts: facts.clone(),
            intent: None,
            qr_data: None,
        },
        Event::OrderSent {
            facts: facts.clone(),
            intent: Some(intent),
            qr_data: Some(text("000201010211")),
        },
        Event::OrderRejected {
            facts: facts.clone(),
            why: text("404 pos_not_found"),
        },
        Event::CancelAsked {
            facts: facts.clone(),
            reason: None,
        },
        Event::CancelAsked {
            facts: facts.clone(),
            reason: Some(CancelReason::NotPaid),
        },
        Event::OrderCanceled {
            facts,
            reason: Some(CancelReason::AtMercadoPago),
        },
    ];
    events_of_version_2().into_iter().chain(posted).collect()
}

fn events_of_version_2() -> Vec<Event> {
    let facts = full_order().facts();
    let seen = sightings().into_iter().map(|sighting| Event::PaymentSeen {
        facts: facts.clone(),
        sighting,
    });
    let ended = refunds().into_iter().map(|refund| Event::RefundEnded {
        facts: facts.clone(),
        refund,
    });
    let others = vec![
        Event::DeliveryOverdue(facts.clone()),
        Event::PaymentReversed {
            facts: facts.clone(),
            payment: reversed(),
        },
        Event::RefundRequested {
            facts: facts.clone(),
            refunds: refunds(),
        },
    ];
    events_of_version_1()
        .into_iter()
        .chain(others)
        .chain(seen)
        .chain(ended)
        .collect()
}

fn events_of_version_1() -> Vec<Event> {
    let order = full_order();
    let facts = order.facts();
    let payments = vec![payment(41, "100")];
    vec![
        Event::Registered(full_registration()),
        Event::Changed(Registration {
            keys: None,
            name: None,
            external: None,
            ..full_registration()
        }),
        Event::Removed,
        Event::StateChanged {
            to: NewState::Waiting(Waiting::InProcess),
            message: Some(text("filling")),
        },
        Event::StateChanged {
            to: NewState::Ready,
            message: None,
        },
        Event::OrderReady(Arc::new(order)),
        Event::OrderShown(facts.clone()),
        Event::OrderCanceled {
            facts: facts.clone(),
            reason: Some(CancelReason::PaidElsewhere),
        },
        Event::OrderReplaced(facts.clone()),
        Event::OrderExpired(facts.clone()),
        Event::OrderPaid {
            facts: facts.clone(),
            payments: payments.clone(),
            late: true,
        },
        Event::PaymentPartial {
            facts: facts.clone(),
            payments: payments.clone(),
        },
        Event::LatePayment {
            facts: facts.clone(),
            payments: payments.clone(),
            action: Action::Report,
        },
        Event::Overpaid {
            facts: facts.clone(),
            payments,
            excess: ars("0.50"),
            action: Action::Refund,
        },
        Event::DeliveryReported {
            facts: facts.clone(),
            delivery: Delivery::Dispensed,
        },
        Event::DeliveryReported {
            facts,
            delivery: failed(),
        },
    ]
}

fn full_state() -> State {
    Some(Pos {
        open: Some(Arc::new(full_order())),
        last: Some(Box::new((reference("T-000122"), Status::Paid))),
        word: Word {
            waiting: Waiting::Unavailable,
            message: Some(text("back soon")),
        },
        ..Pos::new(pos_id("PUMP-4"), full_registration())
    })
}

#[test]
fn each_version_is_read_as_it_was_written() {
    let read = |entry: &str| read_body(&pos_id("PUMP-4"), entry.trim_end().as_bytes());
    assert_eq!(read(ENTRY_V1), Ok((events_of_version_1(), full_state())));
    assert_eq!(read_order_body(ORDER_V1.trim_end().as_bytes()), Ok(closed_order()));
    assert_eq!(read(ENTRY_V2), Ok((events_of_version_2(), full_state())));
    assert_eq!(read_order_body(ORDER_V2.trim_end().as_bytes()), Ok(settled_order()));
    assert_eq!(read(ENTRY_V3), Ok((every_event(), full_state())));
    assert_eq!(read_order_body(ORDER_V3.trim_end().as_bytes()), Ok(posted_order()));
}

#[test]
fn this_version_writes_version_3() {
    let written = |bytes| String::from_utf8(bytes).expect("JSON is UTF-8");
    assert_eq!(written(body(&every_event(), &full_state())), ENTRY_V3.trim_end());
    assert_eq!(written(order_body(&posted_order())), ORDER_V3.trim_end());
}

#[test]
fn what_cannot_be_read_says_why() {
    let read = |body: &str| read_body(&pos_id("P"), body.as_bytes()).expect_err(body);
    assert_eq!(read(r#"{"v":4,"anything":[]}"#), Unreadable::Newer(4));
    assert_eq!(
        read(r#"{"v":1,"events":["order_ready"],"state":null}"#),
        Unreadable::Field("open")
    );
    assert!(matches!(
        read(r#"{"v":1,"events":["unheard_of"],"state":null}"#),
        Unreadable::Form(_)
    ));
    assert!(matches!(read("{}"), Unreadable::Form(_)));
    assert!(matches!(read(""), Unreadable::Form(_)));
    assert_eq!(read_order_body(br#"{"v":4}"#), Err(Unreadable::Newer(4)));
    for (wrong, field) in [
        ((r#""status":"paid""#, r#""status":"stolen""#), "status"),
        ((r#""currency":"ARS""#, r#""currency":"XXX""#), "currency"),
        ((r#""unit_price":"0.25""#, r#""unit_price":"0.255""#), "unit_price"),
        ((r#""reference":"T-000123""#, r#""reference":"T 1""#), "reference"),
        ((r#","delivered_at":1763733940000"#, ""), "delivery"),
    ] {
        let body = ORDER_V1.replace(wrong.0, wrong.1);
        assert_eq!(read_order_body(body.as_bytes()), Err(Unreadable::Field(field)));
    }
}

fn words<const N: usize>() -> impl Strategy<Value = Text<N>> {
    "[a-zñ\"\\\\/€][a-zñ\"\\\\/€ ]{0,19}".prop_map(|words| text(&words))
}

fn money(currency: Currency) -> impl Strategy<Value = Money> {
    (1..10_u64.pow(9)).prop_map(move |units| {
        let amount = rust_decimal::Decimal::new(i64::try_from(units).expect("small"), currency.places());
        Money::from_decimal(amount, currency).expect("in range")
    })
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

fn policy() -> impl Strategy<Value = LatePayment> {
    select(vec![LatePayment::Report, LatePayment::Refund, LatePayment::Accept])
}

fn payments(currency: Currency) -> impl Strategy<Value = Vec<Payment>> {
    let payment = (
        any::<u64>(),
        option::of(any::<u64>()),
        money(currency),
        option::of(time()),
    );
    vec(
        payment.prop_map(|(id, merchant_order, amount, approved_at)| Payment {
            id,
            merchant_order,
            amount,
            approved_at,
            reversed: None,
        }),
        0..4,
    )
}

fn delivery(currency: Currency) -> impl Strategy<Value = Delivery> {
    prop_oneof![
        Just(Delivery::Dispensed),
        (option::of(money(currency)), option::of(words()))
            .prop_map(|(amount, reason)| Delivery::Failed { amount, reason }),
    ]
}

fn item(currency: Currency) -> impl Strategy<Value = Item> {
    let names = (
        words(),
        words(),
        option::of(words()),
        option::of(words()),
        option::of(words()),
    );
    let unit = option::of(select(vec![UnitMeasure::Unit, UnitMeasure::Pack]));
    (names, 1..100_u32, money(currency), unit).prop_map(
        |((title, description, sku_number, category, picture_url), quantity, unit_price, unit_measure)| Item {
            title,
            description,
            quantity: Quantity::new(quantity).expect("in range"),
            unit_price,
            sku_number,
            category,
            unit_measure,
            picture_url,
        },
    )
}

fn any_order() -> impl Strategy<Value = Order> {
    select(vec![Currency::Ars, Currency::Clp]).prop_flat_map(|currency| {
        let asked = (
            vec(item(currency), 1..4),
            any::<u64>(),
            option::of(words::<50>()),
            option::of(policy()),
            select(QrMode::ALL.to_vec()),
            extras(currency),
        );
        let payee = (
            any::<u64>(),
            option::of(any::<u64>()),
            option::of(words::<50>()),
            option::of(any::<u64>()),
        );
        let times = (time(), time(), option::of(time()), option::of(time()));
        let canceled = select(vec![None, Some(CancelReason::PaidElsewhere)]);
        let outcome = (
            select(Status::ALL.to_vec()),
            payments(currency),
            option::of((delivery(currency), time())),
            option::of(posted()),
        );
        (asked, payee, policy(), times, canceled, outcome).prop_map(
            |(
                (items, expires_in_seconds, metadata, late_asked, qr, extras),
                payee,
                late_payment,
                times,
                canceled,
                outcome,
            )| {
                let items = Items::new(items).expect("items");
                let ((iva, percentage), fee, loyalty) = extras;
                Order {
                    reference: reference("T-1"),
                    pos: pos_id("P"),
                    account: AccountId::parse("main").expect("a name"),
                    payee: Payee {
                        collector_id: payee.0,
                        sponsor_id: payee.1,
                        notification_url: payee.2.map(|url| url.as_str().into()),
                        client_id: payee.3,
                    },
                    content: Content {
                        // One that is more than the total is none.
                        taxes: iva.and_then(|iva| Iva::new(iva, percentage, items.total()).ok()),
                        marketplace_fee: fee.and_then(|fee| Fee::new(fee, items.total()).ok()),
                        loyalty: loyalty.map(Box::new),
                        items,
                        expires_in_seconds,
                        metadata: metadata.map(|words| Metadata(words.as_str().into())),
                        late_payment: late_asked,
                        qr,
                    },
                    late_payment,
                    created_at: times.0,
                    expires_at: times.1,
                    shown_at: times.2,
                    ended_at: times.3,
                    canceled_for: canceled,
                    status: outcome.0,
                    payments: outcome.1,
                    refunds: Vec::new(),
                    sightings: sightings(),
                    delivery: outcome.2,
                    overdue_at: times.3,
                    posted: outcome.3.map(Box::new),
                }
            },
        )
    })
}

type Extras = ((Option<Money>, Option<Percentage>), Option<Money>, Option<Loyalty>);

fn extras(currency: Currency) -> impl Strategy<Value = Extras> {
    let percentage = select(["0", "5", "19", "7.25"].to_vec()).prop_map(|text| Percentage::parse(text).expect(text));
    (
        (option::of(money(currency)), option::of(percentage)),
        option::of(money(currency)),
        option::of(any_loyalty(currency)),
    )
}

fn any_loyalty(currency: Currency) -> impl Strategy<Value = Loyalty> {
    let measure = || "[1-9][0-9]{0,4}(\\.[0-9]{1,3})?".prop_map(|text| Measure::parse(&text).expect("a measure"));
    let product = (any_code(), measure(), select(vec![Unit::Litre, Unit::Piece]), measure()).prop_map(
        |(code, quantity, unit, unit_price)| Product {
            code,
            quantity,
            unit,
            unit_price,
        },
    );
    let names = (select(Program::ALL.to_vec()), words(), any_code::<8>(), any_code::<5>());
    let sold = (time(), money(currency), vec(product, 1..4));
    let shift = (any_code(), any_code(), any_code(), option::of(any_code()), any_code());
    (names, sold, shift).prop_map(|(names, sold, (kind, number, period, shift, affinity_plan))| Loyalty {
        program: names.0,
        transaction_id: names.1,
        invoice_number: Code::padded(names.2.as_str()).expect("a code"),
        transaction_date: sold.0,
        transaction_amount: sold.1,
        store_id: Code::padded(names.3.as_str()).expect("a code"),
        products: Products::new(sold.2).expect("some"),
        cashier: Cashier { kind, number },
        period,
        shift,
        affinity_plan,
    })
}

fn any_code<const N: usize>() -> impl Strategy<Value = Code<N>> {
    vec(select(('0'..='9').chain('a'..='z').collect::<Vec<_>>()), 1..=N)
        .prop_map(|letters| code(&letters.into_iter().collect::<String>()))
}

fn posted() -> impl Strategy<Value = Posted> {
    let pos = || ExternalPosId::parse("STATION01PUMP4").expect("a name");
    let store = ExternalStoreId::parse("STATION01").expect("a name");
    let ways = vec![Way::Attended { pos: pos(), store }, Way::Intent { pos: pos() }];
    let intents = vec![None, Some(IntentId::parse("7c1d2e3f-1a2b").expect("an id"))];
    (
        select(ways),
        select(intents),
        option::of(words()),
        any::<bool>(),
        option::of(words()),
    )
        .prop_map(|(way, intent, qr_data, canceling, refused)| Posted {
            way,
            intent,
            qr_data,
            canceling,
            refused,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_stored_is_what_is_read(order in any_order(), waiting in select(Waiting::ALL.to_vec()), message in option::of(words())) {
        prop_assert_eq!(read_order_body(&order_body(&order)), Ok(order.clone()));

        let events = vec![
            Event::OrderReady(Arc::new(order.clone())),
            Event::OrderPaid { facts: order.facts(), payments: order.payments.clone(), late: false },
            Event::StateChanged { to: NewState::Waiting(waiting), message: message.clone() },
        ];
        let state = Some(Pos {
            word: Word { waiting, message },
            open: Some(Arc::new(order)),
            ..Pos::new(pos_id("P"), full_registration())
        });
        prop_assert_eq!(read_body(&pos_id("P"), &body(&events, &state)), Ok((events, state)));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200), place in 0..ORDER_V3.len(), byte in any::<u8>()) {
        let _ = read_order_body(&bytes);
        let _ = read_body(&pos_id("P"), &bytes);
        for golden in [ENTRY_V3, ORDER_V3] {
            let mut rotten = golden.as_bytes().to_vec();
            rotten[place] = byte;
            let _ = read_order_body(&rotten);
            let _ = read_body(&pos_id("P"), &rotten);
        }
    }
}

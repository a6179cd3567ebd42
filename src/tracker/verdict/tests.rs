//! Each row: what the API says, and what is found.

use super::*;
use crate::domain::account::{LatePayment, Payee};
use crate::domain::id::{AccountId, PosId, Timestamp};
use crate::domain::money::Currency;
use crate::domain::order::{Content, Item, Items, Quantity};
use crate::domain::payment::{Cause, Refund, RefundState};
use crate::domain::text::Text;

const OURS: u64 = 178_106_235;

fn ars(amount: &str) -> Money {
    Money::parse(amount, Currency::Ars).expect("an amount")
}

fn decimal(text: &str) -> Option<Decimal> {
    Some(text.parse().expect("a decimal"))
}

pub(in crate::tracker) fn order() -> Order {
    let text = || Text::parse("SUPER").expect("text");
    let item = Item::plain(text(), Text::parse("SUPER").expect("text"), Quantity::ONE, ars("100"));
    Order {
        status: Status::Shown,
        ended_at: None,
        ..Order::new(
            Reference::parse("T-1").expect("a reference"),
            PosId::parse("P").expect("a name"),
            AccountId::parse("main").expect("a name"),
            Payee {
                collector_id: OURS,
                sponsor_id: None,
                notification_url: None,
                client_id: None,
            },
            Content::plain(Items::new(vec![item]).expect("items"), 300),
            LatePayment::Report,
            Timestamp(0),
        )
    }
}

fn told(id: u64, status: PaymentStatus) -> PaymentOfOrder {
    PaymentOfOrder {
        id: Some(id),
        status,
        status_detail: None,
        transaction_amount: decimal("100"),
        refunded_amount: decimal("0"),
        currency_id: Some("ARS".into()),
        date_approved: None,
    }
}

fn merchant_order(payments: Vec<PaymentOfOrder>) -> MerchantOrder {
    MerchantOrder {
        id: 7,
        status: MerchantOrderStatus::Closed,
        external_reference: Some("t-1".into()),
        collector_id: Some(OURS),
        payments,
        currencies: vec!["ARS".into()],
        total_amount: decimal("100"),
    }
}

fn answer(id: u64, status: PaymentStatus) -> mercadopago::Payment {
    mercadopago::Payment {
        id: Some(id),
        status,
        status_detail: None,
        transaction_amount: decimal("100.00"),
        refunded_amount: decimal("0"),
        currency_id: Some("ARS".into()),
        external_reference: Some("T-1".into()),
        collector_id: Some(OURS),
        merchant_order: Some(7),
        date_created: None,
        date_approved: Some(Timestamp(5_000)),
        payment_method_id: None,
        payment_type_id: None,
        live_mode: None,
        refunds: Vec::new(),
    }
}

fn found_of(merchant_order: MerchantOrder, answer: mercadopago::Payment) -> Findings {
    let answers = answer.id.map(|id| (id, answer)).into_iter().collect();
    findings(&order(), &[merchant_order], &answers)
}

/// One approved payment, with something changed in what the API says of it.
fn odd(change: impl Fn(&mut MerchantOrder, &mut mercadopago::Payment)) -> Vec<&'static str> {
    let mut merchant_order = merchant_order(vec![told(1, PaymentStatus::Approved)]);
    let mut answer = answer(1, PaymentStatus::Approved);
    change(&mut merchant_order, &mut answer);
    let answers = BTreeMap::from([(1, answer)]);
    let found = findings(&order(), &[merchant_order], &answers);
    assert!(found.payments.is_empty(), "it may not count: {found:?}");
    let why = |sighting: &Sighting| match sighting {
        Sighting::Suspect(suspect) => suspect.why.as_str(),
        other => panic!("{other:?}"),
    };
    found.sightings.iter().map(why).collect()
}

#[test]
fn an_approved_payment_of_a_closed_merchant_order_is_found() {
    let found = found_of(
        merchant_order(vec![told(1, PaymentStatus::Approved)]),
        answer(1, PaymentStatus::Approved),
    );
    let [one] = &found.payments[..] else {
        panic!("{found:?}")
    };
    assert!(one.closed && found.sightings.is_empty());
    assert_eq!(
        one.payment,
        Payment {
            id: 1,
            merchant_order: Some(7),
            amount: ars("100"),
            approved_at: Some(Timestamp(5_000)),
            reversed: None,
        }
    );
}

#[test]
fn an_opened_one_pays_nothing_yet() {
    let mut opened = merchant_order(vec![told(1, PaymentStatus::Approved)]);
    opened.status = MerchantOrderStatus::Opened;
    assert!(!found_of(opened, answer(1, PaymentStatus::Approved)).payments[0].closed);
}

#[test]
fn the_payments_own_word_goes_before_its_merchant_orders() {
    let merchant_order = || merchant_order(vec![told(1, PaymentStatus::Approved)]);
    for status in [
        PaymentStatus::Pending,
        PaymentStatus::InMediation,
        PaymentStatus::Rejected,
    ] {
        assert_eq!(found_of(merchant_order(), answer(1, status)), Findings::default());
    }
    for (status, how) in [
        (PaymentStatus::Refunded, Reversal::Refunded),
        (PaymentStatus::ChargedBack, Reversal::ChargedBack),
    ] {
        let found = found_of(merchant_order(), answer(1, status));
        let reversed = Reversed {
            how,
            amount: ars("100"),
        };
        assert_eq!(found.payments[0].payment.reversed, Some(reversed));
    }
    let mut part = answer(1, PaymentStatus::Approved);
    part.refunded_amount = decimal("30.5");
    let reversed = found_of(merchant_order(), part).payments[0].payment.reversed;
    assert_eq!(reversed.map(|reversed| reversed.amount), Some(ars("30.50")));
    assert_eq!(
        findings(&order(), &[merchant_order()], &BTreeMap::new()),
        Findings::default(),
        "nothing counts that was not asked for"
    );
}

#[test]
fn what_cannot_be_ours_is_suspect() {
    assert_eq!(odd(|_, payment| payment.collector_id = Some(1)), ["collector"]);
    assert_eq!(odd(|_, payment| payment.collector_id = None), ["collector"]);
    assert_eq!(odd(|order, _| order.collector_id = Some(1)), ["collector"]);
    assert_eq!(odd(|_, payment| payment.currency_id = Some("BRL".into())), ["currency"]);
    assert_eq!(odd(|_, payment| payment.currency_id = None), ["currency"]);
    assert_eq!(
        odd(|order, _| order.currencies = vec!["ARS".into(), "BRL".into()]),
        ["currency"]
    );
    assert_eq!(
        odd(|order, _| order.payments[0].currency_id = Some("USD".into())),
        ["currency"]
    );
    assert_eq!(
        odd(|_, payment| payment.external_reference = Some("T-2".into())),
        ["reference"]
    );
    assert_eq!(odd(|_, payment| payment.external_reference = None), ["reference"]);
    assert_eq!(odd(|_, payment| payment.id = None), ["payment_without_id"]);
    assert_eq!(odd(|_, payment| payment.id = Some(2)), ["amount"]);
    assert_eq!(odd(|_, payment| payment.transaction_amount = None), ["amount"]);
    assert_eq!(
        odd(|_, payment| payment.transaction_amount = decimal("100.001")),
        ["amount"]
    );
    assert_eq!(
        odd(|_, payment| payment.transaction_amount = decimal("-100")),
        ["amount"]
    );
    assert_eq!(
        odd(|order, _| order.payments[0].transaction_amount = decimal("99")),
        ["amount"]
    );
    assert_eq!(odd(|_, payment| payment.refunded_amount = None), ["amount"]);
    assert_eq!(odd(|order, _| order.payments[0].id = None), ["payment_without_id"]);
    assert_eq!(odd(|order, _| order.payments.clear()), ["closed_without_payments"]);
}

#[test]
fn what_a_merchant_order_leaves_out_is_not_held_against_it() {
    let mut sparse = merchant_order(vec![told(1, PaymentStatus::Approved)]);
    sparse.collector_id = None;
    sparse.currencies.clear();
    sparse.payments[0].currency_id = None;
    sparse.payments[0].transaction_amount = None;
    assert_eq!(found_of(sparse, answer(1, PaymentStatus::Approved)).payments.len(), 1);
}

#[test]
fn what_brings_no_money_is_a_sighting() {
    let row = |id, status| told(id, status);
    let all = merchant_order(vec![
        row(1, PaymentStatus::Pending),
        row(2, PaymentStatus::InProcess),
        row(3, PaymentStatus::Authorized),
        row(4, PaymentStatus::Rejected),
        row(5, PaymentStatus::Cancelled),
        row(6, PaymentStatus::InMediation),
        row(7, PaymentStatus::Other("new".into())),
    ]);
    let found = findings(&order(), &[all], &BTreeMap::new());
    assert_eq!(
        found.sightings,
        [
            Sighting::Pending(1),
            Sighting::Pending(2),
            Sighting::Pending(3),
            Sighting::Rejected(4),
            Sighting::Rejected(5),
        ]
    );
}

#[test]
fn merchant_orders_of_other_references_are_left_out() {
    let other = |reference: Option<&str>| MerchantOrder {
        external_reference: reference.map(str::to_owned),
        ..merchant_order(Vec::new())
    };
    let all = vec![
        other(Some("T-1")),
        other(Some("t-1")),
        other(Some("T-2")),
        other(Some("T 1")),
        other(None),
    ];
    assert_eq!(about(&order(), all).len(), 2);
}

#[test]
fn only_what_is_new_or_not_as_recorded_is_asked_for() {
    let recorded = Payment {
        id: 1,
        merchant_order: Some(7),
        amount: ars("100"),
        approved_at: None,
        reversed: None,
    };
    let refund = Refund {
        number: 1,
        payment: 1,
        amount: ars("30"),
        cause: Cause::Overpaid,
        requested_at: Timestamp(0),
        state: RefundState::Done(9),
    };
    let paid = Order {
        status: Status::Paid,
        payments: vec![recorded],
        refunds: vec![refund],
        ..order()
    };
    let asked = |told: PaymentOfOrder| questions(&paid, &[merchant_order(vec![told])]);
    let of = |id, status, refunded: &str| PaymentOfOrder {
        refunded_amount: decimal(refunded),
        ..told(id, status)
    };
    assert_eq!(
        asked(of(1, PaymentStatus::Approved, "30")),
        [] as [u64; 0],
        "our own refund is no news"
    );
    assert_eq!(asked(of(1, PaymentStatus::Approved, "40")), [1]);
    assert_eq!(asked(of(1, PaymentStatus::ChargedBack, "0")), [1]);
    assert_eq!(asked(of(2, PaymentStatus::Approved, "0")), [2]);
    assert_eq!(asked(of(2, PaymentStatus::Refunded, "100")), [] as [u64; 0]);
    let open = Order {
        status: Status::Shown,
        ..paid.clone()
    };
    let again = merchant_order(vec![of(1, PaymentStatus::Approved, "30")]);
    assert_eq!(questions(&open, &[again]), [1], "before it is paid all is verified");
    let both = merchant_order(vec![told(1, PaymentStatus::Approved), told(2, PaymentStatus::Approved)]);
    assert_eq!(questions(&open, &[both]), [2, 1], "what is not recorded goes first");
    let many: Vec<_> = (1..100).map(|id| told(id, PaymentStatus::Approved)).collect();
    assert_eq!(
        questions(&order(), &[merchant_order(many)]).len(),
        limits::PAYMENTS_PER_LOOK
    );
}

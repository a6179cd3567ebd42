//! What no body from a controller may break. Built for the fuzzer, and for the tests, which try what it kept.

use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{self, Bad};
use super::read::{self, Terms};
use super::write;
use crate::domain::account::{Dialect, LatePayment, Payee};
use crate::domain::id::{AccountId, ExternalPosId, IdempotencyKey, PosId, Reference, Timestamp};
use crate::domain::money::{Money, Site};
use crate::domain::order::{Content, Order};
use crate::domain::pos::Mode;
use crate::domain::posted::Way;
use crate::limits;

/// The body of a push; and the same bytes as any other body.
pub fn order(bytes: &[u8]) {
    for (site, mode, dialect) in [
        (Site::Mla, Mode::Unattended, Dialect::Documented),
        (Site::Mco, Mode::Unattended, Dialect::OrderVersion2),
        (Site::Mco, Mode::Attended, Dialect::Documented),
        (Site::Mlc, Mode::Attended, Dialect::Documented),
        (Site::Mlb, Mode::Intent, Dialect::Documented),
    ] {
        let terms = Terms {
            site,
            mode,
            dialect,
            linked: true,
        };
        match json::body(bytes).and_then(|body| read::order(&body, &terms)) {
            Ok((reference, content)) => {
                sums_are_exact(&content);
                what_is_printed_can_be_pushed(reference, content, &terms);
            }
            Err(bad) => a_fault_is_where_it_is_said(bytes, &bad),
        }
    }
    for bad in others(bytes) {
        a_fault_is_where_it_is_said(bytes, &bad);
    }
}

/// What is wrong with it as another body.
fn others(bytes: &[u8]) -> Vec<Bad> {
    let names = ["a".to_owned(), "b".to_owned()];
    let key = IdempotencyKey::parse("k").expect("a key");
    let mut wrong = vec![read::refund(bytes, key).err()];
    if let Ok(body) = json::body(bytes) {
        wrong.push(read::registration(&body, &names).err());
        wrong.push(read::state(&body).err());
        wrong.push(read::lease(&body).err());
        wrong.push(read::delivery(&body).err());
    }
    wrong.into_iter().flatten().collect()
}

/// In the smallest unit of the currency, without a decimal library.
fn units(money: Money) -> i128 {
    let units = money.to_string().replace('.', "").parse().expect("digits");
    assert!((0..10_i128.pow(limits::AMOUNT_INTEGER_DIGITS as u32 + 2)).contains(&units));
    units
}

fn sums_are_exact(content: &Content) {
    let lines = content
        .items
        .iter()
        .map(|item| units(item.unit_price) * i128::from(item.quantity.get()));
    assert_eq!(units(content.items.total()), lines.sum());
    assert!(!content.items.total().is_zero());
}

/// Orders are answered in the form in which they are pushed, but for what became of them.
fn what_is_printed_can_be_pushed(reference: Option<Reference>, content: Content, terms: &Terms) {
    let order = Order::new(
        reference.unwrap_or(Reference::parse("T-1").expect("a reference")),
        PosId::parse("P").expect("a name"),
        AccountId::parse("main").expect("a name"),
        Payee {
            collector_id: 1,
            sponsor_id: None,
            notification_url: None,
            client_id: None,
        },
        content,
        LatePayment::Report,
        Timestamp(0),
    );
    let order = match terms.mode {
        Mode::Intent => order.to_post(Way::Intent {
            pos: ExternalPosId::parse("P").expect("a name"),
        }),
        Mode::Unattended | Mode::Attended => order,
    };
    let printed = write::to_json(&write::order(&order));
    let printed: std::collections::HashMap<&str, &RawValue> = serde_json::from_slice(&printed).expect("an object");
    let late_payment = order.content.late_payment;
    let late_payment = late_payment.map_or("null".to_owned(), |word| format!("{:?}", word.as_str()));
    let printed_of = |name: &str| printed.get(name).map_or("null", |value| value.get());
    let pushed = format!(
        "\n{{ \"metadata\": {}, \"late_payment\": {late_payment},\t\"items\":{},\"expires_in_seconds\":{}.0, \"external_reference\":{}, \"qr\":{}, \"taxes\":{}, \"loyalty\": {}, \"marketplace_fee\":{} }}",
        printed_of("metadata"),
        printed_of("items"),
        order.content.expires_in_seconds,
        printed_of("external_reference"),
        printed_of("qr"),
        printed_of("taxes"),
        printed_of("loyalty"),
        printed_of("marketplace_fee"),
    );
    let again = json::body(pushed.as_bytes()).and_then(|body| read::order(&body, terms));
    assert_eq!(again, Ok((Some(order.reference), order.content)));
}

fn a_fault_is_where_it_is_said(bytes: &[u8], bad: &Bad) {
    // Numbers and texts that this reader does not take are no fault of the place.
    let (Some(pointer), Ok(body)) = (&bad.pointer, serde_json::from_slice::<Value>(bytes)) else {
        return;
    };
    let place = match bad.detail.as_str() {
        "is missing" => pointer.rsplit_once('/').expect("a member's name").0,
        _ => pointer,
    };
    assert!(body.pointer(place).is_some(), "{bad:?}");
}

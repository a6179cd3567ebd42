//! What stations and countries add to an order (`protocol.md`, 1.3 to 1.5), read as strictly as the order itself.

use rust_decimal::Decimal;

use super::json::Json;
use super::poll::amount;
use super::settings::Site;
use super::shape::{Kind, Shape, faults};
use super::time;

/// Its `shift` has no documented value for "unknown", so it may be left out.
const LOYALTY: Shape = &[
    ("program", Kind::Word(&["CTC", "serviclub", "payback"]), true),
    ("transaction_id", Kind::Text(40), true),
    ("invoice_number", Kind::Text(8), true),
    ("transaction_date", Kind::Text(40), true),
    ("transaction_amount", Kind::Amount, true),
    ("store_id", Kind::Text(5), true),
    (
        "products",
        Kind::List(
            50,
            &[
                ("code", Kind::Text(10), true),
                ("quantity", Kind::Amount, true),
                ("unit", Kind::Word(&["litre", "piece"]), true),
                ("unit_price", Kind::Amount, true),
            ],
        ),
        true,
    ),
    (
        "cashier_identification",
        Kind::Object(&[("type", Kind::Text(20), true), ("number", Kind::Text(20), true)]),
        true,
    ),
    ("period", Kind::Text(4), true),
    ("shift", Kind::Text(1), false),
    ("affinity_plan", Kind::Text(1), true),
];

const TAX: Shape = &[("value", Kind::Any, true), ("type", Kind::Word(&["IVA"]), true)];
const TAX_THIRD: Shape = &[
    ("value", Kind::Any, true),
    ("type", Kind::Word(&["IVA"]), true),
    ("percentage", Kind::Any, false),
];

/// What is wrong with the taxes of a body, if it has any. They are documented as numbers, but for the newest body, which
/// shows both.
pub fn taxes(body: &Json, total: Decimal, site: &Site, is_third: bool) -> Vec<String> {
    let taxes = body.get("taxes");
    if taxes.is_null() {
        return Vec::new();
    }
    if site.code != "MCO" {
        return vec![format!("taxes are for MCO, not for {}", site.code)];
    }
    let [tax] = taxes.elements() else {
        return vec!["taxes has not one element".to_owned()];
    };
    let shape = if is_third { TAX_THIRD } else { TAX };
    let mut wrong: Vec<String> = faults(tax, shape)
        .iter()
        .map(|fault| format!("taxes.{fault}"))
        .collect();
    let value = match tax.get("value") {
        text @ Json::Text(_) if is_third => amount(text),
        value => value.decimal(),
    };
    if !value.is_some_and(|value| is_part(value, total, site)) {
        wrong.push("taxes.value is no amount of the currency within the total".to_owned());
    }
    let percentage = tax.get("percentage");
    if !percentage.is_null()
        && !amount(percentage).is_some_and(|of| (Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(&of))
    {
        wrong.push("taxes.percentage is not 0 to 100".to_owned());
    }
    wrong
}

fn is_part(value: Decimal, total: Decimal, site: &Site) -> bool {
    (Decimal::ZERO..=total).contains(&value) && value.normalize().scale() <= site.places
}

/// What is wrong with a fee; `is_linked`: the account is reached through OAuth.
pub fn fee(body: &Json, total: Decimal, site: &Site, is_linked: bool) -> Vec<String> {
    match body.get("marketplace_fee") {
        Json::Null => Vec::new(),
        _ if !is_linked => vec!["marketplace_fee is for accounts that are reached through OAuth".to_owned()],
        fee => match fee.decimal() {
            Some(fee) if fee < total && is_part(fee, total, site) => Vec::new(),
            _ => vec!["marketplace_fee is no amount of the currency below the total".to_owned()],
        },
    }
}

pub fn loyalty(body: &Json, site: &Site) -> Vec<String> {
    let loyalty = body.get("loyalty");
    if loyalty.is_null() {
        return Vec::new();
    }
    if site.code != "MLA" {
        return vec![format!("loyalty is for MLA, not for {}", site.code)];
    }
    let mut wrong: Vec<String> = faults(loyalty, LOYALTY)
        .iter()
        .map(|fault| format!("loyalty.{fault}"))
        .collect();
    let text = |name: &str| loyalty.get(name).text().unwrap_or_default();
    for (name, length) in [("invoice_number", 8), ("store_id", 5)] {
        if text(name).len() != length {
            wrong.push(format!("loyalty.{name} is not padded to {length}"));
        }
    }
    if time::read(text("transaction_date")).is_none() {
        wrong.push("loyalty.transaction_date is no date".to_owned());
    }
    let too_fine = |product: &Json| {
        let quantity = product.get("quantity").decimal();
        quantity.is_some_and(|quantity| quantity.normalize().scale() > 3)
    };
    if loyalty.get("products").elements().iter().any(too_fine) {
        wrong.push("loyalty.products.quantity has more than 3 decimals".to_owned());
    }
    wrong
}

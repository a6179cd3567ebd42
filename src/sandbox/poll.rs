//! What a POS's URL may answer (`protocol.md`, 1.2 to 1.4), read strictly: a real telephone would show an error.

use rust_decimal::Decimal;

use super::extras;
use super::json::Json;
use super::order::{Item, Order};
use super::settings::Account;
use super::shape::{Kind, Shape, faults};

/// An answer, as far as it matters.
#[derive(Debug)]
pub struct Answer<'a> {
    pub status: u16,
    pub content_type: Option<&'a str>,
    pub order_version: Option<&'a str>,
    pub client_id: Option<&'a str>,
    pub body: &'a [u8],
}

/// Which generation an answer belongs to. One POS never mixes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    First,
    Third,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not yet, with the word that says why.
    Waiting(Dialect, String),
    Order(Dialect, Order),
}

const WAITING: Shape = &[(
    "error",
    Kind::Object(&[
        (
            "type",
            Kind::Word(&["unavailable", "in_process", "invalid", "timeout"]),
            true,
        ),
        ("message", Kind::Text(1_000), false),
    ]),
    true,
)];

/// Two are misspelled in the documents, and so here.
const WAITING_THIRD: Shape = &[(
    "status",
    Kind::Object(&[
        (
            "status_detail",
            Kind::Word(&["in_process", "notihing_to_pay", "Waiting_for_order"]),
            true,
        ),
        ("message", Kind::Text(1_000), false),
    ]),
    true,
)];

const ORDER: Shape = &[
    ("collector_id", Kind::Whole, true),
    ("sponsor_id", Kind::Whole, false),
    (
        "items",
        Kind::List(
            1_000,
            &[
                ("id", Kind::Text(256), false),
                ("title", Kind::Text(256), true),
                ("currency_id", Kind::Text(3), true),
                ("description", Kind::Text(600), true),
                ("quantity", Kind::Whole, true),
                ("unit_price", Kind::Amount, true),
                ("picture_url", Kind::Url(600), false),
            ],
        ),
        true,
    ),
    ("external_reference", Kind::Text(256), true),
    ("notification_url", Kind::Url(500), false),
    // The next two have more to say for themselves.
    ("loyalty", Kind::Any, false),
    ("taxes", Kind::Any, false),
];

const ORDER_THIRD: Shape = &[
    ("external_reference", Kind::Text(256), true),
    ("total_amount", Kind::Amount, true),
    (
        "items",
        Kind::List(
            1_000,
            &[
                ("sku_number", Kind::Text(256), false),
                ("category", Kind::Text(256), false),
                ("title", Kind::Text(256), true),
                ("description", Kind::Text(600), false),
                ("quantity", Kind::Whole, true),
                ("unit_measure", Kind::Word(&["unit"]), true),
                ("unit_price", Kind::Amount, true),
                ("total_amount", Kind::Amount, true),
            ],
        ),
        true,
    ),
    ("title", Kind::Text(256), true),
    ("description", Kind::Text(600), true),
    ("notification_url", Kind::Url(500), false),
    ("sponsor", Kind::Object(&[("id", Kind::Whole, true)]), false),
    ("taxes", Kind::Any, false),
    ("marketplace_fee", Kind::Any, false),
];

/// The error lists all that is wrong. `administrator` is who reaches the account through OAuth, if somebody does.
pub fn read(answer: &Answer<'_>, account: &Account, administrator: Option<u64>) -> Result<Seen, Vec<String>> {
    if !is_json(answer.content_type) {
        return Err(vec![format!(
            "{}: Content-Type is {:?}, not application/json",
            answer.status, answer.content_type
        )]);
    }
    let body =
        Json::parse(answer.body).map_err(|error| vec![format!("{}: the body is no JSON: {error}", answer.status)])?;
    match (answer.status, answer.order_version) {
        (400, _) => {
            checked(&body, WAITING, 400)?;
            Ok(Seen::Waiting(Dialect::First, word(body.get("error").get("type"))))
        }
        (202, _) => {
            checked(&body, WAITING_THIRD, 202)?;
            Ok(Seen::Waiting(
                Dialect::Third,
                word(body.get("status").get("status_detail")),
            ))
        }
        (200, None) => {
            checked(&body, ORDER, 200)?;
            first(&body, account).map(|order| Seen::Order(Dialect::First, order))
        }
        (200, Some("2")) => {
            checked(&body, ORDER_THIRD, 200)?;
            let wrong = client(answer.client_id, administrator);
            third(&body, account, administrator.is_some(), wrong).map(|order| Seen::Order(Dialect::Third, order))
        }
        (200, Some(other)) => Err(vec![format!("order-version is {other:?}, not 2")]),
        (status, _) => Err(vec![format!("HTTP {status} is neither 200, 400 nor 202")]),
    }
}

fn is_json(content_type: Option<&str>) -> bool {
    let kind = content_type.and_then(|text| text.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn checked(body: &Json, shape: Shape, status: u16) -> Result<(), Vec<String>> {
    let found: Vec<String> = faults(body, shape)
        .iter()
        .map(|fault| format!("{status}: {fault}"))
        .collect();
    if found.is_empty() { Ok(()) } else { Err(found) }
}

fn word(value: &Json) -> String {
    value.text().unwrap_or_default().to_owned()
}

fn first(body: &Json, account: &Account) -> Result<Order, Vec<String>> {
    let mut wrong = Vec::new();
    if body.get("collector_id").integer() != Some(account.collector) {
        wrong.push(format!("collector_id is not {}", account.collector));
    }
    let items = body.get("items").elements();
    if items
        .iter()
        .any(|item| item.get("currency_id").text() != Some(account.site.currency))
    {
        wrong.push(format!("items.currency_id is not {}", account.site.currency));
    }
    let total = total(&self::items(body)).unwrap_or_default();
    wrong.extend(extras::taxes(body, total, account.site, false));
    wrong.extend(extras::loyalty(body, account.site));
    let sponsor = body.get("sponsor_id").integer();
    order(body, sponsor, account, wrong)
}

/// The header `client-id` names the administrator, if there is one.
fn client(said: Option<&str>, administrator: Option<u64>) -> Vec<String> {
    match (said, administrator) {
        (said, Some(administrator)) if said != Some(&administrator.to_string()) => {
            vec![format!("client-id is {said:?}, not {administrator}")]
        }
        (Some(said), None) => vec![format!(
            "client-id is {said:?}, and the account is not reached through OAuth"
        )],
        _ => Vec::new(),
    }
}

fn third(body: &Json, account: &Account, is_linked: bool, mut wrong: Vec<String>) -> Result<Order, Vec<String>> {
    let items = body.get("items").elements();
    let mut totals = items.iter().map(|item| item.get("total_amount").decimal());
    let total = totals.try_fold(Decimal::ZERO, |sum, total| sum.checked_add(total?));
    if total.is_none() || total != body.get("total_amount").decimal() {
        wrong.push("total_amount is not the sum of its items' total_amount".to_owned());
    }
    let product = |item: &Json| {
        item.get("unit_price")
            .decimal()?
            .checked_mul(item.get("quantity").decimal()?)
    };
    if items
        .iter()
        .any(|item| product(item) != item.get("total_amount").decimal())
    {
        wrong.push("items.total_amount is not quantity × unit_price".to_owned());
    }
    let total = total.unwrap_or_default();
    wrong.extend(extras::taxes(body, total, account.site, true));
    wrong.extend(extras::fee(body, total, account.site, is_linked));
    let sponsor = body.get("sponsor").get("id").integer();
    order(body, sponsor, account, wrong)
}

/// What both generations have in common.
fn order(body: &Json, sponsor: Option<u64>, account: &Account, mut wrong: Vec<String>) -> Result<Order, Vec<String>> {
    let reference = word(body.get("external_reference"));
    if !is_reference(&reference) {
        wrong.push(format!(
            "external_reference {reference:?} has spaces or special characters"
        ));
    }
    let items = items(body);
    let places = account.site.places;
    let too_fine = |item: &Item| item.unit_price.normalize().scale() > places;
    if items.iter().any(too_fine) {
        wrong.push(format!("items.unit_price has more than {places} decimals"));
    }
    match total(&items) {
        Some(total) if wrong.is_empty() => Ok(Order {
            reference,
            total,
            items,
            notification_url: body.get("notification_url").text().map(str::to_owned),
            sponsor,
        }),
        Some(_) => Err(wrong),
        None => Err(vec!["the items' sum is beyond all reason".to_owned()]),
    }
}

/// The items as any of Mercado Pago's bodies have them; the shape was checked.
pub fn items(body: &Json) -> Vec<Item> {
    let text = |value: &Json| value.text().map(str::to_owned);
    let item = |item: &Json| Item {
        id: text(item.get("id")).or_else(|| text(item.get("sku_number"))),
        category: text(item.get("category")),
        title: word(item.get("title")),
        description: text(item.get("description")),
        quantity: item.get("quantity").integer().unwrap_or_default(),
        unit_price: amount(item.get("unit_price")).unwrap_or_default(),
    };
    body.get("items").elements().iter().map(item).collect()
}

/// As a number, or as a string that holds one.
pub fn amount(value: &Json) -> Option<Decimal> {
    value.decimal().or_else(|| super::json::number(value.text()?))
}

pub fn total(items: &[Item]) -> Option<Decimal> {
    items.iter().try_fold(Decimal::ZERO, |sum, item| {
        sum.checked_add(item.unit_price.checked_mul(item.quantity.into())?)
    })
}

fn is_reference(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

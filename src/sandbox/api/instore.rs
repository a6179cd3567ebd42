//! The attended model: an order that the merchant puts on a POS (`protocol.md`, 3.1 and 3.2).

use rust_decimal::Decimal;

use super::{Answered, Call, Refusal, refusal};
use crate::sandbox::extras;
use crate::sandbox::json::Json;
use crate::sandbox::order::Order;
use crate::sandbox::poll;
use crate::sandbox::serve::Reply;
use crate::sandbox::settings::Site;
use crate::sandbox::shape::{Fault, Kind, Shape, What, faults};
use crate::sandbox::time;
use crate::sandbox::world::Standing;

const ORDER: Shape = &[
    ("external_reference", Kind::Text(64), true),
    ("title", Kind::Text(256), true),
    ("description", Kind::Text(600), true),
    ("notification_url", Kind::Url(500), false),
    ("expiration_date", Kind::Text(40), false),
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
                ("unit_price", Kind::Amount, true),
                ("quantity", Kind::Whole, true),
                ("unit_measure", Kind::Word(&["unit", "pack"]), true),
                ("total_amount", Kind::Amount, true),
                ("currency_id", Kind::Text(3), false),
            ],
        ),
        false,
    ),
    ("sponsor", Kind::Object(&[("id", Kind::Whole, true)]), false),
    ("cash_out", Kind::Object(&[("amount", Kind::Amount, true)]), false),
    ("taxes", Kind::Any, false),
];

/// `/instore/qr/seller/collectors/{4}/stores/{6}/pos/{8}/orders`.
pub fn put(call: &Call<'_>) -> Answered {
    call.own(4, "invalid_collectorId")?;
    let body = call.json("bad_request")?;
    let now = call.sim.now();
    let order = order(&body, call.account.site)?;
    let expires = expires(&body, now)?;
    let pos = pos(call, 8, Some(6))?;
    let mut world = call.sim.world.borrow_mut();
    world.place_room()?;
    let reference = order.reference.clone();
    world.place(pos, &reference, Standing::Order { order, body, expires }, now);
    Ok(Reply::Nothing)
}

/// `/instore/qr/seller/collectors/{4}/pos/{6}/orders`.
pub fn get(call: &Call<'_>) -> Answered {
    call.own(4, "invalid_collectorId")?;
    let pos = pos(call, 6, None)?;
    match call.sim.world.borrow_mut().standing(pos, call.sim.now()) {
        Some(Standing::Order { body, .. }) => Ok(Reply::Json(200, Json::Array(vec![body]))),
        _ => Err(none()),
    }
}

pub fn delete(call: &Call<'_>) -> Answered {
    call.own(4, "invalid_collectorId")?;
    let id = pos(call, 6, None)?;
    let mut world = call.sim.world.borrow_mut();
    match world.standing(id, call.sim.now()) {
        Some(Standing::Order { .. }) => {
            if let Some(pos) = world.pos.get_mut(&id) {
                pos.standing = None;
            }
            Ok(Reply::Nothing)
        }
        _ => Err(none()),
    }
}

fn none() -> Refusal {
    refusal(
        404,
        "point_of_sale_in_store_order_not_found",
        "there is no order on the point of sale",
    )
}

/// The POS in the path, in the store in the path if there is one.
fn pos(call: &Call<'_>, segment: usize, store: Option<usize>) -> Result<u64, Refusal> {
    let world = call.sim.world.borrow();
    let unknown = || refusal(404, "point_of_sale_not_found", "no such point of sale");
    let pos = world
        .pos_by_name(Some(call.account.collector), call.segment(segment))
        .ok_or_else(unknown)?;
    let has = world
        .stores
        .get(&pos.store)
        .and_then(|store| store.external_id.as_deref());
    match store {
        Some(segment) if has != Some(call.segment(segment)) => Err(unknown()),
        _ => Ok(pos.id),
    }
}

fn invalid(key: &str, message: &str) -> Refusal {
    refusal(400, &format!("invalid_{key}"), message)
}

/// Missing members are named alone, wrong ones with the items they are in.
fn key(fault: &Fault) -> String {
    let last = fault.path.rsplit('.').next().unwrap_or_default();
    match (fault.what, fault.path.as_str()) {
        (What::Wrong, path) => path.to_owned(),
        _ => last.to_owned(),
    }
}

fn order(body: &Json, site: &Site) -> Result<Order, Refusal> {
    if body.get("items").is_null() && body.get("cash_out").is_null() {
        return Err(refusal(
            400,
            "error_creating_seller_qr_order",
            "neither items nor cash_out",
        ));
    }
    // Fields that are not known are not spoken of in the reference.
    let found = faults(body, ORDER);
    if let Some(fault) = found.iter().find(|fault| fault.what != What::Unknown) {
        return Err(invalid(&key(fault), &fault.to_string()));
    }
    let reference = body.get("external_reference").text().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !reference.bytes().all(plain) {
        return Err(invalid(
            "external_reference",
            "external_reference has other characters than letters, digits, - and _",
        ));
    }
    let total = total(body, site)?;
    if let Some(wrong) = extras::taxes(body, total, site, false).first() {
        return Err(invalid("taxes", wrong));
    }
    Ok(Order {
        reference: reference.to_owned(),
        total,
        items: poll::items(body),
        notification_url: body.get("notification_url").text().map(str::to_owned),
        sponsor: body.get("sponsor").get("id").integer(),
    })
}

/// All sums must agree, and no amount may be finer than the currency.
fn total(body: &Json, site: &Site) -> Result<Decimal, Refusal> {
    let mut sum = body.get("cash_out").get("amount").decimal().unwrap_or_default();
    let part = |value: &Json| value.decimal().filter(|value| value.normalize().scale() <= site.places);
    for item in body.get("items").elements() {
        let wrong = |what: &str| invalid(&format!("items.{what}"), &format!("items.{what} does not agree"));
        let price = part(item.get("unit_price")).ok_or_else(|| wrong("unit_price"))?;
        let quantity = item.get("quantity").decimal().unwrap_or_default();
        let total = item.get("total_amount").decimal().unwrap_or_default();
        if price.checked_mul(quantity) != Some(total) {
            return Err(wrong("total_amount"));
        }
        sum = sum.checked_add(total).ok_or_else(|| wrong("total_amount"))?;
    }
    let total = part(body.get("total_amount")).filter(|total| *total == sum);
    total.ok_or_else(|| invalid("total_amount", "total_amount is not the sum of the items"))
}

fn expires(body: &Json, now: i64) -> Result<Option<i64>, Refusal> {
    let Some(text) = body.get("expiration_date").text() else {
        return Ok(None);
    };
    let at = time::read(text).filter(|at| *at > now);
    let wrong = || invalid("expiration_date", "expiration_date is not a date, or past");
    at.map(Some).ok_or_else(wrong)
}

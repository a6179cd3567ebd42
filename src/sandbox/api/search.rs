//! Merchant orders and searches (`protocol.md`, 5.1, 5.2 and 5.5).

use super::{Answered, Call, Refusal, refusal};
use crate::limits;
use crate::sandbox::json::{Json, object};
use crate::sandbox::serve::Reply;
use crate::sandbox::time;

pub fn order(call: &Call<'_>) -> Answered {
    let id = call.number(1, "invalid_format")?;
    let world = call.sim.world.borrow();
    let order = world.orders.get(&id);
    let order = order.ok_or_else(|| refusal(404, "not_found", "merchant order not found"))?;
    if order.collector != call.account.collector {
        return Err(refusal(
            401,
            "invalid_caller_id",
            "the merchant order belongs to another user",
        ));
    }
    Ok(Reply::Json(200, world.order_json(id).into()))
}

/// Parameters that are compared with a member of the same name.
const SAME: [&str; 5] = ["status", "preference_id", "application_id", "site_id", "marketplace"];
/// Bounds of a date: parameter, member, whether it is the lower one.
const BOUNDS: [(&str, &str, bool); 4] = [
    ("date_created_from", "date_created", true),
    ("date_created_to", "date_created", false),
    ("last_updated_from", "last_updated", true),
    ("last_updated_to", "last_updated", false),
];

pub fn orders(call: &Call<'_>) -> Answered {
    let (limit, offset) = page(call, "ds_search_query")?;
    let bounds = bounds(call)?;
    let world = call.sim.world.borrow();
    let found = world.orders_at(call.account.collector, call.asked("external_reference"), as_of(call));
    let wanted = |order: &&&Json| {
        let same = SAME.iter().all(|name| {
            call.asked(name)
                .is_none_or(|value| order.get(name).text() == Some(value))
        });
        let sponsor = call
            .asked("sponsor_id")
            .is_none_or(|value| order.get("sponsor_id").text() == Some(value));
        // No payer is ever told, so none is found.
        same && sponsor && call.asked("payer_id").is_none() && bounds.iter().all(|bound| bound.holds(order))
    };
    let found: Vec<&Json> = found.iter().filter(wanted).copied().collect();
    let rows: Vec<Json> = found
        .iter()
        .skip(offset)
        .take(limit)
        .map(|order| (*order).clone())
        .collect();
    let next = if rows.is_empty() { 0 } else { offset + rows.len() };
    // Nothing found is null, not an empty list.
    let elements = if found.is_empty() {
        Json::Null
    } else {
        Json::Array(rows)
    };
    Ok(Reply::Json(
        200,
        object([
            ("elements", elements),
            ("next_offset", (next as u64).into()),
            ("total", (found.len() as u64).into()),
        ]),
    ))
}

struct Bound {
    member: &'static str,
    at: i64,
    lower: bool,
}

impl Bound {
    fn holds(&self, order: &Json) -> bool {
        let at = order.get(self.member).text().and_then(time::read);
        at.is_some_and(|at| if self.lower { at >= self.at } else { at <= self.at })
    }
}

fn bounds(call: &Call<'_>) -> Result<Vec<Bound>, Refusal> {
    let mut bounds = Vec::new();
    for (name, member, lower) in BOUNDS {
        if let Some(text) = call.asked(name) {
            let wrong = || refusal(400, "ds_search_query", &format!("{name} is no date"));
            let at = time::read(text).ok_or_else(wrong)?;
            bounds.push(Bound { member, at, lower });
        }
    }
    Ok(bounds)
}

/// The moment that a search shows: now, unless it is made stale.
fn as_of(call: &Call<'_>) -> i64 {
    let stale = call.sim.faults.borrow().stale.as_millis();
    call.sim.now() - i64::try_from(stale).unwrap_or(i64::MAX)
}

/// `limit` and `offset`.
pub fn page(call: &Call<'_>, error: &str) -> Result<(usize, usize), Refusal> {
    let number = |name: &str, default: usize| match call.asked(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| refusal(400, error, &format!("{name} is not a number"))),
    };
    let limit = number("limit", 50)?;
    Ok((limit.min(limits::SANDBOX_PAGE), number("offset", 0)?))
}

/// The newer form of a page.
pub fn paged(found: Vec<Json>, (limit, offset): (usize, usize)) -> Json {
    let paging = object([
        ("total", (found.len() as u64).into()),
        ("offset", (offset as u64).into()),
        ("limit", (limit as u64).into()),
    ]);
    let rows: Vec<Json> = found.into_iter().skip(offset).take(limit).collect();
    object([("paging", paging), ("results", rows.into())])
}

pub fn payments(call: &Call<'_>) -> Answered {
    let page = page(call, "bad_request")?;
    let world = call.sim.world.borrow();
    let found = world.payments_at(call.account.collector, call.asked("external_reference"), as_of(call));
    let wanted = |payment: &&Json| {
        call.asked("status")
            .is_none_or(|value| payment.get("status").text() == Some(value))
    };
    let found: Vec<Json> = found.into_iter().filter(wanted).cloned().collect();
    Ok(Reply::Json(200, paged(found, page)))
}

//! Intents: the Instore API (`protocol.md`, 6).

use std::rc::Rc;

use rust_decimal::Decimal;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::{Answered, Call, Refusal, refusal};
use crate::sandbox::json::{Json, object};
use crate::sandbox::notify;
use crate::sandbox::order::{Item, Order};
use crate::sandbox::poll;
use crate::sandbox::serve::Reply;
use crate::sandbox::shape::{Kind, Shape, faults};
use crate::sandbox::simulator::Simulator;
use crate::sandbox::world::{Intent, Standing};

const OPERATION: Shape = &[
    ("type", Kind::Word(&["PURCHASE", "CASH_OUT"]), true),
    ("amount", Kind::TextAmount, false),
    (
        "items",
        Kind::List(
            1_000,
            &[
                ("sku_number", Kind::Text(100), false),
                ("title", Kind::Text(100), true),
                ("quantity", Kind::Whole, true),
                ("unit_measure", Kind::Word(&["UNIT", "PACK"]), true),
                ("unit_price", Kind::TextAmount, true),
                ("total_amount", Kind::TextAmount, true),
                (
                    "external_categories",
                    Kind::List(100, &[("id", Kind::Text(100), false)]),
                    false,
                ),
            ],
        ),
        false,
    ),
    ("additional_configuration", Kind::Any, false),
];
const INTENT: Shape = &[
    ("description", Kind::Text(255), true),
    ("external_reference", Kind::Text(100), true),
    // The guide's example sends a string, the reference says number.
    ("sponsor", Kind::Object(&[("id", Kind::Any, true)]), false),
    ("operations", Kind::List(2, OPERATION), true),
    (
        "enabler_configuration",
        Kind::Object(&[("qr_payment_mode", Kind::Any, false)]),
        false,
    ),
];
const QUANTITY_MAX: u64 = 1_000_000;

/// `/instore-api/integrations/v1/intents/qr/pos/{6}`.
pub fn create(call: &Call<'_>) -> Answered {
    if !["MLA", "MLB"].contains(&call.account.site.code) {
        return Err(bad("intents are for MLA and MLB only"));
    }
    let body = call.json("bad_request")?;
    if let Some(fault) = faults(&body, INTENT).first() {
        return Err(bad(&fault.to_string()));
    }
    let modes = modes(&body)?;
    let order = order(&body)?;
    let mut world = call.sim.world.borrow_mut();
    world.place_room()?;
    let pos = world.pos_by_name(Some(call.account.collector), call.segment(6));
    let pos = pos
        .ok_or_else(|| refusal(404, "pos_not_found", "no such point of sale"))?
        .id;
    if world.standing(pos, call.sim.now()).is_some() {
        return Err(refusal(
            409,
            "Conflict",
            "There is already a queued intent for the device",
        ));
    }
    let id = call.sim.dice.borrow_mut().uuid();
    let intent = Intent {
        id: id.clone(),
        user: call.account.collector,
        pos,
        status: "OPENED",
        body,
        order,
        qr_data: modes
            .contains(&"DYNAMIC")
            .then(|| format!("00020101021143650016com.mercadolibre0201306{id}5204000053030325802AR6304")),
        result: None,
        ended: None,
    };
    let answer = json(&intent);
    let reference = intent.order.reference.clone();
    world.place(pos, &reference, Standing::Intent(id.clone()), call.sim.now());
    world.intents.insert(id.clone(), intent);
    spawn_local(expire(call.sim.clone(), id));
    Ok(Reply::Json(201, answer))
}

async fn expire(sim: Rc<Simulator>, id: String) {
    sleep(sim.settings.intent_life).await;
    if sim.world.borrow_mut().end_intent(&id, "EXPIRED", sim.now()) {
        notify::intent(&sim, &id);
    }
}

pub fn get(call: &Call<'_>) -> Answered {
    Ok(Reply::Json(200, json(&known(call)?)))
}

/// Only what is open can be cancelled.
pub fn cancel(call: &Call<'_>) -> Answered {
    let intent = known(call)?;
    if !call
        .sim
        .world
        .borrow_mut()
        .end_intent(&intent.id, "CANCELED", call.sim.now())
    {
        return Err(refusal(409, "Conflict", "the intent is not open any more"));
    }
    notify::intent(call.sim, &intent.id);
    Ok(Reply::Nothing)
}

fn bad(message: &str) -> Refusal {
    refusal(400, "bad_request", message)
}

/// `/instore-api/integrations/v1/intents/{4}/qr`.
fn known(call: &Call<'_>) -> Result<Intent, Refusal> {
    let world = call.sim.world.borrow();
    let intent = world.intents.get(call.segment(4));
    let intent = intent.filter(|intent| intent.user == call.account.collector);
    intent
        .cloned()
        .ok_or_else(|| refusal(404, "not_found", "no such intent"))
}

fn modes(body: &Json) -> Result<Vec<&'static str>, Refusal> {
    let wrong = || bad("qr_payment_mode is an array of STATIC and DYNAMIC");
    let named = |mode: &Json| ["STATIC", "DYNAMIC"].into_iter().find(|name| mode.text() == Some(name));
    match body.get("enabler_configuration").get("qr_payment_mode") {
        Json::Null => Ok(vec!["STATIC"]),
        Json::Array(modes) if !modes.is_empty() => {
            let modes: Option<Vec<_>> = modes.iter().map(named).collect();
            modes.ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

fn order(body: &Json) -> Result<Order, Refusal> {
    let mut total = Decimal::ZERO;
    let mut items = Vec::new();
    for operation in body.get("operations").elements() {
        let (sum, sold) = operation_amount(operation)?;
        total = total
            .checked_add(sum)
            .ok_or_else(|| bad("the amount is beyond all reason"))?;
        items.extend(sold);
    }
    Ok(Order {
        reference: body.get("external_reference").text().unwrap_or_default().to_owned(),
        total,
        items,
        notification_url: None,
        sponsor: poll::amount(body.get("sponsor").get("id")).and_then(|id| id.to_string().parse().ok()),
    })
}

/// `amount` or `items`; where both are, they agree.
fn operation_amount(operation: &Json) -> Result<(Decimal, Vec<Item>), Refusal> {
    let said = poll::amount(operation.get("amount"));
    let items = poll::items(operation);
    if items.iter().any(|item| item.quantity > QUANTITY_MAX) {
        return Err(bad("quantity is more than 1000000"));
    }
    let mut sum = Decimal::ZERO;
    for (item, sent) in items.iter().zip(operation.get("items").elements()) {
        let total = poll::amount(sent.get("total_amount")).unwrap_or_default();
        if item.unit_price.checked_mul(item.quantity.into()) != Some(total) {
            return Err(bad("total_amount is not quantity × unit_price"));
        }
        sum = sum
            .checked_add(total)
            .ok_or_else(|| bad("the amount is beyond all reason"))?;
    }
    match (said, items.is_empty()) {
        (None, true) => Err(bad("an operation has an amount, or items")),
        (Some(said), false) if said != sum => Err(bad("amount is not the sum of the items")),
        (Some(said), _) => Ok((said, items)),
        (None, false) => Ok((sum, items)),
    }
}

/// As it is answered and told.
pub fn json(intent: &Intent) -> Json {
    let mut operations = intent.body.get("operations").clone();
    if let (Json::Array(operations), Some(payment)) = (&mut operations, intent.result) {
        let result = object([("id", payment.into()), ("source", "PAYMENT".into())]);
        for operation in operations {
            if let Json::Object(members) = operation {
                members.push(("results".to_owned(), Json::Array(vec![result.clone()])));
            }
        }
    }
    let default = object([("qr_payment_mode", vec!["STATIC"].into())]);
    let modes = match intent.body.get("enabler_configuration") {
        Json::Null => default,
        modes => modes.clone(),
    };
    let mut members = vec![
        ("id", Json::from(intent.id.as_str())),
        ("status", intent.status.into()),
        ("description", intent.body.get("description").clone()),
        ("external_reference", intent.body.get("external_reference").clone()),
        ("operations", operations),
        ("enabler_configuration", modes),
    ];
    let sponsor = intent.body.get("sponsor");
    if !sponsor.is_null() {
        members.push(("sponsor", sponsor.clone()));
    }
    members.extend(intent.qr_data.clone().map(|code| ("qr_data", code.into())));
    Json::Object(
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

//! Stores (`protocol.md`, 2.4).

use super::{Answered, Call, Refusal, refusal, search};
use crate::limits;
use crate::sandbox::json::{Json, object};
use crate::sandbox::serve::Reply;
use crate::sandbox::shape::{Fault, Kind, Shape, What, faults};
use crate::sandbox::time;
use crate::sandbox::world::Store;

const LOCATION: Shape = &[
    ("street_number", Kind::Text(40), true),
    ("street_name", Kind::Text(255), true),
    ("city_name", Kind::Text(255), true),
    ("state_name", Kind::Text(255), true),
    ("latitude", Kind::Any, true),
    ("longitude", Kind::Any, true),
    ("reference", Kind::Text(255), false),
    ("zip_code", Kind::Text(20), false),
];
const STORE: Shape = &[
    ("name", Kind::Text(255), true),
    ("external_id", Kind::Text(limits::EXTERNAL_STORE_LEN), false),
    ("business_hours", Kind::Any, false),
    ("location", Kind::Object(LOCATION), true),
];
/// An update has no `external_id`.
const UPDATE: Shape = &[
    ("name", Kind::Text(255), false),
    ("business_hours", Kind::Any, false),
    ("location", Kind::Object(LOCATION), false),
];
const DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

pub fn create(call: &Call<'_>) -> Answered {
    call.own(1, "INVALID_USER_ID")?;
    let body = checked(call, STORE)?;
    let external_id = body.get("external_id").text().map(str::to_owned);
    let mut world = call.sim.world.borrow_mut();
    let taken = external_id
        .as_deref()
        .and_then(|id| world.store_by_name(call.account.collector, id));
    if taken.is_some() {
        return Err(refusal(400, "VALIDATION_ERROR", "external_id is used by another store"));
    }
    let store = Store {
        id: world.store_number()?,
        user: call.account.collector,
        external_id,
        name: body.get("name").text().unwrap_or_default().to_owned(),
        business_hours: body.get("business_hours").clone(),
        location: body.get("location").clone(),
        created: call.sim.now(),
    };
    let answer = json(&store);
    world.stores.insert(store.id, store);
    Ok(Reply::Json(200, answer))
}

pub fn update(call: &Call<'_>) -> Answered {
    call.own(1, "INVALID_USER_ID")?;
    let mut store = known(call, 3)?;
    let body = checked(call, UPDATE)?;
    if let Some(name) = body.get("name").text() {
        store.name = name.to_owned();
    }
    for (place, name) in [
        (&mut store.business_hours, "business_hours"),
        (&mut store.location, "location"),
    ] {
        if !body.get(name).is_null() {
            *place = body.get(name).clone();
        }
    }
    let answer = json(&store);
    call.sim.world.borrow_mut().stores.insert(store.id, store);
    Ok(Reply::Json(200, answer))
}

pub fn get(call: &Call<'_>) -> Answered {
    Ok(Reply::Json(200, json(&known(call, 1)?)))
}

pub fn search(call: &Call<'_>) -> Answered {
    call.own(1, "INVALID_USER_ID")?;
    let page = search::page(call, "BAD_REQUEST")?;
    let world = call.sim.world.borrow();
    let wanted = |store: &&Store| {
        let same = call
            .asked("external_id")
            .is_none_or(|id| store.external_id.as_deref() == Some(id));
        store.user == call.account.collector && same
    };
    let found: Vec<Json> = world.stores.values().filter(wanted).map(json).collect();
    Ok(Reply::Json(200, search::paged(found, page)))
}

pub fn delete(call: &Call<'_>) -> Answered {
    call.own(1, "INVALID_USER_ID")?;
    let store = known(call, 3)?;
    call.sim.world.borrow_mut().stores.remove(&store.id);
    Ok(Reply::Json(
        200,
        object([("store", store.id.into()), ("user", store.user.into())]),
    ))
}

fn known(call: &Call<'_>, segment: usize) -> Result<Store, Refusal> {
    let id = call.number(segment, "INVALID_STORE_ID")?;
    let world = call.sim.world.borrow();
    let store = world
        .stores
        .get(&id)
        .filter(|store| store.user == call.account.collector);
    store
        .cloned()
        .ok_or_else(|| refusal(404, "STORE_NOT_FOUND", "store not found"))
}

fn checked(call: &Call<'_>, shape: Shape) -> Result<Json, Refusal> {
    let body = call.json("BAD_REQUEST")?;
    if let Some(fault) = faults(&body, shape).first() {
        return Err(refusal(400, &key(fault), &fault.to_string()));
    }
    let location = body.get("location");
    for (name, error, max) in [
        ("latitude", "INVALID_LATITUDE", 90),
        ("longitude", "INVALID_LONGITUDE", 180),
    ] {
        let within = |value: rust_decimal::Decimal| value.abs() <= max.into();
        if !location.is_null() && !location.get(name).decimal().is_some_and(within) {
            return Err(refusal(400, error, &format!("{name} is no number of degrees")));
        }
    }
    hours(body.get("business_hours"))?;
    Ok(body)
}

/// The error's key for a member, such as `INVALID_CITY_NAME`.
fn key(fault: &Fault) -> String {
    let name = fault.path.rsplit('.').next().unwrap_or_default().to_uppercase();
    match (fault.what, name.as_str()) {
        (What::Unknown, _) => "UNKNOWN_FIELD".to_owned(),
        (_, "EXTERNAL_ID") => "VALIDATION_ERROR".to_owned(),
        _ => format!("INVALID_{name}"),
    }
}

/// Up to four a day, as `{"open": "08:00", "close": "13:00"}`.
fn hours(hours: &Json) -> Result<(), Refusal> {
    let wrong = |error| {
        Err(refusal(
            400,
            error,
            "business_hours has days with up to four times each",
        ))
    };
    let days = match hours {
        Json::Null => return Ok(()),
        Json::Object(days) => days,
        _ => return wrong("INVALID_BUSINESS_HOURS"),
    };
    for (day, times) in days {
        if !DAYS.contains(&day.as_str()) {
            return wrong("INVALID_DAY");
        }
        let good = |time: &Json| is_time(time.get("open")) && is_time(time.get("close"));
        if !(1..=4).contains(&times.elements().len()) || !times.elements().iter().all(good) {
            return wrong("INVALID_BUSINESS_HOURS");
        }
    }
    Ok(())
}

fn is_time(value: &Json) -> bool {
    let parts = value.text().and_then(|text| text.split_once(':'));
    let within = |text: &str, max: u8| text.len() == 2 && text.parse::<u8>().is_ok_and(|number| number < max);
    parts.is_some_and(|(hours, minutes)| within(hours, 24) && within(minutes, 60))
}

fn json(store: &Store) -> Json {
    let text = |name: &str| store.location.get(name).text().unwrap_or_default();
    let line = format!(
        "{} {}, {}, {}",
        text("street_name"),
        text("street_number"),
        text("city_name"),
        text("state_name")
    );
    let location = object([
        ("address_line", line.into()),
        ("latitude", store.location.get("latitude").clone()),
        ("longitude", store.location.get("longitude").clone()),
        ("reference", text("reference").into()),
    ]);
    object([
        // A number, although the reference calls it a string.
        ("id", store.id.to_string().into()),
        ("name", store.name.as_str().into()),
        ("date_created", time::write_utc(store.created).into()),
        ("business_hours", store.business_hours.clone()),
        ("location", location),
        ("external_id", store.external_id.clone().into()),
    ])
}

//! Points of sale and the pictures of their QR codes (`protocol.md`, 2.1 to 2.3).

use std::net::IpAddr;

use super::{Answered, Call, Refusal, refusal, search};
use crate::limits;
use crate::sandbox::json::{Json, object};
use crate::sandbox::serve::Reply;
use crate::sandbox::shape::is_url;
use crate::sandbox::sign::hex;
use crate::sandbox::time;
use crate::sandbox::world::{Pos, World};

const MEMBERS: [&str; 7] = [
    "name",
    "fixed_amount",
    "category",
    "store_id",
    "external_store_id",
    "external_id",
    "url",
];
/// Mercado Pago: under 300.
const URL_LEN: usize = 299;

pub fn create(call: &Call<'_>) -> Answered {
    let body = body(call, &MEMBERS)?;
    let now = call.sim.now();
    let external_id = external_id(&body)?;
    let mut world = call.sim.world.borrow_mut();
    let mut pos = Pos {
        id: 0,
        user: call.account.collector,
        external_id,
        name: String::new(),
        fixed_amount: false,
        category: None,
        store: 0,
        url: None,
        uuid: hex(&call.sim.dice.borrow_mut().bytes(32)),
        created: now,
        updated: now,
        standing: None,
    };
    if body.get("name").is_null() {
        return Err(invalid("INVALID_NAME", "name is missing"));
    }
    if body.get("fixed_amount").is_null() {
        return Err(invalid("INVALID_FIXED_AMOUNT", "fixed_amount is missing"));
    }
    change(call, &world, &mut pos, &body, ["UNKNOWN_MCC", "INVALID_STORE_ID"])?;
    if pos.store == 0 {
        return Err(invalid(
            "INVALID_STORE_ID",
            "store_id or external_store_id must be there",
        ));
    }
    if world.pos_by_name(Some(pos.user), &pos.external_id).is_some() {
        return Err(refusal(
            409,
            "EXTERNAL_ID_ALREADY_USED",
            "external_id is used by another point of sale",
        ));
    }
    pos.id = world.pos_number()?;
    let answer = json(call, &world, &pos);
    world.pos.insert(pos.id, pos);
    Ok(Reply::Json(200, answer))
}

pub fn update(call: &Call<'_>) -> Answered {
    let mut pos = known(call)?;
    let without_external_id: Vec<&str> = MEMBERS.into_iter().filter(|name| *name != "external_id").collect();
    let body = body(call, &without_external_id)?;
    let mut world = call.sim.world.borrow_mut();
    change(
        call,
        &world,
        &mut pos,
        &body,
        ["POS_UNKNOWN_MCC", "POS_INVALID_STORE_ID"],
    )?;
    pos.updated = call.sim.now();
    let answer = json(call, &world, &pos);
    world.pos.insert(pos.id, pos);
    Ok(Reply::Json(200, answer))
}

pub fn get(call: &Call<'_>) -> Answered {
    let pos = known(call)?;
    Ok(Reply::Json(200, json(call, &call.sim.world.borrow(), &pos)))
}

pub fn delete(call: &Call<'_>) -> Answered {
    let pos = known(call)?;
    call.sim.world.borrow_mut().pos.remove(&pos.id);
    Ok(Reply::Nothing)
}

pub fn search(call: &Call<'_>) -> Answered {
    let page = search::page(call, "INVALID_LIMIT")?;
    let number = |name: &str, error: &str| match call.asked(name).map(str::parse::<u64>) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(refusal(400, error, &format!("{name} is not a number"))),
    };
    let category = number("category", "INVALID_CATEGORY")?;
    let store = number("store_id", "INVALID_STORE_ID")?;
    let world = call.sim.world.borrow();
    let wanted = |pos: &&Pos| {
        let external_store = world
            .stores
            .get(&pos.store)
            .and_then(|store| store.external_id.as_deref());
        pos.user == call.account.collector
            && call
                .asked("external_id")
                .is_none_or(|id| pos.external_id.eq_ignore_ascii_case(id))
            && call
                .asked("external_store_id")
                .is_none_or(|id| external_store == Some(id))
            && category.is_none_or(|category| pos.category == Some(category))
            && store.is_none_or(|store| pos.store == store)
    };
    let found: Vec<Json> = world
        .pos
        .values()
        .filter(wanted)
        .map(|pos| json(call, &world, pos))
        .collect();
    Ok(Reply::Json(200, search::paged(found, page)))
}

fn known(call: &Call<'_>) -> Result<Pos, Refusal> {
    let id = call.number(1, "INVALID_POS_ID")?;
    let world = call.sim.world.borrow();
    let pos = world.pos.get(&id).filter(|pos| pos.user == call.account.collector);
    pos.cloned()
        .ok_or_else(|| refusal(404, "POS_NOT_FOUND", "point of sale not found"))
}

fn invalid(error: &str, message: &str) -> Refusal {
    refusal(400, error, message)
}

fn body(call: &Call<'_>, members: &[&str]) -> Result<Json, Refusal> {
    if !call.has_body() {
        return Err(invalid("MISSING_BODY", "the body is missing"));
    }
    let body = call.json("MISSING_BODY")?;
    if let Json::Object(sent) = &body
        && let Some((name, _)) = sent.iter().find(|(name, _)| !members.contains(&name.as_str()))
    {
        return Err(invalid(
            "UNKNOWN_FIELD_EXCEPTION",
            &format!("{name} is not a known field"),
        ));
    }
    Ok(body)
}

fn external_id(body: &Json) -> Result<String, Refusal> {
    let text = body.get("external_id").text().unwrap_or_default();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(invalid(
            "INVALID_EXTERNAL_ID",
            "external_id must be of letters and digits only",
        ));
    }
    if text.len() >= 40 {
        return Err(invalid(
            "EXTERNAL_ID_TOO_LONG",
            "external_id must be under 40 characters",
        ));
    }
    Ok(text.to_owned())
}

/// Takes over the members that were sent. `keys` are the two that differ between creating and updating.
fn change(call: &Call<'_>, world: &World, pos: &mut Pos, body: &Json, keys: [&str; 2]) -> Result<(), Refusal> {
    match body.get("name") {
        Json::Null => {}
        name => pos.name = self::name(name)?,
    }
    match body.get("fixed_amount") {
        Json::Null => {}
        Json::Bool(fixed) => pos.fixed_amount = *fixed,
        _ => return Err(invalid("INVALID_FIXED_AMOUNT", "fixed_amount must be true or false")),
    }
    match body.get("category") {
        Json::Null => {}
        category => pos.category = Some(self::category(call, category, keys[0])?),
    }
    if let Some(store) = store(call, world, body, keys[1])? {
        pos.store = store;
    }
    match body.get("url") {
        Json::Null => {}
        url => pos.url = Some(self::url(call, url)?),
    }
    if pos.url.is_some() && !pos.fixed_amount {
        return Err(invalid(
            "FIXED_AMOUNT_FALSE",
            "fixed_amount must be true where there is a url",
        ));
    }
    Ok(())
}

fn name(name: &Json) -> Result<String, Refusal> {
    match name.text() {
        None | Some("") => Err(invalid("INVALID_NAME", "name must be a text")),
        Some(text) if text.chars().count() >= 45 => Err(invalid("NAME_TOO_LONG", "name must be under 45 characters")),
        Some(text) => Ok(text.to_owned()),
    }
}

fn category(call: &Call<'_>, category: &Json, unknown: &str) -> Result<u64, Refusal> {
    let number = category
        .integer()
        .ok_or_else(|| invalid("INVALID_CATEGORY", "category must be a number"))?;
    if call.account.site.categories.contains(&number) {
        Ok(number)
    } else {
        Err(invalid(unknown, "category is none of the site's"))
    }
}

fn store(call: &Call<'_>, world: &World, body: &Json, bad_id: &str) -> Result<Option<u64>, Refusal> {
    let by_id = match body.get("store_id") {
        Json::Null => None,
        value => {
            let number = value.integer().or_else(|| value.text()?.parse().ok());
            let number = number.ok_or_else(|| invalid(bad_id, "store_id must be numeric"))?;
            let store = world
                .stores
                .get(&number)
                .filter(|store| store.user == call.account.collector);
            Some(
                store
                    .ok_or_else(|| refusal(404, "STORE_NOT_FOUND", "no such store"))?
                    .id,
            )
        }
    };
    let by_name = match body.get("external_store_id") {
        Json::Null => None,
        Json::Text(name) => {
            let store = world.store_by_name(call.account.collector, name);
            let unknown = || invalid("INEXISTENT_EXTERNAL_STORE_ID", "no store has this external_id");
            Some(store.ok_or_else(unknown)?.id)
        }
        _ => return Err(invalid("INVALID_EXTERNAL_STORE_ID", "external_store_id must be a text")),
    };
    match (by_id, by_name) {
        (Some(id), Some(named)) if id != named => Err(invalid(
            "EXTERNAL_STORE_ID_NOT_MATCH",
            "store_id and external_store_id are two stores",
        )),
        (id, named) => Ok(id.or(named)),
    }
}

fn url(call: &Call<'_>, url: &Json) -> Result<String, Refusal> {
    let text = url.text().filter(|text| is_url(text));
    let text = text.ok_or_else(|| invalid("INVALID_URL", "url must be a whole http or https URL"))?;
    if text.len() > URL_LEN {
        return Err(invalid("URL_TOO_LONG", "url must be under 300 characters"));
    }
    let enabled = &call.sim.settings.url_hosts;
    if !enabled.is_empty() && !enabled.iter().any(|host| host_of(text).as_ref() == Some(host)) {
        return Err(refusal(403, "forbidden", "the host of url is not enabled"));
    }
    Ok(text.to_owned())
}

fn host_of(url: &str) -> Option<String> {
    let uri: hyper::Uri = url.parse().ok()?;
    let host = uri.host()?.to_ascii_lowercase();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    Some(address.map_or(host, |address| address.to_string()))
}

fn json(call: &Call<'_>, world: &World, pos: &Pos) -> Json {
    let pictures = format!("{}/instore/merchant/qr/{}", call.sim.base_url, pos.id);
    let qr = object([
        ("image", format!("{pictures}/{}.png", pos.uuid).into()),
        (
            "template_document",
            format!("{pictures}/template_{}.pdf", pos.uuid).into(),
        ),
        ("template_image", format!("{pictures}/template_{}.png", pos.uuid).into()),
    ]);
    let store = world.stores.get(&pos.store).and_then(|store| store.external_id.clone());
    object([
        ("id", pos.id.into()),
        ("qr", qr),
        ("status", "active".into()),
        ("date_created", time::write_utc(pos.created).into()),
        ("date_last_updated", time::write_utc(pos.updated).into()),
        ("uuid", pos.uuid.as_str().into()),
        ("user_id", pos.user.into()),
        ("name", pos.name.as_str().into()),
        ("fixed_amount", pos.fixed_amount.into()),
        ("category", pos.category.into()),
        ("store_id", pos.store.to_string().into()),
        ("external_store_id", store.into()),
        ("external_id", pos.external_id.as_str().into()),
        ("url", pos.url.clone().into()),
    ])
}

/// The bare QR, also for the template to print. There is no PDF.
pub fn image(call: &Call<'_>) -> Answered {
    let absent = || refusal(404, "not_found", "no such picture");
    let id: u64 = call.segment(3).parse().map_err(|_| absent())?;
    let world = call.sim.world.borrow();
    let pos = world.pos.get(&id).ok_or_else(absent)?;
    let file = call.segment(4);
    let file = file.strip_prefix("template_").unwrap_or(file);
    if file.strip_suffix(".png") != Some(&pos.uuid) {
        return Err(absent());
    }
    let text = format!("{}/sandbox/scan/{}", call.sim.base_url, pos.external_id);
    picture(&text)
        .map(Reply::Png)
        .ok_or_else(|| refusal(500, "internal_error", "the picture cannot be drawn"))
}

/// Pixels of a module, and modules of quiet around the code.
const MODULE: usize = 8;
const QUIET: usize = 4;

fn picture(text: &str) -> Option<Vec<u8>> {
    let code = qrcode::QrCode::new(text).ok()?;
    let side = (code.width() + 2 * QUIET) * MODULE;
    let dark = |pixel: usize| {
        let module = |at: usize| (at / MODULE).checked_sub(QUIET).filter(|at| *at < code.width());
        let (x, y) = (module(pixel % side), module(pixel / side));
        matches!((x, y), (Some(x), Some(y)) if code[(x, y)] == qrcode::Color::Dark)
    };
    let pixels: Vec<u8> = (0..side * side)
        .map(|pixel| if dark(pixel) { 0 } else { 255 })
        .collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side.try_into().ok()?, side.try_into().ok()?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().ok()?.write_image_data(&pixels).ok()?;
    (file.len() <= limits::SANDBOX_ANSWER_BYTES).then_some(file)
}

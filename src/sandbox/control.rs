//! The control calls under `/sandbox/`: what a page or a script may do to the customer, and to the world.

use std::rc::Rc;
use std::time::Duration;

use hyper::http::request::Parts;
use tokio::time::timeout;

use super::api::{failure, query};
use super::json::{Json, object};
use super::links;
use super::notify::{self, Proof};
use super::order::{MerchantOrder, Payment, Status};
use super::phone::{self, Attempt, Outcome, Place, Scan};
use super::serve::Reply;
use super::simulator::Simulator;
use super::world::Refused;
use crate::limits;

/// What was wrong with a call.
type Wrong = String;

enum Failed {
    Wrong(Wrong),
    Refused(Refused),
}

impl From<Wrong> for Failed {
    fn from(wrong: Wrong) -> Failed {
        Failed::Wrong(wrong)
    }
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Failed {
        Failed::Refused(refused)
    }
}

pub async fn answer(sim: &Rc<Simulator>, head: &Parts, body: &[u8]) -> Reply {
    let path = head.uri.path().trim_start_matches("/sandbox/");
    let done = match (head.method.as_str(), path) {
        ("GET", "events") => events(sim, head).await,
        ("GET", "state") => Ok(state(sim)),
        ("GET", "faults") => Ok(sim.faults.borrow().json()),
        ("GET", path) if path.starts_with("scans/") => one_scan(sim, path),
        ("POST", command) => Json::parse(body)
            .map_err(Failed::from)
            .and_then(|body| work(sim, command, &body)),
        _ => return failure(404, "not_found", COMMANDS),
    };
    match done {
        Ok(answer) => Reply::Json(200, answer),
        Err(Failed::Wrong(wrong)) => failure(400, "bad_request", &wrong),
        Err(Failed::Refused(refused)) => failure(status(&refused), "refused", &refused.to_string()),
    }
}

fn status(refused: &Refused) -> u16 {
    match refused {
        Refused::Unknown { .. } => 404,
        Refused::Full { .. } => 507,
        _ => 409,
    }
}

const COMMANDS: &str = "there are GET state, scans/{id}, faults and events, and POST scan, leave, pay, finish, charge_back, \
    mediate, refund, consent, unlink, faults and forge";

fn work(sim: &Rc<Simulator>, command: &str, body: &Json) -> Result<Json, Failed> {
    match command {
        "scan" => {
            let id = phone::scan(sim, place(body)?)?;
            Ok(phone::scanned(sim, id)?.json())
        }
        "leave" => {
            let id = number(body, "scan")?;
            phone::leave(sim, id)?;
            Ok(phone::scanned(sim, id)?.json())
        }
        "pay" => {
            let attempt = Attempt {
                scan: number(body, "scan")?,
                outcome: outcome(body)?,
                amount: amount(body)?,
            };
            Ok(phone::pay(sim, &attempt)?.json())
        }
        "finish" => {
            let end = body.get("outcome").text().and_then(Status::end);
            let end = end.ok_or_else(|| "outcome is approved, rejected or cancelled".to_owned())?;
            Ok(phone::finish(sim, number(body, "payment")?, Outcome::of(end))?.json())
        }
        "charge_back" => Ok(phone::dispute(sim, number(body, "payment")?, Status::ChargedBack)?.json()),
        "mediate" => Ok(phone::dispute(sim, number(body, "payment")?, Status::InMediation)?.json()),
        "refund" => Ok(phone::refund_from_outside(sim, number(body, "payment")?, amount(body)?)?.json()),
        "faults" => {
            let mut faults = sim.faults.borrow().clone();
            faults.change(body)?;
            let shown = faults.json();
            *sim.faults.borrow_mut() = faults;
            Ok(shown)
        }
        "consent" => Ok(object([(
            "code",
            links::consent(sim, number(body, "collector")?)?.into(),
        )])),
        "unlink" => {
            let collector = number(body, "collector")?;
            links::cut(sim, collector)?;
            Ok(object([("collector", collector.into())]))
        }
        "forge" => forge(sim, body),
        _ => Err(Failed::Wrong(COMMANDS.to_owned())),
    }
}

fn number(body: &Json, name: &str) -> Result<u64, Wrong> {
    body.get(name)
        .integer()
        .ok_or_else(|| format!("{name} must be there, and be a number"))
}

/// As a number, or as a string that holds one.
fn amount(body: &Json) -> Result<Option<rust_decimal::Decimal>, Wrong> {
    match body.get("amount") {
        Json::Null => Ok(None),
        value => {
            let amount = super::poll::amount(value);
            amount
                .map(Some)
                .ok_or_else(|| "amount is a number such as 10.50".to_owned())
        }
    }
}

fn place(body: &Json) -> Result<Place, Wrong> {
    match (body.get("pos").text(), body.get("url").text()) {
        (Some(pos), None) => Ok(Place::Pos(pos.to_owned())),
        (None, Some(url)) if super::shape::is_url(url) => Ok(Place::Url(url.to_owned())),
        _ => Err("say either {\"pos\": \"its external_id\"} or {\"url\": \"http://…\"}".to_owned()),
    }
}

fn outcome(body: &Json) -> Result<Outcome, Wrong> {
    if let Some(holder) = body.get("card").text() {
        return Outcome::of_card(holder).ok_or_else(|| "card is APRO, OTHE, CALL, FUND, SECU or EXPI".to_owned());
    }
    match body.get("outcome") {
        Json::Null => Ok(Outcome::of(Status::Approved)),
        word => word
            .text()
            .and_then(Status::outcome)
            .map(Outcome::of)
            .ok_or_else(|| "outcome is approved, rejected, pending or in_process".to_owned()),
    }
}

fn forge(sim: &Rc<Simulator>, body: &Json) -> Result<Json, Failed> {
    let url = body.get("url").text().filter(|url| super::shape::is_url(url));
    let url = url.ok_or_else(|| "url must be there: where made-up notifications go".to_owned())?;
    let count = u32::try_from(number(body, "count")?).unwrap_or(u32::MAX);
    if count as usize > limits::SANDBOX_EVENTS {
        return Err(Failed::Wrong(format!("count is at most {}", limits::SANDBOX_EVENTS)));
    }
    let proof = match body.get("signature").text() {
        None | Some("bad") => Proof::Unverifiable,
        Some("none") => Proof::None,
        Some("good") => Proof::Signed,
        Some(_) => return Err(Failed::Wrong("signature is bad, none or good".to_owned())),
    };
    notify::forge(sim, url, count, proof);
    Ok(sim.journal.borrow().notified.json())
}

fn one_scan(sim: &Simulator, path: &str) -> Result<Json, Failed> {
    let id = path.trim_start_matches("scans/").parse();
    let id = id.map_err(|_| "a scan has a number".to_owned())?;
    Ok(phone::scanned(sim, id)?.json())
}

/// The newest of each kind, which is what a page shows.
fn state(sim: &Simulator) -> Json {
    let (world, journal) = (sim.world.borrow(), sim.journal.borrow());
    let orders = world.orders.values().rev().take(limits::SANDBOX_PAGE);
    let orders: Vec<Json> = orders
        .map(|order: &MerchantOrder| world.order_json(order.id).into())
        .collect();
    let payments: Vec<Json> = world
        .payments
        .values()
        .rev()
        .take(limits::SANDBOX_PAGE)
        .map(Payment::json)
        .collect();
    let scans: Vec<Json> = sim
        .scans
        .borrow()
        .values()
        .rev()
        .take(limits::SANDBOX_PAGE)
        .map(Scan::json)
        .collect();
    let calls = journal
        .calls
        .iter()
        .map(|(name, count)| ((*name).to_owned(), (*count).into()));
    object([
        ("seed", sim.settings.seed.into()),
        ("scans", scans.into()),
        ("merchant_orders", orders.into()),
        ("payments", payments.into()),
        ("calls", Json::Object(calls.collect())),
        ("notifications", journal.notified.json()),
        ("faults", sim.faults.borrow().json()),
        ("violations", journal.violations().into()),
        ("violations_in_all", journal.violations_in_all.into()),
    ])
}

/// At once if there are any after `after`, else the first that come within `wait` seconds.
async fn events(sim: &Simulator, head: &Parts) -> Result<Json, Failed> {
    let asked = query(head.uri.query().unwrap_or_default());
    let number = |name: &str| {
        let found = asked.iter().find(|(known, _)| known == name);
        found.map_or(Ok(0), |(_, text)| {
            text.parse::<u64>().map_err(|_| format!("{name} must be a number"))
        })
    };
    let after = number("after")?;
    let wait = Duration::from_secs(number("wait")?.min(limits::FEED_WAIT_SECONDS));
    let mut happened = sim.happened.subscribe();
    // Its time running out is an empty page.
    let _ = timeout(wait, happened.wait_for(|newest| *newest > after)).await;
    let events = sim.journal.borrow().after(after, limits::SANDBOX_PAGE);
    let next = events.last().map_or(after, |event| event.seq);
    let events: Vec<Json> = events.iter().map(super::Event::json).collect();
    Ok(object([("events", events.into()), ("next", next.into())]))
}

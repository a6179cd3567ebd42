//! The customer's telephone: it scans a POS, asks until there is an order, and pays.

use std::collections::BTreeMap;
use std::rc::Rc;

use hyper::Method;
use rust_decimal::Decimal;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::client;
use super::journal::quote;
use super::json::{Json, object};
use super::notify;
use super::order::{Order, Payment, Status};
use super::poll::{self, Dialect, Seen};
use super::settings::Account;
use super::simulator::Simulator;
use super::world::{Origin, Refused, Standing, unknown};
use crate::limits;

/// What is scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A POS by its `external_id`.
    Pos(String),
    /// A URL that no POS has; the first account is paid.
    Url(String),
}

/// What the telephone shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    Waiting,
    /// An amount to pay, in this merchant order.
    Order(u64),
    /// The customer left, or nothing came in time.
    Over,
}

/// One telephone in front of one POS.
#[derive(Debug, Clone)]
pub struct Scan {
    pub id: u64,
    pub place: Place,
    pub screen: Screen,
    pub polls: u64,
    /// What the last answer said: a word, an error, or a reference.
    pub last: String,
    collector: u64,
    pos: Option<u64>,
    dialect: Option<Dialect>,
}

/// What the customer does.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub scan: u64,
    pub outcome: Outcome,
    /// All that is still to be paid if left out.
    pub amount: Option<Decimal>,
}

/// How an attempt ends at first, and Mercado Pago's word for why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome(pub Status, pub &'static str);

impl Outcome {
    pub fn of(status: Status) -> Outcome {
        let detail = match status {
            Status::Approved => "accredited",
            Status::Rejected => "cc_rejected_other_reason",
            Status::Pending => "pending_waiting_payment",
            Status::InProcess => "pending_contingency",
            other => other.word(),
        };
        Outcome(status, detail)
    }

    /// The names on Mercado Pago's test cards steer the result (`protocol.md`, 8.3).
    pub fn of_card(holder: &str) -> Option<Outcome> {
        let rejected = |detail| Outcome(Status::Rejected, detail);
        Some(match holder {
            "APRO" => Outcome::of(Status::Approved),
            "OTHE" => Outcome::of(Status::Rejected),
            "CALL" => rejected("cc_rejected_call_for_authorize"),
            "FUND" => rejected("cc_rejected_insufficient_amount"),
            "SECU" => rejected("cc_rejected_bad_filled_security_code"),
            "EXPI" => rejected("cc_rejected_bad_filled_date"),
            _ => return None,
        })
    }
}

impl Scan {
    pub fn json(&self) -> Json {
        let (Place::Pos(place) | Place::Url(place)) = &self.place;
        let (screen, order) = match self.screen {
            Screen::Waiting => ("waiting", None),
            Screen::Order(order) => ("order", Some(order)),
            Screen::Over => ("over", None),
        };
        object([
            ("id", self.id.into()),
            ("place", place.as_str().into()),
            ("screen", screen.into()),
            ("merchant_order", order.into()),
            ("polls", self.polls.into()),
            ("last", self.last.as_str().into()),
        ])
    }
}

/// A customer scans. The telephone asks by itself from here on.
pub fn scan(sim: &Rc<Simulator>, place: Place) -> Result<u64, Refused> {
    let (collector, pos) = match &place {
        Place::Pos(name) => {
            let world = sim.world.borrow();
            let pos = world
                .pos_by_name(None, name)
                .ok_or_else(|| unknown("point of sale", name))?;
            (pos.user, Some(pos.id))
        }
        Place::Url(_) => {
            let first = sim.settings.accounts.first();
            (first.ok_or_else(|| unknown("account", 1))?.collector, None)
        }
    };
    let id = {
        let mut scans = sim.scans.borrow_mut();
        make_room(&mut scans)?;
        let id = scans.keys().next_back().map_or(1, |newest| newest + 1);
        let scan = Scan {
            id,
            place,
            screen: Screen::Waiting,
            polls: 0,
            last: String::new(),
            collector,
            pos,
            dialect: None,
        };
        scans.insert(id, scan);
        id
    };
    tell(sim, "scanned", id);
    spawn_local(ask(sim.clone(), id));
    Ok(id)
}

/// The oldest telephone that waits no more makes room for a new one.
fn make_room(scans: &mut BTreeMap<u64, Scan>) -> Result<(), Refused> {
    if scans.len() < limits::SANDBOX_SCANS {
        return Ok(());
    }
    let done = scans.values().find(|scan| scan.screen != Screen::Waiting);
    let done = done.map(|scan| scan.id).ok_or(Refused::Full {
        what: "telephones that wait",
        max: limits::SANDBOX_SCANS,
    })?;
    scans.remove(&done);
    Ok(())
}

/// The customer leaves. What was shown can no longer be paid by this telephone.
pub fn leave(sim: &Simulator, id: u64) -> Result<(), Refused> {
    change(sim, id, |scan| scan.screen = Screen::Over).ok_or_else(|| unknown("scan", id))?;
    tell(sim, "left", id);
    Ok(())
}

pub fn scanned(sim: &Simulator, id: u64) -> Result<Scan, Refused> {
    let scans = sim.scans.borrow();
    scans.get(&id).cloned().ok_or_else(|| unknown("scan", id))
}

fn change<T>(sim: &Simulator, id: u64, work: impl FnOnce(&mut Scan) -> T) -> Option<T> {
    sim.scans.borrow_mut().get_mut(&id).map(work)
}

fn tell(sim: &Simulator, kind: &'static str, id: u64) {
    let facts = sim.scans.borrow().get(&id).map(Scan::json);
    sim.tell(kind, facts.into());
}

/// Asks until something is shown, or it is over.
async fn ask(sim: Rc<Simulator>, id: u64) {
    let end = Instant::now() + sim.settings.poll_for;
    while Instant::now() < end && is_waiting(&sim, id) {
        look(&sim, id).await;
        if !is_waiting(&sim, id) {
            return;
        }
        sleep(sim.settings.poll_every).await;
    }
    if is_waiting(&sim, id) {
        change(&sim, id, |scan| scan.screen = Screen::Over);
        tell(&sim, "gave_up", id);
    }
}

fn is_waiting(sim: &Simulator, id: u64) -> bool {
    let scans = sim.scans.borrow();
    scans.get(&id).is_some_and(|scan| scan.screen == Screen::Waiting)
}

/// What the merchant has put on the POS is there at once; else its URL is asked, if it has one.
async fn look(sim: &Rc<Simulator>, id: u64) {
    let Ok(scan) = scanned(sim, id) else { return };
    let Some(account) = sim.account(scan.collector) else {
        return;
    };
    let now = sim.now();
    let standing = scan.pos.and_then(|pos| sim.world.borrow_mut().standing(pos, now));
    let (order, intent) = match standing {
        Some(Standing::Order { order, .. }) => (Some(order), None),
        Some(Standing::Intent(intent)) => {
            let order = sim.world.borrow().intents.get(&intent).map(|known| known.order.clone());
            (order, Some(intent))
        }
        None => (ask_url(sim, &scan, account).await, None),
    };
    // The customer may have left while the URL was asked.
    if let Some(order) = order
        && is_waiting(sim, id)
    {
        show(sim, &scan, account, order, intent);
    }
}

fn show(sim: &Rc<Simulator>, scan: &Scan, account: &Account, order: Order, intent: Option<String>) {
    let reference = order.reference.clone();
    let origin = Origin { pos: scan.pos, intent };
    let opened = sim.world.borrow_mut().open(account, order, origin, sim.now());
    change(sim, scan.id, |scan| match &opened {
        Ok(order) => {
            scan.screen = Screen::Order(*order);
            scan.last = reference;
        }
        Err(refused) => {
            scan.screen = Screen::Over;
            scan.last = refused.to_string();
        }
    });
    tell(sim, "shown", scan.id);
    if let Ok(order) = opened {
        notify::order(sim, order, "create");
    }
}

/// One poll.
async fn ask_url(sim: &Simulator, scan: &Scan, account: &Account) -> Option<Order> {
    let url = match (&scan.place, scan.pos) {
        (Place::Url(url), _) => url.clone(),
        (Place::Pos(_), pos) => sim.world.borrow().pos.get(&pos?)?.url.clone()?,
    };
    change(sim, scan.id, |scan| scan.polls += 1);
    let begun = sim.now();
    let asked = timeout(
        limits::SANDBOX_POLL_TIME,
        client::send(Method::GET, &url, &[], Vec::new()),
    )
    .await;
    let read = match &asked {
        Err(_) => Err(vec!["no answer in time".to_owned()]),
        Ok(Err(why)) => Err(vec![why.clone()]),
        Ok(Ok(answer)) => {
            let answer = poll::Answer {
                status: answer.status,
                content_type: answer.header("content-type"),
                order_version: answer.header("order-version"),
                client_id: answer.header("client-id"),
                body: &answer.body,
            };
            let is_linked = sim.links.borrow().has(account.collector);
            let administrator = is_linked.then_some(sim.settings.application.owner);
            poll::read(&answer, account, administrator)
        }
    };
    let answer = asked.ok().and_then(Result::ok);
    let status = answer.as_ref().map_or(0, |answer| u64::from(answer.status));
    let body = answer.map_or(Json::Null, |answer| quote(&answer.body));
    let seen = read.and_then(|seen| same_dialect(sim, scan.id, seen));
    let (said, order) = match seen {
        Ok(Seen::Waiting(_, word)) => (word, None),
        Ok(Seen::Order(_, order)) => (order.reference.clone(), Some(order)),
        Err(wrong) => {
            let said = wrong.join("; ");
            // That nobody answers is no breach of the protocol.
            if status != 0 {
                // Without the query: it may hold the merchant's secret, and this is logged.
                let shown = url.split('?').next().unwrap_or_default();
                sim.violate(format!("scan {}, GET {shown}: {said}", scan.id));
            }
            (said, None)
        }
    };
    change(sim, scan.id, |scan| scan.last.clone_from(&said));
    let facts = [
        ("scan", scan.id.into()),
        ("url", url.into()),
        ("status", status.into()),
        ("said", said.into()),
        ("answer", body),
        ("begun", u64::try_from(begun).ok().into()),
    ];
    sim.tell("poll", object(facts));
    order
}

fn same_dialect(sim: &Simulator, id: u64, seen: Seen) -> Result<Seen, Vec<String>> {
    let (Seen::Waiting(now, _) | Seen::Order(now, _)) = &seen;
    let before = change(sim, id, |scan| *scan.dialect.get_or_insert(*now));
    if before.is_some_and(|before| before != *now) {
        return Err(vec!["one POS answers in two dialects".to_owned()]);
    }
    Ok(seen)
}

/// The customer pays, or tries to.
pub fn pay(sim: &Rc<Simulator>, attempt: &Attempt) -> Result<Payment, Refused> {
    let order = match scanned(sim, attempt.scan)?.screen {
        Screen::Waiting => return Err(Refused::NothingShown(attempt.scan)),
        Screen::Over => return Err(Refused::Over(attempt.scan)),
        Screen::Order(order) => order,
    };
    let Outcome(status, detail) = attempt.outcome;
    let paid = sim
        .world
        .borrow_mut()
        .pay(order, attempt.amount, (status, detail), sim.now());
    let id = paid?;
    settled(sim, id, "payment.created");
    payment(sim, id)
}

/// An attempt under review comes to its end.
pub fn finish(sim: &Rc<Simulator>, id: u64, Outcome(status, detail): Outcome) -> Result<Payment, Refused> {
    sim.world.borrow_mut().finish(id, (status, detail), sim.now())?;
    settled(sim, id, "payment.updated");
    payment(sim, id)
}

/// The payer disputes: `InMediation` or `ChargedBack`.
pub fn dispute(sim: &Rc<Simulator>, id: u64, status: Status) -> Result<Payment, Refused> {
    sim.world.borrow_mut().dispute(id, status, sim.now())?;
    settled(sim, id, "payment.updated");
    payment(sim, id)
}

/// A refund that was not asked for by the API: from the dashboard.
pub fn refund_from_outside(sim: &Rc<Simulator>, id: u64, amount: Option<Decimal>) -> Result<Payment, Refused> {
    sim.world.borrow_mut().refund(id, amount, None, sim.now())?;
    settled(sim, id, "payment.updated");
    payment(sim, id)
}

fn payment(sim: &Simulator, id: u64) -> Result<Payment, Refused> {
    let world = sim.world.borrow();
    world.payments.get(&id).cloned().ok_or_else(|| unknown("payment", id))
}

/// What follows from a payment that changed: the POS is freed, the intent closed, the merchant told.
pub fn settled(sim: &Rc<Simulator>, id: u64, action: &'static str) {
    let Ok(payment) = payment(sim, id) else { return };
    sim.tell("payment", payment.json());
    let intent = sim.world.borrow_mut().clear_pos(&payment);
    let of_intent = sim
        .world
        .borrow()
        .orders
        .get(&payment.merchant_order)
        .is_some_and(|order| order.intent.is_some());
    if let Some(intent) = intent {
        notify::intent(sim, &intent);
    }
    // Of intents only the final state is told.
    if !of_intent {
        notify::payment(sim, id, action);
        notify::order(sim, payment.merchant_order, "update");
    }
}

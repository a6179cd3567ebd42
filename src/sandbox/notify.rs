//! Notifications: made, signed, sent, repeated, and spoiled on command (`protocol.md`, 4).

use std::rc::Rc;
use std::time::Duration;

use hyper::Method;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::api::intent_json;
use super::client;
use super::journal::quote;
use super::json::{Json, object};
use super::settings::{Flavour, Stamp};
use super::sign::{hex, signature};
use super::simulator::Simulator;
use super::time;
use crate::limits;

/// How a message proves where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By the secret.
    Signed,
    /// A signature that nobody can verify, as IPN's.
    Unverifiable,
    None,
}

/// One notification, ready to be sent.
#[derive(Debug, Clone)]
struct Message {
    /// With the parameters that Mercado Pago adds.
    url: String,
    topic: &'static str,
    /// The query's `data.id`.
    data_id: Option<String>,
    id: String,
    body: Vec<u8>,
    proof: Proof,
}

/// What a seller has set up in the dashboard.
fn dashboard(sim: &Simulator, user: u64) -> Option<String> {
    let own = sim.account(user).and_then(|account| account.dashboard_url.clone());
    own.or_else(|| sim.settings.dashboard_url.clone())
}

/// A merchant order was made or changed.
pub fn order(sim: &Rc<Simulator>, id: u64, action: &'static str) {
    let (url, facts) = {
        let world = sim.world.borrow();
        let Some(order) = world.orders.get(&id) else { return };
        if order.intent.is_some() {
            return;
        }
        (order.order.notification_url.clone(), (order.status, order.collector))
    };
    let (status, user) = facts;
    let Some(url) = url.or_else(|| dashboard(sim, user)) else {
        return;
    };
    for message in order_messages(sim, &url, id, action, status, user) {
        send(sim, message);
    }
}

fn order_messages(
    sim: &Simulator,
    url: &str,
    id: u64,
    action: &str,
    status: &str,
    user: u64,
) -> impl Iterator<Item = Message> + use<> {
    let resource = format!("https://api.mercadolibre.com/merchant_orders/{id}");
    let ipn = ipn(url, "merchant_order", id, &resource);
    let data = [
        ("currency_id", "".into()),
        ("marketplace", "NONE".into()),
        ("status", status.into()),
    ];
    let body = object([
        ("action", action.into()),
        ("application_id", "7910800073137785".into()),
        ("data", object(data)),
        ("date_created", time::write(sim.now()).into()),
        ("id", id.to_string().into()),
        ("live_mode", true.into()),
        ("status", status.into()),
        ("type", ORDER_TOPIC.into()),
        ("user_id", user.into()),
        ("version", 1u64.into()),
    ]);
    // This topic has no `data.id`: the id is in the body alone.
    let webhook = Message {
        url: with_query(url, &format!("type={ORDER_TOPIC}")),
        topic: ORDER_TOPIC,
        data_id: None,
        id: id.to_string(),
        body: body.bytes(),
        proof: Proof::Signed,
    };
    wanted(sim, url, ipn, webhook)
}

const ORDER_TOPIC: &str = "topic_merchant_order_wh";
const INTENT_TOPIC: &str = "topic_instore_integration_wh";
const LINK_TOPIC: &str = "mp-connect";

/// A payment was made or changed.
pub fn payment(sim: &Rc<Simulator>, id: u64, action: &'static str) {
    let (url, user) = {
        let world = sim.world.borrow();
        let Some(payment) = world.payments.get(&id) else { return };
        (payment.notification_url.clone(), payment.collector)
    };
    let Some(url) = url.or_else(|| dashboard(sim, user)) else {
        return;
    };
    for message in payment_messages(sim, &url, id, action, user) {
        send(sim, message);
    }
}

fn payment_messages(
    sim: &Simulator,
    url: &str,
    id: u64,
    action: &str,
    user: u64,
) -> impl Iterator<Item = Message> + use<> {
    let ipn = ipn(url, "payment", id, &id.to_string());
    let number = sim.dice.borrow_mut().up_to(1 << 40);
    let body = object([
        ("id", number.into()),
        ("live_mode", true.into()),
        ("type", "payment".into()),
        ("date_created", time::write(sim.now()).into()),
        ("user_id", user.into()),
        ("api_version", "v1".into()),
        ("action", action.into()),
        ("data", object([("id", id.to_string().into())])),
    ]);
    let webhook = webhook(url, "payment", &id.to_string(), &body);
    wanted(sim, url, ipn, webhook)
}

/// An intent came to its end. These are set up in the dashboard, never by the order.
pub fn intent(sim: &Rc<Simulator>, id: &str) {
    let known = sim.world.borrow().intents.get(id).cloned();
    let Some(intent) = known else { return };
    let Some(url) = dashboard(sim, intent.user) else { return };
    let mut data = intent_json(&intent);
    if let Json::Object(members) = &mut data {
        let address = format!("{}/instore-api/integrations/v1/intents/{id}/qr", sim.base_url);
        members.retain(|(name, _)| name != "qr_data");
        members.extend(
            intent
                .qr_data
                .map(|code| ("qr".to_owned(), object([("data", code.into())]))),
        );
        members.push(("url".to_owned(), address.into()));
    }
    let body = object([
        // Whatever the state, the action says this.
        ("action", "topic_instore_integration_wh.application.authorized".into()),
        ("api_version", "v1".into()),
        ("data", data),
        ("date_created", time::write_oddly(sim.now()).into()),
        ("id", id.into()),
        ("live_mode", true.into()),
        ("type", INTENT_TOPIC.into()),
        ("user_id", intent.user.into()),
    ]);
    send(sim, webhook(&url, INTENT_TOPIC, id, &body));
}

/// A seller made a link to the application, or cut it. These are set up in the dashboard: one URL for all sellers.
pub fn link(sim: &Rc<Simulator>, seller: u64, action: &'static str) {
    let Some(url) = &sim.settings.dashboard_url else { return };
    let application = sim.settings.application.id.to_string();
    let number = sim.dice.borrow_mut().up_to(1 << 40);
    let body = object([
        ("id", number.into()),
        ("live_mode", true.into()),
        ("type", LINK_TOPIC.into()),
        ("date_created", time::write(sim.now()).into()),
        ("user_id", seller.into()),
        ("api_version", "v1".into()),
        ("action", action.into()),
        ("data", object([("id", application.as_str().into())])),
    ]);
    send(sim, webhook(url, LINK_TOPIC, &application, &body));
}

/// Made-up notifications about things that do not exist, as fast as they can be sent. None is repeated.
pub fn forge(sim: &Rc<Simulator>, url: &str, count: u32, proof: Proof) {
    for _ in 0..count {
        let id = 10_000_000_000 + sim.dice.borrow_mut().up_to(1 << 40);
        let user = sim.settings.accounts.first().map_or(0, |account| account.collector);
        let messages: Vec<Message> = if id.is_multiple_of(2) {
            order_messages(sim, url, id, "update", "closed", user).collect()
        } else {
            payment_messages(sim, url, id, "payment.created", user).collect()
        };
        for message in messages {
            sim.journal.borrow_mut().notified.forged += 1;
            start(sim, Message { proof, ..message }, 1);
        }
    }
}

fn ipn(url: &str, topic: &'static str, id: u64, resource: &str) -> Message {
    Message {
        url: with_query(url, &format!("topic={topic}&id={id}")),
        topic,
        data_id: None,
        id: id.to_string(),
        body: object([("resource", resource.into()), ("topic", topic.into())]).bytes(),
        proof: Proof::Unverifiable,
    }
}

fn webhook(url: &str, topic: &'static str, id: &str, body: &Json) -> Message {
    Message {
        url: with_query(url, &format!("data.id={id}&type={topic}")),
        topic,
        data_id: Some(id.to_owned()),
        id: id.to_owned(),
        body: body.bytes(),
        proof: Proof::Signed,
    }
}

/// The merchant's own parameters stay in front.
fn with_query(url: &str, ours: &str) -> String {
    let url = url.split('#').next().unwrap_or(url);
    let between = if url.contains('?') { '&' } else { '?' };
    format!("{url}{between}{ours}")
}

/// Which of the two are sent: `source_news` in the URL says more than the settings.
fn wanted(sim: &Simulator, url: &str, ipn: Message, webhook: Message) -> impl Iterator<Item = Message> + use<> {
    let flavour = sim.settings.flavour;
    let asks = |news: &str| url.contains(&format!("source_news={news}"));
    let ipn = (flavour != Flavour::Webhook && !asks("webhooks")).then_some(ipn);
    let webhook = (flavour != Flavour::Ipn && !asks("ipn")).then_some(webhook);
    ipn.into_iter().chain(webhook)
}

/// Into the world, unless it is lost; with as many copies as the faults ask for.
fn send(sim: &Rc<Simulator>, message: Message) {
    if sim.happens(|faults| &mut faults.lose) {
        sim.journal.borrow_mut().notified.lost += 1;
        sim.tell("notification_lost", facts(&message, &[]));
        return;
    }
    let copies = sim.faults.borrow().repeat.saturating_add(1);
    let attempts = sim.settings.retry_after.len() + 1;
    (0..copies).for_each(|_| start(sim, message.clone(), attempts));
}

fn start(sim: &Rc<Simulator>, message: Message, attempts: usize) {
    {
        let notified = &mut sim.journal.borrow_mut().notified;
        if notified.waiting >= limits::SANDBOX_NOTIFICATIONS as u64 {
            notified.dropped += 1;
            return;
        }
        notified.waiting += 1;
    }
    spawn_local(deliver(sim.clone(), message, attempts));
}

/// Until it is answered 200 or 201, or the repeats are over.
async fn deliver(sim: Rc<Simulator>, message: Message, attempts: usize) {
    sleep(hold(&sim)).await;
    for attempt in 0..attempts {
        if let Some(wait) = attempt
            .checked_sub(1)
            .and_then(|before| sim.settings.retry_after.get(before))
        {
            sleep(*wait).await;
        }
        let begun = sim.now();
        let said = attempt_once(&sim, &message, attempt).await;
        let delivered = matches!(said, Ok(200 | 201));
        count(&sim, delivered, attempt + 1 == attempts);
        let word = said.map_or_else(|why| why, |status| status.to_string());
        let more = [
            ("attempt", (attempt as u64 + 1).into()),
            ("answer", word.into()),
            ("begun", u64::try_from(begun).ok().into()),
        ];
        sim.tell("notification", facts(&message, &more));
        if delivered {
            return;
        }
    }
}

fn count(sim: &Simulator, delivered: bool, last: bool) {
    let notified = &mut sim.journal.borrow_mut().notified;
    notified.delivered += u64::from(delivered);
    notified.failed += u64::from(!delivered);
    notified.given_up += u64::from(!delivered && last);
    notified.waiting -= u64::from(delivered || last);
}

/// How long the faults hold it back.
fn hold(sim: &Simulator) -> Duration {
    let faults = sim.faults.borrow();
    let window = u64::try_from(faults.reorder.as_millis()).unwrap_or(u64::MAX);
    let random = if window == 0 {
        0
    } else {
        sim.dice.borrow_mut().up_to(window)
    };
    faults.delay + Duration::from_millis(random)
}

async fn attempt_once(sim: &Simulator, message: &Message, attempt: usize) -> Result<u16, String> {
    // The semaphore is never closed.
    let Ok(_permit) = sim.sending.acquire().await else {
        return Err("the sandbox is ending".to_owned());
    };
    let [first, later] = sim.settings.answer_time;
    let limit = if attempt == 0 { first } else { later };
    let headers = headers(sim, message);
    let call = client::send(Method::POST, &message.url, &headers, message.body.clone());
    match timeout(limit, call).await {
        Ok(answer) => answer.map(|answer| answer.status),
        Err(_) => Err(format!("no answer in {} ms", limit.as_millis())),
    }
}

/// Signed anew for each attempt.
fn headers(sim: &Simulator, message: &Message) -> Vec<(&'static str, String)> {
    let request_id = sim.dice.borrow_mut().uuid();
    let ts = match sim.settings.stamp {
        Stamp::Milliseconds => sim.now(),
        Stamp::Seconds => sim.now() / 1_000,
    };
    let ts = ts.to_string();
    let signed = match message.proof {
        Proof::Signed => Some(signature(
            &sim.settings.secret,
            message.data_id.as_deref(),
            Some(&request_id),
            &ts,
        )),
        Proof::Unverifiable => Some(format!("ts={ts},v1={}", hex(&sim.dice.borrow_mut().bytes(32)))),
        Proof::None => None,
    };
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-request-id", request_id),
    ];
    headers.extend(signed.map(|signed| ("x-signature", signed)));
    headers
}

fn facts(message: &Message, more: &[(&str, Json)]) -> Json {
    let mut facts = vec![
        ("topic".to_owned(), message.topic.into()),
        ("id".to_owned(), message.id.as_str().into()),
        ("url".to_owned(), message.url.as_str().into()),
        ("sent".to_owned(), quote(&message.body)),
    ];
    facts.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    Json::Object(facts)
}

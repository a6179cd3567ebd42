//! The stored form of an entry and of an order: versioned JSON, and its conversion to and from the domain.
//!
//! JSON, because a station's data must be readable with `sqlite3` and a pair of eyes, years later. The domain's types
//! are not serializable on purpose: a stored form is a promise of its own.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::account::{LatePayment, Payee};
use crate::domain::command::Event;
use crate::domain::id::{AccountId, ExternalPosId, ExternalStoreId, IntentId, PosId, Reference, Rev, Timestamp};
use crate::domain::money::{Currency, Money};
use crate::domain::order::{
    CancelReason, Content, Delivery, Facts, Item, Items, Metadata, Order, Quantity, Status, UnitMeasure,
};
use crate::domain::pos::{External, Mode, PollKey, Pos, Registration, State, Waiting, Word};
use crate::domain::posted::{Posted, QrMode, Way};
use crate::domain::text::Text;

mod event;
mod extras;
mod money;

use event::{StoredEvent, read_event, store_event};
use extras::{StoredIva, StoredLoyalty, read_fee, read_iva, read_loyalty, store_fee, store_iva, store_loyalty};
use money::{
    StoredPayment, StoredRefund, StoredSighting, read_payments, read_refunds, read_sighting, store_payments,
    store_refunds, store_sighting,
};

/// The form that this version writes. Older ones stay readable; a newer one is refused by name.
const VERSION: u32 = 3;

/// All that happened at once on one POS, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub seq: u64,
    pub pos: PosId,
    pub rev: Rev,
    pub at: Timestamp,
    pub events: Vec<Event>,
    pub state_after: State,
}

/// Why a stored form could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is not of the stored form: {0}")]
    Form(String),
    #[error("its form is version {0}, and this program reads up to {VERSION}")]
    Newer(u32),
    #[error("its {0} is not valid")]
    Field(&'static str),
}

type Str<'a> = Cow<'a, str>;

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    v: u32,
    #[serde(borrow)]
    events: Vec<StoredEvent<'a>>,
    #[serde(borrow)]
    state: Option<StoredPos<'a>>,
}

#[derive(Serialize, Deserialize)]
struct OrderBody<'a> {
    v: u32,
    #[serde(borrow)]
    order: StoredOrder<'a>,
}

/// A newer form may differ in any way; only its version is sure to be where it is.
#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

#[derive(Serialize, Deserialize)]
struct StoredPos<'a> {
    #[serde(borrow)]
    registration: StoredRegistration<'a>,
    state: Str<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open: Option<StoredOrder<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<(Str<'a>, Str<'a>)>,
}

#[derive(Serialize, Deserialize)]
struct StoredRegistration<'a> {
    #[serde(borrow)]
    account: Str<'a>,
    mode: Str<'a>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Str<'a>>,
    #[serde(default)]
    require_lease: bool,
    #[serde(default)]
    url_secret: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external_id: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external_store_id: Option<Str<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StoredOrder<'a> {
    #[serde(borrow)]
    reference: Str<'a>,
    pos: Str<'a>,
    account: Str<'a>,
    collector_id: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sponsor_id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notification_url: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<u64>,
    currency: Str<'a>,
    items: Vec<StoredItem<'a>>,
    expires_in: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<Str<'a>>,
    /// The order's own policy, and the one that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    late_asked: Option<Str<'a>>,
    late: Str<'a>,
    created_at: i64,
    expires_at: i64,
    status: Str<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    canceled_for: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    payments: Vec<StoredPayment<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refunds: Vec<StoredRefund<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sightings: Vec<StoredSighting<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivery: Option<StoredDelivery<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivered_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    overdue_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    qr: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taxes: Option<StoredIva<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loyalty: Option<StoredLoyalty<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    marketplace_fee: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    posted: Option<StoredPosted<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StoredPosted<'a> {
    #[serde(borrow)]
    mode: Str<'a>,
    pos: Str<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intent: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    qr_data: Option<Str<'a>>,
    #[serde(default)]
    canceling: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<Str<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StoredItem<'a> {
    #[serde(borrow)]
    title: Str<'a>,
    description: Str<'a>,
    quantity: u32,
    unit_price: Str<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sku_number: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    category: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit_measure: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    picture_url: Option<Str<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StoredDelivery<'a> {
    #[serde(borrow)]
    result: Str<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Str<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StoredFacts<'a> {
    #[serde(borrow)]
    reference: Str<'a>,
    amount: Str<'a>,
    currency: Str<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<Str<'a>>,
}

// --- to the stored form -----------------------------------------------------------------------------------------

pub(super) fn body(events: &[Event], state: &State) -> Vec<u8> {
    let body = Body {
        v: VERSION,
        events: events.iter().map(store_event).collect(),
        state: state.as_ref().map(store_pos),
    };
    serde_json::to_vec(&body).expect("strings and whole numbers only: nothing that JSON cannot hold")
}

pub(super) fn order_body(order: &Order) -> Vec<u8> {
    let body = OrderBody {
        v: VERSION,
        order: store_order(order),
    };
    serde_json::to_vec(&body).expect("strings and whole numbers only: nothing that JSON cannot hold")
}

fn text<const N: usize>(text: &Text<N>) -> Str<'_> {
    text.as_str().into()
}

fn digits(money: Money) -> Str<'static> {
    money.to_string().into()
}

fn store_pos(pos: &Pos) -> StoredPos<'_> {
    StoredPos {
        registration: store_registration(&pos.registration),
        state: pos.word.waiting.as_str().into(),
        message: pos.word.message.as_ref().map(text),
        open: pos.open.as_deref().map(store_order),
        last: pos
            .last
            .as_deref()
            .map(|(reference, status)| (reference.as_str().into(), status.as_str().into())),
    }
}

fn store_registration(registration: &Registration) -> StoredRegistration<'_> {
    let external = registration.external.as_deref();
    StoredRegistration {
        account: registration.account.as_str().into(),
        mode: registration.mode.as_str().into(),
        keys: registration
            .keys
            .iter()
            .flat_map(PollKey::values)
            .map(Str::from)
            .collect(),
        name: registration.name.as_ref().map(text),
        require_lease: registration.require_lease,
        url_secret: registration.url_secret,
        external_id: external.and_then(|e| e.pos.as_ref()).map(|id| id.as_str().into()),
        external_store_id: external.and_then(|e| e.store.as_ref()).map(|id| id.as_str().into()),
    }
}

fn store_order(order: &Order) -> StoredOrder<'_> {
    StoredOrder {
        reference: order.reference.as_str().into(),
        pos: order.pos.as_str().into(),
        account: order.account.as_str().into(),
        collector_id: order.payee.collector_id,
        sponsor_id: order.payee.sponsor_id,
        notification_url: order.payee.notification_url.as_deref().map(Str::from),
        client_id: order.payee.client_id,
        currency: order.currency().code().into(),
        items: order.content.items.iter().map(store_item).collect(),
        expires_in: order.content.expires_in_seconds,
        metadata: order.content.metadata.as_ref().map(|m| Str::from(&*m.0)),
        late_asked: order.content.late_payment.map(store_policy),
        late: store_policy(order.late_payment),
        created_at: order.created_at.0,
        expires_at: order.expires_at.0,
        status: order.status.as_str().into(),
        shown_at: order.shown_at.map(|at| at.0),
        ended_at: order.ended_at.map(|at| at.0),
        canceled_for: order.canceled_for.map(|reason| reason.as_str().into()),
        payments: store_payments(&order.payments),
        refunds: store_refunds(&order.refunds),
        sightings: order.sightings.iter().map(store_sighting).collect(),
        delivery: order.delivery.as_ref().map(|(delivery, _)| store_delivery(delivery)),
        delivered_at: order.delivery.as_ref().map(|(_, at)| at.0),
        overdue_at: order.overdue_at.map(|at| at.0),
        qr: (order.content.qr != QrMode::default()).then(|| order.content.qr.as_str().into()),
        taxes: order.content.taxes.as_ref().map(store_iva),
        loyalty: order.content.loyalty.as_deref().map(store_loyalty),
        marketplace_fee: order.content.marketplace_fee.as_ref().map(store_fee),
        posted: order.posted.as_deref().map(store_posted),
    }
}

fn store_posted(posted: &Posted) -> StoredPosted<'_> {
    let (pos, store) = match &posted.way {
        Way::Attended { pos, store } => (pos, Some(store)),
        Way::Intent { pos } => (pos, None),
    };
    StoredPosted {
        mode: posted.way.mode().as_str().into(),
        pos: pos.as_str().into(),
        store: store.map(|store| store.as_str().into()),
        intent: posted.intent.as_ref().map(|id| id.as_str().into()),
        qr_data: posted.qr_data.as_ref().map(text),
        canceling: posted.canceling,
        refused: posted.refused.as_ref().map(text),
    }
}

fn store_item(item: &Item) -> StoredItem<'_> {
    StoredItem {
        title: text(&item.title),
        description: text(&item.description),
        quantity: item.quantity.get(),
        unit_price: digits(item.unit_price),
        sku_number: item.sku_number.as_ref().map(text),
        category: item.category.as_ref().map(text),
        unit_measure: item.unit_measure.map(|unit| unit.as_str().into()),
        picture_url: item.picture_url.as_ref().map(text),
    }
}

fn store_policy(policy: LatePayment) -> Str<'static> {
    match policy {
        LatePayment::Report => "report".into(),
        LatePayment::Refund => "refund".into(),
        LatePayment::Accept => "accept".into(),
    }
}

fn store_delivery(delivery: &Delivery) -> StoredDelivery<'_> {
    match delivery {
        Delivery::Dispensed => StoredDelivery {
            result: "dispensed".into(),
            amount: None,
            reason: None,
        },
        Delivery::Failed { amount, reason } => StoredDelivery {
            result: "failed".into(),
            amount: amount.map(digits),
            reason: reason.as_ref().map(text),
        },
    }
}

fn store_facts(facts: &Facts) -> StoredFacts<'_> {
    StoredFacts {
        reference: facts.reference.as_str().into(),
        amount: digits(facts.amount),
        currency: facts.amount.currency().code().into(),
        metadata: facts.metadata.as_ref().map(|m| Str::from(&*m.0)),
    }
}

// --- from the stored form ---------------------------------------------------------------------------------------

type Read<T> = Result<T, Unreadable>;

/// Events and state of a body, of the POS `id`.
pub(super) fn read_body(id: &PosId, bytes: &[u8]) -> Read<(Vec<Event>, State)> {
    let body: Body<'_> = read_form(bytes)?;
    let state = body.state.map(|stored| read_pos(id, stored)).transpose()?;
    let open = state.as_ref().and_then(|pos| pos.open.as_ref());
    let events = body
        .events
        .into_iter()
        .map(|event| read_event(event, open))
        .collect::<Read<_>>()?;
    Ok((events, state))
}

pub(super) fn read_order_body(bytes: &[u8]) -> Read<Order> {
    let body: OrderBody<'_> = read_form(bytes)?;
    read_order(body.order)
}

fn read_form<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Read<T> {
    let form = |error: serde_json::Error| Unreadable::Form(error.to_string());
    match serde_json::from_slice(bytes).map_err(form)? {
        Versioned { v } if v > VERSION => Err(Unreadable::Newer(v)),
        Versioned { .. } => serde_json::from_slice(bytes).map_err(form),
    }
}

fn field<T, E>(name: &'static str, parsed: Result<T, E>) -> Read<T> {
    parsed.map_err(|_| Unreadable::Field(name))
}

fn known<T>(name: &'static str, parsed: Option<T>) -> Read<T> {
    parsed.ok_or(Unreadable::Field(name))
}

fn optional<T, E>(
    name: &'static str,
    stored: Option<Str<'_>>,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Read<Option<T>> {
    stored.map(|stored| field(name, parse(&stored))).transpose()
}

fn read_pos(id: &PosId, stored: StoredPos<'_>) -> Read<Pos> {
    let waiting = known("state", Waiting::parse(&stored.state))?;
    Ok(Pos {
        id: id.clone(),
        registration: read_registration(stored.registration)?,
        word: Word {
            waiting,
            message: optional("message", stored.message, Text::parse)?,
        },
        open: stored.open.map(|order| read_order(order).map(Arc::new)).transpose()?,
        last: stored.last.map(read_last).transpose()?,
        lease: None,
    })
}

fn read_last((reference, status): (Str<'_>, Str<'_>)) -> Read<Box<(Reference, Status)>> {
    Ok(Box::new((
        field("last", Reference::parse(&reference))?,
        known("last", Status::parse(&status))?,
    )))
}

fn read_registration(stored: StoredRegistration<'_>) -> Read<Registration> {
    let external = External {
        pos: optional("external_id", stored.external_id, ExternalPosId::parse)?,
        store: optional("external_store_id", stored.external_store_id, ExternalStoreId::parse)?,
    };
    let keys = (!stored.keys.is_empty())
        .then(|| field("keys", PollKey::new(&stored.keys)))
        .transpose()?;
    Ok(Registration {
        account: field("account", AccountId::parse(&stored.account))?,
        mode: known("mode", Mode::parse(&stored.mode))?,
        keys,
        name: optional("name", stored.name, Text::parse)?,
        require_lease: stored.require_lease,
        url_secret: stored.url_secret,
        external: (external != External::default()).then(|| Box::new(external)),
    })
}

fn read_order(stored: StoredOrder<'_>) -> Read<Order> {
    let currency = known("currency", Currency::parse(&stored.currency))?;
    let items = stored
        .items
        .into_iter()
        .map(|item| read_item(item, currency))
        .collect::<Read<Vec<_>>>()?;
    let items = field("items", Items::new(items))?;
    let total = items.total();
    let delivery = match (stored.delivery, stored.delivered_at) {
        (Some(delivery), Some(at)) => Some((read_delivery(delivery, currency)?, Timestamp(at))),
        (None, None) => None,
        _ => return Err(Unreadable::Field("delivery")),
    };
    Ok(Order {
        reference: field("reference", Reference::parse(&stored.reference))?,
        pos: field("pos", PosId::parse(&stored.pos))?,
        account: field("account", AccountId::parse(&stored.account))?,
        payee: Payee {
            collector_id: stored.collector_id,
            sponsor_id: stored.sponsor_id,
            notification_url: stored.notification_url.map(Arc::from),
            client_id: stored.client_id,
        },
        content: Content {
            items,
            expires_in_seconds: stored.expires_in,
            metadata: stored.metadata.map(|text| Metadata(text.into())),
            late_payment: stored.late_asked.map(|text| read_policy(&text)).transpose()?,
            qr: match stored.qr {
                Some(text) => known("qr", QrMode::parse(&text))?,
                None => QrMode::default(),
            },
            taxes: stored.taxes.map(|taxes| read_iva(&taxes, total)).transpose()?,
            loyalty: stored
                .loyalty
                .map(|loyalty| read_loyalty(loyalty, currency).map(Box::new))
                .transpose()?,
            marketplace_fee: stored.marketplace_fee.map(|fee| read_fee(&fee, total)).transpose()?,
        },
        created_at: Timestamp(stored.created_at),
        expires_at: Timestamp(stored.expires_at),
        late_payment: read_policy(&stored.late)?,
        status: known("status", Status::parse(&stored.status))?,
        shown_at: stored.shown_at.map(Timestamp),
        ended_at: stored.ended_at.map(Timestamp),
        canceled_for: read_reason(stored.canceled_for)?,
        payments: read_payments(stored.payments, currency)?,
        refunds: read_refunds(stored.refunds, currency)?,
        sightings: stored.sightings.iter().map(read_sighting).collect::<Read<_>>()?,
        delivery,
        overdue_at: stored.overdue_at.map(Timestamp),
        posted: stored
            .posted
            .map(|posted| read_posted(posted).map(Box::new))
            .transpose()?,
    })
}

fn read_posted(stored: StoredPosted<'_>) -> Read<Posted> {
    let pos = field("posted", ExternalPosId::parse(&stored.pos))?;
    let store = optional("posted", stored.store, ExternalStoreId::parse)?;
    let way = match (Mode::parse(&stored.mode), store) {
        (Some(Mode::Attended), Some(store)) => Way::Attended { pos, store },
        (Some(Mode::Intent), None) => Way::Intent { pos },
        _ => return Err(Unreadable::Field("posted")),
    };
    Ok(Posted {
        way,
        intent: optional("intent", stored.intent, IntentId::parse)?,
        qr_data: optional("qr_data", stored.qr_data, Text::parse)?,
        canceling: stored.canceling,
        refused: optional("refused", stored.refused, Text::parse)?,
    })
}

fn read_item(stored: StoredItem<'_>, currency: Currency) -> Read<Item> {
    Ok(Item {
        title: field("title", Text::parse(&stored.title))?,
        description: field("description", Text::parse(&stored.description))?,
        quantity: known("quantity", Quantity::new(stored.quantity))?,
        unit_price: field("unit_price", Money::parse(&stored.unit_price, currency))?,
        sku_number: optional("sku_number", stored.sku_number, Text::parse)?,
        category: optional("category", stored.category, Text::parse)?,
        unit_measure: stored
            .unit_measure
            .map(|text| known("unit_measure", UnitMeasure::parse(&text)))
            .transpose()?,
        picture_url: optional("picture_url", stored.picture_url, Text::parse)?,
    })
}

fn read_reason(stored: Option<Str<'_>>) -> Read<Option<CancelReason>> {
    stored
        .map(|text| known("reason", CancelReason::parse(&text)))
        .transpose()
}

fn read_policy(text: &str) -> Read<LatePayment> {
    match text {
        "report" => Ok(LatePayment::Report),
        "refund" => Ok(LatePayment::Refund),
        "accept" => Ok(LatePayment::Accept),
        _ => Err(Unreadable::Field("late")),
    }
}

fn read_delivery(stored: StoredDelivery<'_>, currency: Currency) -> Read<Delivery> {
    match &*stored.result {
        "dispensed" => Ok(Delivery::Dispensed),
        "failed" => Ok(Delivery::Failed {
            amount: optional("delivery", stored.amount, |text| Money::parse(text, currency))?,
            reason: optional("delivery", stored.reason, Text::parse)?,
        }),
        _ => Err(Unreadable::Field("delivery")),
    }
}

fn read_facts(stored: StoredFacts<'_>) -> Read<Facts> {
    let currency = known("currency", Currency::parse(&stored.currency))?;
    Ok(Facts {
        reference: field("reference", Reference::parse(&stored.reference))?,
        amount: field("amount", Money::parse(&stored.amount, currency))?,
        metadata: stored.metadata.map(|text| Metadata(text.into())),
    })
}

#[cfg(test)]
mod tests;

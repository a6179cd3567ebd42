//! From the domain to the JSON that controllers are answered with. Amounts are strings with the currency's decimals.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::config::Secret;
use crate::domain::access::Scope;
use crate::domain::command::Event;
use crate::domain::id::{PosId, Timestamp};
use crate::domain::money::Money;
use crate::domain::order::{Delivery, Facts, Item, Metadata, Order};
use crate::domain::payment::{Cause, Payment, Refund, RefundState, Sighting};
use crate::domain::pos::{PollKey, Pos, Registration, Standing};
use crate::domain::posted::{Posted, Way};
use crate::engine::{Record, Told};
use crate::limits;
use crate::log::Happening;

mod extras;

use extras::{ExtrasView, extras};

pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect(WRITABLE)
}

/// A part of a page, as it is written: so a page is known to hold no more than it may before there is all of it.
pub(super) fn to_part(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect(WRITABLE)
}

const WRITABLE: &str = "maps have string keys, and nothing else can fail";

/// `2026-11-21T14:05:09.123Z`
pub(super) struct Time(pub(super) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = jiff::Timestamp::from_millisecond(self.0.0).unwrap_or(jiff::Timestamp::MAX);
        serializer.collect_str(&format_args!("{time:.3}"))
    }
}

/// The digits of an amount, as a string.
pub(super) struct Digits(pub(super) Money);

impl Serialize for Digits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Poll keys under their configured names.
struct Keys<'a>(&'a [String], &'a PollKey);

impl Serialize for Keys<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().zip(self.1.values()))
    }
}

#[derive(Serialize)]
pub(super) struct PosView<'a> {
    pos: &'a str,
    name: Option<&'a str>,
    account: &'a str,
    mode: &'static str,
    keys: Option<Keys<'a>>,
    state: &'static str,
    message: Option<&'a str>,
    lease_until: Option<Time>,
    order: Option<OrderView<'a>>,
    rev: u64,
    require_lease: bool,
    url_secret: bool,
    external_id: Option<&'a str>,
    external_store_id: Option<&'a str>,
}

/// `names` are the configured poll keys.
pub(super) fn pos<'a>(record: &'a Record, names: &'a [String]) -> PosView<'a> {
    let Pos {
        id,
        registration,
        open,
        lease,
        ..
    } = &record.pos;
    let external = registration.external.as_deref();
    let standing = record.pos.standing();
    PosView {
        pos: id.as_str(),
        name: registration.name.as_ref().map(|name| name.as_str()),
        account: registration.account.as_str(),
        mode: registration.mode.as_str(),
        keys: registration.keys.as_ref().map(|keys| Keys(names, keys)),
        state: standing.name(),
        message: match standing {
            Standing::Waiting(word) => word.message.as_ref().map(|message| message.as_str()),
            Standing::Withheld(_) | Standing::Ready(_) => None,
        },
        lease_until: lease.map(Time),
        order: open.as_deref().map(order),
        rev: record.rev.0,
        require_lease: registration.require_lease,
        url_secret: registration.url_secret,
        external_id: external
            .and_then(|external| external.pos.as_ref())
            .map(|id| id.as_str()),
        external_store_id: external
            .and_then(|external| external.store.as_ref())
            .map(|id| id.as_str()),
    }
}

#[derive(Serialize)]
pub(super) struct OrderView<'a> {
    external_reference: &'a str,
    pos: &'a str,
    status: &'static str,
    amount: Digits,
    currency_id: &'static str,
    items: Vec<ItemView<'a>>,
    metadata: Option<&'a RawValue>,
    created_at: Time,
    expires_at: Time,
    shown_at: Option<Time>,
    ended_at: Option<Time>,
    late_payment: &'static str,
    #[serde(flatten)]
    extras: ExtrasView<'a>,
    payments: Vec<PaymentView>,
    refunds: Vec<RefundView<'a>>,
    delivery: Option<DeliveryView<'a>>,
    /// What only an order has that was put at Mercado Pago.
    #[serde(flatten)]
    posted: Option<PostedView<'a>>,
}

#[derive(Serialize)]
struct PostedView<'a> {
    mode: &'static str,
    canceling: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    qr: Option<&'static str>,
    intent: Option<&'a str>,
    qr_data: Option<&'a str>,
    /// Why Mercado Pago did not take it.
    reason: Option<&'a str>,
}

fn posted<'a>(order: &'a Order, posted: &'a Posted) -> PostedView<'a> {
    PostedView {
        mode: posted.way.mode().as_str(),
        canceling: order.is_canceling(),
        qr: matches!(posted.way, Way::Intent { .. }).then(|| order.content.qr.as_str()),
        intent: posted.intent.as_ref().map(|id| id.as_str()),
        qr_data: posted.qr_data.as_ref().map(|data| data.as_str()),
        reason: posted.refused.as_ref().map(|why| why.as_str()),
    }
}

pub(super) fn order(order: &Order) -> OrderView<'_> {
    OrderView {
        external_reference: order.reference.as_str(),
        pos: order.pos.as_str(),
        status: order.status.as_str(),
        amount: Digits(order.amount()),
        currency_id: order.currency().code(),
        items: order.content.items.iter().map(item).collect(),
        metadata: order.content.metadata.as_ref().and_then(raw),
        created_at: Time(order.created_at),
        expires_at: Time(order.expires_at),
        shown_at: order.shown_at.map(Time),
        ended_at: order.ended_at.map(Time),
        late_payment: order.late_payment.as_str(),
        extras: extras(order),
        payments: order.payments.iter().map(|paid| payment_of(order, paid)).collect(),
        refunds: order.refunds.iter().map(refund).collect(),
        delivery: order
            .delivery
            .as_ref()
            .map(|(reported, at)| delivery(reported, Some(*at))),
        posted: order.posted.as_deref().map(|how| posted(order, how)),
    }
}

/// It was JSON when it came in, and the log's checksum says that it still is what it was.
fn raw(metadata: &Metadata) -> Option<&RawValue> {
    serde_json::from_str(&metadata.0).ok()
}

#[derive(Serialize)]
struct ItemView<'a> {
    title: &'a str,
    description: &'a str,
    quantity: u32,
    unit_price: Digits,
    #[serde(skip_serializing_if = "Option::is_none")]
    sku_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_measure: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture_url: Option<&'a str>,
}

fn item(item: &Item) -> ItemView<'_> {
    ItemView {
        title: item.title.as_str(),
        description: item.description.as_str(),
        quantity: item.quantity.get(),
        unit_price: Digits(item.unit_price),
        sku_number: item.sku_number.as_ref().map(|sku| sku.as_str()),
        category: item.category.as_ref().map(|category| category.as_str()),
        unit_measure: item.unit_measure.map(|unit| unit.as_str()),
        picture_url: item.picture_url.as_ref().map(|url| url.as_str()),
    }
}

#[derive(Serialize)]
pub(super) struct PaymentView {
    id: u64,
    merchant_order: Option<u64>,
    amount: Digits,
    status: &'static str,
    approved_at: Option<Time>,
    /// What others took back.
    #[serde(skip_serializing_if = "Option::is_none")]
    reversed: Option<Digits>,
}

/// Only approved payments are recorded; others may have taken them back since.
fn payment(payment: &Payment) -> PaymentView {
    PaymentView {
        id: payment.id,
        merchant_order: payment.merchant_order,
        amount: Digits(payment.amount),
        status: payment.reversed.map_or("approved", |reversed| reversed.how.as_str()),
        approved_at: payment.approved_at.map(Time),
        reversed: payment.reversed.map(|reversed| Digits(reversed.amount)),
    }
}

/// As Mercado Pago calls it: a payment of which a part is left stays `approved`.
pub(super) fn payment_of(order: &Order, paid: &Payment) -> PaymentView {
    let status = match paid.reversed {
        _ if !order.left_of(paid).is_zero() => "approved",
        Some(reversed) => reversed.how.as_str(),
        None => "refunded",
    };
    PaymentView {
        status,
        ..payment(paid)
    }
}

#[derive(Serialize)]
pub(super) struct RefundView<'a> {
    /// Mercado Pago's number, once it is done.
    id: Option<u64>,
    payment: u64,
    amount: Digits,
    status: &'static str,
    cause: &'static str,
    /// Under which the controller asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

pub(super) fn refund(refund: &Refund) -> RefundView<'_> {
    let (id, reason) = match &refund.state {
        RefundState::Requested => (None, None),
        RefundState::Done(id) => (Some(*id), None),
        RefundState::Failed(why) => (None, Some(why.as_str())),
    };
    RefundView {
        id,
        payment: refund.payment,
        amount: Digits(refund.amount),
        status: refund.state.as_str(),
        cause: refund.cause.as_str(),
        key: match &refund.cause {
            Cause::Asked(ask) => Some(ask.key.as_str()),
            Cause::Late | Cause::Overpaid | Cause::Delivery => None,
        },
        reason,
    }
}

#[derive(Serialize)]
pub(super) struct DeliveryView<'a> {
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Digits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Time>,
}

pub(super) fn delivery(delivery: &Delivery, at: Option<Timestamp>) -> DeliveryView<'_> {
    let at = at.map(Time);
    match delivery {
        Delivery::Dispensed => DeliveryView {
            result: "dispensed",
            amount: None,
            reason: None,
            at,
        },
        Delivery::Failed { amount, reason } => DeliveryView {
            result: "failed",
            amount: amount.map(Digits),
            reason: reason.as_ref().map(|reason| reason.as_str()),
            at,
        },
    }
}

#[derive(Serialize)]
pub(super) struct PosPage {
    pos: Vec<Box<RawValue>>,
    next: Option<String>,
}

/// Of these, which may be followed by more, as many as a page holds: one at least.
pub(super) fn pos_page(records: &[Arc<Record>], more: bool, names: &[String]) -> PosPage {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for record in records {
        if bytes >= limits::POS_PAGE_BYTES {
            break;
        }
        let written = to_part(&pos(record, names));
        bytes += written.get().len();
        page.push(written);
    }
    let more = more || page.len() < records.len();
    let last = page.len().checked_sub(1).filter(|_| more);
    PosPage {
        next: last.map(|last| records[last].pos.id.to_string()),
        pos: page,
    }
}

#[derive(Serialize)]
pub(super) struct OrderPage<'a> {
    pub(super) orders: Vec<OrderView<'a>>,
    pub(super) next: Option<String>,
}

#[derive(Serialize)]
pub(super) struct TokenView<'a> {
    name: &'a str,
    all: bool,
    pos: Vec<&'a str>,
    created_at: Time,
    used_at: Option<Time>,
    /// Told once, to who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

pub(super) fn token<'a>(told: &'a Told, token: Option<&'a Secret>) -> TokenView<'a> {
    let (all, pos) = match &told.scope {
        Scope::All => (true, Vec::new()),
        Scope::Of(names) => (false, names.iter().map(PosId::as_str).collect()),
    };
    TokenView {
        name: told.name.as_str(),
        all,
        pos,
        created_at: Time(told.created_at),
        used_at: told.used_at.map(Time),
        token: token.map(Secret::expose),
    }
}

#[derive(Serialize)]
pub(super) struct TokenPage<'a> {
    pub(super) tokens: Vec<TokenView<'a>>,
    pub(super) next: Option<String>,
}

#[derive(Serialize)]
pub(super) struct EventView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<u64>,
    pos: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rev: Option<u64>,
    at: Time,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(flatten)]
    order: Option<FactsView<'a>>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
struct FactsView<'a> {
    external_reference: &'a str,
    amount: Digits,
    currency_id: &'static str,
    metadata: Option<&'a RawValue>,
}

fn facts(facts: &Facts) -> FactsView<'_> {
    FactsView {
        external_reference: facts.reference.as_str(),
        amount: Digits(facts.amount),
        currency_id: facts.amount.currency().code(),
        metadata: facts.metadata.as_ref().and_then(raw),
    }
}

/// What an event has beside what all have.
#[derive(Serialize, Default)]
struct Rest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qr_data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payments: Option<Vec<PaymentView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_order: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refunds: Option<Vec<RefundView<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    excess: Option<Digits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<DeliveryView<'a>>,
}

/// The events of an entry after event number `after`.
pub(super) fn events(entry: &Happening, after: u64) -> impl Iterator<Item = EventView<'_>> {
    let numbered = (entry.seq * limits::EVENTS_PER_ENTRY..).zip(&entry.events);
    let told = numbered.filter(move |(seq, _)| *seq > after);
    told.map(|(seq, event)| EventView {
        seq: Some(seq),
        pos: entry.pos.as_str(),
        rev: Some(entry.rev.0),
        at: Time(entry.at),
        kind: event.name(),
        order: about(event),
        rest: rest(event),
    })
}

/// Live only: it has no number.
pub(super) fn scanned(pos: &PosId, at: Timestamp) -> EventView<'_> {
    EventView {
        seq: None,
        pos: pos.as_str(),
        rev: None,
        at: Time(at),
        kind: "scanned",
        order: None,
        rest: Rest::default(),
    }
}

fn about(event: &Event) -> Option<FactsView<'_>> {
    match event {
        Event::OrderReady(order) => Some(FactsView {
            external_reference: order.reference.as_str(),
            amount: Digits(order.amount()),
            currency_id: order.currency().code(),
            metadata: order.content.metadata.as_ref().and_then(raw),
        }),
        other => other.facts().map(facts),
    }
}

fn rest(event: &Event) -> Rest<'_> {
    let none = Rest::default();
    let list = |payments: &[Payment]| Some(payments.iter().map(payment).collect());
    match event {
        Event::Removed
        | Event::OrderShown(_)
        | Event::OrderReplaced(_)
        | Event::OrderExpired(_)
        | Event::DeliveryOverdue(_) => none,
        Event::Registered(registration) | Event::Changed(registration) => registered(registration),
        Event::StateChanged { to, message } => Rest {
            state: Some(to.as_str()),
            message: message.as_ref().map(|message| message.as_str()),
            ..none
        },
        Event::OrderReady(order) => Rest {
            expires_at: Some(Time(order.expires_at)),
            ..none
        },
        Event::OrderSent { intent, qr_data, .. } => Rest {
            intent: intent.as_ref().map(|id| id.as_str()),
            qr_data: qr_data.as_ref().map(|data| data.as_str()),
            ..none
        },
        Event::OrderRejected { why, .. } => Rest {
            reason: Some(why.as_str()),
            ..none
        },
        Event::CancelAsked { reason, .. } | Event::OrderCanceled { reason, .. } => Rest {
            reason: reason.map(|reason| reason.as_str()),
            ..none
        },
        Event::OrderPaid { payments, late, .. } => Rest {
            payments: list(payments),
            late: late.then_some(true),
            ..none
        },
        Event::PaymentPartial { payments, .. } => Rest {
            payments: list(payments),
            ..none
        },
        Event::LatePayment { payments, action, .. } => Rest {
            payments: list(payments),
            action: Some(action.as_str()),
            ..none
        },
        Event::Overpaid {
            payments,
            excess,
            action,
            ..
        } => Rest {
            payments: list(payments),
            excess: Some(Digits(*excess)),
            action: Some(action.as_str()),
            ..none
        },
        Event::DeliveryReported { delivery: reported, .. } => Rest {
            delivery: Some(delivery(reported, None)),
            ..none
        },
        Event::PaymentSeen { sighting, .. } => seen(sighting),
        Event::PaymentReversed { payment, .. } => Rest {
            payments: list(std::slice::from_ref(payment)),
            ..none
        },
        Event::RefundRequested { refunds, .. } => Rest {
            refunds: Some(refunds.iter().map(refund).collect()),
            ..none
        },
        Event::RefundEnded { refund: ended, .. } => Rest {
            refunds: Some(vec![refund(ended)]),
            ..none
        },
    }
}

fn seen(sighting: &Sighting) -> Rest<'static> {
    match sighting {
        Sighting::Pending(payment) | Sighting::Rejected(payment) => Rest {
            payment: Some(*payment),
            ..Rest::default()
        },
        Sighting::Suspect(suspect) => Rest {
            payment: suspect.payment,
            merchant_order: suspect.merchant_order,
            reason: Some(suspect.why.as_str()),
            ..Rest::default()
        },
    }
}

fn registered(registration: &Registration) -> Rest<'_> {
    Rest {
        account: Some(registration.account.as_str()),
        mode: Some(registration.mode.as_str()),
        name: registration.name.as_ref().map(|name| name.as_str()),
        ..Rest::default()
    }
}

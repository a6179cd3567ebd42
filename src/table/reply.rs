//! Whole replies, rendered when a POS changes, in each dialect of the wire (`protocol.md` 1.2 to 1.4).

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::account::Dialect;
use crate::domain::id::Reference;
use crate::domain::order::{Item, Order, Status, UnitMeasure};
use crate::domain::pos::{Message, Mode, Pos, Standing, Waiting, Word};

mod extras;

use extras::{DocumentedTax, Points, TaxVersion2};

/// How a poll was answered, for the counters. The last four never come from the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Order,
    Unavailable,
    InProcess,
    Timeout,
    Invalid,
    /// As invalid, and one of too many.
    Limited,
    NotFound,
    MethodNotAllowed,
    Body,
}

impl Outcome {
    pub const ALL: [Outcome; 9] = [
        Outcome::Order,
        Outcome::Unavailable,
        Outcome::InProcess,
        Outcome::Timeout,
        Outcome::Invalid,
        Outcome::Limited,
        Outcome::NotFound,
        Outcome::MethodNotAllowed,
        Outcome::Body,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Order => "order",
            Outcome::Unavailable => "unavailable",
            Outcome::InProcess => "in_process",
            Outcome::Timeout => "timeout",
            Outcome::Invalid => "invalid",
            Outcome::Limited => "limited",
            Outcome::NotFound => "not_found",
            Outcome::MethodNotAllowed => "method_not_allowed",
            Outcome::Body => "body",
        }
    }

    fn of(waiting: Waiting) -> Outcome {
        match waiting {
            Waiting::Unavailable => Outcome::Unavailable,
            Waiting::InProcess => Outcome::InProcess,
            Waiting::Timeout => Outcome::Timeout,
        }
    }
}

/// What a poll takes along.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
    pub outcome: Outcome,
    /// Whether the reply says `order-version: 2`.
    pub order_version_2: bool,
    /// What it says as `client-id`.
    pub client_id: Option<u64>,
}

impl Answer {
    /// For a place that we do not know: the same in both dialects, since it belongs to no account.
    pub fn invalid() -> Answer {
        Answer {
            status: StatusCode::BAD_REQUEST,
            body: Bytes::from_static(br#"{"error":{"type":"invalid"}}"#),
            outcome: Outcome::Invalid,
            order_version_2: false,
            client_id: None,
        }
    }
}

/// A reply as it will be sent, to every poll until the POS changes.
#[derive(Debug)]
pub struct Reply {
    answer: Answer,
    dialect: Dialect,
    offer: Option<Offer>,
}

/// The order in a reply.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) reference: Reference,
    pub(super) until: Instant,
    pub(super) lapse: Lapse,
    pub(super) shown: AtomicBool,
}

/// When the lease that an order needs lapses, if it needs one. Renewals move it while polls read it.
#[derive(Debug)]
pub(super) struct Lapse {
    begun: Instant,
    /// Milliseconds after `begun`.
    at: AtomicU64,
}

impl Lapse {
    fn new(at: Option<Instant>) -> Lapse {
        let lapse = Lapse {
            begun: Instant::now(),
            at: AtomicU64::new(u64::MAX),
        };
        if let Some(at) = at {
            lapse.renew(at);
        }
        lapse
    }

    fn renew(&self, at: Instant) {
        let millis = at.saturating_duration_since(self.begun).as_millis();
        // The next whole one: never early.
        self.at.store(u64::try_from(millis + 1).unwrap_or(u64::MAX), Relaxed);
    }

    #[inline]
    pub(super) fn is_past(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.begun).as_millis() >= u128::from(self.at.load(Relaxed))
    }
}

impl Reply {
    /// What polls of this POS are answered from now on; an open order until `until`, and where a lease is required no
    /// longer than until that lapses.
    pub fn of(pos: &Pos, dialect: Dialect, until: Instant, lapse: Option<Instant>) -> Arc<Reply> {
        // In the other modes Mercado Pago is told of the order, and nobody polls for it.
        if pos.registration.mode != Mode::Unattended {
            return Reply::plain(Waiting::Unavailable, dialect);
        }
        match pos.standing() {
            Standing::Waiting(word) => Reply::waiting(word, dialect),
            Standing::Withheld(_) => Reply::plain(Waiting::Timeout, dialect),
            Standing::Ready(order) => {
                Reply::order(order, dialect, until, lapse.filter(|_| pos.registration.require_lease))
            }
        }
    }

    pub(super) fn plain(waiting: Waiting, dialect: Dialect) -> Arc<Reply> {
        Reply::waiting(&Word::plain(waiting), dialect)
    }

    fn waiting(word: &Word, dialect: Dialect) -> Arc<Reply> {
        match &word.message {
            None => PLAIN[dialect as usize][word.waiting as usize].clone(),
            Some(message) => Arc::new(Reply::rendered(word.waiting, Some(message), dialect)),
        }
    }

    fn rendered(waiting: Waiting, message: Option<&Message>, dialect: Dialect) -> Reply {
        let message = message.map(Message::as_str);
        let (status, body) = match dialect {
            Dialect::Documented => {
                let error = Error {
                    kind: waiting.as_str(),
                    message,
                };
                (StatusCode::BAD_REQUEST, json(&Refused { error }))
            }
            Dialect::OrderVersion2 => {
                let status_detail = match waiting {
                    Waiting::InProcess => "in_process",
                    // Spelled as Mercado Pago prints it.
                    Waiting::Unavailable | Waiting::Timeout => "Waiting_for_order",
                };
                (
                    StatusCode::ACCEPTED,
                    json(&Accepted {
                        status: Detail { status_detail, message },
                    }),
                )
            }
        };
        let answer = Answer {
            status,
            body,
            outcome: Outcome::of(waiting),
            order_version_2: false,
            client_id: None,
        };
        Reply {
            answer,
            dialect,
            offer: None,
        }
    }

    fn order(order: &Order, dialect: Dialect, until: Instant, lapse: Option<Instant>) -> Arc<Reply> {
        let body = match dialect {
            Dialect::Documented => json(&DocumentedOrder::of(order)),
            Dialect::OrderVersion2 => json(&OrderVersion2::of(order)),
        };
        let answer = Answer {
            status: StatusCode::OK,
            body,
            outcome: Outcome::Order,
            order_version_2: dialect == Dialect::OrderVersion2,
            client_id: order.payee.client_id.filter(|_| dialect == Dialect::OrderVersion2),
        };
        let offer = Offer {
            reference: order.reference.clone(),
            until,
            lapse: Lapse::new(lapse),
            shown: AtomicBool::new(order.status == Status::Shown),
        };
        Arc::new(Reply {
            answer,
            dialect,
            offer: Some(offer),
        })
    }

    /// The body is never freed: a reference count that every poll of every thread moves would be fought over.
    fn forever(mut self) -> Reply {
        self.answer.body = Bytes::from_static(self.answer.body.to_vec().leak());
        self
    }

    /// Costs a reference count, and not even that where the body is shared by all.
    #[inline]
    pub(super) fn answer(&self) -> Answer {
        self.answer.clone()
    }

    #[inline]
    pub(super) fn offer(&self) -> Option<&Offer> {
        self.offer.as_ref()
    }

    /// The lease that the order needs lapses then, and no sooner.
    pub fn renew(&self, lapse: Instant) {
        if let Some(offer) = &self.offer {
            offer.lapse.renew(lapse);
        }
    }

    /// The next poll that sees the order rings once more.
    pub fn ring_again(&self) {
        if let Some(offer) = &self.offer {
            offer.shown.store(false, Relaxed);
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }
}

/// Replies without a message, shared by all slots, by dialect and state.
static PLAIN: LazyLock<[[Arc<Reply>; 3]; 2]> = LazyLock::new(|| {
    [Dialect::Documented, Dialect::OrderVersion2]
        .map(|dialect| Waiting::ALL.map(|waiting| Arc::new(Reply::rendered(waiting, None, dialect).forever())))
});

fn json(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body)
        .expect("text and numbers are always JSON")
        .into()
}

/// A JSON number with the digits as they are.
fn number(decimal: impl Display) -> Box<RawValue> {
    RawValue::from_string(decimal.to_string()).expect("digits with a point are a JSON number")
}

#[derive(Serialize)]
struct Refused<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct Accepted<'a> {
    status: Detail<'a>,
}

#[derive(Serialize)]
struct Detail<'a> {
    status_detail: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct DocumentedOrder<'a> {
    collector_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sponsor_id: Option<u64>,
    items: Vec<DocumentedItem<'a>>,
    external_reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loyalty: Option<Points<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    taxes: Option<[DocumentedTax; 1]>,
}

#[derive(Serialize)]
struct DocumentedItem<'a> {
    title: &'a str,
    description: &'a str,
    currency_id: &'static str,
    quantity: u32,
    unit_price: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture_url: Option<&'a str>,
}

impl<'a> DocumentedOrder<'a> {
    fn of(order: &'a Order) -> DocumentedOrder<'a> {
        let item = |item: &'a Item| DocumentedItem {
            title: item.title.as_str(),
            description: item.description.as_str(),
            currency_id: item.unit_price.currency().code(),
            quantity: item.quantity.get(),
            unit_price: number(item.unit_price),
            picture_url: item.picture_url.as_ref().map(|url| url.as_str()),
        };
        DocumentedOrder {
            collector_id: order.payee.collector_id,
            sponsor_id: order.payee.sponsor_id,
            items: order.content.items.iter().map(item).collect(),
            external_reference: order.reference.as_str(),
            notification_url: order.payee.notification_url.as_deref(),
            loyalty: order.content.loyalty.as_deref().map(Points::of),
            taxes: order.content.taxes.map(DocumentedTax::of),
        }
    }
}

#[derive(Serialize)]
struct OrderVersion2<'a> {
    external_reference: &'a str,
    total_amount: Box<RawValue>,
    items: Vec<ItemVersion2<'a>>,
    title: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sponsor: Option<Sponsor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    taxes: Option<[TaxVersion2; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    marketplace_fee: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct ItemVersion2<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sku_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    title: &'a str,
    description: &'a str,
    quantity: u32,
    unit_measure: &'static str,
    unit_price: Box<RawValue>,
    total_amount: Box<RawValue>,
}

#[derive(Serialize)]
struct Sponsor {
    id: u64,
}

impl<'a> OrderVersion2<'a> {
    fn of(order: &'a Order) -> OrderVersion2<'a> {
        let item = |item: &'a Item| ItemVersion2 {
            sku_number: item.sku_number.as_ref().map(|sku| sku.as_str()),
            category: item.category.as_ref().map(|category| category.as_str()),
            title: item.title.as_str(),
            description: item.description.as_str(),
            quantity: item.quantity.get(),
            unit_measure: item.unit_measure.unwrap_or(UnitMeasure::Unit).as_str(),
            unit_price: number(item.unit_price),
            total_amount: number(item.total().expect("the items' sum was made of these")),
        };
        let first = order.content.items.first();
        OrderVersion2 {
            external_reference: order.reference.as_str(),
            total_amount: number(order.amount()),
            items: order.content.items.iter().map(item).collect(),
            title: first.title.as_str(),
            description: first.description.as_str(),
            notification_url: order.payee.notification_url.as_deref(),
            sponsor: order.payee.sponsor_id.map(|id| Sponsor { id }),
            taxes: order.content.taxes.map(TaxVersion2::of),
            marketplace_fee: order.content.marketplace_fee.map(|fee| number(fee.amount())),
        }
    }
}

#[cfg(test)]
mod tests;

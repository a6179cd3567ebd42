//! From a query and a body to what a notification tells (`protocol.md` 4.3, 4.4, 4.6). All of it is optional and may be
//! in either place, so only what is needed is read, and the query comes first.

use serde_json::{Map, Value};

use super::NotStored;
use crate::domain::hint::{Thing, Topic};
use crate::net::query::{decoded, pairs};

/// The parameters that mean something here. The first of a repeated one counts, and an empty one is none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) data_id: Option<String>,
    id: Option<String>,
    topic: Option<String>,
    kind: Option<String>,
    /// Ours, from the order's `notification_url`.
    pub(super) reference: Option<String>,
    pub(super) mark: Option<String>,
}

impl Query {
    /// None if one of them is no text.
    pub(super) fn read(text: &str) -> Option<Query> {
        let mut query = Query::default();
        for (name, value) in pairs(text) {
            let place = match decoded(name, true).as_slice() {
                b"data.id" => &mut query.data_id,
                b"id" => &mut query.id,
                b"topic" => &mut query.topic,
                b"type" => &mut query.kind,
                b"r" => &mut query.reference,
                b"t" => &mut query.mark,
                _ => continue,
            };
            let value = String::from_utf8(decoded(value, true)).ok()?;
            if place.is_none() && !value.is_empty() {
                *place = Some(value);
            }
        }
        Some(query)
    }
}

/// What a notification tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) thing: Result<Thing, NotStored>,
    /// The seller, if the body names one.
    pub(super) user_id: Option<String>,
}

const MERCHANT_ORDER_WEBHOOK: &str = "topic_merchant_order_wh";

impl Told {
    /// Fails only if the body is needed and is no JSON object.
    pub(super) fn read(query: &Query, body: &[u8]) -> Result<Told, NotStored> {
        let body = match serde_json::from_slice(body) {
            Ok(Value::Object(body)) => Some(body),
            _ => None,
        };
        let thing = match thing(query, body.as_ref()) {
            Err(NotStored::Unreadable) => return Err(NotStored::Unreadable),
            thing => thing,
        };
        let user_id = body.as_ref().and_then(|body| text(body, "user_id"));
        Ok(Told { thing, user_id })
    }
}

fn thing(query: &Query, body: Option<&Map<String, Value>>) -> Result<Thing, NotStored> {
    let name = match query.topic.clone().or_else(|| query.kind.clone()) {
        Some(name) => name,
        None => {
            let body = body.ok_or(NotStored::Unreadable)?;
            let name = text(body, "type").or_else(|| text(body, "topic"));
            name.ok_or(NotStored::UnknownTopic)?
        }
    };
    let topic = topic(&name).ok_or(NotStored::UnknownTopic)?;
    let id = match query.data_id.clone().or_else(|| query.id.clone()) {
        Some(id) => id,
        None => {
            let body = body.ok_or(NotStored::Unreadable)?;
            id_in(body, &name, topic).ok_or(NotStored::ImpossibleId)?
        }
    };
    Thing::parse(topic, &id).ok_or(NotStored::ImpossibleId)
}

fn topic(name: &str) -> Option<Topic> {
    match name {
        "merchant_order" | MERCHANT_ORDER_WEBHOOK => Some(Topic::MerchantOrder),
        "payment" => Some(Topic::Payment),
        "topic_instore_integration_wh" => Some(Topic::Intent),
        _ => None,
    }
}

/// A webhook's own `id` is that of the notification, but for the one topic that has no `data.id`.
fn id_in(body: &Map<String, Value>, name: &str, topic: Topic) -> Option<String> {
    let in_data = body
        .get("data")
        .and_then(Value::as_object)
        .and_then(|data| text(data, "id"));
    let own = || {
        if name == MERCHANT_ORDER_WEBHOOK {
            text(body, "id")
        } else {
            None
        }
    };
    let in_resource = || match topic {
        Topic::MerchantOrder | Topic::Payment => text(body, "resource").map(|resource| last_digits(&resource)),
        Topic::Intent => None,
    };
    in_data.or_else(own).or_else(in_resource)
}

/// Of an IPN's `resource`: an id, or a URL that ends in one and is never followed.
fn last_digits(resource: &str) -> String {
    let path = resource.split(['?', '#']).next().unwrap_or_default();
    let before = path.trim_end_matches(|c: char| c.is_ascii_digit());
    path[before.len()..].to_owned()
}

/// Ids come as strings and as numbers.
fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    match object.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

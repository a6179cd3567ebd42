//! From a query and a body to what a notification tells (`protocol.md` 4.3, 4.4, 4.6). All of it is optional and may be
//! in either place, so only what is needed is read, and the query comes first.

use serde::Deserialize;
use serde_json::value::RawValue;

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

/// What a notification is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Thing(Thing),
    /// A seller's link to an application, made or cut.
    Link,
}

/// What a notification tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) subject: Result<Subject, NotStored>,
    /// The seller, if the body names one.
    pub(super) user_id: Option<String>,
}

const LINK_WEBHOOK: &str = "mp-connect";
const MERCHANT_ORDER_WEBHOOK: &str = "topic_merchant_order_wh";

impl Told {
    /// Fails only if the body is needed and is no JSON object.
    pub(super) fn read(query: &Query, body: &[u8]) -> Result<Told, NotStored> {
        let body = std::str::from_utf8(body).ok().and_then(Object::read);
        let subject = match subject(query, body.as_ref()) {
            Err(NotStored::Unreadable) => return Err(NotStored::Unreadable),
            subject => subject,
        };
        let user_id = body.as_ref().and_then(|body| text(body.user_id));
        Ok(Told { subject, user_id })
    }
}

/// The fields that mean something here, as they are written. All else is passed over and not copied: a body may be large,
/// anybody can send it, and the thread that reads it answers polls.
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    topic: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Object<'_> {
    fn read(json: &str) -> Option<Object<'_>> {
        // serde would take an array for one as well.
        let is_object = json.trim_ascii_start().starts_with('{');
        is_object.then(|| serde_json::from_str(json).ok())?
    }
}

fn subject(query: &Query, body: Option<&Object<'_>>) -> Result<Subject, NotStored> {
    let name = match query.topic.clone().or_else(|| query.kind.clone()) {
        Some(name) => name,
        None => {
            let body = body.ok_or(NotStored::Unreadable)?;
            let name = text(body.kind).or_else(|| text(body.topic));
            name.ok_or(NotStored::UnknownTopic)?
        }
    };
    if name == LINK_WEBHOOK {
        return Ok(Subject::Link);
    }
    let topic = topic(&name).ok_or(NotStored::UnknownTopic)?;
    let id = match query.data_id.clone().or_else(|| query.id.clone()) {
        Some(id) => id,
        None => {
            let body = body.ok_or(NotStored::Unreadable)?;
            id_in(body, &name, topic).ok_or(NotStored::ImpossibleId)?
        }
    };
    Thing::parse(topic, &id)
        .map(Subject::Thing)
        .ok_or(NotStored::ImpossibleId)
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
fn id_in(body: &Object<'_>, name: &str, topic: Topic) -> Option<String> {
    let data = body.data.and_then(|data| Object::read(data.get()));
    let in_data = data.and_then(|data| text(data.id));
    let own = || {
        if name == MERCHANT_ORDER_WEBHOOK {
            text(body.id)
        } else {
            None
        }
    };
    let in_resource = || match topic {
        Topic::MerchantOrder | Topic::Payment => text(body.resource).map(|resource| last_digits(&resource)),
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
fn text(written: Option<&RawValue>) -> Option<String> {
    let written = written?.get();
    match written.as_bytes() {
        [b'"', ..] => serde_json::from_str(written)
            .ok()
            .filter(|text: &String| !text.is_empty()),
        [b'-' | b'0'..=b'9', ..] => Some(written.to_owned()),
        _ => None,
    }
}

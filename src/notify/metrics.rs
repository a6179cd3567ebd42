//! What is counted of notifications.

use metrics::{Counter, counter, describe_counter};

use super::NotStored;
use crate::domain::hint::{Hint, Signature, Topic};

pub(super) struct Metrics {
    told: [[Counter; Signature::ALL.len()]; Topic::ALL.len()],
    of_links: [Counter; Signature::ALL.len()],
    not_stored: [Counter; NotStored::ALL.len()],
    /// Of another seller than the account's.
    pub(super) foreign: Counter,
}

pub fn describe() {
    describe_counter!(
        "surtidor_notifications_total",
        "Notifications of what we can look up, by topic and by what their signature is worth."
    );
    describe_counter!(
        "surtidor_notifications_not_stored_total",
        "Notifications of which nothing was stored, by reason."
    );
    describe_counter!(
        "surtidor_notifications_foreign_total",
        "Notifications whose user_id is not the account's collector."
    );
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let told = |topic: &'static str, signature: Signature| counter!("surtidor_notifications_total", "topic" => topic, "signature" => signature.as_str());
        Metrics {
            told: Topic::ALL.map(|topic| Signature::ALL.map(|signature| told(topic.as_str(), signature))),
            of_links: Signature::ALL.map(|signature| told("link", signature)),
            not_stored: NotStored::ALL
                .map(|why| counter!("surtidor_notifications_not_stored_total", "reason" => why.as_str())),
            foreign: counter!("surtidor_notifications_foreign_total"),
        }
    }

    pub(super) fn told(&self, hint: &Hint) {
        self.told[hint.thing.topic() as usize][hint.signature as usize].increment(1);
    }

    pub(super) fn told_of_link(&self, signature: Signature) {
        self.of_links[signature as usize].increment(1);
    }

    pub(super) fn not_stored(&self, why: NotStored) {
        self.not_stored[why as usize].increment(1);
    }
}

//! What happened: events for whoever follows, counts of calls and notifications, and what was wrong with what we were sent.

use std::collections::{BTreeMap, VecDeque};

use super::json::{Json, object};
use super::time;
use crate::limits;

/// Something that happened, for the pages and tests that follow it.
#[derive(Debug, Clone)]
pub struct Event {
    pub seq: u64,
    pub at: i64,
    pub kind: &'static str,
    pub facts: Json,
}

/// How notifications went, each delivery for itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notified {
    /// Answered 200 or 201.
    pub delivered: u64,
    /// Attempts answered otherwise, or not in time.
    pub failed: u64,
    /// Never sent, on purpose.
    pub lost: u64,
    /// Given up after the last repeat.
    pub given_up: u64,
    /// Never sent, since too many were waiting.
    pub dropped: u64,
    /// Made up, and sent.
    pub forged: u64,
    /// Not yet delivered nor given up.
    pub waiting: u64,
}

#[derive(Debug, Default)]
pub struct Journal {
    events: VecDeque<Event>,
    seq: u64,
    pub calls: BTreeMap<&'static str, u64>,
    pub notified: Notified,
    violations: VecDeque<String>,
    pub violations_in_all: u64,
}

impl Journal {
    pub fn tell(&mut self, at: i64, kind: &'static str, facts: Json) -> u64 {
        self.seq += 1;
        if self.events.len() == limits::SANDBOX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event {
            seq: self.seq,
            at,
            kind,
            facts,
        });
        self.seq
    }

    pub fn violate(&mut self, text: String) {
        self.violations_in_all += 1;
        if self.violations.len() == limits::SANDBOX_VIOLATIONS {
            self.violations.pop_front();
        }
        self.violations.push_back(text);
    }

    /// The newest.
    pub fn violations(&self) -> Vec<String> {
        self.violations.iter().cloned().collect()
    }

    /// At most `max` of those after `after`; what is forgotten is left out.
    pub fn after(&self, after: u64, max: usize) -> Vec<Event> {
        self.events
            .iter()
            .filter(|event| event.seq > after)
            .take(max)
            .cloned()
            .collect()
    }
}

/// The beginning of a body, as an event shows it.
pub fn quote(body: &[u8]) -> Json {
    let text = String::from_utf8_lossy(body);
    text[..text.floor_char_boundary(limits::SANDBOX_QUOTE)].into()
}

impl Event {
    pub fn json(&self) -> Json {
        object([
            ("seq", self.seq.into()),
            ("at", time::write(self.at).into()),
            ("kind", self.kind.into()),
            ("facts", self.facts.clone()),
        ])
    }
}

impl Notified {
    pub fn json(&self) -> Json {
        object([
            ("delivered", self.delivered.into()),
            ("failed", self.failed.into()),
            ("lost", self.lost.into()),
            ("given_up", self.given_up.into()),
            ("dropped", self.dropped.into()),
            ("forged", self.forged.into()),
            ("waiting", self.waiting.into()),
        ])
    }
}

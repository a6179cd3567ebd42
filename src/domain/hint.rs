//! What a notification says: that something may have happened at Mercado Pago. It makes us look, and proves nothing.

use std::fmt;
use std::num::NonZeroU64;

use super::id::{AccountId, IntentId, Reference};
use crate::limits;

/// A notification that named something we can ask the API for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    pub account: AccountId,
    pub thing: Thing,
    /// The order for which we gave out the URL that it came by. Only if our own seal says so.
    pub reference: Option<Reference>,
    pub signature: Signature,
}

impl Hint {
    /// Whether whoever sent it knew a secret: a reason to look sooner, and no reason to believe it.
    pub fn is_trusted(&self) -> bool {
        self.reference.is_some() || self.signature == Signature::Valid
    }

    /// Whether looking because of this one is also looking because of the other, and no later.
    pub fn covers(&self, other: &Hint) -> bool {
        let same_reference = |wanted: &Reference| self.reference.as_ref().is_some_and(|own| own.same(wanted));
        self.account == other.account
            && self.thing == other.thing
            && other.reference.as_ref().is_none_or(same_reference)
            && (self.is_trusted() || !other.is_trusted())
    }
}

/// The kinds of things that are told of and matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    MerchantOrder,
    Payment,
    Intent,
}

impl Topic {
    pub const ALL: [Topic; 3] = [Topic::MerchantOrder, Topic::Payment, Topic::Intent];

    /// As we name it in the log and in metrics. Mercado Pago has several names for each.
    pub fn as_str(self) -> &'static str {
        match self {
            Topic::MerchantOrder => "merchant_order",
            Topic::Payment => "payment",
            Topic::Intent => "intent",
        }
    }

    pub fn parse(text: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.as_str() == text)
    }
}

/// One thing at Mercado Pago, under the only kind of id that its topic has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Thing {
    MerchantOrder(NonZeroU64),
    Payment(NonZeroU64),
    Intent(IntentId),
}

impl Thing {
    /// None if no such thing can have this id.
    pub fn parse(topic: Topic, id: &str) -> Option<Thing> {
        match topic {
            Topic::MerchantOrder => number(id).map(Thing::MerchantOrder),
            Topic::Payment => number(id).map(Thing::Payment),
            Topic::Intent => IntentId::parse(id).ok().map(Thing::Intent),
        }
    }

    pub fn topic(&self) -> Topic {
        match self {
            Thing::MerchantOrder(_) => Topic::MerchantOrder,
            Thing::Payment(_) => Topic::Payment,
            Thing::Intent(_) => Topic::Intent,
        }
    }

    pub fn id(&self) -> String {
        match self {
            Thing::MerchantOrder(id) | Thing::Payment(id) => id.to_string(),
            Thing::Intent(id) => id.to_string(),
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.topic().as_str(), self.id())
    }
}

fn number(id: &str) -> Option<NonZeroU64> {
    let fits = (1..=limits::THING_DIGITS).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit());
    if fits { id.parse().ok() } else { None }
}

/// What the signature of a notification was worth. It is recorded, and decides nothing (`protocol.md` 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    Valid,
    Invalid,
    Absent,
}

impl Signature {
    pub const ALL: [Signature; 3] = [Signature::Valid, Signature::Invalid, Signature::Absent];

    pub fn as_str(self) -> &'static str {
        match self {
            Signature::Valid => "valid",
            Signature::Invalid => "invalid",
            Signature::Absent => "absent",
        }
    }

    pub fn parse(text: &str) -> Option<Signature> {
        Signature::ALL.into_iter().find(|signature| signature.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_can_be_are_taken() {
        for topic in [Topic::MerchantOrder, Topic::Payment] {
            for good in ["1", "23603350837", "9999999999999999999"] {
                let thing = Thing::parse(topic, good).expect(good);
                assert_eq!((thing.topic(), thing.id().as_str()), (topic, good));
            }
            assert_eq!(Thing::parse(topic, "007"), Thing::parse(topic, "7"));
            for bad in [
                "",
                "0",
                "000",
                "-1",
                "+1",
                "1.0",
                "1e3",
                " 1",
                "١",
                "abc",
                "10000000000000000000",
            ] {
                assert_eq!(Thing::parse(topic, bad), None, "{bad}");
            }
        }
        for good in ["7c1d2e3f-1a2b-4c5d-8e9f-0a1b2c3d4e5f", "1", &"a".repeat(64)] {
            assert!(Thing::parse(Topic::Intent, good).is_some(), "{good}");
        }
        for bad in ["", "a/b", "..", "a b", "á", "a_b", "a%2Fb", &"a".repeat(65)] {
            assert_eq!(Thing::parse(Topic::Intent, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_hint_covers_what_says_no_more_than_it() {
        let hint = |reference: Option<&str>, signature| Hint {
            account: AccountId::parse("main").expect("a name"),
            thing: Thing::parse(Topic::Payment, "1").expect("an id"),
            reference: reference.map(|text| Reference::parse(text).expect("a reference")),
            signature,
        };
        let plain = || hint(None, Signature::Invalid);
        let signed = || hint(None, Signature::Valid);
        let sealed = || hint(Some("T-1"), Signature::Absent);
        for (waiting, new, covered) in [
            (plain(), plain(), true),
            (plain(), hint(None, Signature::Absent), true),
            (plain(), signed(), false),
            (plain(), sealed(), false),
            (signed(), plain(), true),
            (signed(), sealed(), false),
            (sealed(), plain(), true),
            (sealed(), signed(), true),
            (sealed(), hint(Some("t-1"), Signature::Valid), true),
            (sealed(), hint(Some("T-2"), Signature::Absent), false),
        ] {
            assert_eq!(waiting.covers(&new), covered, "{waiting:?} {new:?}");
        }
        let mut other = plain();
        other.thing = Thing::parse(Topic::MerchantOrder, "1").expect("an id");
        assert!(!plain().covers(&other));
        let mut other = plain();
        other.account = AccountId::parse("other").expect("a name");
        assert!(!plain().covers(&other));
    }
}

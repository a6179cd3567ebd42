//! What polls read, without a lock and without waiting: from a query string to a reply rendered ahead.
//!
//! POS lie in shards, each one piece of memory that is never written to but for when a POS was seen: whatever changes, a
//! copy with the change takes the shard's place. So a poll finds its answer with two cache misses, that of the shard's
//! pointer and that of the POS. Nothing here decides anything: what a POS answers is put here by who applies its entries.

mod doorbell;
mod key;
mod reply;
mod secret;
mod slot;

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use arc_swap::ArcSwapAny;
use triomphe::ThinArc;

use crate::domain::id::PosId;
use crate::domain::pos::{PollKey, Waiting};

pub use doorbell::{Clock, Doorbell, Ring, doorbell};
#[cfg(any(test, fuzzing))]
pub use key::fuzz;
pub use key::{BadNames, Names};
pub use reply::{Answer, Outcome, Reply};
pub use secret::UrlSecrets;
pub use slot::Slot;

/// A megabyte of pointers. Of a hundred thousand POS most have a shard of their own, and of a million eight share one. When a
/// table goes, whoever may still read each of them is looked for, which in a debug build takes longer than most tests do.
const SHARDS: usize = if cfg!(debug_assertions) { 1 << 10 } else { 1 << 17 };

/// The POS of a shard, in one piece.
type Slots = ThinArc<(), Slot>;

pub struct Table {
    names: Names,
    secrets: UrlSecrets,
    shards: Box<[ArcSwapAny<Option<Slots>>]>,
    /// Seeded, since keys come from outside.
    hasher: foldhash::fast::RandomState,
    doorbell: Doorbell,
}

impl Table {
    pub fn new(names: Names, secrets: UrlSecrets, doorbell: Doorbell) -> Table {
        let shards = (0..SHARDS).map(|_| ArcSwapAny::new(None)).collect();
        Table {
            names,
            secrets,
            shards,
            hasher: foldhash::fast::RandomState::default(),
            doorbell,
        }
    }

    pub fn clock(&self) -> &Clock {
        self.doorbell.clock()
    }

    pub fn secrets(&self) -> &UrlSecrets {
        &self.secrets
    }

    /// The answer to a poll. It never waits; at most it rings.
    #[inline]
    pub fn answer(&self, query: &str) -> Answer {
        let mut buffer = key::Buffer::new();
        let Some(asked) = self.names.read(query.as_bytes(), !self.secrets.is_empty(), &mut buffer) else {
            return Answer::invalid();
        };
        let slots = self.shards[self.shard_of(asked.key)].load();
        match slots_of(&slots).iter().find(|slot| slot.is_at(asked.key)) {
            Some(slot) if slot.admits(&asked) => self.answer_of(slot),
            _ => Answer::invalid(),
        }
    }

    #[inline]
    fn answer_of(&self, slot: &Slot) -> Answer {
        let reply = &slot.reply;
        let Some(offer) = reply.offer() else {
            self.doorbell.seen(slot, true);
            return reply.answer();
        };
        // Even if nobody takes the order away in time, it is not offered beyond its end, nor beyond its lease.
        let now = Instant::now();
        let over = if now >= offer.until {
            Waiting::Unavailable
        } else if offer.lapse.is_past(now) {
            Waiting::Timeout
        } else {
            self.doorbell.seen(slot, false);
            self.doorbell.shown(slot, offer);
            return reply.answer();
        };
        self.doorbell.seen(slot, true);
        Reply::plain(over, reply.dialect()).answer()
    }

    /// What polls with this key are answered.
    pub fn reply(&self, key: &PollKey) -> Option<Arc<Reply>> {
        let slots = self.shards[self.shard_of(key.joined().as_bytes())].load();
        let slot = slots_of(&slots).iter().find(|slot| slot.key() == key);
        slot.map(|slot| slot.reply.clone())
    }

    /// Every poll that begins after this sees it. Nothing, if no POS has the key.
    pub fn set_reply(&self, key: &PollKey, reply: &Arc<Reply>) {
        self.change(self.shard_of(key.joined().as_bytes()), |mut slots| {
            if let Some(slot) = slots.iter_mut().find(|slot| slot.key() == key) {
                slot.reply = reply.clone();
            }
            slots
        });
    }

    /// Takes the place of a slot with the same key.
    pub fn insert(&self, slot: Slot) {
        self.insert_all(vec![slot]);
    }

    /// Many at once, as at start: each shard is copied once.
    pub fn insert_all(&self, mut slots: Vec<Slot>) {
        slots.sort_by_cached_key(|slot| self.shard_of(slot.key().joined().as_bytes()));
        let shard_of = |slot: &Slot| self.shard_of(slot.key().joined().as_bytes());
        for new in slots.chunk_by(|one, other| shard_of(one) == shard_of(other)) {
            self.change(shard_of(&new[0]), |mut slots| {
                slots.retain(|slot| new.iter().all(|new| new.key() != slot.key()));
                slots.extend_from_slice(new);
                slots
            });
        }
    }

    /// Only if the key is this POS's.
    pub fn remove(&self, key: &PollKey, pos: &PosId) {
        self.change(self.shard_of(key.joined().as_bytes()), |mut slots| {
            slots.retain(|slot| slot.key() != key || slot.pos() != pos);
            slots
        });
    }

    fn change(&self, shard: usize, change: impl Fn(Vec<Slot>) -> Vec<Slot>) {
        let shard = &self.shards[shard];
        let before = shard.rcu(|old| {
            let new = change(slots_of(old).to_vec());
            (!new.is_empty()).then(|| Slots::from_header_and_iter((), new.into_iter()))
        });
        // A poll may have seen one of them while it was copied, and what it rang for must not ring again.
        let after = shard.load();
        for old in slots_of(&before) {
            let same = |new: &&Slot| new.key() == old.key() && new.pos() == old.pos();
            if let Some(new) = slots_of(&after).iter().find(same) {
                new.seen.fetch_max(old.seen.load(Relaxed), Relaxed);
            }
        }
    }

    #[inline]
    fn shard_of(&self, key: &[u8]) -> usize {
        self.hasher.hash_one(key) as usize % SHARDS
    }
}

#[inline]
fn slots_of(slots: &Option<Slots>) -> &[Slot] {
    slots.as_ref().map_or(&[], |slots| &slots.slice)
}

#[cfg(test)]
mod tests;

//! What polls read, without a lock and without waiting: from a query string to a reply rendered ahead.
//!
//! The index changes only when a POS is registered or removed; all else that happens to a POS swaps the one pointer in
//! its slot. Nothing here decides anything: what a POS answers is put here by who applies its entries.

mod doorbell;
mod key;
mod reply;
mod secret;
mod slot;

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use hashbrown::HashTable;

use crate::domain::pos::Waiting;

pub use doorbell::{Clock, Doorbell, Ring, doorbell};
#[cfg(any(test, fuzzing))]
pub use key::fuzz;
pub use key::{BadNames, Key, Names};
pub use reply::{Answer, Outcome, Reply};
pub use secret::UrlSecrets;
pub use slot::Slot;

/// A power of two, so that a few bits of the hash pick one. Registering copies one shard: 8 KiB of a million POS.
const SHARDS: usize = 1024;

type Shard = ArcSwap<HashTable<Arc<Slot>>>;

pub struct Table {
    names: Names,
    secrets: UrlSecrets,
    shards: Box<[Shard]>,
    /// Seeded, since keys come from outside.
    hasher: foldhash::fast::RandomState,
    doorbell: Doorbell,
}

impl Table {
    pub fn new(names: Names, secrets: UrlSecrets, doorbell: Doorbell) -> Table {
        let shards = (0..SHARDS).map(|_| Shard::from_pointee(HashTable::new())).collect();
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
        let (hash, shard) = self.place(asked.key);
        let shard = shard.load();
        match shard.find(hash, |slot| slot.key().bytes() == asked.key) {
            Some(slot) if slot.admits(&asked) => self.answer_of(slot),
            _ => Answer::invalid(),
        }
    }

    #[inline]
    fn answer_of(&self, slot: &Slot) -> Answer {
        let reply = slot.reply();
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

    pub fn get(&self, key: &Key) -> Option<Arc<Slot>> {
        let (hash, shard) = self.place(key.bytes());
        shard.load().find(hash, |slot| slot.key() == key).cloned()
    }

    /// Takes the place of a slot with the same key.
    pub fn insert(&self, slot: Arc<Slot>) {
        let (hash, shard) = self.place(slot.key().bytes());
        shard.rcu(|old| self.with(old, [(hash, slot.clone())]));
    }

    /// Many at once, as at start: each shard is copied once.
    pub fn insert_all(&self, slots: impl IntoIterator<Item = Arc<Slot>>) {
        let mut by_shard: Vec<Vec<(u64, Arc<Slot>)>> = vec![Vec::new(); SHARDS];
        for slot in slots {
            let hash = self.hash(slot.key().bytes());
            by_shard[shard_of(hash)].push((hash, slot));
        }
        for (shard, slots) in self.shards.iter().zip(by_shard) {
            shard.rcu(|old| self.with(old, slots.iter().cloned()));
        }
    }

    pub fn remove(&self, key: &Key) {
        let (hash, shard) = self.place(key.bytes());
        shard.rcu(|old| {
            let mut new = HashTable::clone(old);
            if let Ok(found) = new.find_entry(hash, |slot| slot.key() == key) {
                found.remove();
            }
            new
        });
    }

    fn with(
        &self,
        old: &HashTable<Arc<Slot>>,
        slots: impl IntoIterator<Item = (u64, Arc<Slot>)>,
    ) -> HashTable<Arc<Slot>> {
        let mut new = old.clone();
        let rehash = |slot: &Arc<Slot>| self.hash(slot.key().bytes());
        for (hash, slot) in slots {
            new.entry(hash, |other| other.key() == slot.key(), rehash).insert(slot);
        }
        new
    }

    #[inline]
    fn place(&self, key: &[u8]) -> (u64, &Shard) {
        let hash = self.hash(key);
        (hash, &self.shards[shard_of(hash)])
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }
}

/// Bits from the middle: within a shard, hashbrown uses the lowest ones and the seven highest.
#[inline]
fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

const _: () = assert!(SHARDS.is_power_of_two() && SHARDS <= 1 << (64 - 7 - 40));

#[cfg(test)]
mod tests;

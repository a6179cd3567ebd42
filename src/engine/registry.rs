//! The registered POS, each as its newest entry left it.

use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;

use super::Record;
use crate::domain::id::PosId;

/// So many that none holds its readers up for long when it grows.
const SHARDS: usize = 256;

/// A map would keep each name twice: here a record is found by the name that it has.
pub(super) struct Registry {
    shards: Box<[RwLock<HashTable<Arc<Record>>>]>,
    hasher: foldhash::fast::RandomState,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }
}

impl Registry {
    pub(super) fn get(&self, id: &PosId) -> Option<Arc<Record>> {
        let (hash, shard) = self.place(id);
        read(shard).find(hash, |record| record.pos.id == *id).cloned()
    }

    /// Takes the place of what the POS was.
    pub(super) fn insert(&self, record: Arc<Record>) {
        let (hash, shard) = self.place(&record.pos.id);
        let rehash = |record: &Arc<Record>| self.hasher.hash_one(&record.pos.id);
        write(shard)
            .entry(hash, |other| other.pos.id == record.pos.id, rehash)
            .insert(record);
    }

    pub(super) fn remove(&self, id: &PosId) {
        let (hash, shard) = self.place(id);
        if let Ok(found) = write(shard).find_entry(hash, |record| record.pos.id == *id) {
            found.remove();
        }
    }

    /// In no order.
    pub(super) fn each(&self, mut each: impl FnMut(&Record)) {
        for shard in &self.shards {
            read(shard).iter().for_each(|record| each(record));
        }
    }

    /// Bits from the middle: within a shard, hashbrown uses the lowest ones and the seven highest.
    fn place(&self, id: &PosId) -> (u64, &RwLock<HashTable<Arc<Record>>>) {
        let hash = self.hasher.hash_one(id);
        (hash, &self.shards[(hash >> 40) as usize % SHARDS])
    }
}

// Nothing in here panics half-way.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

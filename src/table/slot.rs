//! One POS as polls see it: one atomic pointer to its reply.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};

use super::key::{Asked, Key, decoded};
use super::reply::Reply;
use crate::domain::id::PosId;
use crate::seal::Mark;

pub struct Slot {
    key: Key,
    pos: PosId,
    /// One of these must be in the query; none is asked for if there are none.
    tags: Box<[Mark]>,
    reply: ArcSwap<Reply>,
    /// When it was polled last, by the doorbell's clock.
    pub(super) seen: AtomicU32,
}

impl Slot {
    pub fn new(key: Key, pos: PosId, tags: Box<[Mark]>, reply: Arc<Reply>) -> Slot {
        Slot {
            key,
            pos,
            tags,
            reply: ArcSwap::new(reply),
            seen: AtomicU32::new(0),
        }
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    pub fn pos(&self) -> &PosId {
        &self.pos
    }

    /// Every poll that begins after this sees it.
    pub fn set(&self, reply: Arc<Reply>) {
        self.reply.store(reply);
    }

    /// The lease that the order needs lapses then, and no sooner.
    pub fn renew(&self, lapse: Instant) {
        if let Some(offer) = self.reply.load().offer() {
            offer.lapse.renew(lapse);
        }
    }

    /// The next poll that sees the order rings once more.
    pub fn ring_again(&self) {
        if let Some(offer) = self.reply.load().offer() {
            offer.shown.store(false, Relaxed);
        }
    }

    #[inline]
    pub(super) fn reply(&self) -> Guard<Arc<Reply>> {
        self.reply.load()
    }

    #[inline]
    pub(super) fn admits(&self, asked: &Asked<'_>) -> bool {
        self.tags.is_empty()
            || asked
                .secret
                .is_some_and(|given| self.tags.iter().any(|tag| tag.matches(decoded(given))))
    }
}

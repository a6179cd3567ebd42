//! One POS as polls see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use triomphe::ThinArc;

use super::key::{Asked, decoded};
use super::reply::Reply;
use crate::domain::id::PosId;
use crate::domain::pos::PollKey;
use crate::seal::Mark;

/// All that a poll needs lies side by side; what is rarely asked for is behind one pointer.
pub struct Slot {
    key: PollKey,
    pos: PosId,
    /// One of these must be in the query; none is asked for if there are none.
    tags: Option<ThinArc<(), Mark>>,
    pub(super) reply: Arc<Reply>,
    /// When it was polled last, by the doorbell's clock.
    pub(super) seen: AtomicU32,
}

impl Slot {
    pub fn new(key: PollKey, pos: PosId, tags: &[Mark], reply: Arc<Reply>) -> Slot {
        Slot {
            key,
            pos,
            tags: (!tags.is_empty()).then(|| ThinArc::from_header_and_slice((), tags)),
            reply,
            seen: AtomicU32::new(0),
        }
    }

    pub(super) fn key(&self) -> &PollKey {
        &self.key
    }

    pub(super) fn pos(&self) -> &PosId {
        &self.pos
    }

    #[inline]
    pub(super) fn is_at(&self, key: &[u8]) -> bool {
        self.key.joined().as_bytes() == key
    }

    #[inline]
    pub(super) fn admits(&self, asked: &Asked<'_>) -> bool {
        let Some(tags) = &self.tags else { return true };
        asked
            .secret
            .is_some_and(|given| tags.slice.iter().any(|tag| tag.matches(decoded(given))))
    }
}

impl Clone for Slot {
    fn clone(&self) -> Slot {
        Slot {
            key: self.key.clone(),
            pos: self.pos.clone(),
            tags: self.tags.clone(),
            reply: self.reply.clone(),
            seen: AtomicU32::new(self.seen.load(Relaxed)),
        }
    }
}

// A million POS have a slot each.
const _: () = assert!(size_of::<Slot>() <= 72);

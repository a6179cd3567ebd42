//! What a poll tells the engine: that an order was shown, that someone stands at a machine. It rings and never waits.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use tokio::sync::mpsc;

use super::reply::Offer;
use super::slot::Slot;
use crate::domain::id::{PosId, Reference};
use crate::limits;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ring {
    /// The first 200 of an order.
    Shown { pos: PosId, reference: Reference },
    /// The first poll of a visit that found no order.
    Scanned { pos: PosId },
}

pub struct Doorbell {
    rings: mpsc::Sender<Ring>,
    clock: Clock,
}

pub fn doorbell() -> (Doorbell, mpsc::Receiver<Ring>) {
    let (rings, heard) = mpsc::channel(limits::RINGS);
    (
        Doorbell {
            rings,
            clock: Clock::new(),
        },
        heard,
    )
}

impl Doorbell {
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Rings at most once an order. If the bell is full, the next poll rings.
    #[inline]
    pub(super) fn shown(&self, slot: &Slot, offer: &Offer) {
        if !offer.shown.load(Relaxed) {
            self.ring_shown(slot, offer);
        }
    }

    #[cold]
    fn ring_shown(&self, slot: &Slot, offer: &Offer) {
        let ring = Ring::Shown {
            pos: slot.pos().clone(),
            reference: offer.reference.clone(),
        };
        if !offer.shown.swap(true, Relaxed) && self.rings.try_send(ring).is_err() {
            offer.shown.store(false, Relaxed);
        }
    }

    /// Keeps when the slot was polled; with `announce`, rings if a visit begins.
    #[inline]
    pub(super) fn seen(&self, slot: &Slot, announce: bool) {
        let now = self.clock.seconds();
        // Most polls of a visit come within one second of the clock and write nothing.
        if slot.seen.load(Relaxed) != now {
            self.see(slot, now, announce);
        }
    }

    fn see(&self, slot: &Slot, now: u32, announce: bool) {
        // Of several threads only one sees the old value.
        let before = slot.seen.swap(now, Relaxed);
        let begins = now.saturating_sub(before) >= limits::VISIT_GAP.as_secs() as u32;
        if announce
            && begins
            && self
                .rings
                .try_send(Ring::Scanned {
                    pos: slot.pos().clone(),
                })
                .is_err()
        {
            slot.seen.store(before, Relaxed);
        }
    }
}

/// A clock that costs a poll one load: whole seconds, moved on by the poll threads.
pub struct Clock {
    begun: Instant,
    seconds: AtomicU32,
}

/// The clock begins here, so that a slot never polled (0) was polled long ago.
const FIRST: u32 = limits::VISIT_GAP.as_secs() as u32 + 1;

impl Clock {
    fn new() -> Clock {
        Clock {
            begun: Instant::now(),
            seconds: AtomicU32::new(FIRST),
        }
    }

    pub fn tick(&self) {
        self.set(self.begun.elapsed().as_secs());
    }

    pub(super) fn set(&self, elapsed_seconds: u64) {
        let seconds = u32::try_from(elapsed_seconds).unwrap_or(u32::MAX).saturating_add(FIRST);
        self.seconds.fetch_max(seconds, Relaxed);
    }

    #[inline]
    fn seconds(&self) -> u32 {
        self.seconds.load(Relaxed)
    }
}

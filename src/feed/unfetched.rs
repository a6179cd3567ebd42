//! Orders that were paid since the start and of which no follower of the feed was told yet.
//!
//! Told is: written to the connection of a follower of that point of sale among others, or of one that resumes after the
//! event. That a controller has understood it only its delivery report says, and that settles it too. Where a follower
//! begins "from now on", it has not been told of what came before. Over a restart nobody knows who had heard what, so this
//! begins anew; a product that nobody speaks of is watched by the tracker, which does not.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::access::Scope;
use crate::domain::command::Event;
use crate::domain::id::{PosId, Reference, Timestamp};
use crate::limits;
use crate::log::Happening;

#[derive(Debug, Default)]
pub(super) struct Unfetched {
    /// By the number of the event that tells of it, so oldest first.
    paid: Mutex<BTreeMap<u64, Paid>>,
    /// How many they are: mostly none, and then nobody takes the lock.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Paid {
    pos: PosId,
    reference: Reference,
    at: Timestamp,
}

impl Unfetched {
    /// Before any follower is told.
    pub(super) fn follow(&self, entry: &Happening) {
        for (seq, event) in (entry.seq * limits::EVENTS_PER_ENTRY..).zip(&entry.events) {
            match event {
                Event::OrderPaid { facts, .. } => self.change(|paid| {
                    if paid.len() >= limits::UNFETCHED {
                        paid.pop_first();
                    }
                    let (pos, reference, at) = (entry.pos.clone(), facts.reference.clone(), entry.at);
                    paid.insert(seq, Paid { pos, reference, at });
                }),
                Event::DeliveryReported { facts, .. } if self.is_any() => {
                    self.change(|paid| paid.retain(|_, paid| !paid.reference.same(&facts.reference)));
                }
                _ => {}
            }
        }
    }

    /// A follower of these POS was told these events, or has them from before.
    pub(super) fn told(&self, scope: &Scope, events: RangeInclusive<u64>) {
        if !self.is_any() || events.is_empty() {
            return;
        }
        self.change(|paid| {
            let told = paid.range(events).filter(|(_, paid)| scope.has(&paid.pos));
            let told: Vec<u64> = told.map(|(seq, _)| *seq).collect();
            told.iter().for_each(|seq| {
                paid.remove(seq);
            });
        });
    }

    /// How many there are, and for how long the oldest has waited.
    pub(super) fn waiting(&self, now: Timestamp) -> (usize, Duration) {
        if !self.is_any() {
            return (0, Duration::ZERO);
        }
        self.change(|paid| {
            while let Some(first) = paid.first_entry()
                && now.since(first.get().at) > limits::OWED_FOR
            {
                first.remove();
            }
            let oldest = paid.first_key_value().map_or(now, |(_, paid)| paid.at);
            (paid.len(), now.since(oldest))
        })
    }

    fn is_any(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<u64, Paid>) -> T) -> T {
        // Nothing in here panics half-way.
        let mut paid: MutexGuard<'_, _> = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let done = change(&mut paid);
        self.waiting.store(paid.len(), Ordering::Release);
        done
    }
}

//! Notifications that wait to be worked off, trusted ones first. What waits here is on the disk, or on its way there;
//! what was taken is there too, until whoever took it says that it is done.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Denied, Work, answer_of, send};
use crate::clock::Clock;
use crate::domain::hint::{Hint, Thing};
use crate::domain::id::{AccountId, Timestamp};
use crate::limits;
use crate::log::Kept;

/// Why a hint was not kept. Mercado Pago will repeat it, and the search finds what it told of.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    #[error("too many notifications wait")]
    TooMany,
    #[error(transparent)]
    Denied(#[from] Denied),
}

/// The handle of those who bring hints and of those who work them off.
#[derive(Clone)]
pub struct Inbox {
    work: mpsc::Sender<Work>,
    waiting: Arc<Waiting>,
    clock: Clock,
}

/// A hint that is being worked on. Dropped without a word it is worked on again after the next start.
pub struct Taken {
    kept: Kept,
    /// Free again once this is dropped.
    _seat: Seat,
}

impl Taken {
    pub fn hint(&self) -> &Hint {
        &self.kept.hint
    }

    /// When it was kept.
    pub fn at(&self) -> Timestamp {
        self.kept.at
    }
}

impl Inbox {
    pub(super) fn new(work: mpsc::Sender<Work>, waiting: Arc<Waiting>, clock: Clock) -> Inbox {
        Inbox { work, waiting, clock }
    }

    /// Returns once the hint is durable: now, if one that says the same is and still waits. One that is being worked on
    /// may have been looked up already, so it does not count.
    ///
    /// It can be worked off before that: nothing is lost by knowing earlier.
    pub async fn keep(&self, hint: Hint) -> Result<(), NotKept> {
        let metrics = &self.waiting.metrics;
        if self.waiting.covers(&hint) {
            metrics.merged.increment(1);
            return Ok(());
        }
        let Some(seat) = self.waiting.seat(&hint) else {
            metrics.refused.increment(1);
            return Err(NotKept::TooMany);
        };
        let kept = Kept {
            row: self.waiting.last_row.fetch_add(1, Relaxed) + 1,
            hint,
            at: self.clock.now().at,
        };
        let answered = {
            // Whoever works it off finds that the writer has it already: what is forgotten was kept before.
            let mut hints = self.waiting.hints();
            let keep = kept.clone();
            let answered = send(&self.work, |reply| Work::Keep(Keep { kept: keep, reply }))?;
            hints.put(kept, seat, false);
            answered
        };
        self.waiting.arrived.notify_one();
        Ok(answer_of(answered).await?)
    }

    /// Takes out the next one: a trusted one before any other, and else the one that waits longest.
    pub fn next(&self, trusted_only: bool) -> Option<Taken> {
        self.waiting.hints().next(trusted_only)
    }

    /// Returns when a hint has come since the last time, perhaps long before.
    pub async fn waits(&self) {
        self.waiting.arrived.notified().await;
    }

    /// It was worked off, and is forgotten on the disk too.
    pub async fn done(&self, taken: Taken) {
        // A writer that has stopped forgets nothing: it will be worked on again.
        let _ = self.work.send(Work::Forget(taken.kept.row)).await;
    }
}

/// A hint on its way to the disk.
pub(super) struct Keep {
    pub(super) kept: Kept,
    pub(super) reply: oneshot::Sender<Result<(), Denied>>,
}

/// What waits, as the writer and the handles share it.
pub(super) struct Waiting {
    hints: Mutex<Hints>,
    arrived: Notify,
    room: Arc<Room>,
    /// The newest row of all.
    last_row: AtomicU64,
    pub(super) metrics: Metrics,
}

/// What a hint says, as long as it waits.
struct Said {
    row: u64,
    hint: Hint,
    is_durable: bool,
}

#[derive(Default)]
struct Hints {
    trusted: VecDeque<Taken>,
    others: VecDeque<Taken>,
    /// What the hints of both queues say, by what they are about.
    about: HashMap<(AccountId, Thing), Vec<Said>>,
}

impl Hints {
    /// Puts a hint behind those that wait.
    fn put(&mut self, kept: Kept, seat: Seat, is_durable: bool) {
        self.about.entry(about(&kept.hint)).or_default().push(Said {
            row: kept.row,
            hint: kept.hint.clone(),
            is_durable,
        });
        let queue = if kept.hint.is_trusted() {
            &mut self.trusted
        } else {
            &mut self.others
        };
        queue.push_back(Taken { kept, _seat: seat });
    }

    fn next(&mut self, trusted_only: bool) -> Option<Taken> {
        let trusted = self.trusted.pop_front();
        let taken = trusted.or_else(|| if trusted_only { None } else { self.others.pop_front() })?;
        let about = about(taken.hint());
        if let Some(same) = self.about.get_mut(&about) {
            same.retain(|said| said.row != taken.kept.row);
            if same.is_empty() {
                self.about.remove(&about);
            }
        }
        Some(taken)
    }
}

fn about(hint: &Hint) -> (AccountId, Thing) {
    (hint.account.clone(), hint.thing.clone())
}

impl Waiting {
    pub(super) fn new() -> Arc<Waiting> {
        Arc::new(Waiting {
            hints: Mutex::default(),
            arrived: Notify::new(),
            room: Arc::new(Room::new()),
            last_row: AtomicU64::new(0),
            metrics: Metrics::new(),
        })
    }

    /// Held for a few moves in memory only: the poll threads wait for it.
    fn hints(&self) -> MutexGuard<'_, Hints> {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn covers(&self, hint: &Hint) -> bool {
        let hints = self.hints();
        let same = hints.about.get(&about(hint));
        same.is_some_and(|same| same.iter().any(|said| said.is_durable && said.hint.covers(hint)))
    }

    /// The writer has it on the disk.
    pub(super) fn is_durable(&self, kept: &Kept) {
        let mut hints = self.hints();
        let same = hints.about.get_mut(&about(&kept.hint));
        let said = same.and_then(|same| same.iter_mut().find(|said| said.row == kept.row));
        if let Some(said) = said {
            said.is_durable = true;
        }
    }

    /// At start: what is on the disk has its place, whatever the bounds are now.
    pub(super) fn put_back(&self, kept: Kept) {
        self.last_row.fetch_max(kept.row, Relaxed);
        let seat = Seat::new(&self.room, kept.hint.is_trusted());
        self.hints().put(kept, seat, true);
        self.arrived.notify_one();
    }

    /// None if there is none left. Hints that anybody can send leave room for those that only Mercado Pago can.
    fn seat(&self, hint: &Hint) -> Option<Seat> {
        let seat = Seat::new(&self.room, hint.is_trusted());
        let (trusted, others) = (
            self.room.trusted.taken.load(Relaxed),
            self.room.others.taken.load(Relaxed),
        );
        let fits = trusted + others <= limits::INBOX && (seat.trusted || others <= limits::INBOX_UNTRUSTED);
        fits.then_some(seat)
    }
}

/// The seats that are taken.
struct Room {
    trusted: Seats,
    others: Seats,
}

struct Seats {
    taken: AtomicUsize,
    gauge: Gauge,
}

impl Room {
    fn new() -> Room {
        let seats = |trusted: &'static str| Seats {
            taken: AtomicUsize::new(0),
            gauge: gauge!("surtidor_inbox", "trusted" => trusted),
        };
        Room {
            trusted: seats("yes"),
            others: seats("no"),
        }
    }

    fn seats(&self, trusted: bool) -> &Seats {
        if trusted { &self.trusted } else { &self.others }
    }
}

/// A place in the inbox: of a hint that waits, is being written or worked on.
pub(super) struct Seat {
    room: Arc<Room>,
    trusted: bool,
}

impl Seat {
    fn new(room: &Arc<Room>, trusted: bool) -> Seat {
        let seats = room.seats(trusted);
        seats.taken.fetch_add(1, Relaxed);
        seats.gauge.increment(1);
        Seat {
            room: room.clone(),
            trusted,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let seats = self.room.seats(self.trusted);
        seats.taken.fetch_sub(1, Relaxed);
        seats.gauge.decrement(1);
    }
}

pub(super) struct Metrics {
    pub(super) kept: Counter,
    merged: Counter,
    refused: Counter,
    pub(super) forgotten: Counter,
}

pub(super) fn describe() {
    describe_gauge!(
        "surtidor_inbox",
        "Notifications that are not worked off yet, by whether who sent them knew a secret."
    );
    describe_counter!(
        "surtidor_inbox_total",
        "Notifications, by what became of them in the inbox."
    );
}

impl Metrics {
    fn new() -> Metrics {
        let total = |outcome: &'static str| counter!("surtidor_inbox_total", "outcome" => outcome);
        Metrics {
            kept: total("kept"),
            merged: total("merged"),
            refused: total("refused"),
            forgotten: total("forgotten"),
        }
    }
}

#[cfg(test)]
mod tests;

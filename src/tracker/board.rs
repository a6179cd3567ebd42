//! What there is to do, and when: orders to be looked at, by notification or by the schedule; products nobody spoke of.
//!
//! It does nothing itself. Times are given to it, so that a test can give others.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::owed::Owed;
use super::schedule::Times;
use crate::clock::Now;
use crate::domain::command::Event;
use crate::domain::id::{Reference, Timestamp};
use crate::domain::order::{Order, Status};
use crate::engine::Taken;
use crate::limits;
use crate::log::Happening;

/// An order's reference, folded.
pub(super) type Key = Arc<str>;

pub(super) fn key_of(reference: &Reference) -> Key {
    reference.folded().into()
}

#[derive(Default)]
pub(super) struct Board {
    watched: HashMap<Key, Watch>,
    /// Open orders, and those that have ended: somebody may stand before the machine of an open one.
    due: [BTreeSet<(Instant, Key)>; 2],
    /// How many open ones were taken in a row while others were due.
    in_a_row: u8,
    /// There is a reason to look at once, first come first served.
    urgent: VecDeque<Key>,
    /// Orders to be brought to Mercado Pago, or taken off: these need not wait for credit.
    errands: VecDeque<Key>,
    /// Those that failed, and when they are tried again.
    retries: BTreeSet<(Instant, Key)>,
    /// When silence about a product is an alarm.
    overdue: BTreeSet<(Instant, Key)>,
    owed: Owed,
    /// Another one in each process.
    chance: RandomState,
}

#[derive(Default)]
struct Watch {
    /// None: not known to the schedule, or not any more.
    times: Option<Times>,
    asked: Option<Timestamp>,
    due: Option<Instant>,
    overdue: Option<Instant>,
    is_urgent: bool,
    is_busy: bool,
    /// We put it at Mercado Pago ourselves.
    is_posted: bool,
    /// Money of it is to go back, and has not yet.
    gives_back: bool,
    /// Notifications that the next look will answer.
    hints: Vec<Taken>,
    /// What this process knows not to have been done yet.
    untried: Untried,
    errand: Errand,
    failures: u32,
}

/// What there is to do for an order that we put at Mercado Pago ourselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Errand {
    /// It is to be brought there or taken off at once.
    waits: bool,
    /// It is on its way there, or somebody wants it off.
    is_pending: bool,
    /// It has ended and may be there still.
    lingers: bool,
    /// It ended while a job was at it that did not know.
    has_ended: bool,
}

impl Errand {
    fn is_unfinished(self) -> bool {
        self.is_pending || self.lingers
    }
}

/// What is known not to have been asked for: it need not be looked for first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Untried {
    pub(super) refunds: Vec<u32>,
    /// The order itself.
    pub(super) order: bool,
}

impl Untried {
    fn is_nothing(&self) -> bool {
        *self == Untried::default()
    }
}

/// What is to be done about one order now.
pub(super) struct Job {
    pub(super) key: Key,
    pub(super) hints: Vec<Taken>,
    pub(super) untried: Untried,
    /// The order has ended and may be at Mercado Pago still.
    pub(super) lingers: bool,
    /// It does not wait for credit.
    pub(super) is_errand: bool,
}

/// How that ended.
pub(super) enum Ended {
    /// There is no such order: it was trimmed, or it never was.
    NoOrder,
    /// Nothing can be asked about it: the account has no token.
    Mute {
        refunds_wait: bool,
        /// The order was certainly not brought to Mercado Pago.
        unsent: bool,
    },
    Looked {
        order: Arc<Order>,
        /// Mercado Pago does not know something of which it notified us.
        unknown: bool,
        /// It may still be at Mercado Pago, although it has ended.
        lingers: bool,
    },
    /// Nothing could be learnt now.
    Failed {
        /// The order was certainly not brought to Mercado Pago.
        unsent: bool,
    },
}

impl Watch {
    /// How long after a failure it is tried again. Somebody stands before the machine of an open order: it is not left
    /// alone for longer than if all went well.
    fn pause(&self) -> Duration {
        let is_open = self.times.is_some_and(|times| times.ended.is_none());
        let is_mute = self.failures == u32::MAX;
        let pause = pause(self.failures);
        if is_open && !is_mute {
            pause.min(limits::LOOK_WHILE_OPEN)
        } else {
            pause
        }
    }
}

impl Board {
    pub(super) fn watched(&self) -> usize {
        self.watched.len()
    }

    /// Those that wait to be brought to Mercado Pago, or taken off.
    pub(super) fn errands(&self) -> usize {
        self.errands.len()
    }

    /// An order as the log has it, at start.
    pub(super) fn add(&mut self, order: &Order, delivery_seconds: u32, now: Now) {
        let key = key_of(&order.reference);
        let watch = self.watched.entry(key.clone()).or_default();
        watch.times = Some(Times::of(order));
        watch.is_posted = order.posted.is_some();
        watch.gives_back = order.refunds_wait();
        watch.errand.lingers = order.may_linger();
        watch.errand.is_pending = order.is_errand();
        let silent = order.status == Status::Paid && order.delivery.is_none() && order.overdue_at.is_none();
        if let Some(paid) = order.ended_at.filter(|_| silent) {
            self.expect_delivery(&key, paid, delivery_seconds, now);
        }
        if let (Some(paid), Some(_), None) = (order.ended_at, order.overdue_at, &order.delivery) {
            self.owed.paid(&key, paid);
            self.owed.overdue(&key);
        }
        if order.is_errand() {
            self.run_errand(&key);
        } else if order.refunds_wait() {
            self.hurry(&key);
        } else {
            self.plan(&key, now);
            self.spread(&key, now);
        }
    }

    /// Nobody knows when an order was last looked at before the start. If all that are overdue came at once, who stands at
    /// a machine would wait behind every order of the day; and in the same order each time, the last of them would never
    /// come if the server starts often.
    fn spread(&mut self, key: &Key, now: Now) {
        let Some(watch) = self.watched.get_mut(key) else { return };
        let begun = Instant::from_std(now.instant);
        if let (Some(times), Some(due)) = (watch.times, watch.due)
            && due <= begun
        {
            let within = times.spread(now.at).as_millis() as u64;
            let wait = self.chance.hash_one(key) % within;
            self.unplan(key);
            self.due_at(key, begun + Duration::from_millis(wait));
        }
    }

    /// Follows what happens. `delivery_seconds` of the account of a POS is asked for only where it matters.
    pub(super) fn follow(&mut self, entry: &Happening, delivery_seconds: impl Fn() -> u32, now: Now) {
        for event in &entry.events {
            let Some(reference) = event.reference() else { continue };
            let key = key_of(reference);
            let times = |watch: &mut Watch, change: &dyn Fn(&mut Times)| watch.times.iter_mut().for_each(change);
            let watch = self.watched.entry(key.clone()).or_default();
            match event {
                Event::OrderReady(order) => {
                    watch.times = Some(Times::of(order));
                    watch.is_posted = order.posted.is_some();
                    watch.untried.order = watch.is_posted;
                    watch.errand.is_pending = watch.is_posted;
                }
                Event::CancelAsked { .. } => watch.errand.is_pending = true,
                Event::OrderShown(_) => times(watch, &|times| times.shown = Some(entry.at)),
                Event::OrderPaid { .. }
                | Event::OrderCanceled { .. }
                | Event::OrderReplaced(_)
                | Event::OrderExpired(_)
                | Event::OrderRejected { .. } => {
                    times(watch, &|times| times.ended = Some(entry.at));
                    watch.errand.is_pending = false;
                    watch.errand.lingers = watch.is_posted;
                    watch.errand.has_ended = watch.errand.lingers;
                }
                Event::RefundRequested { refunds, .. } => {
                    watch.gives_back = true;
                    watch.untried.refunds.extend(refunds.iter().map(|refund| refund.number));
                }
                _ => {}
            }
            match event {
                Event::OrderPaid { .. } => self.expect_delivery(&key, entry.at, delivery_seconds(), now),
                Event::DeliveryReported { .. } => {
                    self.hear_of_delivery(&key);
                    self.owed.heard(&key);
                }
                Event::DeliveryOverdue(_) => {
                    self.hear_of_delivery(&key);
                    self.owed.overdue(&key);
                }
                Event::RefundRequested { .. } => self.hurry(&key),
                Event::OrderReady(order) if order.posted.is_some() => self.run_errand(&key),
                Event::CancelAsked { .. } => self.run_errand(&key),
                Event::OrderCanceled { .. } | Event::OrderReplaced(_) | Event::OrderExpired(_)
                    if self.is_posted(&key) =>
                {
                    self.run_errand(&key);
                }
                _ => {}
            }
            self.plan(&key, now);
        }
    }

    /// A notification about this order.
    pub(super) fn hint(&mut self, key: &Key, taken: Taken) {
        self.watched.entry(key.clone()).or_default().hints.push(taken);
        self.hurry(key);
    }

    /// The next order that is to be brought to Mercado Pago, or taken off.
    pub(super) fn next_errand(&mut self, now: Instant) -> Option<Job> {
        let key = match self.errands.pop_front() {
            Some(key) => key,
            None => self.retries.first().filter(|(at, _)| *at <= now)?.1.clone(),
        };
        let job = self.begin(key)?;
        Some(Job { is_errand: true, ..job })
    }

    /// The next order to look at, if there is a reason to be quick.
    pub(super) fn next_urgent(&mut self) -> Option<Job> {
        let key = self.urgent.pop_front()?;
        self.begin(key)
    }

    /// The order that has waited longest for its look.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<Job> {
        let is_due =
            |set: &BTreeSet<(Instant, Key)>| set.first().filter(|(at, _)| *at <= now).map(|(_, key)| key.clone());
        let [open, ended] = self.due.each_ref().map(is_due);
        let key = match (open, ended) {
            (Some(open), Some(ended)) => {
                self.in_a_row = (self.in_a_row + 1) % limits::OPEN_BEFORE_ENDED;
                if self.in_a_row == 0 { ended } else { open }
            }
            (open, ended) => open.or(ended)?,
        };
        self.begin(key)
    }

    /// An order whose product nobody has spoken of.
    pub(super) fn next_overdue(&mut self, now: Instant) -> Option<Key> {
        let (at, key) = self.overdue.first()?.clone();
        if at > now {
            return None;
        }
        self.hear_of_delivery(&key);
        self.forget_idle(&key);
        Some(key)
    }

    pub(super) fn has_urgent(&self) -> bool {
        !self.urgent.is_empty()
    }

    pub(super) fn first_due(&self) -> Option<Instant> {
        self.due.iter().filter_map(|set| set.first()).map(|(at, _)| *at).min()
    }

    pub(super) fn first_retry(&self) -> Option<Instant> {
        self.retries.first().map(|(at, _)| *at)
    }

    pub(super) fn first_overdue(&self) -> Option<Instant> {
        self.overdue.first().map(|(at, _)| *at)
    }

    fn begin(&mut self, key: Key) -> Option<Job> {
        self.unplan(&key);
        let watch = self.watched.get_mut(&key)?;
        watch.is_urgent = false;
        watch.is_busy = true;
        watch.errand.waits = false;
        watch.errand.has_ended = false;
        let (hints, untried) = (std::mem::take(&mut watch.hints), std::mem::take(&mut watch.untried));
        let lingers = watch.errand.lingers;
        self.urgent.retain(|urgent| *urgent != key);
        self.errands.retain(|errand| *errand != key);
        Some(Job {
            key,
            hints,
            untried,
            lingers,
            is_errand: false,
        })
    }

    /// A job ended. `hints` are those that are still to be answered.
    pub(super) fn end(&mut self, key: &Key, ended: &Ended, hints: Vec<Taken>, now: Now) {
        let Some(watch) = self.watched.get_mut(key) else { return };
        watch.is_busy = false;
        let newer = !watch.hints.is_empty() || !watch.untried.is_nothing();
        let errand = std::mem::take(&mut watch.errand.waits);
        watch.hints.extend(hints);
        match ended {
            Ended::NoOrder => {
                watch.times = None;
                watch.failures = 0;
            }
            // A token may be configured yet: it is tried now and then, for as long as there would be something to do.
            Ended::Mute { refunds_wait, unsent } => {
                watch.untried.order = *unsent;
                watch.asked = Some(now.at);
                let scheduled = watch.times.and_then(|times| times.next_look(watch.asked));
                watch.failures = if *refunds_wait || scheduled.is_some() {
                    u32::MAX
                } else {
                    0
                };
            }
            Ended::Looked { order, lingers, .. } => {
                watch.times = Some(Times::of(order));
                watch.asked = Some(now.at);
                watch.gives_back = order.refunds_wait() || !watch.untried.refunds.is_empty();
                watch.errand.lingers = *lingers || watch.errand.has_ended;
                watch.errand.is_pending = order.is_errand() && !watch.errand.has_ended;
                let unfinished = !watch.hints.is_empty() || order.refunds_wait() || watch.errand.is_pending;
                watch.failures = if unfinished {
                    watch.failures.saturating_add(1)
                } else {
                    0
                };
            }
            Ended::Failed { unsent } => {
                watch.failures = watch.failures.saturating_add(1);
                watch.untried.order = *unsent;
            }
        }
        if errand {
            self.run_errand(key);
        } else if newer {
            self.hurry(key);
        } else {
            self.plan(key, now);
        }
    }

    fn is_posted(&self, key: &Key) -> bool {
        self.watched.get(key).is_some_and(|watch| watch.is_posted)
    }

    /// To be done at once, or as soon as what is under way has ended.
    fn run_errand(&mut self, key: &Key) {
        self.unplan(key);
        if let Some(watch) = self.watched.get_mut(key)
            && !watch.errand.waits
        {
            watch.errand.waits = true;
            if !watch.is_busy {
                self.errands.push_back(key.clone());
            }
        }
    }

    /// To be looked at as soon as there is a place, or as soon as the look that is under way has ended.
    fn hurry(&mut self, key: &Key) {
        self.unplan(key);
        if let Some(watch) = self.watched.get_mut(key)
            && !watch.is_urgent
            && !watch.is_busy
        {
            watch.is_urgent = true;
            self.urgent.push_back(key.clone());
        }
    }

    fn plan(&mut self, key: &Key, now: Now) {
        self.unplan(key);
        let Some(watch) = self.watched.get_mut(key) else { return };
        if watch.is_busy || watch.is_urgent || watch.errand.waits {
            return;
        }
        let by_schedule = watch.times.and_then(|times| times.next_look(watch.asked));
        let by_schedule = by_schedule.map(|at| Instant::from_std(now.instant_of(at)));
        let now = Instant::from_std(now.instant);
        let again = (watch.failures > 0).then(|| now + watch.pause());
        // The schedule is for looks: what is to be done there does not wait for it, nor do refunds.
        if let Some(again) = again.filter(|_| watch.errand.is_unfinished()) {
            watch.due = Some(again);
            self.retries.insert((again, key.clone()));
            return;
        }
        let due = match (by_schedule, again) {
            // A notification of what is not known yet, or money that is to go back: whichever is sooner.
            (Some(due), Some(again)) if (watch.gives_back || !watch.hints.is_empty()) && due > now => {
                Some(due.min(again))
            }
            // While nothing can be learnt the schedule would only ask more often: a look that failed leaves it where it was.
            (Some(due), Some(again)) => Some(due.max(again)),
            (due, again) => due.or(again),
        };
        if let Some(due) = due {
            self.due_at(key, due);
        }
        self.forget_idle(key);
    }

    fn due_at(&mut self, key: &Key, due: Instant) {
        if let Some(watch) = self.watched.get_mut(key) {
            watch.due = Some(due);
            let is_open = watch.times.is_some_and(|times| times.ended.is_none());
            self.due[usize::from(!is_open)].insert((due, key.clone()));
        }
    }

    fn unplan(&mut self, key: &Key) {
        let due = self.watched.get_mut(key).and_then(|watch| watch.due.take());
        if let Some(due) = due {
            let place = (due, key.clone());
            self.due.iter_mut().for_each(|set| {
                set.remove(&place);
            });
            self.retries.remove(&place);
        }
    }

    fn expect_delivery(&mut self, key: &Key, paid: Timestamp, delivery_seconds: u32, now: Now) {
        self.hear_of_delivery(key);
        if let Some(watch) = self.watched.get_mut(key).filter(|_| delivery_seconds > 0) {
            let at = Instant::from_std(now.instant_of(paid.plus_seconds(u64::from(delivery_seconds))));
            watch.overdue = Some(at);
            self.overdue.insert((at, key.clone()));
            self.owed.paid(key, paid);
        }
    }

    /// How many products nobody has spoken of, and of how many that was told.
    pub(super) fn owed(&mut self, now: Timestamp) -> (usize, usize) {
        self.owed.forget_before(now.minus_seconds(limits::OWED_FOR.as_secs()));
        self.owed.count()
    }

    /// That nobody has spoken of the product could not be told.
    pub(super) fn tell_later(&mut self, key: &Key, at: Instant) {
        self.watched.entry(key.clone()).or_default().overdue = Some(at);
        self.overdue.insert((at, key.clone()));
    }

    fn hear_of_delivery(&mut self, key: &Key) {
        let overdue = self.watched.get_mut(key).and_then(|watch| watch.overdue.take());
        if let Some(at) = overdue {
            self.overdue.remove(&(at, key.clone()));
        }
    }

    /// An order for which nothing is to be done at any time is not kept in mind.
    fn forget_idle(&mut self, key: &Key) {
        let idle = self.watched.get(key).is_some_and(|watch| {
            watch.due.is_none()
                && watch.overdue.is_none()
                && !watch.is_urgent
                && !watch.is_busy
                && !watch.errand.waits
                && watch.hints.is_empty()
        });
        if idle {
            self.watched.remove(key);
        }
    }
}

/// After this many failures in a row.
pub(super) fn pause(failures: u32) -> Duration {
    let doubled = limits::AGAIN_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10));
    doubled.min(limits::AGAIN_LAST)
}

#[cfg(test)]
mod tests;

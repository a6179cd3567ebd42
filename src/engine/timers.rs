//! Leases and expiries that are due. Deadlines wait by the monotonic clock, so a wall clock that jumps ends nothing early.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::domain::command::Command;
use crate::domain::id::PosId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Expiry,
    Lease,
}

/// What is told again if it had no effect: the writer may have been busy, or the disk full.
const AGAIN: Duration = Duration::from_secs(1);

/// At most one deadline of a kind for each POS. A deadline stays armed until the writer takes it away, because what it
/// tells has happened.
#[derive(Debug, Default)]
pub(super) struct Timers {
    armed: Mutex<Armed>,
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Armed {
    queue: BTreeSet<(Instant, PosId, Kind)>,
    by_pos: HashMap<(PosId, Kind), (Instant, Command)>,
}

impl Timers {
    /// From now on this is the POS's deadline of the kind; or it has none.
    pub(super) fn set(&self, pos: &PosId, kind: Kind, deadline: Option<(Instant, Command)>) {
        let mut armed = self.lock();
        let key = (pos.clone(), kind);
        if let Some((at, _)) = armed.by_pos.remove(&key) {
            armed.queue.remove(&(at, pos.clone(), kind));
        }
        let Some((at, command)) = deadline else { return };
        armed.queue.insert((at, pos.clone(), kind));
        armed.by_pos.insert(key, (at, command));
        let is_first = armed.queue.first().is_some_and(|(first, ..)| *first == at);
        drop(armed);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// The deadline as it was set.
    pub(super) fn get(&self, pos: &PosId, kind: Kind) -> Option<Instant> {
        self.lock().by_pos.get(&(pos.clone(), kind)).map(|(at, _)| *at)
    }

    /// Waits for the next deadline, and says what is to be told then. May be dropped while it waits.
    pub(super) async fn due(&self) -> (PosId, Command) {
        loop {
            let next = self.lock().queue.first().map(|(at, ..)| *at);
            match next {
                Some(at) if at <= Instant::now() => {
                    if let Some(due) = self.take(at) {
                        return due;
                    }
                }
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at.into()) => {}
                        () = self.earlier.notified() => {}
                    }
                }
                None => self.earlier.notified().await,
            }
        }
    }

    fn take(&self, due: Instant) -> Option<(PosId, Command)> {
        let mut armed = self.lock();
        if armed.queue.first()?.0 > due {
            return None;
        }
        let (_, pos, kind) = armed.queue.pop_first()?;
        let again = Instant::now() + AGAIN;
        let (at, command) = armed.by_pos.get_mut(&(pos.clone(), kind))?;
        *at = again;
        let command = command.clone();
        armed.queue.insert((again, pos.clone(), kind));
        Some((pos, command))
    }

    fn lock(&self) -> MutexGuard<'_, Armed> {
        // Nothing in here panics half-way.
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Timestamp;

    fn pos(name: &str) -> PosId {
        PosId::parse(name).expect("a name")
    }

    fn lapse(until: i64) -> Command {
        Command::LapseLease {
            until: Timestamp(until),
        }
    }

    #[tokio::test]
    async fn what_is_due_comes_in_order_and_again_until_it_is_taken_away() {
        let timers = Timers::default();
        let past = Instant::now();
        timers.set(
            &pos("b"),
            Kind::Lease,
            Some((past + Duration::from_millis(2), lapse(2))),
        );
        timers.set(
            &pos("a"),
            Kind::Lease,
            Some((past + Duration::from_millis(1), lapse(1))),
        );
        timers.set(
            &pos("c"),
            Kind::Lease,
            Some((past + Duration::from_secs(3600), lapse(3))),
        );
        let mut told = Vec::new();
        for _ in 0..3 {
            told.push(timers.due().await.0);
            if told.len() == 2 {
                timers.set(&pos("a"), Kind::Lease, None);
            }
        }
        assert_eq!(told, [pos("a"), pos("b"), pos("b")], "b was told and not taken away");
    }

    #[tokio::test]
    async fn an_earlier_deadline_wakes_who_waits_for_a_later_one() {
        let timers = Timers::default();
        timers.set(
            &pos("late"),
            Kind::Expiry,
            Some((Instant::now() + Duration::from_secs(3600), lapse(0))),
        );
        let set_earlier = async {
            tokio::task::yield_now().await;
            timers.set(&pos("soon"), Kind::Expiry, Some((Instant::now(), lapse(0))));
        };
        let ((due, _), ()) = tokio::join!(timers.due(), set_earlier);
        assert_eq!(due, pos("soon"));
    }
}

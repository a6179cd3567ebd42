//! The time, asked in one place.
//!
//! The wall clock names moments and is written down; it may jump, so within a process it never runs backwards here, and
//! nothing waits by it. Deadlines wait by the monotonic clock, which does not jump.
//!
//! While the wall clock is behind what was told already, time goes on at half its pace until the wall clock has caught
//! up. If it stood still, a lease that is renewed would end at the same moment as before.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::domain::id::Timestamp;

#[derive(Debug, Clone)]
pub struct Clock {
    newest: Arc<Mutex<Now>>,
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub at: Timestamp,
    pub instant: Instant,
}

impl Default for Clock {
    fn default() -> Clock {
        let now = Now {
            at: wall(),
            instant: Instant::now(),
        };
        Clock {
            newest: Arc::new(Mutex::new(now)),
        }
    }
}

impl Clock {
    pub fn now(&self) -> Now {
        self.no_earlier_than(wall())
    }

    /// What was written down before this process began is not in its future.
    pub fn not_before(&self, at: Timestamp) {
        self.no_earlier_than(at);
    }

    fn no_earlier_than(&self, at: Timestamp) -> Now {
        // Nothing in here panics half-way.
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let instant = Instant::now();
        let at = at.max(newest.after(instant));
        // Else what is left of a millisecond would be lost each time.
        if at > newest.at {
            *newest = Now { at, instant };
        }
        Now { at, instant }
    }
}

fn wall() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}

impl Now {
    /// When the monotonic clock will show what the wall clock calls `deadline`, if neither jumps.
    pub fn instant_of(self, deadline: Timestamp) -> Instant {
        self.instant + deadline.since(self.at)
    }

    /// What is told at that instant at least: half the time has gone by.
    fn after(self, instant: Instant) -> Timestamp {
        let passed = instant.saturating_duration_since(self.instant).as_millis() / 2;
        Timestamp(self.at.0.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn never_backwards() {
        let clock = Clock::default();
        let ahead = Timestamp(clock.now().at.0 + 3_600_000);
        clock.not_before(ahead);
        let now = clock.now().at;
        assert!(now >= ahead && now.0 < ahead.0 + 1_800_000, "{now:?}");
    }

    #[test]
    fn half_as_fast_until_the_wall_clock_has_caught_up() {
        let now = Clock::default().now();
        let later = |millis| now.after(now.instant + Duration::from_millis(millis)).0 - now.at.0;
        assert_eq!([later(0), later(1), later(2), later(60_000)], [0, 0, 1, 30_000]);
    }

    #[test]
    fn a_deadline_in_the_past_is_due_now() {
        let now = Clock::default().now();
        assert_eq!(now.instant_of(Timestamp(now.at.0 - 5000)), now.instant);
    }
}

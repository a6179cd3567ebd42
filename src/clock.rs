//! The time, asked in one place.
//!
//! The wall clock names moments and is written down; it may jump, so within a process it never runs backwards here, and
//! nothing waits by it. Deadlines wait by the monotonic clock, which does not jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::domain::id::Timestamp;

#[derive(Debug, Clone, Default)]
pub struct Clock {
    newest: Arc<AtomicI64>,
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub at: Timestamp,
    pub instant: Instant,
}

impl Clock {
    pub fn now(&self) -> Now {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let newest = self.newest.fetch_max(wall, Ordering::Relaxed);
        Now {
            at: Timestamp(wall.max(newest)),
            instant: Instant::now(),
        }
    }

    /// What was written down before this process began is not in its future.
    pub fn not_before(&self, at: Timestamp) {
        self.newest.fetch_max(at.0, Ordering::Relaxed);
    }
}

impl Now {
    /// When the monotonic clock will show what the wall clock calls `deadline`, if neither jumps.
    pub fn instant_of(self, deadline: Timestamp) -> Instant {
        self.instant + deadline.since(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_backwards() {
        let clock = Clock::default();
        let ahead = Timestamp(clock.now().at.0 + 3_600_000);
        clock.not_before(ahead);
        assert_eq!(
            clock.now().at,
            ahead,
            "a wall clock behind the log's newest entry stands still"
        );
    }

    #[test]
    fn a_deadline_in_the_past_is_due_now() {
        let now = Clock::default().now();
        assert_eq!(now.instant_of(Timestamp(now.at.0 - 5000)), now.instant);
    }
}

//! How many calls may be made: so many a second, and a few at once.
//!
//! Work begins while there is credit, and each of its calls is charged for, so the last one may leave a debt that is paid
//! before the next begins. So nothing waits half-way, and over any while no more calls are made than allowed. The first
//! call is charged for when work is begun: it is made some time later, and until then all that is due would begin.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;

#[derive(Debug)]
pub(super) struct Budget {
    calls_per_second: Arc<AtomicU32>,
    /// All calls so far are paid for at this moment; credit is how long ago that was.
    paid: Cell<Instant>,
    /// The same of the calls that could not wait, for which half of the credit is.
    unwaiting: Cell<Instant>,
}

/// Credit that can be saved up: a second's calls.
const SAVED: Duration = Duration::from_secs(1);
/// Of it, what is left to work that somebody waits for.
const RESERVED: Duration = Duration::from_millis(500);

impl Budget {
    pub(super) fn new(calls_per_second: Arc<AtomicU32>) -> Budget {
        Budget {
            calls_per_second,
            paid: Cell::new(Instant::now() - SAVED),
            unwaiting: Cell::new(Instant::now()),
        }
    }

    /// What one call costs.
    fn cost(&self) -> Duration {
        Duration::from_secs(1) / self.calls_per_second.load(Relaxed).max(1)
    }

    /// From when on work may begin.
    pub(super) fn free_at(&self) -> Instant {
        self.paid.get() + self.cost()
    }

    /// From when on work may begin that anybody could have asked for. However much of it there is, the rest need not wait.
    pub(super) fn spare_at(&self) -> Instant {
        self.paid.get() + (RESERVED + self.cost()).min(SAVED)
    }

    /// No work begins for so long.
    pub(super) fn rest(&self, pause: Duration) {
        self.paid.set(self.paid.get().max(Instant::now() + pause));
    }

    /// For a call that could not wait for credit. However many such calls there are, they never take more than half of it
    /// for long, so that the rest has its turn.
    pub(super) fn overdraw(&self) {
        let now = Instant::now();
        let after = self.unwaiting.get().max(now) + self.cost() * 2;
        if after <= now + limits::ERRANDS_OVERDRAW {
            self.unwaiting.set(after);
            self.charge(1);
        }
    }

    pub(super) fn charge(&self, calls: u32) {
        let from = self.paid.get().max(Instant::now() - SAVED);
        self.paid.set(from + self.cost() * calls);
    }
}

/// The call that was charged for when work began. If it is not made, it is given back.
pub(super) struct Advance<'a> {
    budget: &'a Budget,
    is_left: Cell<bool>,
}

impl Advance<'_> {
    pub(super) fn charged(budget: &Budget) -> Advance<'_> {
        Advance {
            budget,
            is_left: Cell::new(true),
        }
    }

    /// For a call that is made now: whether this one pays for it.
    pub(super) fn pays(&self) -> bool {
        self.is_left.take()
    }
}

impl Drop for Advance<'_> {
    fn drop(&mut self) {
        if self.is_left.get() {
            self.budget.paid.set(self.budget.paid.get() - self.budget.cost());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_calls_than_allowed() {
        let budget = Budget::new(Arc::new(AtomicU32::new(10)));
        let begun = Instant::now();
        let mut calls = 0;
        while begun.elapsed() < Duration::from_secs(60) {
            tokio::time::sleep_until(budget.free_at()).await;
            budget.charge(3);
            calls += 3;
        }
        assert!((600..=615).contains(&calls), "{calls}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_not_made_is_given_back() {
        let budget = Budget::new(Arc::new(AtomicU32::new(10)));
        let before = budget.free_at();
        for is_made in [true, false] {
            budget.charge(1);
            let advance = Advance::charged(&budget);
            if is_made {
                assert!(advance.pays() && !advance.pays(), "it is one call");
            }
        }
        assert_eq!(budget.free_at(), before + budget.cost());
    }

    #[tokio::test(start_paused = true)]
    async fn what_anybody_could_ask_for_leaves_credit_and_has_its_turn() {
        for (calls_per_second, reserved) in [(1, 1), (20, 10)] {
            let budget = Budget::new(Arc::new(AtomicU32::new(calls_per_second)));
            let begun = Instant::now();
            let mut calls = 0;
            while begun.elapsed() < Duration::from_secs(10) {
                tokio::time::sleep_until(budget.spare_at()).await;
                let mut left = 0;
                while budget.free_at() <= Instant::now() {
                    budget.charge(1);
                    left += 1;
                }
                assert!(left >= reserved, "{left} of {calls_per_second}");
                calls += left;
            }
            assert!(calls >= 9 * calls_per_second, "{calls} of {calls_per_second} a second");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_cannot_wait_leave_half_of_the_credit() {
        let budget = Budget::new(Arc::new(AtomicU32::new(20)));
        let begun = Instant::now();
        let mut calls = 0;
        while begun.elapsed() < Duration::from_secs(60) {
            (0..10).for_each(|_| budget.overdraw());
            tokio::time::sleep(Duration::from_millis(50)).await;
            while budget.free_at() <= Instant::now() {
                budget.charge(1);
                calls += 1;
            }
        }
        assert!(
            (580..=620).contains(&calls),
            "{calls} of 1200, beside ten times as many"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_is_kept() {
        let budget = Budget::new(Arc::new(AtomicU32::new(10)));
        budget.rest(Duration::from_secs(5));
        budget.charge(1);
        assert!(budget.free_at() >= Instant::now() + Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_hour_saves_up_one_second() {
        let budget = Budget::new(Arc::new(AtomicU32::new(10)));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let mut calls = 0;
        while budget.free_at() <= Instant::now() {
            budget.charge(1);
            calls += 1;
        }
        assert_eq!(calls, 10);
    }
}

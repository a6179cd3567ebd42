//! How many polls were answered how. Each thread counts alone, so a poll costs a load and a store; whoever reads the
//! metrics adds them up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::{Counter, counter, describe_counter};

use crate::table::Outcome;

const OUTCOMES: usize = Outcome::ALL.len();

pub struct Counts {
    threads: Vec<Arc<ThreadCounts>>,
    published: [Counter; OUTCOMES],
}

/// On cache lines of its own, two of them since processors fetch pairs.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct ThreadCounts([AtomicU64; OUTCOMES]);

impl ThreadCounts {
    /// Only its own thread calls this, so nothing comes between the load and the store.
    #[inline]
    pub(super) fn count(&self, outcome: Outcome) {
        let count = &self.0[outcome as usize];
        count.store(count.load(Relaxed) + 1, Relaxed);
    }
}

impl Counts {
    pub(super) fn new(threads: usize) -> Counts {
        Counts {
            threads: (0..threads).map(|_| Arc::default()).collect(),
            published: Outcome::ALL.map(|outcome| counter!("surtidor_polls_total", "outcome" => outcome.as_str())),
        }
    }

    pub(super) fn threads(&self) -> impl Iterator<Item = Arc<ThreadCounts>> {
        self.threads.iter().cloned()
    }

    pub fn total(&self, outcome: Outcome) -> u64 {
        self.threads
            .iter()
            .map(|thread| thread.0[outcome as usize].load(Relaxed))
            .sum()
    }

    /// Brings the metrics up to date, before they are read.
    pub fn publish(&self) {
        for outcome in Outcome::ALL {
            self.published[outcome as usize].absolute(self.total(outcome));
        }
    }
}

pub(super) fn describe() {
    describe_counter!("surtidor_polls_total", "Polls answered, by outcome.");
}

//! When the thread that serves controllers has nothing left to do: whoever was answered has most likely asked again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// Shared by the writer, which waits, and by the thread that serves, which tells.
#[derive(Debug, Default)]
pub struct Lull(Mutex<Option<Thread>>);

impl Lull {
    /// Nothing is left to do but to wait for others.
    pub fn begins(&self) {
        if let Some(writer) = self.waiting().take() {
            writer.unpark();
        }
    }

    /// Waits for the next one. False if none began in this time, or in less, since a thread may wake for no reason.
    pub(super) fn begins_within(&self, time: Duration) -> bool {
        *self.waiting() = Some(thread::current());
        thread::park_timeout(time);
        self.waiting().take().is_none()
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Thread>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_wait_ends_with_the_next_lull() {
        let lull = Arc::new(Lull::default());
        let begun = Instant::now();
        let waits = thread::spawn({
            let lull = lull.clone();
            move || while !lull.begins_within(LONG) {}
        });
        while !waits.is_finished() {
            lull.begins();
            thread::yield_now();
        }
        waits.join().expect("no panic");
        assert!(begun.elapsed() < LONG);
    }

    #[test]
    fn a_wait_without_a_lull_has_an_end() {
        let lull = Lull::default();
        lull.begins();
        assert!(
            !lull.begins_within(Duration::from_millis(1)),
            "one that was before does not count"
        );
        assert!(lull.waiting().is_none());
    }
}

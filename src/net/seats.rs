//! How many connections a face may have open, over all its threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[derive(Debug)]
pub struct Seats {
    taken: AtomicUsize,
    max: AtomicUsize,
}

/// One connection's place; given back on drop.
#[derive(Debug)]
pub struct Seat(Arc<Seats>);

impl Seats {
    pub fn new(max: usize) -> Arc<Seats> {
        Arc::new(Seats {
            taken: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
        })
    }

    pub fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// Holds for connections to come; those that are open stay.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Relaxed);
    }

    /// `None` if all are taken.
    pub fn take(self: &Arc<Self>) -> Option<Seat> {
        let max = self.max.load(Relaxed);
        let free = |taken| (taken < max).then_some(taken + 1);
        self.taken
            .fetch_update(Relaxed, Relaxed, free)
            .ok()
            .map(|_| Seat(self.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_given_back() {
        let seats = Seats::new(1);
        let seat = seats.take().expect("one is free");
        assert!(seats.take().is_none());
        seats.set_max(2);
        assert!(seats.take().is_some());
        drop(seat);
        assert_eq!(seats.taken(), 0);
    }
}

//! Paid orders whose controller is expected to say what became of the product, and has not: what an operator counts.

use std::collections::{BTreeSet, HashMap};

use super::board::Key;
use crate::domain::id::Timestamp;

#[derive(Default)]
pub(super) struct Owed {
    silent: HashMap<Key, Silence>,
    by_time: BTreeSet<(Timestamp, Key)>,
    overdue: usize,
}

struct Silence {
    paid: Timestamp,
    /// It was told that the controller is silent for too long.
    is_overdue: bool,
}

impl Owed {
    pub(super) fn paid(&mut self, key: &Key, at: Timestamp) {
        self.heard(key);
        let (paid, is_overdue) = (at, false);
        self.silent.insert(key.clone(), Silence { paid, is_overdue });
        self.by_time.insert((at, key.clone()));
    }

    pub(super) fn overdue(&mut self, key: &Key) {
        if let Some(silence) = self.silent.get_mut(key).filter(|silence| !silence.is_overdue) {
            silence.is_overdue = true;
            self.overdue += 1;
        }
    }

    pub(super) fn heard(&mut self, key: &Key) {
        if let Some(silence) = self.silent.remove(key) {
            self.by_time.remove(&(silence.paid, key.clone()));
            self.overdue -= usize::from(silence.is_overdue);
        }
    }

    pub(super) fn forget_before(&mut self, time: Timestamp) {
        while let Some((_, key)) = self.by_time.first().filter(|(paid, _)| *paid < time).cloned() {
            self.heard(&key);
        }
    }

    /// How many there are, and how many of them are overdue.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.silent.len(), self.overdue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_until_it_is_heard_of_or_a_day_is_over() {
        let mut owed = Owed::default();
        let key = |name: &str| Key::from(name);
        owed.paid(&key("a"), Timestamp(1));
        owed.paid(&key("b"), Timestamp(2));
        owed.paid(&key("c"), Timestamp(2));
        owed.overdue(&key("nobody"));
        assert_eq!(owed.count(), (3, 0));
        for _ in 0..2 {
            owed.overdue(&key("a"));
            owed.overdue(&key("b"));
            assert_eq!(owed.count(), (3, 2));
        }
        owed.heard(&key("b"));
        owed.heard(&key("b"));
        assert_eq!(owed.count(), (2, 1));
        owed.forget_before(Timestamp(2));
        assert_eq!(owed.count(), (1, 0));
        owed.forget_before(Timestamp(3));
        assert_eq!(owed.count(), (0, 0));
    }
}

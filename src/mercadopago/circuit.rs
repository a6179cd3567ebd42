//! After some failures in a row the API is left alone, but for one probe at a time: nothing piles up while it is down.

use std::sync::{Mutex, MutexGuard, PoisonError};

use metrics::Gauge;
use tokio::time::Instant;

use crate::limits;

pub(super) struct Circuit {
    state: Mutex<State>,
    resting: Gauge,
}

#[derive(Default)]
struct State {
    /// In a row.
    failures: u32,
    /// Set while the API is left alone: when the next probe may go.
    rests: Option<Instant>,
    probing: bool,
}

/// What a request said of the API's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    Bad,
    /// It lives, but wants to be left alone; or nothing was asked.
    Neither,
}

/// Leave to send one request. Dropped without a word, as by a caller that gave up, it counts as neither.
pub(super) struct Pass<'a> {
    circuit: &'a Circuit,
    probe: bool,
}

impl Circuit {
    pub(super) fn new(resting: Gauge) -> Circuit {
        let state = Mutex::default();
        Circuit { state, resting }
    }

    /// Nothing holds the lock while it waits, and a panic between two assignments cannot be.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `enter` would refuse now.
    pub(super) fn is_shut(&self) -> bool {
        self.state().is_shut()
    }

    pub(super) fn enter(&self) -> Option<Pass<'_>> {
        let mut state = self.state();
        if state.is_shut() {
            return None;
        }
        let probe = state.rests.is_some();
        state.probing |= probe;
        Some(Pass { circuit: self, probe })
    }
}

impl State {
    fn is_shut(&self) -> bool {
        self.rests.is_some_and(|until| self.probing || Instant::now() < until)
    }

    fn note(&mut self, health: Health, probe: bool) {
        let next = Instant::now() + limits::API_REST;
        match health {
            Health::Good => *self = State::default(),
            // What was under way when the API was found down says nothing new: only a probe puts the next one off.
            Health::Bad if self.rests.is_none() => {
                self.failures += 1;
                self.rests = (self.failures >= limits::API_FAILURES).then_some(next);
            }
            Health::Bad | Health::Neither if probe => self.rests = Some(next),
            Health::Bad | Health::Neither => {}
        }
    }
}

/// How the circuit turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// From now on the API is only probed.
    Rests,
    /// It answers again.
    Well,
}

impl Pass<'_> {
    pub(super) fn end(mut self, health: Health) -> Option<Turn> {
        self.note(health)
    }

    fn note(&mut self, health: Health) -> Option<Turn> {
        let mut state = self.circuit.state();
        if self.probe {
            state.probing = false;
        }
        let rested = state.rests.is_some();
        // A probe that ends after another request has found the API well is one no more.
        let probe = std::mem::take(&mut self.probe) && rested;
        state.note(health, probe);
        match (rested, state.rests.is_some()) {
            (false, true) => {
                self.circuit.resting.set(1.0);
                Some(Turn::Rests)
            }
            (true, false) => {
                self.circuit.resting.set(0.0);
                Some(Turn::Well)
            }
            _ => None,
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.note(Health::Neither);
        }
    }
}

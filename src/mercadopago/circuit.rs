//! After some failures in a row the API is left alone, but for a probe now and then: nothing piles up while it is down.
//!
//! A failure says that the API is down only if nothing was answered since its call began: some points of sale, or one account,
//! may be slow or broken for themselves, and others go on meanwhile. And what somebody at a machine waits for is asked
//! once whatever others met.

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
    /// Answers so far. One that comes while a call is under way shows that the API lives, however that call ends.
    answers: u64,
    /// Failures since the last answer.
    failures: u32,
    /// Set while the API is left alone: when the next probe may go.
    rests: Option<Instant>,
}

/// What a request said of the API's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    Bad,
    /// It lives, but wants to be left alone; or nothing was asked.
    Neither,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// Nobody waits for it, or it has failed before.
    Patient,
    /// Somebody does, at a machine.
    Pressing,
}

/// Leave to send one request.
pub(super) struct Pass<'a> {
    circuit: &'a Circuit,
    /// Answers before it.
    answers: u64,
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
    pub(super) fn is_shut(&self, haste: Haste) -> bool {
        haste == Haste::Patient && self.state().is_shut()
    }

    /// While the API is left alone, whoever is let in is the probe: the next may go a while later, however this one ends, since
    /// it may be one of those that are slow for themselves.
    pub(super) fn enter(&self, haste: Haste) -> Option<Pass<'_>> {
        let mut state = self.state();
        let is_shut = state.is_shut();
        if is_shut && haste == Haste::Patient {
            return None;
        }
        if !is_shut && state.rests.is_some() {
            state.rests = Some(Instant::now() + limits::API_REST);
        }
        let answers = state.answers;
        Some(Pass { circuit: self, answers })
    }
}

impl State {
    fn is_shut(&self) -> bool {
        self.rests.is_some_and(|until| Instant::now() < until)
    }

    fn note(&mut self, health: Health, begun: u64) {
        match health {
            Health::Good => {
                *self = State {
                    answers: self.answers + 1,
                    ..State::default()
                }
            }
            Health::Bad if self.rests.is_none() && self.answers == begun => {
                self.failures += 1;
                let next = Instant::now() + limits::API_REST;
                self.rests = (self.failures >= limits::API_FAILURES).then_some(next);
            }
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
    pub(super) fn end(self, health: Health) -> Option<Turn> {
        let mut state = self.circuit.state();
        let rested = state.rests.is_some();
        state.note(health, self.answers);
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

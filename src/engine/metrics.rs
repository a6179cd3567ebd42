//! What the engine counts.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::views::open_status;
use super::{Applied, Denied};
use crate::domain::command::Command;
use crate::domain::order::Status;
use crate::domain::pos::Pos;

pub(super) struct Metrics {
    pos: Gauge,
    sending: Gauge,
    ready: Gauge,
    shown: Gauge,
    pub(super) commit_commands: Histogram,
    pub(super) commit_seconds: Histogram,
    pub(super) push_seconds: Histogram,
    pub(super) full: Gauge,
    pub(super) log_full: Counter,
    pub(super) log_failed: Counter,
    pub(super) log_damaged: Counter,
    commands: Vec<(&'static str, [Counter; OUTCOMES.len()])>,
}

/// What becomes of a command.
const OUTCOMES: [&str; 5] = ["done", "unchanged", "refused", "full", "failed"];

pub fn describe() {
    super::inbox::describe();
    describe_gauge!("surtidor_pos", "Registered points of sale.");
    describe_gauge!("surtidor_orders_open", "Open orders, by state.");
    describe_counter!("surtidor_commands_total", "Commands, by kind and what became of them.");
    describe_histogram!(
        "surtidor_commit_commands",
        "Commands that shared one commit of the log."
    );
    describe_histogram!(
        "surtidor_commit_seconds",
        Unit::Seconds,
        "Time of one commit of the log, fsync included."
    );
    describe_histogram!(
        "surtidor_push_durable_seconds",
        Unit::Seconds,
        "From a push taken in to its order durable and visible to polls."
    );
    describe_gauge!(
        "surtidor_log_full",
        "1 while new orders are refused because the disk is full."
    );
    describe_counter!(
        "surtidor_log_errors_total",
        "Commits that did not happen, by what was wrong."
    );
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let open = |state: &'static str| gauge!("surtidor_orders_open", "state" => state);
        let errors = |kind: &'static str| counter!("surtidor_log_errors_total", "kind" => kind);
        Metrics {
            pos: gauge!("surtidor_pos"),
            sending: open("sending"),
            ready: open("ready"),
            shown: open("shown"),
            commit_commands: histogram!("surtidor_commit_commands"),
            commit_seconds: histogram!("surtidor_commit_seconds"),
            push_seconds: histogram!("surtidor_push_durable_seconds"),
            full: gauge!("surtidor_log_full"),
            log_full: errors("full"),
            log_failed: errors("failed"),
            log_damaged: errors("damaged"),
            commands: Command::NAMES
                .map(|name| (name, OUTCOMES.map(|outcome| counted(name, outcome))))
                .to_vec(),
        }
    }

    /// Moves the gauges from what a POS was to what it is.
    pub(super) fn count(&self, before: Option<&Pos>, after: Option<&Pos>) {
        match (before, after) {
            (None, Some(_)) => self.pos.increment(1.0),
            (Some(_), None) => self.pos.decrement(1.0),
            _ => {}
        }
        let (old, new) = (open_status(before), open_status(after));
        if old != new {
            if let Some(gauge) = self.open(old) {
                gauge.decrement(1.0);
            }
            if let Some(gauge) = self.open(new) {
                gauge.increment(1.0);
            }
        }
    }

    /// Counts a command and what became of it.
    pub(super) fn command(&self, name: &str, result: &Result<Applied, Denied>) {
        let outcome = match result {
            Ok(applied) if !applied.events.is_empty() => 0,
            Ok(_) => 1,
            Err(Denied::Refused(_)) => 2,
            Err(Denied::Full) => 3,
            Err(_) => 4,
        };
        if let Some((_, counters)) = self.commands.iter().find(|(command, _)| *command == name) {
            counters[outcome].increment(1);
        }
    }

    fn open(&self, status: Option<Status>) -> Option<&Gauge> {
        match status? {
            Status::Sending => Some(&self.sending),
            Status::Ready => Some(&self.ready),
            Status::Shown => Some(&self.shown),
            Status::Paid | Status::Canceled | Status::Replaced | Status::Expired | Status::Rejected => None,
        }
    }
}

fn counted(command: &'static str, outcome: &'static str) -> Counter {
    counter!("surtidor_commands_total", "command" => command, "outcome" => outcome)
}

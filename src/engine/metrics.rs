//! What the engine counts.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::{Applied, Denied};
use crate::domain::command::{Command, Event};
use crate::domain::id::Timestamp;
use crate::domain::order::{Order, Status};
use crate::domain::pos::{Mode, Pos};

pub(super) struct Metrics {
    pos: Gauge,
    /// By `Mode::ALL`.
    orders: [OfMode; Mode::ALL.len()],
    pub(super) commit_commands: Histogram,
    pub(super) commit_seconds: Histogram,
    pub(super) push_seconds: Histogram,
    pub(super) full: Gauge,
    pub(super) log_full: Counter,
    pub(super) log_failed: Counter,
    pub(super) log_damaged: Counter,
    commands: Vec<(&'static str, [Counter; OUTCOMES.len()])>,
}

/// What is counted of the orders of a mode.
struct OfMode {
    /// By `OPEN`.
    open: [Gauge; OPEN.len()],
    /// By `ENDINGS`.
    ended: [Counter; ENDINGS.len()],
    sent: Histogram,
}

const OPEN: [Status; 3] = [Status::Sending, Status::Ready, Status::Shown];
const ENDINGS: [Status; 5] = [
    Status::Paid,
    Status::Canceled,
    Status::Replaced,
    Status::Expired,
    Status::Rejected,
];

/// What an event was to the order that was open.
pub(super) struct Turn {
    mode: Mode,
    what: What,
}

enum What {
    /// Mercado Pago has it, so long after the push.
    Sent(Duration),
    Ended(Status),
}

impl Turn {
    pub(super) fn of(open: Option<&Order>, event: &Event, at: Timestamp) -> Option<Turn> {
        let order = open?;
        let what = match event {
            Event::OrderSent { .. } => What::Sent(at.since(order.created_at)),
            // Late money makes an order paid that had ended before.
            Event::OrderPaid { late: false, .. } => What::Ended(Status::Paid),
            Event::OrderCanceled { .. } => What::Ended(Status::Canceled),
            Event::OrderReplaced(_) => What::Ended(Status::Replaced),
            Event::OrderExpired(_) => What::Ended(Status::Expired),
            Event::OrderRejected { .. } => What::Ended(Status::Rejected),
            _ => return None,
        };
        Some(Turn {
            mode: order.mode(),
            what,
        })
    }
}

/// What becomes of a command.
const OUTCOMES: [&str; 5] = ["done", "unchanged", "refused", "full", "failed"];

pub fn describe() {
    super::inbox::describe();
    describe_gauge!("surtidor_pos", "Registered points of sale.");
    describe_gauge!("surtidor_orders_open", "Open orders, by state and mode.");
    describe_counter!(
        "surtidor_orders_ended_total",
        "Orders that ended, by mode and how; an order ends once."
    );
    describe_histogram!(
        "surtidor_order_sent_seconds",
        Unit::Seconds,
        "From a push to Mercado Pago having its order, by mode."
    );
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
        let errors = |kind: &'static str| counter!("surtidor_log_errors_total", "kind" => kind);
        Metrics {
            pos: gauge!("surtidor_pos"),
            orders: Mode::ALL.map(OfMode::new),
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
        let (old, new) = (self.open(before), self.open(after));
        if old.map(|(at, _)| at) != new.map(|(at, _)| at) {
            if let Some((_, gauge)) = old {
                gauge.decrement(1.0);
            }
            if let Some((_, gauge)) = new {
                gauge.increment(1.0);
            }
        }
    }

    /// The gauge of a POS's open order, and where it is.
    fn open(&self, pos: Option<&Pos>) -> Option<((Mode, Status), &Gauge)> {
        let order = pos?.open.as_deref()?;
        let at = OPEN.iter().position(|status| *status == order.status)?;
        Some((
            (order.mode(), order.status),
            &self.orders[order.mode() as usize].open[at],
        ))
    }

    pub(super) fn turn(&self, Turn { mode, what }: Turn) {
        let of_mode = &self.orders[mode as usize];
        match what {
            What::Sent(after) => of_mode.sent.record(after),
            What::Ended(how) => {
                if let Some(at) = ENDINGS.iter().position(|status| *status == how) {
                    of_mode.ended[at].increment(1);
                }
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
}

impl OfMode {
    fn new(mode: Mode) -> OfMode {
        let mode = mode.as_str();
        OfMode {
            open: OPEN.map(|status| gauge!("surtidor_orders_open", "state" => status.as_str(), "mode" => mode)),
            ended: ENDINGS.map(|how| counter!("surtidor_orders_ended_total", "mode" => mode, "ending" => how.as_str())),
            sent: histogram!("surtidor_order_sent_seconds", "mode" => mode),
        }
    }
}

fn counted(command: &'static str, outcome: &'static str) -> Counter {
    counter!("surtidor_commands_total", "command" => command, "outcome" => outcome)
}

//! What the engine counts.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::{Applied, Denied};
use crate::domain::command::{Command, Event};
use crate::domain::id::Timestamp;
use crate::domain::order::{Order, Status};
use crate::domain::pos::{Mode, Pos, Waiting};
use crate::log::Space;

pub(super) struct Metrics {
    pos: Gauge,
    /// By `STATES`.
    pos_state: [Gauge; STATES.len()],
    pos_without_controller: Gauge,
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
    /// By `Event::NAMES`.
    events: Vec<Counter>,
    disk_free: Gauge,
    log_bytes: Gauge,
}

/// What is counted of the orders of a mode.
struct OfMode {
    /// By `OPEN`.
    open: [Gauge; OPEN.len()],
    /// By `ENDINGS`.
    ended: [Counter; ENDINGS.len()],
    sent: Histogram,
}

/// What `Standing::name` says.
const STATES: [&str; 4] = ["unavailable", "in_process", "timeout", "ready"];
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
    describe_gauge!(
        "surtidor_pos_state",
        "Registered points of sale, by what polls and the control socket call their state."
    );
    describe_gauge!(
        "surtidor_pos_without_controller",
        "Points of sale whose controller let its lease run out or said timeout, or which need a lease and nobody holds it."
    );
    describe_counter!(
        "surtidor_events_total",
        "What happened, by the event's type in the feed."
    );
    describe_gauge!(
        "surtidor_disk_free_bytes",
        Unit::Bytes,
        "What is left for us on the disk of the data folder."
    );
    describe_gauge!(
        "surtidor_log_bytes",
        Unit::Bytes,
        "What lies in the data folder, the write-ahead log and the ballast among it."
    );
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
            pos_state: STATES.map(|state| gauge!("surtidor_pos_state", "state" => state)),
            pos_without_controller: gauge!("surtidor_pos_without_controller"),
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
            events: Event::NAMES
                .map(|name| counter!("surtidor_events_total", "type" => name))
                .to_vec(),
            disk_free: gauge!("surtidor_disk_free_bytes"),
            log_bytes: gauge!("surtidor_log_bytes"),
        }
    }

    /// Moves the gauges from what a POS was to what it is.
    pub(super) fn count(&self, before: Option<&Pos>, after: Option<&Pos>) {
        match (before, after) {
            (None, Some(_)) => self.pos.increment(1.0),
            (Some(_), None) => self.pos.decrement(1.0),
            _ => {}
        }
        let at = |found: Option<((Mode, Status), &Gauge)>| found.map(|(at, _)| at);
        let (old, new) = (self.open(before), self.open(after));
        if at(old) != at(new) {
            moved(old.map(|(_, gauge)| gauge), new.map(|(_, gauge)| gauge));
        }
        let state = |pos: &Pos| STATES.iter().position(|state| *state == pos.standing().name());
        let (old, new) = (before.and_then(state), after.and_then(state));
        if old != new {
            moved(old.map(|at| &self.pos_state[at]), new.map(|at| &self.pos_state[at]));
        }
        let lacks = |pos: Option<&Pos>| {
            pos.is_some_and(lacks_controller)
                .then_some(&self.pos_without_controller)
        };
        moved(lacks(before), lacks(after));
    }

    pub(super) fn event(&self, event: &Event) {
        if let Some(at) = Event::NAMES.iter().position(|name| *name == event.name()) {
            self.events[at].increment(1);
        }
    }

    /// What cannot be learnt is no number: an old one would look like a fresh one.
    pub(super) fn space(&self, space: Option<Space>) {
        self.disk_free
            .set(space.map_or(f64::NAN, |space| bytes(space.free_bytes)));
        self.log_bytes
            .set(space.map_or(f64::NAN, |space| bytes(space.log_bytes)));
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

fn moved(from: Option<&Gauge>, to: Option<&Gauge>) {
    if let Some(gauge) = from {
        gauge.decrement(1.0);
    }
    if let Some(gauge) = to {
        gauge.increment(1.0);
    }
}

/// Whether nobody is there to release a product, as far as the controller has let us know.
fn lacks_controller(pos: &Pos) -> bool {
    pos.lease.is_none() && (pos.registration.require_lease || pos.standing().name() == Waiting::Timeout.as_str())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge takes floats; what is rounded off is less than a page"
)]
fn bytes(count: u64) -> f64 {
    count as f64
}

fn counted(command: &'static str, outcome: &'static str) -> Counter {
    counter!("surtidor_commands_total", "command" => command, "outcome" => outcome)
}

//! What an operator sees of the tracker.

use std::time::Duration;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

/// All of it is there, at zero, before it runs.
pub struct Metrics {
    pub(super) looked: Counter,
    pub(super) failed: Counter,
    watched: Gauge,
    behind: Gauge,
    errands_waiting: Gauge,
    errands_under_way: Gauge,
    undelivered: Gauge,
    overdue: Gauge,
}

pub fn describe() {
    describe_counter!(
        "surtidor_tracker_looks_total",
        "Orders asked for at Mercado Pago, by whether that ended with an answer."
    );
    describe_gauge!(
        "surtidor_tracker_orders",
        "Orders that are watched for payments, refunds or a product's fate."
    );
    describe_gauge!(
        "surtidor_tracker_behind_seconds",
        Unit::Seconds,
        "How long the look that is due longest has waited: the budget of calls is too small, or Mercado Pago does not answer."
    );
    describe_gauge!(
        "surtidor_paid_undelivered",
        "Paid orders whose controller is expected to report on the product and has not, up to a day after the payment."
    );
    describe_gauge!(
        "surtidor_paid_overdue",
        "Those of them whose delivery_seconds are over."
    );
    describe_gauge!(
        "surtidor_errands",
        "Orders being brought to Mercado Pago or taken off it, and those that wait for that."
    );
}

impl Metrics {
    #[expect(clippy::new_without_default, reason = "each is of the recorder that is set")]
    pub fn new() -> Metrics {
        let looks = |outcome: &'static str| counter!("surtidor_tracker_looks_total", "outcome" => outcome);
        let errands = |state: &'static str| gauge!("surtidor_errands", "state" => state);
        Metrics {
            looked: looks("answered"),
            failed: looks("failed"),
            watched: gauge!("surtidor_tracker_orders"),
            behind: gauge!("surtidor_tracker_behind_seconds"),
            errands_waiting: errands("waiting"),
            errands_under_way: errands("under_way"),
            undelivered: gauge!("surtidor_paid_undelivered"),
            overdue: gauge!("surtidor_paid_overdue"),
        }
    }

    pub(super) fn set(&self, watched: usize, behind: Duration, errands: &Errands) {
        self.watched.set(number(watched));
        self.behind.set(behind.as_secs_f64());
        self.errands_waiting.set(number(errands.waiting));
        self.errands_under_way.set(number(errands.under_way));
    }

    pub(super) fn set_owed(&self, undelivered: usize, overdue: usize) {
        self.undelivered.set(number(undelivered));
        self.overdue.set(number(overdue));
    }
}

pub(super) struct Errands {
    pub(super) waiting: usize,
    pub(super) under_way: usize,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge takes floats; counts are far below 2^53"
)]
fn number(count: usize) -> f64 {
    count as f64
}

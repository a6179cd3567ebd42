//! What an operator sees of the tracker.

use std::time::Duration;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

pub(super) struct Metrics {
    pub(super) looked: Counter,
    pub(super) failed: Counter,
    watched: Gauge,
    behind: Gauge,
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
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let looks = |outcome: &'static str| counter!("surtidor_tracker_looks_total", "outcome" => outcome);
        Metrics {
            looked: looks("answered"),
            failed: looks("failed"),
            watched: gauge!("surtidor_tracker_orders"),
            behind: gauge!("surtidor_tracker_behind_seconds"),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge takes floats; counts are far below 2^53"
    )]
    pub(super) fn set(&self, watched: usize, behind: Duration) {
        self.watched.set(watched as f64);
        self.behind.set(behind.as_secs_f64());
    }
}

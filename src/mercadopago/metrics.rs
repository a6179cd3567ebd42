//! What the client counts, by call and by how it ended.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::error::ApiError;

/// The calls of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    StoreCreate,
    StoreFind,
    StoreGet,
    StoreUpdate,
    StoreDelete,
    PosCreate,
    PosFind,
    PosList,
    PosGet,
    PosUpdate,
    PosDelete,
    MerchantOrderGet,
    MerchantOrderSearch,
    PaymentGet,
    RefundCreate,
    RefundList,
    RefundGet,
    OrderPut,
    OrderGet,
    OrderDelete,
    IntentCreate,
    IntentGet,
    IntentCancel,
    Fetch,
}

/// In the order of `Name`.
const NAMES: [&str; Name::Fetch as usize + 1] = [
    "store_create",
    "store_find",
    "store_get",
    "store_update",
    "store_delete",
    "pos_create",
    "pos_find",
    "pos_list",
    "pos_get",
    "pos_update",
    "pos_delete",
    "merchant_order_get",
    "merchant_order_search",
    "payment_get",
    "refund_create",
    "refund_list",
    "refund_get",
    "order_put",
    "order_get",
    "order_delete",
    "intent_create",
    "intent_get",
    "intent_cancel",
    "fetch",
];

const OUTCOMES: [&str; 9] = [
    "done",
    "refused",
    "not_found",
    "unauthorized",
    "limited",
    "unavailable",
    "broken",
    "resting",
    "nonsense",
];

pub fn describe() {
    describe_counter!(
        "surtidor_api_calls_total",
        "Calls of Mercado Pago's API, by call and how they ended."
    );
    describe_counter!(
        "surtidor_api_requests_total",
        "Requests sent to Mercado Pago's API: more than calls where some were tried again."
    );
    describe_histogram!(
        "surtidor_api_call_seconds",
        Unit::Seconds,
        "Time of a call of Mercado Pago's API, with its tries and pauses."
    );
    describe_gauge!(
        "surtidor_api_resting",
        "1 while Mercado Pago's API does not answer and is only probed."
    );
}

pub(super) struct Metrics {
    calls: Vec<PerCall>,
}

struct PerCall {
    outcomes: [Counter; OUTCOMES.len()],
    requests: Counter,
    seconds: Histogram,
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        Metrics {
            calls: NAMES.map(PerCall::new).into(),
        }
    }

    pub(super) fn resting() -> Gauge {
        gauge!("surtidor_api_resting")
    }

    pub(super) fn request(&self, name: Name) {
        self.calls[name as usize].requests.increment(1);
    }

    pub(super) fn call<T>(&self, name: Name, took: Duration, result: &Result<T, ApiError>) {
        let call = &self.calls[name as usize];
        call.outcomes[outcome(result)].increment(1);
        call.seconds.record(took);
    }
}

impl PerCall {
    fn new(call: &'static str) -> PerCall {
        let calls = |outcome: &'static str| counter!("surtidor_api_calls_total", "call" => call, "outcome" => outcome);
        PerCall {
            outcomes: OUTCOMES.map(calls),
            requests: counter!("surtidor_api_requests_total", "call" => call),
            seconds: histogram!("surtidor_api_call_seconds", "call" => call),
        }
    }
}

/// Its place in `OUTCOMES`.
fn outcome<T>(result: &Result<T, ApiError>) -> usize {
    match result {
        Ok(_) => 0,
        Err(ApiError::Refused(_)) => 1,
        Err(ApiError::NotFound(_)) => 2,
        Err(ApiError::Unauthorized(_)) => 3,
        Err(ApiError::Limited { .. }) => 4,
        Err(ApiError::Unavailable(_)) => 5,
        Err(ApiError::Broken(_)) => 6,
        Err(ApiError::Resting) => 7,
        Err(ApiError::Nonsense { .. }) => 8,
    }
}

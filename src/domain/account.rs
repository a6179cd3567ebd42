//! What an account decides for its orders.

use std::sync::Arc;

/// What is done about money for an order that had ended, and about a second payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LatePayment {
    /// The controller is told, and nothing else happens.
    #[default]
    Report,
    /// The money goes back.
    Refund,
    /// Late money for an order that ended unpaid counts as paid, once: the fuel is already in the tank.
    Accept,
}

impl LatePayment {
    pub const ALL: [LatePayment; 3] = [LatePayment::Report, LatePayment::Refund, LatePayment::Accept];

    pub fn as_str(self) -> &'static str {
        match self {
            LatePayment::Report => "report",
            LatePayment::Refund => "refund",
            LatePayment::Accept => "accept",
        }
    }

    pub fn parse(word: &str) -> Option<LatePayment> {
        LatePayment::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

/// What is done when the machine could not deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeliveryFailed {
    #[default]
    Refund,
    Report,
}

/// How polls are answered (`protocol.md` 1.2 to 1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// 400 until the order is there, then 200.
    #[default]
    Documented,
    /// 202 until the order is there, then 200 with `order-version: 2`.
    OrderVersion2,
}

/// To whom an order's money goes. An order keeps its own copy: what was offered stays as it was offered, and is
/// verified against it, whatever the configuration says later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payee {
    pub collector_id: u64,
    pub sponsor_id: Option<u64>,
    pub notification_url: Option<Arc<str>>,
    /// The integrator's account, if the collector's is reached through a link (OAuth): polls in order version 2 name it.
    pub client_id: Option<u64>,
}

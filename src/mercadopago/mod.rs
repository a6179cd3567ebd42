//! The way out to Mercado Pago's API: its calls, what it answers, and how a call may end (`protocol.md` 2, 3, 5 to 8).
//!
//! Who asks decides what an answer means: nothing here knows an order's state, a face, or the log. Answers are read
//! tolerantly, since fields come and go, and amounts exactly, since they are money. An access token goes into one
//! header and nowhere else.

mod circuit;
mod client;
mod error;
mod instore;
mod intent;
mod merchant_order;
mod metrics;
mod oauth;
mod payment;
mod pos;
mod refund;
mod retry;
pub mod signature;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

pub use client::Client;
pub use error::{ApiError, Broken, Cause, Complaint};
pub use instore::{InstoreOrder, NewInstoreOrder};
pub use intent::{Intent, IntentResult, IntentSource, IntentStatus, NewIntent};
pub use merchant_order::{MerchantOrder, MerchantOrderStatus, MerchantOrders, PaymentOfOrder};
pub use metrics::describe;
pub use oauth::Tokens;
pub use payment::{Payment, PaymentStatus};
pub use pos::{NewPos, Pos, PosFields, Trade};
pub use refund::{Refund, RefundStatus};
pub use store::{Location, NewStore, Store};

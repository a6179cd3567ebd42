//! What all faces share: listeners, accepting, the limits on slow clients, and an orderly end.
//!
//! Everything here runs on a current-thread runtime inside a `LocalSet`, so nothing is locked. What a face answers
//! never lives here, and nothing here knows a face by name.

pub mod body;
mod connection;
pub mod listen;
pub mod metrics;
pub mod presence;
pub mod query;
pub mod seats;
mod serve;
pub mod stop;
pub mod stream;
pub mod tls;

pub use serve::{Face, Limits, serve};

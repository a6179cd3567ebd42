//! Surtidor: the merchant's side of Mercado Pago's QR unattended model.
#![forbid(unsafe_code)]

pub mod clock;
pub mod config;
pub mod domain;
pub mod limits;
pub mod log;

//! Surtidor: the merchant's side of Mercado Pago's QR unattended model.
#![forbid(unsafe_code)]

pub mod domain;
pub mod limits;
pub mod net;
pub mod poll;
pub mod table;

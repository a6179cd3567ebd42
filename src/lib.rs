//! Surtidor: the merchant's side of Mercado Pago's QR unattended model.
//!
//! The rooms in reading order; each may use those above it, as `ARCHITECTURE.md` says.
#![forbid(unsafe_code)]

pub mod limits;

pub mod domain;

pub mod peer;
pub mod seal;
pub mod tls;

pub mod clock;
pub mod config;
pub mod log;
pub mod mercadopago;
pub mod table;

pub mod feed;

pub mod engine;
pub mod tracker;

pub mod net;
pub mod systemd;
pub mod telemetry;

pub mod link;

pub mod admin;
pub mod control;
pub mod notify;
pub mod poll;

pub mod sandbox;

pub mod client;
pub mod qr;

pub mod demo;

pub mod app;
pub mod cli;

#[cfg(test)]
mod tests;

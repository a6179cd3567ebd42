//! Whole servers over real sockets: the one test binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, and says where")]

mod admin;
mod chaos;
mod cli;
mod clockjumps;
mod control;
mod crash;
mod demo;
mod disk;
mod examples;
mod extras;
mod feed;
mod flood;
mod json;
mod kept;
mod modes;
mod money;
mod notifications;
mod oauth;
mod orders;
mod payments;
mod poll;
mod problems;
mod process;
mod provision;
mod proxies;
mod readme;
mod sandbox;
mod secured;
mod slow;
mod slow_pos;
mod support;
mod tidy;
mod torture;

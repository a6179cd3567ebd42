//! Whole servers over real sockets: the one test binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, and says where")]

mod control;
mod poll;
mod readme;
mod support;
mod tidy;

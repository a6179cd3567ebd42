//! Whole servers over real sockets: the one test binary.

mod poll;
mod readme;
mod support;
mod tidy;

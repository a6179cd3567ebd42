#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, and says where")]
mod crash;
mod disk;
mod process;
mod readme;
mod support;
mod tidy;

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, and says where")]
mod readme;
mod tidy;

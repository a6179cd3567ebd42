//! What the tests share.

pub mod golden;
pub mod http;
pub mod log;
pub mod process;
pub mod station;

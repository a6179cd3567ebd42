//! The query of a poll.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| surtidor_fuzz::holds(surtidor::table::fuzz::poll, bytes, 400));

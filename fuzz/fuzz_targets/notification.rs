//! A notification: its query, its signature and its body.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| surtidor_fuzz::holds(surtidor::notify::fuzz::notification, bytes, 400));

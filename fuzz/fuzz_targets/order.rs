//! What a controller pushes.
#![no_main]

use libfuzzer_sys::fuzz_target;

// Twice as much as elsewhere: a number of two bytes in `metadata` is a value of 32, and lists double as they grow.
fuzz_target!(|bytes: &[u8]| surtidor_fuzz::holds(surtidor::control::fuzz::order, bytes, 800));

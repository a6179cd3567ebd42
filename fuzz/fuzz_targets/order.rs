//! What a controller pushes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| surtidor_fuzz::holds(surtidor::control::fuzz::order, bytes, 400));

//! What a proxy says before anything else.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| surtidor_fuzz::holds(surtidor::peer::fuzz::header, bytes, 400));

//! Phoenix frames: arbitrary bytes as text and binary frames of both serializers.
#![no_main]

#[path = "../checks/frames.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::check(input));

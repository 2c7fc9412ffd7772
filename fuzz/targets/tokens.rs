//! Tokens, as whoever knocks may send them.
#![no_main]

#[path = "../../realtime/src/auth/jws.rs"]
#[allow(dead_code)]
mod jws;

#[path = "../checks/tokens.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::check(input));

//! WebSocket framing: arbitrary bytes from a client, with and without compression.
#![no_main]

#[path = "../../realtime/src/ws/mod.rs"]
#[allow(dead_code, unused_imports)]
mod ws;

#[path = "../checks/websocket.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::check(input));

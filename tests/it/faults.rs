//! The promises of delivery under faults of one node and of the servers behind it. Each file is one fault; each test prints how
//! much was said and shown, and the checker's verdict.
//!
//! The short size runs in every test run; `just faults` runs the full one.

mod backends;
mod clock;
mod disk;
mod kill;
#[cfg(debug_assertions)]
mod mutants;
mod power;
mod shared;
mod stopped;

/// Whether `just faults` runs the full size.
fn is_full() -> bool {
    std::env::vars().any(|(name, value)| name == "QUIKAPP_FAULTS" && value == "full")
}

/// A number for the short size and one for the full.
fn sized(short: u64, full: u64) -> u64 {
    if is_full() { full } else { short }
}

//! Promises of the whole system.

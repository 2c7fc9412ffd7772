//! Several stores as one: every promise of one store, in every division of concerns, and what a
//! crash between two stores leaves behind.
#![allow(clippy::unwrap_used)]

mod conformance;
mod folding;
mod support;

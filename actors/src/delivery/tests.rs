//! Delivery on an embedded store, with a clock that is moved by hand.
#![allow(clippy::unwrap_used)]

mod documents;
mod ending;
mod erasing;
mod feeding;
mod folding;
mod forgetting;
mod kit;
mod lagging;
mod projecting;
mod rebuilding;
mod recovering;
mod scheduling;
mod stuck;
mod telling;

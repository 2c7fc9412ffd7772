//! Broadcasts reach the subscribers of the other nodes, through what nodes share
//! ([`Gossip`](quikapp_storage::Gossip)).
//!
//! What is published here waits in a bounded queue, from which one task tells it in frames; another
//! hears the frames of the others and hands what they hold to whoever has subscribed here. Each
//! broadcast has a number among those of its node, so that what is repeated or overtaken is
//! dropped, and what is missing is counted. So a subscriber elsewhere gets a broadcast at most
//! once and in the order of its node; whatever becomes of the way between nodes, a publisher and
//! the subscribers beside it do not notice.

mod frame;
mod heard;
mod queue;
mod way;

pub use way::start_under;

#[cfg(test)]
mod tests;

/// Counts broadcasts that did not get to other nodes.
fn count_lost(reason: &'static str, broadcasts: u64) {
    metrics::counter!("quikapp_relay_lost_total", "reason" => reason).increment(broadcasts);
}

//! How far a reader of the event feed is behind.
//!
//! A reader pulls, at this process or at another, so nobody here can know at once what it has not
//! seen: what grows here is behind until the reader commits it here, or until a look through what
//! is hot does not find it behind any more.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use quikapp_storage::{Consumer, ConversationId};
use tokio::time::Instant;

use super::tails::Lag;

/// Conversations of which it is remembered for how long they have waited. Beyond, a reader is
/// behind by so many at least.
const MOST: usize = 65_536;

/// One reader, as this process sees it.
#[derive(Debug)]
pub(super) struct Reader {
    consumer: Consumer,
    behind: Mutex<HashMap<ConversationId, Waits>>,
}

/// For how long a conversation has waited for a reader.
#[derive(Debug, Clone, Copy)]
struct Waits {
    since: Instant,
    /// When it was last found to wait.
    found: Instant,
}

impl Reader {
    pub(super) fn new(consumer: Consumer) -> Self {
        Self {
            consumer,
            behind: Mutex::default(),
        }
    }

    pub(super) fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// A conversation has something that the reader has not seen. Never waits.
    pub(super) fn lacks(&self, id: &ConversationId, now: Instant) {
        let mut behind = self.behind.lock();
        if let Some(waits) = behind.get_mut(id) {
            waits.found = now;
        } else if behind.len() < MOST {
            let (since, found) = (now, now);
            behind.insert(id.clone(), Waits { since, found });
        }
    }

    /// The reader has gone on in a conversation: to its end, or there is more.
    pub(super) fn went_on(&self, id: &ConversationId, is_at_end: bool, now: Instant) {
        self.behind.lock().remove(id);
        if !is_at_end {
            self.lacks(id, now);
        }
    }

    /// Everything that waits has been found to, since a moment: the others do not any more.
    pub(super) fn found_all(&self, since: Instant) {
        let mut behind = self.behind.lock();
        behind.retain(|_, waits| waits.found >= since);
    }

    pub(super) fn lag(&self) -> Lag {
        let behind = self.behind.lock();
        let first = behind.values().map(|waits| waits.since).min();
        Lag {
            conversations: behind.len(),
            waiting: first.map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ConversationId {
        ConversationId::from_stored(number.to_string())
    }

    fn lag(conversations: usize, seconds: u64) -> Lag {
        Lag {
            conversations,
            waiting: Duration::from_secs(seconds),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_does_so_until_the_reader_goes_on_or_it_is_not_found_any_more() {
        let reader = Reader::new(Consumer::QUEUE);
        for number in 1..=3 {
            reader.lacks(&id(number), Instant::now());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        reader.lacks(&id(1), Instant::now());
        assert_eq!(reader.lag(), lag(3, 3), "since it was named first");
        reader.went_on(&id(1), false, Instant::now());
        assert_eq!(reader.lag(), lag(3, 2), "the second has waited longest");
        reader.went_on(&id(2), true, Instant::now());
        assert_eq!(reader.lag(), lag(2, 1));
        tokio::time::advance(Duration::from_secs(1)).await;
        let look = Instant::now();
        reader.lacks(&id(3), Instant::now());
        reader.found_all(look);
        assert_eq!(reader.lag(), lag(1, 2));
    }

    #[test]
    fn it_remembers_no_more_than_it_may() {
        let reader = Reader::new(Consumer::QUEUE);
        for number in 0..=MOST {
            reader.lacks(&id(number), Instant::now());
        }
        assert_eq!(reader.lag().conversations, MOST);
    }
}

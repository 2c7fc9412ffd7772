//! Hears what is published, as long as Redis is there.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use redis::{Client, Msg, RedisError, RedisResult};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{Names, link::RESPITE};
use crate::{Channel, ServerUrl};

/// After so long without a word the connection is asked whether it is alive.
const QUIET: Duration = Duration::from_secs(3);
/// For so long a connection may be in the making, or not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// One subscription of a node. It ends with the last clone.
#[derive(Clone)]
pub(super) struct Follower(Arc<Following>);

struct Following {
    ears: Arc<Ears>,
    task: AbortHandle,
}

/// Who hears what.
struct Ears {
    /// What is subscribed to, by name.
    topics: Vec<(String, Topic)>,
    revocations: watch::Sender<u64>,
    frames: Mutex<HashMap<Channel, Ear>>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
enum Topic {
    Revocations,
    Frames(Channel),
}

/// Where the frames of a channel go.
struct Ear {
    frames: mpsc::Sender<Bytes>,
    /// Bytes of those that were passed on and are not freed yet.
    held: Arc<AtomicUsize>,
}

/// A frame that counts as long as somebody has it.
struct Held {
    frame: Box<[u8]>,
    held: Arc<AtomicUsize>,
}

impl Follower {
    /// Hears of revocations, who is present and who types.
    pub(super) fn of_news(url: &ServerUrl, client: &Client, names: &Names) -> Self {
        let frames = [Channel::Presence, Channel::Typing];
        let mut topics = vec![(names.revocations(), Topic::Revocations)];
        topics.extend(frames.map(|it| (names.channel(it), Topic::Frames(it))));
        Self::start(url, client, topics)
    }

    /// Hears broadcasts: on a connection of its own, so that a flood that Redis cuts off, or that
    /// must be read first, concerns nothing else.
    pub(super) fn of_broadcasts(url: &ServerUrl, client: &Client, names: &Names) -> Self {
        let name = names.channel(Channel::Broadcast);
        Self::start(url, client, vec![(name, Topic::Frames(Channel::Broadcast))])
    }

    fn start(url: &ServerUrl, client: &Client, topics: Vec<(String, Topic)>) -> Self {
        let ears = Arc::new(Ears {
            topics,
            revocations: watch::channel(0).0,
            frames: Mutex::default(),
        });
        let task = tokio::spawn(follow(client.clone(), url.clone(), ears.clone()));
        Self(Arc::new(Following {
            ears,
            task: task.abort_handle(),
        }))
    }

    /// The number of the youngest revocation that was told of.
    pub(super) fn revocations(&self) -> watch::Receiver<u64> {
        self.0.ears.revocations.subscribe()
    }

    pub(super) fn hear(&self, channel: Channel) -> mpsc::Receiver<Bytes> {
        let (frames, receiver) = mpsc::channel(channel.queue().0);
        let held = Arc::default();
        let ear = Ear { frames, held };
        self.0.ears.frames.lock().insert(channel, ear);
        receiver
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(client: Client, url: ServerUrl, ears: Arc<Ears>) {
    loop {
        if let Err(error) = ears.listen(&client).await {
            let error = url.scrub(&error.to_string());
            tracing::debug!(error, "nothing is heard of other nodes");
        }
        sleep(RESPITE).await;
    }
}

impl Ears {
    async fn listen(&self, client: &Client) -> Result<(), RedisError> {
        let mut pubsub = soon(client.get_async_pubsub()).await?;
        let names: Vec<&str> = self.topics.iter().map(|(name, _)| name.as_str()).collect();
        soon(pubsub.subscribe(&names)).await?;
        let (mut sink, mut messages) = pubsub.split();
        loop {
            match timeout(QUIET, messages.next()).await {
                Ok(Some(message)) => self.heard(&message)?,
                Ok(None) => return Ok(()),
                // A peer that is stopped, or cut off without a word, does not close.
                Err(_) => {
                    let _: redis::Value = soon(sink.ping()).await?;
                }
            }
        }
    }

    fn heard(&self, message: &Msg) -> Result<(), RedisError> {
        let heard = message.get_channel_name();
        let topic = self.topics.iter().find(|(name, _)| name == heard);
        match topic.map(|(_, topic)| *topic) {
            Some(Topic::Revocations) => {
                let number: u64 = message.get_payload()?;
                self.revocations.send_if_modified(|known| {
                    let is_new = number > *known;
                    *known = number.max(*known);
                    is_new
                });
            }
            Some(Topic::Frames(channel)) => self.pass_on(channel, message.get_payload_bytes()),
            None => {}
        }
        Ok(())
    }

    fn pass_on(&self, channel: Channel, frame: &[u8]) {
        let mut ears = self.frames.lock();
        let Some(ear) = ears.get(&channel) else {
            return;
        };
        let frame = Held::count(frame, &ear.held, channel.queue().1);
        match frame.map(|frame| ear.frames.try_send(frame)) {
            Some(Ok(())) => {}
            None | Some(Err(mpsc::error::TrySendError::Full(_))) => channel.count_dropped(),
            Some(Err(mpsc::error::TrySendError::Closed(_))) => drop(ears.remove(&channel)),
        }
    }
}

impl Held {
    /// A frame, unless so many bytes are held already.
    fn count(frame: &[u8], held: &Arc<AtomicUsize>, most: usize) -> Option<Bytes> {
        let before = held.fetch_add(frame.len(), Ordering::Relaxed);
        let counted = Self {
            frame: frame.into(),
            held: Arc::clone(held),
        };
        (before + frame.len() <= most).then(|| Bytes::from_owner(counted))
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.fetch_sub(self.frame.len(), Ordering::Relaxed);
    }
}

async fn soon<T>(answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(elapsed) => Err(std::io::Error::from(elapsed).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_the_last_of_a_frame_is_gone() {
        let held = Arc::default();
        let one = Held::count(&[1; 60], &held, 100);
        assert!(one.is_some());
        assert_eq!(Held::count(&[2; 60], &held, 100), None, "too many");
        let part = one.as_ref().map(|frame| frame.slice(..3));
        drop(one);
        assert_eq!(Held::count(&[2; 60], &held, 100), None, "still held");
        drop(part);
        assert_eq!(
            Held::count(&[2; 100], &held, 100),
            Some(vec![2; 100].into())
        );
        assert_eq!(held.load(Ordering::Relaxed), 0);
    }
}

//! Hears what is published, as long as Redis is there.

use std::{collections::HashMap, sync::Arc, time::Duration};

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
    names: Names,
    /// What is subscribed to.
    topics: Vec<String>,
    revocations: watch::Sender<u64>,
    frames: Mutex<HashMap<Channel, mpsc::Sender<Bytes>>>,
}

impl Follower {
    /// Hears of revocations, who is present and who types.
    pub(super) fn of_news(url: &ServerUrl, client: &Client, names: &Names) -> Self {
        let mut topics = vec![names.revocations()];
        topics.extend([Channel::Presence, Channel::Typing].map(|it| names.channel(it)));
        Self::start(url, client, names, topics)
    }

    /// Hears broadcasts: on a connection of its own, so that a flood that Redis cuts off, or that
    /// must be read first, concerns nothing else.
    pub(super) fn of_broadcasts(url: &ServerUrl, client: &Client, names: &Names) -> Self {
        Self::start(url, client, names, vec![names.channel(Channel::Broadcast)])
    }

    fn start(url: &ServerUrl, client: &Client, names: &Names, topics: Vec<String>) -> Self {
        let ears = Arc::new(Ears {
            names: names.clone(),
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
        let (sender, receiver) = mpsc::channel(channel.queue());
        self.0.ears.frames.lock().insert(channel, sender);
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
        soon(pubsub.subscribe(&self.topics)).await?;
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
        let name = message.get_channel_name();
        if name == self.names.revocations() {
            let number: u64 = message.get_payload()?;
            self.revocations.send_if_modified(|known| {
                let is_new = number > *known;
                *known = number.max(*known);
                is_new
            });
            return Ok(());
        }
        for channel in Channel::ALL {
            if name == self.names.channel(channel) {
                self.pass_on(channel, Bytes::copy_from_slice(message.get_payload_bytes()));
            }
        }
        Ok(())
    }

    fn pass_on(&self, channel: Channel, frame: Bytes) {
        let mut frames = self.frames.lock();
        match frames.get(&channel).map(|sender| sender.try_send(frame)) {
            Some(Err(mpsc::error::TrySendError::Full(_))) => channel.count_dropped(),
            Some(Err(mpsc::error::TrySendError::Closed(_))) => drop(frames.remove(&channel)),
            Some(Ok(())) | None => {}
        }
    }
}

async fn soon<T>(answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(elapsed) => Err(std::io::Error::from(elapsed).into()),
    }
}

//! Tells other nodes who types here, and hears of them.

use std::sync::Arc;

use quikapp_storage::{Channel, ConversationId, Gossip, Shared, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Typing, TypingEvent};
use crate::{
    presence::ReplicaId,
    supervision::{ChildSpec, Supervisor},
};

/// What waits to be told; above this new ones are lost. Who goes on typing is told again, who has
/// stopped ends by the deadline.
const QUEUE: usize = 4096;
/// At most so many go into one frame.
const BATCH: usize = 256;

/// Somebody types somewhere, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) conversation: ConversationId,
    pub(super) user: UserId,
    pub(super) typing: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Frame {
    node: ReplicaId,
    said: Vec<Said>,
}

/// The way to the task that tells.
#[derive(Debug)]
pub(super) struct Telling(mpsc::Sender<Said>);

impl Telling {
    pub(super) fn start(
        supervisor: &Supervisor,
        typing: &Typing,
        shared: &Shared,
        node: ReplicaId,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        // The next run of the task goes on with the same queue.
        let queue = Arc::new(Mutex::new(receiver));
        let gossip = Arc::clone(&shared.gossip);
        supervisor.launch(ChildSpec::task("typing-speaker", "gossip", move |stop| {
            let (gossip, queue) = (Arc::clone(&gossip), Arc::clone(&queue));
            async move {
                let mut queue = queue.lock().await;
                stop.run_until_cancelled(speak(&*gossip, &mut queue, node))
                    .await;
            }
        }));
        let (gossip, typing) = (Arc::clone(&shared.gossip), typing.clone());
        supervisor.launch(ChildSpec::task("typing-listener", "gossip", move |stop| {
            listen(Arc::clone(&gossip), typing.clone(), node, stop)
        }));
        Self(sender)
    }

    pub(super) fn tell(&self, event: &TypingEvent) {
        let said = Said {
            conversation: event.conversation.clone(),
            user: event.user.clone(),
            typing: event.typing,
        };
        if self.0.try_send(said).is_err() {
            Channel::Typing.count_dropped();
        }
    }
}

async fn speak(gossip: &dyn Gossip, queue: &mut mpsc::Receiver<Said>, node: ReplicaId) {
    let mut said = Vec::new();
    while queue.recv_many(&mut said, BATCH).await > 0 {
        let frame = Frame {
            node,
            said: std::mem::take(&mut said),
        };
        let written = match serde_json::to_vec(&frame) {
            Ok(written) => gossip.tell(Channel::Typing, written.into()).await.is_ok(),
            Err(_) => false,
        };
        if !written {
            Channel::Typing.count_dropped();
        }
    }
}

async fn listen(gossip: Arc<dyn Gossip>, typing: Typing, node: ReplicaId, stop: CancellationToken) {
    let mut frames = gossip.hear(Channel::Typing);
    while let Some(Some(frame)) = stop.run_until_cancelled(frames.recv()).await {
        match serde_json::from_slice::<Frame>(&frame) {
            Ok(frame) if frame.node == node => {}
            Ok(frame) => {
                for said in &frame.said {
                    if typing.heard(frame.node, said).is_err() {
                        Channel::Typing.count_dropped();
                    }
                }
            }
            Err(_) => Channel::Typing.count_dropped(),
        }
    }
}

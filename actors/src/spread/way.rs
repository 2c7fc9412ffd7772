//! The relay, and the two tasks that tell and hear.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use quikapp_storage::{Channel, Gossip, Shared};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    count_lost, frame,
    frame::{Parcel, Said, Unreadable},
    heard::Heard,
    queue::{Batch, Queue, Refused},
};
use crate::{
    fanout::{Broadcast, Fanout, NodeId, Relay},
    supervision::{ChildSpec, Supervisor},
};

/// After this what could not be told is told once more: longer than the way rests after a failure.
const AGAIN: Duration = Duration::from_millis(1100);

/// Takes what is published on `fanout` to the other nodes, and what they publish to its
/// subscribers; `node` is this one, fresh at every start.
pub fn start_under(supervisor: &Supervisor, fanout: &Fanout, shared: &Shared, node: NodeId) {
    let way = Arc::new(Way {
        node,
        queue: Mutex::default(),
        waits: Notify::new(),
    });
    fanout.set_relay(way.clone());
    let gossip = Arc::clone(&shared.gossip);
    supervisor.launch(ChildSpec::task("relay-speaker", "gossip", move |stop| {
        speak(way.clone(), Arc::clone(&gossip), stop)
    }));
    let listener = Arc::new(Listener {
        node,
        fanout: fanout.clone(),
        heard: Mutex::default(),
    });
    let gossip = Arc::clone(&shared.gossip);
    supervisor.launch(ChildSpec::task("relay-listener", "gossip", move |stop| {
        listen(listener.clone(), Arc::clone(&gossip), stop)
    }));
}

/// The way out. What waits outlives a failure of the task.
#[derive(Debug)]
struct Way {
    node: NodeId,
    queue: Mutex<Queue>,
    waits: Notify,
}

impl Relay for Way {
    fn node(&self) -> NodeId {
        self.node
    }

    fn relay(&self, broadcast: &Arc<Broadcast>, to: Option<NodeId>) {
        let broadcast = Arc::clone(broadcast);
        let pushed = self.queue.lock().push(Parcel { to, broadcast });
        match pushed {
            Ok(true) => self.waits.notify_one(),
            Ok(false) => {}
            Err(Refused::Full) => count_lost("queue_full", 1),
            Err(Refused::TooLarge) => count_lost("too_large", 1),
        }
    }
}

async fn speak(way: Arc<Way>, gossip: Arc<dyn Gossip>, stop: CancellationToken) {
    let speaking = async {
        loop {
            let batch = way.queue.lock().take();
            match batch {
                Some(batch) => way.tell(&*gossip, &batch).await,
                None => way.waits.notified().await,
            }
        }
    };
    stop.run_until_cancelled(speaking).await;
}

impl Way {
    /// A connection that turns out to be gone is worth a second attempt. If nobody can be told then
    /// either, what waits is lost with it: who comes back after an outage is not told what is stale.
    async fn tell(&self, gossip: &dyn Gossip, batch: &Batch) {
        let frame = frame::write(self.node, batch.first, &batch.parcels);
        let told = async || gossip.tell(Channel::Broadcast, frame.clone()).await;
        let outcome = match told().await {
            Ok(()) => Ok(()),
            Err(_) => {
                sleep(AGAIN).await;
                // If it was heard the first time, its numbers tell.
                told().await
            }
        };
        let count = batch.parcels.len() as u64;
        match outcome {
            Ok(()) => relayed("out").increment(count),
            Err(error) => {
                let count = count + self.queue.lock().clear();
                tracing::debug!(count, %error, "broadcasts are not told to other nodes");
                count_lost("not_told", count);
            }
        }
    }
}

/// The way in.
#[derive(Debug)]
struct Listener {
    node: NodeId,
    fanout: Fanout,
    heard: Mutex<Heard>,
}

async fn listen(listener: Arc<Listener>, gossip: Arc<dyn Gossip>, stop: CancellationToken) {
    let mut frames = gossip.hear(Channel::Broadcast);
    while let Some(Some(frame)) = stop.run_until_cancelled(frames.recv()).await {
        listener.heard(frame);
    }
}

impl Listener {
    fn heard(&self, frame: Bytes) {
        if frame::is_of(&frame, self.node) {
            return;
        }
        let frame = match frame::read(frame) {
            Ok(frame) => frame,
            Err(error) => return unreadable(error),
        };
        let count = frame.said.len();
        let admitted = self.heard.lock().admit(frame.node, frame.first, count);
        count_lost("missed", admitted.missed);
        for said in &frame.said[admitted.repeated..] {
            if let Err(error) = self.pass_on(said) {
                unreadable(error);
            }
        }
    }

    fn pass_on(&self, said: &Said) -> Result<(), Unreadable> {
        let is_for_us = said.to.is_none_or(|to| to == self.node);
        if is_for_us && self.fanout.subscribers(said.topic()?) > 0 {
            self.fanout.publish_local(said.broadcast()?);
            relayed("in").increment(1);
        }
        Ok(())
    }
}

fn relayed(direction: &'static str) -> metrics::Counter {
    metrics::counter!("quikapp_relayed_broadcasts_total", "direction" => direction)
}

fn unreadable(error: Unreadable) {
    tracing::debug!(%error, "what another node published cannot be read");
    count_lost("unreadable", 1);
}

//! Acknowledgements: what they take out of queues, and which messages may be forgotten by them.

use std::{collections::HashSet, sync::Arc};

use parking_lot::Mutex;
use quikapp_storage::{ConversationId, Person, StoreError, Timer, TimerKind};
use tokio::sync::Notify;

use super::{
    devices::{self, Used},
    handle::Shared,
    timers,
};

/// Acknowledgements that wait to be dealt with. Beyond them one is let go: entries leave a queue
/// with the next acknowledgement or with their age, and messages are looked at by their timers.
const MOST: usize = 65_536;
/// Messages of one conversation that are looked at together.
const MESSAGES: usize = 256;

/// What was acknowledged and not dealt with yet.
#[derive(Debug, Default)]
pub(super) struct Acks {
    waiting: Mutex<HashSet<(Person, Option<ConversationId>)>>,
    /// Devices that were seen to be in use. Beyond [`MOST`] one is let go: it is seen again.
    used: Mutex<HashSet<Used>>,
    came: Notify,
}

impl Acks {
    /// A device of a person has acknowledged something: in one conversation, or of the stream
    /// over all. Never waits.
    pub(super) fn add(&self, person: &Person, id: Option<&ConversationId>) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < MOST {
            waiting.insert((person.clone(), id.cloned()));
        }
        drop(waiting);
        self.came.notify_one();
    }

    /// A device of a person is in use. Never waits.
    pub(super) fn used(&self, device: Used) {
        let mut used = self.used.lock();
        if used.len() < MOST {
            used.insert(device);
        }
        drop(used);
        self.came.notify_one();
    }

    fn take(&self) -> Vec<(Person, Option<ConversationId>)> {
        self.waiting.lock().drain().collect()
    }

    pub(super) fn take_used(&self) -> Vec<Used> {
        self.used.lock().drain().collect()
    }
}

/// Deals with acknowledgements for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        shared.acks.came.notified().await;
        tokio::time::sleep(shared.config.projection_window).await;
        if let Err(error) = deal_with(&shared, shared.acks.take()).await {
            tracing::warn!(%error, "acknowledged entries stay queued");
        }
        if let Err(error) = devices::note(&shared, shared.acks.take_used()).await {
            tracing::warn!(%error, "devices in use are not written down");
        }
    }
}

async fn deal_with(
    shared: &Shared,
    acknowledged: Vec<(Person, Option<ConversationId>)>,
) -> Result<(), StoreError> {
    let mut conversations = HashSet::new();
    for (person, id) in &acknowledged {
        match id {
            Some(id) => drop(conversations.insert(id.clone())),
            // What the cursor over all went past is no longer known; what is queued is.
            None => {
                let queue = shared.store.queue(person, MESSAGES).await?;
                let queued = queue.conversations.into_iter();
                conversations.extend(queued.map(|it| it.conversation));
            }
        }
    }
    let people: HashSet<_> = acknowledged.iter().map(|(it, _)| it.clone()).collect();
    shared.store.trim_queue(acknowledged).await?;
    for person in &people {
        shared.tails.changes().of_person(person);
    }
    for id in conversations {
        forget_delivered(shared, &id).await?;
    }
    Ok(())
}

/// Forgets the messages of a conversation that are on every device by now. The oldest are looked
/// at first: whoever lacks a message lacks what the same sender said later, so nobody is asked
/// about that. In a conversation too large to be queued for, acknowledgements are too many to look
/// at any; the messages' timers do.
async fn forget_delivered(shared: &Shared, id: &ConversationId) -> Result<(), StoreError> {
    let kind = TimerKind::UntilDelivered;
    let messages = shared.store.timers_of(kind, id.as_str(), MESSAGES).await?;
    if messages.is_empty() || is_large(shared, id).await? {
        return Ok(());
    }
    let with_ending = |timer: Timer| Some((timers::ending_of(&timer)?, timer));
    let mut messages: Vec<_> = messages.into_iter().filter_map(with_ending).collect();
    messages.sort_by_key(|(ending, _)| ending.seq);
    let mut lacked = HashSet::new();
    for (ending, timer) in messages {
        if !lacked.contains(&ending.sender)
            && !timers::forget_if_delivered(shared, &timer, &ending).await
        {
            lacked.insert(ending.sender);
        }
    }
    Ok(())
}

async fn is_large(shared: &Shared, id: &ConversationId) -> Result<bool, StoreError> {
    let most = shared.config.queue_up_to_members;
    let members = shared
        .store
        .members(id, None, most.saturating_add(1))
        .await?;
    Ok(members.len() > most)
}

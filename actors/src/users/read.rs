//! What is read from the store.

use futures_util::{StreamExt, TryStreamExt, stream};
use quikapp_storage::{
    ConversationId, DeviceId, PendingQueue, Person, SharedStore, StoreError, StreamCursor,
    Timestamp,
};

use super::core::Tally;
use crate::delivery::{self, Reach, reach};

/// Threads of a conversation that are looked at for something unread.
const THREADS: usize = 100;
/// Conversations of a queue that are looked at for its oldest entry.
const QUEUED: usize = 1_000;
/// Conversations counted, and devices looked at, at the same time.
const CONCURRENCY: usize = 8;

/// The conversations that a person is in.
pub(super) async fn memberships(
    store: &SharedStore,
    person: &Person,
) -> Result<Vec<ConversationId>, StoreError> {
    let found = store.conversations_of(person).await?;
    Ok(found.into_iter().map(|(id, _)| id).collect())
}

/// What is unread in some conversations.
pub(super) async fn tallies(
    store: &SharedStore,
    person: &Person,
    ids: Vec<ConversationId>,
) -> Result<Vec<(ConversationId, Tally)>, StoreError> {
    let counted = stream::iter(ids).map(|id| async move {
        let tally = tally(store, person, &id).await?;
        Ok((id, tally))
    });
    counted.buffer_unordered(CONCURRENCY).try_collect().await
}

async fn tally(
    store: &SharedStore,
    person: &Person,
    id: &ConversationId,
) -> Result<Tally, StoreError> {
    let user = &person.user;
    let mutes = store.mutes(id, std::slice::from_ref(user)).await?;
    let threads = store.threads(id, user, None, THREADS).await?;
    let unread = threads.into_iter().filter(|thread| thread.unread > 0);
    Ok(Tally {
        unread: store.unread(id, user).await?,
        threads: unread.map(|thread| (thread.root, thread.unread)).collect(),
        mute: mutes.into_iter().next().flatten(),
    })
}

/// What waits for a person, and up to where their devices, at most so many, have acknowledged the
/// stream.
pub(super) async fn waiting(
    store: &SharedStore,
    person: &Person,
    most: usize,
) -> Result<(PendingQueue, Vec<(DeviceId, Option<StreamCursor>)>), StoreError> {
    let queue = store.queue(person, QUEUED).await?;
    let devices = store.devices(person).await?.into_iter().take(most);
    let devices = stream::iter(devices).map(|device| async move {
        let cursor = store.stream_cursor(person, &device).await?;
        Ok((device, cursor))
    });
    let devices = devices.buffer_unordered(CONCURRENCY).try_collect().await;
    devices.map(|devices| (queue, devices))
}

/// Whether what follows the places of devices is too much or too old to be replayed.
pub(super) async fn measured(
    store: &SharedStore,
    config: &delivery::Config,
    now: Timestamp,
    person: &Person,
    devices: Vec<(DeviceId, StreamCursor)>,
) -> Result<Vec<(DeviceId, bool)>, StoreError> {
    let measured = stream::iter(devices).map(|(device, cursor)| async move {
        let reach = reach(store, config, now, person, Some(&device), &cursor).await?;
        Ok((device, matches!(reach, Reach::Beyond)))
    });
    measured.buffer_unordered(CONCURRENCY).try_collect().await
}

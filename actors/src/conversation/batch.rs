//! One batch of a conversation, from decision to fan-out.

use std::sync::Arc;

use quikapp_storage::{
    AcquireError, Append, AppendError, Appended, Claim, ConversationId, Entry, Key16, StoreError,
};
use tokio::time::Instant;

use super::{
    CommandError,
    core::{self, Core, Decision, Draft, Found, Request},
    handle::Shared,
    notices,
    reply::Reply,
};

/// How often a batch is decided anew before its callers are asked to try again.
const ATTEMPTS: usize = 16;

/// A command that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) request: Request,
    pub(crate) reply: Reply,
    /// Until when it may wait for a conversation that another process holds.
    pub(crate) deadline: Instant,
}

/// What stands in the way of a batch, after which it may be tried again.
enum Obstacle {
    /// Somebody else wrote: take the conversation (again) and decide anew.
    Reacquire,
    /// A key is taken, or may be where somebody would be refused: look keys up and decide anew.
    LookUpKeys,
    /// Nobody knows whether the batch was written: take the conversation, so that it cannot be
    /// written any more, and look.
    InDoubt,
    /// Nothing was written and nothing will be.
    Refused(CommandError),
}

/// Writes a batch: decides, appends, answers, publishes. Returns the conversation as it is now,
/// or nothing if this process no longer knows.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    id: &ConversationId,
    mut core: Option<Core>,
    mut batch: Vec<Pending>,
) -> Option<Core> {
    let mut look_up_keys = false;
    for _ in 0..ATTEMPTS {
        let held = match core.take() {
            Some(core) => core,
            None => match acquire(shared, id, &batch).await {
                Ok(core) => core,
                Err(error) => {
                    refuse(batch, &error);
                    return None;
                }
            },
        };
        let obstacle = match attempt(shared, id, &held, &mut batch, look_up_keys).await {
            Ok(Done {
                draft,
                decisions,
                appended,
            }) => {
                return Some(finish(shared, id, draft, batch, decisions, appended).await);
            }
            Err(obstacle) => obstacle,
        };
        match obstacle {
            Obstacle::Reacquire => {}
            Obstacle::LookUpKeys => {
                look_up_keys = true;
                core = Some(held);
            }
            Obstacle::InDoubt => look_up_keys = true,
            Obstacle::Refused(error) => {
                refuse(batch, &error);
                return Some(held);
            }
        }
    }
    refuse(batch, &shared.moved());
    None
}

/// A batch that is decided and, if there was anything to write, written.
struct Done {
    draft: Draft,
    decisions: Vec<Decision>,
    appended: Option<Appended>,
}

/// Decides and appends once. Afterwards the replies know whether the outcome is in doubt.
async fn attempt(
    shared: &Shared,
    id: &ConversationId,
    core: &Core,
    batch: &mut [Pending],
    look_up_keys: bool,
) -> Result<Done, Obstacle> {
    // A failure here leaves a doubt from an earlier attempt as it was.
    let found = look_up(shared, id, core, batch, look_up_keys).await;
    let found = found.map_err(|error| Obstacle::Refused(refusal_of(&error)))?;
    let mut draft = core.draft(found, shared.clock.now());
    let decisions = batch.iter().map(|it| draft.decide(&it.request)).collect();
    if draft.needs_keys() {
        return Err(Obstacle::LookUpKeys);
    }
    let mut appended = None;
    if draft.entries().is_empty() {
        is_current(shared, id, core).await?;
        set_in_doubt(batch, false);
    } else {
        set_in_doubt(batch, true);
        let result = append(shared, id, core, &draft).await;
        set_in_doubt(batch, matches!(result, Err(Obstacle::InDoubt)));
        appended = Some(result?);
    }
    Ok(Done {
        draft,
        decisions,
        appended,
    })
}

/// Answers, then publishes, then tells the members whom it concerns.
async fn finish(
    shared: &Arc<Shared>,
    id: &ConversationId,
    draft: Draft,
    batch: Vec<Pending>,
    decisions: Vec<Decision>,
    appended: Option<Appended>,
) -> Core {
    // Taking the conversation again has published these.
    let found = draft.found_written(batch.iter().map(|it| &it.request));
    let (core, entries) = match &appended {
        Some(appended) => draft.committed(appended),
        None => (draft.abandoned(), Vec::new()),
    };
    for entries in [&found, &entries] {
        if !entries.is_empty() {
            notices::count_changes(shared, core.workspace(), id, entries);
        }
    }
    answer(batch, decisions, &entries);
    shared.live.publish(&shared.store, id, &entries).await;
    if !entries.is_empty() {
        let concerns_all = entries.iter().any(notices::concerns_somebody);
        shared.tails.written(id, &entries, concerns_all);
    }
    notices::of_entries(shared, &core, id, &found);
    notices::of_entries(shared, &core, id, &entries);
    core
}

/// Takes the conversation, waiting for another process to have had it long enough.
async fn acquire(
    shared: &Shared,
    id: &ConversationId,
    batch: &[Pending],
) -> Result<Core, CommandError> {
    let deadline = batch.iter().map(|it| it.deadline).min();
    loop {
        let claim = Claim {
            owner: shared.owner,
            now: shared.clock.now(),
            min_tenure_ms: shared.min_tenure_ms(),
        };
        let held_for_ms = match shared.store.acquire(id, claim).await {
            Ok(acquired) => {
                let core = Core::new(acquired, Arc::clone(&shared.limits));
                shared.live.begin(&shared.store, id, core.tail()).await;
                // What an owner before wrote last may not be projected yet, nor counted.
                shared.tails.grown(id);
                shared.tails.changes().in_conversation(id);
                return Ok(core);
            }
            Err(AcquireError::NotFound) => return Err(CommandError::ConversationNotFound),
            Err(AcquireError::Store(error)) => return Err(refusal_of(&error)),
            Err(AcquireError::Held { held_for_ms }) => held_for_ms,
        };
        metrics::counter!("quikapp_takeovers_delayed_total").increment(1);
        let wait = shared.wait_for_tenure(held_for_ms);
        if deadline.is_none_or(|deadline| Instant::now() + wait > deadline) {
            return Err(shared.moved());
        }
        tokio::time::sleep(wait).await;
    }
}

async fn look_up(
    shared: &Shared,
    id: &ConversationId,
    core: &Core,
    batch: &[Pending],
    look_up_keys: bool,
) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let messages: Vec<_> = batch.iter().flat_map(|it| it.request.messages()).collect();
    if !messages.is_empty() {
        found.messages = shared.store.messages(id, &messages).await?;
    }
    if look_up_keys {
        let keys = batch.iter().flat_map(|it| it.request.keys().iter());
        let keys: Vec<Key16> = keys.collect();
        found.originals = Some(shared.store.by_keys(id, &keys).await?);
    }
    if let Some((person, other)) = core.pair()
        && batch.iter().any(|it| it.request.reaches_the_other())
    {
        found.blocked = shared.store.blocks(&person).await?.contains(&other);
    }
    Ok(found)
}

/// An append is fenced; a batch that writes nothing has to look. Another process may have made
/// somebody a member since: to say that they are none, or that nothing is left to be done about
/// it, would be wrong.
async fn is_current(shared: &Shared, id: &ConversationId, core: &Core) -> Result<(), Obstacle> {
    let tails = shared.store.tails(std::slice::from_ref(id)).await;
    let tails = tails.map_err(|error| Obstacle::Refused(refusal_of(&error)))?;
    match tails.first() {
        Some((_, tail)) if *tail == core.tail() => Ok(()),
        _ => Err(Obstacle::Reacquire),
    }
}

async fn append(
    shared: &Shared,
    id: &ConversationId,
    core: &Core,
    draft: &Draft,
) -> Result<Appended, Obstacle> {
    let part = Append {
        conversation: id.clone(),
        epoch: core.epoch(),
        tail: core.tail(),
        entries: draft.entries().to_vec(),
    };
    let began = Instant::now();
    let result = shared.store.append(vec![part]).await.pop();
    metrics::histogram!("quikapp_append_seconds").record(began.elapsed());
    if result.as_ref().is_some_and(Result::is_ok) {
        let count = draft.entries().len() as u64;
        metrics::counter!("quikapp_entries_appended_total").increment(count);
    }
    result
        .unwrap_or_else(|| Err(StoreError::Unknown("no result".to_owned()).into()))
        .map_err(|error| match error {
            AppendError::Fenced | AppendError::TailMoved { .. } => Obstacle::Reacquire,
            AppendError::DuplicateKey { .. } => Obstacle::LookUpKeys,
            AppendError::Store(StoreError::Unknown(_)) => Obstacle::InDoubt,
            AppendError::Store(error) => Obstacle::Refused(refusal_of(&error)),
        })
}

fn set_in_doubt(batch: &mut [Pending], in_doubt: bool) {
    for pending in batch {
        pending.reply.set_in_doubt(in_doubt);
    }
}

/// Answers everybody, in the order they asked.
fn answer(batch: Vec<Pending>, decisions: Vec<Decision>, entries: &[Entry]) {
    for (pending, decision) in batch.into_iter().zip(decisions) {
        pending.reply.send(match decision {
            Decision::Append { index, replayed } => Ok(core::outcome(&entries[index], replayed)),
            Decision::Done(outcome) => Ok(outcome),
            Decision::Refuse(error) => Err(error),
        });
    }
}

fn refuse(batch: Vec<Pending>, error: &CommandError) {
    for pending in batch {
        pending.reply.refuse(error.clone());
    }
}

/// What callers hear of a store that did not write.
pub(crate) fn refusal_of(error: &StoreError) -> CommandError {
    match error {
        StoreError::Overloaded => CommandError::Overloaded,
        StoreError::Unavailable(_) => CommandError::Unavailable,
        StoreError::Unknown(_) => CommandError::OutcomeUnknown,
        StoreError::Corrupt(_) | StoreError::Invalid(_) => {
            tracing::error!(%error, "store");
            CommandError::Unavailable
        }
    }
}

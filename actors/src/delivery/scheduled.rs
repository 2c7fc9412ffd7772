//! Messages that are sent later: a timer each, whose payload is the message.
//!
//! The message's id is made when it is scheduled, and with it its idempotency key, so a process
//! that dies between sending it and deleting its timer does no harm: sent again, it is the same
//! message.

use quikapp_protocol::{Json, Payload};
use quikapp_storage::{
    ConversationId, EntryId, Fired, NewTimer, Person, StoreError, Timer, TimerKind, Timestamp,
    timer_shard,
};
use serde::{Deserialize, Serialize};

use super::{
    handle::Shared,
    payload::{ScheduledChanged, ScheduledFailed, ScheduledPayload, ScheduledStatus},
    timers,
};
use crate::{
    conversation::{
        Command, CommandError, MessageClass, SendMessage, check_client_id, check_message,
        content_hash, entry_keys, hex_key, person_topic, refusal_of,
    },
    fanout::Broadcast,
};

/// For how long one process has a due message to itself. After that another may try.
const LEASE_MS: i64 = 30_000;
/// When a message that could not be sent for now is tried again.
const RETRY_MS: i64 = 2_000;
/// Timers read at once.
const PAGE: usize = 100;

/// The timer's payload.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Scheduled {
    id: EntryId,
    person: Person,
    conversation: ConversationId,
    send_at: Timestamp,
    created_at: Timestamp,
    send: SendMessage,
    /// Somebody is sending it, or may have sent it, and it can no longer be cancelled.
    #[serde(default)]
    leased: bool,
}

impl Scheduled {
    fn payload(&self) -> ScheduledPayload {
        let times = (self.send_at, self.created_at);
        ScheduledPayload::new(self.id, self.conversation.clone(), &self.send, times)
    }

    fn timer(&self) -> NewTimer {
        let name = match &self.send.client_id {
            Some(client_id) => hex_key(&self.person.user, client_id),
            None => self.id.to_string(),
        };
        NewTimer {
            kind: TimerKind::SendMessage,
            id: format!("{}:{name}", self.conversation),
            group: group_of(&self.person),
            shard: timer_shard(&self.conversation),
            due_at: self.send_at,
            payload: self.text().into(),
        }
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What a person's scheduled messages are listed by.
fn group_of(person: &Person) -> String {
    person.own_conversation().as_str().to_owned()
}

/// Keeps a message to be sent at a moment. The same `client_id` with the same content is the same
/// scheduled message, so a retry schedules nothing new.
pub(super) async fn schedule(
    shared: &Shared,
    person: &Person,
    conversation: &ConversationId,
    send: SendMessage,
    send_at: Timestamp,
) -> Result<ScheduledPayload, CommandError> {
    check(shared, &send, send_at)?;
    let scheduled = Scheduled {
        id: EntryId::generate(),
        person: person.clone(),
        conversation: conversation.clone(),
        send_at,
        created_at: shared.clock.now(),
        send,
        leased: false,
    };
    let timer = scheduled.timer();
    let turn = usize::from(timer_shard(&person.own_conversation()));
    let _turn = shared.turns[turn].lock().await;
    if let Some(known) = known(shared, &timer.id).await? {
        return same(&known, &scheduled);
    }
    let most = shared.config.scheduled_per_person;
    if all(shared, person).await?.len() >= most {
        return Err(too_many(most));
    }
    let new = Fired {
        kind: timer.kind,
        id: timer.id.clone(),
        version: 1,
    };
    let put = shared.store.put_timer(timer).await;
    if !put.map_err(|error| refusal_of(&error))?
        && let Some(known) = known(shared, &new.id).await?
    {
        return same(&known, &scheduled);
    }
    if is_too_much(shared, person).await && withdraw(shared, &new).await == Ok(true) {
        return Err(too_many(most));
    }
    tell(shared, &scheduled, ScheduledStatus::Scheduled);
    Ok(scheduled.payload())
}

/// Whether another process has scheduled something at the same time, and it is too much together.
/// If nobody can say, what is kept stays: that it is not would be wrong.
async fn is_too_much(shared: &Shared, person: &Person) -> bool {
    let most = shared.config.scheduled_per_person;
    all(shared, person).await.is_ok_and(|all| all.len() > most)
}

fn too_many(most: usize) -> CommandError {
    invalid("send_at", format!("at most {most} scheduled messages"))
}

/// Deletes a scheduled message; `false` if it is being sent, or has gone.
async fn withdraw(shared: &Shared, timer: &Fired) -> Result<bool, CommandError> {
    let deleted = shared.store.delete_timer(timer).await;
    deleted.map_err(|error| refusal_of(&error))
}

fn check(shared: &Shared, send: &SendMessage, send_at: Timestamp) -> Result<(), CommandError> {
    let (limits, now) = (shared.conversations.limits(), shared.clock.now());
    check_client_id(send, limits, now)?;
    check_message(send, limits)?;
    if send.class == MessageClass::Ephemeral {
        let detail = "an ephemeral message is not kept at all";
        return Err(invalid("send_at", detail.to_owned()));
    }
    let ahead = send_at.0 - now.0;
    let most = shared.config.scheduled_ahead;
    if ahead <= 0 {
        return Err(invalid("send_at", "must be in the future".to_owned()));
    }
    if u128::try_from(ahead).unwrap_or(u128::MAX) > most.as_millis() {
        let days = most.as_secs() / (24 * 3600);
        return Err(invalid("send_at", format!("at most {days} days ahead")));
    }
    Ok(())
}

fn invalid(field: &'static str, detail: String) -> CommandError {
    CommandError::InvalidField { field, detail }
}

async fn known(shared: &Shared, timer: &str) -> Result<Option<Scheduled>, CommandError> {
    let found = shared.store.timer(TimerKind::SendMessage, timer).await;
    let found = found.map_err(|error| refusal_of(&error))?;
    Ok(found.as_ref().and_then(read))
}

/// The answer to a message that is scheduled already.
fn same(known: &Scheduled, asked: &Scheduled) -> Result<ScheduledPayload, CommandError> {
    let is_same = content_hash(&known.send) == content_hash(&asked.send);
    if is_same && known.send_at == asked.send_at {
        Ok(known.payload())
    } else {
        Err(CommandError::IdempotencyConflict)
    }
}

/// A person's scheduled messages in a conversation, the earliest first.
pub(super) async fn list(
    shared: &Shared,
    person: &Person,
    conversation: &ConversationId,
) -> Result<Vec<ScheduledPayload>, CommandError> {
    let all = all(shared, person).await?;
    let here = all
        .iter()
        .filter(|(_, it)| it.conversation == *conversation);
    Ok(here.map(|(_, it)| it.payload()).collect())
}

/// All that a person has scheduled. It may be more than the settings allow: they may have allowed
/// more before.
async fn all(shared: &Shared, person: &Person) -> Result<Vec<(Fired, Scheduled)>, CommandError> {
    let (store, group) = (&shared.store, group_of(person));
    let mut most = shared.config.scheduled_per_person.max(PAGE);
    loop {
        let timers = store.timers_of(TimerKind::SendMessage, &group, most);
        let timers = timers.await.map_err(|error| refusal_of(&error))?;
        if timers.len() < most {
            let read = |timer: &Timer| Some((timer.fired(), read(timer)?));
            return Ok(timers.iter().filter_map(read).collect());
        }
        most = most.saturating_mul(2);
    }
}

fn read(timer: &Timer) -> Option<Scheduled> {
    let scheduled = serde_json::from_str(&timer.payload);
    if let Err(error) = &scheduled {
        tracing::error!(timer = timer.id, %error, "a damaged scheduled message");
    }
    scheduled.ok()
}

/// Takes a scheduled message back. One that is being sent, or was, or of which that is not known,
/// is not found.
pub(super) async fn cancel(
    shared: &Shared,
    person: &Person,
    conversation: &ConversationId,
    id: EntryId,
) -> Result<(), CommandError> {
    let all = all(shared, person).await?;
    let is_it = |it: &Scheduled| it.id == id && it.conversation == *conversation && !it.leased;
    let found = all.into_iter().find(|(_, it)| is_it(it));
    let (timer, scheduled) = found.ok_or(CommandError::MessageNotFound)?;
    if !withdraw(shared, &timer).await? {
        return Err(CommandError::MessageNotFound);
    }
    tell(shared, &scheduled, ScheduledStatus::Cancelled);
    Ok(())
}

/// Forgets all that a person has scheduled, also what is being sent just now; how much there was.
pub(super) async fn forget(shared: &Shared, person: &Person) -> Result<u64, StoreError> {
    let (store, group) = (&shared.store, group_of(person));
    let mut count = 0;
    loop {
        let timers = store.timers_of(TimerKind::SendMessage, &group, PAGE);
        let timers = timers.await?;
        if timers.is_empty() {
            return Ok(count);
        }
        for timer in timers {
            // One that moved meanwhile is met again.
            count += u64::from(store.delete_timer(&timer.fired()).await?);
        }
    }
}

/// Sends what is due. Whether its timer has moved.
pub(super) async fn send(shared: &Shared, timer: &Timer) -> bool {
    let Some(mut scheduled) = read(timer) else {
        return timers::done(shared, timer).await;
    };
    // By somebody who died meanwhile, or did not hear what came of it.
    let may_be_sent = std::mem::replace(&mut scheduled.leased, true);
    match timers::lease(shared, timer, LEASE_MS, scheduled.text()).await {
        Ok(Some(leased)) => {
            send_leased(shared, leased, scheduled, may_be_sent).await;
            true
        }
        // Cancelled, or another process is at it.
        Ok(None) => true,
        Err(error) => {
            tracing::debug!(timer = timer.id, %error, "a scheduled message waits");
            false
        }
    }
}

async fn send_leased(
    shared: &Shared,
    mut timer: Timer,
    mut scheduled: Scheduled,
    may_be_sent: bool,
) {
    let submitted = match submit(shared, &scheduled).await {
        Err(error) if !is_for_now(&error) => refused(shared, &scheduled, error).await,
        submitted => submitted,
    };
    match submitted {
        Ok(()) => {
            timers::done(shared, &timer).await;
            tell(shared, &scheduled, ScheduledStatus::Sent);
        }
        Err(error) if is_for_now(&error) => {
            scheduled.leased = may_be_sent || error == CommandError::OutcomeUnknown;
            timer.payload = scheduled.text().into();
            timers::again(shared, &timer, RETRY_MS).await;
        }
        Err(error) => fail(shared, &timer, &scheduled, &error).await,
    }
}

/// Sending was refused. Nothing has failed if the message is in the log all the same: somebody
/// sent it who died before the timer was deleted, and the author was removed since.
async fn refused(
    shared: &Shared,
    scheduled: &Scheduled,
    error: CommandError,
) -> Result<(), CommandError> {
    let keys = entry_keys(&scheduled.person.user, &scheduled.send, scheduled.id);
    let keys: Vec<_> = keys.iter().collect();
    let found = shared.store.by_keys(&scheduled.conversation, &keys).await;
    let found = found.map_err(|error| refusal_of(&error))?;
    match found.iter().any(|entry| entry.id == scheduled.id) {
        true => Ok(()),
        false => Err(error),
    }
}

/// What was allowed when the message was written is asked again: the token may have been revoked
/// since, or the membership may have ended.
async fn submit(shared: &Shared, scheduled: &Scheduled) -> Result<(), CommandError> {
    let Scheduled {
        person,
        conversation,
        ..
    } = scheduled;
    let may_send = &shared.may_send;
    may_send(person.clone(), conversation.clone(), scheduled.created_at).await?;
    let command = Command::Send(Box::new(scheduled.send.clone()));
    let submitted =
        shared
            .conversations
            .submit_with_id(person, conversation, scheduled.id, command);
    submitted.await.map(drop)
}

/// Whether the same may succeed later.
fn is_for_now(error: &CommandError) -> bool {
    matches!(
        error,
        CommandError::Overloaded
            | CommandError::Moved { .. }
            | CommandError::Unavailable
            | CommandError::OutcomeUnknown
    )
}

/// Tells the author, durably, before the message is forgotten.
async fn fail(shared: &Shared, timer: &Timer, scheduled: &Scheduled, error: &CommandError) {
    let failed = ScheduledFailed {
        id: scheduled.id,
        conversation_id: scheduled.conversation.clone(),
        client_id: scheduled.send.client_id.clone(),
        reason: error.reason().to_owned(),
        content: scheduled.send.content.clone(),
        send_at: scheduled.send_at,
    };
    let payload = serde_json::to_string(&failed).unwrap_or_default();
    let told = shared.conversations.notify(
        &scheduled.person,
        "message:scheduled:failed",
        payload.into(),
    );
    match told.await {
        Ok(_) => {
            timers::done(shared, timer).await;
            tell(shared, scheduled, ScheduledStatus::Failed);
        }
        Err(error) => {
            tracing::warn!(timer = timer.id, %error, "an author is not told yet");
            timers::again(shared, timer, RETRY_MS).await;
        }
    }
}

/// Tells the author's other devices; whoever is away reads the list.
fn tell(shared: &Shared, scheduled: &Scheduled, status: ScheduledStatus) {
    let changed = ScheduledChanged {
        id: scheduled.id,
        conversation_id: scheduled.conversation.clone(),
        status,
    };
    if let Ok(json) = Json::from_serialize(&changed) {
        let topic = person_topic(&scheduled.person);
        let broadcast = Broadcast::new(topic, "scheduled:changed", Payload::Json(json));
        shared.conversations.fanout().publish(broadcast);
    }
}

//! Timers that are due.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use quikapp_storage::{
    ConversationId, MessageId, Seq, ServerMutant, StoreError, Timer, TimerKind, Timestamp, UserId,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{erasure, handle::Shared, scheduled};
use crate::conversation::{Command, CommandError, Creation, Gone};

/// Timers read at once.
const PAGE: usize = 100;
/// Of those, how many fire at the same time.
const CONCURRENCY: usize = 16;
/// When it is looked for the second time whether a message has reached everybody; every further
/// time after twice as long.
const SECOND_LOOK_MS: i64 = 60_000;
/// But at least so often.
const LONGEST_WAIT_MS: i64 = 3_600_000;
/// When a timer that failed is tried again.
const RETRY_MS: i64 = 2_000;
/// Members looked at together. Few, since it ends at the first who lacks the message.
const MEMBERS: usize = 64;
/// Entries that leave the queue for their age in one go.
const OLD: usize = 1_000;
/// While nothing that is due can be moved, the pause grows to so many times the usual one.
const LONGEST_PAUSE: u32 = 10;

/// A message whose content does not stay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ending {
    pub(super) conversation: ConversationId,
    pub(super) message: MessageId,
    pub(super) seq: Seq,
    pub(super) sender: UserId,
    /// When it goes in any case.
    pub(super) expires_at: Timestamp,
}

/// What firing a page of timers came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Round {
    due: usize,
    /// Of those, how many are no longer due, whoever moved them. None is when the store takes no
    /// writes.
    moved: usize,
}

impl Round {
    /// There may be more that can be dealt with at once.
    fn goes_on(self) -> bool {
        self.due >= PAGE && self.moved > 0
    }

    fn is_stuck(self) -> bool {
        self.due > 0 && self.moved == 0
    }
}

/// Watches one shard for ever.
pub(super) async fn run(shared: Arc<Shared>, shard: u16) {
    let poll = shared.config.timer_poll;
    let mut pause = poll;
    loop {
        // Where nothing is written, nobody else does.
        shared.tails.recent().expire(Instant::now());
        match fire_due(&shared, shard).await {
            Ok(round) if round.goes_on() => {
                pause = poll;
                continue;
            }
            Ok(round) if round.is_stuck() => {
                tracing::warn!(shard, due = round.due, "timers are due and cannot be moved");
                pause = (pause * 2).min(poll * LONGEST_PAUSE);
            }
            Ok(_) => pause = poll,
            Err(error) => tracing::warn!(shard, %error, "due timers not readable"),
        }
        tokio::time::sleep(pause).await;
    }
}

/// Fires what is due in a shard, up to a page.
async fn fire_due(shared: &Arc<Shared>, shard: u16) -> Result<Round, StoreError> {
    let now = shared.clock.now();
    let timers = shared.store.due_timers(shard, now, PAGE).await?;
    let due = timers.len();
    if let Some(first) = timers.first() {
        let late = now.since_ms(first.due_at);
        metrics::gauge!("quikapp_timers_late_seconds").set(seconds(late));
    }
    let mut fired = stream::iter(timers)
        .map(|timer| fire(shared, timer))
        .buffer_unordered(CONCURRENCY);
    let mut moved = 0;
    while let Some(has_moved) = fired.next().await {
        moved += usize::from(has_moved);
    }
    Ok(Round { due, moved })
}

/// Does a timer's work; whether it is no longer due.
async fn fire(shared: &Arc<Shared>, timer: Timer) -> bool {
    let kind = timer.kind;
    let has_moved = match kind {
        TimerKind::SendMessage => scheduled::send(shared, &timer).await,
        TimerKind::Expire => expire(shared, &timer).await,
        TimerKind::UntilDelivered => look(shared, &timer).await,
        TimerKind::Erase => erasure::fire(shared, timer).await,
        TimerKind::Announce => announce(shared, &timer).await,
    };
    metrics::counter!("quikapp_timers_fired_total", "kind" => kind_name(kind)).increment(1);
    has_moved
}

fn kind_name(kind: TimerKind) -> &'static str {
    match kind {
        TimerKind::SendMessage => "send_message",
        TimerKind::Expire => "expire",
        TimerKind::UntilDelivered => "until_delivered",
        TimerKind::Erase => "erase",
        TimerKind::Announce => "announce",
    }
}

/// What a timer of a message is about; `None` if it is damaged.
pub(super) fn ending_of(timer: &Timer) -> Option<Ending> {
    let ending = serde_json::from_str(&timer.payload);
    if let Err(error) = &ending {
        tracing::error!(timer = timer.id, %error, "a damaged timer");
    }
    ending.ok()
}

async fn expire(shared: &Shared, timer: &Timer) -> bool {
    match ending_of(timer) {
        Some(ending) => take_away(shared, timer, &ending, Gone::Expired).await,
        None => done(shared, timer).await,
    }
}

/// Tells those who are in a conversation from its beginning, as far as they have not been told.
async fn announce(shared: &Shared, timer: &Timer) -> bool {
    let creation: Creation = match serde_json::from_str(&timer.payload) {
        Ok(creation) => creation,
        Err(error) => {
            tracing::error!(timer = timer.id, %error, "a damaged timer");
            return done(shared, timer).await;
        }
    };
    match shared.conversations.tell_of(&creation).await {
        Ok(()) => done(shared, timer).await,
        Err(error) => {
            tracing::debug!(conversation = timer.id, %error, "some do not know of a conversation");
            again(shared, timer, RETRY_MS).await
        }
    }
}

/// Has the content of a message redacted, and its timer deleted. Doing both again does nothing.
async fn take_away(shared: &Shared, timer: &Timer, ending: &Ending, why: Gone) -> bool {
    let command = Command::Expire {
        message: ending.message,
        why,
    };
    let id = &ending.conversation;
    match shared.conversations.submit_as_server(id, command).await {
        Ok(_) | Err(CommandError::MessageNotFound | CommandError::ConversationNotFound) => {
            done(shared, timer).await
        }
        Err(error) => {
            tracing::debug!(conversation = %id, message = %ending.message, %error,
                "a message that is to disappear is still there");
            again(shared, timer, RETRY_MS).await
        }
    }
}

/// Looks whether a message has reached everybody, or has waited long enough.
async fn look(shared: &Shared, timer: &Timer) -> bool {
    let Some(ending) = ending_of(timer) else {
        return done(shared, timer).await;
    };
    if ending.expires_at <= shared.clock.now() {
        return take_away(shared, timer, &ending, Gone::Expired).await;
    }
    if is_delivered(shared, &ending).await {
        return take_away(shared, timer, &ending, Gone::Delivered).await;
    }
    let doublings = u32::try_from(timer.version.saturating_sub(1)).unwrap_or(u32::MAX);
    let wait = SECOND_LOOK_MS.saturating_mul(1_i64.checked_shl(doublings.min(16)).unwrap_or(1));
    let left = ending.expires_at.0 - shared.clock.now().0;
    again(shared, timer, wait.min(LONGEST_WAIT_MS).min(left)).await
}

/// Forgets a message that is on every device of every member. Says whether it was.
pub(super) async fn forget_if_delivered(shared: &Shared, timer: &Timer, ending: &Ending) -> bool {
    let is_delivered = is_delivered(shared, ending).await;
    if is_delivered {
        take_away(shared, timer, ending, Gone::Delivered).await;
    }
    is_delivered
}

async fn is_delivered(shared: &Shared, ending: &Ending) -> bool {
    has_reached_everybody(shared, ending)
        .await
        .unwrap_or_else(|error| {
            tracing::warn!(message = %ending.message, %error, "unknown who has a message");
            false
        })
}

/// Everybody has at least one device, and all of them have the message. The sender needs none.
async fn has_reached_everybody(shared: &Shared, ending: &Ending) -> Result<bool, StoreError> {
    if ServerMutant::ForgetEarly.is_active() {
        return Ok(true);
    }
    let (store, id) = (&shared.store, &ending.conversation);
    let Some(conversation) = store.conversation(id).await? else {
        return Ok(false);
    };
    let workspace = &conversation.workspace;
    let sender = std::slice::from_ref(&ending.sender);
    let has_devices = store
        .lacking(id, Seq(0), workspace, sender)
        .await?
        .is_empty();
    let mut after: Option<UserId> = None;
    loop {
        let page = store.members(id, after.as_ref(), MEMBERS).await?;
        let concerned = page.iter().filter(|member| {
            let counts = has_devices || member.user != ending.sender;
            member.from_seq <= ending.seq && counts
        });
        let people: Vec<UserId> = concerned.map(|member| member.user.clone()).collect();
        let lacking = store.lacking(id, ending.seq, workspace, &people).await?;
        if !lacking.is_empty() {
            return Ok(false);
        }
        after = page.last().map(|member| member.user.clone());
        if page.len() < MEMBERS {
            return Ok(true);
        }
    }
}

/// The work is done. Whether the timer has gone, also because somebody else moved or deleted it;
/// what cannot be written now is done again.
pub(super) async fn done(shared: &Shared, timer: &Timer) -> bool {
    let deleted = shared.store.delete_timer(&timer.fired()).await;
    if let Err(error) = &deleted {
        tracing::debug!(timer = timer.id, %error, "a timer will fire again");
    }
    deleted.is_ok()
}

/// Keeps a timer from everybody else for so long, with what its work has come to. `None` when
/// somebody else has it.
pub(super) async fn lease(
    shared: &Shared,
    timer: &Timer,
    for_ms: i64,
    payload: String,
) -> Result<Option<Timer>, StoreError> {
    let due_at = Timestamp(shared.clock.now().0.saturating_add(for_ms));
    let fired = timer.fired();
    let moved = shared.store.move_timer(&fired, due_at, &payload).await?;
    Ok(moved.map(|version| Timer {
        version,
        due_at,
        payload: payload.into(),
        ..timer.clone()
    }))
}

/// The work is to be tried later. Whether the timer has moved, also because of somebody else.
pub(super) async fn again(shared: &Shared, timer: &Timer, after_ms: i64) -> bool {
    let due_at = Timestamp(shared.clock.now().0.saturating_add(after_ms.max(1)));
    let fired = timer.fired();
    let moved = shared
        .store
        .move_timer(&fired, due_at, &timer.payload)
        .await;
    if let Err(error) = &moved {
        tracing::debug!(timer = timer.id, %error, "a timer will fire again at once");
    }
    moved.is_ok()
}

/// Drops what has been queued for too long, for ever.
pub(super) async fn forget_old(shared: Arc<Shared>) {
    loop {
        let ttl = i64::try_from(shared.config.queue_ttl_ms()).unwrap_or(i64::MAX);
        let before = Timestamp(shared.clock.now().0.saturating_sub(ttl));
        match shared.store.expire_queue(before, OLD).await {
            Ok(count) if count >= OLD as u64 => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old entries stay queued"),
        }
        tokio::time::sleep(shared.config.timer_poll * 60).await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "a delay, for a gauge")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

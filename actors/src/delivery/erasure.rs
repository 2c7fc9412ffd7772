//! Erasing a person: what they wrote leaves every log and view, their memberships end, and what is
//! kept of them beside the log is forgotten. Seqs, ids, keys and who sent what stay.
//!
//! An erasure is a timer, so that it survives the process. It goes through the log page by page,
//! and everything it does can be done again: what was done already is recognized by how it looks,
//! so a run that died anywhere is made up for by the next. A pass over everything that found
//! something to do is followed by another, since what was under way may have come behind it; one
//! that found nothing ends the erasure.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{StreamExt, TryStreamExt, stream};
use quikapp_storage::{
    ConversationId, ConversationKind, Entry, EntryKind, JsonText, MessageId, NewTimer, Person, Seq,
    StoreError, Timer, TimerKind, Timestamp, timer_shard,
};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::{handle::Shared, scheduled, timers};
use crate::conversation::{
    Command, CommandError, Conversations, Gone, hex_key,
    payload::{EditPayload, MessagePayload, ReactionPayload},
};

/// So long after it was asked for an erasure begins: the person's sockets have been closed on
/// every node by then, and what was gathered of their registers has been written.
const GRACE_MS: i64 = 3_000;
/// For how long one process has an erasure to itself; every step makes it new.
const LEASE_MS: i64 = 30_000;
/// When a step that failed is tried again.
const RETRY_MS: i64 = 2_000;
/// Entries looked at in one step.
const PAGE: usize = 256;
/// Of those, how many are dealt with at the same time: others' messages get in between.
const CONCURRENCY: usize = 16;
/// Conversations after which the store cleans up.
const CONVERSATIONS: usize = 64;
/// A person about whom something is found in so many passes does not stay away: others add them
/// again and again.
const MOST_PASSES: u32 = 16;
/// What is left of a notice in the person's own conversation.
const ERASED_NOTICE: &str = r#"{"event":"erased","payload":{}}"#;

/// How an erasure stands, as its timer keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Erasure {
    person: Person,
    /// Everything up to this conversation is done in this pass.
    after: Option<ConversationId>,
    /// What was found in this pass, and in those before.
    found: u64,
    found_before: u64,
    passes: u32,
    #[serde(skip)]
    page: VecDeque<ConversationId>,
    /// The page as a whole, to be cleaned up after.
    #[serde(skip)]
    whole: Vec<ConversationId>,
    /// The place in the first conversation of the page; `None` before its membership has ended.
    #[serde(skip)]
    place: Option<Seq>,
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Command(#[from] CommandError),
}

fn timer_id(person: &Person) -> String {
    hex_key(&person.user, person.workspace.as_str())
}

/// Keeps an erasure to be done. One that is under way already goes on as it is.
pub(super) async fn ask(shared: &Shared, person: &Person) -> Result<(), StoreError> {
    let own = person.own_conversation();
    let erasure = Erasure::of(person.clone());
    let timer = NewTimer {
        kind: TimerKind::Erase,
        id: timer_id(person),
        group: own.as_str().to_owned(),
        shard: timer_shard(&own),
        due_at: Timestamp(shared.clock.now().0.saturating_add(GRACE_MS)),
        payload: erasure.text().into(),
    };
    let is_new = shared.store.put_timer(timer).await?;
    tracing::info!(workspace = %person.workspace, user = %person.user, is_new, "a person is to be erased");
    Ok(())
}

/// Whether a person's erasure is still to be done, or under way.
pub(super) async fn is_pending(shared: &Shared, person: &Person) -> Result<bool, StoreError> {
    let id = timer_id(person);
    let timer = shared.store.timer(TimerKind::Erase, &id).await?;
    Ok(timer.is_some())
}

/// Goes on with an erasure beside the other timers, which do not wait for it. One at a time.
/// Whether the timer is no longer due.
pub(super) async fn fire(shared: &Arc<Shared>, timer: Timer) -> bool {
    let erasure = match serde_json::from_str::<Erasure>(&timer.payload) {
        Ok(erasure) => erasure,
        Err(error) => {
            tracing::error!(timer = timer.id, %error, "a damaged erasure");
            return timers::done(shared, &timer).await;
        }
    };
    let Ok(turn) = Arc::clone(&shared.erasing).try_acquire_owned() else {
        return timers::again(shared, &timer, RETRY_MS).await;
    };
    let leased = lease(shared, &timer, &erasure).await;
    if let Ok(Some(leased)) = &leased {
        let run = run(Arc::clone(shared), leased.clone(), erasure, turn);
        shared.tasks.spawn(run);
    }
    leased.is_ok()
}

/// Nobody else touches the erasure until the lease is over. `None` when somebody else has it.
async fn lease(
    shared: &Shared,
    timer: &Timer,
    erasure: &Erasure,
) -> Result<Option<Timer>, StoreError> {
    let leased = timers::lease(shared, timer, LEASE_MS, erasure.text()).await;
    leased.inspect_err(|error| tracing::debug!(timer = timer.id, %error, "an erasure waits"))
}

async fn run(
    shared: Arc<Shared>,
    mut timer: Timer,
    mut erasure: Erasure,
    _turn: OwnedSemaphorePermit,
) {
    let person = erasure.person.clone();
    while !shared.stopping.is_cancelled() {
        match erasure.step(&shared).await {
            Ok(false) => match lease(&shared, &timer, &erasure).await {
                Ok(Some(leased)) => timer = leased,
                Ok(None) | Err(_) => return,
            },
            Ok(true) => {
                timers::done(&shared, &timer).await;
                let changes = erasure.found_before;
                tracing::info!(workspace = %person.workspace, user = %person.user, changes, "a person was erased");
                return;
            }
            Err(error) => {
                tracing::warn!(workspace = %person.workspace, user = %person.user, %error, "an erasure is held up");
                timers::again(&shared, &timer, RETRY_MS).await;
                return;
            }
        }
    }
    // Whoever runs next need not wait for the lease.
    timers::again(&shared, &timer, 0).await;
}

impl Erasure {
    pub(super) fn of(person: Person) -> Self {
        Self {
            person,
            after: None,
            found: 0,
            found_before: 0,
            passes: 0,
            page: VecDeque::new(),
            whole: Vec::new(),
            place: None,
        }
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Does the next bit; whether everything is done.
    pub(super) async fn step(&mut self, shared: &Shared) -> Result<bool, StepError> {
        let Some(id) = self.page.front().cloned() else {
            return self.next_page(shared).await;
        };
        match self.place {
            None => self.enter(shared, &id).await?,
            Some(place) => match self.redact(shared, &id, place).await? {
                Some(next) => self.place = Some(next),
                None => self.leave(shared, &id).await?,
            },
        }
        Ok(false)
    }

    /// Cleans up after a page, and takes the next; after the last one, forgets what lies beside.
    async fn next_page(&mut self, shared: &Shared) -> Result<bool, StepError> {
        let store = &shared.store;
        if let Some(last) = self.whole.last() {
            store.scrub(&self.whole).await?;
            self.after = Some(last.clone());
            self.whole.clear();
        }
        if self.after.is_none() {
            // Before the memberships end: what is due then would fail, and be told.
            self.found += scheduled::forget(shared, &self.person).await?;
        }
        let after = self.after.as_ref();
        self.whole = store.ever_in(&self.person, after, CONVERSATIONS).await?;
        self.page = self.whole.iter().cloned().collect();
        if !self.page.is_empty() {
            return Ok(false);
        }
        store.forget_devices(&self.person).await?;
        store.forget_profile(&self.person).await?;
        store.forget_documents(&self.person).await?;
        store.scrub(&[]).await?;
        self.passes += 1;
        let is_clean = self.found == 0;
        if !is_clean && self.passes >= MOST_PASSES {
            tracing::error!(user = %self.person.user, "somebody who was erased is still active");
        }
        self.found_before += std::mem::take(&mut self.found);
        self.after = None;
        Ok(is_clean || self.passes >= MOST_PASSES)
    }

    /// Ends the membership first, so that nothing comes behind what is redacted.
    async fn enter(&mut self, shared: &Shared, id: &ConversationId) -> Result<(), StepError> {
        let found = shared.store.conversation(id).await?;
        let is_own = found.is_some_and(|it| it.kind == ConversationKind::Person);
        let intervals = shared.store.membership(id, &self.person.user).await?;
        if !is_own && intervals.iter().any(|interval| interval.to_seq.is_none()) {
            let user = self.person.user.clone();
            let command = Command::EndMembership { user };
            shared.conversations.submit_as_server(id, command).await?;
            self.found += 1;
        }
        self.place = Some(Seq(0));
        Ok(())
    }

    /// Redacts what a page of the log has of the person; where to go on.
    async fn redact(
        &mut self,
        shared: &Shared,
        id: &ConversationId,
        after: Seq,
    ) -> Result<Option<Seq>, StepError> {
        let entries = shared.store.entries(id, after, PAGE).await?;
        let theirs = entries.iter().filter(|it| it.sender == self.person.user);
        let tasks: Vec<Task> = theirs.filter_map(Task::of).collect();
        self.found += tasks.len() as u64;
        let commands = tasks.iter().filter_map(|task| task.command(&self.person));
        let commands: Vec<Command> = commands.collect();
        let missing: Vec<Option<MessageId>> = stream::iter(commands)
            .map(|command| carry_out(&shared.conversations, id, command))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        let missing: Vec<MessageId> = missing.into_iter().flatten().collect();
        let redactions = tasks.iter().filter_map(|task| task.redaction(&missing));
        let redactions: Vec<_> = redactions.collect();
        if !redactions.is_empty() {
            // First, since this may be cut short in between.
            shared.tails.recent().forget(id);
            shared.store.redact(id, redactions).await?;
        }
        Ok(entries.last().map(|entry| entry.seq))
    }

    async fn leave(&mut self, shared: &Shared, id: &ConversationId) -> Result<(), StepError> {
        shared.store.forget_registers(id, &self.person.user).await?;
        shared.store.forget_hidden(id, &self.person.user).await?;
        self.page.pop_front();
        self.place = None;
        Ok(())
    }
}

/// Carries out a command of the server; the message, if the sequencer does not know it.
async fn carry_out(
    conversations: &Conversations,
    id: &ConversationId,
    command: Command,
) -> Result<Option<MessageId>, CommandError> {
    let message = match &command {
        Command::Expire { message, .. } | Command::TakeReaction { message, .. } => Some(*message),
        _ => None,
    };
    match conversations.submit_as_server(id, command).await {
        Ok(_) => Ok(None),
        Err(CommandError::MessageNotFound) => Ok(message),
        Err(error) => Err(error),
    }
}

/// What is to be done about an entry that has not been erased.
enum Task {
    /// Its view, its edits and everything else about it go with it.
    Message(MessageId, Seq),
    /// Its message was not to be had.
    Edit(Seq, Box<EditPayload>),
    Reaction {
        seq: Seq,
        payload: Box<ReactionPayload>,
        is_added: bool,
    },
    Notice(Seq),
}

impl Task {
    fn of(entry: &Entry) -> Option<Self> {
        match entry.kind {
            EntryKind::Message => {
                let is_erased = serde_json::from_str::<MessagePayload>(&entry.payload)
                    .is_ok_and(|message| message.deleted_reason == Some(Gone::Erased));
                let is_erased = is_erased || &*entry.payload == "{}";
                (!is_erased).then_some(Self::Message(entry.id, entry.seq))
            }
            EntryKind::Edit => {
                let edit: EditPayload = serde_json::from_str(&entry.payload).ok()?;
                let is_left = edit.content.is_some();
                is_left.then(|| Self::Edit(entry.seq, Box::new(edit)))
            }
            EntryKind::ReactionAdd | EntryKind::ReactionRemove => {
                let payload: ReactionPayload = serde_json::from_str(&entry.payload).ok()?;
                (!payload.emoji.is_empty()).then(|| Self::Reaction {
                    seq: entry.seq,
                    payload: Box::new(payload),
                    is_added: entry.kind == EntryKind::ReactionAdd,
                })
            }
            EntryKind::Notice => {
                (&*entry.payload != ERASED_NOTICE).then_some(Self::Notice(entry.seq))
            }
            // Who came, went and pinned: ids, and the names of groups, which are the groups'.
            _ => None,
        }
    }

    /// What the sequencer has to do, so that views follow and everybody connected hears of it.
    fn command(&self, person: &Person) -> Option<Command> {
        match self {
            Self::Message(message, _) => Some(Command::Expire {
                message: *message,
                why: Gone::Erased,
            }),
            Self::Reaction {
                payload,
                is_added: true,
                ..
            } => Some(Command::TakeReaction {
                message: payload.message_id,
                user: person.user.clone(),
                emoji: payload.emoji.clone(),
            }),
            _ => None,
        }
    }

    /// What is left of the entry itself, where the sequencer does not see to it.
    fn redaction(&self, missing: &[MessageId]) -> Option<(Seq, JsonText)> {
        let text = |payload: Option<String>| JsonText::from(payload.unwrap_or_default());
        match self {
            // A message without a view: there is nothing to fold into.
            Self::Message(id, seq) => missing.contains(id).then(|| (*seq, "{}".into())),
            Self::Edit(seq, edit) => {
                let left = EditPayload {
                    content: None,
                    ..(**edit).clone()
                };
                Some((*seq, text(serde_json::to_string(&left).ok())))
            }
            Self::Reaction { seq, payload, .. } => {
                let left = ReactionPayload {
                    emoji: String::new(),
                    ..(**payload).clone()
                };
                Some((*seq, text(serde_json::to_string(&left).ok())))
            }
            Self::Notice(seq) => Some((*seq, ERASED_NOTICE.into())),
        }
    }
}

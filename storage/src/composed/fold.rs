//! What an append does to read marks, where another store keeps them.
//!
//! The append stands whatever happens here: it is never held up for longer than [`PATIENCE`], and
//! never fails because marks could not be moved. What was not folded in is owed, and done from the
//! log by a task as soon as the other store answers, or by whoever takes the conversation next.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use crate::{
    Append, Appended, ConversationId, DetachedRegisters, EntryEffect, EntryKind, Fold, Member,
    RegisterChange, RegisterWrite, Seq, SharedLog, StoreError, UserId,
};

/// An append waits so long for its marks.
const PATIENCE: Duration = Duration::from_millis(250);
/// After a failure appends do not wait at all for so long, and what is owed waits before it is
/// tried again.
const RESPITE: Duration = Duration::from_secs(1);
/// Conversations that can be owed something. One more is left to whoever takes it next.
const MAX_OWED: usize = 10_000;
/// Entries read at a time.
const PAGE: usize = 500;
/// How far back a log is folded at most. Marks that stand before that are nobody's who writes.
const REACH: u64 = 10_000;

/// Folds logs into read marks.
pub(super) struct Folder(Arc<Inner>);

struct Inner {
    log: SharedLog,
    registers: Arc<dyn DetachedRegisters>,
    owed: Mutex<Owed>,
    wake: Arc<Notify>,
}

#[derive(Default)]
struct Owed {
    conversations: HashSet<ConversationId>,
    failed_at: Option<Instant>,
}

/// What a part of an append will do to marks once its place is known.
pub(super) struct Intent {
    conversation: ConversationId,
    /// Indices of entries with whom they make read what.
    effects: Vec<(u64, Effect)>,
}

enum Effect {
    Read(UserId),
    Joined(UserId),
}

impl Intent {
    /// Takes the effects on marks out of a part, so that the store of the log does not keep marks
    /// that nobody reads.
    pub(super) fn take(part: &mut Append) -> Self {
        let mut effects = Vec::new();
        for (index, entry) in (0..).zip(&mut part.entries) {
            entry.effects.retain(|effect| match effect {
                EntryEffect::ReadUpToHere { user } => {
                    effects.push((index, Effect::Read(user.clone())));
                    false
                }
                EntryEffect::OpenMember { user, .. } => {
                    effects.push((index, Effect::Joined(user.clone())));
                    true
                }
                _ => true,
            });
        }
        Self {
            conversation: part.conversation.clone(),
            effects,
        }
    }
}

impl Folder {
    /// Starts the task that does what is owed; it ends with the folder.
    pub(super) fn start(log: SharedLog, registers: Arc<dyn DetachedRegisters>) -> Self {
        let wake = Arc::new(Notify::new());
        let inner = Arc::new(Inner {
            log,
            registers,
            owed: Mutex::default(),
            wake: Arc::clone(&wake),
        });
        tokio::spawn(settle(Arc::downgrade(&inner), wake));
        Self(inner)
    }

    /// Does what appends intended.
    pub(super) async fn appended(&self, done: Vec<(Intent, Appended)>) {
        if done.is_empty() {
            return;
        }
        let ids: Vec<ConversationId> = done
            .iter()
            .map(|(intent, _)| intent.conversation.clone())
            .collect();
        self.0.patiently(ids, self.0.fold(done)).await;
    }

    /// A conversation was taken: does what its former owner may have left.
    pub(super) async fn taken(&self, id: &ConversationId, tail: Seq, members: &[Member]) {
        let catch_up = self.0.catch_up(id, tail, members);
        self.0.patiently(vec![id.clone()], catch_up).await;
    }

    /// Does what is owed to conversations that somebody is about to mark unread: done later, it
    /// would take the mark for one that was set before it, and clear it.
    pub(super) async fn settle_before(&self, writes: &[RegisterWrite]) -> Result<(), StoreError> {
        for write in writes {
            if matches!(write.change, RegisterChange::UnreadFrom(_)) {
                self.0.settle_one(&write.conversation).await?;
            }
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.0.wake.notify_one();
    }
}

impl Inner {
    async fn patiently(
        &self,
        ids: Vec<ConversationId>,
        work: impl Future<Output = Result<(), StoreError>>,
    ) {
        if self.owed.lock().is_failing() {
            return self.owe(ids);
        }
        let outcome = timeout(PATIENCE, work).await;
        let problem = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!(problem, "read marks follow later");
        metrics::counter!("quikapp_store_folds_owed_total").increment(1);
        self.owed.lock().failed_at = Some(Instant::now());
        self.owe(ids);
    }

    fn owe(&self, ids: Vec<ConversationId>) {
        let mut owed = self.owed.lock();
        for id in ids {
            if owed.conversations.len() < MAX_OWED {
                owed.conversations.insert(id);
            }
        }
        drop(owed);
        self.wake.notify_one();
    }

    async fn fold(&self, done: Vec<(Intent, Appended)>) -> Result<(), StoreError> {
        let mut folds = Vec::with_capacity(done.len());
        for (intent, appended) in done {
            folds.push(self.fold_of(intent, &appended).await?);
        }
        self.registers.fold(folds).await
    }

    async fn fold_of(&self, intent: Intent, appended: &Appended) -> Result<Fold, StoreError> {
        let after = appended.first.before();
        let mut read = Vec::with_capacity(intent.effects.len());
        for (index, effect) in intent.effects {
            let seq = Seq(appended.first.0 + index);
            match effect {
                Effect::Read(user) => read.push((user, seq)),
                Effect::Joined(user) => {
                    // Who was a member already got another role, and has read nothing by that.
                    let intervals = self.log.membership(&intent.conversation, &user).await?;
                    if intervals.iter().any(|member| member.from_seq == seq) {
                        read.push((user, seq.before()));
                    }
                }
            }
        }
        Ok(Fold {
            conversation: intent.conversation,
            after,
            to: appended.tail,
            read,
        })
    }

    /// Folds everything up to a tail that was not folded.
    async fn catch_up(
        &self,
        id: &ConversationId,
        tail: Seq,
        members: &[Member],
    ) -> Result<(), StoreError> {
        let folded = self.registers.folded(id).await?;
        if folded >= tail {
            return Ok(());
        }
        self.fold_between(id, folded, tail, members).await
    }

    async fn fold_between(
        &self,
        id: &ConversationId,
        folded: Seq,
        tail: Seq,
        members: &[Member],
    ) -> Result<(), StoreError> {
        let joined = members.iter().filter(|member| member.from_seq > folded);
        let mut read: Vec<(UserId, Seq)> = joined
            .map(|member| (member.user.clone(), Seq(member.from_seq.0 - 1)))
            .collect();
        let mut after = folded.max(Seq(tail.0.saturating_sub(REACH)));
        while after < tail {
            let page = self.log.entries(id, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            // Sending reads.
            let sent = page.iter().filter(|entry| entry.kind == EntryKind::Message);
            read.extend(sent.map(|entry| (entry.sender.clone(), entry.seq)));
        }
        let fold = Fold {
            conversation: id.clone(),
            after: folded,
            to: after,
            read: highest(read),
        };
        self.registers.fold(vec![fold]).await
    }

    /// Does all that is owed; stops at the first failure.
    async fn settle(&self) -> Result<(), StoreError> {
        while let Some(id) = self.next_owed() {
            if let Err(error) = self.settle_one(&id).await {
                self.owed.lock().conversations.insert(id);
                return Err(error);
            }
            self.owed.lock().failed_at = None;
        }
        Ok(())
    }

    fn next_owed(&self) -> Option<ConversationId> {
        self.owed.lock().take()
    }

    async fn settle_one(&self, id: &ConversationId) -> Result<(), StoreError> {
        let Some(conversation) = self.log.conversation(id).await? else {
            return Ok(());
        };
        let (folded, tail) = (self.registers.folded(id).await?, conversation.tail);
        if folded >= tail {
            return Ok(());
        }
        let members = self.log.members(id, None, usize::MAX).await?;
        self.fold_between(id, folded, tail, &members).await
    }
}

impl Owed {
    fn take(&mut self) -> Option<ConversationId> {
        let next = self.conversations.iter().next().cloned()?;
        self.conversations.take(&next)
    }

    fn is_failing(&self) -> bool {
        let failed_at = self.failed_at;
        failed_at.is_some_and(|at| at.elapsed() < RESPITE)
    }
}

/// Each person once, with their highest place.
fn highest(mut read: Vec<(UserId, Seq)>) -> Vec<(UserId, Seq)> {
    read.sort_unstable_by(|a, b| (&a.0, b.1).cmp(&(&b.0, a.1)));
    read.dedup_by(|next, kept| next.0 == kept.0);
    read
}

async fn settle(inner: Weak<Inner>, wake: Arc<Notify>) {
    while let Some(strong) = inner.upgrade() {
        let outcome = strong.settle().await;
        // Nothing of the folder is held while waiting, so the task ends with it.
        drop(strong);
        match outcome {
            Ok(()) => wake.notified().await,
            Err(error) => {
                tracing::debug!(%error, "read marks are still owed");
                sleep(RESPITE).await;
            }
        }
    }
}

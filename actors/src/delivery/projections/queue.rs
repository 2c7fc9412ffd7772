//! The store-and-forward queue: what the devices of members lack.

use std::collections::BTreeMap;

use async_trait::async_trait;
use quikapp_storage::{
    Consumer, ConversationId, Entry, EntryKind, Member, PendingEntry, ProjectionStep, Seq,
    SharedStore, StoreError, UserId,
};

use super::is_urgent;
use crate::{
    conversation::payload::UpdatePayload,
    delivery::{Projection, Tails},
};

/// Entries behind a step in which it is looked for people who have left since.
const AHEAD: usize = 256;
/// People whose queues are counted at once.
const PEOPLE: usize = 64;

/// See the module.
pub(in crate::delivery) struct Queue {
    pub(in crate::delivery) store: SharedStore,
    pub(in crate::delivery) tails: Tails,
    /// Above so many members, cursors alone say what is due.
    pub(in crate::delivery) up_to_members: usize,
    /// Entries that one person's queue holds.
    pub(in crate::delivery) cap: usize,
}

#[async_trait]
impl Projection for Queue {
    fn consumer(&self) -> Consumer {
        Consumer::QUEUE
    }

    /// A total that is too high would have the cap take what is queued again, and one that is too
    /// low cannot be taken from.
    async fn begin_anew(&self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.store.recount_queues(after.as_ref(), PEOPLE).await?;
            after = page.last().cloned();
            if page.len() < PEOPLE {
                return Ok(());
            }
        }
    }

    async fn project(&self, step: &ProjectionStep, entries: &[Entry]) -> Result<bool, StoreError> {
        let id = &step.conversation;
        let members = self.store.members(id, None, self.up_to_members + 1).await?;
        let Some(conversation) = self.store.conversation(id).await? else {
            return Ok(true);
        };
        let mut pending = Vec::new();
        if members.len() <= self.up_to_members {
            let left = self.who_left(step, entries, conversation.tail).await?;
            pending = recipients(&members, &left, entries);
        }
        let workspace = &conversation.workspace;
        self.store.enqueue(step, workspace, pending, self.cap).await
    }
}

impl Queue {
    /// The memberships of those who have left by one of the entries, or since: they are in no list
    /// of members, but what was said until then is theirs.
    async fn who_left(
        &self,
        step: &ProjectionStep,
        entries: &[Entry],
        tail: Seq,
    ) -> Result<BTreeMap<UserId, Vec<Member>>, StoreError> {
        let id: &ConversationId = &step.conversation;
        let mut users: Vec<UserId> = entries.iter().filter_map(left_by).collect();
        if tail > step.to {
            let later = self.later(id, step.to, tail).await?;
            users.extend(later.iter().filter_map(left_by));
        }
        users.sort();
        users.dedup();
        let mut left = BTreeMap::new();
        for user in users {
            let intervals = self.store.membership(id, &user).await?;
            left.insert(user, intervals);
        }
        Ok(left)
    }

    /// What was written behind a step, as far as it is looked at.
    async fn later(
        &self,
        id: &ConversationId,
        from: Seq,
        tail: Seq,
    ) -> Result<Vec<Entry>, StoreError> {
        let recent = self.tails.recent().after(id, from, AHEAD);
        let is_all =
            |it: &Vec<Entry>| it.len() == AHEAD || it.last().is_some_and(|last| last.seq >= tail);
        match recent.filter(is_all) {
            Some(entries) => Ok(entries),
            None => self.store.entries(id, from, AHEAD).await,
        }
    }
}

/// An entry, once for everyone who may see it.
fn recipients(
    members: &[Member],
    left: &BTreeMap<UserId, Vec<Member>>,
    entries: &[Entry],
) -> Vec<PendingEntry> {
    let mut pending = Vec::new();
    for entry in entries {
        let urgent = is_urgent(entry);
        let present = members
            .iter()
            .filter(|member| member.from_seq <= entry.seq && !left.contains_key(&member.user));
        let were_present = left.iter().filter(|(_, intervals)| {
            let mut intervals = intervals.iter();
            intervals.any(|it| {
                it.from_seq <= entry.seq && it.to_seq.is_none_or(|to_seq| entry.seq <= to_seq)
            })
        });
        let users = present.map(|member| &member.user);
        let users = users.chain(were_present.map(|(user, _)| user));
        pending.extend(users.map(|user| PendingEntry {
            user: user.clone(),
            seq: entry.seq,
            at: entry.at,
            urgent,
        }));
    }
    pending
}

fn left_by(entry: &Entry) -> Option<UserId> {
    if entry.kind != EntryKind::MemberLeft {
        return None;
    }
    let update: UpdatePayload = serde_json::from_str(&entry.payload).ok()?;
    Some(update.members.into_iter().next()?.user_id)
}

//! The store-and-forward queue: what the devices of members lack.

use async_trait::async_trait;
use quikapp_storage::{
    Consumer, ConversationId, Entry, EntryKind, Member, PendingEntry, ProjectionStep, Seq,
    SharedStore, StoreError, UserId,
};

use super::is_urgent;
use crate::{conversation::payload::UpdatePayload, delivery::Projection};

/// See the module.
pub(in crate::delivery) struct Queue {
    pub(in crate::delivery) store: SharedStore,
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

    async fn project(&self, step: &ProjectionStep, entries: &[Entry]) -> Result<bool, StoreError> {
        let id = &step.conversation;
        let Some(conversation) = self.store.conversation(id).await? else {
            return Ok(true);
        };
        let pending = self.pending(id, entries).await?;
        let workspace = &conversation.workspace;
        self.store.enqueue(step, workspace, pending, self.cap).await
    }
}

impl Queue {
    async fn pending(
        &self,
        id: &ConversationId,
        entries: &[Entry],
    ) -> Result<Vec<PendingEntry>, StoreError> {
        let members = self.store.members(id, None, self.up_to_members + 1).await?;
        if members.len() > self.up_to_members {
            return Ok(Vec::new());
        }
        Ok(recipients(&members, entries))
    }
}

/// Everyone who may see an entry: those who are members since, and whoever left by one of them.
fn recipients(members: &[Member], entries: &[Entry]) -> Vec<PendingEntry> {
    let left: Vec<(UserId, Seq)> = entries.iter().filter_map(who_left).collect();
    let mut pending = Vec::new();
    for entry in entries {
        let urgent = is_urgent(entry);
        let present = members.iter().filter(|member| member.from_seq <= entry.seq);
        let gone = left.iter().filter(|(user, at)| {
            *at >= entry.seq && !members.iter().any(|member| member.user == *user)
        });
        let users = present
            .map(|member| &member.user)
            .chain(gone.map(|(user, _)| user));
        pending.extend(users.map(|user| PendingEntry {
            user: user.clone(),
            seq: entry.seq,
            at: entry.at,
            urgent,
        }));
    }
    pending
}

fn who_left(entry: &Entry) -> Option<(UserId, Seq)> {
    if entry.kind != EntryKind::MemberLeft {
        return None;
    }
    let update: UpdatePayload = serde_json::from_str(&entry.payload).ok()?;
    let left = update.members.into_iter().next()?;
    Some((left.user_id, entry.seq))
}

//! What a client missed over all of its conversations, in batches.
//!
//! Conversations with something urgent come first: within a batch always, and before all others
//! where there is more than a batch. Order within a conversation is never broken, and none is
//! promised between them. While the urgent ones are replayed the client's cursor stays where it
//! was, since it is a place in the order of all.

use std::collections::BTreeMap;

use quikapp_actors::{
    delivery::{self, Places, Reach, is_urgent},
    registers::Change,
};
use quikapp_storage::{ConversationId, DeviceCursor, Entry, Seq, StreamCursor};
use serde::{Deserialize, Serialize};

use super::{BATCH, State, UserChannel, streamed};
use crate::{auth::Principal, channel::Context, channels::chat::params::GapEntry, errors::Refusal};

/// Conversations of a queue that are looked at for something urgent.
const QUEUED: usize = 1_000;

/// A batch of the stream, as the client is shown it.
pub(super) struct Batch {
    pub(super) entries: Vec<GapEntry>,
    pub(super) next: StreamCursor,
    pub(super) more: bool,
}

/// Conversations that are replayed before the others.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Urgent {
    ids: Vec<ConversationId>,
    /// Up to where the stream was looked through for them.
    scanned: StreamCursor,
}

/// What was replayed out of turn.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct First {
    /// Up to where, by conversation.
    shown: BTreeMap<ConversationId, Seq>,
    /// The same of what was not acknowledged yet.
    unacknowledged: BTreeMap<ConversationId, Seq>,
}

impl UserChannel {
    /// The first batch behind a cursor; `None` if that cannot be replayed from: it was not issued
    /// here, or too much lies behind it, or something too old.
    pub(super) async fn first_batch(
        &self,
        cx: &Context<Principal>,
        state: &mut State,
        from: &StreamCursor,
    ) -> Result<Option<Batch>, Refusal> {
        let (store, principal) = (&self.backend.store, cx.assigns());
        let (config, device) = (self.backend.delivery.config(), state.device.as_ref());
        let reach = delivery::reach(store, config, cx.now(), &principal.person, device, from);
        let Reach::Within(backlog) = reach.await? else {
            return Ok(None);
        };
        if backlog.count > BATCH as u64 {
            self.begin_with_urgent(cx, state, from).await?;
        }
        self.batch(cx, state, from).await.map(Some)
    }

    /// Finds out which conversations are to be replayed first.
    async fn begin_with_urgent(
        &self,
        cx: &Context<Principal>,
        state: &mut State,
        from: &StreamCursor,
    ) -> Result<(), Refusal> {
        let store = &self.backend.store;
        let queue = store.queue(&cx.assigns().person, QUEUED).await?;
        let urgent = queue.conversations.into_iter().filter(|it| it.urgent);
        let ids: Vec<_> = urgent.map(|it| it.conversation).collect();
        let scanned = from.clone();
        state.urgent = (!ids.is_empty()).then(|| Box::new(Urgent { ids, scanned }));
        Ok(())
    }

    /// The next batch behind a cursor.
    pub(super) async fn batch(
        &self,
        cx: &Context<Principal>,
        state: &mut State,
        from: &StreamCursor,
    ) -> Result<Batch, Refusal> {
        if let Some(urgent) = state.urgent.take() {
            let entries = self.urgent_entries(cx, state, urgent).await?;
            if !entries.is_empty() {
                state.cursor = from.clone();
                state.catching_up = true;
                return Ok(Batch {
                    entries,
                    next: from.clone(),
                    more: true,
                });
            }
        }
        self.next_in_order(cx, state, from).await
    }

    /// Entries of the urgent conversations, at most a batch.
    async fn urgent_entries(
        &self,
        cx: &Context<Principal>,
        state: &mut State,
        mut urgent: Box<Urgent>,
    ) -> Result<Vec<GapEntry>, Refusal> {
        let (store, principal) = (&self.backend.store, cx.assigns());
        let person = &principal.person;
        let device = state.device.clone();
        let mut places = Places::of(store, person, device.as_ref());
        let mut entries = Vec::new();
        loop {
            let missed = store.missed(person, &urgent.scanned, BATCH);
            let missed = missed.await?;
            let mut found = Vec::new();
            for (id, entry) in &missed.entries {
                let is_meant = urgent.ids.contains(id);
                if is_meant && entry.seq > places.get(id).await? {
                    found.push((id, entry));
                }
            }
            if entries.len() + found.len() > BATCH {
                state.urgent = Some(urgent);
                return Ok(entries);
            }
            for (id, entry) in found {
                entries.push(streamed(cx, id, entry));
                state.first.shown.insert(id.clone(), entry.seq);
                state.first.unacknowledged.insert(id.clone(), entry.seq);
            }
            if !missed.more {
                return Ok(entries);
            }
            urgent.scanned = missed.next;
        }
    }

    /// What follows a cursor, less what was replayed out of turn and what the device has
    /// acknowledged conversation by conversation.
    async fn next_in_order(
        &self,
        cx: &Context<Principal>,
        state: &mut State,
        from: &StreamCursor,
    ) -> Result<Batch, Refusal> {
        let (store, principal) = (&self.backend.store, cx.assigns());
        let missed = store.missed(&principal.person, from, BATCH).await?;
        let device = state.device.clone();
        let mut places = Places::of(store, &principal.person, device.as_ref());
        let mut shown: Vec<&(ConversationId, Entry)> = Vec::new();
        for missed in &missed.entries {
            let (id, entry) = missed;
            let before = state.shown.get(id).copied().unwrap_or_default();
            state.shown.insert(id.clone(), entry.seq.max(before));
            let first = state.first.shown.get(id).copied().unwrap_or_default();
            let on_device = places.get(id).await?;
            if entry.seq > on_device.max(first) {
                shown.push(missed);
            }
        }
        let urgent: Vec<_> = shown.iter().filter(|(_, entry)| is_urgent(entry)).collect();
        let urgent: Vec<_> = urgent.into_iter().map(|(id, _)| id.clone()).collect();
        // Stable, so that the order within each conversation stays.
        shown.sort_by_key(|(id, _)| !urgent.contains(id));
        state.cursor = missed.next.clone();
        state.catching_up = missed.more;
        Ok(Batch {
            entries: shown
                .into_iter()
                .map(|(id, entry)| streamed(cx, id, entry))
                .collect(),
            next: missed.next,
            more: missed.more,
        })
    }

    /// The client has what it was sent out of turn: its cursor over all does not say so, so the
    /// places in those conversations do.
    pub(super) async fn acknowledge_first(
        &self,
        cx: &Context<Principal>,
        state: &mut State,
    ) -> Result<(), Refusal> {
        let principal = cx.assigns();
        let places = std::mem::take(&mut state.first.unacknowledged);
        let Some(device) = &state.device else {
            return Ok(());
        };
        for (conversation, seq) in places {
            let cursor = DeviceCursor {
                person: principal.person.clone(),
                device: device.clone(),
                conversation,
                seq,
            };
            let moved = self.backend.registers.change(Change::Cursor(cursor));
            moved.await?;
        }
        Ok(())
    }
}

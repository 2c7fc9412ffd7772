//! The folded view of messages, made again from the log.
//!
//! It comes to what the sequencer wrote when it appended the entries: a message whose content was
//! taken away stands in the log as it was left, and every other one as it was sent, with what
//! happened to it behind.

use std::collections::BTreeMap;

use quikapp_storage::{Entry, EntryKind, Message, Seq};
use serde::de::DeserializeOwned;

use super::{folded::Folded, text_of};
use crate::conversation::payload::{EditPayload, MessagePayload, PinPayload, ReactionPayload};

/// A stretch of messages, into which all entries behind it are folded.
#[derive(Debug, Default)]
pub(crate) struct Refold {
    messages: BTreeMap<Seq, Folded>,
    tail: Seq,
}

impl Refold {
    /// Messages of the stretch that begins behind a place.
    pub(crate) fn behind(place: Seq) -> Self {
        Self {
            messages: BTreeMap::new(),
            tail: place,
        }
    }

    /// The last place that was folded in.
    pub(crate) fn tail(&self) -> Seq {
        self.tail
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The last message's place.
    pub(crate) fn last(&self) -> Option<Seq> {
        self.messages.keys().next_back().copied()
    }

    /// Folds the next entry in. New messages belong to the stretch while it `grows`.
    pub(crate) fn take(&mut self, entry: &Entry, grows: bool) {
        self.tail = entry.seq;
        if entry.kind == EntryKind::Message {
            if grows && let Some(message) = sent(entry) {
                self.messages.insert(entry.seq, message);
            }
            return;
        }
        let target = entry
            .target
            .and_then(|(_, seq)| self.messages.get_mut(&seq));
        if let Some(message) = target {
            message.row.applied_seq = entry.seq;
            if !message.row.deleted {
                happened(message, entry);
            }
        }
    }

    /// The views of messages above a place, in their order, as of the tail; at most `limit`.
    pub(crate) fn views(&self, above: Seq, limit: usize) -> Vec<Message> {
        let messages = self.messages.range(above.next()..).take(limit);
        let view = |(_, message): (&Seq, &Folded)| Message {
            body: text_of(&message.body),
            ..message.row.clone()
        };
        messages.map(view).collect()
    }
}

fn sent(entry: &Entry) -> Option<Folded> {
    let body: MessagePayload = parse(entry)?;
    let row = Message {
        id: entry.id,
        seq: entry.seq,
        sender: entry.sender.clone(),
        at: entry.at,
        thread_root: body.thread_root,
        deleted: body.deleted_at.is_some(),
        pinned: false,
        text: body.content.clone().unwrap_or_default(),
        body: entry.payload.clone(),
        applied_seq: entry.seq,
    };
    Some(Folded { row, body })
}

/// What an entry did to a message that still has its content.
fn happened(message: &mut Folded, entry: &Entry) {
    match entry.kind {
        EntryKind::Edit => {
            if let Some(edit) = parse::<EditPayload>(entry)
                && let Some(content) = &edit.content
            {
                message.edit(content, &edit.edited_by, edit.edited_at, entry.seq);
            }
        }
        EntryKind::ReactionAdd | EntryKind::ReactionRemove => {
            // Of a person who was erased it is not known what it was, only that it is gone.
            if let Some(reaction) = parse::<ReactionPayload>(entry)
                && !reaction.emoji.is_empty()
            {
                let add = entry.kind == EntryKind::ReactionAdd;
                message.react(&reaction.emoji, &reaction.user_id, add);
            }
        }
        EntryKind::Pin | EntryKind::Unpin => {
            if let Some(pin) = parse::<PinPayload>(entry) {
                let by = (entry.kind == EntryKind::Pin).then_some(&pin.user_id);
                message.pin(by, pin.at);
            }
        }
        _ => {}
    }
}

/// An entry that does not decode is logged and passed over, so that one damaged entry does not
/// keep a conversation from being made whole.
fn parse<T: DeserializeOwned>(entry: &Entry) -> Option<T> {
    let parsed = serde_json::from_str(&entry.payload);
    if let Err(error) = &parsed {
        tracing::error!(entry = %entry.id, %error, "damaged entry");
    }
    parsed.ok()
}

//! A message with everything that happened to it since folded in.

use quikapp_storage::{EntryEffect, Message, MessageId, Seq, Timestamp, UserId};
use serde_json::value::RawValue;

use super::text_of;
use crate::conversation::{Gone, payload::MessagePayload};

/// The row of the folded view, with its body parsed.
#[derive(Debug, Clone)]
pub(super) struct Folded {
    pub(super) row: Message,
    pub(super) body: MessagePayload,
}

impl Folded {
    /// Reads a row. A body that does not decode is logged and counts as no message, so that one
    /// damaged row does not stop a conversation.
    pub(super) fn unfold(row: Message) -> Option<Self> {
        match serde_json::from_str(&row.body) {
            Ok(body) => Some(Self { row, body }),
            Err(error) => {
                tracing::error!(message = %row.id, %error, "damaged message body");
                None
            }
        }
    }

    pub(super) fn id(&self) -> MessageId {
        self.row.id
    }

    /// What entries about the message name it by.
    pub(super) fn target(&self) -> (MessageId, Seq) {
        (self.row.id, self.row.seq)
    }

    pub(super) fn edit(&mut self, content: &str, by: &UserId, now: Timestamp, at: Seq) {
        self.body.content = Some(content.to_owned());
        self.body.is_edited = true;
        self.body.edited_at = Some(now);
        self.body.edited_by = Some(by.clone());
        self.body.updated_at = now;
        self.body.edits.push(at);
        content.clone_into(&mut self.row.text);
    }

    /// Takes everything away but that there was a message, and who sent and who deleted it.
    pub(super) fn delete(&mut self, by: &UserId, now: Timestamp) {
        self.empty(now);
        self.body.deleted_by = Some(by.clone());
    }

    /// The same for a message that nobody deletes, or, where its sender is erased, whoever did
    /// before. Of a person who is erased not even the id stays by which a client of theirs knew
    /// it; its hash, the key, does.
    pub(super) fn expire(&mut self, why: Gone, now: Timestamp) {
        self.empty(now);
        self.body.deleted_by = None;
        self.body.deleted_reason = Some(why);
        if why == Gone::Erased {
            self.body.client_id = None;
        }
    }

    fn empty(&mut self, now: Timestamp) {
        let body = &mut self.body;
        body.content = None;
        body.attachments = no_attachments();
        body.envelope = None;
        body.mentions.clear();
        body.forwarded_from = None;
        body.reactions.clear();
        body.pinned_by = None;
        body.pinned_at = None;
        body.deleted_at = Some(now);
        body.updated_at = now;
        self.row.text.clear();
        self.row.deleted = true;
        self.row.pinned = false;
    }

    /// Adds or takes back a reaction. Says whether that changed anything.
    pub(super) fn react(&mut self, emoji: &str, by: &UserId, add: bool) -> bool {
        let reactions = &mut self.body.reactions;
        if add {
            let people = reactions.entry(emoji.to_owned()).or_default();
            let is_new = !people.contains(by);
            if is_new {
                people.push(by.clone());
            }
            return is_new;
        }
        let Some(people) = reactions.get_mut(emoji) else {
            return false;
        };
        let before = people.len();
        people.retain(|person| person != by);
        let changed = people.len() < before;
        if people.is_empty() {
            reactions.shift_remove(emoji);
        }
        changed
    }

    pub(super) fn pin(&mut self, by: Option<&UserId>, now: Timestamp) {
        self.row.pinned = by.is_some();
        self.body.pinned_by = by.cloned();
        self.body.pinned_at = by.map(|_| now);
    }

    /// The effect that stores it, as folded up to place `at`.
    pub(super) fn put(&mut self, at: Seq) -> EntryEffect {
        self.row.applied_seq = at;
        self.row.body = text_of(&self.body);
        EntryEffect::PutMessage(self.row.clone())
    }
}

/// An empty list of attachments.
pub(super) fn no_attachments() -> Box<RawValue> {
    RawValue::from_string("[]".to_owned()).unwrap_or_default()
}

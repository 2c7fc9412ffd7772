//! Deciding about messages: sent, edited, deleted, reacted to, pinned.

use quikapp_storage::{
    ConversationId, ConversationKind, EntryEffect, EntryId, EntryKind, JsonText, Message,
    MessageId, Seq, ServerMutant, Timestamp, UserId,
};
use serde_json::value::RawValue;

use super::{
    By, Change, CommandError, Draft, Write,
    folded::{Folded, no_attachments},
    text_of,
    validate::{self, invalid},
};
use crate::conversation::{
    Gone, MessageClass, SendMessage, key,
    payload::{
        DeletePayload, EditPayload, ForgetPayload, MessagePayload, PinPayload, ReactionPayload,
    },
};

impl Draft {
    pub(super) fn send(
        &mut self,
        by: By<'_>,
        id: EntryId,
        send: &SendMessage,
    ) -> Result<Change, CommandError> {
        validate::message(send, &self.core.limits)?;
        if send.class == MessageClass::Ephemeral {
            return Err(invalid("class", "an ephemeral message is not kept"));
        }
        self.check_references(by, send)?;
        let place = (&self.core.id, self.now);
        let body = body(place, by.user, id, send, self.expiry(send));
        let payload = text_of(&body);
        let row = Message {
            id,
            seq: self.next(),
            sender: by.user.clone(),
            at: self.now,
            thread_root: send.thread_root,
            deleted: false,
            pinned: false,
            text: send.content.clone().unwrap_or_default(),
            body: payload.clone(),
            applied_seq: self.next(),
        };
        let user = by.user.clone();
        let effects = vec![
            EntryEffect::PutMessage(row.clone()),
            EntryEffect::ReadUpToHere { user },
        ];
        self.messages.insert(id, Folded { row, body });
        Ok(Change::write(Write {
            kind: EntryKind::Message,
            sender: by.user.clone(),
            hash: Some(key::content_hash(send)),
            counts: send.thread_root.is_none(),
            target: None,
            payload,
            effects,
        }))
    }

    pub(super) fn edit(
        &mut self,
        by: By<'_>,
        id: MessageId,
        content: &str,
    ) -> Result<Change, CommandError> {
        let (now, at) = (self.now, self.next());
        validate::content(content, &self.core.limits)?;
        let most = self.core.limits.edits;
        let message = self.message(by, id)?;
        if message.row.sender != *by.user {
            return Err(CommandError::Forbidden);
        }
        if content.trim().is_empty() && message.body.attachments.get() == "[]" {
            return Err(invalid("content", "the message would be empty"));
        }
        if message.body.content.as_deref() == Some(content) {
            let payload = text_of(&edit_payload(&message.body));
            return Ok(Change::Nothing { id, payload });
        }
        if message.body.edits.len() >= most {
            return Err(invalid("message_id", format!("edited {most} times")));
        }
        message.edit(content, by.user, now, at);
        let payload = text_of(&edit_payload(&message.body));
        let effects = vec![message.put(at)];
        Ok(about(message, EntryKind::Edit, by.user, payload, effects))
    }

    pub(super) fn delete(&mut self, by: By<'_>, id: MessageId) -> Result<Change, CommandError> {
        let (now, at) = (self.now, self.next());
        let is_moderator = self.core.kind == ConversationKind::Group && by.is_admin();
        let message = self.any_message(by, id)?;
        if message.row.sender != *by.user && !is_moderator {
            return Err(CommandError::Forbidden);
        }
        if message.row.deleted {
            let payload = text_of(&delete_payload(&message.body));
            return Ok(Change::Nothing { id, payload });
        }
        message.delete(by.user, now);
        let payload = text_of(&delete_payload(&message.body));
        let effects = redactions(message, at);
        Ok(about(message, EntryKind::Delete, by.user, payload, effects))
    }

    /// The server takes the content of a message away. Who was told once is not told again, save
    /// that of a message whose sender is erased nothing stays, wherever it still is: not the
    /// client's own id of it, nor what devices kept of a message of class `until_delivered`.
    pub(super) fn expire(&mut self, id: MessageId, why: Gone) -> Result<Change, CommandError> {
        let (now, at) = (self.now, self.next());
        let message = self.messages.get_mut(&id);
        let message = message.ok_or(CommandError::MessageNotFound)?;
        let is_told = match why {
            Gone::Erased => message.body.deleted_reason == Some(Gone::Erased),
            Gone::Expired | Gone::Delivered => message.row.deleted,
        };
        if is_told {
            let payload = text_of(&delete_payload(&message.body));
            return Ok(Change::Nothing { id, payload });
        }
        message.expire(why, now);
        let (kind, payload) = match message.body.class {
            MessageClass::UntilDelivered if why != Gone::Erased => {
                let payload = ForgetPayload {
                    message_id: id,
                    conversation_id: message.body.conversation_id.clone(),
                    reason: why,
                    at: now,
                };
                (EntryKind::Forget, text_of(&payload))
            }
            _ => (EntryKind::Delete, text_of(&delete_payload(&message.body))),
        };
        let effects = redactions(message, at);
        Ok(about(message, kind, &message.row.sender, payload, effects))
    }

    pub(super) fn react(
        &mut self,
        by: By<'_>,
        id: MessageId,
        emoji: &str,
        add: bool,
    ) -> Result<Change, CommandError> {
        let at = self.next();
        validate::emoji(emoji, &self.core.limits)?;
        let most = self.core.limits.reactions;
        let payload = text_of(&ReactionPayload {
            message_id: id,
            user_id: by.user.clone(),
            emoji: emoji.to_owned(),
            conversation_id: self.core.id.clone(),
        });
        let message = self.message(by, id)?;
        let reactions = &message.body.reactions;
        if add && reactions.len() >= most && !reactions.contains_key(emoji) {
            return Err(invalid("emoji", format!("at most {most} on one message")));
        }
        if !message.react(emoji, by.user, add) {
            return Ok(Change::Nothing { id, payload });
        }
        let kind = if add {
            EntryKind::ReactionAdd
        } else {
            EntryKind::ReactionRemove
        };
        let effects = vec![message.put(at)];
        Ok(about(message, kind, by.user, payload, effects))
    }

    /// The server takes back a reaction of a person who is being erased. What it was stays in the
    /// broadcast, for those who show it.
    pub(super) fn take_reaction(
        &mut self,
        id: MessageId,
        user: &UserId,
        emoji: &str,
    ) -> Result<Change, CommandError> {
        let at = self.next();
        let payload = text_of(&ReactionPayload {
            message_id: id,
            user_id: user.clone(),
            emoji: emoji.to_owned(),
            conversation_id: self.core.id.clone(),
        });
        let message = self.messages.get_mut(&id);
        let message = message.ok_or(CommandError::MessageNotFound)?;
        if !message.react(emoji, user, false) {
            return Ok(Change::Nothing { id, payload });
        }
        let effects = vec![message.put(at)];
        let kind = EntryKind::ReactionRemove;
        Ok(about(message, kind, user, payload, effects))
    }

    /// In a direct conversation both pin, in a group admins and owners.
    pub(super) fn pin(
        &mut self,
        by: By<'_>,
        id: MessageId,
        pinned: bool,
    ) -> Result<Change, CommandError> {
        let (now, at) = (self.now, self.next());
        if self.core.kind == ConversationKind::Group && !by.is_admin() {
            return Err(CommandError::Forbidden);
        }
        let payload = text_of(&PinPayload {
            message_id: id,
            conversation_id: self.core.id.clone(),
            user_id: by.user.clone(),
            at: now,
        });
        let message = self.message(by, id)?;
        if message.row.pinned == pinned {
            return Ok(Change::Nothing { id, payload });
        }
        message.pin(pinned.then_some(by.user), now);
        let kind = if pinned {
            EntryKind::Pin
        } else {
            EntryKind::Unpin
        };
        let effects = vec![message.put(at)];
        Ok(about(message, kind, by.user, payload, effects))
    }

    /// A message that was not deleted and that `by` may see.
    fn message(&mut self, by: By<'_>, id: MessageId) -> Result<&mut Folded, CommandError> {
        let message = self.any_message(by, id)?;
        if message.row.deleted {
            return Err(CommandError::MessageNotFound);
        }
        Ok(message)
    }

    /// A message that `by` may see: their own, or one since they became a member.
    fn any_message(&mut self, by: By<'_>, id: MessageId) -> Result<&mut Folded, CommandError> {
        let message = self.messages.get_mut(&id);
        message
            .filter(|it| it.row.sender == *by.user || it.row.seq >= by.standing.from_seq)
            .ok_or(CommandError::MessageNotFound)
    }

    /// A reply answers, and a thread hangs on, a message that is there and visible; a thread on
    /// one of the main timeline.
    fn check_references(&mut self, by: By<'_>, send: &SendMessage) -> Result<(), CommandError> {
        if let Some(id) = send.reply_to
            && self.any_message(by, id).is_err()
        {
            return Err(invalid("reply_to", "no such message"));
        }
        let Some(id) = send.thread_root else {
            return Ok(());
        };
        match self.any_message(by, id) {
            Err(_) => Err(invalid("thread_root", "no such message")),
            Ok(root) if root.row.thread_root.is_some() => {
                Err(invalid("thread_root", "is itself in a thread"))
            }
            Ok(_) => Ok(()),
        }
    }

    /// When the message's content is to disappear.
    fn expiry(&self, send: &SendMessage) -> Option<Timestamp> {
        let limits = &self.core.limits;
        let seconds = match send.class {
            MessageClass::UntilDelivered => Some(send.ttl.unwrap_or(limits.undelivered_seconds)),
            _ => send.ttl,
        };
        let ms = i64::try_from(seconds?.saturating_mul(1000)).unwrap_or(i64::MAX);
        Some(Timestamp(self.now.0.saturating_add(ms)))
    }
}

/// A message as it is when it is sent.
pub(crate) fn body(
    (conversation, now): (&ConversationId, Timestamp),
    sender: &UserId,
    id: EntryId,
    send: &SendMessage,
    expires_at: Option<Timestamp>,
) -> MessagePayload {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).ok();
    let attachments = send.attachments.as_deref().and_then(raw);
    MessagePayload {
        id,
        conversation_id: conversation.clone(),
        sender_id: sender.clone(),
        client_id: send.client_id.clone(),
        kind: send.kind.clone(),
        content: send.content.clone(),
        attachments: attachments.unwrap_or_else(no_attachments),
        reply_to: send.reply_to,
        thread_root: send.thread_root,
        is_forwarded: send.is_forwarded,
        forwarded_from: send.forwarded_from.clone(),
        mentions: send.mentions.clone(),
        silent: send.silent,
        envelope: send.envelope.as_deref().and_then(raw),
        class: send.class,
        ttl: send.ttl,
        expires_at,
        created_at: now,
        updated_at: now,
        is_edited: false,
        edited_at: None,
        edited_by: None,
        edits: Vec::new(),
        reactions: indexmap::IndexMap::new(),
        pinned_by: None,
        pinned_at: None,
        deleted_by: None,
        deleted_at: None,
        deleted_reason: None,
    }
}

/// An entry about a message.
fn about(
    message: &Folded,
    kind: EntryKind,
    by: &UserId,
    payload: JsonText,
    effects: Vec<EntryEffect>,
) -> Change {
    Change::write(Write {
        kind,
        sender: by.clone(),
        hash: None,
        counts: false,
        target: Some(message.target()),
        payload,
        effects,
    })
}

/// What a deletion takes out of the log: the message's own payload and those of its edits. Seqs
/// and keys stay.
fn redactions(message: &mut Folded, at: Seq) -> Vec<EntryEffect> {
    let put = message.put(at);
    if ServerMutant::KeepDeleted.is_active() {
        return vec![put];
    }
    let redacted = EntryEffect::Redact {
        seq: message.row.seq,
        payload: message.row.body.clone(),
    };
    let edit = text_of(&edit_payload(&message.body));
    let edits = message.body.edits.iter().map(|seq| EntryEffect::Redact {
        seq: *seq,
        payload: edit.clone(),
    });
    [redacted, put].into_iter().chain(edits).collect()
}

/// The edit that made a message what it is.
fn edit_payload(body: &MessagePayload) -> EditPayload {
    EditPayload {
        id: body.id,
        message_id: body.id,
        conversation_id: body.conversation_id.clone(),
        content: body.content.clone(),
        is_edited: body.is_edited,
        edited_at: body.edited_at.unwrap_or(body.created_at),
        edited_by: body.edited_by.as_ref().unwrap_or(&body.sender_id).clone(),
    }
}

/// The deletion that made a message what it is.
fn delete_payload(body: &MessagePayload) -> DeletePayload {
    DeletePayload {
        message_id: body.id,
        conversation_id: body.conversation_id.clone(),
        deleted_by: body.deleted_by.clone(),
        reason: body.deleted_reason,
        deleted_at: body.deleted_at.unwrap_or(body.updated_at),
    }
}

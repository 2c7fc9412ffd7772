//! From a log entry to what clients see. Live broadcasts, gaps, streams and replies all come
//! through here, so that an entry looks the same whenever and however it arrives.

use std::{borrow::Cow, fmt::Write};

use quikapp_storage::{Entry, EntryKind, JsonText, Message, MessageId, Seq};

use super::payload::NoticePayload;

/// What is pushed for an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The event's name.
    pub event: Cow<'static, str>,
    /// Its payload (JSON object), with `seq` and, where it is about a message, `message_seq`.
    pub payload: JsonText,
}

/// The event of an entry.
pub fn pushed(entry: &Entry) -> Pushed {
    let Some(event) = event_of(entry.kind) else {
        return notice(entry);
    };
    Pushed {
        event: Cow::Borrowed(event),
        payload: placed(&entry.payload, entry.seq, entry.target),
    }
}

/// A message of a history: its folded body with its place.
pub fn message(message: &Message) -> JsonText {
    placed(&message.body, message.seq, None)
}

/// The event's name by kind; a notice brings its own.
pub fn event_of(kind: EntryKind) -> Option<&'static str> {
    Some(match kind {
        EntryKind::Message => "message:new",
        EntryKind::Edit => "message:edited",
        EntryKind::Delete => "message:deleted",
        EntryKind::ReactionAdd => "message:reaction:added",
        EntryKind::ReactionRemove => "message:reaction:removed",
        EntryKind::Pin => "message:pinned",
        EntryKind::Unpin => "message:unpinned",
        EntryKind::Forget => "message:forgotten",
        EntryKind::MemberJoined
        | EntryKind::MemberLeft
        | EntryKind::RoleChanged
        | EntryKind::ConversationUpdated => "conversation:updated",
        EntryKind::Notice => return None,
    })
}

/// A notice that does not decode is shown as it is: a log is not made unreadable by one entry.
fn notice(entry: &Entry) -> Pushed {
    match serde_json::from_str::<NoticePayload>(&entry.payload) {
        Ok(notice) => Pushed {
            event: Cow::Owned(notice.event),
            payload: placed(notice.payload.get(), entry.seq, None),
        },
        Err(_) => Pushed {
            event: Cow::Borrowed("notification"),
            payload: placed(&entry.payload, entry.seq, None),
        },
    }
}

/// Puts `seq` (and `message_seq`) in front of an object's members.
pub(crate) fn placed(object: &str, seq: Seq, target: Option<(MessageId, Seq)>) -> JsonText {
    let members = object.trim_start().strip_prefix('{').unwrap_or("}");
    let mut out = String::with_capacity(object.len() + 48);
    let message_seq = target.map(|(_, seq)| format!(r#","message_seq":{seq}"#));
    // Writing into a string cannot fail.
    let _ = write!(
        out,
        r#"{{"seq":{seq}{}"#,
        message_seq.as_deref().unwrap_or_default()
    );
    if !members.trim_start().starts_with('}') {
        out.push(',');
    }
    out.push_str(members);
    out.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_place_is_spliced_into_any_object() {
        let place = |object: &str| placed(object, Seq(7), None).to_string();
        assert_eq!(place("{}"), r#"{"seq":7}"#);
        assert_eq!(place(" { } "), r#"{"seq":7 } "#);
        assert_eq!(place(r#"{"a":1}"#), r#"{"seq":7,"a":1}"#);
        let id = MessageId::generate();
        let about = placed(r#"{"a":1}"#, Seq(7), Some((id, Seq(3))));
        assert_eq!(&*about, r#"{"seq":7,"message_seq":3,"a":1}"#);
    }
}

//! What an entry is, as a client is shown it: the same wherever it is seen.

use quikapp_history::Kind;
use serde_json::Value;

/// An entry of a conversation's log.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) seq: u64,
    pub(crate) kind: Kind,
    pub(crate) id: String,
}

/// Reads an event of a conversation; nothing if it is of no log.
pub(crate) fn seen(event: &str, payload: &Value) -> Option<Seen> {
    let text = |key: &str| payload[key].as_str().unwrap_or_default().to_owned();
    let about = |what: &str| format!("{what} {}", text("message_id"));
    let (kind, id) = match event {
        "message:new" => (Kind::Message, text("id")),
        "message:edited" => (Kind::Edit, about("edit of")),
        "message:deleted" => (Kind::Delete, about("deletion of")),
        "message:reaction:added" | "message:reaction:removed" => {
            let kind = match event {
                "message:reaction:added" => Kind::ReactionAdd,
                _ => Kind::ReactionRemove,
            };
            (
                kind,
                format!(
                    "{} by {} to {}",
                    text("emoji"),
                    text("user_id"),
                    text("message_id")
                ),
            )
        }
        "message:pinned" | "message:unpinned" => (Kind::Other, about(event)),
        "conversation:updated" => {
            let kind = match payload["change"].as_str() {
                Some("members_added") => Kind::MemberJoined,
                Some("member_removed") => Kind::MemberLeft,
                _ => Kind::Other,
            };
            (
                kind,
                format!("{} {}", text("change"), users(payload).join(" ")),
            )
        }
        _ => return None,
    };
    let seq = payload["seq"].as_u64()?;
    Some(Seen { seq, kind, id })
}

/// Whom a change of membership concerns. Of a removal only the first has left.
pub(crate) fn users(payload: &Value) -> Vec<String> {
    let members = payload["members"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let all = match payload["change"].as_str() {
        Some("member_removed") => members.get(..1).unwrap_or_default(),
        _ => members,
    };
    let user = |member: &Value| member["user_id"].as_str().unwrap_or_default().to_owned();
    all.iter().map(user).collect()
}

//! What an entry is, as a client is shown it: the same wherever it is seen.

use quikapp_history::Kind;
use serde_json::Value;

/// An entry of a conversation's log.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) seq: u64,
    pub(crate) kind: Kind,
    pub(crate) id: String,
    /// The place of the message that is forgotten because everybody has it.
    pub(crate) forgets: Option<u64>,
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
            // Not which: of somebody who is erased that does not stay.
            (kind, about(&format!("reaction by {} to", text("user_id"))))
        }
        "message:pinned" => (Kind::Pin, about("pin of")),
        "message:unpinned" => (Kind::Unpin, about("end of the pin of")),
        "message:forgotten" if payload["reason"] == "delivered" => {
            (Kind::Forget, about("what was said by"))
        }
        "message:forgotten" => (Kind::Expire, about("what was said by")),
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
    let forgets = payload["message_seq"].as_u64();
    Some(Seen {
        seq,
        kind,
        id,
        forgets: forgets.filter(|_| kind == Kind::Forget),
    })
}

/// Reads a message that is in no log: by whom, and the name that its sender gave it.
pub(crate) fn heard(event: &str, payload: &Value) -> Option<(String, String)> {
    let is_ephemeral = event == "message:new" && payload["class"] == "ephemeral";
    let text = |key: &str| payload[key].as_str().unwrap_or_default().to_owned();
    is_ephemeral.then(|| (text("sender_id"), text("client_id")))
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

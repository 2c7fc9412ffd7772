//! Idempotency keys, and the hash that tells a retry from another message under the same key.

use aws_lc_rs::digest;
use quikapp_storage::{
    ConversationId, DocumentKind, EntryId, Key16, Keys, MessageId, Person, Seq, UserId,
};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use uuid::{Uuid, Variant, Version};

use super::{MessageClass, SendMessage, core::json_of};

/// How many bytes of a key say when its id was made: units of 256 ms.
const TIME_BYTES: usize = 5;

/// The key of a client's message: the first 16 bytes of SHA-256(len(sender) as big-endian u32,
/// sender, client_id). Where the id is a UUIDv7, its first five bytes, which say when it was made,
/// stand in front, and eleven of the hash behind them: keys then come in the order of their
/// messages, and the index of a conversation's keys grows at its end
/// ([ADR 26](../../../docs/adr/0026-keys-in-order.md)).
pub(crate) fn of_client(sender: &UserId, client_id: &str) -> Keys {
    let hash = hash_of_client(sender, client_id);
    let Some(id) = uuid_v7(client_id) else {
        return hash.into();
    };
    let mut key = [0; 16];
    key[..TIME_BYTES].copy_from_slice(&id.as_bytes()[..TIME_BYTES]);
    key[TIME_BYTES..].copy_from_slice(&hash.0[..16 - TIME_BYTES]);
    Keys {
        key: Key16(key),
        former: Some(hash),
    }
}

fn hash_of_client(sender: &UserId, client_id: &str) -> Key16 {
    let sender = sender.as_str().as_bytes();
    let length = u32::try_from(sender.len()).unwrap_or(u32::MAX);
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&length.to_be_bytes());
    hash.update(sender);
    hash.update(client_id.as_bytes());
    first_16(hash.finish().as_ref())
}

/// A client's id that is a UUIDv7 (RFC 9562, 5.7), however it is spelt.
pub(crate) fn uuid_v7(client_id: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(client_id).ok()?;
    let is_v7 = id.get_version() == Some(Version::SortRand) && id.get_variant() == Variant::RFC4122;
    is_v7.then_some(id)
}

/// A name for what a person calls by an id of theirs.
pub(crate) fn hex_key(sender: &UserId, client_id: &str) -> String {
    let Key16(bytes) = hash_of_client(sender, client_id);
    Uuid::from_bytes(bytes).simple().to_string()
}

/// The key of an entry for which the client named none: the entry's own id, so that a writer who
/// does not know whether a commit went through can look it up.
pub(crate) fn of_entry(id: EntryId) -> Key16 {
    Key16(*id.0.as_bytes())
}

/// The key of what a person is told of a place in a conversation. It never changes: it stands for
/// that they have been told.
pub(crate) fn of_notice(
    conversation: &ConversationId,
    seq: Seq,
    user: &UserId,
    event: &str,
) -> Key16 {
    let parts = ["notice", conversation.as_str(), user.as_str(), event];
    of_parts(&parts, seq.0)
}

/// The key of a version of a person's document. It never changes: whoever writes first under it has
/// made that version.
pub(crate) fn of_document(person: &Person, kind: DocumentKind, version: u64) -> Key16 {
    let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
    of_parts(&["document", workspace, user, kind.as_str()], version)
}

/// Each part behind its length as big-endian u32, then the number as big-endian u64.
fn of_parts(parts: &[&str], number: u64) -> Key16 {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in parts {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        hash.update(&length.to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(&number.to_be_bytes());
    first_16(hash.finish().as_ref())
}

/// The key of a message, by its `client_id` where there is one.
pub(crate) fn of_message(sender: &UserId, send: &SendMessage, id: EntryId) -> Keys {
    match &send.client_id {
        Some(client_id) => of_client(sender, client_id),
        None => of_entry(id).into(),
    }
}

/// Hash of the canonical JSON of what the client asked to send, without `client_id`.
pub(crate) fn content_hash(send: &SendMessage) -> [u8; 32] {
    // What has strings for keys, as this has, always has JSON.
    hash_of(&json_of(&Content::of(send)))
}

/// What a retry has to have in common with the message it repeats. The fields stand in the order of
/// their names, which makes the JSON of it canonical, and never change: the hash is stored.
#[derive(Serialize)]
struct Content<'a> {
    attachments: Option<Box<RawValue>>,
    /// Only where it says something, as `ttl`: messages from before there were classes keep their
    /// hashes.
    #[serde(skip_serializing_if = "MessageClass::is_persistent")]
    class: MessageClass,
    content: Option<&'a str>,
    envelope: Option<Box<RawValue>>,
    forwarded_from: Option<&'a str>,
    is_forwarded: bool,
    mentions: &'a [UserId],
    reply_to: Option<MessageId>,
    silent: bool,
    thread_root: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(rename = "type")]
    kind: &'a str,
}

impl<'a> Content<'a> {
    fn of(send: &'a SendMessage) -> Self {
        // No attachments and an empty list of them are the same message.
        let attachments = canonical(send.attachments.as_deref());
        Self {
            attachments: attachments.filter(|list| list.get() != "[]"),
            class: send.class,
            content: send.content.as_deref(),
            envelope: canonical(send.envelope.as_deref()),
            forwarded_from: send.forwarded_from.as_deref(),
            is_forwarded: send.is_forwarded,
            mentions: &send.mentions,
            reply_to: send.reply_to,
            silent: send.silent,
            thread_root: send.thread_root,
            ttl: send.ttl,
            kind: &send.kind,
        }
    }
}

/// A client's JSON with sorted object keys and no white space; nothing of what is no JSON.
fn canonical(text: Option<&str>) -> Option<Box<RawValue>> {
    let value: Value = serde_json::from_str(text?).ok()?;
    let mut out = String::new();
    write_canonical(&value, &mut out);
    RawValue::from_string(out).ok()
}

/// SHA-256 of a text.
pub(crate) fn hash_of(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    out
}

fn first_16(bytes: &[u8]) -> Key16 {
    let mut key = [0; 16];
    key.copy_from_slice(&bytes[..16]);
    Key16(key)
}

/// JSON with sorted object keys and no white space, whatever map type serde_json was built with.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            write_list(out, '{', '}', keys, |key, out| {
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write_canonical(&map[key], out);
            });
        }
        Value::Array(items) => write_list(out, '[', ']', items, write_canonical),
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn write_list<T>(
    out: &mut String,
    open: char,
    close: char,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(T, &mut String),
) {
    out.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_key_depends_on_sender_and_client_id_and_not_on_where_one_ends() {
        let ann = UserId::new("ann").unwrap();
        let anna = UserId::new("anna").unwrap();
        assert_eq!(of_client(&ann, "x"), of_client(&ann, "x"));
        assert_ne!(of_client(&ann, "x"), of_client(&ann, "y"));
        assert_ne!(of_client(&ann, "ax"), of_client(&anna, "x"));
    }

    /// Stored keys outlive the program that wrote them.
    #[test]
    fn the_key_of_a_client_id_never_changes() {
        let ann = UserId::new("ann").unwrap();
        let hash = |id: &str| first_16(&hash_of(&format!("\0\0\0\x03ann{id}")));
        for id in ["x", "936da01f-9abd-4d9d-80c7-02af85c822a8"] {
            assert_eq!(of_client(&ann, id), hash(id).into(), "{id}");
        }
        let v7 = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
        for id in [v7.to_owned(), v7.to_uppercase(), v7.replace('-', "")] {
            let keys = of_client(&ann, &id);
            assert_eq!(keys.key.0[..5], [0x01, 0x7f, 0x22, 0xe2, 0x79], "{id}");
            assert_eq!(keys.key.0[5..], hash(&id).0[..11], "{id}");
            assert_eq!(keys.former, Some(hash(&id)), "{id}");
            // Timers are stored under this.
            let hex = Uuid::from_bytes(hash(&id).0).simple().to_string();
            assert_eq!(hex_key(&ann, &id), hex, "{id}");
        }
    }

    #[test]
    fn the_keys_of_a_uuid_v7_come_in_the_order_of_time() {
        let [ann, bob] = ["ann", "bob"].map(|name| UserId::new(name).unwrap());
        let keys = (0..1000_u64).map(|n| {
            let id = (1_796_083_200_000 + n * 256) << 16 | 0x7000;
            let id = Uuid::from_u64_pair(id, 1 << 63 | n).to_string();
            of_client(if n % 2 == 0 { &ann } else { &bob }, &id).key
        });
        assert!(keys.is_sorted_by(|one, next| one.0 < next.0));
    }

    #[test]
    fn the_hash_sees_values_and_not_their_order_or_the_client_id() {
        let send = |client_id: &str, envelope: &str| SendMessage {
            client_id: Some(client_id.into()),
            envelope: Some(envelope.into()),
            ..SendMessage::default()
        };
        let hash = content_hash(&send("1", r#"{"a":1,"b":[2]}"#));
        assert_eq!(hash, content_hash(&send("2", r#"{"b": [2], "a": 1}"#)));
        assert_ne!(hash, content_hash(&send("1", r#"{"b":[3],"a":1}"#)));
        let empty_list = SendMessage {
            attachments: Some("[]".into()),
            ..send("1", r#"{"a":1,"b":[2]}"#)
        };
        assert_eq!(hash, content_hash(&empty_list));
        let short = SendMessage {
            ttl: Some(60),
            ..send("1", r#"{"a":1,"b":[2]}"#)
        };
        assert_ne!(hash, content_hash(&short));
    }

    /// Stored keys outlive the program that wrote them.
    #[test]
    fn the_key_of_a_notice_never_changes() {
        let id = ConversationId::from_stored("c");
        let ann = UserId::new("ann").unwrap();
        let key = |seq, event| of_notice(&id, Seq(seq), &ann, event);
        let text = "\0\0\0\x06notice\0\0\0\x01c\0\0\0\x03ann\0\0\0\x01e\0\0\0\0\0\0\0\x07";
        assert_eq!(key(7, "e"), first_16(&hash_of(text)));
        assert_ne!(key(7, "e"), key(8, "e"));
        assert_ne!(key(7, "e"), key(7, "f"));
    }

    /// Stored keys outlive the program that wrote them.
    #[test]
    fn the_key_of_a_document_never_changes() {
        let ann = Person {
            workspace: quikapp_storage::WorkspaceId::new("w").unwrap(),
            user: UserId::new("ann").unwrap(),
        };
        let [preferences, devices] = DocumentKind::ALL;
        let text = "\0\0\0\x08document\0\0\0\x01w\0\0\0\x03ann\0\0\0\x0bpreferences\
                    \0\0\0\0\0\0\0\x07";
        let key = |kind, version| of_document(&ann, kind, version);
        assert_eq!(key(preferences, 7), first_16(&hash_of(text)));
        let text = "\0\0\0\x08document\0\0\0\x01w\0\0\0\x03ann\0\0\0\x07devices\
                    \0\0\0\0\0\0\0\x07";
        assert_eq!(key(devices, 7), first_16(&hash_of(text)));
        assert_ne!(key(devices, 7), key(devices, 8));
    }

    /// Stored hashes outlive the program that wrote them.
    #[test]
    fn the_hash_of_a_message_never_changes() {
        let send = SendMessage {
            kind: "text".into(),
            content: Some("hello".into()),
            ..SendMessage::default()
        };
        let text = r#"{"attachments":null,"content":"hello","envelope":null,"forwarded_from":null,"is_forwarded":false,"mentions":[],"reply_to":null,"silent":false,"thread_root":null,"type":"text"}"#;
        assert_eq!(content_hash(&send), hash_of(text));
        let id = "0198c0de-0000-7000-8000-000000000001";
        let all = SendMessage {
            client_id: Some("not in it".into()),
            kind: "file".into(),
            content: Some("a \"b\"\n\u{e9}\u{1}".into()),
            attachments: Some(r#" [ {"b" : 1.50, "a":[ ]} ] "#.into()),
            reply_to: MessageId::parse(id).ok(),
            thread_root: MessageId::parse(id).ok(),
            is_forwarded: true,
            forwarded_from: Some("c".into()),
            mentions: vec![UserId::new("ann").unwrap()],
            silent: true,
            envelope: Some(r#"{"z":null,"\u00e9":"\u00e9"}"#.into()),
            class: MessageClass::UntilDelivered,
            ttl: Some(60),
        };
        let text = r#"{"attachments":[{"a":[],"b":1.5}],"class":"until_delivered","content":"a \"b\"\né\u0001","envelope":{"z":null,"é":"é"},"forwarded_from":"c","is_forwarded":true,"mentions":["ann"],"reply_to":"ID","silent":true,"thread_root":"ID","ttl":60,"type":"file"}"#;
        assert_eq!(content_hash(&all), hash_of(&text.replace("ID", id)));
    }
}

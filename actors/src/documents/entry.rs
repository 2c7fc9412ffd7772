//! How a version of a document stands in the log.

use quikapp_storage::{DocumentKind, Entry, EntryKind, JsonText};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::conversation::NoticePayload;

/// The event by which a person's devices hear of a change, on `user:<id>`.
pub fn event_of(kind: DocumentKind) -> &'static str {
    match kind {
        DocumentKind::Preferences => "preferences:changed",
        DocumentKind::Devices => "devices:registered",
    }
}

/// One version of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) kind: DocumentKind,
    pub(super) version: u64,
    pub(super) json: JsonText,
}

#[derive(Deserialize)]
struct Payload {
    version: u64,
    preferences: Option<Box<RawValue>>,
    devices: Option<Box<RawValue>>,
}

impl Written {
    /// The payload of its event: `{"version": 3, "preferences": ...}`.
    pub(super) fn payload(&self) -> JsonText {
        let (version, field, json) = (self.version, self.kind.as_str(), &self.json);
        format!(r#"{{"version":{version},"{field}":{json}}}"#).into()
    }

    /// What an entry says; `None` of one that is no version of a document, or is one no more:
    /// nothing is left of it once the person has been erased.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        if entry.kind != EntryKind::Notice {
            return None;
        }
        let notice: NoticePayload = serde_json::from_str(&entry.payload).ok()?;
        let mut kinds = DocumentKind::ALL.into_iter();
        let kind = kinds.find(|kind| event_of(*kind) == notice.event)?;
        let payload: Payload = serde_json::from_str(notice.payload.get()).ok()?;
        let json = match kind {
            DocumentKind::Preferences => payload.preferences?,
            DocumentKind::Devices => payload.devices?,
        };
        Some(Self {
            kind,
            version: payload.version,
            json: json.get().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use quikapp_storage::{EntryId, Epoch, Key16, Seq, Timestamp, UserId};

    use super::*;

    fn entry(payload: &str) -> Entry {
        let id = EntryId::generate();
        Entry {
            seq: Seq(1),
            id,
            kind: EntryKind::Notice,
            sender: UserId::new("ann").unwrap(),
            key: Key16(*id.0.as_bytes()),
            hash: [0; 32],
            epoch: Epoch(1),
            n: 0,
            target: None,
            payload: payload.into(),
            at: Timestamp(0),
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        for kind in DocumentKind::ALL {
            let written = Written {
                kind,
                version: 7,
                json: r#"{"a": [1, "é\u0000"]}"#.into(),
            };
            let (event, payload) = (event_of(kind), written.payload());
            let entry = entry(&format!(r#"{{"event":"{event}","payload":{payload}}}"#));
            assert_eq!(Written::of(&entry), Some(written));
        }
    }

    /// Entries outlive the program that wrote them.
    #[test]
    fn the_form_of_an_entry_never_changes() {
        let payload = r#"{"version":2,"preferences":{"a":1}}"#;
        let written = Written {
            kind: DocumentKind::Preferences,
            version: 2,
            json: r#"{"a":1}"#.into(),
        };
        assert_eq!(&*written.payload(), payload);
        let written = Written {
            kind: DocumentKind::Devices,
            json: "[]".into(),
            ..written
        };
        assert_eq!(&*written.payload(), r#"{"version":2,"devices":[]}"#);
    }

    #[test]
    fn what_is_no_version_of_a_document_is_passed_over() {
        for payload in [
            r#"{"event":"erased","payload":{}}"#,
            r#"{"event":"preferences:changed","payload":{}}"#,
            r#"{"event":"preferences:changed","payload":{"version":1}}"#,
            r#"{"event":"preferences:changed","payload":{"version":1,"devices":[]}}"#,
            r#"{"event":"notification","payload":{"version":1,"preferences":{}}}"#,
            "{}",
            "junk",
        ] {
            assert_eq!(Written::of(&entry(payload)), None, "{payload}");
        }
    }
}

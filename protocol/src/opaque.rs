//! Parts of a message that are echoed as they came: refs, topics and event names.
//!
//! Clients send strings (and null refs), but Phoenix echoes whatever JSON value stands there, so
//! each part is a string in its unescaped form, null, or the text of any other JSON value.

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use crate::encode::EncodeError;
use crate::json::{JsonError, parse_opaque, write_json_string};

/// A JSON value that is compared and echoed but never looked into.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Opaque {
    /// `null`
    #[default]
    Null,
    /// A string, unescaped.
    Text(ByteString),
    /// The text of a number, boolean, array or object.
    Other(ByteString),
}

impl Opaque {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Other(_) => None,
        }
    }

    pub(crate) fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Text(text) => write_json_string(text, out),
            Self::Other(json) => out.push_str(json),
        }
    }

    /// What Elixir's `to_string` makes of it, which is how it stands in a binary header. It
    /// raises for objects and makes character data of lists: neither can be sent.
    pub(crate) fn header_bytes(&self, part: &'static str) -> Result<&[u8], EncodeError> {
        match self {
            Self::Null => Ok(b""),
            Self::Text(text) => Ok(text.as_bytes()),
            Self::Other(json) if json.starts_with(['{', '[']) => {
                Err(EncodeError::NotAScalar { part })
            }
            Self::Other(json) => Ok(json.as_bytes()),
        }
    }

    fn detached(&self) -> Self {
        let copy = |text: &ByteString| ByteString::from(&**text);
        match self {
            Self::Null => Self::Null,
            Self::Text(text) => Self::Text(copy(text)),
            Self::Other(json) => Self::Other(copy(json)),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Text(text) | Self::Other(text) => text.len(),
        }
    }

    fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }
}

impl From<Opaque> for String {
    fn from(value: Opaque) -> Self {
        value.to_json()
    }
}

impl TryFrom<String> for Opaque {
    type Error = JsonError;

    fn try_from(json: String) -> Result<Self, JsonError> {
        parse_opaque(&ByteString::from(json))
    }
}

impl From<&str> for Opaque {
    fn from(text: &str) -> Self {
        Self::Text(ByteString::from(text))
    }
}

/// A `ref` or `join_ref`. A string, null, or any JSON value; equal when the client wrote the same
/// value (the number 1 is not the string "1").
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ref(pub(crate) Opaque);

impl Ref {
    /// The ref of pushes, broadcasts, and clients that want no correlation.
    pub const fn null() -> Self {
        Self(Opaque::Null)
    }

    /// Whether it is `null` or was absent.
    pub fn is_null(&self) -> bool {
        self.0 == Opaque::Null
    }

    /// Whether a message that carries this as its `join_ref` comes from an earlier join than
    /// `joined`, and is therefore to be dropped. Null belongs to every join.
    pub fn is_stale_for(&self, joined: &Ref) -> bool {
        !self.is_null() && self != joined
    }

    /// A copy that does not keep the frame alive which this was decoded from.
    pub fn detached(&self) -> Self {
        Self(self.0.detached())
    }

    /// Its bytes: what it costs to remember it.
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// The ref as JSON text: `"1"` with its quotes, `null`, `13`.
    pub fn to_json(&self) -> String {
        self.0.to_json()
    }
}

impl From<&str> for Ref {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// The topic as the client wrote it. Only a string can name a channel; anything else is echoed
/// in the refusal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Topic(pub(crate) Opaque);

impl Topic {
    /// The topic's name, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_str()
    }

    /// Its bytes: what it costs to remember it.
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// A copy that does not keep the frame alive which this was decoded from.
    pub fn detached(&self) -> Self {
        Self(self.0.detached())
    }
}

impl From<&str> for Topic {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<ByteString> for Topic {
    fn from(text: ByteString) -> Self {
        Self(Opaque::Text(text))
    }
}

/// The event name as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Event(pub(crate) Opaque);

impl Event {
    /// The event's name, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_str()
    }

    /// Its bytes: what it costs to remember it.
    pub fn size(&self) -> usize {
        self.0.size()
    }
}

impl From<&str> for Event {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// Binary headers carry text only; an empty part is an empty string, not null.
impl TryFrom<Bytes> for Opaque {
    type Error = std::str::Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Self::Error> {
        ByteString::try_from(bytes).map(Self::Text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn refs_can_be_frozen_and_thawed() {
        for json in ["null", "\"1\"", "1", "{\"a\":[1]}", "\"\\\"\""] {
            let reference = Ref(Opaque::try_from(json.to_owned()).unwrap());
            let frozen = serde_json::to_string(&reference).unwrap();
            assert_eq!(serde_json::from_str::<Ref>(&frozen).unwrap(), reference);
            assert_eq!(reference.to_json(), json);
        }
        assert!(Opaque::try_from("1 2".to_owned()).is_err());
    }
}

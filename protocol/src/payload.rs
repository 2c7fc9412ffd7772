//! What a message carries.

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::json::{JsonError, validate};

/// JSON text that is known to be well-formed: one value, no lone surrogates, at most
/// [`MAX_DEPTH`](crate::MAX_DEPTH) levels when it came from outside. Cloning shares the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(ByteString);

impl Json {
    /// `{}`
    pub const fn empty_object() -> Self {
        Self(ByteString::from_static("{}"))
    }

    /// Checks that `text` is one JSON value.
    pub fn parse(text: impl Into<ByteString>) -> Result<Self, JsonError> {
        let text = text.into();
        let span = validate(&text)?;
        Ok(Self(text.slice_ref(&text[span])))
    }

    /// The JSON text of a value.
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(|text| Self(text.into()))
    }

    /// For text that this server made itself, or validated before it kept it. Text that is not
    /// JSON makes a frame that no client can read.
    pub fn assume_valid(text: impl Into<ByteString>) -> Self {
        Self(text.into())
    }

    /// For text that has just been validated.
    pub(crate) fn trusted(text: ByteString) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// A copy that does not keep the frame alive which this was decoded from.
    pub fn detached(&self) -> Self {
        Self(ByteString::from(&*self.0))
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        Self(value.to_string().into())
    }
}

/// Embeds the text as it is when the serializer is `serde_json`'s.
impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// What a message carries: JSON, or the bytes of a binary frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Any JSON value, usually an object.
    Json(Json),
    /// Bytes of a binary frame.
    Binary(Bytes),
}

impl Payload {
    /// `{}`, the payload of most replies.
    pub const fn empty_object() -> Self {
        Self::Json(Json::empty_object())
    }

    /// The JSON text of a value. Fails for what JSON cannot hold, such as a map whose keys are
    /// not strings.
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Json::from_serialize(value).map(Self::Json)
    }

    /// Reads the JSON into a type. A type may borrow from the payload.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, PayloadError> {
        match self {
            Self::Json(json) => Ok(serde_json::from_str(json.as_str())?),
            Self::Binary(_) => Err(PayloadError::Binary),
        }
    }

    /// The JSON, unless it is binary.
    pub fn as_json(&self) -> Option<&Json> {
        match self {
            Self::Json(json) => Some(json),
            Self::Binary(_) => None,
        }
    }

    /// Whether it can only travel in a binary frame.
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }

    /// The JSON text, or the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Json(json) => json.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// A copy that does not keep the frame alive which this was decoded from.
    pub fn detached(&self) -> Self {
        match self {
            Self::Json(json) => Self::Json(json.detached()),
            Self::Binary(bytes) => Self::Binary(Bytes::copy_from_slice(bytes)),
        }
    }
}

impl From<serde_json::Value> for Payload {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(value.into())
    }
}

impl From<Json> for Payload {
    fn from(json: Json) -> Self {
        Self::Json(json)
    }
}

/// Why a payload could not be read as a type.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The handler wants JSON and got bytes.
    #[error("the payload is binary, JSON was expected")]
    Binary,
    /// The JSON is of another shape.
    #[error(transparent)]
    Shape(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Sent<'a> {
        content: &'a str,
        reply_to: Option<u64>,
    }

    #[test]
    fn a_handler_reads_what_it_needs_without_copies() {
        let payload = Payload::from(json!({"content": "hi", "more": [1]}));
        assert_eq!(
            payload.parse::<Sent<'_>>().unwrap(),
            Sent {
                content: "hi",
                reply_to: None
            }
        );
    }

    #[test]
    fn another_shape_is_an_error_and_so_are_bytes() {
        let payload = Payload::from(json!({"content": 5}));
        assert!(matches!(
            payload.parse::<Sent<'_>>(),
            Err(PayloadError::Shape(_))
        ));
        let payload = Payload::Binary(Bytes::from_static(b"{}"));
        assert!(matches!(
            payload.parse::<Sent<'_>>(),
            Err(PayloadError::Binary)
        ));
    }

    #[test]
    fn text_from_elsewhere_is_checked_and_trimmed() {
        assert_eq!(Json::parse(" {\"a\":1} ").unwrap().as_str(), "{\"a\":1}");
        assert!(Json::parse("{\"a\":}").is_err());
    }

    #[test]
    fn json_is_embedded_as_it_is() {
        let inner = Json::parse("{\"n\":1e3, \"big\":123456789012345678901234567890}").unwrap();
        let outer = BTreeMap::from([("inner", inner)]);
        let expected = "{\"inner\":{\"n\":1e3, \"big\":123456789012345678901234567890}}";
        assert_eq!(Json::from_serialize(&outer).unwrap().as_str(), expected);
    }

    #[test]
    fn what_json_cannot_hold_is_an_error() {
        assert!(Payload::from_serialize(&BTreeMap::from([(vec![1], 2)])).is_err());
    }
}

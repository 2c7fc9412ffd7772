//! Reading what clients send.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use quikapp_protocol::Payload;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::errors::Refusal;

/// Reads a payload into a type whose fields are named in snake_case. Top-level keys may be
/// camelCase; a snake_case twin wins. A field that is missing or does not fit is refused by name.
pub(crate) fn read<T: DeserializeOwned>(payload: &Payload) -> Result<T, Refusal> {
    // What is named as the type names it, once each, is read as it is.
    if matches!(payload.parse(), Ok(ArePlain(true)))
        && let Ok(read) = payload.parse()
    {
        return Ok(read);
    }
    let text = in_snake_case(object(payload)?);
    let mut json = serde_json::Deserializer::from_str(&text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let detail = without_place(&error.into_inner().to_string()).to_owned();
        let field = match path.as_str() {
            "." => missing_field(&detail).unwrap_or("payload").to_owned(),
            path => path.to_owned(),
        };
        Refusal::invalid_field(field, detail)
    })
}

/// Whether none of an object's keys is to be renamed, and none comes twice.
struct ArePlain(bool);

impl<'de> Deserialize<'de> for ArePlain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Keys)
    }
}

/// Looks at keys, and at nothing else.
struct Keys;

impl Keys {
    /// An object with more is none that we know.
    const MOST: usize = 24;
}

impl<'de> Visitor<'de> for Keys {
    type Value = ArePlain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose keys are written without escapes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ArePlain, A::Error> {
        let (mut seen, mut count, mut are_plain) = ([""; Self::MOST], 0, true);
        while let Some(key) = map.next_key::<&'de str>()? {
            map.next_value::<IgnoredAny>()?;
            are_plain &=
                !seen[..count].contains(&key) && matches!(snake_case(key), Cow::Borrowed(_));
            match seen.get_mut(count) {
                Some(place) => *place = key,
                None => return Err(serde::de::Error::invalid_length(count, &self)),
            }
            count += 1;
        }
        Ok(ArePlain(are_plain))
    }
}

/// The members with their values as they were written, so that what is opaque to the server
/// (an envelope, a large number) passes through unchanged. The last of several equal keys counts;
/// no payload at all is an empty one.
type Object<'p> = BTreeMap<Cow<'p, str>, &'p RawValue>;

fn object(payload: &Payload) -> Result<Object<'_>, Refusal> {
    match payload.parse::<Option<Object<'_>>>() {
        Ok(object) => Ok(object.unwrap_or_default()),
        Err(_) => Err(Refusal::invalid_field("payload", "a JSON object is needed")),
    }
}

/// The object's text, with the names that its type has.
fn in_snake_case(object: Object<'_>) -> String {
    let (mut snake, mut camel) = (Object::new(), Vec::new());
    for (key, value) in object {
        match snake_case(&key) {
            Cow::Borrowed(_) => drop(snake.insert(key, value)),
            Cow::Owned(renamed) => camel.push((renamed, value)),
        }
    }
    for (key, value) in camel {
        snake.entry(key.into()).or_insert(value);
    }
    serde_json::to_string(&snake).unwrap_or_default()
}

fn snake_case(key: &str) -> Cow<'_, str> {
    if !key.contains(|letter: char| letter.is_ascii_uppercase()) {
        return Cow::Borrowed(key);
    }
    let mut snake = String::with_capacity(key.len() + 4);
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    Cow::Owned(snake)
}

/// A line and column of the text in between would only confuse.
fn without_place(detail: &str) -> &str {
    detail
        .rsplit_once(" at line ")
        .map_or(detail, |(what, _)| what)
}

/// serde names a missing field only in its message: "missing field `name`".
fn missing_field(detail: &str) -> Option<&str> {
    detail.strip_prefix("missing field `")?.split('`').next()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Sent {
        message_id: String,
        #[serde(default)]
        mentions: Vec<String>,
    }

    fn read_json(value: Value) -> Result<Sent, String> {
        read(&value.into()).map_err(|refusal| refusal.field.unwrap().into_owned())
    }

    #[test]
    fn both_spellings_are_read() {
        for key in ["message_id", "messageId"] {
            let sent = read_json(json!({key: "m1", "unknown": 1})).unwrap();
            assert_eq!(sent.message_id, "m1");
        }
        let both = read_json(json!({"messageId": "camel", "message_id": "snake"}));
        assert_eq!(both.unwrap().message_id, "snake");
    }

    #[test]
    fn the_last_of_several_counts_however_many_there_are() {
        let text = |json: String| Payload::Json(quikapp_protocol::Json::parse(json).unwrap());
        let unknown: String = (0..100).map(|n| format!(r#""x{n}":{n},"#)).collect();
        for before in ["", r#""message_id":"first","#, unknown.as_str()] {
            let payload = text(format!(r#"{{{before}"message_id":"last"}}"#));
            assert_eq!(read::<Sent>(&payload).unwrap().message_id, "last");
        }
        let escaped = text(r#"{"message_\u0069d":"escaped"}"#.to_owned());
        assert_eq!(read::<Sent>(&escaped).unwrap().message_id, "escaped");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (payload, field) in [
            (json!({}), "message_id"),
            (json!(null), "message_id"),
            (json!({"messageId": 7}), "message_id"),
            (
                json!({"message_id": "m", "mentions": ["a", 2]}),
                "mentions[1]",
            ),
            (json!([1]), "payload"),
            (json!("text"), "payload"),
        ] {
            assert_eq!(read_json(payload.clone()).unwrap_err(), field, "{payload}");
        }
    }

    #[test]
    fn what_is_opaque_passes_unchanged() {
        #[derive(Deserialize)]
        struct Opaque {
            some_envelope: Box<RawValue>,
        }
        let written = r#"{"n": 12345678901234567890123, "e":1e2, "s": "\u00e9"}"#;
        let json = format!(r#"{{"someEnvelope":0,"someEnvelope":{written},"x":[1]}}"#);
        let payload = Payload::Json(quikapp_protocol::Json::parse(json).unwrap());
        assert_eq!(
            read::<Opaque>(&payload).unwrap().some_envelope.get(),
            written
        );
    }

    #[test]
    fn bytes_are_no_object() {
        let bytes = Payload::Binary(vec![1, 2].into());
        assert_eq!(read::<Sent>(&bytes).unwrap_err().field.unwrap(), "payload");
    }
}

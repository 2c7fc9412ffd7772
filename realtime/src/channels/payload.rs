//! Reading what clients send.

use std::borrow::Cow;

use quikapp_protocol::Payload;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::errors::Refusal;

/// Reads a payload into a type whose fields are named in snake_case. Top-level keys may be
/// camelCase; a snake_case twin wins. A field that is missing or does not fit is refused by name.
pub(crate) fn read<T: DeserializeOwned>(payload: &Payload) -> Result<T, Refusal> {
    let object = in_snake_case(object(payload)?);
    serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
        let path = error.path().to_string();
        let detail = error.into_inner().to_string();
        let field = match path.as_str() {
            "." => missing_field(&detail).unwrap_or("payload").to_owned(),
            path => path.to_owned(),
        };
        Refusal::invalid_field(field, detail)
    })
}

/// No payload at all is an empty one.
fn object(payload: &Payload) -> Result<Map<String, Value>, Refusal> {
    match payload.parse::<Value>() {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Ok(Map::new()),
        _ => Err(Refusal::invalid_field("payload", "a JSON object is needed")),
    }
}

fn in_snake_case(object: Map<String, Value>) -> Map<String, Value> {
    let (mut snake, mut camel) = (Map::new(), Map::new());
    for (key, value) in object {
        match snake_case(&key) {
            Cow::Borrowed(_) => snake.insert(key, value),
            Cow::Owned(renamed) => camel.insert(renamed, value),
        };
    }
    for (key, value) in camel {
        snake.entry(key).or_insert(value);
    }
    snake
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

/// serde names a missing field only in its message: "missing field `name`".
fn missing_field(detail: &str) -> Option<&str> {
    detail.strip_prefix("missing field `")?.split('`').next()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde::Deserialize;
    use serde_json::json;

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
    fn bytes_are_no_object() {
        let bytes = Payload::Binary(vec![1, 2].into());
        assert_eq!(read::<Sent>(&bytes).unwrap_err().field.unwrap(), "payload");
    }
}

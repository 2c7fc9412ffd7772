//! What clients may send.

use quikapp_storage::JsonText;
use serde_json::value::RawValue;

use super::{CommandError, Limits};
use crate::conversation::{MessageClass, SendMessage};

const KINDS: [&str; 7] = ["text", "image", "video", "audio", "file", "call", "system"];
const CLIENT_ID_BYTES: usize = 128;
const FORWARDED_FROM_BYTES: usize = 256;

/// `invalid_field` with a detail.
pub(super) fn invalid(field: &'static str, detail: impl Into<String>) -> CommandError {
    let detail = detail.into();
    CommandError::InvalidField { field, detail }
}

/// Checks sizes and kinds; whether messages that are named exist is checked elsewhere.
pub(crate) fn message(send: &SendMessage, limits: &Limits) -> Result<(), CommandError> {
    if !KINDS.contains(&send.kind.as_str()) {
        let detail = format!("must be one of {}", KINDS.join(", "));
        return Err(invalid("type", detail));
    }
    if let Some(client_id) = &send.client_id {
        bytes("client_id", client_id, CLIENT_ID_BYTES)?;
        if client_id.is_empty() {
            return Err(invalid("client_id", "must not be empty"));
        }
    }
    if let Some(text) = &send.content {
        content(text, limits)?;
    }
    if let Some(from) = &send.forwarded_from {
        bytes("forwarded_from", from, FORWARDED_FROM_BYTES)?;
    }
    lifetime(send, limits)?;
    if send.mentions.len() > limits.mentions {
        return Err(invalid("mentions", format!("at most {}", limits.mentions)));
    }
    let attachments = attachments(send.attachments.as_ref(), limits)?;
    envelope(send.envelope.as_ref(), limits)?;
    let text = send.content.as_deref().unwrap_or_default();
    if text.trim().is_empty() && attachments == 0 && send.envelope.is_none() {
        return Err(invalid("content", "the message is empty"));
    }
    Ok(())
}

/// A message that is kept at all may name the time for which.
fn lifetime(send: &SendMessage, limits: &Limits) -> Result<(), CommandError> {
    let (least, most) = (limits.ttl_min_seconds, limits.ttl_max_seconds);
    match send.ttl {
        Some(_) if send.class == MessageClass::Ephemeral => {
            Err(invalid("ttl", "an ephemeral message is not kept at all"))
        }
        Some(ttl) if !(least..=most).contains(&ttl) => {
            Err(invalid("ttl", format!("must be {least} to {most} seconds")))
        }
        _ => Ok(()),
    }
}

/// Checks the size of a text.
pub(super) fn content(text: &str, limits: &Limits) -> Result<(), CommandError> {
    bytes("content", text, limits.content_bytes)
}

/// Checks an emoji: not empty, not long, no control characters.
pub(super) fn emoji(text: &str, limits: &Limits) -> Result<(), CommandError> {
    bytes("emoji", text, limits.emoji_bytes)?;
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(invalid("emoji", "must be visible"));
    }
    Ok(())
}

/// Checks a conversation's name.
pub(super) fn name(text: &str, limits: &Limits) -> Result<(), CommandError> {
    bytes("name", text, limits.name_bytes)?;
    if text.trim().is_empty() {
        return Err(invalid("name", "must not be empty"));
    }
    Ok(())
}

fn bytes(field: &'static str, text: &str, most: usize) -> Result<(), CommandError> {
    if text.len() > most {
        Err(invalid(field, format!("at most {most} bytes")))
    } else {
        Ok(())
    }
}

/// Checks that attachments are a list of objects, and counts them.
fn attachments(json: Option<&JsonText>, limits: &Limits) -> Result<usize, CommandError> {
    let not_a_list = || invalid("attachments", "must be a list of objects");
    let Some(json) = json else { return Ok(0) };
    bytes("attachments", json, limits.attachments_bytes)?;
    let list: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| not_a_list())?;
    if list.len() > limits.attachments {
        let detail = format!("at most {}", limits.attachments);
        return Err(invalid("attachments", detail));
    }
    if list.iter().any(|item| !item.get().starts_with('{')) {
        return Err(not_a_list());
    }
    Ok(list.len())
}

fn envelope(json: Option<&JsonText>, limits: &Limits) -> Result<(), CommandError> {
    let Some(json) = json else { return Ok(()) };
    bytes("envelope", json, limits.envelope_bytes)?;
    match serde_json::from_str::<&RawValue>(json) {
        Ok(_) => Ok(()),
        Err(_) => Err(invalid("envelope", "must be JSON")),
    }
}

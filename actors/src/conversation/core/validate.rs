//! What clients may send.

use std::time::Duration;

use quikapp_storage::{JsonText, Timestamp};
use serde_json::value::RawValue;

use super::{CommandError, Limits};
use crate::conversation::{MessageClass, SendMessage, key};

const KINDS: [&str; 7] = ["text", "image", "video", "audio", "file", "call", "system"];
const CLIENT_ID_BYTES: usize = 128;
const FORWARDED_FROM_BYTES: usize = 256;
/// How far ahead of ours the clock of a client may be: by more than a wrong time zone.
const CLIENT_CLOCK_AHEAD: Duration = Duration::from_secs(24 * 3600);

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

/// Where there is a horizon, checks that a `client_id` says when it was made, and that it is
/// neither past the horizon nor of a time that has yet to come. Asked when a client sends: a
/// message that is due later is not refused then.
pub(crate) fn client_id(
    send: &SendMessage,
    limits: &Limits,
    now: Timestamp,
) -> Result<(), CommandError> {
    let horizon = limits.client_id_horizon;
    let Some(client_id) = send.client_id.as_deref().filter(|_| !horizon.is_zero()) else {
        return Ok(());
    };
    let id = key::uuid_v7(client_id).ok_or_else(|| invalid("client_id", "must be a UUIDv7"))?;
    // Its first 48 bits count milliseconds.
    let made_at = Timestamp(i64::try_from(id.as_u128() >> 80).unwrap_or(i64::MAX));
    if u128::from(now.since_ms(made_at)) > horizon.as_millis() {
        let most = humantime_serde::re::humantime::format_duration(horizon);
        return Err(invalid(
            "client_id",
            format!("was made more than {most} ago"),
        ));
    }
    if u128::from(made_at.since_ms(now)) > CLIENT_CLOCK_AHEAD.as_millis() {
        return Err(invalid("client_id", "was made more than a day from now"));
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);
    const HOUR: i64 = 3_600_000;

    /// The field that does not fit, with a horizon of two hours.
    fn refusal(client_id: Option<&str>) -> Option<(&'static str, String)> {
        let send = SendMessage {
            client_id: client_id.map(Into::into),
            ..SendMessage::default()
        };
        let limits = Limits {
            client_id_horizon: Duration::from_secs(2 * 3600),
            ..Limits::default()
        };
        assert_eq!(super::client_id(&send, &Limits::default(), NOW), Ok(()));
        match super::client_id(&send, &limits, NOW) {
            Err(CommandError::InvalidField { field, detail }) => Some((field, detail)),
            other => other.err().map(|error| ("another", error.to_string())),
        }
    }

    fn made(ms_from_now: i64) -> String {
        let ms = u128::try_from(NOW.0 + ms_from_now).unwrap_or_default();
        Uuid::from_u128((ms << 80) | 0x7abc_8def_0123_4567_89ab).to_string()
    }

    #[test]
    fn within_the_horizon_a_client_id_is_a_uuid_that_says_when_it_was_made() {
        let none = Uuid::from_u128(0x0188_f6b2_0000_4abc_8def_0123_4567_89ab).to_string();
        let other_variant = made(0).replacen("-8def-", "-cdef-", 1);
        for text in ["c1", "", "018bcfe5-6800-7abc-8def", &none, &other_variant] {
            let expected = ("client_id", "must be a UUIDv7".to_owned());
            assert_eq!(refusal(Some(text)), Some(expected), "{text}");
        }
        assert_eq!(refusal(None), None, "the server makes the key then");
        assert_eq!(refusal(Some(&made(0))), None);
        assert_eq!(refusal(Some(&made(0).to_uppercase())), None);
    }

    #[test]
    fn a_client_id_is_neither_past_the_horizon_nor_ahead_of_any_clock() {
        for (ms, detail) in [
            (-2 * HOUR, None),
            (-2 * HOUR - 1, Some("was made more than 2h ago")),
            (24 * HOUR, None),
            (24 * HOUR + 1, Some("was made more than a day from now")),
        ] {
            let expected = detail.map(|detail| ("client_id", detail.to_owned()));
            assert_eq!(refusal(Some(&made(ms))), expected, "{ms} ms from now");
        }
        let (least, most) = (Uuid::from_u128(0x7000_8000_0000_0000_0000), Uuid::max());
        assert!(refusal(Some(&least.to_string())).is_some());
        assert!(refusal(Some(&most.to_string())).is_some());
    }
}

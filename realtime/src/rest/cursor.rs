//! Pages of lists. A cursor is opaque to clients: they pass it back as they got it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use quikapp_storage::{ConversationId, Timestamp};

use crate::errors::Refusal;

/// Items of a page unless the client asks for another number.
pub(super) const DEFAULT_LIMIT: usize = 50;
/// Items of a page at most.
pub(super) const MAX_LIMIT: usize = 100;

/// The number of items to answer; more than the maximum is the client's mistake.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Refusal> {
    match asked {
        None => Ok(DEFAULT_LIMIT),
        Some(limit @ 1..=MAX_LIMIT) => Ok(limit),
        Some(_) => Err(Refusal::invalid_field(
            "limit",
            format!("from 1 to {MAX_LIMIT}"),
        )),
    }
}

/// Names the place below an item of a list of conversations.
pub(super) fn write(at: Timestamp, id: &ConversationId) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{id}", at.0))
}

/// Reads what [`write`] wrote.
pub(super) fn read(cursor: &str) -> Result<(Timestamp, ConversationId), Refusal> {
    parse(cursor).ok_or_else(|| Refusal::invalid_field("cursor", "not a cursor of this list"))
}

fn parse(cursor: &str) -> Option<(Timestamp, ConversationId)> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (at, id) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    Some((Timestamp(at.parse().ok()?), ConversationId::parse(id).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_cursor_survives_the_round_trip_and_junk_is_refused() {
        let place = (Timestamp(-7), ConversationId::parse("a:b").unwrap());
        assert_eq!(read(&write(place.0, &place.1)).unwrap(), place);
        for junk in ["", "!", "bm8", "MTA6"] {
            assert_eq!(read(junk).unwrap_err().field.as_deref(), Some("cursor"));
        }
    }

    #[test]
    fn a_limit_is_from_1_to_100() {
        assert_eq!(limit(None), Ok(DEFAULT_LIMIT));
        assert_eq!(limit(Some(100)), Ok(100));
        assert!(limit(Some(0)).is_err() && limit(Some(101)).is_err());
    }
}

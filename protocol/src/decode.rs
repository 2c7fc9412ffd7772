//! From a frame to a [`Message`].

use bytes::Bytes;
use bytestring::ByteString;

use crate::json::{JsonError, Reader};
use crate::opaque::Opaque;
use crate::{Event, Json, Message, Payload, Ref, Topic, Vsn, binary};

/// Why a frame is not a message. The transport closes with 1011, whatever the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Text, or a binary frame's header part, that is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Not well-formed JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// V2 wants an array.
    #[error("not a JSON array")]
    NotAnArray,
    /// `[join_ref, ref, topic, event, payload]` is incomplete.
    #[error("an array of {0} elements, 5 are needed")]
    TooFewElements(usize),
    /// V1 wants an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A V1 object lacks one of topic, event, payload and ref.
    #[error("the key {0:?} is missing")]
    MissingKey(&'static str),
    /// A binary frame from a client is a push, kind 0.
    #[error("binary frame of kind {0}, clients send kind 0")]
    BinaryKind(u8),
    /// A binary frame is shorter than its header says.
    #[error("truncated binary frame")]
    Truncated,
}

/// Decodes a text frame.
pub fn decode_text(vsn: Vsn, frame: Bytes) -> Result<Message, DecodeError> {
    let text = ByteString::try_from(frame).map_err(|_| DecodeError::NotUtf8)?;
    match vsn {
        Vsn::V1 => decode_object(&text),
        Vsn::V2 => decode_array(&text),
    }
}

/// Decodes a binary frame: a binary push in V2, JSON in V1, which has no binary messages.
pub fn decode_binary(vsn: Vsn, frame: Bytes) -> Result<Message, DecodeError> {
    match vsn {
        Vsn::V1 => decode_text(Vsn::V1, frame),
        Vsn::V2 => binary::decode_push(&frame),
    }
}

/// V2: `[join_ref, ref, topic, event, payload]`; what follows is ignored.
fn decode_array(text: &ByteString) -> Result<Message, DecodeError> {
    let mut reader = Reader::new(text);
    if reader.peek() != Some(b'[') {
        reader.skip_value()?;
        return Err(DecodeError::NotAnArray);
    }
    reader.expect(b'[')?;
    let mut elements = Elements { reader, count: 0 };
    let message = Message {
        join_ref: Ref(elements.opaque()?),
        msg_ref: Ref(elements.opaque()?),
        topic: Topic(elements.opaque()?),
        event: Event(elements.opaque()?),
        payload: Payload::Json(elements.json()?),
    };
    elements.skip_rest()?;
    Ok(message)
}

/// The elements of an array, one after the other.
struct Elements<'a> {
    reader: Reader<'a>,
    count: usize,
}

impl Elements<'_> {
    fn opaque(&mut self) -> Result<Opaque, DecodeError> {
        self.next()?;
        Ok(self.reader.opaque()?)
    }

    fn json(&mut self) -> Result<Json, DecodeError> {
        self.next()?;
        Ok(self.reader.json()?)
    }

    /// Moves to the next element, which has to exist.
    fn next(&mut self) -> Result<(), DecodeError> {
        if self.reader.peek() == Some(b']') {
            return Err(DecodeError::TooFewElements(self.count));
        }
        if self.count > 0 {
            self.reader.expect(b',')?;
        }
        self.count += 1;
        Ok(())
    }

    fn skip_rest(mut self) -> Result<(), DecodeError> {
        while self.reader.eat(b',') {
            self.reader.skip_value()?;
        }
        self.reader.expect(b']')?;
        Ok(self.reader.end()?)
    }
}

/// The members of a V1 object that have been seen. The first of a name counts.
#[derive(Default)]
struct Members {
    topic: Option<Opaque>,
    event: Option<Opaque>,
    payload: Option<Json>,
    msg_ref: Option<Opaque>,
    join_ref: Option<Opaque>,
}

/// V1: `{topic, event, payload, ref}`, and a `join_ref` that clients of V1 may send.
fn decode_object(text: &ByteString) -> Result<Message, DecodeError> {
    let mut reader = Reader::new(text);
    if reader.peek() != Some(b'{') {
        reader.skip_value()?;
        return Err(DecodeError::NotAnObject);
    }
    reader.expect(b'{')?;
    let mut members = Members::default();
    if !reader.eat(b'}') {
        while {
            members.read(&mut reader)?;
            reader.eat(b',')
        } {}
        reader.expect(b'}')?;
    }
    reader.end()?;
    members.into_message()
}

impl Members {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let key = reader.string()?;
        reader.expect(b':')?;
        let slot = match &*key {
            "payload" => {
                let payload = reader.json()?;
                self.payload.get_or_insert(payload);
                return Ok(());
            }
            "topic" => &mut self.topic,
            "event" => &mut self.event,
            "ref" => &mut self.msg_ref,
            "join_ref" => &mut self.join_ref,
            _ => return Ok(reader.skip_value()?),
        };
        let value = reader.opaque()?;
        slot.get_or_insert(value);
        Ok(())
    }

    fn into_message(self) -> Result<Message, DecodeError> {
        let missing = DecodeError::MissingKey;
        Ok(Message {
            join_ref: Ref(self.join_ref.unwrap_or_default()),
            msg_ref: Ref(self.msg_ref.ok_or(missing("ref"))?),
            topic: Topic(self.topic.ok_or(missing("topic"))?),
            event: Event(self.event.ok_or(missing("event"))?),
            payload: Payload::Json(self.payload.ok_or(missing("payload"))?),
        })
    }
}

#[cfg(test)]
mod tests;

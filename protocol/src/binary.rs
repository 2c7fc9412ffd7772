//! Binary frames of V2: a kind, one length byte per header part, the parts, the data.
//!
//! | kind | from | parts |
//! | --- | --- | --- |
//! | 0 push | client | join_ref, ref, topic, event |
//! | 0 push | server | join_ref, topic, event |
//! | 1 reply | server | join_ref, ref, topic, status |
//! | 2 broadcast | server | topic, event |

use bytes::{BufMut, Bytes, BytesMut};

use crate::opaque::Opaque;
use crate::{DecodeError, EncodeError, Event, Message, Payload, Ref, Topic};

pub(crate) const PUSH: u8 = 0;
pub(crate) const REPLY: u8 = 1;
pub(crate) const BROADCAST: u8 = 2;

/// Decodes what a client sends.
pub(crate) fn decode_push(frame: &Bytes) -> Result<Message, DecodeError> {
    match frame.first() {
        None => return Err(DecodeError::Truncated),
        Some(&PUSH) => {}
        Some(&kind) => return Err(DecodeError::BinaryKind(kind)),
    }
    let ([join_ref, msg_ref, topic, event], data) = split::<4>(frame)?;
    Ok(Message {
        join_ref: Ref(join_ref),
        msg_ref: Ref(msg_ref),
        topic: Topic(topic),
        event: Event(event),
        payload: Payload::Binary(data),
    })
}

/// Takes a frame apart into `N` header parts and the data. The kind is the caller's to look at.
pub(crate) fn split<const N: usize>(frame: &Bytes) -> Result<([Opaque; N], Bytes), DecodeError> {
    let lengths = frame.get(1..=N).ok_or(DecodeError::Truncated)?;
    let mut at = 1 + N;
    let mut parts = [const { Opaque::Null }; N];
    for (part, &length) in parts.iter_mut().zip(lengths) {
        let end = at + usize::from(length);
        if end > frame.len() {
            return Err(DecodeError::Truncated);
        }
        *part = Opaque::try_from(frame.slice(at..end)).map_err(|_| DecodeError::NotUtf8)?;
        at = end;
    }
    Ok((parts, frame.slice(at..)))
}

/// One header part and what it is called in an error.
pub(crate) type Part<'a> = (&'static str, &'a [u8]);

/// Puts a frame together.
pub(crate) fn join(kind: u8, parts: &[Part<'_>], data: &[u8]) -> Result<Bytes, EncodeError> {
    let header: usize = parts.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut frame = BytesMut::with_capacity(1 + parts.len() + header + data.len());
    frame.put_u8(kind);
    for &(part, bytes) in parts {
        let length = bytes.len();
        let byte = u8::try_from(length).map_err(|_| EncodeError::PartTooLong { part, length })?;
        frame.put_u8(byte);
    }
    for (_, bytes) in parts {
        frame.put_slice(bytes);
    }
    frame.put_slice(data);
    Ok(frame.freeze())
}

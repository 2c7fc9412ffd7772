//! The other end: what a client writes and how it reads the server's binary frames. For load
//! generators and tests. Text frames of the server have the form of a [`Message`] and are read
//! with [`decode_text`](crate::decode_text).

use bytes::Bytes;

use crate::binary;
use crate::json::write_json_string;
use crate::{DecodeError, EncodeError, Encoded, Event, Message, Payload, Ref, Topic, Vsn};

/// Encodes a message as a client of this serializer sends it.
pub fn encode(vsn: Vsn, message: &Message) -> Result<Encoded, EncodeError> {
    let json = match (&message.payload, vsn) {
        (Payload::Json(json), _) => json,
        (Payload::Binary(_), Vsn::V1) => return Err(EncodeError::BinaryOverV1),
        (Payload::Binary(data), Vsn::V2) => return encode_binary(message, data),
    };
    let members = [
        ("join_ref", &message.join_ref.0),
        ("ref", &message.msg_ref.0),
        ("topic", &message.topic.0),
        ("event", &message.event.0),
    ];
    let mut out = String::from(if vsn == Vsn::V1 { '{' } else { '[' });
    for (name, value) in members {
        write_name(vsn, name, &mut out);
        value.write_json(&mut out);
        out.push(',');
    }
    write_name(vsn, "payload", &mut out);
    out.push_str(json.as_str());
    out.push(if vsn == Vsn::V1 { '}' } else { ']' });
    Ok(Encoded::Text(out.into()))
}

fn write_name(vsn: Vsn, name: &str, out: &mut String) {
    if vsn == Vsn::V1 {
        write_json_string(name, out);
        out.push(':');
    }
}

fn encode_binary(message: &Message, data: &[u8]) -> Result<Encoded, EncodeError> {
    let parts = [
        ("join_ref", message.join_ref.0.header_bytes("join_ref")?),
        ("ref", message.msg_ref.0.header_bytes("ref")?),
        ("topic", message.topic.0.header_bytes("topic")?),
        ("event", message.event.0.header_bytes("event")?),
    ];
    binary::join(binary::PUSH, &parts, data).map(Encoded::Binary)
}

/// A binary frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerBinary {
    /// Kind 0: from a channel to this client.
    Push {
        /// The channel's join ref.
        join_ref: Ref,
        /// The topic.
        topic: Topic,
        /// The event name.
        event: Event,
        /// What it carries.
        data: Bytes,
    },
    /// Kind 1: the answer to a message.
    Reply {
        /// The channel's join ref.
        join_ref: Ref,
        /// The ref of the message that is answered.
        msg_ref: Ref,
        /// The topic.
        topic: Topic,
        /// How it went.
        status: String,
        /// What it carries.
        data: Bytes,
    },
    /// Kind 2: to every subscriber.
    Broadcast {
        /// The topic.
        topic: Topic,
        /// The event name.
        event: Event,
        /// What it carries.
        data: Bytes,
    },
}

/// Decodes a binary frame from the server.
pub fn decode_binary(frame: &Bytes) -> Result<ServerBinary, DecodeError> {
    match frame.first() {
        None => Err(DecodeError::Truncated),
        Some(&binary::PUSH) => decode_push(frame),
        Some(&binary::REPLY) => decode_reply(frame),
        Some(&binary::BROADCAST) => decode_broadcast(frame),
        Some(&kind) => Err(DecodeError::BinaryKind(kind)),
    }
}

fn decode_push(frame: &Bytes) -> Result<ServerBinary, DecodeError> {
    let ([join_ref, topic, event], data) = binary::split::<3>(frame)?;
    let (join_ref, topic, event) = (Ref(join_ref), Topic(topic), Event(event));
    Ok(ServerBinary::Push {
        join_ref,
        topic,
        event,
        data,
    })
}

fn decode_reply(frame: &Bytes) -> Result<ServerBinary, DecodeError> {
    let ([join_ref, msg_ref, topic, status], data) = binary::split::<4>(frame)?;
    Ok(ServerBinary::Reply {
        join_ref: Ref(join_ref),
        msg_ref: Ref(msg_ref),
        topic: Topic(topic),
        status: status.as_str().unwrap_or_default().to_owned(),
        data,
    })
}

fn decode_broadcast(frame: &Bytes) -> Result<ServerBinary, DecodeError> {
    let ([topic, event], data) = binary::split::<2>(frame)?;
    Ok(ServerBinary::Broadcast {
        topic: Topic(topic),
        event: Event(event),
        data,
    })
}

//! From what the server has to say to a frame.
//!
//! JSON or binary follows from the payload. Key order is Phoenix's.

use crate::binary::{self, Part};
use crate::json::write_json_string;
use crate::opaque::Opaque;
use crate::{Encoded, Json, Payload, Ref, Status, Topic, Vsn};

/// Room for brackets, quotes, key names and refs of an ordinary frame.
const OVERHEAD: usize = 96;

/// Why something cannot be put into a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A binary frame gives each header part one length byte.
    #[error("the {part} has {length} bytes, a binary frame can carry 255")]
    PartTooLong {
        /// Which part.
        part: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// A ref or topic that is an object or array has no form in a binary frame.
    #[error("the {part} is not a scalar and cannot stand in a binary frame")]
    NotAScalar {
        /// Which part.
        part: &'static str,
    },
    /// V1 has no binary messages.
    #[error("a binary payload cannot be sent to a V1 socket")]
    BinaryOverV1,
}

/// The answer to one message.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// The channel's join ref; null if there is no channel.
    pub join_ref: &'a Ref,
    /// The ref of the message that is answered.
    pub msg_ref: &'a Ref,
    /// The topic as the client wrote it.
    pub topic: &'a Topic,
    /// How it went.
    pub status: &'a Status,
    /// What the handler says.
    pub response: &'a Payload,
}

impl Reply<'_> {
    /// Encodes it for one serializer.
    pub fn encode(&self, vsn: Vsn) -> Result<Encoded, EncodeError> {
        match (vsn, self.response) {
            (Vsn::V1, Payload::Json(json)) => Ok(text(self.write_object(json))),
            (Vsn::V2, Payload::Json(json)) => Ok(text(self.write_array(json))),
            (Vsn::V1, Payload::Binary(_)) => Err(EncodeError::BinaryOverV1),
            (Vsn::V2, Payload::Binary(data)) => self.write_binary(data).map(Encoded::Binary),
        }
    }

    fn write_object(&self, response: &Json) -> String {
        let mut out = buffer(response);
        out.push_str(r#"{"event":"phx_reply","payload":"#);
        self.write_payload(response, &mut out);
        out.push_str(r#","ref":"#);
        self.msg_ref.0.write_json(&mut out);
        out.push_str(r#","topic":"#);
        self.topic.0.write_json(&mut out);
        out.push('}');
        out
    }

    fn write_array(&self, response: &Json) -> String {
        let mut out = buffer(response);
        write_array_head(&self.join_ref.0, &self.msg_ref.0, &self.topic.0, &mut out);
        out.push_str(r#""phx_reply","#);
        self.write_payload(response, &mut out);
        out.push(']');
        out
    }

    fn write_payload(&self, response: &Json, out: &mut String) {
        out.push_str(r#"{"response":"#);
        out.push_str(response.as_str());
        out.push_str(r#","status":"#);
        write_json_string(self.status.as_str(), out);
        out.push('}');
    }

    fn write_binary(&self, data: &[u8]) -> Result<bytes::Bytes, EncodeError> {
        let parts = [
            part("join_ref", &self.join_ref.0)?,
            part("ref", &self.msg_ref.0)?,
            part("topic", &self.topic.0)?,
            ("status", self.status.as_str().as_bytes()),
        ];
        binary::join(binary::REPLY, &parts, data)
    }
}

/// What a channel says to its own client: a push (ref null), or its end (`phx_close`, `phx_error`;
/// their ref is the join's).
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// The channel's join ref.
    pub join_ref: &'a Ref,
    /// Null, or the join's ref where the channel ends.
    pub msg_ref: &'a Ref,
    /// The topic as the client wrote it.
    pub topic: &'a Topic,
    /// The event name.
    pub event: &'a str,
    /// What goes with it.
    pub payload: &'a Payload,
}

impl Push<'_> {
    /// Encodes it for one serializer.
    pub fn encode(&self, vsn: Vsn) -> Result<Encoded, EncodeError> {
        let (join_ref, msg_ref, topic) = (&self.join_ref.0, &self.msg_ref.0, &self.topic.0);
        match (vsn, self.payload) {
            (Vsn::V1, Payload::Json(json)) => {
                Ok(text(write_object(self.event, json, msg_ref, topic)))
            }
            (Vsn::V2, Payload::Json(json)) => Ok(text(write_array(
                join_ref, msg_ref, topic, self.event, json,
            ))),
            (Vsn::V1, Payload::Binary(_)) => Err(EncodeError::BinaryOverV1),
            (Vsn::V2, Payload::Binary(data)) => {
                let event = ("event", self.event.as_bytes());
                let parts = [part("join_ref", join_ref)?, part("topic", topic)?, event];
                binary::join(binary::PUSH, &parts, data).map(Encoded::Binary)
            }
        }
    }
}

/// What goes to every subscriber of a topic. The payload is text already, so encoding once more
/// for another serializer or under another topic (`Broadcast { topic: alias, ..broadcast }`)
/// costs one copy of it.
#[derive(Debug, Clone, Copy)]
pub struct Broadcast<'a> {
    /// The topic that the subscribers know.
    pub topic: &'a str,
    /// The event name.
    pub event: &'a str,
    /// What goes with it.
    pub payload: &'a Payload,
}

impl Broadcast<'_> {
    /// Encodes it for one serializer.
    pub fn encode(&self, vsn: Vsn) -> Result<Encoded, EncodeError> {
        match self.payload {
            Payload::Json(json) => Ok(text(self.write_json(vsn, json))),
            Payload::Binary(_) if vsn == Vsn::V1 => Err(EncodeError::BinaryOverV1),
            Payload::Binary(data) => {
                let parts = [
                    ("topic", self.topic.as_bytes()),
                    ("event", self.event.as_bytes()),
                ];
                binary::join(binary::BROADCAST, &parts, data).map(Encoded::Binary)
            }
        }
    }

    fn write_json(&self, vsn: Vsn, payload: &Json) -> String {
        let topic = Opaque::from(self.topic);
        match vsn {
            Vsn::V1 => write_object(self.event, payload, &Opaque::Null, &topic),
            Vsn::V2 => write_array(&Opaque::Null, &Opaque::Null, &topic, self.event, payload),
        }
    }
}

fn part<'a>(name: &'static str, value: &'a Opaque) -> Result<Part<'a>, EncodeError> {
    Ok((name, value.header_bytes(name)?))
}

fn buffer(payload: &Json) -> String {
    String::with_capacity(payload.as_bytes().len() + OVERHEAD)
}

fn write_object(event: &str, payload: &Json, msg_ref: &Opaque, topic: &Opaque) -> String {
    let mut out = buffer(payload);
    out.push_str(r#"{"event":"#);
    write_json_string(event, &mut out);
    out.push_str(r#","payload":"#);
    out.push_str(payload.as_str());
    out.push_str(r#","ref":"#);
    msg_ref.write_json(&mut out);
    out.push_str(r#","topic":"#);
    topic.write_json(&mut out);
    out.push('}');
    out
}

fn write_array(
    join_ref: &Opaque,
    msg_ref: &Opaque,
    topic: &Opaque,
    event: &str,
    payload: &Json,
) -> String {
    let mut out = buffer(payload);
    write_array_head(join_ref, msg_ref, topic, &mut out);
    write_json_string(event, &mut out);
    out.push(',');
    out.push_str(payload.as_str());
    out.push(']');
    out
}

/// `[join_ref,ref,topic,`
fn write_array_head(join_ref: &Opaque, msg_ref: &Opaque, topic: &Opaque, out: &mut String) {
    out.push('[');
    for value in [join_ref, msg_ref, topic] {
        value.write_json(out);
        out.push(',');
    }
}

fn text(out: String) -> Encoded {
    Encoded::Text(out.into())
}

#[cfg(test)]
mod tests;

//! Every distinct frame of the WebSocket recordings of Phoenix 1.8.12: what a client sent decodes
//! exactly when Phoenix did not close with 1011, and what the server sent is reproduced byte for
//! byte from its parts.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use quikapp_protocol::client::{ServerBinary, decode_binary as decode_server_binary};
use quikapp_protocol::{
    Broadcast, DecodeError, Json, Message, Payload, Push, Ref, Reply, Status, Vsn, client,
    decode_binary, decode_text,
};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Recorded {
    vsn: String,
    from: String,
    text: Option<String>,
    binary: Option<String>,
    #[serde(default)]
    undecodable: bool,
}

impl Recorded {
    fn vsn(&self) -> Vsn {
        if self.vsn == "V1" { Vsn::V1 } else { Vsn::V2 }
    }

    fn bytes(&self) -> Bytes {
        match (&self.text, &self.binary) {
            (Some(text), None) => text.clone().into(),
            (None, Some(hex)) => unhex(hex).into(),
            _ => panic!("a recorded frame is either text or binary"),
        }
    }

    fn decode(&self) -> Result<Message, DecodeError> {
        if self.text.is_some() {
            decode_text(self.vsn(), self.bytes())
        } else {
            decode_binary(self.vsn(), self.bytes())
        }
    }
}

fn recorded(from: &str) -> Vec<Recorded> {
    let lines = include_str!("golden/frames.jsonl").lines();
    let frames = lines.map(|line| serde_json::from_str::<Recorded>(line).unwrap());
    let frames: Vec<_> = frames.filter(|frame| frame.from == from).collect();
    assert!(frames.len() > 300, "the recordings are there");
    frames
}

fn unhex(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn client_frames_decode_exactly_when_phoenix_took_them() {
    for frame in recorded("client") {
        let decoded = frame.decode();
        assert_eq!(
            decoded.is_err(),
            frame.undecodable,
            "{:?} gave {decoded:?}",
            frame.bytes()
        );
    }
}

#[test]
fn client_frames_survive_a_round_trip() {
    for frame in recorded("client") {
        let Ok(message) = frame.decode() else {
            continue;
        };
        let again = client::encode(frame.vsn(), &message).unwrap();
        let decode = if again.is_text() {
            decode_text
        } else {
            decode_binary
        };
        assert_eq!(decode(frame.vsn(), again.into_bytes()), Ok(message));
    }
}

#[test]
fn server_text_frames_are_reproduced() {
    for frame in recorded("server")
        .iter()
        .filter(|frame| frame.text.is_some())
    {
        let message = frame.decode().unwrap();
        let text = frame.text.as_deref();
        let push = Push {
            join_ref: &message.join_ref,
            msg_ref: &message.msg_ref,
            topic: &message.topic,
            event: message.event.as_str().unwrap(),
            payload: &message.payload,
        };
        assert_eq!(push.encode(frame.vsn()).unwrap().as_text(), text);
        if message.join_ref.is_null() && message.msg_ref.is_null() && push.event != "phx_reply" {
            let topic = message.topic.as_str().unwrap();
            let broadcast = Broadcast {
                topic,
                event: push.event,
                payload: push.payload,
            };
            assert_eq!(broadcast.encode(frame.vsn()).unwrap().as_text(), text);
        }
    }
}

#[derive(Deserialize)]
struct ReplyPayload<'a> {
    status: String,
    #[serde(borrow)]
    response: &'a RawValue,
}

#[test]
fn server_replies_are_reproduced() {
    let mut replies = 0;
    for frame in recorded("server")
        .iter()
        .filter(|frame| frame.text.is_some())
    {
        let message = frame.decode().unwrap();
        if message.event.as_str() != Some("phx_reply") {
            continue;
        }
        let parts: ReplyPayload<'_> = message.payload.parse().unwrap();
        let status = Status::from(parts.status.as_str());
        let response = Payload::Json(Json::parse(parts.response.get()).unwrap());
        let reply = Reply {
            join_ref: &message.join_ref,
            msg_ref: &message.msg_ref,
            topic: &message.topic,
            status: &status,
            response: &response,
        };
        assert_eq!(
            reply.encode(frame.vsn()).unwrap().as_text(),
            frame.text.as_deref()
        );
        replies += 1;
    }
    assert!(replies > 300, "{replies} replies");
}

#[test]
fn server_binary_frames_are_reproduced() {
    let mut kinds = [0; 3];
    for frame in recorded("server")
        .iter()
        .filter(|frame| frame.binary.is_some())
    {
        let (kind, again) = encode_again(decode_server_binary(&frame.bytes()).unwrap());
        assert_eq!(again, frame.bytes());
        kinds[kind] += 1;
    }
    assert!(
        kinds.iter().all(|&count| count > 0),
        "pushes, replies, broadcasts: {kinds:?}"
    );
}

fn encode_again(frame: ServerBinary) -> (usize, Bytes) {
    let (kind, encoded) = match frame {
        ServerBinary::Push {
            join_ref,
            topic,
            event,
            data,
        } => {
            let (msg_ref, event) = (&Ref::null(), event.as_str().unwrap());
            let payload = &Payload::Binary(data);
            let push = Push {
                join_ref: &join_ref,
                msg_ref,
                topic: &topic,
                event,
                payload,
            };
            (0, push.encode(Vsn::V2))
        }
        ServerBinary::Reply {
            join_ref,
            msg_ref,
            topic,
            status,
            data,
        } => {
            let (status, response) = (&Status::from(status.as_str()), &Payload::Binary(data));
            let (join_ref, msg_ref, topic) = (&join_ref, &msg_ref, &topic);
            (
                1,
                Reply {
                    join_ref,
                    msg_ref,
                    topic,
                    status,
                    response,
                }
                .encode(Vsn::V2),
            )
        }
        ServerBinary::Broadcast { topic, event, data } => {
            let (topic, event) = (topic.as_str().unwrap(), event.as_str().unwrap());
            (
                2,
                Broadcast {
                    topic,
                    event,
                    payload: &Payload::Binary(data),
                }
                .encode(Vsn::V2),
            )
        }
    };
    (kind, encoded.unwrap().into_bytes())
}

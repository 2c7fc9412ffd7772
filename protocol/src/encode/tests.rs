#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::decode_text;

fn numeric(number: u32) -> Ref {
    let frame = format!(r#"[{number},null,"t","e",{{}}]"#);
    decode_text(Vsn::V2, frame.into()).unwrap().join_ref
}

fn reply_to<'a>(topic: &'a Topic, msg_ref: &'a Ref, response: &'a Payload) -> Reply<'a> {
    static JOIN: Ref = Ref::null();
    Reply {
        join_ref: &JOIN,
        msg_ref,
        topic,
        status: &Status::Error,
        response,
    }
}

#[test]
fn names_are_escaped() {
    let payload = Payload::empty_object();
    let broadcast = Broadcast {
        topic: "room:\"\\\n",
        event: "é\u{1}",
        payload: &payload,
    };
    let v2 = broadcast.encode(Vsn::V2).unwrap();
    assert_eq!(
        v2.as_text(),
        Some(r#"[null,null,"room:\"\\\n","é\u0001",{}]"#)
    );
    let v1 = broadcast.encode(Vsn::V1).unwrap();
    let expected = r#"{"event":"é\u0001","payload":{},"ref":null,"topic":"room:\"\\\n"}"#;
    assert_eq!(v1.as_text(), Some(expected));
}

#[test]
fn an_alias_topic_takes_the_same_payload() {
    let payload = Payload::from(json!({"seq": 7}));
    let broadcast = Broadcast {
        topic: "chat:1",
        event: "message:new",
        payload: &payload,
    };
    let alias = Broadcast {
        topic: "conversation:1",
        ..broadcast
    }
    .encode(Vsn::V2)
    .unwrap();
    assert_eq!(
        alias.as_text(),
        Some(r#"[null,null,"conversation:1","message:new",{"seq":7}]"#)
    );
}

#[test]
fn a_custom_status_is_escaped() {
    let status = Status::Other("\"odd\"".into());
    let (null, topic, response) = (Ref::null(), Topic::from("t"), Payload::empty_object());
    let reply = Reply {
        status: &status,
        ..reply_to(&topic, &null, &response)
    };
    let expected = r#"[null,null,"t","phx_reply",{"response":{},"status":"\"odd\""}]"#;
    assert_eq!(reply.encode(Vsn::V2).unwrap().as_text(), Some(expected));
}

#[test]
fn numeric_refs_stand_in_binary_headers_as_digits() {
    let response = Payload::Binary(Bytes::from_static(b"\xab"));
    let (msg_ref, topic) = (numeric(14), Topic::from("t"));
    let frame = reply_to(&topic, &msg_ref, &response)
        .encode(Vsn::V2)
        .unwrap();
    assert_eq!(frame.as_bytes(), b"\x01\x00\x02\x01\x0514terror\xab");
}

#[test]
fn header_parts_of_255_bytes_fit_and_longer_ones_are_refused() {
    let payload = Payload::Binary(Bytes::from_static(b"x"));
    let encode = |length: usize| {
        let topic = "t".repeat(length);
        Broadcast {
            topic: &topic,
            event: "e",
            payload: &payload,
        }
        .encode(Vsn::V2)
    };
    assert_eq!(encode(255).unwrap().len(), 1 + 2 + 255 + 1 + 1);
    let error = EncodeError::PartTooLong {
        part: "topic",
        length: 256,
    };
    assert_eq!(encode(256), Err(error));
}

#[test]
fn long_names_are_no_trouble_in_text() {
    let topic = "t".repeat(100_000);
    let payload = Payload::empty_object();
    let frame = Broadcast {
        topic: &topic,
        event: "e",
        payload: &payload,
    }
    .encode(Vsn::V2);
    assert_eq!(
        frame.unwrap().len(),
        100_000 + r#"[null,null,"","e",{}]"#.len()
    );
}

#[test]
fn an_object_cannot_stand_in_a_binary_header() {
    let object = decode_text(Vsn::V2, r#"[{"a":1},null,"t","e",{}]"#.into())
        .unwrap()
        .join_ref;
    let response = Payload::Binary(Bytes::new());
    let topic = Topic::from("t");
    let refused = reply_to(&topic, &object, &response).encode(Vsn::V2);
    assert_eq!(refused, Err(EncodeError::NotAScalar { part: "ref" }));
    let response = Payload::empty_object();
    assert!(reply_to(&topic, &object, &response).encode(Vsn::V2).is_ok());
}

#[test]
fn v1_has_no_binary_messages() {
    let payload = Payload::Binary(Bytes::from_static(b"x"));
    let (null, topic) = (Ref::null(), Topic::from("t"));
    let broadcast = Broadcast {
        topic: "t",
        event: "e",
        payload: &payload,
    };
    let (join_ref, msg_ref, event) = (&null, &null, "e");
    let push = Push {
        join_ref,
        msg_ref,
        topic: &topic,
        event,
        payload: &payload,
    };
    assert_eq!(broadcast.encode(Vsn::V1), Err(EncodeError::BinaryOverV1));
    assert_eq!(push.encode(Vsn::V1), Err(EncodeError::BinaryOverV1));
    assert_eq!(
        reply_to(&topic, &null, &payload).encode(Vsn::V1),
        Err(EncodeError::BinaryOverV1)
    );
}

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::{JsonErrorKind, client};

fn v1(text: &str) -> Result<Message, DecodeError> {
    decode_text(Vsn::V1, text.to_owned().into())
}

fn v2(text: &str) -> Result<Message, DecodeError> {
    decode_text(Vsn::V2, text.to_owned().into())
}

fn json_error(result: Result<Message, DecodeError>) -> JsonErrorKind {
    match result {
        Err(DecodeError::Json(error)) => error.kind,
        other => panic!("expected a JSON error, got {other:?}"),
    }
}

#[test]
fn the_five_elements_of_v2() {
    let message = v2(r#" [ "1" , "2" , "room:x" , "new_msg" , { "a" : 1 } ] "#).unwrap();
    assert_eq!(message.join_ref, Ref::from("1"));
    assert_eq!(message.msg_ref, Ref::from("2"));
    assert_eq!(message.topic.as_str(), Some("room:x"));
    assert_eq!(message.event.as_str(), Some("new_msg"));
    assert_eq!(message.payload.as_bytes(), br#"{ "a" : 1 }"#);
}

#[test]
fn more_elements_are_ignored_but_have_to_be_json() {
    assert!(v2(r#"[null,null,"t","e",{},"extra",[1]]"#).is_ok());
    assert_eq!(
        json_error(v2(r#"[null,null,"t","e",{},oops]"#)),
        JsonErrorKind::UnexpectedByte
    );
    assert_eq!(
        json_error(v2(r#"[null,null,"t","e",{},]"#)),
        JsonErrorKind::UnexpectedByte
    );
}

#[test]
fn fewer_elements_are_not_a_message() {
    assert_eq!(v2("[]"), Err(DecodeError::TooFewElements(0)));
    assert_eq!(
        v2(r#"["1","2","t","e"]"#),
        Err(DecodeError::TooFewElements(4))
    );
    assert_eq!(
        json_error(v2(r#"["1","2","t","e""#)),
        JsonErrorKind::UnexpectedEnd
    );
    assert_eq!(
        json_error(v2(r#"["1" "2","t","e",{}]"#)),
        JsonErrorKind::UnexpectedByte
    );
}

#[test]
fn a_v2_message_is_an_array() {
    for text in ["{}", "\"x\"", "null", "5"] {
        assert_eq!(v2(text), Err(DecodeError::NotAnArray), "{text}");
    }
    assert_eq!(json_error(v2("")), JsonErrorKind::UnexpectedEnd);
}

#[test]
fn refs_are_opaque() {
    for json in [
        "null",
        "13",
        "-0",
        "123456789012345678901234567890",
        r#"{"a":1}"#,
        "[1]",
        "true",
    ] {
        let message = v2(&format!(r#"[{json},{json},"t","e",{{}}]"#)).unwrap();
        assert_eq!(message.join_ref.to_json(), json);
        assert_eq!(message.msg_ref.to_json(), json);
    }
}

#[test]
fn topics_and_events_that_are_not_strings_are_kept_as_they_are() {
    let message = v2(r#"["1","2",5,null,{}]"#).unwrap();
    assert_eq!(
        (message.topic.as_str(), message.event.as_str()),
        (None, None)
    );
    assert_ne!(message.topic, Topic::from("5"));
}

#[test]
fn escaped_names_mean_what_they_spell() {
    let message = v2(r#"["\u0031","2","room:\ud83d\ude00\"","p\u0069ng",{}]"#).unwrap();
    assert_eq!(message.join_ref, Ref::from("1"));
    assert_eq!(message.topic.as_str(), Some("room:😀\""));
    assert_eq!(message.event.as_str(), Some("ping"));
}

#[test]
fn the_payload_is_any_json_untouched() {
    for json in [
        "null",
        "\"str\"",
        "5",
        "[1]",
        "1E-7",
        r#"{"a":1,"a":2}"#,
        r#""\ud83d\ude00""#,
    ] {
        let message = v2(&format!(r#"[null,null,"t","e",{json}]"#)).unwrap();
        assert_eq!(message.payload.as_bytes(), json.as_bytes());
    }
}

#[test]
fn stale_refs_compare_by_value_and_type() {
    let joined = Ref::from("1");
    let read = |json: &str| {
        v2(&format!(r#"[{json},null,"t","e",{{}}]"#))
            .unwrap()
            .join_ref
    };
    assert!(!read("null").is_stale_for(&joined));
    assert!(!read("\"1\"").is_stale_for(&joined));
    assert!(read("1").is_stale_for(&joined));
    assert!(read("\"2\"").is_stale_for(&joined));
    assert!(!read("1").is_stale_for(&read("1")));
}

#[test]
fn v1_members_come_in_any_order_and_the_first_of_a_name_counts() {
    let text = r#"{"zzz":[{}],"ref":"2","payload":{"a":1},"event":"e","topic":"t","topic":"u",
        "payload":null,"join_ref":"9"}"#;
    let message = v1(text).unwrap();
    assert_eq!(message.topic.as_str(), Some("t"));
    assert_eq!(message.payload.as_bytes(), br#"{"a":1}"#);
    assert_eq!(message.join_ref, Ref::from("9"));
}

#[test]
fn the_first_v1_member_counts_even_if_null_and_keys_may_be_escaped() {
    let text = r#"{"t\u006fpic":null,"topic":"t","event":"e","payload":{},"ref":null}"#;
    let message = v1(text).unwrap();
    assert_eq!(message.topic.as_str(), None);
    assert!(message.msg_ref.is_null() && message.join_ref.is_null());
}

#[test]
fn v1_needs_four_members() {
    for missing in ["topic", "event", "payload", "ref"] {
        let members = ["topic", "event", "payload", "ref"]
            .iter()
            .filter(|key| **key != missing);
        let members: Vec<_> = members.map(|key| format!("\"{key}\":null")).collect();
        let text = format!("{{{}}}", members.join(","));
        assert_eq!(v1(&text), Err(DecodeError::MissingKey(missing)));
    }
    assert_eq!(v1("[]"), Err(DecodeError::NotAnObject));
    assert_eq!(json_error(v1(r#"{"a":1,}"#)), JsonErrorKind::UnexpectedByte);
    assert_eq!(json_error(v1(r#"{"a":1"#)), JsonErrorKind::UnexpectedEnd);
    assert_eq!(json_error(v1(r"{}x")), JsonErrorKind::UnexpectedByte);
}

#[test]
fn v1_takes_json_in_binary_frames_and_nothing_else() {
    let text = Bytes::from_static(br#"{"topic":"t","event":"e","payload":{},"ref":"1"}"#);
    assert_eq!(
        decode_binary(Vsn::V1, text.clone()),
        decode_text(Vsn::V1, text)
    );
    let push = Bytes::from_static(b"\x00\x01\x01\x01\x0112te");
    assert_eq!(
        json_error(decode_binary(Vsn::V1, push)),
        JsonErrorKind::UnexpectedByte
    );
    let junk = Bytes::from_static(b"\xff\xfe");
    assert_eq!(decode_binary(Vsn::V1, junk), Err(DecodeError::NotUtf8));
}

#[test]
fn the_parts_of_a_binary_push() {
    let frame = Bytes::from_static(b"\x00\x01\x02\x06\x04\x31\x31\x32room:xping\xff\x00");
    let message = decode_binary(Vsn::V2, frame).unwrap();
    assert_eq!(message.join_ref, Ref::from("1"));
    assert_eq!(message.msg_ref, Ref::from("12"));
    assert_eq!(message.topic.as_str(), Some("room:x"));
    assert_eq!(message.event.as_str(), Some("ping"));
    assert_eq!(
        message.payload,
        Payload::Binary(Bytes::from_static(b"\xff\x00"))
    );
}

#[test]
fn an_empty_binary_ref_is_a_string() {
    let message = decode_binary(Vsn::V2, Bytes::from_static(b"\x00\x00\x00\x01\x01te")).unwrap();
    assert_eq!(message.join_ref, Ref::from(""));
    assert!(message.join_ref.is_stale_for(&Ref::from("1")));
}

#[test]
fn binary_frames_that_are_none() {
    let decode = |bytes: &'static [u8]| decode_binary(Vsn::V2, Bytes::from_static(bytes));
    assert_eq!(decode(b""), Err(DecodeError::Truncated));
    assert_eq!(decode(b"\x00\x01\x01\x01"), Err(DecodeError::Truncated));
    assert_eq!(
        decode(b"\x00\x01\x01\x06\x0412room"),
        Err(DecodeError::Truncated)
    );
    assert_eq!(
        decode(b"\x01\x01\x01\x01\x0112te"),
        Err(DecodeError::BinaryKind(1))
    );
    assert_eq!(decode(b"[null]"), Err(DecodeError::BinaryKind(b'[')));
    assert_eq!(
        decode(b"\x00\x00\x00\x01\x01\xffe"),
        Err(DecodeError::NotUtf8)
    );
}

#[test]
fn nothing_is_copied_from_the_frame() {
    let frame = Bytes::from(r#"["1","2","room:x","e",{"a":1}]"#);
    let range = frame.as_ptr_range();
    let message = decode_text(Vsn::V2, frame.clone()).unwrap();
    assert!(range.contains(&message.payload.as_bytes().as_ptr()));
    assert!(range.contains(&message.topic.as_str().unwrap().as_ptr()));
    let detached = message.topic.detached();
    assert_eq!(detached, message.topic);
    assert!(!range.contains(&detached.as_str().unwrap().as_ptr()));
}

#[test]
fn hostile_depth_is_an_error_in_every_part() {
    let deep = "[".repeat(100_000);
    assert_eq!(json_error(v2(&deep)), JsonErrorKind::TooDeep);
    assert_eq!(
        json_error(v2(&format!(r#"[{deep}"#))),
        JsonErrorKind::TooDeep
    );
    assert_eq!(
        json_error(v2(&format!(r#"[1,2,"t","e",{deep}"#))),
        JsonErrorKind::TooDeep
    );
    assert_eq!(
        json_error(v1(&format!(r#"{{"payload":{deep}"#))),
        JsonErrorKind::TooDeep
    );
}

fn reference() -> impl Strategy<Value = Ref> {
    prop_oneof![
        Just(Ref::null()),
        any::<String>().prop_map(|text| Ref::from(text.as_str())),
        any::<u64>().prop_map(|number| v2(&format!(r#"[{number},1,2,3,4]"#)).unwrap().join_ref),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let parts = (
        reference(),
        reference(),
        any::<String>(),
        any::<String>(),
        any::<Vec<String>>(),
    );
    parts.prop_map(|(join_ref, msg_ref, topic, event, payload)| Message {
        join_ref,
        msg_ref,
        topic: Topic::from(topic.as_str()),
        event: Event::from(event.as_str()),
        payload: Payload::from_serialize(&payload).unwrap(),
    })
}

proptest! {
    #[test]
    fn messages_survive_both_serializers(message in message()) {
        for vsn in [Vsn::V1, Vsn::V2] {
            let frame = client::encode(vsn, &message).unwrap();
            prop_assert_eq!(decode_text(vsn, frame.into_bytes()), Ok(message.clone()));
        }
    }

    #[test]
    fn binary_messages_survive(
        topic in ".{0,60}", event in ".{0,60}", join in "[0-9]{0,9}", data: Vec<u8>,
    ) {
        let message = Message {
            join_ref: Ref::from(join.as_str()),
            msg_ref: Ref::from("7"),
            topic: Topic::from(topic.as_str()),
            event: Event::from(event.as_str()),
            payload: Payload::Binary(data.into()),
        };
        let frame = client::encode(Vsn::V2, &message).unwrap();
        prop_assert_eq!(decode_binary(Vsn::V2, frame.into_bytes()), Ok(message));
    }

    #[test]
    fn junk_never_panics(bytes: Vec<u8>) {
        for vsn in [Vsn::V1, Vsn::V2] {
            let _ = decode_text(vsn, bytes.clone().into());
            let _ = decode_binary(vsn, bytes.clone().into());
        }
    }

    #[test]
    fn a_damaged_frame_never_panics_and_never_passes_for_another(
        message in message(), at: prop::sample::Index, byte: u8,
    ) {
        let mut frame = client::encode(Vsn::V2, &message).unwrap().into_bytes().to_vec();
        let at = at.index(frame.len());
        frame[at] = byte;
        if let Ok(read) = decode_text(Vsn::V2, frame.into()) {
            let again = client::encode(Vsn::V2, &read).unwrap();
            prop_assert_eq!(decode_text(Vsn::V2, again.into_bytes()), Ok(read));
        }
    }
}

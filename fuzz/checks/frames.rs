//! What must hold for any bytes at all. Shared by the fuzz target and the corpus replay in
//! `protocol/tests/corpus.rs`.

use bytes::Bytes;
use quikapp_protocol::{Message, Payload, Reply, Status, Vsn, client, decode_binary, decode_text};
use serde_json::Value;

/// The first byte chooses the serializer and the kind of frame, the rest is the frame.
pub(crate) fn check(input: &[u8]) {
    let Some((choice, frame)) = input.split_first() else {
        return;
    };
    let frame = Bytes::copy_from_slice(frame);
    match choice % 4 {
        0 => text(Vsn::V2, &frame),
        1 => text(Vsn::V1, &frame),
        2 => binary(&frame),
        _ => assert_eq!(
            decode_binary(Vsn::V1, frame.clone()),
            decode_text(Vsn::V1, frame),
            "V1 has JSON only"
        ),
    }
}

fn text(vsn: Vsn, frame: &Bytes) {
    let decoded = decode_text(vsn, frame.clone());
    if vsn == Vsn::V2 {
        compare_with_serde_json(frame, decoded.as_ref().ok());
    }
    let Ok(message) = decoded else { return };
    for vsn in [Vsn::V1, Vsn::V2] {
        let again = client::encode(vsn, &message).expect("JSON always has a text form");
        assert_eq!(decode_text(vsn, again.into_bytes()).as_ref(), Ok(&message));
    }
    answer(&message);
}

fn binary(frame: &Bytes) {
    let _ = client::decode_binary(frame);
    let Ok(message) = decode_binary(Vsn::V2, frame.clone()) else {
        return;
    };
    let again = client::encode(Vsn::V2, &message).expect("its parts came out of a binary frame");
    assert_eq!(again.as_bytes(), frame);
    answer(&message);
}

/// A reply echoes what it answers, and is well-formed itself.
fn answer(message: &Message) {
    let response = message
        .payload
        .as_json()
        .cloned()
        .map_or(Payload::empty_object(), Payload::Json);
    let reply = Reply {
        join_ref: &message.join_ref,
        msg_ref: &message.msg_ref,
        topic: &message.topic,
        status: &Status::Ok,
        response: &response,
    };
    let frame = reply
        .encode(Vsn::V2)
        .expect("JSON always has a text form")
        .into_bytes();
    // A payload that is as deep as allowed is deeper inside a reply.
    if let Ok(echo) = decode_text(Vsn::V2, frame) {
        assert_eq!(
            (&echo.join_ref, &echo.msg_ref, &echo.topic),
            (&message.join_ref, &message.msg_ref, &message.topic)
        );
    } else {
        assert!(response.as_bytes().len() > quikapp_protocol::MAX_DEPTH);
    }
}

/// serde_json has narrower limits (numbers, depth), so whatever it takes is taken here, and means
/// the same.
fn compare_with_serde_json(frame: &Bytes, ours: Option<&Message>) {
    let Ok(Value::Array(theirs)) = serde_json::from_slice::<Value>(frame) else {
        return;
    };
    if theirs.len() < 5 {
        return assert!(ours.is_none(), "too few elements");
    }
    let ours = ours.expect("serde_json takes it");
    assert_eq!(theirs[2].as_str(), ours.topic.as_str());
    assert_eq!(theirs[3].as_str(), ours.event.as_str());
    assert_eq!(
        theirs[4],
        ours.payload
            .parse::<Value>()
            .expect("serde_json took the whole")
    );
}

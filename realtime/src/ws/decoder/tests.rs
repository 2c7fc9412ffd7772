#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::ws::{CompressionPolicy, FrameHeader, compress};

const LIMIT: usize = 1000;

/// A client's frame: flags and opcode as they stand in the first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x1f, 0x2e, 0x00, 0xff];
    let mut out = FrameHeader::new(OpCode::Binary, payload.len()).to_vec();
    out[0] = first;
    out[1] |= 0x80;
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], key);
    out
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

fn deflate() -> Deflate {
    Deflate::negotiate(["permessage-deflate"], CompressionPolicy::default()).unwrap()
}

/// Everything a decoder says, up to and with the first error.
fn drain(decoder: &mut Decoder, out: &mut Vec<Result<Event, ProtocolError>>) {
    loop {
        match decoder.next_event() {
            Ok(None) => return,
            Ok(Some(event)) => out.push(Ok(event)),
            Err(error) => out.push(Err(error)),
        }
    }
}

fn decode_with(mut decoder: Decoder, bytes: &[u8]) -> Vec<Result<Event, ProtocolError>> {
    let mut out = Vec::new();
    decoder.feed(bytes);
    drain(&mut decoder, &mut out);
    out
}

fn decode(bytes: &[u8]) -> Vec<Result<Event, ProtocolError>> {
    decode_with(Decoder::new(LIMIT, None), bytes)
}

fn error(bytes: &[u8]) -> ProtocolError {
    match &decode(bytes)[..] {
        [Err(error)] => *error,
        other => panic!("expected one error, got {other:?}"),
    }
}

#[test]
fn messages_and_control_frames() {
    let mut bytes = text("hé");
    bytes.extend(frame(0x82, b"\xff\x00"));
    bytes.extend(frame(0x89, b"ping"));
    bytes.extend(frame(0x8a, b""));
    bytes.extend(frame(0x88, b""));
    let expected = [
        Event::Text("hé".into()),
        Event::Binary(Bytes::from_static(b"\xff\x00")),
        Event::Ping(Bytes::from_static(b"ping")),
        Event::Pong(Bytes::new()),
        Event::Close(None),
    ];
    assert_eq!(decode(&bytes), expected.map(Ok));
}

#[test]
fn every_form_of_length() {
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 70_000] {
        let payload = vec![b'x'; length];
        let events = decode_with(Decoder::new(length, None), &frame(0x82, &payload));
        assert_eq!(events, [Ok(Event::Binary(payload.into()))]);
    }
}

#[test]
fn fragments_with_a_ping_between_them() {
    let mut bytes = frame(0x01, b"[\"1\",");
    bytes.extend(frame(0x89, b"mid"));
    bytes.extend(frame(0x00, b"\"2\""));
    bytes.extend(frame(0x80, b"]"));
    bytes.extend(text("next"));
    let expected = [
        Event::Ping(Bytes::from_static(b"mid")),
        Event::Text("[\"1\",\"2\"]".into()),
        Event::Text("next".into()),
    ];
    assert_eq!(decode(&bytes), expected.map(Ok));
}

#[test]
fn a_character_may_be_split_between_fragments() {
    let mut bytes = frame(0x01, b"\xf0\x9f");
    bytes.extend(frame(0x80, b"\x98\x80"));
    assert_eq!(decode(&bytes), [Ok(Event::Text("😀".into()))]);
}

#[test]
fn violations_close_with_1002() {
    let cases: [(&[u8], ProtocolError); 10] = [
        (b"\x81\x02hi", ProtocolError::Unmasked),
        (b"\x83\x80\0\0\0\0", ProtocolError::ReservedOpcode(3)),
        (b"\x8b\x80\0\0\0\0", ProtocolError::ReservedOpcode(11)),
        (b"\xc1\x80\0\0\0\0", ProtocolError::ReservedBits),
        (b"\xa1\x80\0\0\0\0", ProtocolError::ReservedBits),
        (b"\x91\x80\0\0\0\0", ProtocolError::ReservedBits),
        (b"\xc9\x80\0\0\0\0", ProtocolError::ReservedBits),
        (b"\x09\x80\0\0\0\0", ProtocolError::FragmentedControl),
        (
            b"\x89\xfe\x00\x7e\0\0\0\0",
            ProtocolError::ControlTooLong(126),
        ),
        (b"\x80\x80\0\0\0\0", ProtocolError::UnexpectedContinuation),
    ];
    for (bytes, expected) in cases {
        assert_eq!(error(bytes), expected, "{bytes:x?}");
        assert_eq!(expected.close_code(), 1002);
    }
    let bytes = b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0";
    assert_eq!(error(bytes), ProtocolError::BadLength);
}

#[test]
fn what_is_wrong_is_said_before_the_rest_arrives() {
    assert_eq!(error(b"\x83"), ProtocolError::ReservedOpcode(3));
    assert_eq!(error(b"\xa1"), ProtocolError::ReservedBits);
    assert_eq!(error(b"\x81\x02"), ProtocolError::Unmasked);
}

#[test]
fn a_message_inside_a_message() {
    let mut bytes = frame(0x01, b"a");
    bytes.extend(text("b"));
    assert_eq!(error(&bytes), ProtocolError::ExpectedContinuation);
    assert_eq!(ProtocolError::ExpectedContinuation.close_code(), 1002);
}

#[test]
fn close_frames() {
    let close = |payload: &[u8]| decode(&frame(0x88, payload)).pop().unwrap();
    for code in [
        1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4000, 4999_u16,
    ] {
        let payload = [&code.to_be_bytes()[..], "bye é".as_bytes()].concat();
        let expected = Close {
            code,
            reason: "bye é".into(),
        };
        assert_eq!(close(&payload), Ok(Event::Close(Some(expected))));
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535_u16,
    ] {
        assert_eq!(
            close(&code.to_be_bytes()),
            Err(ProtocolError::BadCloseCode(code))
        );
    }
    assert_eq!(close(b"\x03"), Err(ProtocolError::BadClosePayload));
    assert_eq!(close(b"\x03\xe8\xff"), Err(ProtocolError::InvalidUtf8));
}

#[test]
fn nothing_counts_after_a_close_or_an_error() {
    let mut bytes = frame(0x88, b"");
    bytes.extend(text("late"));
    assert_eq!(decode(&bytes), [Ok(Event::Close(None))]);
    let mut decoder = Decoder::new(LIMIT, None);
    decoder.feed(b"\x83");
    assert!(decoder.next_event().is_err());
    decoder.feed(&text("late"));
    assert_eq!(decoder.next_event(), Ok(None));
    assert!(decoder.is_idle());
}

#[test]
fn text_has_to_be_utf8() {
    for bad in [
        &b"\xff\xfe\""[..],
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf0\x9f",
    ] {
        assert_eq!(error(&frame(0x81, bad)), ProtocolError::InvalidUtf8);
        assert_eq!(decode(&frame(0x82, bad)).len(), 1, "binary may be anything");
    }
    assert_eq!(ProtocolError::InvalidUtf8.close_code(), 1007);
}

#[test]
fn the_limit_is_on_the_whole_message_and_holds_before_the_payload_comes() {
    let too_big = ProtocolError::MessageTooBig { limit: LIMIT };
    assert_eq!(too_big.close_code(), 1009);
    assert_eq!(decode(&text(&"x".repeat(LIMIT))).len(), 1);
    let header = &text(&"x".repeat(LIMIT + 1))[..8];
    assert_eq!(error(header), too_big);
    let mut fragments = frame(0x01, &[b'x'; 600]);
    fragments.extend(&frame(0x80, &[b'x'; 401])[..8]);
    assert_eq!(error(&fragments), too_big);
    let huge = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0";
    assert_eq!(error(huge), too_big);
}

#[test]
fn a_frame_may_have_a_limit_of_its_own() {
    let events = |bytes: &[u8]| {
        let mut decoder = Decoder::new(LIMIT, None).with_frame_limit(100);
        decoder.feed(bytes);
        decoder.next_event()
    };
    let mut fragments = frame(0x01, &[b'x'; 100]);
    fragments.extend(frame(0x80, &[b'x'; 100]));
    assert!(matches!(events(&fragments), Ok(Some(Event::Text(text))) if text.len() == 200));
    let too_big = ProtocolError::FrameTooBig { limit: 100 };
    assert_eq!(events(&text(&"x".repeat(101))[..8]), Err(too_big));
    assert_eq!(too_big.close_code(), 1009);
}

#[test]
fn control_frames_have_room_when_a_message_is_at_its_limit() {
    let mut bytes = frame(0x01, &[b'x'; LIMIT]);
    bytes.extend(frame(0x89, &[b'p'; 125]));
    bytes.extend(frame(0x80, b""));
    assert_eq!(
        decode(&bytes).iter().filter(|event| event.is_ok()).count(),
        2
    );
}

#[test]
fn nothing_is_kept_when_nothing_is_in_flight() {
    let mut decoder = Decoder::new(1 << 20, None);
    assert!(std::mem::size_of_val(&decoder) <= 96);
    decoder.feed(&frame(0x82, &vec![0; 100_000]));
    assert!(matches!(decoder.next_event(), Ok(Some(Event::Binary(_)))));
    assert!(decoder.is_idle());
    assert_eq!(decoder.buffer.capacity(), 0);
}

#[test]
fn a_large_message_does_not_pin_its_buffer_for_the_bytes_behind_it() {
    let mut decoder = Decoder::new(1 << 20, None);
    let mut bytes = frame(0x82, &vec![0; 100_000]);
    bytes.extend(&text("next")[..3]);
    decoder.feed(&bytes);
    assert!(matches!(decoder.next_event(), Ok(Some(Event::Binary(_)))));
    assert!(
        decoder.buffer.capacity() < 1024,
        "{}",
        decoder.buffer.capacity()
    );
}

fn compressed(payload: &[u8]) -> Vec<u8> {
    frame(0xc1, &compress(payload).unwrap())
}

#[test]
fn compressed_messages_whole_and_in_fragments() {
    let message = "abc".repeat(200);
    let deflated = compress(message.as_bytes()).unwrap();
    let mut bytes = compressed(message.as_bytes());
    bytes.extend(frame(0x41, &deflated[..3]));
    bytes.extend(frame(0x89, b"mid"));
    bytes.extend(frame(0x80, &deflated[3..]));
    bytes.extend(text("plain"));
    let expected = [
        Event::Text(message.as_str().into()),
        Event::Ping(Bytes::from_static(b"mid")),
        Event::Text(message.as_str().into()),
        Event::Text("plain".into()),
    ];
    assert_eq!(
        decode_with(Decoder::new(LIMIT, Some(&deflate())), &bytes),
        expected.map(Ok)
    );
}

#[test]
fn only_the_first_frame_of_a_message_says_that_it_is_compressed() {
    let mut bytes = frame(0x41, b"");
    bytes.extend(frame(0xc0, b""));
    let events = decode_with(Decoder::new(LIMIT, Some(&deflate())), &bytes);
    assert_eq!(events, [Err(ProtocolError::ReservedBits)]);
}

#[test]
fn a_compressed_bomb_is_refused_without_inflating_it() {
    let mut bomb = vec![b'0'; 50_000_000];
    let deflated = compress(&bomb).unwrap();
    assert!(deflated.len() < 1_000_000);
    bomb.clear();
    let events = decode_with(
        Decoder::new(1_000_000, Some(&deflate())),
        &frame(0xc1, &deflated),
    );
    assert_eq!(
        events,
        [Err(ProtocolError::MessageTooBig { limit: 1_000_000 })]
    );
}

#[test]
fn an_inflated_message_may_reach_the_limit_but_not_pass_it() {
    let decoder = || Decoder::new(LIMIT, Some(&deflate()));
    assert!(decode_with(decoder(), &compressed(&[b'x'; LIMIT]))[0].is_ok());
    let events = decode_with(decoder(), &compressed(&[b'x'; LIMIT + 1]));
    assert_eq!(events, [Err(ProtocolError::MessageTooBig { limit: LIMIT })]);
}

#[test]
fn inflated_text_has_to_be_utf8_and_junk_does_not_inflate() {
    let decoder = || Decoder::new(LIMIT, Some(&deflate()));
    let events = decode_with(decoder(), &compressed(&[0xff; 200]));
    assert_eq!(events, [Err(ProtocolError::InvalidUtf8)]);
    let events = decode_with(decoder(), &frame(0xc1, b"\xff\xff\xff\xff"));
    assert_eq!(events, [Err(ProtocolError::BadDeflate)]);
    assert_eq!(ProtocolError::BadDeflate.close_code(), 1007);
}

#[test]
fn a_window_that_the_client_relies_on_cannot_be_handed_over() {
    let mut decoder = Decoder::new(LIMIT, Some(&deflate()));
    decoder.feed(&text("plain"));
    drain(&mut decoder, &mut Vec::new());
    assert_eq!(decoder.remainder(), Some(Vec::new()));
    decoder.feed(&compressed(&[b'x'; 200]));
    drain(&mut decoder, &mut Vec::new());
    assert_eq!(decoder.remainder(), None);
    let policy = CompressionPolicy {
        client_no_context_takeover: true,
    };
    let stateless = Deflate::negotiate(["permessage-deflate"], policy).unwrap();
    let mut decoder = Decoder::new(LIMIT, Some(&stateless));
    decoder.feed(&compressed(&[b'x'; 200]));
    drain(&mut decoder, &mut Vec::new());
    assert_eq!(decoder.remainder(), Some(Vec::new()));
}

/// A stream of frames: mostly legal, some not, cut anywhere.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let legal = (
        prop::sample::select(vec![0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a]),
        ".{0,40}",
    )
        .prop_map(|(first, payload)| frame(first, payload.as_bytes()));
    let squeezed = "[ab]{128,300}".prop_map(|text| compressed(text.as_bytes()));
    let odd = (any::<u8>(), any::<Vec<u8>>()).prop_map(|(first, payload)| frame(first, &payload));
    let junk = any::<Vec<u8>>();
    let frames = prop_oneof![12 => legal, 3 => squeezed, 1 => odd, 1 => junk];
    prop::collection::vec(frames, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn portions_do_not_matter(bytes in stream(), cuts: Vec<prop::sample::Index>) {
        let decoder = || Decoder::new(LIMIT, Some(&deflate()));
        let whole = decode_with(decoder(), &bytes);

        let mut bytewise = Vec::new();
        let mut single = decoder();
        for byte in &bytes {
            single.feed(&[*byte]);
            drain(&mut single, &mut bytewise);
        }
        prop_assert_eq!(&bytewise, &whole);

        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let (mut portions, mut portioned) = (decoder(), Vec::new());
        for pair in cuts.windows(2) {
            portions.feed(&bytes[pair[0]..pair[1]]);
            drain(&mut portions, &mut portioned);
        }
        prop_assert_eq!(&portioned, &whole);
    }

    #[test]
    fn another_decoder_goes_on_where_one_left_off(bytes in stream(), cut: prop::sample::Index) {
        let policy = CompressionPolicy { client_no_context_takeover: true };
        let agreed = Deflate::negotiate(["permessage-deflate"], policy).unwrap();
        let decoder = || Decoder::new(LIMIT, Some(&agreed));
        let whole = decode_with(decoder(), &bytes);

        let (before, after) = bytes.split_at(cut.index(bytes.len() + 1));
        let (mut first, mut events) = (decoder(), Vec::new());
        first.feed(before);
        drain(&mut first, &mut events);
        prop_assume!(!first.finished);
        let mut second = decoder();
        second.feed(&first.remainder().unwrap());
        second.feed(after);
        drain(&mut second, &mut events);
        prop_assert_eq!(events, whole);
    }
}

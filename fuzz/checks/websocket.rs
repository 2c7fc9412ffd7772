//! What must hold for any bytes that a WebSocket client sends. Shared by the fuzz target and the
//! corpus replay in `realtime/tests/ws_framing.rs`.

use crate::ws::{
    CompressionPolicy, Decoder, Deflate, Event, OpCode, ProtocolError, compress, write_frame,
    write_message,
};

const LIMIT: usize = 2048;

type Events = Vec<Result<Event, ProtocolError>>;

/// The first byte chooses compression and how the rest, the stream, is cut into portions.
pub(crate) fn check(input: &[u8]) {
    let Some((choice, stream)) = input.split_first() else {
        return;
    };
    let deflate = agree(choice & 1 != 0, choice & 2 != 0);
    let whole = decode(deflate.as_ref(), stream, stream.len().max(1));
    assert_eq!(
        decode(deflate.as_ref(), stream, 1 + usize::from(choice >> 2)),
        whole
    );
    hand_over(
        deflate.as_ref(),
        stream,
        usize::from(choice >> 2) * 3,
        &whole,
    );
    for event in whole.iter().flatten() {
        echo(event);
    }
}

fn agree(compressed: bool, client_no_context_takeover: bool) -> Option<Deflate> {
    let policy = CompressionPolicy {
        client_no_context_takeover,
    };
    compressed.then(|| Deflate::negotiate(["permessage-deflate"], policy).expect("it is offered"))
}

fn decode(deflate: Option<&Deflate>, stream: &[u8], portion: usize) -> Events {
    let mut decoder = Decoder::new(LIMIT, deflate);
    let mut events = Vec::new();
    for portion in stream.chunks(portion) {
        decoder.feed(portion);
        drain(&mut decoder, &mut events);
    }
    assert!(
        events.iter().rev().skip(1).all(Result::is_ok),
        "an error is the last event"
    );
    events
}

fn drain(decoder: &mut Decoder, events: &mut Events) {
    while let Some(event) = decoder.next_event().transpose() {
        if let Ok(Event::Text(text)) = &event {
            assert!(text.len() <= LIMIT);
        }
        if let Ok(Event::Binary(bytes)) = &event {
            assert!(bytes.len() <= LIMIT);
        }
        events.push(event);
    }
}

/// Another decoder takes over in the middle.
fn hand_over(deflate: Option<&Deflate>, stream: &[u8], at: usize, whole: &Events) {
    let (before, after) = stream.split_at(at.min(stream.len()));
    let mut first = Decoder::new(LIMIT, deflate);
    let mut events = Vec::new();
    first.feed(before);
    drain(&mut first, &mut events);
    if matches!(events.last(), Some(Err(_) | Ok(Event::Close(_)))) {
        return;
    }
    let Some(remainder) = first.remainder() else {
        return;
    };
    let mut second = Decoder::new(LIMIT, deflate);
    second.feed(&remainder);
    second.feed(after);
    drain(&mut second, &mut events);
    assert_eq!(&events, whole);
}

/// What a client could send, the server can send, compressed or not.
fn echo(event: &Event) {
    let (opcode, payload): (_, &[u8]) = match event {
        Event::Text(text) => (OpCode::Text, text.as_bytes()),
        Event::Binary(bytes) => (OpCode::Binary, bytes),
        _ => return,
    };
    let mut plain = Vec::new();
    write_frame(opcode, payload, &mut plain);
    assert!(plain.ends_with(payload));
    let mut message = Vec::new();
    write_message(opcode, payload, &mut message);
    assert_eq!(message[0] & 0x40 != 0, compress(payload).is_some());
    assert!(message.len() <= plain.len());
}

//! The framing against an independent client (tungstenite), and the fuzz corpus.
#![allow(clippy::unwrap_used)]

use std::io::{self, Read, Write};

use bytes::Bytes;
use proptest::prelude::*;
use quikapp_realtime::ws::{self, Close, Decoder, Event, OpCode, ProtocolError};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

#[path = "../../fuzz/checks/websocket.rs"]
mod websocket;

/// A connection whose other end is the test.
#[derive(Default)]
struct Wire {
    to_server: Vec<u8>,
    to_client: io::Cursor<Vec<u8>>,
}

impl Read for Wire {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.to_client.read(out)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to_server.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn client() -> WebSocket<Wire> {
    WebSocket::from_raw_socket(
        Wire::default(),
        Role::Client,
        Some(WebSocketConfig::default()),
    )
}

fn events(bytes: &[u8]) -> Vec<Event> {
    let mut decoder = Decoder::new(1 << 20, None);
    decoder.feed(bytes);
    std::iter::from_fn(|| decoder.next_event().unwrap()).collect()
}

fn expected(message: &Message) -> Event {
    match message {
        Message::Text(text) => Event::Text(text.as_str().into()),
        Message::Binary(bytes) => Event::Binary(bytes.clone()),
        Message::Ping(bytes) => Event::Ping(bytes.clone()),
        Message::Pong(bytes) => Event::Pong(bytes.clone()),
        other => panic!("not generated: {other:?}"),
    }
}

fn write(message: &Message, out: &mut Vec<u8>) {
    let (opcode, payload): (_, &[u8]) = match message {
        Message::Text(text) => (OpCode::Text, text.as_bytes()),
        Message::Binary(bytes) => (OpCode::Binary, bytes),
        Message::Ping(bytes) => (OpCode::Ping, bytes),
        Message::Pong(bytes) => (OpCode::Pong, bytes),
        other => panic!("not generated: {other:?}"),
    };
    ws::write_frame(opcode, payload, out);
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..125).prop_map(Bytes::from);
    let large = (0..70_000_usize).prop_map(|length| Message::binary(vec![7; length]));
    let message = prop_oneof![
        any::<String>().prop_map(Message::text),
        any::<Vec<u8>>().prop_map(Message::binary),
        large,
        bytes().prop_map(Message::Ping),
        bytes().prop_map(Message::Pong),
    ];
    prop::collection::vec(message, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_a_client_sends_is_read(messages in messages()) {
        let mut client = client();
        for message in &messages {
            client.send(message.clone()).unwrap();
        }
        let read = events(&client.get_ref().to_server);
        prop_assert_eq!(read, messages.iter().map(expected).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_written_is_read_by_a_client(messages in messages()) {
        let mut client = client();
        for message in &messages {
            write(message, client.get_mut().to_client.get_mut());
        }
        for message in messages {
            prop_assert_eq!(client.read().unwrap(), message);
        }
    }
}

#[test]
fn both_sides_close() {
    let mut client = client();
    let frame = CloseFrame {
        code: CloseCode::Away,
        reason: "bye".into(),
    };
    client.close(Some(frame)).unwrap();
    let close = Close {
        code: 1001,
        reason: "bye".into(),
    };
    assert_eq!(
        events(&client.get_ref().to_server),
        [Event::Close(Some(close))]
    );
    ws::write_close(1000, "", client.get_mut().to_client.get_mut());
    let expected = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    assert_eq!(client.read().unwrap(), Message::Close(Some(expected)));
}

#[test]
fn the_close_code_of_every_error_is_one_a_client_accepts() {
    for error in [
        ProtocolError::Unmasked,
        ProtocolError::InvalidUtf8,
        ProtocolError::MessageTooBig { limit: 1 },
    ] {
        let mut client = client();
        let out = client.get_mut().to_client.get_mut();
        ws::write_close(error.close_code(), &error.to_string(), out);
        let Message::Close(Some(frame)) = client.read().unwrap() else {
            panic!("a close frame was written");
        };
        assert_eq!(u16::from(frame.code), error.close_code());
    }
}

#[test]
fn the_corpus_of_websocket_streams() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/websocket");
    let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
    assert!(inputs.len() > 20, "the corpus is there");
    for input in inputs {
        websocket::check(&std::fs::read(input.unwrap().path()).unwrap());
    }
}

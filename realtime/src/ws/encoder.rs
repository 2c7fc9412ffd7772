//! Frames to a client. They are not masked, so the bytes of a broadcast's frame are the same for
//! every subscriber and can be shared.

use std::ops::Deref;

use super::error::ProtocolError;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpCode {
    /// More of a fragmented message.
    Continuation = 0,
    /// UTF-8 text.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The end.
    Close = 8,
    /// Are you there?
    Ping = 9,
    /// I am.
    Pong = 10,
}

impl OpCode {
    pub(super) fn from_bits(bits: u8) -> Result<Self, ProtocolError> {
        match bits {
            0 => Ok(Self::Continuation),
            1 => Ok(Self::Text),
            2 => Ok(Self::Binary),
            8 => Ok(Self::Close),
            9 => Ok(Self::Ping),
            10 => Ok(Self::Pong),
            other => Err(ProtocolError::ReservedOpcode(other)),
        }
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The header of a whole, unmasked frame: 2, 4 or 10 bytes.
#[derive(Debug, Clone, Copy)]
pub struct FrameHeader {
    bytes: [u8; 10],
    size: u8,
}

impl FrameHeader {
    /// The header of a frame with `length` bytes of payload.
    pub fn new(opcode: OpCode, length: usize) -> Self {
        Self::with_first_byte(0x80 | opcode as u8, length)
    }

    /// The header of a message whose payload went through [`compress`](super::compress).
    pub fn compressed(opcode: OpCode, length: usize) -> Self {
        Self::with_first_byte(0xc0 | opcode as u8, length)
    }

    fn with_first_byte(first: u8, length: usize) -> Self {
        let mut bytes = [0; 10];
        bytes[0] = first;
        let size = match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..=125), _) => {
                bytes[1] = short;
                2
            }
            (_, Ok(medium)) => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&medium.to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..].copy_from_slice(&(length as u64).to_be_bytes());
                10
            }
        };
        Self { bytes, size }
    }
}

impl Deref for FrameHeader {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.size)]
    }
}

/// Appends a frame as it is.
pub fn write_frame(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    let header = FrameHeader::new(opcode, payload.len());
    out.reserve(header.len() + payload.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
}

/// Appends a message, compressed where that is worth it; for connections that negotiated it.
pub fn write_message(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    match super::compress(payload) {
        Some(compressed) => {
            out.extend_from_slice(&FrameHeader::compressed(opcode, compressed.len()));
            out.extend_from_slice(&compressed);
        }
        None => write_frame(opcode, payload, out),
    }
}

/// Appends a close frame. A reason is cut, between characters, to the 123 bytes that fit.
pub fn write_close(code: u16, reason: &str, out: &mut Vec<u8>) {
    let reason = &reason[..reason.floor_char_boundary(123)];
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    write_frame(OpCode::Close, &payload, out);
}

/// A close frame by itself.
pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_close(code, reason, &mut out);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn headers_are_as_short_as_the_length_allows() {
        assert_eq!(&*FrameHeader::new(OpCode::Text, 125), [0x81, 125]);
        assert_eq!(&*FrameHeader::new(OpCode::Binary, 126), [0x82, 126, 0, 126]);
        assert_eq!(
            &*FrameHeader::new(OpCode::Text, 65_535),
            [0x81, 126, 0xff, 0xff]
        );
        let long = FrameHeader::new(OpCode::Text, 65_536);
        assert_eq!(&*long, [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(&*FrameHeader::compressed(OpCode::Text, 5), [0xc1, 5]);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let frame = close_frame(1013, &"é".repeat(100));
        assert_eq!(frame[..4], [0x88, 124, 0x03, 0xf5]);
        assert_eq!(std::str::from_utf8(&frame[4..]).unwrap(), "é".repeat(61));
        assert_eq!(close_frame(1000, ""), [0x88, 2, 0x03, 0xe8]);
    }
}

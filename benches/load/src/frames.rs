//! The client's side of WebSocket framing: enough for a server that does not fragment, and cheap
//! enough for 10,000 sockets in one process.

use anyhow::bail;

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// Takes frames out of a stream. Owns memory only while a frame is incomplete.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    incomplete: Vec<u8>,
}

impl FrameReader {
    /// Calls `on` for every frame that `bytes` completes.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        mut on: impl FnMut(Frame<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.incomplete.is_empty() {
            let rest = each_frame(bytes, &mut on)?;
            self.incomplete = rest.to_vec();
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.incomplete);
        joined.extend_from_slice(bytes);
        self.incomplete = each_frame(&joined, &mut on)?.to_vec();
        Ok(())
    }
}

/// Returns what follows the last whole frame.
fn each_frame<'a>(
    mut bytes: &'a [u8],
    on: &mut impl FnMut(Frame<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<&'a [u8]> {
    while let Some((frame, rest)) = split_frame(bytes)? {
        on(frame)?;
        bytes = rest;
    }
    Ok(bytes)
}

fn split_frame(bytes: &[u8]) -> anyhow::Result<Option<(Frame<'_>, &[u8])>> {
    let &[first, second, ..] = bytes else {
        return Ok(None);
    };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        bail!("a fragmented, compressed or masked frame from the server: {first:02x} {second:02x}");
    }
    let length = match second {
        126 => bytes.get(2..4).map(|length| (4, be(length))),
        127 => bytes.get(2..10).map(|length| (10, be(length))),
        short => Some((2, usize::from(short))),
    };
    let Some((start, length)) = length else {
        return Ok(None);
    };
    let opcode = first & 0x0f;
    let frame = bytes[start..].split_at_checked(length);
    Ok(frame.map(|(payload, rest)| (Frame { opcode, payload }, rest)))
}

fn be(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |value, &byte| value << 8 | usize::from(byte))
}

/// It guards against proxies that misread the stream; here it only has to be one.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Appends a masked frame.
pub(crate) fn write(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&KEY);
    let start = out.len();
    out.extend_from_slice(payload);
    let (words, rest) = out[start..].as_chunks_mut();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(KEY)).to_ne_bytes();
    }
    rest.iter_mut()
        .zip(KEY)
        .for_each(|(byte, key)| *byte ^= key);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn server_frame(opcode: u8, length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        write(opcode, &vec![b'x'; length], &mut out);
        let header = out.len() - length - 4;
        out.drain(header..header + 4);
        out[1] &= 0x7f;
        out[header..].fill(b'x');
        out
    }

    #[test]
    fn every_byte_is_masked_with_its_byte_of_the_key() {
        for length in 0..20 {
            let payload: Vec<u8> = (0..length).collect();
            let mut out = Vec::new();
            write(TEXT, &payload, &mut out);
            assert_eq!(out[..2], [0x81, 0x80 | length]);
            let (key, masked) = out[2..].split_at(KEY.len());
            let unmasked = masked.iter().enumerate();
            let unmasked: Vec<u8> = unmasked.map(|(at, byte)| byte ^ key[at % 4]).collect();
            assert_eq!(unmasked, payload);
        }
    }

    fn read_in_portions(bytes: &[u8], portion: usize) -> Vec<(u8, usize)> {
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        for part in bytes.chunks(portion) {
            let on = |frame: Frame<'_>| {
                assert!(frame.payload.iter().all(|&byte| byte == b'x'));
                frames.push((frame.opcode, frame.payload.len()));
                Ok(())
            };
            reader.read(part, on).unwrap();
        }
        assert!(reader.incomplete.is_empty());
        frames
    }

    #[test]
    fn frames_arrive_in_any_portions() {
        let lengths = [0, 1, 125, 126, 65_535, 65_536];
        let stream: Vec<u8> = lengths
            .iter()
            .flat_map(|&n| server_frame(TEXT, n))
            .collect();
        for portion in [1, 2, 7, 4096, stream.len()] {
            assert_eq!(
                read_in_portions(&stream, portion),
                lengths.map(|n| (TEXT, n))
            );
        }
    }

    #[test]
    fn what_a_server_must_not_send_is_an_error() {
        for bytes in [[0x01, 0x00], [0xc1, 0x00], [0x81, 0x80]] {
            assert!(FrameReader::default().read(&bytes, |_| Ok(())).is_err());
        }
    }
}

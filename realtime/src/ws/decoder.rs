//! From bytes to messages.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::deflate::{Deflate, Inflater};
use super::encoder::OpCode;
use super::error::ProtocolError;
use super::header::Header;
use super::mask::unmask;

/// A payload this large would keep its buffer alive for the sake of the bytes behind it, so they
/// move to a buffer of their own.
const LARGE: usize = 4096;

/// Something whole that a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A text message, put together and inflated.
    Text(ByteString),
    /// A binary message, put together and inflated.
    Binary(Bytes),
    /// To be answered with a pong of the same payload.
    Ping(Bytes),
    /// An answer to a ping, or unasked for.
    Pong(Bytes),
    /// The last event.
    Close(Option<Close>),
}

/// Why a client closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// A code that may stand in a frame.
    pub code: u16,
    /// Often empty.
    pub reason: ByteString,
}

/// Takes a client's bytes in any portions. While nothing is in flight it owns no memory.
#[derive(Debug)]
pub struct Decoder {
    /// What has arrived and is not part of an event yet.
    buffer: BytesMut,
    /// The fragments of an unfinished message.
    fragments: Option<Box<Fragments>>,
    inflater: Option<Box<Inflater>>,
    message_limit: usize,
    frame_limit: usize,
    /// After a close or an error nothing counts.
    finished: bool,
}

#[derive(Debug)]
struct Fragments {
    opcode: OpCode,
    compressed: bool,
    data: BytesMut,
}

impl Decoder {
    /// A decoder that takes messages of up to `message_limit` bytes: all fragments together, and
    /// inflated. Compressed messages are taken if `deflate` was negotiated.
    pub fn new(message_limit: usize, deflate: Option<&Deflate>) -> Self {
        let inflater = deflate.map(|deflate| Box::new(Inflater::new(deflate)));
        Self {
            buffer: BytesMut::new(),
            fragments: None,
            inflater,
            message_limit,
            frame_limit: usize::MAX,
            finished: false,
        }
    }

    /// Also limits what one data frame may carry, as it stands on the wire.
    #[must_use]
    pub fn with_frame_limit(mut self, frame_limit: usize) -> Self {
        self.frame_limit = frame_limit;
        self
    }

    /// Hands over what was read. Take all events before the next portion, or the buffer grows by
    /// it.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !self.finished {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next event, if it has arrived as a whole.
    ///
    /// # Errors
    /// What the client did wrong; it is said once, and no event follows.
    pub fn next_event(&mut self) -> Result<Option<Event>, ProtocolError> {
        if self.finished {
            return Ok(None);
        }
        let result = self.read_event();
        if matches!(result, Err(_) | Ok(Some(Event::Close(_)))) {
            self.finished = true;
            self.fragments = None;
            self.buffer = BytesMut::new();
        }
        result
    }

    /// Whether no part of a frame or message waits for the rest.
    pub fn is_idle(&self) -> bool {
        self.buffer.is_empty() && self.fragments.is_none()
    }

    /// What has been read but is not part of an event yet, as bytes for another decoder to begin
    /// with. `None` if that decoder would also need the window of earlier compressed messages.
    pub fn remainder(&self) -> Option<Vec<u8>> {
        if self
            .inflater
            .as_ref()
            .is_some_and(|inflater| inflater.has_window())
        {
            return None;
        }
        let mut out = Vec::new();
        if let Some(fragments) = &self.fragments {
            fragments.write_unfinished(&mut out);
        }
        out.extend_from_slice(&self.buffer);
        Some(out)
    }

    fn read_event(&mut self) -> Result<Option<Event>, ProtocolError> {
        loop {
            let Some(header) = Header::parse(&self.buffer)? else {
                return Ok(None);
            };
            self.check_sequence(&header)?;
            let length = self.check_size(&header)?;
            if self.buffer.len() - header.size < length {
                return Ok(None);
            }
            let payload = self.take_payload(&header, length);
            if let Some(event) = self.accept(&header, payload)? {
                return Ok(Some(event));
            }
        }
    }

    /// Whether the frame may come now.
    fn check_sequence(&self, header: &Header) -> Result<(), ProtocolError> {
        match (header.opcode, &self.fragments) {
            (OpCode::Continuation, None) => Err(ProtocolError::UnexpectedContinuation),
            (OpCode::Continuation, Some(_)) if header.compressed => {
                Err(ProtocolError::ReservedBits)
            }
            (OpCode::Text | OpCode::Binary, Some(_)) => Err(ProtocolError::ExpectedContinuation),
            (OpCode::Text | OpCode::Binary, None) if header.compressed => match self.inflater {
                Some(_) => Ok(()),
                None => Err(ProtocolError::ReservedBits),
            },
            _ => Ok(()),
        }
    }

    /// Refuses from the header what would be too big, before its payload is buffered.
    fn check_size(&self, header: &Header) -> Result<usize, ProtocolError> {
        let too_big = ProtocolError::MessageTooBig {
            limit: self.message_limit,
        };
        let length = usize::try_from(header.length).map_err(|_| too_big)?;
        if header.opcode.is_control() {
            return Ok(length);
        }
        if length > self.frame_limit {
            return Err(ProtocolError::FrameTooBig {
                limit: self.frame_limit,
            });
        }
        let (before, compressed) = match &self.fragments {
            Some(fragments) => (fragments.data.len(), fragments.compressed),
            None => (0, header.compressed),
        };
        match before.checked_add(length) {
            Some(total) if total <= self.wire_limit(compressed) => Ok(length),
            _ => Err(too_big),
        }
    }

    /// What a message may occupy on the wire: data that does not compress grows a little.
    fn wire_limit(&self, compressed: bool) -> usize {
        let growth = if compressed {
            64 + self.message_limit / 64
        } else {
            0
        };
        self.message_limit.saturating_add(growth)
    }

    fn take_payload(&mut self, header: &Header, length: usize) -> BytesMut {
        let mut payload = self
            .buffer
            .split_to(header.size + length)
            .split_off(header.size);
        unmask(&mut payload, header.mask);
        if self.buffer.is_empty() || length >= LARGE {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        payload
    }

    fn accept(
        &mut self,
        header: &Header,
        payload: BytesMut,
    ) -> Result<Option<Event>, ProtocolError> {
        match header.opcode {
            OpCode::Ping => Ok(Some(Event::Ping(payload.freeze()))),
            OpCode::Pong => Ok(Some(Event::Pong(payload.freeze()))),
            OpCode::Close => parse_close(&payload.freeze()).map(Event::Close).map(Some),
            OpCode::Text | OpCode::Binary if header.fin => self
                .finish(header.opcode, header.compressed, payload.freeze())
                .map(Some),
            OpCode::Text | OpCode::Binary => {
                let (opcode, compressed) = (header.opcode, header.compressed);
                self.fragments = Some(Box::new(Fragments {
                    opcode,
                    compressed,
                    data: payload,
                }));
                Ok(None)
            }
            OpCode::Continuation => self.continue_message(header.fin, &payload),
        }
    }

    fn continue_message(
        &mut self,
        fin: bool,
        payload: &[u8],
    ) -> Result<Option<Event>, ProtocolError> {
        let mut fragments = self
            .fragments
            .take()
            .ok_or(ProtocolError::UnexpectedContinuation)?;
        fragments.data.extend_from_slice(payload);
        if fin {
            let Fragments {
                opcode,
                compressed,
                data,
            } = *fragments;
            return self.finish(opcode, compressed, data.freeze()).map(Some);
        }
        self.fragments = Some(fragments);
        Ok(None)
    }

    fn finish(
        &mut self,
        opcode: OpCode,
        compressed: bool,
        data: Bytes,
    ) -> Result<Event, ProtocolError> {
        let data = match &mut self.inflater {
            Some(inflater) if compressed => inflater.inflate(&data, self.message_limit)?,
            _ => data,
        };
        if opcode == OpCode::Text {
            let text = ByteString::try_from(data).map_err(|_| ProtocolError::InvalidUtf8)?;
            return Ok(Event::Text(text));
        }
        Ok(Event::Binary(data))
    }
}

impl Fragments {
    /// What has arrived of the message, as one frame that is not its last.
    fn write_unfinished(&self, out: &mut Vec<u8>) {
        let rsv1 = if self.compressed { 0x40 } else { 0 };
        out.extend_from_slice(&[self.opcode as u8 | rsv1, 0x80 | 127]);
        out.extend_from_slice(&(self.data.len() as u64).to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.data);
    }
}

fn parse_close(payload: &Bytes) -> Result<Option<Close>, ProtocolError> {
    let Some((code, _)) = payload.split_first_chunk() else {
        let empty = payload.is_empty();
        return if empty {
            Ok(None)
        } else {
            Err(ProtocolError::BadClosePayload)
        };
    };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(ProtocolError::BadCloseCode(code));
    }
    let reason =
        ByteString::try_from(payload.slice(2..)).map_err(|_| ProtocolError::InvalidUtf8)?;
    Ok(Some(Close { code, reason }))
}

/// RFC 6455, section 7.4, and the codes that IANA registered since (1012 to 1014).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests;

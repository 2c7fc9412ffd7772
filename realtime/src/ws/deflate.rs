//! permessage-deflate (RFC 7692).
//!
//! Every message out is compressed by itself, which a server may do without announcing it: a
//! compressor costs some 300 kB, so each thread has one, no connection does, and a compressed
//! broadcast is shared. Clients may refer to earlier messages unless they were told not to; their
//! window (40 kB) exists from their first compressed message on.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::error::ProtocolError;

/// What ends every flushed block, and is left out on the wire.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Shorter messages do not shrink enough to be worth the work.
const WORTH_COMPRESSING: usize = 128;

/// What the server wants when a client offers compression.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompressionPolicy {
    /// Tell clients to compress each message by itself, so that no window is kept for them.
    pub client_no_context_takeover: bool,
}

/// What was agreed with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deflate {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    client_max_window_bits: Option<u8>,
}

impl Deflate {
    /// Chooses the first acceptable offer from the values of `Sec-WebSocket-Extensions`, in
    /// order; `None` if there is none, and the connection goes without.
    pub fn negotiate<'a>(
        offers: impl IntoIterator<Item = &'a str>,
        policy: CompressionPolicy,
    ) -> Option<Self> {
        let mut offers = offers.into_iter().flat_map(|header| header.split(','));
        let mut accepted = offers.find_map(Self::accept)?;
        accepted.client_no_context_takeover |= policy.client_no_context_takeover;
        Some(accepted)
    }

    /// The value of `Sec-WebSocket-Extensions` in the response.
    pub fn response(&self) -> String {
        let mut response = String::from("permessage-deflate");
        if self.server_no_context_takeover {
            response.push_str(";server_no_context_takeover");
        }
        if self.client_no_context_takeover {
            response.push_str(";client_no_context_takeover");
        }
        if let Some(bits) = self.client_max_window_bits {
            response.push_str(&format!(";client_max_window_bits={bits}"));
        }
        response
    }

    fn accept(offer: &str) -> Option<Self> {
        let mut parameters = offer.split(';').map(str::trim);
        if parameters.next() != Some("permessage-deflate") {
            return None;
        }
        let mut accepted = Self::default();
        let mut seen = Vec::new();
        for parameter in parameters {
            let (name, value) = split_parameter(parameter);
            if seen.contains(&name) {
                return None;
            }
            seen.push(name);
            accepted.take(name, value)?;
        }
        Some(accepted)
    }

    /// Takes one parameter of an offer; `None` declines the offer.
    fn take(&mut self, name: &str, value: Option<&str>) -> Option<()> {
        match (name, value) {
            ("server_no_context_takeover", None) => self.server_no_context_takeover = true,
            ("client_no_context_takeover", None) => self.client_no_context_takeover = true,
            ("client_max_window_bits", None) => self.client_max_window_bits = Some(15),
            ("client_max_window_bits", Some(bits)) => {
                self.client_max_window_bits = Some(window_bits(bits)?);
            }
            // The compressor's window cannot be made smaller.
            ("server_max_window_bits", Some("15")) => {}
            _ => return None,
        }
        Some(())
    }
}

fn split_parameter(parameter: &str) -> (&str, Option<&str>) {
    match parameter.split_once('=') {
        Some((name, value)) => (name.trim_end(), Some(value.trim().trim_matches('"'))),
        None => (parameter, None),
    }
}

fn window_bits(text: &str) -> Option<u8> {
    let bits = text.parse().ok().filter(|bits| (8..=15).contains(bits));
    bits.filter(|_| !text.starts_with(['0', '+']))
}

/// Inflates the messages of one client.
#[derive(Debug)]
pub(super) struct Inflater {
    state: Option<Box<Decompress>>,
    keeps_window: bool,
}

impl Inflater {
    pub(super) fn new(agreed: &Deflate) -> Self {
        Self {
            state: None,
            keeps_window: !agreed.client_no_context_takeover,
        }
    }

    /// Whether later messages may refer to earlier ones.
    pub(super) fn has_window(&self) -> bool {
        self.state.is_some()
    }

    /// Inflates one message, and stops when it exceeds `limit` bytes.
    pub(super) fn inflate(&mut self, data: &[u8], limit: usize) -> Result<Bytes, ProtocolError> {
        let mut state = self
            .state
            .take()
            .unwrap_or_else(|| Box::new(Decompress::new(false)));
        let mut out = Vec::new();
        for input in [data, &TAIL] {
            inflate_into(&mut state, input, &mut out, limit)?;
        }
        if self.keeps_window {
            self.state = Some(state);
        }
        Ok(out.into())
    }
}

fn inflate_into(
    state: &mut Decompress,
    mut input: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), ProtocolError> {
    loop {
        // One byte beyond the limit shows that there is more.
        let room =
            (limit.saturating_add(1) - out.len()).min(out.len().max(2 * input.len()).max(256));
        out.reserve_exact(room);
        let (consumed_before, produced_before) = (state.total_in(), out.len());
        let status = state
            .decompress_vec(input, out, FlushDecompress::Sync)
            .map_err(|_| ProtocolError::BadDeflate)?;
        if out.len() > limit {
            return Err(ProtocolError::MessageTooBig { limit });
        }
        let consumed = usize::try_from(state.total_in() - consumed_before).unwrap_or(usize::MAX);
        input = &input[consumed.min(input.len())..];
        if status == Status::StreamEnd {
            // A final block ends the stream; what follows is a new one (section 7.2.3.4).
            state.reset(false);
        }
        if consumed == 0 && out.len() == produced_before {
            let complete = input.is_empty();
            return if complete {
                Ok(())
            } else {
                Err(ProtocolError::BadDeflate)
            };
        }
    }
}

thread_local! {
    static COMPRESSOR: RefCell<Compress> =
        RefCell::new(Compress::new(Compression::fast(), false));
}

/// Compresses a message by itself; `None` if it is short or does not shrink. The result is the
/// payload of a frame with a [compressed header](super::FrameHeader::compressed).
pub fn compress(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < WORTH_COMPRESSING {
        return None;
    }
    // Never more than the payload: what does not fit there is not worth sending.
    let mut out = Vec::with_capacity(payload.len());
    let done = COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.reset();
        let status = compressor.compress_vec(payload, &mut out, FlushCompress::Sync);
        status.is_ok() && compressor.total_in() == payload.len() as u64
    });
    let complete = done && out.len() < out.capacity() && out.ends_with(&TAIL);
    complete.then(|| {
        out.truncate(out.len() - TAIL.len());
        out.shrink_to_fit();
        out
    })
}

#[cfg(test)]
mod tests;

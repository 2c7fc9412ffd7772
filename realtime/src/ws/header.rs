//! The header of a frame from a client (RFC 6455, section 5.2).

use super::encoder::OpCode;
use super::error::ProtocolError;

/// What a frame is, once its header has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fin: bool,
    /// RSV1: the message that begins here is compressed.
    pub(super) compressed: bool,
    pub(super) opcode: OpCode,
    pub(super) mask: [u8; 4],
    /// Bytes of the header itself.
    pub(super) size: usize,
    /// Bytes of the payload.
    pub(super) length: u64,
}

impl Header {
    /// Reads the header at the front of `bytes`; `None` if it has not all arrived. What is wrong
    /// is said as soon as the byte that is wrong has arrived.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let opcode = OpCode::from_bits(first & 0x0f)?;
        if first & 0x30 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        if second & 0x80 == 0 {
            return Err(ProtocolError::Unmasked);
        }
        let Some((length, at)) = read_length(second & 0x7f, &bytes[2..])? else {
            return Ok(None);
        };
        let Some(mask) = bytes[2 + at..].first_chunk() else {
            return Ok(None);
        };
        let (fin, compressed) = (first & 0x80 != 0, first & 0x40 != 0);
        let header = Self {
            fin,
            compressed,
            opcode,
            mask: *mask,
            size: 2 + at + 4,
            length,
        };
        header.check_control()?;
        Ok(Some(header))
    }

    fn check_control(&self) -> Result<(), ProtocolError> {
        if !self.opcode.is_control() {
            return Ok(());
        }
        if self.compressed {
            return Err(ProtocolError::ReservedBits);
        }
        if !self.fin {
            return Err(ProtocolError::FragmentedControl);
        }
        if self.length > 125 {
            return Err(ProtocolError::ControlTooLong(self.length));
        }
        Ok(())
    }
}

/// The length, and how many extra bytes it occupies.
fn read_length(short: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, ProtocolError> {
    match short {
        126 => {
            let length = bytes.first_chunk().map(|&chunk| u16::from_be_bytes(chunk));
            Ok(length.map(|length| (u64::from(length), 2)))
        }
        127 => match bytes.first_chunk().map(|&chunk| u64::from_be_bytes(chunk)) {
            Some(length) if length >> 63 == 1 => Err(ProtocolError::BadLength),
            length => Ok(length.map(|length| (length, 8))),
        },
        _ => Ok(Some((u64::from(short), 0))),
    }
}

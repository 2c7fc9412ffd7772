//! What a client can do wrong.

/// A violation of RFC 6455 or of a limit. The connection is over; [`close_code`] says with what.
///
/// [`close_code`]: ProtocolError::close_code
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// RSV2, RSV3, or RSV1 where no compressed message can begin.
    #[error("a reserved bit is set")]
    ReservedBits,
    /// An opcode without a meaning.
    #[error("reserved opcode {0}")]
    ReservedOpcode(u8),
    /// Clients have to mask.
    #[error("an unmasked frame")]
    Unmasked,
    /// Lengths have 63 bits.
    #[error("the length has its highest bit set")]
    BadLength,
    /// Control frames stand alone.
    #[error("a fragmented control frame")]
    FragmentedControl,
    /// Control frames carry 125 bytes at most.
    #[error("a control frame of {0} bytes")]
    ControlTooLong(u64),
    /// A continuation of nothing.
    #[error("a continuation frame without a message")]
    UnexpectedContinuation,
    /// A message inside a message.
    #[error("a new message before the last one ended")]
    ExpectedContinuation,
    /// One byte is no close code.
    #[error("a close frame with half a code")]
    BadClosePayload,
    /// A code that must not stand in a frame.
    #[error("close code {0} must not be sent")]
    BadCloseCode(u16),
    /// Text, or the reason of a close, that is not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// The data is not what DEFLATE makes.
    #[error("a compressed message that does not inflate")]
    BadDeflate,
    /// One frame exceeds its own limit.
    #[error("a frame of more than {limit} bytes")]
    FrameTooBig {
        /// What is allowed.
        limit: usize,
    },
    /// All fragments together, inflated, exceed the limit.
    #[error("a message of more than {limit} bytes")]
    MessageTooBig {
        /// What is allowed.
        limit: usize,
    },
}

impl ProtocolError {
    /// The code to close the connection with.
    pub fn close_code(self) -> u16 {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::Unmasked
            | Self::BadLength
            | Self::FragmentedControl
            | Self::ControlTooLong(_)
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::BadClosePayload
            | Self::BadCloseCode(_) => 1002,
            Self::InvalidUtf8 | Self::BadDeflate => 1007,
            Self::FrameTooBig { .. } | Self::MessageTooBig { .. } => 1009,
        }
    }
}

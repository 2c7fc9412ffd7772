//! Every code with which the server closes a WebSocket.

/// Why a socket was closed, as clients see it. phoenix.js reconnects after every code but 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// Both sides are done.
    Normal,
    /// The person signed out elsewhere.
    SignedOut,
    /// No frame came within the idle timeout, or a frame broke the protocol.
    Idle,
    /// A text frame was not UTF-8.
    InvalidUtf8,
    /// Revoked, banned, or against another rule.
    Policy,
    /// A message was larger than the limit.
    TooBig,
    /// A message could not be decoded.
    Undecodable,
    /// The server restarts.
    Restart,
    /// The client read too slowly.
    SlowConsumer,
    /// The token ended.
    TokenExpired,
}

impl CloseCode {
    /// All of them, by number.
    pub const ALL: &'static [Self] = &[
        Self::Normal,
        Self::SignedOut,
        Self::Idle,
        Self::InvalidUtf8,
        Self::Policy,
        Self::TooBig,
        Self::Undecodable,
        Self::Restart,
        Self::SlowConsumer,
        Self::TokenExpired,
    ];

    /// The number in the close frame.
    pub fn code(self) -> u16 {
        self.row().0
    }

    /// What the close means.
    pub fn meaning(self) -> &'static str {
        self.row().1
    }

    /// What the client should do.
    pub fn advice(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Normal => (1000, "A normal close.", "Nothing; phoenix.js stays closed."),
            Self::SignedOut => (
                1001,
                "The person signed out elsewhere, or was disconnected by the application.",
                "Sign in again before reconnecting.",
            ),
            Self::Idle => (
                1002,
                "No frame came within the idle timeout, or a frame broke RFC 6455.",
                "Reconnect; send heartbeats more often than the timeout.",
            ),
            Self::InvalidUtf8 => (
                1007,
                "A text frame was not valid UTF-8.",
                "Repair the client; binary data belongs in binary frames.",
            ),
            Self::Policy => (
                1008,
                "The token or the person was revoked or banned.",
                "Do not reconnect with this token; sign in again.",
            ),
            Self::TooBig => (
                1009,
                "A message was larger than the limit.",
                "Reconnect; send smaller messages.",
            ),
            Self::Undecodable => (
                1011,
                "A message could not be decoded.",
                "Repair the client, then reconnect.",
            ),
            Self::Restart => (
                1012,
                "The server restarts.",
                "Reconnect with the usual back-off; nothing acknowledged is lost.",
            ),
            Self::SlowConsumer => (
                1013,
                "The client read too slowly: it was owed more than is kept for it.",
                "Reconnect after the delay that the reason names.",
            ),
            Self::TokenExpired => (
                4001,
                "The token has expired.",
                "Fetch a fresh token, then reconnect; or send access_token before it ends.",
            ),
        }
    }
}

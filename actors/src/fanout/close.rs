//! Why a connection is closed by the server.

use std::borrow::Cow;

/// A WebSocket close code and the reason that goes with it. Long-poll sessions end instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The close code (RFC 6455, section 7.4, or 4000 and above for our own).
    pub code: u16,
    /// At most 123 bytes reach the client.
    pub reason: Cow<'static, str>,
}

impl Close {
    /// A code with a reason.
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        let reason = reason.into();
        Self { code, reason }
    }

    /// 1000: the client closed, or nothing is left to do.
    pub const fn normal() -> Self {
        Self::fixed(1000, "")
    }

    /// 1001: `disconnect` on the socket's id. Phoenix sends no reason.
    pub const fn disconnected() -> Self {
        Self::fixed(1001, "")
    }

    /// 1002: nothing was heard for the idle timeout, as Bandit closes it.
    pub const fn idle() -> Self {
        Self::fixed(1002, "")
    }

    /// 1011: a frame that is not a Phoenix message.
    pub const fn undecodable() -> Self {
        Self::fixed(1011, "")
    }

    /// 1012: this node restarts.
    pub const fn restart() -> Self {
        Self::fixed(1012, "")
    }

    /// 1013: the client reads slower than it is sent to.
    pub fn slow_consumer(retry_after_ms: u64) -> Self {
        Self::new(
            1013,
            format!("slow_consumer retry_after_ms={retry_after_ms}"),
        )
    }

    /// 4001: the token expired and was not renewed in time.
    pub const fn token_expired() -> Self {
        Self::fixed(4001, "token_expired")
    }

    const fn fixed(code: u16, reason: &'static str) -> Self {
        Self {
            code,
            reason: Cow::Borrowed(reason),
        }
    }
}

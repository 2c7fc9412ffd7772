//! A place where clients connect.

use std::time::Duration;

use quikapp_protocol::Vsn;

use super::Limits;
use crate::endpoint::OriginPolicy;

/// How the long-poll transport of a mount behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongPollOptions {
    /// How long a GET waits for messages.
    pub window: Duration,
    /// Which pages may poll, if others than may open a WebSocket.
    pub origins: Option<OriginPolicy>,
}

impl Default for LongPollOptions {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            origins: None,
        }
    }
}

/// How a mount's transports behave.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// What follows the mount's path for WebSockets.
    pub websocket_path: String,
    /// Long-poll beside WebSocket, at `<mount>/longpoll`.
    pub longpoll: Option<LongPollOptions>,
    /// The serializers that may be asked for.
    pub serializers: Vec<Vsn>,
    /// Which pages may connect.
    pub origins: OriginPolicy,
    /// WebSocket subprotocols; none configured means that none is looked at.
    pub subprotocols: Vec<String>,
    /// Accept the token that phoenix.js 1.8 sends beside the query.
    pub auth_token: bool,
    /// Agree to permessage-deflate.
    pub compress: bool,
    /// The largest frame of a client, in bytes (close code 1009).
    pub max_frame_size: Option<usize>,
    /// The largest message of a client, over all its fragments, in bytes (close code 1009).
    pub max_message_size: usize,
    /// A WebSocket from which nothing comes for this long is closed.
    pub idle_timeout: Duration,
    /// How long `connect` may take (HTTP 503).
    pub connect_timeout: Duration,
    /// What one socket may do.
    pub limits: Limits,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            websocket_path: "/websocket".into(),
            longpoll: Some(LongPollOptions::default()),
            serializers: vec![Vsn::V1, Vsn::V2],
            origins: OriginPolicy::OwnHost,
            subprotocols: Vec::new(),
            auth_token: false,
            compress: false,
            max_frame_size: None,
            max_message_size: 16 * 1024 * 1024,
            idle_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }
}

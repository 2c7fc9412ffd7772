//! Who connects, and who may.

use std::{borrow::Cow, collections::BTreeMap, fmt, future::Future, net::SocketAddr};

use bytes::Bytes;
use http::HeaderMap;
use quikapp_actors::fanout::Note;
use quikapp_protocol::Vsn;
use quikapp_storage::{Seq, Timestamp};

use crate::channel::JoinError;

/// What carries a socket's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A WebSocket.
    WebSocket,
    /// A series of HTTP requests.
    LongPoll,
}

impl Transport {
    /// `websocket` or `longpoll`, the names Phoenix uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::LongPoll => "longpoll",
        }
    }
}

/// A request to connect. Its `Debug` form leaves out whatever may hold a token.
#[derive(Clone)]
pub struct ConnectInfo {
    /// What carries the socket.
    pub transport: Transport,
    /// Which serializer was asked for.
    pub vsn: Vsn,
    /// The client's address: behind a trusted proxy, the one that the proxy names.
    pub peer: SocketAddr,
    /// Variables of the mount's path, as in `/socket/:tenant`.
    pub path_params: Vec<(String, String)>,
    /// Query parameters, decoded, in their order; names may repeat.
    pub query: Vec<(String, String)>,
    /// Request headers.
    pub headers: HeaderMap,
    /// The token that phoenix.js 1.8 sends beside the query, decoded.
    pub auth_token: Option<String>,
}

impl ConnectInfo {
    /// A parameter by name; the path goes before the query, and the last of several wins.
    pub fn param(&self, name: &str) -> Option<&str> {
        let last = |params: &'_ [(String, String)]| params.iter().rposition(|(key, _)| key == name);
        last(&self.path_params)
            .map(|at| self.path_params[at].1.as_str())
            .or_else(|| last(&self.query).map(|at| self.query[at].1.as_str()))
    }

    /// All values of a query parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of_name = move |(key, value): &'a (String, String)| (key == name).then_some(&**value);
        self.query.iter().filter_map(of_name)
    }

    /// Path variables and query parameters as one map, as `connect` sees them in Phoenix.
    pub fn params(&self) -> BTreeMap<&str, &str> {
        let all = self.query.iter().chain(&self.path_params);
        all.map(|(name, value)| (&**name, &**value)).collect()
    }
}

impl fmt::Debug for ConnectInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectInfo")
            .field("transport", &self.transport)
            .field("vsn", &self.vsn)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Decides who may connect, and what is known about them from then on.
pub trait SocketHandler: Send + Sync + 'static {
    /// What connecting establishes; every channel of the socket reads it.
    type Assigns: Send + Sync + 'static;

    /// Accepts or refuses a connection. A panic answers HTTP 500.
    fn connect(
        &self,
        info: ConnectInfo,
    ) -> impl Future<Output = Result<Connected<Self::Assigns>, ConnectRefusal>> + Send;

    /// When what was established ends. The socket is then closed with 4001, unless it was renewed.
    fn expires_at(&self, assigns: &Self::Assigns) -> Option<Timestamp> {
        let _ = assigns;
        None
    }

    /// The last place that the client may be shown of the log of a topic, where a note on it says
    /// that they are no longer to follow it. It is asked as the note arrives, however busy the
    /// channel is, which is given the note as well.
    fn log_ends_at(&self, assigns: &Self::Assigns, note: &Note) -> Option<Seq> {
        let _ = (assigns, note);
        None
    }

    /// The client sends a fresh token over the socket (event `access_token`). Answers what holds
    /// from now on. Must refuse a token of somebody else.
    fn reauthenticate(
        &self,
        assigns: &Self::Assigns,
        token: String,
    ) -> impl Future<Output = Result<Self::Assigns, JoinError>> + Send {
        let _ = (assigns, token);
        std::future::ready(Err(JoinError::reason("not_supported")))
    }
}

/// An accepted connection.
#[derive(Debug)]
pub struct Connected<A> {
    /// What is known about the client.
    pub assigns: A,
    /// Names under which [`Fanout::disconnect`](quikapp_actors::fanout::Fanout::disconnect) finds
    /// the socket. The first is what Phoenix calls the socket's id.
    pub socket_ids: Vec<String>,
}

impl<A> Connected<A> {
    /// A socket without an id.
    pub fn new(assigns: A) -> Self {
        Self {
            assigns,
            socket_ids: Vec::new(),
        }
    }

    /// Gives the socket an id, or one more.
    #[must_use]
    pub fn socket_id(mut self, id: impl Into<String>) -> Self {
        self.socket_ids.push(id.into());
        self
    }
}

/// A connection that is refused: the HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRefusal {
    /// 403 unless said otherwise. Long-poll answers 403 in any case.
    pub status: u16,
    /// Why, for logs and for an endpoint that maps reasons to answers.
    pub reason: Cow<'static, str>,
    /// The response body. Phoenix sends none.
    pub body: Bytes,
    /// A `Retry-After` header, in seconds.
    pub retry_after_s: Option<u32>,
}

impl ConnectRefusal {
    /// 403 with an empty body.
    pub fn forbidden(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: 403,
            reason: reason.into(),
            body: Bytes::new(),
            retry_after_s: None,
        }
    }

    /// Answers with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Answers with a body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn with_retry_after_s(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

//! The long-poll transport: sockets for clients behind proxies that break WebSockets
//! (protocol.md items 26 to 29).
//!
//! A session is a task around the same [`Session`] that a WebSocket has. GETs take what waits in
//! its mailbox, POSTs bring messages; a signed token ties them together. What is meant stands in
//! the body's `status`, as phoenix.js expects: 200 messages, 204 none, 410 a session began (GET)
//! or ended (POST), 403 refused, 408 not taken in time, 500 start over.

mod answer;
mod batch;
mod body;
mod elsewhere;
mod mailbox;
mod sessions;
mod task;
mod token;

use std::future::pending;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCESS_CONTROL_REQUEST_HEADERS, CONTENT_TYPE},
};

use crate::{
    endpoint::{
        Admission, LongPollConfig,
        answer::{phoenix_error, plain},
        connection::Connection,
        mounts::SocketRequest,
        negotiate::{self, Asked, NotConnected},
        query, subprotocol,
    },
    errors::Reason,
    socket::{LongPollOptions, Mount, Transport},
};
use body::BodyError;
pub use elsewhere::Nodes;
use elsewhere::{Owner, Passed, Terms};
use mailbox::Polled;
use quikapp_actors::fanout::NodeId;
use sessions::{Delivered, Found, Member, Sessions};
pub(crate) use token::TokenKey;

/// Where clients of Phoenix 1.9 put the session's token; earlier ones use the query.
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-phoenix-longpoll-token");
const TOKEN_PARAM: &str = "token";

/// What a byte of a frame takes at most in the JSON of an answer (`\u0000`).
const ESCAPED: usize = 6;
/// Room for the frame that made a mailbox full, which may be larger than `max_queued` itself.
const MAX_FRAME: usize = 16 << 20;

/// Long-poll on one mount.
#[derive(Debug)]
pub(crate) struct LongPoll {
    mount: Mount,
    options: LongPollOptions,
    config: LongPollConfig,
    sessions: Sessions,
    nodes: Option<Nodes>,
}

/// Who has the session of a request.
#[derive(Debug)]
enum Sought {
    Here(Member),
    Elsewhere(Owner),
    Nowhere,
    /// Another node thought that it was here.
    InVain,
}

/// The query parameters of a request.
type Params = Vec<(String, String)>;

impl LongPoll {
    pub(crate) fn new(
        mount: Mount,
        options: LongPollOptions,
        config: LongPollConfig,
        nodes: Option<Nodes>,
        admission: Admission,
    ) -> Self {
        let key = nodes
            .as_ref()
            .map_or_else(TokenKey::random, Nodes::token_key);
        let node = nodes.as_ref().map_or(NodeId(0), Nodes::node);
        Self {
            mount,
            options,
            config,
            sessions: Sessions::new(node, key, admission),
            nodes,
        }
    }

    /// Answers a request on the mount's long-poll path.
    pub(crate) async fn answer(
        &self,
        connection: &Connection,
        request: &SocketRequest,
        body: Body,
    ) -> Response {
        let mut response = self.respond(connection, request, body).await;
        if elsewhere::is_passed_on(&request.parts.headers) {
            elsewhere::mark(&mut response);
        }
        response
    }

    async fn respond(
        &self,
        connection: &Connection,
        request: &SocketRequest,
        body: Body,
    ) -> Response {
        let (parts, origins) = (&request.parts, &self.options.origins);
        let Ok(params) = negotiate::params(parts) else {
            return phoenix_error(StatusCode::BAD_REQUEST);
        };
        let origins = origins.as_ref().unwrap_or(&self.mount.options().origins);
        if !negotiate::origin_allowed(origins, connection, &parts.headers) {
            return answer::status(403);
        }
        match parts.method {
            Method::OPTIONS => answer::preflight(parts.headers.get(ACCESS_CONTROL_REQUEST_HEADERS)),
            Method::GET => self.get(connection, request, params).await,
            Method::POST => self.post(request, &params, body).await,
            _ => answer::with_any_origin(plain(StatusCode::BAD_REQUEST, Body::empty())),
        }
    }

    async fn get(
        &self,
        connection: &Connection,
        request: &SocketRequest,
        params: Params,
    ) -> Response {
        match self.seek(request, &params) {
            Sought::Here(member) => self.poll(connection, &member).await,
            Sought::Elsewhere(owner) => {
                self.poll_elsewhere(&owner, connection, request, params)
                    .await
            }
            Sought::Nowhere => self.begin(connection, request, params).await,
            Sought::InVain => answer::not_here(),
        }
    }

    async fn poll(&self, connection: &Connection, member: &Member) -> Response {
        let polled = member.mailbox.poll(self.options.window, &connection.stop);
        match polled.await {
            Polled::Messages(frames) => answer::messages(&frames, &member.token),
            Polled::Nothing => answer::no_messages(204, &member.token),
            Polled::CutOff => answer::refused(StatusCode::OK, 500, Reason::SlowConsumer),
        }
    }

    /// Should it not get there, the client starts over, as with a session that is gone: what it has
    /// missed it gets by its joins. So it does when this node stops, which cannot know what the
    /// owner has just taken out of the mailbox.
    async fn poll_elsewhere(
        &self,
        owner: &Owner,
        connection: &Connection,
        request: &SocketRequest,
        params: Params,
    ) -> Response {
        let stop = connection.stop.cancelled();
        match self.pass_on(owner, request, Bytes::new(), stop).await {
            Passed::Answer(status, body) => answer::passed_back(status, body),
            Passed::Busy => answer::unavailable(Reason::Overloaded),
            Passed::Gone | Passed::TimedOut => self.begin(connection, request, params).await,
            Passed::Stopped => answer::refused(StatusCode::OK, 500, Reason::Restarting),
        }
    }

    /// A session begins with an empty answer that carries its token.
    async fn begin(
        &self,
        connection: &Connection,
        request: &SocketRequest,
        params: Params,
    ) -> Response {
        let permit = match self.sessions.admit(request.client.ip) {
            Ok(permit) => permit,
            Err(full) => return answer::unavailable(full.reason()),
        };
        let asked = Asked {
            query: params,
            headers: request.parts.headers.clone(),
            transport: Transport::LongPoll,
            auth_token: self.auth_token(&request.parts.headers),
        };
        match negotiate::connect(&self.mount, connection, request, asked).await {
            Ok(session) => {
                let limits = task::Limits {
                    patience: self.options.window + self.options.window / 2,
                    max_queued: self.max_queued(),
                };
                let token = self.sessions.start(session, permit, limits);
                answer::no_messages(410, &token)
            }
            Err(NotConnected::Version | NotConnected::Refused(_)) => answer::status(403),
            Err(NotConnected::Crashed) => phoenix_error(StatusCode::INTERNAL_SERVER_ERROR),
            Err(NotConnected::Unavailable(reason)) => answer::unavailable(reason),
        }
    }

    async fn post(&self, request: &SocketRequest, params: &Params, body: Body) -> Response {
        let headers = &request.parts.headers;
        let member = match self.seek(request, params) {
            Sought::Here(member) => member,
            Sought::Elsewhere(owner) => return self.post_elsewhere(&owner, request, body).await,
            Sought::Nowhere => return answer::status(410),
            Sought::InVain => return answer::not_here(),
        };
        let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let body = match self.read(body).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let max_message = self.mount.options().max_message_size;
        let messages = match batch::parse(member.vsn, content_type, body, max_message) {
            Ok(messages) => messages,
            Err(bad) => return answer::bad_batch(&bad),
        };
        match member.deliver(messages, self.options.window).await {
            Delivered::Taken => answer::status(200),
            Delivered::TooSlow => answer::status(408),
            Delivered::Gone => answer::status(410),
        }
    }

    async fn post_elsewhere(&self, owner: &Owner, request: &SocketRequest, body: Body) -> Response {
        let body = match self.read(body).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        // Even a node that stops waits: the client must know whether its messages were taken.
        match self.pass_on(owner, request, body, pending()).await {
            Passed::Answer(status, body) => answer::passed_back(status, body),
            Passed::Gone => answer::status(410),
            Passed::TimedOut | Passed::Stopped => answer::status(408),
            Passed::Busy => answer::unavailable(Reason::Overloaded),
        }
    }

    async fn read(&self, body: Body) -> Result<Bytes, Response> {
        let read = body::read(body, self.max_body()).await;
        read.map_err(|error| match error {
            BodyError::TooLarge => phoenix_error(StatusCode::BAD_REQUEST),
            BodyError::Broken => answer::status(408),
        })
    }

    /// What was passed on is answered here or not at all, so that nothing goes in circles.
    fn seek(&self, request: &SocketRequest, params: &Params) -> Sought {
        let headers = &request.parts.headers;
        let token = session_token(headers, params);
        let found = token.map_or(Found::Nowhere, |token| self.sessions.find(token));
        match (found, token) {
            (Found::Here(member), _) => Sought::Here(member),
            _ if elsewhere::is_passed_on(headers) => Sought::InVain,
            (Found::There(node), Some(token)) if self.nodes.is_some() => Sought::Elsewhere(Owner {
                node,
                token: token.to_owned(),
            }),
            _ => Sought::Nowhere,
        }
    }

    /// Passes a request on unless `stop` comes first, and counts what came of it.
    async fn pass_on(
        &self,
        owner: &Owner,
        request: &SocketRequest,
        body: Bytes,
        stop: impl Future<Output = ()>,
    ) -> Passed {
        let Some(nodes) = &self.nodes else {
            return Passed::Gone;
        };
        let terms = Terms {
            window: self.options.window,
            max_answer: ESCAPED
                .saturating_mul(self.max_queued())
                .saturating_add(MAX_FRAME),
        };
        let passed = tokio::select! {
            biased;
            passed = nodes.pass_on(owner, &request.parts, body, terms) => passed,
            () = stop => Passed::Stopped,
        };
        let outcome = passed.outcome();
        metrics::counter!("quikapp_longpoll_passed_on_total", "outcome" => outcome).increment(1);
        passed
    }

    fn auth_token(&self, headers: &HeaderMap) -> Option<String> {
        let accepted = self.mount.options().auth_token;
        accepted
            .then(|| subprotocol::long_poll_token(headers))
            .flatten()
    }

    fn max_body(&self) -> usize {
        usize::try_from(self.config.max_body.as_u64()).unwrap_or(usize::MAX)
    }

    fn max_queued(&self) -> usize {
        usize::try_from(self.config.max_queued.as_u64()).unwrap_or(usize::MAX)
    }
}

/// The token of the session that a request belongs to, if it names one.
fn session_token<'r>(headers: &'r HeaderMap, params: &'r Params) -> Option<&'r str> {
    let in_header = headers.get(TOKEN_HEADER).and_then(|v| v.to_str().ok());
    in_header.or_else(|| query::last(params, TOKEN_PARAM))
}

#[cfg(test)]
mod tests;

//! What handlers answer.

use std::borrow::Cow;

use quikapp_protocol::{Payload, Status};
use serde::Serialize;
use serde_json::json;

/// What a handler wants to happen next.
#[derive(Debug)]
pub enum Flow {
    /// Nothing more.
    NoReply,
    /// Answer the event.
    Reply(Reply),
    /// End the channel, after a last reply if there is one.
    Stop(StopReason, Option<Reply>),
}

impl Flow {
    /// Answers ok.
    pub fn ok(response: impl Into<Payload>) -> Self {
        Self::Reply(Reply::ok(response))
    }

    /// Answers ok with an empty object.
    pub fn empty_ok() -> Self {
        Self::ok(Payload::empty_object())
    }

    /// Answers error.
    pub fn error(response: impl Into<Payload>) -> Self {
        Self::Reply(Reply::error(response))
    }

    /// Answers error with `{reason}`.
    pub fn refuse(reason: &str) -> Self {
        Self::error(json!({ "reason": reason }))
    }

    /// Ends the channel without a reply.
    pub fn stop(reason: StopReason) -> Self {
        Self::Stop(reason, None)
    }

    /// Ends the channel the way a crash does: the client is told `phx_error` and will rejoin.
    pub fn crash(why: impl Into<Cow<'static, str>>) -> Self {
        Self::stop(StopReason::Error(why.into()))
    }
}

/// `Err` answers error with the refusal's map.
impl<T: Into<Payload>> From<Result<T, JoinError>> for Flow {
    fn from(result: Result<T, JoinError>) -> Self {
        match result {
            Ok(response) => Self::ok(response),
            Err(error) => Self::error(error.response),
        }
    }
}

/// An answer to one event.
#[derive(Debug, Clone)]
pub struct Reply {
    /// `ok`, `error`, or anything else.
    pub status: Status,
    /// JSON of any shape, or bytes (to V2 clients).
    pub response: Payload,
}

impl Reply {
    /// With status ok.
    pub fn ok(response: impl Into<Payload>) -> Self {
        Self {
            status: Status::Ok,
            response: response.into(),
        }
    }

    /// With status error.
    pub fn error(response: impl Into<Payload>) -> Self {
        Self {
            status: Status::Error,
            response: response.into(),
        }
    }
}

/// Why a channel ends itself. The client sees `phx_close`, or `phx_error` for an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// Its work is done.
    Normal,
    /// Something it depends on goes away in good order.
    Shutdown,
    /// It cannot go on; for the log.
    Error(Cow<'static, str>),
}

/// Why a channel ends, as its `terminate` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Terminate {
    /// The client left.
    Left,
    /// The client joined the topic anew on the same socket.
    Rejoined,
    /// The socket closed, whichever side did it and however.
    SocketClosed,
    /// It stopped itself.
    Stopped(StopReason),
}

/// A join that is not granted: the response of the error reply.
#[derive(Debug, Clone)]
pub struct JoinError {
    /// Usually `{reason}`; any JSON, or bytes (to V2 clients).
    pub response: Payload,
}

impl JoinError {
    /// `{reason}`
    pub fn reason(reason: &str) -> Self {
        Self::with(json!({ "reason": reason }))
    }

    /// Any response.
    pub fn with(response: impl Into<Payload>) -> Self {
        Self {
            response: response.into(),
        }
    }
}

impl From<crate::errors::Refusal> for JoinError {
    fn from(refusal: crate::errors::Refusal) -> Self {
        Self::with(json(&refusal))
    }
}

/// The payload that a value serializes to.
///
/// # Panics
///
/// When the value has no form in JSON (a map whose keys are not strings). Within a handler that
/// ends the topic like any other panic.
pub fn json<T: Serialize + ?Sized>(value: &T) -> Payload {
    Payload::from_serialize(value).expect("payload types have a form in JSON")
}

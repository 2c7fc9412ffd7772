//! Broadcast rooms, and what is part of every topic.

use super::{Topic, Type, people::shown};
use crate::{channels::broadcast::BroadcastParams, errors::Reason};

pub(super) fn any() -> Topic {
    Topic::new(
        "any joined topic",
        "Answered by the socket itself, and never broadcast.",
    )
    .takes(
        "access_token",
        Type::written("{ access_token: string }"),
        Type::nothing(),
        &[
            Reason::Unauthorized,
            Reason::TokenExpired,
            Reason::TokenRevoked,
            Reason::Forbidden,
        ],
        "A fresh token of the same person, before the socket is closed with 4001.",
    )
}

pub(super) fn broadcast() -> Topic {
    let topic = Topic::new(
        "broadcast:<name>",
        "An ephemeral room: any event goes to everyone in it under its own name, with its payload \
         (JSON or bytes), and nothing is kept. Names that begin with `phx_` or `presence_` and the \
         names `access_token`, `heartbeat` and `disconnect` are refused. Who may join and send is \
         decided by the token's `rooms` claim.",
    )
    .join(
        Type::of::<BroadcastParams>(),
        Type::nothing(),
        &[Reason::RoomForbidden],
    )
    .takes(
        "<any>",
        Type::written("unknown"),
        Type::nothing(),
        &[Reason::ReservedEvent, Reason::RoomForbidden],
        "Broadcast as it is. Answered unless the join said `ack: false`.",
    )
    .sends("<any>", Type::written("unknown"), "What somebody sent.");
    shown(topic)
}

pub(super) fn calls() -> Topic {
    Topic::new(
        "webrtc:<call_id>",
        "Calls and huddles, which this server does not offer: every join is refused.",
    )
    .also(&["call:<call_id>", "huddle:<huddle_id>"])
    .join(
        Type::written("unknown"),
        Type::written("never"),
        &[Reason::NotSupported],
    )
}

//! Every reason a client can be given.

use http::StatusCode;
use serde::{Serialize, Serializer};

macro_rules! reasons {
    ($($variant:ident => $text:literal, $status:ident, $retry:literal, $meaning:literal;)*) => {
        /// Why something was refused. The text is stable: clients may branch on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)*
        }

        impl Reason {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The text on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The status over REST, and of a refused connect.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// Whether the same request may succeed later, unchanged.
            pub fn retryable(self) -> bool {
                match self { $(Self::$variant => $retry,)* }
            }

            /// One sentence for the reference.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

reasons! {
    Unauthorized => "unauthorized", UNAUTHORIZED, false,
        "No token was sent, or it does not verify.";
    TokenExpired => "token_expired", UNAUTHORIZED, false,
        "The token has ended; connect with a fresh one.";
    TokenRevoked => "token_revoked", UNAUTHORIZED, false,
        "The token or the person was revoked.";
    TicketInvalid => "ticket_invalid", UNAUTHORIZED, false,
        "The ticket is unknown, was used before, or is older than 60 seconds.";
    Forbidden => "forbidden", FORBIDDEN, false,
        "The role does not allow this.";
    NotAParticipant => "not_a_participant", FORBIDDEN, false,
        "Only members of the conversation may do this.";
    Blocked => "blocked", FORBIDDEN, false,
        "There is a block between the two people.";
    RoomForbidden => "room_forbidden", FORBIDDEN, false,
        "The token's rooms claim does not open this broadcast room for this use.";
    RequestRefused => "request_refused", FORBIDDEN, false,
        "Development mode answers only direct requests to a loopback host.";
    OriginRefused => "origin_refused", FORBIDDEN, false,
        "The Origin is not on the allow-list.";
    ConversationNotFound => "conversation_not_found", NOT_FOUND, false,
        "There is no such conversation in the token's workspace.";
    MessageNotFound => "message_not_found", NOT_FOUND, false,
        "There is no such message in the conversation.";
    UserNotFound => "user_not_found", NOT_FOUND, false,
        "There is no such person, or none that may be seen.";
    DeviceNotFound => "device_not_found", NOT_FOUND, false,
        "One has registered no such device.";
    NotFound => "not_found", NOT_FOUND, false,
        "There is nothing under this path or id.";
    MethodNotAllowed => "method_not_allowed", METHOD_NOT_ALLOWED, false,
        "The path exists, but not for this HTTP method.";
    IdempotencyConflict => "idempotency_conflict", CONFLICT, false,
        "The client_id was used before for another content.";
    VersionMismatch => "version_mismatch", PRECONDITION_FAILED, false,
        "It was changed since the version that If-Match names; read it, then decide again.";
    MaxDevicesReached => "max_devices_reached", CONFLICT, false,
        "One has registered as many devices as one may, and none may be replaced.";
    InvalidBody => "invalid_body", BAD_REQUEST, false,
        "The request body is not the JSON that the route takes.";
    InvalidField => "invalid_field", UNPROCESSABLE_ENTITY, false,
        "The named field is missing, has the wrong type, or is out of range.";
    UnknownEvent => "unknown_event", UNPROCESSABLE_ENTITY, false,
        "The topic has no such event.";
    ReservedEvent => "reserved_event", UNPROCESSABLE_ENTITY, false,
        "The event name belongs to the protocol and cannot be broadcast.";
    NotSupported => "not_supported", NOT_IMPLEMENTED, false,
        "The protocol knows this, but the server does not offer it.";
    PayloadTooLarge => "payload_too_large", PAYLOAD_TOO_LARGE, false,
        "The body is larger than the limit.";
    UnsupportedMediaType => "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, false,
        "The body must be sent as application/json.";
    RateLimited => "rate_limited", TOO_MANY_REQUESTS, true,
        "Too many requests; retry_after_ms says when the next one is welcome.";
    TooManySockets => "too_many_sockets", TOO_MANY_REQUESTS, true,
        "The person has as many sockets as are allowed.";
    UnmatchedTopic => "unmatched topic", NOT_FOUND, false,
        "No channel serves this topic, or the socket has not joined it.";
    TooManyChannels => "too many channels joined", TOO_MANY_REQUESTS, true,
        "The socket has joined as many topics as are allowed; leave one first.";
    JoinCrashed => "join crashed", INTERNAL_SERVER_ERROR, true,
        "The server failed while joining; the topic is not joined.";
    ChannelCrash => "channel_crash", INTERNAL_SERVER_ERROR, true,
        "The server failed while handling an event; rejoin the topic.";
    Overloaded => "overloaded", SERVICE_UNAVAILABLE, true,
        "Too much is queued; nothing was done.";
    Moved => "moved", SERVICE_UNAVAILABLE, true,
        "The conversation is moving to another process; nothing was done.";
    Unavailable => "unavailable", SERVICE_UNAVAILABLE, true,
        "The store takes no requests now; nothing was done.";
    TooManyConnections => "too_many_connections", SERVICE_UNAVAILABLE, true,
        "The server holds as many connections as it may.";
    TooManyConnectionsFromAddress => "too_many_connections_from_address", SERVICE_UNAVAILABLE, true,
        "The client's address holds as many connections as it may.";
    Restarting => "restarting", SERVICE_UNAVAILABLE, true,
        "The server is stopping and takes no new sockets.";
    Timeout => "timeout", SERVICE_UNAVAILABLE, true,
        "The server did not answer in time; it may or may not have been done.";
    SlowConsumer => "slow_consumer", SERVICE_UNAVAILABLE, true,
        "The client did not fetch what it was owed; connect again.";
    TooManyLines => "too_many_lines", BAD_REQUEST, false,
        "A long-poll batch has more than 100 lines; nothing of it was taken.";
    Undecodable => "undecodable", BAD_REQUEST, false,
        "A message is not of the protocol; nothing of its batch was taken.";
    OutcomeUnknown => "outcome_unknown", SERVICE_UNAVAILABLE, true,
        "It may or may not have been done; send it again with the same client_id.";
    Internal => "internal", INTERNAL_SERVER_ERROR, true,
        "The server failed; the log has the details.";
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

//! Where a channel's messages go.

use std::sync::Arc;

use quikapp_actors::fanout::{Delivery, Note, SlotKey};
use quikapp_protocol::{EncodeError, Encoded, Payload, Push, Ref, Topic, Vsn};

use super::Reply;
use crate::socket::Link;

/// One membership of one topic on one connection, as seen from the wire.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) link: Arc<Link>,
    pub(crate) topic: Topic,
    /// The join's `join_ref`, or its `ref` where the client sent none.
    pub(crate) join_ref: Ref,
    pub(crate) slot: SlotKey,
}

/// Why something a handler pushed cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    /// V2 clients expect an object; Phoenix raises here, too.
    #[error("a push carries a JSON object or bytes")]
    NotAnObject,
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Address {
    pub(crate) fn topic(&self) -> &str {
        self.topic.as_str().unwrap_or_default()
    }

    pub(crate) fn encode_push(&self, event: &str, payload: &Payload) -> Result<Encoded, PushError> {
        let is_object = |json: &quikapp_protocol::Json| json.as_bytes().starts_with(b"{");
        if self.link.vsn == Vsn::V2 && !payload.as_json().is_none_or(is_object) {
            return Err(PushError::NotAnObject);
        }
        Ok(self.encode(&Ref::null(), event, payload)?)
    }

    pub(crate) fn encode_reply(
        &self,
        msg_ref: &Ref,
        reply: &Reply,
    ) -> Result<Encoded, EncodeError> {
        let reply = quikapp_protocol::Reply {
            join_ref: &self.join_ref,
            msg_ref,
            topic: &self.topic,
            status: &reply.status,
            response: &reply.response,
        };
        reply.encode(self.link.vsn)
    }

    /// `phx_close` or `phx_error`.
    pub(crate) fn encode_end(
        &self,
        event: &str,
        payload: &Payload,
    ) -> Result<Encoded, EncodeError> {
        self.encode(&self.join_ref, event, payload)
    }

    fn encode(
        &self,
        msg_ref: &Ref,
        event: &str,
        payload: &Payload,
    ) -> Result<Encoded, EncodeError> {
        let push = Push {
            join_ref: &self.join_ref,
            msg_ref,
            topic: &self.topic,
            event,
            payload,
        };
        push.encode(self.link.vsn)
    }

    pub(crate) fn send(&self, frame: Encoded) {
        self.link.outbox.push(Delivery::Frame(frame));
    }

    pub(crate) fn note(&self, note: Note) {
        let slot = self.slot;
        self.link.outbox.push(Delivery::Note { slot, note });
    }
}

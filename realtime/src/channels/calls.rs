//! `webrtc:*`, `call:*` and `huddle:*`: topics of calls, which this server does not offer.
//!
//! Clients that know calls are told so by name. Without a channel they would hear `unmatched
//! topic`, as if they had mistyped.

use quikapp_protocol::Payload;

use crate::{
    auth::Principal,
    channel::{Channel, Context, Flow, JoinError, json},
    errors::{Reason, Refusal},
};

/// Refuses every join with `not_supported`.
pub(super) struct CallsChannel;

fn refusal() -> Refusal {
    Refusal::new(Reason::NotSupported).detail("calls and huddles are not offered here")
}

impl Channel for CallsChannel {
    type Assigns = Principal;
    type State = ();

    async fn join(
        &self,
        _cx: &mut Context<Principal>,
        _params: Payload,
    ) -> Result<((), Payload), JoinError> {
        Err(refusal().into())
    }

    /// Nobody is ever joined.
    async fn handle_in(
        &self,
        (): &mut (),
        _cx: &mut Context<Principal>,
        _event: &str,
        _payload: Payload,
    ) -> Flow {
        Flow::error(json(&refusal()))
    }
}

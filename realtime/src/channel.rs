//! Channels, for those who know Phoenix: a [`Channel`] answers what happens on the topics that a
//! [`Router`] sends to it.
//!
//! A channel's code is one shared value; what differs from client to client is its `State`, plain
//! data that lives in the task of the connection. Events of one topic are handled one after the
//! other, in the order they came; a slow or panicking handler concerns its own topic only. What a
//! handler pushes, broadcasts and replies reaches the wire in that order.
//!
#![doc = include_str!("../../docs/channels.md")]

mod address;
mod context;
mod erased;
mod flow;
mod router;

use std::{future::Future, ops::Range, sync::Arc};

use quikapp_actors::fanout::{Broadcast, Note};
use quikapp_protocol::Payload;
use quikapp_storage::Seq;
use serde::{Serialize, de::DeserializeOwned};

pub use context::{Context, NoteSender, ReplyTo};
pub use flow::{Flow, JoinError, Reply, StopReason, Terminate, json};
pub use router::Router;

pub(crate) use address::Address;
pub(crate) use erased::{Effects, Follow, Handled, Input, Instance, Joined};

/// What happens on a family of topics. Handlers are `async fn`s.
pub trait Channel: Send + Sync + Sized + 'static {
    /// What the socket's `connect` established about the client.
    type Assigns: Send + Sync + 'static;
    /// What one client's membership of one topic remembers: plain data without pointers into the
    /// process, so that it can be handed to another.
    type State: Serialize + DeserializeOwned + Send + 'static;

    /// A client asks to join. The reply to an accepted join goes out before anything that is
    /// pushed or broadcast meanwhile. An error leaves no trace.
    fn join(
        &self,
        cx: &mut Context<Self::Assigns>,
        params: Payload,
    ) -> impl Future<Output = Result<(Self::State, Payload), JoinError>> + Send;

    /// An event from the client.
    fn handle_in(
        &self,
        state: &mut Self::State,
        cx: &mut Context<Self::Assigns>,
        event: &str,
        payload: Payload,
    ) -> impl Future<Output = Flow> + Send;

    /// A note from elsewhere in the process, or from the channel itself. A reply makes no sense
    /// here and is ignored.
    fn handle_info(
        &self,
        state: &mut Self::State,
        cx: &mut Context<Self::Assigns>,
        note: Note,
    ) -> impl Future<Output = Flow> + Send {
        let _ = (state, cx, note);
        std::future::ready(Flow::NoReply)
    }

    /// Events of the channel's own topic that pass through [`handle_out`](Self::handle_out)
    /// instead of going straight to the client.
    fn intercepts(&self) -> &'static [&'static str] {
        &[]
    }

    /// An intercepted broadcast, or one from a topic subscribed to with
    /// [`Lane::Intercept`](quikapp_actors::fanout::Lane). Push it, changed or not, or drop it.
    fn handle_out(
        &self,
        state: &mut Self::State,
        cx: &mut Context<Self::Assigns>,
        broadcast: Arc<Broadcast>,
    ) -> impl Future<Output = Flow> + Send {
        let _ = state;
        cx.push(broadcast.event(), broadcast.payload().clone());
        std::future::ready(Flow::NoReply)
    }

    /// The channel follows its topic's log ([`Context::live_from`]) and these entries did not
    /// arrive. Returns them, or as many of the first of them as fit one read. Nothing at all ends
    /// the channel with an error, so that the client joins again and catches up.
    fn fill_gap(
        &self,
        state: &mut Self::State,
        cx: &mut Context<Self::Assigns>,
        missing: Range<Seq>,
    ) -> impl Future<Output = Vec<Arc<Broadcast>>> + Send {
        let _ = (state, cx, missing);
        std::future::ready(Vec::new())
    }

    /// The channel ends, and not by a panic. What must happen in every case belongs into a guard
    /// ([`Context::attach`]). Cut off after five seconds.
    fn terminate(
        &self,
        state: &mut Self::State,
        cx: &mut Context<Self::Assigns>,
        reason: &Terminate,
    ) -> impl Future<Output = ()> + Send {
        let _ = (state, cx, reason);
        std::future::ready(())
    }
}

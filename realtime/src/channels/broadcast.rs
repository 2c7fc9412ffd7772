//! `broadcast:<name>`: ephemeral rooms for applications. Any event goes to everyone in the room
//! under its own name, and nothing is kept.

use std::sync::Arc;

use quikapp_actors::fanout::{Broadcast, Lane, Note};
use quikapp_protocol::Payload;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::{
    Backend, payload,
    room::{Mode, Room, here},
};
use crate::{
    auth::{Principal, RoomAccess},
    channel::{Channel, Context, Flow, JoinError, json},
    errors::{Reason, Refusal},
    policy::Action,
    rooms::{is_reserved, room_topic},
};

/// How a client wants to use a room.
#[derive(Debug, Clone, Copy, Deserialize, TS)]
#[serde(default)]
pub(crate) struct BroadcastParams {
    /// Hear one's own events.
    #[serde(rename = "self")]
    #[ts(optional, as = "Option<bool>")]
    pub own: bool,
    /// Answer each event with ok.
    #[ts(optional, as = "Option<bool>")]
    pub ack: bool,
    /// See who is in the room, and be seen.
    #[ts(optional, as = "Option<bool>")]
    pub presence: bool,
    /// How the room is shown, with `presence`.
    #[ts(optional, as = "Option<Mode>")]
    pub mode: Mode,
}

impl Default for BroadcastParams {
    fn default() -> Self {
        Self {
            own: true,
            ack: true,
            presence: false,
            mode: Mode::List,
        }
    }
}

/// What one membership remembers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// The topic that the room's events travel on.
    room: Arc<str>,
    own: bool,
    ack: bool,
    shown: Option<Room>,
}

/// Rooms that keep nothing.
pub(super) struct BroadcastChannel {
    backend: Backend,
}

impl BroadcastChannel {
    pub(super) fn new(backend: Backend) -> Self {
        Self { backend }
    }

    async fn enter(&self, cx: &mut Context<Principal>, params: &Payload) -> Result<State, Refusal> {
        let params: BroadcastParams = payload::read(params)?;
        self.check(cx, RoomAccess::Read).await?;
        let room = room_topic(cx.assigns().workspace(), cx.topic());
        let shown = if params.presence {
            let shown = Room::new(here(&room), here(&room), params.mode);
            let device = cx.assigns().device.clone();
            Some(Room::enter(&self.backend, cx, shown, device).await?)
        } else {
            None
        };
        cx.subscribe(&room, Lane::Forward);
        Ok(State {
            room: room.into(),
            own: params.own,
            ack: params.ack,
            shown,
        })
    }

    async fn say(
        &self,
        state: &State,
        cx: &Context<Principal>,
        event: &str,
        payload: Payload,
    ) -> Result<(), Refusal> {
        if is_reserved(event) {
            return Err(Reason::ReservedEvent.into());
        }
        self.check(cx, RoomAccess::Write).await?;
        let said = Broadcast::new(Arc::clone(&state.room), event, payload).with_alias(cx.topic());
        let fanout = cx.fanout();
        match state.own {
            true => fanout.publish(said),
            false => fanout.publish_from(cx.connection(), cx.slot(), said),
        };
        Ok(())
    }

    async fn check(&self, cx: &Context<Principal>, access: RoomAccess) -> Result<(), Refusal> {
        let topic = cx.topic();
        let action = Action::Room { topic, access };
        self.backend.policy.check(&cx.assigns(), action).await
    }
}

impl Channel for BroadcastChannel {
    type Assigns = Principal;
    type State = State;

    async fn join(
        &self,
        cx: &mut Context<Principal>,
        params: Payload,
    ) -> Result<(State, Payload), JoinError> {
        Ok((self.enter(cx, &params).await?, Payload::empty_object()))
    }

    async fn handle_in(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        event: &str,
        payload: Payload,
    ) -> Flow {
        match self.say(state, cx, event, payload).await {
            Ok(()) if state.ack => Flow::empty_ok(),
            Ok(()) => Flow::NoReply,
            Err(refusal) => Flow::error(json(&refusal)),
        }
    }

    async fn handle_info(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        note: Note,
    ) -> Flow {
        match &mut state.shown {
            Some(room) => room.on_note(&self.backend, cx, &note).await,
            None => Flow::NoReply,
        }
    }

    async fn handle_out(
        &self,
        _state: &mut State,
        cx: &mut Context<Principal>,
        broadcast: Arc<Broadcast>,
    ) -> Flow {
        Room::pass(&self.backend, cx, &broadcast).await;
        Flow::NoReply
    }
}

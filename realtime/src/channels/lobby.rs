//! `chat:lobby`: who comes to and goes from one's workspace.

use std::sync::Arc;

use quikapp_actors::{
    fanout::{Broadcast, Note},
    people::lobby_room,
};
use quikapp_protocol::Payload;

use super::{
    Backend, payload,
    room::{Room, RoomJoined, RoomParams, here},
};
use crate::{
    auth::Principal,
    channel::{Channel, Context, Flow, JoinError, json},
    errors::{Reason, Refusal},
    policy::Action,
};

/// The lobby of the token's workspace.
pub(super) struct LobbyChannel {
    backend: Backend,
}

impl LobbyChannel {
    pub(super) fn new(backend: Backend) -> Self {
        Self { backend }
    }

    async fn enter(
        &self,
        cx: &mut Context<Principal>,
        params: &Payload,
    ) -> Result<(Room, Payload), Refusal> {
        let params: RoomParams = payload::read(params)?;
        let principal = cx.assigns();
        self.backend.policy.check(&principal, Action::Lobby).await?;
        let events = lobby_room(principal.workspace());
        let here = here(&events);
        let room = Room::new(here.clone(), here, params.mode).with_events(events);
        let device = cx.assigns().device.clone();
        let room = Room::enter(&self.backend, cx, room, device).await?;
        let reply = json(&RoomJoined { mode: room.mode });
        Ok((room, reply))
    }
}

impl Channel for LobbyChannel {
    type Assigns = Principal;
    type State = Room;

    async fn join(
        &self,
        cx: &mut Context<Principal>,
        params: Payload,
    ) -> Result<(Room, Payload), JoinError> {
        Ok(self.enter(cx, &params).await?)
    }

    /// Nothing is said in the lobby.
    async fn handle_in(
        &self,
        _room: &mut Room,
        _cx: &mut Context<Principal>,
        _event: &str,
        _payload: Payload,
    ) -> Flow {
        Flow::error(json(&Refusal::from(Reason::UnknownEvent)))
    }

    async fn handle_info(&self, room: &mut Room, cx: &mut Context<Principal>, note: Note) -> Flow {
        room.on_note(&self.backend, cx, &note).await
    }

    async fn handle_out(
        &self,
        _room: &mut Room,
        cx: &mut Context<Principal>,
        broadcast: Arc<Broadcast>,
    ) -> Flow {
        Room::pass(&self.backend, cx, &broadcast).await;
        Flow::NoReply
    }
}

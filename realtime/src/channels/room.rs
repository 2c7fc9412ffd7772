//! Being seen in a room, and seeing who is there: what several topics have in common.

use std::{collections::BTreeMap, sync::Arc};

use quikapp_actors::{
    fanout::{Broadcast, Fanout, Lane, Note},
    people::Joined,
    presence::{Metas, Tracker, count_outlet},
};
use quikapp_protocol::Payload;
use quikapp_storage::{DeviceId, Person, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use super::Backend;
use crate::{
    auth::Principal,
    channel::{Context, Flow},
    errors::{Reason, Refusal},
    policy::Action,
};

/// Above this many connections a room is shown as counts, whatever was asked for: the list would
/// not fit a connection's queue.
const LARGEST_LIST: usize = 5_000;

/// How a room is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
#[ts(rename = "PresenceMode")]
pub(crate) enum Mode {
    /// `presence_state`, then `presence_diff`.
    #[default]
    List,
    /// `presence_count`, at once and then at most once per second.
    Count,
}

/// How a client wants a room to be shown.
#[derive(Debug, Clone, Copy, Default, Deserialize, TS)]
#[serde(default)]
pub(crate) struct RoomParams {
    /// As a list, or as counts.
    #[ts(optional, as = "Option<Mode>")]
    pub mode: Mode,
}

/// How it is shown.
#[derive(Debug, Clone, Copy, Serialize, TS)]
pub(crate) struct RoomJoined {
    /// `count` also where the room is too large for a list.
    pub mode: Mode,
}

/// The people whom a person sees, or is seen by, have changed.
struct BlocksChanged;

/// A room that a channel shows to its client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Room {
    /// The room's name in the presence registry.
    room: String,
    /// The fan-out topic of its changes.
    outlet: String,
    /// A fan-out topic of events that are heard in count mode, too.
    events: Option<String>,
    pub(super) mode: Mode,
    /// Somebody in the workspace is not to be seen by this client: frames are looked at one by
    /// one, and are not shared.
    is_filtered: bool,
}

impl Room {
    /// A room of the presence registry, and where its changes are published.
    pub(super) fn new(room: String, outlet: String, mode: Mode) -> Self {
        Self {
            room,
            outlet,
            events: None,
            mode,
            is_filtered: false,
        }
    }

    /// Hears the events of another topic, too, in either mode.
    pub(super) fn with_events(self, topic: String) -> Self {
        Self {
            events: Some(topic),
            ..self
        }
    }

    /// Shows the room to the client (behind the join's reply), and then the client to the room.
    pub(super) async fn enter(
        backend: &Backend,
        cx: &mut Context<Principal>,
        mut room: Self,
        device: Option<DeviceId>,
    ) -> Result<Self, Refusal> {
        let principal = cx.assigns();
        if backend.presence.counts(&room.room).metas > LARGEST_LIST {
            room.mode = Mode::Count;
        }
        room.is_filtered = !backend.policy.sees_everyone(&principal).await?;

        let joined = come_online(backend, cx, device).await?;
        room.subscribe(cx);
        room.show(backend, cx).await;
        let name: Arc<str> = room.room.as_str().into();
        joined.enter(&name).map_err(|_| Reason::Internal)?;
        cx.attach(joined);
        Ok(room)
    }

    /// Looks again whether everyone may be seen, if that is what the note says.
    pub(super) async fn on_note(
        &mut self,
        backend: &Backend,
        cx: &mut Context<Principal>,
        note: &Note,
    ) -> Flow {
        if note.get::<BlocksChanged>().is_none() {
            return Flow::NoReply;
        }
        match self.refresh(backend, cx).await {
            Ok(()) => Flow::NoReply,
            // The client joins again and is shown what it may see then.
            Err(refusal) => Flow::crash(refusal.to_string()),
        }
    }

    async fn refresh(
        &mut self,
        backend: &Backend,
        cx: &mut Context<Principal>,
    ) -> Result<(), Refusal> {
        self.is_filtered = !backend.policy.sees_everyone(&cx.assigns()).await?;
        cx.unsubscribe(&self.outlet);
        if let Some(events) = &self.events {
            cx.unsubscribe(events);
        }
        self.subscribe(cx);
        self.show(backend, cx).await;
        Ok(())
    }

    fn subscribe(&self, cx: &mut Context<Principal>) {
        let person = &cx.assigns().person;
        cx.subscribe(&blocks_topic(person), Lane::Intercept);
        let lane = match self.is_filtered {
            true => Lane::Intercept,
            false => Lane::Forward,
        };
        if let Some(events) = &self.events {
            cx.subscribe(events, lane);
        }
        match self.mode {
            Mode::Count => cx.subscribe(&count_outlet(&self.outlet), Lane::Forward),
            Mode::List => cx.subscribe(&self.outlet, lane),
        }
    }

    async fn show(&self, backend: &Backend, cx: &mut Context<Principal>) {
        match self.mode {
            Mode::Count => cx.push(
                "presence_count",
                backend.presence.counts(&self.room).to_payload(),
            ),
            Mode::List => {
                let state = backend.presence.list(&self.room);
                let state = self.visible(backend, cx, state).await;
                cx.push("presence_state", state);
            }
        }
    }

    async fn visible(&self, backend: &Backend, cx: &Context<Principal>, state: Metas) -> Payload {
        if !self.is_filtered {
            return state.to_payload();
        }
        let state: BTreeMap<String, Value> = state.to_payload().parse().unwrap_or_default();
        crate::channel::json(&visible_keys(backend, &cx.assigns(), state).await)
    }

    /// Passes on what a filtered client may hear.
    pub(super) async fn pass(
        backend: &Backend,
        cx: &mut Context<Principal>,
        broadcast: &Broadcast,
    ) {
        let principal = cx.assigns();
        let payload = broadcast.payload();
        match broadcast.event() {
            "presence_diff" => {
                let diff: Diff = payload.parse().unwrap_or_default();
                let diff = Diff {
                    joins: visible_keys(backend, &principal, diff.joins).await,
                    leaves: visible_keys(backend, &principal, diff.leaves).await,
                };
                if !(diff.joins.is_empty() && diff.leaves.is_empty()) {
                    cx.push("presence_diff", crate::channel::json(&diff));
                }
            }
            event => {
                let about: Value = payload.parse().unwrap_or_default();
                let about = about["user_id"].as_str().unwrap_or_default();
                if may_see(backend, &principal, about).await {
                    cx.push(event, payload.clone());
                }
            }
        }
    }
}

/// The presence room beside a topic that carries other events: who did not ask for presence does
/// not hear of it.
pub(super) fn here(topic: &str) -> String {
    format!("{topic}\u{1f}here")
}

/// The device of a join: the socket's, or the one that the join names where the socket names none.
pub(super) fn device_of(
    principal: &Principal,
    named: Option<&str>,
) -> Result<Option<DeviceId>, Refusal> {
    let Some(named) = named else {
        return Ok(principal.device.clone());
    };
    let invalid = |detail: String| Refusal::invalid_field("device_id", detail);
    let named = DeviceId::new(named).map_err(|error| invalid(error.to_string()))?;
    match &principal.device {
        Some(device) if *device != named => Err(invalid("the socket is another device's".into())),
        _ => Ok(Some(named)),
    }
}

/// Makes the person online for as long as what it returns is kept.
pub(super) async fn come_online(
    backend: &Backend,
    cx: &Context<Principal>,
    device: Option<DeviceId>,
) -> Result<Joined, Refusal> {
    let principal = cx.assigns();
    let joined = backend
        .people
        .joined(&principal.person, tracker(cx), device);
    Ok(joined.await?)
}

/// Tells the open channels of both people that there is a block between them, or no longer.
pub(crate) fn blocks_changed(fanout: &Fanout, person: &Person, other: &UserId) {
    let other = Person {
        user: other.clone(),
        ..person.clone()
    };
    for person in [person, &other] {
        fanout.note(&blocks_topic(person), &Note::new(BlocksChanged));
    }
}

/// Where a person's channels hear of their blocks. No client can name it.
fn blocks_topic(person: &Person) -> String {
    format!("blocks\u{1f}{}\u{1f}{}", person.workspace, person.user)
}

/// The channel, as presence and typing know it.
pub(super) fn tracker(cx: &Context<Principal>) -> Tracker {
    Tracker {
        connection: cx.connection(),
        slot: cx.slot(),
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Diff {
    joins: BTreeMap<String, Value>,
    leaves: BTreeMap<String, Value>,
}

async fn visible_keys(
    backend: &Backend,
    principal: &Principal,
    all: BTreeMap<String, Value>,
) -> BTreeMap<String, Value> {
    let mut visible = BTreeMap::new();
    for (key, metas) in all {
        if may_see(backend, principal, &key).await {
            visible.insert(key, metas);
        }
    }
    visible
}

/// Who cannot be looked up is not shown.
async fn may_see(backend: &Backend, principal: &Principal, user: &str) -> bool {
    let Ok(user) = UserId::new(user) else {
        return false;
    };
    let action = Action::SeePerson { user: &user };
    backend.policy.check(principal, action).await.is_ok()
}

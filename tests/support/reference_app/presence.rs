//! `presence:*`: Phoenix.Presence behind a channel.

use std::sync::Arc;

use quikapp_actors::fanout::Note;
use quikapp_actors::presence::{Meta, Presence, Tracker};
use quikapp_protocol::Payload;
use quikapp_realtime::channel::{Channel, Context, Flow, JoinError, StopReason};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{room::value, user::User};

pub struct PresenceChannel {
    pub presence: Presence,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    key: String,
    meta: Map<String, Value>,
}

/// The channel's note to itself: the join's reply is on the wire.
struct AfterJoin;

/// Ends the presence of a channel, however the channel ends.
struct Leave(Presence, Tracker);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.untrack_channel(self.1);
    }
}

impl Channel for PresenceChannel {
    type Assigns = User;
    type State = Member;

    async fn join(
        &self,
        cx: &mut Context<User>,
        params: Payload,
    ) -> Result<(Member, Payload), JoinError> {
        let params = value(&params);
        let key = params["key"]
            .as_str()
            .map_or_else(|| cx.assigns().uid.clone(), str::to_owned);
        cx.send_self(AfterJoin);
        cx.attach(Leave(self.presence.clone(), tracker(cx)));
        Ok((
            Member {
                key,
                meta: map(&params["meta"]),
            },
            Payload::empty_object(),
        ))
    }

    async fn handle_info(&self, state: &mut Member, cx: &mut Context<User>, _: Note) -> Flow {
        cx.push("presence_state", self.list(cx));
        let meta = Meta::new(state.meta.clone());
        match self
            .presence
            .track(tracker(cx), cx.source(), &state.key.as_str().into(), meta)
        {
            Ok(()) => Flow::NoReply,
            Err(_) => Flow::crash("tracked before joining"),
        }
    }

    async fn handle_in(
        &self,
        state: &mut Member,
        cx: &mut Context<User>,
        event: &str,
        payload: Payload,
    ) -> Flow {
        let key: Arc<str> = state.key.as_str().into();
        match event {
            "update" => self.update(cx, &key, |meta| merged(meta, map(&value(&payload)))),
            "update_replace" => self.update(cx, &key, |_| map(&value(&payload))),
            "untrack" => match self.presence.untrack(tracker(cx), cx.source(), &key) {
                Ok(()) => Flow::empty_ok(),
                Err(_) => Flow::crash("not tracked"),
            },
            "track" => self.track(cx, &value(&payload)),
            "list" => Flow::ok(self.list(cx)),
            "get" => self.get(cx, &value(&payload)),
            "stop" => Flow::stop(StopReason::Normal),
            _ => panic!("nobody handles {event}"),
        }
    }
}

impl PresenceChannel {
    fn list(&self, cx: &Context<User>) -> Payload {
        self.presence.list(cx.source()).to_payload()
    }

    fn get(&self, cx: &Context<User>, asked: &Value) -> Flow {
        let key = asked["key"].as_str().unwrap_or_default();
        let found = value(&self.list(cx)).get(key).cloned();
        Flow::ok(json!({ "r": found.unwrap_or_else(|| json!([])) }))
    }

    fn update(
        &self,
        cx: &Context<User>,
        key: &Arc<str>,
        change: impl FnOnce(Map<String, Value>) -> Map<String, Value>,
    ) -> Flow {
        let change = |meta: &Meta| Meta::new(change(meta.to_map()));
        match self.presence.update(tracker(cx), cx.source(), key, change) {
            Ok(()) => Flow::empty_ok(),
            Err(_) => Flow::crash("not tracked"),
        }
    }

    /// Answers with Elixir's `:ok` or `{:error, ...}`, printed.
    fn track(&self, cx: &Context<User>, asked: &Value) -> Flow {
        let key = asked["key"].as_str().unwrap_or_default().into();
        let meta = Meta::new(map(&asked["meta"]));
        match self.presence.track(tracker(cx), cx.source(), &key, meta) {
            Ok(()) => Flow::ok(json!({ "reason": null, "result": ":ok" })),
            Err(_) => Flow::error(json!({ "reason": ":already_tracked", "result": ":error" })),
        }
    }
}

fn tracker(cx: &Context<User>) -> Tracker {
    Tracker {
        connection: cx.connection(),
        slot: cx.slot(),
    }
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn merged(mut meta: Map<String, Value>, with: Map<String, Value>) -> Map<String, Value> {
    meta.extend(with);
    meta
}

//! `room:*`, `exact` and `assigned:*`: one channel with an event for everything a channel can do.

use std::time::Duration;

use bytes::Bytes;
use quikapp_actors::fanout::{Broadcast, Note};
use quikapp_protocol::{Payload, Status};
use quikapp_realtime::channel::{
    Channel, Context, Flow, JoinError, Reply, ReplyTo, StopReason, Terminate,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::user::User;

/// Joins that begin with this byte are refused.
const REFUSED: u8 = 0xEE;

pub struct RoomChannel;

/// What one membership remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Member {
    /// Announce the end of this membership on `room:watch`.
    trap: bool,
}

/// Notes of the channel to itself.
enum Myself {
    PushAfterJoin,
    Stop,
    Answer(ReplyTo, Value),
}

impl Channel for RoomChannel {
    type Assigns = User;
    type State = Member;

    async fn join(
        &self,
        cx: &mut Context<User>,
        params: Payload,
    ) -> Result<(Member, Payload), JoinError> {
        let params = match &params {
            Payload::Binary(bytes) => return join_with_bytes(bytes),
            Payload::Json(_) => value(&params),
        };
        refuse_as_asked(&params)?;
        if let Some(ms) = params["slow"].as_u64() {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            return Ok((Member::default(), json!({ "slept": ms }).into()));
        }
        if params["push_after_join"] == true {
            cx.send_self(Myself::PushAfterJoin);
            return Ok((Member::default(), json!({ "welcome": true }).into()));
        }
        if let Some(ms) = params["stop_after_join"].as_u64() {
            cx.send_self_after(Duration::from_millis(ms), Myself::Stop);
        }
        let trap = params["trap"] == true;
        Ok((Member { trap }, join_reply(cx, &params)))
    }

    async fn handle_in(
        &self,
        _: &mut Member,
        cx: &mut Context<User>,
        event: &str,
        payload: Payload,
    ) -> Flow {
        match event {
            "ping" => Flow::ok(json!({ "pong": true })),
            "echo" | "phx_custom" => Flow::ok(payload),
            "echo_error" => Flow::error(payload),
            "reply_ok" => Flow::empty_ok(),
            "reply_error" => Flow::error(Payload::empty_object()),
            "noreply" => Flow::NoReply,
            "reply_status" => reply_status(&payload),
            "type_of" => Flow::ok(type_of(&payload)),
            "ref_info" => ref_info(cx),
            "async_reply" => async_reply(cx, &payload),
            "double_reply" => double_reply(cx),
            "sleep" => sleep(payload).await,
            _ => talk(cx, event, payload),
        }
    }

    async fn handle_info(&self, _: &mut Member, cx: &mut Context<User>, note: Note) -> Flow {
        match note.get::<Myself>() {
            Some(Myself::PushAfterJoin) => cx.push("after_join", json!({ "x": 1 })),
            Some(Myself::Answer(reply_to, response)) => reply_to.send(&Reply::ok(response.clone())),
            Some(Myself::Stop) => return Flow::stop(StopReason::Normal),
            None => {}
        }
        Flow::NoReply
    }

    async fn terminate(&self, state: &mut Member, cx: &mut Context<User>, reason: &Terminate) {
        if state.trap {
            let payload = json!({ "reason": format!("{reason:?}"), "topic": cx.topic() });
            cx.fanout()
                .publish(Broadcast::new("room:watch", "terminated", payload.into()));
        }
    }
}

/// The payload as a JSON value.
pub fn value(payload: &Payload) -> Value {
    payload
        .parse()
        .expect("the reference application is sent JSON here")
}

fn join_with_bytes(bytes: &Bytes) -> Result<(Member, Payload), JoinError> {
    match bytes.first() {
        Some(&REFUSED) => Err(JoinError::with(Payload::Binary(bytes.slice(1..)))),
        _ => Ok((Member::default(), Payload::empty_object())),
    }
}

fn refuse_as_asked(params: &Value) -> Result<(), JoinError> {
    if let Some(reason) = params["fail"].as_str() {
        return Err(JoinError::reason(reason));
    }
    if let Some(map @ Value::Object(_)) = params.get("fail_map") {
        return Err(JoinError::with(map.clone()));
    }
    if let Some(size) = params["fail_bin"].as_u64() {
        return Err(JoinError::with(filled(1, size)));
    }
    for crash in ["crash", "exit_join", "bad_return"] {
        assert!(params[crash] != true, "asked to {crash} in join");
    }
    Ok(())
}

fn join_reply(cx: &Context<User>, params: &Value) -> Payload {
    if let Some(reply) = params.get("reply") {
        return reply.clone().into();
    }
    if params["whoami"] == true {
        return whoami(cx).into();
    }
    Payload::empty_object()
}

fn whoami(cx: &Context<User>) -> Value {
    let user = cx.assigns();
    let tenant = if cx.topic().starts_with("assigned:") {
        Some("t1")
    } else {
        user.tenant.as_deref()
    };
    json!({
        "uid": user.uid,
        "tenant": tenant,
        "params": user.params,
        "transport": cx.transport().as_str(),
        "join_ref": json_of(&cx.join_ref().to_json()),
    })
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("a ref is JSON")
}

fn reply_status(payload: &Payload) -> Flow {
    let asked = value(payload);
    let status = match asked["status"].as_str() {
        Some("ok") => Status::Ok,
        Some("error") => Status::Error,
        other => Status::Other(other.unwrap_or_default().into()),
    };
    let response = asked["payload"].clone().into();
    Flow::Reply(Reply { status, response })
}

/// What Elixir would call the payload's type.
fn type_of(payload: &Payload) -> Value {
    if let Payload::Binary(bytes) = payload {
        return json!({ "type": "binary", "size": bytes.len() });
    }
    let name = match payload.as_bytes().first() {
        Some(b'{') => "map",
        Some(b'[') => "list",
        Some(b'"') => "string",
        Some(b'n') => "nil",
        Some(b't') => "true",
        Some(b'f') => "false",
        _ => "number",
    };
    json!({ "type": name })
}

fn ref_info(cx: &Context<User>) -> Flow {
    Flow::ok(json!({
        "ref": json_of(&cx.msg_ref().to_json()),
        "join_ref": json_of(&cx.join_ref().to_json()),
        "topic": cx.topic(),
    }))
}

/// Phoenix's `socket_ref` raises for a message without a ref.
fn async_reply(cx: &mut Context<User>, payload: &Payload) -> Flow {
    let asked = value(payload);
    let Some(reply_to) = cx.reply_later() else {
        return Flow::crash("no ref to reply to");
    };
    let delay = Duration::from_millis(asked["ms"].as_u64().unwrap_or_default());
    cx.send_self_after(delay, Myself::Answer(reply_to, asked));
    Flow::NoReply
}

fn double_reply(cx: &Context<User>) -> Flow {
    if let Some(reply_to) = cx.reply_later() {
        reply_to.send(&Reply::ok(json!({ "n": 1 })));
        reply_to.send(&Reply::ok(json!({ "n": 2 })));
    }
    Flow::NoReply
}

async fn sleep(payload: Payload) -> Flow {
    let ms = value(&payload)["ms"].as_u64().unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Flow::ok(payload)
}

/// Events that push and broadcast.
fn talk(cx: &mut Context<User>, event: &str, payload: Payload) -> Flow {
    match event {
        "new_msg" => {
            cx.broadcast("new_msg", payload);
            Flow::empty_ok()
        }
        "new_msg_noreply" => {
            cx.broadcast("new_msg", payload);
            Flow::NoReply
        }
        "broadcast_from" => {
            cx.broadcast_from("from_other", payload);
            Flow::empty_ok()
        }
        "broadcast_then_push" => {
            cx.broadcast("b1", json!({ "n": 1 }));
            cx.push("p2", json!({ "n": 2 }));
            cx.broadcast("b3", json!({ "n": 3 }));
            Flow::ok(json!({ "n": 4 }))
        }
        "push_me" | "bin_push" => {
            cx.push("pushed", payload);
            Flow::NoReply
        }
        "push_then_reply" => {
            cx.push("pushed", payload);
            Flow::ok(json!({ "done": true }))
        }
        "push_nonmap" => {
            cx.push("pushed", json!([1, 2]));
            Flow::NoReply
        }
        "bin_broadcast" => {
            cx.broadcast("bin_msg", payload);
            Flow::empty_ok()
        }
        "push_bin_server" => {
            cx.push("srv_bin", filled(7, size(&payload)));
            Flow::NoReply
        }
        "json_to_bin" => Flow::ok(filled(0xAB, size(&payload))),
        "endpoint_broadcast" => endpoint_broadcast(cx, &payload),
        "disconnect_me" => {
            cx.assigns().disconnect(cx.fanout());
            Flow::NoReply
        }
        _ => end(event, payload),
    }
}

fn endpoint_broadcast(cx: &Context<User>, payload: &Payload) -> Flow {
    let asked = value(payload);
    let (topic, event) = (asked["topic"].as_str(), asked["event"].as_str());
    let (Some(topic), Some(event)) = (topic, event) else {
        return Flow::crash("a topic and an event");
    };
    cx.fanout().publish(Broadcast::new(
        topic,
        event,
        asked["payload"].clone().into(),
    ));
    Flow::empty_ok()
}

/// Events that end the channel. Phoenix has no clause for any other event, and crashes.
fn end(event: &str, payload: Payload) -> Flow {
    match event {
        "stop" => Flow::stop(StopReason::Normal),
        "stop_shutdown" | "stop_shutdown_tuple" => Flow::stop(StopReason::Shutdown),
        "stop_error" => Flow::stop(StopReason::Error("asked to".into())),
        "stop_reply" => Flow::Stop(StopReason::Normal, Some(Reply::ok(payload))),
        "stop_reply_atom" => {
            Flow::Stop(StopReason::Normal, Some(Reply::ok(Payload::empty_object())))
        }
        "exit_normal" | "exit_kill" | "bad_return" => Flow::crash("asked to"),
        _ => panic!("nobody handles {event}"),
    }
}

fn size(payload: &Payload) -> u64 {
    value(payload)["size"].as_u64().unwrap_or_default()
}

fn filled(byte: u8, size: u64) -> Payload {
    let size = usize::try_from(size).expect("a size fits in memory");
    Payload::Binary(vec![byte; size].into())
}

//! `intercept:*`: broadcasts that pass through a hook of each subscriber.

use std::sync::Arc;

use quikapp_actors::fanout::Broadcast;
use quikapp_protocol::Payload;
use quikapp_realtime::channel::{Channel, Context, Flow, JoinError};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{room::value, user::User};

pub struct InterceptChannel;

#[derive(Debug, Serialize, Deserialize)]
pub struct Member {
    /// Whether secrets reach this member.
    sees: bool,
}

impl Channel for InterceptChannel {
    type Assigns = User;
    type State = Member;

    async fn join(
        &self,
        _: &mut Context<User>,
        params: Payload,
    ) -> Result<(Member, Payload), JoinError> {
        let sees = value(&params)["see"] != false;
        Ok((Member { sees }, Payload::empty_object()))
    }

    async fn handle_in(
        &self,
        _: &mut Member,
        cx: &mut Context<User>,
        event: &str,
        payload: Payload,
    ) -> Flow {
        assert_eq!(event, "say");
        let said = value(&payload);
        cx.broadcast(
            said["event"].as_str().unwrap_or_default(),
            said["payload"].clone(),
        );
        Flow::empty_ok()
    }

    fn intercepts(&self) -> &'static [&'static str] {
        &["secret", "user_joined"]
    }

    async fn handle_out(
        &self,
        state: &mut Member,
        cx: &mut Context<User>,
        broadcast: Arc<Broadcast>,
    ) -> Flow {
        let mut payload = value(broadcast.payload());
        match broadcast.event() {
            "secret" if !state.sees => return Flow::NoReply,
            "secret" => payload["intercepted"] = json!(true),
            _ => payload["out"] = json!(true),
        }
        cx.push(broadcast.event(), payload);
        Flow::NoReply
    }
}

//! Who connects to the reference application.

use std::collections::BTreeMap;

use quikapp_actors::fanout::{Close, Fanout};
use quikapp_realtime::socket::{ConnectInfo, ConnectRefusal, Connected, SocketHandler};

/// What `connect` established.
#[derive(Debug)]
pub struct User {
    pub uid: String,
    pub tenant: Option<String>,
    /// The connect parameters, as `whoami` shows them.
    pub params: BTreeMap<String, String>,
}

impl User {
    /// What a broadcast of `disconnect` on the socket id does.
    pub fn disconnect(&self, fanout: &Fanout) {
        fanout.disconnect(&socket_id(&self.uid), &Close::disconnected());
    }
}

fn socket_id(uid: &str) -> String {
    format!("user_socket:{uid}")
}

/// `tok-<uid>` is the user `<uid>`; some other tokens refuse or crash.
pub struct UserSocket {
    /// Answers refusals with a status and a text by their reason.
    pub maps_errors: bool,
}

impl SocketHandler for UserSocket {
    type Assigns = User;

    async fn connect(&self, info: ConnectInfo) -> Result<Connected<User>, ConnectRefusal> {
        let mut params: BTreeMap<String, String> = info
            .params()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if let Some(token) = info.auth_token {
            params.insert("token".to_owned(), token);
        }
        let token = params.get("token").map_or("", String::as_str);
        assert!(token != "crash", "asked to crash in connect");
        let Some(uid) = token.strip_prefix("tok-").map(str::to_owned) else {
            return Err(self.refusal(token));
        };
        let tenant = params.get("tenant").cloned();
        let socket_id = socket_id(&uid);
        Ok(Connected::new(User {
            uid,
            tenant,
            params,
        })
        .socket_id(socket_id))
    }
}

impl UserSocket {
    fn refusal(&self, token: &str) -> ConnectRefusal {
        match token {
            "unauthorized" if self.maps_errors => ConnectRefusal::forbidden("unauthorized")
                .with_status(401)
                .with_body("unauthorized"),
            "ratelimit" if self.maps_errors => ConnectRefusal::forbidden("rate_limit")
                .with_status(429)
                .with_body("Too many requests"),
            _ => ConnectRefusal::forbidden("refused"),
        }
    }
}

//! Somebody who is erased in the middle of everything.

use std::{sync::Arc, time::Duration};

use quikapp_history::Event;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Shared, rng::Rng};
use crate::support::{Guest, Server, run};

/// A server may be away for a while, but no test waits for ever.
const PATIENCE: Duration = Duration::from_secs(90);

/// Between two attempts, and two looks at whether it is done.
const LOOK: Duration = Duration::from_millis(100);

/// An erasure that a server has taken on.
pub(super) struct Erasing {
    shared: Arc<Shared>,
    user: String,
    client: Client,
    /// Of an administrator.
    token: String,
    rng: Rng,
}

impl Erasing {
    /// Asks until it is acknowledged.
    pub(super) async fn begin(shared: Arc<Shared>, server: &Server, somebody: &Guest) -> Self {
        let client = Client::builder().timeout(shared.plan.patience);
        let mut erasing = Self {
            shared,
            user: somebody.id.clone(),
            client: client.build().unwrap(),
            token: admin_token(server).await,
            rng: Rng::of(0),
        };
        let (shared, user) = (&erasing.shared, erasing.user.clone());
        let whom = json!({ "user": user });
        shared.erasing.send_replace(Some(user.clone()));
        shared.recorder.record(|at| Event::Erasing { at, user });
        let acknowledged = async {
            loop {
                match erasing.ask(Method::POST, "erasures", Some(&whom)).await {
                    Some((StatusCode::ACCEPTED, _)) => return,
                    Some((status, body)) if status.is_client_error() => panic!("{status}: {body}"),
                    _ => tokio::time::sleep(LOOK).await,
                }
            }
        };
        let acknowledged = timeout(PATIENCE, acknowledged).await;
        acknowledged.expect("an erasure is acknowledged in time");
        erasing
    }

    /// Waits until it is done, whichever servers do it.
    pub(super) async fn ends(mut self) {
        let path = format!("erasures/{}", self.user);
        loop {
            match self.ask(Method::GET, &path, None).await {
                Some((StatusCode::OK, state)) if state["pending"] == false => break,
                _ => tokio::time::sleep(LOOK).await,
            }
        }
        let (shared, user) = (self.shared, self.user);
        shared.recorder.record(|at| Event::Erased { at, user });
        shared.quiet.send_modify(|count| *count += 1);
    }

    /// What a server answers, if one does.
    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Option<(StatusCode, Value)> {
        let url = format!("{}/api/admin/{path}", self.shared.server(&mut self.rng));
        let mut request = self.client.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.ok()?;
        Some((response.status(), response.json().await.ok()?))
    }
}

/// The secret outlives the process, so one token is good for all servers of the directory.
async fn admin_token(server: &Server) -> String {
    let admin = ["token", "--admin", "--user", "operator"];
    run(&server.data_dir, &admin).await.trim().to_owned()
}

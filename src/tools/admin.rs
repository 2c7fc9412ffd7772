//! Asking a running server as its administrator.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use quikapp_realtime::{auth::Grant, http_client};
use quikapp_storage::{Person, UserId, WorkspaceId};
use reqwest::{RequestBuilder, Url};
use serde_json::Value;

use crate::cli::AdminArgs;

/// The workspace of an operator who names none.
pub(super) const WORKSPACE: &str = "default";
/// For how long a minted token can be used.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(10);

/// The administrative routes of a server.
pub(super) struct Admin {
    client: reqwest::Client,
    base: Url,
    token: String,
}

impl Admin {
    /// With the token of the arguments, or one that is minted for an operator of a workspace.
    pub(super) fn of(args: &AdminArgs, workspace: &str) -> anyhow::Result<Self> {
        let operator = Person {
            workspace: WorkspaceId::new(workspace).context("--workspace")?,
            user: UserId::new("operator")?,
        };
        let token = match &args.token {
            Some(token) => token.clone(),
            None => super::mint(&args.place, &Grant::admin(operator), TOKEN_LIFE)?,
        };
        Ok(Self {
            client: http_client(|client| client.timeout(PATIENCE))?,
            base: args.url.parse().context("--url")?,
            token,
        })
    }

    /// Reads what lies at a path below `/api/admin`.
    pub(super) async fn get(&self, path: &[&str]) -> anyhow::Result<Value> {
        let url = self.url(path)?;
        self.answer(self.client.get(url)).await
    }

    /// Asks for something there.
    pub(super) async fn post(&self, path: &[&str], body: &Value) -> anyhow::Result<Value> {
        let url = self.url(path)?;
        self.answer(self.client.post(url).json(body)).await
    }

    fn url(&self, path: &[&str]) -> anyhow::Result<Url> {
        let mut url = self.base.clone();
        let segments = url.path_segments_mut();
        segments
            .map_err(|()| anyhow!("--url: {} has no path", self.base))?
            .pop_if_empty()
            .extend(["api", "admin"])
            .extend(path);
        Ok(url)
    }

    async fn answer(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let response = request.bearer_auth(&self.token).send().await?;
        let (url, status) = (response.url().clone(), response.status());
        let body = response.text().await?;
        if !status.is_success() {
            bail!("{url}: {status} {body}");
        }
        serde_json::from_str(&body).with_context(|| format!("{url}: not JSON"))
    }
}

/// Runs a conversation with a server to its end.
pub(super) fn wait_for<T>(asked: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(asked)
}

//! Who the sockets belong to.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::target::Target;

const TOKEN_SECONDS: u64 = 3600;

/// A person with a token.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) user: String,
    pub(crate) token: String,
}

/// Makes people: by signing their tokens, or through the guest sign-in of a development server.
pub(crate) struct Identities {
    http: Client,
    target: Target,
    secret: Option<EncodingKey>,
}

#[derive(Deserialize)]
struct Guest {
    token: String,
    user: GuestUser,
}

/// The user's id, by itself or in an object.
#[derive(Deserialize)]
#[serde(untagged)]
enum GuestUser {
    Id(String),
    Object { id: String },
}

#[derive(Deserialize)]
struct Created {
    conversation: Conversation,
}

#[derive(Deserialize)]
struct Conversation {
    id: String,
}

impl Identities {
    pub(crate) fn new(target: &Target, secret_file: Option<&Path>) -> anyhow::Result<Self> {
        let secret = secret_file.map(read_secret).transpose()?;
        Ok(Self {
            http: Client::new(),
            target: target.clone(),
            secret,
        })
    }

    /// People of one workspace, each another.
    pub(crate) async fn people(&self, count: usize) -> anyhow::Result<Vec<Identity>> {
        let mut people = Vec::with_capacity(count);
        for number in 0..count {
            people.push(match &self.secret {
                Some(secret) => sign(secret, format!("bench-{number}"))?,
                None => self.guest(number).await?,
            });
        }
        Ok(people)
    }

    /// Creates a group; returns its id.
    pub(crate) async fn create_group(&self, members: &[Identity]) -> anyhow::Result<String> {
        let (creator, others) = members.split_first().context("a group has members")?;
        let ids: Vec<_> = others.iter().map(|member| &member.user).collect();
        let body = json!({"type": "group", "name": "bench", "members": ids});
        let answer = self
            .post("/api/conversations", Some(&creator.token), &body)
            .await?;
        let created: Created = serde_json::from_str(&answer).context(answer)?;
        Ok(created.conversation.id)
    }

    async fn guest(&self, number: usize) -> anyhow::Result<Identity> {
        let body = json!({"name": format!("bench {number}")});
        let answer = self
            .post("/api/auth/guest", None, &body)
            .await
            .context("guests can sign in only in development mode; otherwise give --secret-file")?;
        let guest: Guest = serde_json::from_str(&answer).context(answer)?;
        let (GuestUser::Id(user) | GuestUser::Object { id: user }) = guest.user;
        let token = guest.token;
        Ok(Identity { user, token })
    }

    async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> anyhow::Result<String> {
        let mut request = self.http.post(self.target.route(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.json(body).send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "POST {path}: {status} {text}");
        Ok(text)
    }
}

/// The current secret is the first line.
fn read_secret(path: &Path) -> anyhow::Result<EncodingKey> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let secret = text.lines().map(str::trim).find(|line| !line.is_empty());
    let secret = secret.with_context(|| format!("{} is empty", path.display()))?;
    Ok(EncodingKey::from_secret(secret.as_bytes()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "tokens are valid in the server's real time"
)]
fn sign(secret: &EncodingKey, user: String) -> anyhow::Result<Identity> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = json!({
        "sub": user,
        "workspace": "bench",
        "type": "access",
        "iss": "quikapp",
        "aud": "quikapp",
        "iat": now,
        "exp": now + TOKEN_SECONDS,
        "rooms": {"broadcast:*": ["read", "write"]},
    });
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, secret)?;
    Ok(Identity { user, token })
}

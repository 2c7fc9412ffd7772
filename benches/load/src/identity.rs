//! Who the sockets belong to.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Client, RequestBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{clock::unix_seconds, target::Target, tls::explained};

const TOKEN_SECONDS: f64 = 3600.0;

/// Sign-ins that are under way at a time.
const SIGNING_IN: usize = 16;

/// How people get their tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// The generator signs them with the server's secret.
    Secret,
    /// They sign in as guests, which only a QuikApp server in development mode allows.
    Guest,
    /// All use the token that was given.
    Token,
    /// They have none.
    None,
}

/// A person with a token.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) user: String,
    pub(crate) token: String,
}

/// Makes people.
pub(crate) struct Identities {
    http: Client,
    target: Target,
    way: Way,
}

/// [`Auth`], with what it needs.
enum Way {
    Secret(EncodingKey),
    Guest,
    Token(String),
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
    pub(crate) fn new(
        target: &Target,
        auth: Auth,
        secret_file: Option<&Path>,
        token: Option<&str>,
        http: Client,
    ) -> anyhow::Result<Self> {
        let way = match (auth, secret_file, token) {
            (Auth::Secret, Some(file), _) => Way::Secret(read_secret(file)?),
            (Auth::Secret, None, _) => bail!("to sign tokens, --secret-file is needed"),
            (Auth::Guest, ..) => Way::Guest,
            (Auth::Token, _, Some(token)) => Way::Token(token.to_owned()),
            (Auth::Token, _, None) => bail!("--auth token needs --token"),
            (Auth::None, ..) => Way::Token(String::new()),
        };
        Ok(Self {
            http,
            target: target.clone(),
            way,
        })
    }

    /// People of one workspace, each another.
    pub(crate) async fn people(&self, count: usize) -> anyhow::Result<Vec<Identity>> {
        let people = stream::iter(0..count).map(|number| self.person_named("bench", number));
        people.buffered(SIGNING_IN).try_collect().await
    }

    async fn person_named(&self, name: &str, number: usize) -> anyhow::Result<Identity> {
        let user = format!("{name}-{number}");
        match &self.way {
            Way::Secret(secret) => sign(secret, user),
            Way::Guest => self.guest(number).await,
            Way::Token(token) => Ok(Identity {
                user,
                token: token.clone(),
            }),
        }
    }

    /// People of the same workspace who will not connect.
    pub(crate) async fn offline(&self, count: usize) -> anyhow::Result<Vec<Identity>> {
        let people =
            stream::iter(0..count).map(|number| self.person_named("bench-founder", number));
        people.buffered(SIGNING_IN).try_collect().await
    }

    /// Creates a group; returns its id.
    pub(crate) async fn create_group(
        &self,
        creator: Option<&Identity>,
        others: Vec<String>,
    ) -> anyhow::Result<String> {
        let creator = creator.context("a group has members")?;
        let body = json!({"type": "group", "name": "bench", "members": others});
        let answer = self
            .post("/api/conversations", Some(&creator.token), &body)
            .await?;
        let created: Created = serde_json::from_str(&answer).context(answer)?;
        Ok(created.conversation.id)
    }

    async fn guest(&self, number: usize) -> anyhow::Result<Identity> {
        let body = json!({"name": format!("bench {number}")});
        let answered = self.post("/api/auth/guest", None, &body).await;
        let answer = answered.map_err(|error| match error.is::<reqwest::Error>() {
            // It has not been asked.
            true => error,
            false => error.context(
                "guests can sign in only to a QuikApp server in development mode; otherwise give \
                 --secret-file, or --auth none for servers that ask for no token",
            ),
        })?;
        let guest: Guest = serde_json::from_str(&answer).context(answer)?;
        let (GuestUser::Id(user) | GuestUser::Object { id: user }) = guest.user;
        let token = guest.token;
        Ok(Identity { user, token })
    }

    /// Asks for a path, and for no more than that it is there.
    pub(crate) async fn get(&self, path: &str, token: &str) -> anyhow::Result<()> {
        let request = self.http.get(self.target.route(path)).bearer_auth(token);
        ask(request, &format!("GET {path}")).await?;
        Ok(())
    }

    async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> anyhow::Result<String> {
        let mut request = self.http.post(self.target.route(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        ask(request.json(body), &format!("POST {path}")).await
    }
}

async fn ask(request: RequestBuilder, what: &str) -> anyhow::Result<String> {
    let sent = request.send().await;
    let response = sent.map_err(|error| explained(error.into()))?;
    let status = response.status();
    let text = response.text().await?;
    ensure!(status.is_success(), "{what}: {status} {text}");
    Ok(text)
}

/// The current secret is the first line.
fn read_secret(path: &Path) -> anyhow::Result<EncodingKey> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let secret = text.lines().map(str::trim).find(|line| !line.is_empty());
    let secret = secret.with_context(|| format!("{} is empty", path.display()))?;
    Ok(EncodingKey::from_secret(secret.as_bytes()))
}

fn sign(secret: &EncodingKey, user: String) -> anyhow::Result<Identity> {
    let now = unix_seconds().floor();
    let claims = json!({
        "sub": user,
        "workspace": "bench",
        "type": "access",
        "iss": "quikapp",
        "aud": "quikapp",
        "iat": now as u64,
        "exp": (now + TOKEN_SECONDS) as u64,
        "rooms": {"broadcast:*": ["read", "write"]},
    });
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, secret)?;
    Ok(Identity { user, token })
}

//! Who the sockets belong to.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Client, RequestBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{clock::unix_seconds, mark::mix, target::Target, tls::explained};

/// Letters of a generator's name in the ids of its people.
const LONGEST_NAME: usize = 24;

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
    /// How their ids begin.
    name: String,
}

/// What [`Identities`] need to know.
pub(crate) struct Credentials<'a> {
    pub(crate) auth: Auth,
    pub(crate) secret_file: Option<&'a Path>,
    pub(crate) token: Option<&'a str>,
    /// How long signed tokens live.
    pub(crate) lifetime: Duration,
    /// The name of the generator where there are several: each has people of its own.
    pub(crate) generator: Option<&'a str>,
}

/// [`Auth`], with what it needs.
enum Way {
    Secret(EncodingKey, Duration),
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
        credentials: &Credentials<'_>,
        http: Client,
    ) -> anyhow::Result<Self> {
        let Credentials {
            auth,
            secret_file,
            token,
            lifetime,
            generator,
        } = *credentials;
        let way = match (auth, secret_file, token) {
            (Auth::Secret, Some(file), _) => Way::Secret(read_secret(file)?, lifetime),
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
            name: name_of(generator),
        })
    }

    /// People of one workspace, each another.
    pub(crate) async fn people(&self, count: usize) -> anyhow::Result<Vec<Identity>> {
        let people = stream::iter(0..count).map(|number| self.person(None, number));
        people.buffered(SIGNING_IN).try_collect().await
    }

    /// The id of a person, of those with that role.
    pub(crate) fn user(&self, role: Option<&str>, number: usize) -> String {
        let name = &self.name;
        match role {
            None => format!("{name}-{number}"),
            Some(role) => format!("{name}-{role}-{number}"),
        }
    }

    async fn person(&self, role: Option<&str>, number: usize) -> anyhow::Result<Identity> {
        let user = self.user(role, number);
        match &self.way {
            Way::Secret(secret, lifetime) => sign(secret, user, *lifetime),
            Way::Guest => self.guest(number).await,
            Way::Token(token) => Ok(Identity {
                user,
                token: token.clone(),
            }),
        }
    }

    /// People of the same workspace who will not connect.
    pub(crate) async fn offline(&self, count: usize) -> anyhow::Result<Vec<Identity>> {
        let people = stream::iter(0..count).map(|number| self.person(Some("founder"), number));
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

/// People of several generators have different names; ids are of letters, digits and dashes.
fn name_of(generator: Option<&str>) -> String {
    let Some(generator) = generator else {
        return "bench".to_owned();
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let plain: String = generator.chars().take(LONGEST_NAME).map(plain).collect();
    match plain == generator {
        true => format!("bench-{plain}"),
        // What was left out may be in what the names differ.
        false => {
            let bytes = generator.bytes();
            let digest = bytes.fold(0, |state, byte| mix(state ^ u64::from(byte))) as u32;
            format!("bench-{plain}-{digest:x}")
        }
    }
}

fn sign(secret: &EncodingKey, user: String, lifetime: Duration) -> anyhow::Result<Identity> {
    let now = unix_seconds().floor();
    let claims = json!({
        "sub": user,
        "workspace": "bench",
        "type": "access",
        "iss": "quikapp",
        "aud": "quikapp",
        // The product's own tokens have one; a token without one is known by its hash.
        "jti": format!("{user}-{now}"),
        "iat": now as u64,
        "exp": now as u64 + lifetime.as_secs(),
        "rooms": {"broadcast:*": ["read", "write"]},
    });
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, secret)?;
    Ok(Identity { user, token })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn a_token_lives_as_long_as_is_said() {
        let secret = EncodingKey::from_secret(b"secret");
        let lifetime = Duration::from_secs(7200);
        let signed = sign(&secret, "a".to_owned(), lifetime).unwrap();
        let claims = signed.token.split('.').nth(1).unwrap();
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        let lives = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert_eq!(lives, 7200);
    }

    #[test]
    fn generators_have_people_of_their_own() {
        assert_eq!(name_of(None), "bench");
        assert_eq!(name_of(Some("east2")), "bench-east2");
        let long = "a".repeat(80);
        let names = [long.as_str(), &long[1..], "a b", "a.b"].map(|name| name_of(Some(name)));
        for (at, name) in names.iter().enumerate() {
            assert!(name.len() < 48 && name.is_ascii(), "{name}");
            assert!(!names[..at].contains(name), "{name}");
        }
    }
}

//! JSON Web Tokens (RFC 7519, with the advice of RFC 8725): verifying and minting.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header};
use metrics::{Counter, counter};
use parking_lot::RwLock;
use quikapp_actors::Clock;
use quikapp_storage::{Person, Timestamp};
use serde_json::Value;

use super::{
    AccountRole, Audience, Claims, Config, Principal, RoomAccess, Secret,
    claims::Rules,
    jwks::{JwksError, RemoteKeys},
    jws::{Jws, JwsError},
    keys::{self, Algorithm, KeySet, VerifyingKey},
    remembered::Remembered,
};

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url JSON, or too long.
    #[error("not a token")]
    Malformed,
    /// An algorithm that is not on the allow-list.
    #[error("the algorithm is not allowed")]
    AlgorithmRefused,
    /// The token brings or names a key of its own.
    #[error("the header {0} is not allowed")]
    HeaderRefused(&'static str),
    /// None of our keys fits.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature does not verify")]
    BadSignature,
    /// A required claim is missing or has the wrong type.
    #[error("a required claim is missing or ill-typed")]
    BadClaims,
    /// Not of the type `access`.
    #[error("not an access token")]
    WrongType,
    /// From another issuer.
    #[error("issued by somebody else")]
    WrongIssuer,
    /// For another audience.
    #[error("meant for somebody else")]
    WrongAudience,
    /// Its time has passed.
    #[error("expired")]
    Expired,
    /// Its time has not come.
    #[error("not valid yet")]
    NotYetValid,
    /// It would outlive what a revocation remembers.
    #[error("lives longer than allowed")]
    LifetimeTooLong,
}

impl From<JwsError> for TokenError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::Malformed => Self::Malformed,
            JwsError::HeaderRefused(name) => Self::HeaderRefused(name),
        }
    }
}

/// Whom a token is minted for, and what it allows.
#[derive(Debug, Clone)]
pub struct Grant {
    /// For whom.
    pub person: Person,
    /// Their standing.
    pub role: AccountRole,
    /// Broadcast rooms by pattern.
    pub rooms: std::collections::BTreeMap<String, Vec<RoomAccess>>,
}

impl Grant {
    /// A member of a workspace, without rooms.
    pub fn member(person: Person) -> Self {
        Self {
            person,
            role: AccountRole::Member,
            rooms: Default::default(),
        }
    }

    /// An administrator of a workspace, without rooms.
    pub fn admin(person: Person) -> Self {
        Self {
            role: AccountRole::Admin,
            ..Self::member(person)
        }
    }
}

/// A fresh token. Its `Debug` does not show it.
#[derive(Clone)]
pub struct Minted {
    /// The text to send.
    pub token: String,
    /// What it says.
    pub claims: Claims,
}

impl std::fmt::Debug for Minted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minted")
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

/// Why a token was not minted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// It would live longer than the configured maximum.
    #[error("tokens live at most {0:?}")]
    LifetimeTooLong(Duration),
    /// It could not be signed.
    #[error("the token could not be signed: {0}")]
    Signing(String),
}

/// Verifies and mints tokens. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    allowed: Vec<Algorithm>,
    rules: Rules,
    clock: Arc<dyn Clock>,
    signing: RwLock<Signing>,
    remote: Option<RemoteKeys>,
    remembered: Remembered,
    counted: Counted,
}

struct Counted {
    by_signature: Counter,
    from_memory: Counter,
}

impl Counted {
    fn new() -> Self {
        let counter = |how: &'static str| counter!("quikapp_tokens_verified_total", "how" => how);
        Self {
            by_signature: counter("signature"),
            from_memory: counter("remembered"),
        }
    }
}

struct Signing {
    kid: String,
    key: EncodingKey,
    verifying: KeySet,
}

impl Signing {
    fn new(secrets: &[Secret]) -> Option<Self> {
        let current = secrets.first()?;
        Some(Self {
            kid: keys::hmac_kid(current),
            key: EncodingKey::from_secret(current.as_bytes()),
            verifying: KeySet::new(secrets.iter().map(VerifyingKey::hmac)),
        })
    }
}

/// Tokens cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// There is no secret.
    #[error("no secret is configured")]
    NoSecret,
    /// The public keys cannot be had.
    #[error(transparent)]
    Jwks(#[from] JwksError),
}

impl Tokens {
    /// With the secrets of the installation (the current one first, see
    /// [`Config::secrets`]), and the public keys that the configuration names. Keys from a URL are
    /// fetched in the background from now on; call it within a runtime.
    pub fn new(
        config: &Config,
        secrets: &[Secret],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TokensError> {
        let remote = config
            .jwks
            .as_ref()
            .map(|source| RemoteKeys::start(source, config));
        Ok(Self {
            inner: Arc::new(Inner {
                allowed: config.algorithms.clone(),
                rules: Rules {
                    issuer: config.issuer.clone(),
                    audience: config.audience.clone(),
                    leeway: config.leeway,
                    max_lifetime: config.max_lifetime,
                },
                clock,
                signing: RwLock::new(Signing::new(secrets).ok_or(TokensError::NoSecret)?),
                remote: remote.transpose()?,
                remembered: Remembered::new(config.remembered_tokens),
                counted: Counted::new(),
            }),
        })
    }

    /// Verifies a token. An unknown `kid` may wait for one fetch of the public keys.
    pub async fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        let Inner {
            clock,
            remembered,
            counted,
            ..
        } = &*self.inner;
        let hash = remembered.hash(token);
        let now = clock.now();
        let known = |hash| remembered.find(hash, now, |key_set| self.is_in_use(key_set));
        if let Some(principal) = hash.as_ref().and_then(known) {
            counted.from_memory.increment(1);
            return Ok(principal);
        }
        let (principal, key_set, at) = self.verify_anew(token).await?;
        counted.by_signature.increment(1);
        if let Some(hash) = hash {
            remembered.keep(hash, &principal, key_set, at);
        }
        Ok(principal)
    }

    /// Verifies a token, and says with which set of keys, and as of when.
    async fn verify_anew(&self, token: &str) -> Result<(Principal, u64, Timestamp), TokenError> {
        let jws = Jws::parse(token)?;
        let algorithm = self.allowed(&jws)?;
        let keys = self.verify_signature(&jws, algorithm).await?;
        let claims: Claims =
            serde_json::from_slice(&jws.claims).map_err(|_| TokenError::BadClaims)?;
        let now = self.inner.clock.now();
        claims.check(&self.inner.rules, now)?;
        let principal = claims.principal(|| hash_of(jws.signed));
        Ok((principal, keys.number(), now))
    }

    /// Mints an access token, signed with the current secret.
    pub fn mint(&self, grant: &Grant, ttl: Duration) -> Result<Minted, MintError> {
        let rules = &self.inner.rules;
        if ttl > rules.max_lifetime {
            return Err(MintError::LifetimeTooLong(rules.max_lifetime));
        }
        let iat = self.inner.clock.now().0.div_euclid(1000);
        let claims = Claims {
            sub: grant.person.user.clone(),
            workspace: grant.person.workspace.clone(),
            kind: "access".into(),
            role: grant.role,
            rooms: grant.rooms.clone(),
            jti: Some(uuid::Uuid::new_v4().to_string()),
            iss: rules.issuer.clone(),
            aud: Audience::One(rules.audience.clone()),
            iat,
            nbf: None,
            exp: iat.saturating_add_unsigned(ttl.as_secs()),
        };
        let token = self.sign(&claims)?;
        Ok(Minted { token, claims })
    }

    /// Signs with the first of these from now on, and still verifies with the others.
    pub fn rotate(&self, secrets: &[Secret]) -> Result<(), TokensError> {
        let signing = Signing::new(secrets).ok_or(TokensError::NoSecret)?;
        *self.inner.signing.write() = signing;
        Ok(())
    }

    pub(super) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    pub(super) fn upgrade(inner: &Weak<Inner>) -> Option<Self> {
        let inner = inner.upgrade()?;
        Some(Self { inner })
    }

    /// The longest time a token may live, and a revocation must be remembered.
    pub fn max_lifetime(&self) -> Duration {
        self.inner.rules.max_lifetime
    }

    /// The last failure to fetch public keys, if the last fetch failed.
    pub fn keys_problem(&self) -> Option<String> {
        self.inner.remote.as_ref().and_then(RemoteKeys::problem)
    }

    /// The public half of our own signing keys, as published at `/.well-known/jwks.json`. We sign
    /// with a secret, which has no public half: the set is empty (docs/adr/0018).
    pub fn published_keys(&self) -> Value {
        serde_json::json!({ "keys": [] })
    }

    fn sign(&self, claims: &Claims) -> Result<String, MintError> {
        let signing = self.inner.signing.read();
        let header = Header {
            kid: Some(signing.kid.clone()),
            ..Header::new(Algorithm::HS256.into())
        };
        jsonwebtoken::encode(&header, claims, &signing.key)
            .map_err(|error| MintError::Signing(error.to_string()))
    }

    fn allowed(&self, jws: &Jws<'_>) -> Result<Algorithm, TokenError> {
        jws.algorithm()
            .and_then(Algorithm::parse)
            .filter(|algorithm| self.inner.allowed.contains(algorithm))
            .ok_or(TokenError::AlgorithmRefused)
    }

    /// The set of those that sign here is, and the one that was fetched last.
    fn is_in_use(&self, key_set: u64) -> bool {
        let remote = self.inner.remote.as_ref();
        key_set == self.inner.signing.read().verifying.number()
            || remote.is_some_and(|remote| remote.keys().number() == key_set)
    }

    /// With which keys it verifies.
    async fn verify_signature(
        &self,
        jws: &Jws<'_>,
        algorithm: Algorithm,
    ) -> Result<KeySet, TokenError> {
        let kid = jws.kid()?;
        if algorithm.is_hmac() {
            let secrets = self.inner.signing.read().verifying.clone();
            return verify_with(jws, secrets, algorithm, kid);
        }
        let remote = self.inner.remote.as_ref().ok_or(TokenError::UnknownKey)?;
        match verify_with(jws, remote.keys(), algorithm, kid) {
            Err(TokenError::UnknownKey) if remote.fetch_for_unknown_kid().await => {
                verify_with(jws, remote.keys(), algorithm, kid)
            }
            outcome => outcome,
        }
    }
}

fn verify_with(
    jws: &Jws<'_>,
    keys: KeySet,
    algorithm: Algorithm,
    kid: Option<&str>,
) -> Result<KeySet, TokenError> {
    let candidates = keys::candidates(&keys, algorithm, kid);
    if candidates.is_empty() {
        return Err(TokenError::UnknownKey);
    }
    let signed_by =
        |key: &&VerifyingKey| key.has_signed(algorithm, jws.signed.as_bytes(), jws.signature);
    match candidates.iter().any(signed_by) {
        true => Ok(keys),
        false => Err(TokenError::BadSignature),
    }
}

/// Over what was signed, not over the signature: some signatures can be rewritten by anybody.
fn hash_of(signed: &str) -> String {
    let hash = digest::digest(&digest::SHA256, signed.as_bytes());
    format!("sha256:{}", URL_SAFE_NO_PAD.encode(hash))
}

#[cfg(test)]
mod tests;

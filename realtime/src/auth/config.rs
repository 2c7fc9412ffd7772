//! How tokens are checked.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    keys::Algorithm,
    secret::{self, Secret, SecretFileError},
};

/// Tokens, tickets, revocation and the limits of connecting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The HMAC secret, of at least 32 bytes. Without one, a secret is generated into the data
    /// directory at the first start.
    #[schemars(with = "Option<String>")]
    pub secret: Option<Secret>,
    /// Secrets of before; their tokens stay valid until they end.
    #[schemars(with = "Vec<String>")]
    pub previous_secrets: Vec<Secret>,
    /// Where the public keys of another issuer stand: a file, or an https URL (http for loopback).
    #[schemars(with = "Option<String>")]
    pub jwks: Option<JwksSource>,
    /// How often the keys at a URL are fetched again.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub jwks_refresh: Duration,
    /// How long one fetch of the keys may take.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub jwks_timeout: Duration,
    /// The algorithms that are accepted. There is no `none`.
    pub algorithms: Vec<Algorithm>,
    /// The `iss` that tokens must carry.
    pub issuer: String,
    /// The `aud` that tokens must carry.
    pub audience: String,
    /// How far `nbf` and `iat` may lie ahead of this machine's clock. `exp` has no leeway.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub leeway: Duration,
    /// The longest time from `iat` to `exp`. Revocations are kept as long.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub max_lifetime: Duration,
    /// How long the token of a guest lives (development mode only).
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub guest_ttl: Duration,
    /// How long a one-time ticket may wait to be used.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub ticket_ttl: Duration,
    /// How often revocations of other nodes are read from the store; well below a second.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub revocation_poll: Duration,
    /// Verified tokens that a node remembers, so that whoever comes back with one is let in without
    /// its signature being computed again; 0 remembers none. Each takes about half a kilobyte.
    pub remembered_tokens: usize,
    /// Open sockets of one person; 0 is without limit.
    pub sockets_per_user: u32,
    /// Connects of one address within a minute, IPv6 by /64; 0 is without limit. This machine
    /// itself is not limited.
    pub connects_per_address_per_minute: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            secret: None,
            previous_secrets: Vec::new(),
            jwks: None,
            jwks_refresh: Duration::from_secs(600),
            jwks_timeout: Duration::from_secs(5),
            algorithms: Algorithm::ALL.to_vec(),
            issuer: "quikapp".into(),
            audience: "quikapp".into(),
            leeway: Duration::from_secs(5),
            max_lifetime: Duration::from_secs(90 * 24 * 3600),
            guest_ttl: Duration::from_secs(24 * 3600),
            ticket_ttl: Duration::from_secs(60),
            revocation_poll: Duration::from_millis(400),
            remembered_tokens: 10_000,
            sockets_per_user: 64,
            connects_per_address_per_minute: 600,
        }
    }
}

/// A value that would weaken a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("auth.{key}: {problem}")]
pub struct ConfigError {
    /// Which key.
    pub key: &'static str,
    /// What is wrong with its value.
    pub problem: &'static str,
}

impl Config {
    /// The secrets of the installation, the current one first: those of the configuration, or else
    /// those of the data directory, where one is generated at the first start.
    pub fn secrets(&self, data_dir: &Path) -> Result<Vec<Secret>, SecretFileError> {
        let mut secrets = match &self.secret {
            Some(secret) => vec![secret.clone()],
            None => secret::load_or_generate(data_dir)?,
        };
        secrets.extend_from_slice(&self.previous_secrets);
        Ok(secrets)
    }

    /// Checks what single values cannot say of themselves.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sub_second = !self.revocation_poll.is_zero() && self.revocation_poll.as_millis() <= 900;
        let rules = [
            (
                "algorithms",
                "at least one is needed",
                !self.algorithms.is_empty(),
            ),
            ("issuer", "must not be empty", !self.issuer.is_empty()),
            ("audience", "must not be empty", !self.audience.is_empty()),
            (
                "revocation_poll",
                "must be between 1 ms and 900 ms",
                sub_second,
            ),
            (
                "leeway",
                "must be at most one minute",
                self.leeway.as_secs() <= 60,
            ),
            (
                "ticket_ttl",
                "must be at most 5 minutes",
                self.ticket_ttl.as_secs() <= 300,
            ),
            (
                "jwks_refresh",
                "must be at least one second",
                self.jwks_refresh.as_secs() >= 1,
            ),
        ];
        match rules.into_iter().find(|(_, _, holds)| !holds) {
            None => Ok(()),
            Some((key, problem, _)) => Err(ConfigError { key, problem }),
        }
    }
}

/// Where public keys come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum JwksSource {
    /// A file in the format of RFC 7517, read again when it is due.
    File(PathBuf),
    /// An address that serves the same.
    Url(String),
}

/// The text is not a place for keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("keys are a file or an https URL; plain http is for loopback only")]
pub struct JwksSourceError;

impl FromStr for JwksSource {
    type Err = JwksSourceError;
    fn from_str(text: &str) -> Result<Self, JwksSourceError> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let url = reqwest::Url::parse(text).map_err(|_| JwksSourceError)?;
        match url.scheme() {
            "https" => Ok(Self::Url(text.into())),
            "http" if is_loopback(&url) => Ok(Self::Url(text.into())),
            _ => Err(JwksSourceError),
        }
    }
}

fn is_loopback(url: &reqwest::Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

impl TryFrom<String> for JwksSource {
    type Error = JwksSourceError;
    fn try_from(text: String) -> Result<Self, JwksSourceError> {
        text.parse()
    }
}

impl From<JwksSource> for String {
    fn from(source: JwksSource) -> String {
        source.to_string()
    }
}

impl fmt::Display for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys_come_from_a_file_or_over_https() {
        let url = |text: &str| text.parse::<JwksSource>();
        assert_eq!(
            url("/etc/keys.json"),
            Ok(JwksSource::File("/etc/keys.json".into()))
        );
        for good in [
            "https://id.example/jwks",
            "http://127.0.0.1:9/j",
            "http://[::1]/j",
        ] {
            assert_eq!(url(good), Ok(JwksSource::Url(good.into())));
        }
        for bad in [
            "http://id.example/jwks",
            "http://127.0.0.1.evil.example/",
            "ftp://x/",
            "://",
        ] {
            assert_eq!(url(bad), Err(JwksSourceError), "{bad}");
        }
    }

    #[test]
    fn the_defaults_are_valid_and_unknown_keys_are_refused() {
        assert_eq!(Config::default().validate(), Ok(()));
        assert!(serde_json::from_str::<Config>(r#"{"secrets": []}"#).is_err());
        assert!(serde_json::from_str::<Config>(r#"{"algorithms": ["none"]}"#).is_err());
        assert!(serde_json::from_str::<Config>(r#"{"secret": "short"}"#).is_err());
    }

    #[test]
    fn a_poll_that_could_miss_the_second_is_refused() {
        let config = Config {
            revocation_poll: Duration::from_secs(2),
            ..Config::default()
        };
        assert_eq!(config.validate().unwrap_err().key, "revocation_poll");
    }
}

//! Public keys of another issuer (RFC 7517), from a file or a URL, kept fresh in the background.

use std::{path::Path, time::Duration};

use http::StatusCode;
use jsonwebtoken::jwk::Jwk;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};

use super::{
    Config, JwksSource,
    keys::{KeySet, VerifyingKey},
};
use crate::http_client;

/// A larger set is not a set of keys.
const MAX_BYTES: usize = 256 * 1024;
/// Keys beyond this are ignored.
const MAX_KEYS: usize = 64;
/// An unknown `kid` triggers at most one fetch in this time, whoever sends it.
const UNKNOWN_KID_INTERVAL: Duration = Duration::from_secs(60);
/// The first delay after a failed fetch; it doubles up to the regular interval.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The address does not answer, or with an error.
    #[error("the keys cannot be fetched: {0}")]
    Fetch(reqwest::Error),
    /// The address answers with something else than 200; redirects are not followed.
    #[error("the keys cannot be fetched: the answer was {0}")]
    Status(StatusCode),
    /// More than 256 KiB.
    #[error("the key set is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not a JSON Web Key Set.
    #[error("not a key set: {0}")]
    Format(#[from] serde_json::Error),
}

impl From<reqwest::Error> for JwksError {
    /// The URL may hold a password, so it is left out.
    fn from(error: reqwest::Error) -> Self {
        Self::Fetch(error.without_url())
    }
}

/// The keys of a source and the task that keeps them fresh; the task ends with this value.
pub(super) struct RemoteKeys {
    fetched: watch::Receiver<Fetched>,
    demand: mpsc::Sender<()>,
    last_demand: Mutex<Option<Demand>>,
    patience: Duration,
}

#[derive(Clone)]
struct Fetched {
    keys: KeySet,
    attempts: u64,
    problem: Option<String>,
}

#[derive(Clone, Copy)]
struct Demand {
    at: Instant,
    attempts_before: u64,
}

impl RemoteKeys {
    /// A file must be readable at once; a URL may come up later than we do.
    pub(super) fn start(source: &JwksSource, config: &Config) -> Result<Self, JwksError> {
        let (text, keys) = match source {
            JwksSource::File(path) => {
                let (text, keys) = read_file(path)?;
                (Some(text), keys)
            }
            JwksSource::Url(_) => (None, Vec::new()),
        };
        let (publish, fetched) = watch::channel(Fetched {
            keys: KeySet::new(keys),
            attempts: 0,
            problem: None,
        });
        let (demand, demanded) = mpsc::channel(1);
        let refresher = Refresher {
            source: Source::new(source, config.jwks_timeout)?,
            text,
            interval: config.jwks_refresh,
            publish,
            demanded,
        };
        tokio::spawn(refresher.run());
        Ok(Self {
            fetched,
            demand,
            last_demand: Mutex::new(None),
            patience: config.jwks_timeout,
        })
    }

    pub(super) fn keys(&self) -> KeySet {
        self.fetched.borrow().keys.clone()
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.fetched.borrow().problem.clone()
    }

    /// Waits for a fetch that began after the unknown key was met; false, without waiting, when
    /// there was one within the last minute.
    pub(super) async fn fetch_for_unknown_kid(&self) -> bool {
        let Some(before) = self.place_demand() else {
            return false;
        };
        let mut fetched = self.fetched.clone();
        let done = fetched.wait_for(|fetched| fetched.attempts > before);
        matches!(timeout(self.patience, done).await, Ok(Ok(_)))
    }

    /// The number of attempts that must be exceeded, or `None` if no fetch will come.
    fn place_demand(&self) -> Option<u64> {
        let attempts = self.fetched.borrow().attempts;
        let mut last = self.last_demand.lock();
        match *last {
            Some(recent) if recent.at.elapsed() < UNKNOWN_KID_INTERVAL => {
                let under_way = recent.attempts_before == attempts;
                under_way.then_some(attempts)
            }
            _ => {
                *last = Some(Demand {
                    at: Instant::now(),
                    attempts_before: attempts,
                });
                // A full queue means that a fetch is about to begin: just as good.
                let _ = self.demand.try_send(());
                Some(attempts)
            }
        }
    }
}

struct Refresher {
    source: Source,
    /// What the keys in use were read from, if there are any yet.
    text: Option<Vec<u8>>,
    interval: Duration,
    publish: watch::Sender<Fetched>,
    demanded: mpsc::Receiver<()>,
}

impl Refresher {
    async fn run(mut self) {
        let mut back_off = FIRST_BACK_OFF;
        loop {
            let outcome = self.source.fetch().await;
            let outcome = outcome.and_then(|text| self.changed(text));
            let delay = if outcome.is_ok() {
                back_off = FIRST_BACK_OFF;
                self.interval
            } else {
                let delay = back_off.min(self.interval);
                back_off = delay * 2;
                delay
            };
            self.take(outcome);
            if let Ok(None) = timeout(delay, self.demanded.recv()).await {
                return;
            }
        }
    }

    /// The keys of a text, unless it is that of the keys in use: those stay the set that they are,
    /// and the tokens that it verified stay known.
    fn changed(&mut self, text: Vec<u8>) -> Result<Option<KeySet>, JwksError> {
        if self.text.as_ref() == Some(&text) {
            return Ok(None);
        }
        let keys = KeySet::new(parse(&text)?);
        self.text = Some(text);
        Ok(Some(keys))
    }

    /// A failure keeps the keys we have; a success replaces them all, so that a key withdrawn by
    /// its issuer verifies nothing any more.
    fn take(&self, outcome: Result<Option<KeySet>, JwksError>) {
        if let Err(error) = &outcome {
            tracing::warn!(%error, "token keys were not refreshed; the last known stay in use");
        }
        self.publish.send_modify(|fetched| {
            fetched.attempts += 1;
            match outcome {
                Ok(changed) => {
                    if let Some(keys) = changed {
                        fetched.keys = keys;
                    }
                    fetched.problem = None;
                }
                Err(error) => fetched.problem = Some(error.to_string()),
            }
        });
    }
}

enum Source {
    File(std::path::PathBuf),
    Url {
        client: reqwest::Client,
        url: String,
    },
}

impl Source {
    /// Redirects are not followed: who answers is who was configured.
    fn new(source: &JwksSource, limit: Duration) -> Result<Self, JwksError> {
        match source {
            JwksSource::File(path) => Ok(Self::File(path.clone())),
            JwksSource::Url(url) => Ok(Self::Url {
                client: http_client(|client| {
                    client
                        .timeout(limit)
                        .redirect(reqwest::redirect::Policy::none())
                })?,
                url: url.clone(),
            }),
        }
    }

    async fn fetch(&self) -> Result<Vec<u8>, JwksError> {
        match self {
            Self::File(path) => {
                let text = tokio::fs::read(path).await;
                text.map_err(|source| file_error(path, source))
            }
            Self::Url { client, url } => {
                let response = client.get(url).send().await?.error_for_status()?;
                if response.status() != StatusCode::OK {
                    return Err(JwksError::Status(response.status()));
                }
                bounded_body(response).await
            }
        }
    }
}

async fn bounded_body(mut response: reqwest::Response) -> Result<Vec<u8>, JwksError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BYTES {
            return Err(JwksError::TooLarge);
        }
    }
    Ok(body)
}

fn read_file(path: &Path) -> Result<(Vec<u8>, Vec<VerifyingKey>), JwksError> {
    let text = std::fs::read(path).map_err(|source| file_error(path, source))?;
    let keys = parse(&text)?;
    Ok((text, keys))
}

fn file_error(path: &Path, source: std::io::Error) -> JwksError {
    JwksError::File {
        path: path.display().to_string(),
        source,
    }
}

/// Keys that we cannot use are skipped, as RFC 7517 (section 5) asks.
fn parse(text: &[u8]) -> Result<Vec<VerifyingKey>, JwksError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(text)?;
    let keys = set.keys.into_iter().take(MAX_KEYS);
    Ok(keys
        .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
        .filter_map(|key| VerifyingKey::from_jwk(&key))
        .collect())
}

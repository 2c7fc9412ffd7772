//! Taking up a secret that was rotated while the server runs.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Weak,
    time::{Duration, SystemTime},
};

use tokio::time::{MissedTickBehavior, interval};

use super::{
    Config, Tokens,
    secret::{Secret, SecretFileError},
    tokens::Inner,
};

/// How often the file of the secret is looked at.
pub const SECRET_POLL: Duration = Duration::from_secs(2);

/// What tells one state of the file from another: it is replaced, never written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    inode: u64,
}

impl Tokens {
    /// Takes up the secrets of the data directory whenever they are rotated, until the last
    /// handle of these tokens is gone. A file that cannot be used changes nothing, and is
    /// complained of once. Call it within a runtime; where the configuration names the secret,
    /// there is nothing to follow.
    pub fn follow(&self, config: &Config, data_dir: &Path) {
        if config.secret.is_none() {
            let (config, data_dir) = (config.clone(), data_dir.to_owned());
            tokio::spawn(follow(self.downgrade(), config, data_dir));
        }
    }
}

async fn follow(tokens: Weak<Inner>, config: Config, data_dir: PathBuf) {
    let mut ticks = interval(SECRET_POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What was read at the start may be older than this: the first look reads it again.
    let mut seen = None;
    loop {
        ticks.tick().await;
        let Some(tokens) = Tokens::upgrade(&tokens) else {
            return;
        };
        let stamp = stamp(&data_dir.join("secret"));
        if stamp == seen {
            continue;
        }
        seen = stamp;
        let read = config.secrets(&data_dir);
        if let Err(error) = take_up(&tokens, read) {
            tracing::error!(%error, "the rotated secret is not taken up");
        }
    }
}

fn take_up(
    tokens: &Tokens,
    secrets: Result<Vec<Secret>, SecretFileError>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let secrets = secrets?;
    tokens.rotate(&secrets)?;
    tracing::info!(
        earlier = secrets.len().saturating_sub(1),
        "signing with the newest secret"
    );
    Ok(())
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        modified: metadata.modified().ok()?,
        inode: metadata.ino(),
    })
}

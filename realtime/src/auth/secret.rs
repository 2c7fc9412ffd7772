//! The secret that signs the tokens of this installation.

use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The shortest secret that is accepted: the output of the smallest hash (RFC 7518, section 3.2).
const MIN_BYTES: usize = 32;
/// What is generated: as much as the largest hash takes, in hexadecimal.
const GENERATED_BYTES: usize = 32;

/// An HMAC secret. Never printed and never serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The text is too short for a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret has at least {MIN_BYTES} bytes, this one has {0}")]
pub struct WeakSecret(usize);

/// Why the secret of a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// Others on this machine can read it.
    #[error("{path}: permissions {mode:04o} let others read the secret; run chmod 600 on it")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line of it is too short, or there is none.
    #[error("{path}: {source}")]
    Weak {
        /// Which file.
        path: PathBuf,
        /// How short.
        source: WeakSecret,
    },
    /// The system's source of randomness failed.
    #[error("the system gave no random bytes")]
    NoRandomness,
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Secret {
    /// Takes a text of at least 32 bytes.
    pub fn new(text: impl Into<String>) -> Result<Self, WeakSecret> {
        let text = text.into();
        if text.len() < MIN_BYTES {
            return Err(WeakSecret(text.len()));
        }
        Ok(Self(text))
    }

    /// 256 random bits.
    pub fn generate() -> Result<Self, SecretFileError> {
        let mut random = [0; GENERATED_BYTES];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| SecretFileError::NoRandomness)?;
        Ok(Self(hex(&random)))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Reads the secrets of a data directory, the current one first; lines after it are previous ones,
/// whose tokens stay valid. The file (`secret`, mode 0600) is made at the first start. Of several
/// processes that start at once, all end up with the same secret.
pub fn load_or_generate(data_dir: &Path) -> Result<Vec<Secret>, SecretFileError> {
    let path = data_dir.join("secret");
    match read(&path) {
        Err(SecretFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            generate_file(data_dir, &path)?;
            read(&path)
        }
        outcome => outcome,
    }
}

/// What becomes of the secrets before a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// The latest of them still verify tokens.
    Keep,
    /// No token signed with them is believed any more.
    Forget,
}

/// Earlier secrets that are kept. Together with the current one, a token that names none is tried
/// with so many.
const MAX_EARLIER: usize = 3;

/// Puts a new secret in front of those of a data directory, whole or not at all, and says how many
/// earlier ones are kept. Running servers [take it up](super::Tokens::follow).
pub fn rotate(data_dir: &Path, earlier: Earlier) -> Result<usize, SecretFileError> {
    let path = data_dir.join("secret");
    let mut secrets = read(&path)?;
    match earlier {
        Earlier::Keep => secrets.truncate(MAX_EARLIER),
        Earlier::Forget => secrets.clear(),
    }
    let kept = secrets.len();
    secrets.insert(0, Secret::generate()?);
    let put = || {
        let draft = draft(data_dir, &secrets)?;
        fs::rename(&draft, &path)?;
        fs::File::open(data_dir)?.sync_all()
    };
    put().map_err(|source| io_error(&path, source))?;
    Ok(kept)
}

fn read(path: &Path) -> Result<Vec<Secret>, SecretFileError> {
    let text = read_guarded(path).map_err(|source| io_error(path, source))??;
    let secrets = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(Secret::new)
        .collect::<Result<Vec<_>, _>>()
        .and_then(|secrets| {
            if secrets.is_empty() {
                Err(WeakSecret(0))
            } else {
                Ok(secrets)
            }
        });
    secrets.map_err(|source| SecretFileError::Weak {
        path: path.to_owned(),
        source,
    })
}

/// The permissions are those of the opened file, so that it cannot be exchanged in between.
fn read_guarded(path: &Path) -> io::Result<Result<String, SecretFileError>> {
    let file = fs::File::open(path)?;
    let mode = file.metadata()?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Ok(Err(SecretFileError::Exposed { path, mode }));
    }
    io::read_to_string(file).map(Ok)
}

fn generate_file(data_dir: &Path, path: &Path) -> Result<(), SecretFileError> {
    let secret = Secret::generate()?;
    publish(data_dir, path, &secret).map_err(|source| io_error(path, source))
}

/// Writes beside the file and links it into place: it appears whole, and only once.
fn publish(data_dir: &Path, path: &Path, secret: &Secret) -> io::Result<()> {
    if !data_dir.exists() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)?;
    }
    let draft = draft(data_dir, std::slice::from_ref(secret))?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => fs::File::open(data_dir)?.sync_all(),
    }
}

/// Writes a file that is whole before it gets its name.
fn draft(data_dir: &Path, secrets: &[Secret]) -> io::Result<PathBuf> {
    let draft = data_dir.join(format!("secret.{}", uuid::Uuid::new_v4()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    for secret in secrets {
        writeln!(file, "{}", secret.0)?;
    }
    file.sync_all()?;
    Ok(draft)
}

fn io_error(path: &Path, source: io::Error) -> SecretFileError {
    SecretFileError::Io {
        path: path.to_owned(),
        source,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[redacted]")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_first_start_makes_a_private_file_and_the_next_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_generate(dir.path()).unwrap();
        let again = load_or_generate(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join("secret")).unwrap().mode();
        assert_eq!(first, again);
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(first[0].as_bytes().len(), 64);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no draft is left"
        );
    }

    #[test]
    fn two_directories_have_two_secrets() {
        let [a, b] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        assert_ne!(
            load_or_generate(a.path()).unwrap(),
            load_or_generate(b.path()).unwrap()
        );
    }

    #[test]
    fn processes_that_start_at_once_agree() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let all: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| load_or_generate(path).unwrap()))
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap())
                .collect()
        });
        assert!(all.iter().all(|secrets| secrets == &all[0]));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        load_or_generate(dir.path()).unwrap();
        let path = dir.path().join("secret");
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = load_or_generate(dir.path());
            assert!(
                matches!(refused, Err(SecretFileError::Exposed { .. })),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn later_lines_are_previous_secrets_and_short_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let (new, old) = ("n".repeat(32), "o".repeat(32));
        let write = |text: &str| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            load_or_generate(dir.path())
        };
        let secrets = write(&format!("{new}\n\n{old}\n")).unwrap();
        assert_eq!(
            secrets,
            [Secret::new(new).unwrap(), Secret::new(old).unwrap()]
        );
        assert!(matches!(
            write("short\n"),
            Err(SecretFileError::Weak { .. })
        ));
        assert!(matches!(write("\n"), Err(SecretFileError::Weak { .. })));
    }

    #[test]
    fn a_rotation_puts_a_new_one_in_front_and_keeps_a_few() {
        let dir = tempfile::tempdir().unwrap();
        let mut all = load_or_generate(dir.path()).unwrap();
        for kept in [1, 2, 3, 3] {
            assert_eq!(rotate(dir.path(), Earlier::Keep).unwrap(), kept);
            let now = load_or_generate(dir.path()).unwrap();
            assert!(!all.contains(&now[0]), "a new one");
            assert_eq!(now[1..], all[..kept]);
            all = now;
        }
        assert_eq!(rotate(dir.path(), Earlier::Forget).unwrap(), 0);
        let now = load_or_generate(dir.path()).unwrap();
        assert!(now.len() == 1 && !all.contains(&now[0]));
        let mode = fs::metadata(dir.path().join("secret")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let nowhere = rotate(&dir.path().join("none"), Earlier::Keep);
        assert!(matches!(nowhere, Err(SecretFileError::Io { .. })));
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new("k".repeat(40)).unwrap();
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"[redacted]\"");
        assert!(serde_json::from_str::<Secret>("\"[redacted]\"").is_err());
    }
}

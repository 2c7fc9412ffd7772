//! Why a configuration was refused.

use std::path::PathBuf;

/// A configuration that cannot be used. The text names the key, the bad value and its source.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A configuration file was named, and it is not there or not readable.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A layer does not parse, or holds an unknown key or a value of the wrong type.
    #[error("{0}")]
    Invalid(String),
    /// All values are well-formed, but one of them (or their combination) makes no sense.
    #[error("{key}: {problem}")]
    Refused {
        /// Which setting.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

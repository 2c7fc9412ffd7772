//! Directories and stores of the tests.

use quikapp_storage::{Config, SharedStore, open};

/// A data directory that goes when it is dropped.
pub(crate) struct Dir(tempfile::TempDir);

impl Dir {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The default configuration, here.
    pub(crate) fn config(&self) -> Config {
        Config::at(self.0.path().join("data"))
    }

    /// A store, which may be the second on this directory.
    pub(crate) fn open(&self) -> SharedStore {
        open(&self.config()).unwrap()
    }
}

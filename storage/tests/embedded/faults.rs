//! A disk that is full, read-only or gone: nothing is acknowledged that is not kept, health says
//! what is wrong, and everything goes on without a restart.

use std::{fs, time::Duration};

use quikapp_storage::{
    AppendError, Config, ConversationId, EntryId, Health, OpenError, Seq, SharedStore, StoreError,
    open,
};

use crate::{
    disk::{Immutable, Tmpfs, fill_up, is_root, skipped},
    support::{Appender, Dir, eventually},
};

/// Health is to say so within this time.
const RED_WITHIN: Duration = Duration::from_secs(5);

/// A conversation, and what of it was acknowledged.
struct Talk {
    store: SharedStore,
    appender: Appender,
    kept: Vec<(Seq, EntryId)>,
}

impl Talk {
    async fn start(store: SharedStore) -> Self {
        let appender = Appender::new(&store, "room").await;
        Self {
            store,
            appender,
            kept: Vec::new(),
        }
    }

    async fn say(&mut self, text: &str) -> Result<(), AppendError> {
        self.kept.push(self.appender.append(text).await?);
        Ok(())
    }

    /// Says something, which has to be refused without doubt.
    async fn is_refused(&mut self, text: &str) {
        let refused = self.say(text).await;
        assert!(
            matches!(refused, Err(AppendError::Store(StoreError::Unavailable(_)))),
            "{refused:?}"
        );
    }

    async fn turns_red(&self) -> Health {
        let store = &self.store;
        let red = eventually("health is red", async || !store.health().await.writable);
        assert!(tokio::time::timeout(RED_WITHIN, red).await.is_ok());
        let health = store.health().await;
        assert!(health.detail.is_some(), "it says why: {health:?}");
        health
    }

    async fn turns_green(&self) {
        let store = &self.store;
        eventually("health is green", async || store.health().await.writable).await;
    }

    /// What was acknowledged is kept, and nothing else.
    async fn is_whole(&self) {
        let log = self.appender.log().await;
        let log: Vec<_> = log.iter().map(|entry| (entry.seq, entry.id)).collect();
        assert_eq!(log, self.kept);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_recovers() {
    let dir = Dir::new();
    let mounted = is_root()
        .then(|| Tmpfs::mount(dir.beside("disk"), "16m"))
        .flatten();
    let Some(disk) = mounted else {
        return skipped(
            "a_full_disk_refuses_and_recovers",
            "mounting a tmpfs needs root",
        );
    };
    let data = disk.path().join("data");
    let ballast = disk.path().join("ballast");
    let mut talk = Talk::start(open(&Config::at(&data)).unwrap()).await;
    talk.say("before").await.unwrap();
    assert!(talk.store.health().await.writable);
    for _ in 0..2 {
        fill_up(&ballast);
        let large = "x".repeat(100_000);
        while talk.say(&large).await.is_ok() {}
        talk.is_refused(&large).await;
        let health = talk.turns_red().await;
        assert!(health.detail.unwrap().contains("full"));
        talk.is_whole().await;
        fs::remove_file(&ballast).unwrap();
        talk.turns_green().await;
        talk.say("after").await.unwrap();
        talk.is_whole().await;
    }
    talk.store.close().await;
    let kept = std::mem::take(&mut talk.kept);
    let mut again = Talk::start(open(&Config::at(&data)).unwrap()).await;
    again.kept = kept;
    again.is_whole().await;
    again.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_refuses_and_recovers() {
    let dir = Dir::new();
    let mut talk = Talk::start(dir.open()).await;
    talk.say("before").await.unwrap();
    let Some(read_only) = is_root().then(|| Immutable::make(&dir.data())).flatten() else {
        return skipped(
            "a_read_only_disk_refuses_and_recovers",
            "making files immutable needs root and a file system that knows the flag",
        );
    };
    talk.is_refused("on a read-only disk").await;
    talk.turns_red().await;
    talk.is_whole().await;
    drop(read_only);
    talk.turns_green().await;
    talk.say("after").await.unwrap();
    talk.is_whole().await;
    talk.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_vanishes_refuses_and_recovers() {
    let dir = Dir::new();
    let away = dir.beside("away");
    let mut talk = Talk::start(dir.open()).await;
    talk.say("before").await.unwrap();
    assert!(talk.store.health().await.writable);
    fs::rename(dir.data(), &away).unwrap();
    talk.is_refused("into nothing").await;
    talk.turns_red().await;
    fs::rename(&away, dir.data()).unwrap();
    talk.turns_green().await;
    talk.say("after").await.unwrap();
    talk.is_whole().await;
    talk.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_store_on_another_disk_is_taken_up() {
    let dir = Dir::new();
    let away = dir.beside("away");
    let mut talk = Talk::start(dir.open()).await;
    talk.say("before").await.unwrap();
    fs::rename(dir.data(), &away).unwrap();
    talk.is_refused("into nothing").await;
    fs::create_dir(dir.data()).unwrap();
    for file in ["quikapp.db", "quikapp.db-wal"] {
        fs::copy(away.join(file), dir.data().join(file)).unwrap();
    }
    talk.say("after").await.unwrap();
    talk.turns_green().await;
    talk.is_whole().await;
    let other = Talk::start(dir.open()).await;
    assert_eq!(
        other.appender.log().await.len(),
        2,
        "it went to the new files"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_store_at_the_same_path_is_not_taken_up() {
    let dir = Dir::new();
    let mut talk = Talk::start(dir.open()).await;
    talk.say("before").await.unwrap();
    fs::rename(dir.data(), dir.beside("away")).unwrap();
    let other = dir.open();
    talk.is_refused("to a stranger").await;
    let health = talk.turns_red().await;
    assert!(health.detail.unwrap().contains("another store"));
    let room = ConversationId::parse("room").unwrap();
    assert_eq!(other.conversation(&room).await, Ok(None));
}

#[test]
fn a_read_only_directory_is_named_at_the_start() {
    if is_root() {
        return skipped(
            "a_read_only_directory_is_named_at_the_start",
            "root writes wherever it likes",
        );
    }
    let dir = Dir::new();
    fs::create_dir(dir.data()).unwrap();
    let mut permissions = fs::metadata(dir.data()).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(dir.data(), permissions).unwrap();
    let refused = open(&Config::at(dir.data()));
    assert!(matches!(refused, Err(OpenError::Directory { .. })));
}

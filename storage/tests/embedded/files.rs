//! What lies in the data directory, and what is refused there.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use quikapp_storage::{Config, OpenError, open};
use rusqlite::Connection;

use crate::support::{Appender, Dir};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn refusal(dir: &Dir) -> String {
    match open(&Config::at(dir.data())) {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn the_directory_and_its_files_are_private() {
    let dir = Dir::new();
    let store = dir.open();
    Appender::new(&store, "room")
        .await
        .append("hello")
        .await
        .unwrap();
    assert_eq!(mode(&dir.data()), 0o700);
    let files: Vec<_> = fs::read_dir(dir.data())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(files.len() >= 4, "database, log, index and lock: {files:?}");
    for file in files {
        assert_eq!(mode(&file.path()), 0o600, "{file:?}");
    }
    store.close().await;
}

#[tokio::test]
async fn what_was_written_is_there_when_it_is_opened_again() {
    let dir = Dir::new();
    let first = dir.open();
    let id = first.store_id();
    let kept = Appender::new(&first, "room")
        .await
        .append("hello")
        .await
        .unwrap();
    first.close().await;
    let second = dir.open();
    assert_eq!(second.store_id(), id, "a store keeps its name");
    let log = Appender::new(&second, "room").await.log().await;
    assert_eq!((log[0].seq, log[0].id), kept);
    assert_ne!(
        Dir::new().open().store_id(),
        id,
        "stores have different names"
    );
}

#[tokio::test]
async fn a_closed_store_answers_that_it_is_closed() {
    let dir = Dir::new();
    let store = dir.open();
    let mut appender = Appender::new(&store, "room").await;
    store.close().await;
    let refused = appender.append("late").await.unwrap_err();
    assert!(refused.to_string().contains("closed"), "{refused}");
    let health = store.health().await;
    assert!(!health.writable, "{health:?}");
}

#[tokio::test]
async fn a_newer_database_is_refused_by_both_versions() {
    let dir = Dir::new();
    dir.open().close().await;
    let file = dir.data().join("quikapp.db");
    let conn = Connection::open(&file).unwrap();
    let known: i32 = conn
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    conn.pragma_update(None, "user_version", 999).unwrap();
    drop(conn);
    let refusal = refusal(&dir);
    assert!(refusal.contains("schema version 999"), "{refusal}");
    let known = format!("versions up to {known}");
    assert!(refusal.contains(&known), "{refusal}");
    let conn = Connection::open(&file).unwrap();
    let version: i32 = conn
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 999, "it was left as it was");
}

#[test]
fn another_applications_database_is_refused_and_left_alone() {
    let dir = Dir::new();
    fs::create_dir(dir.data()).unwrap();
    let file = dir.data().join("quikapp.db");
    let conn = Connection::open(&file).unwrap();
    conn.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(conn);
    let before = fs::read(&file).unwrap();
    let refusal = refusal(&dir);
    assert!(
        refusal.contains("not a database of this program"),
        "{refusal}"
    );
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let dir = Dir::new();
    fs::create_dir(dir.data()).unwrap();
    let file = dir.data().join("quikapp.db");
    let diary = "dear diary, ".repeat(1000);
    fs::write(&file, &diary).unwrap();
    let refusal = refusal(&dir);
    assert!(
        refusal.contains("not a database of this program"),
        "{refusal}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), diary);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = Dir::new();
    fs::write(dir.data(), "a file").unwrap();
    let refusal = refusal(&dir);
    assert!(refusal.contains(dir.data().to_str().unwrap()), "{refusal}");
}

#[test]
fn a_bad_setting_is_refused_before_anything_is_made() {
    let dir = Dir::new();
    let config = Config {
        readers: 0,
        ..Config::at(dir.data())
    };
    assert!(matches!(open(&config), Err(OpenError::Config(_))));
    assert!(!dir.data().exists());
}

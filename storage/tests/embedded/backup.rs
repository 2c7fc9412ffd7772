//! Copies of a store that is in use, and stores made from copies.

use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use quikapp_storage::{BackupError, backup, restore};
use rusqlite::Connection;

use crate::support::{Appender, Dir};

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_busy_store_holds_what_was_acknowledged_before() {
    let dir = Dir::new();
    let store = dir.open();
    let mut appender = Appender::new(&store, "room").await;
    let mut acknowledged = Vec::new();
    for number in 0..50 {
        acknowledged.push(appender.append(&number.to_string()).await.unwrap());
    }
    let cursor = store.cursor_now().await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (store, stop) = (store.clone(), Arc::clone(&stop));
        async move {
            let mut busy = Appender::new(&store, "busy").await;
            let mut written = 0;
            while !stop.load(Ordering::SeqCst) || written == 0 {
                busy.append("more").await.unwrap();
                written += 1;
            }
        }
    });
    let (data, file) = (dir.data(), dir.beside("copy.db"));
    let copy = move || backup(&data, &file);
    let copied = tokio::task::spawn_blocking(copy).await.unwrap().unwrap();
    stop.store(true, Ordering::SeqCst);
    writing.await.unwrap();
    assert!(copied.entries >= 50, "{copied:?}");
    let mode = fs::metadata(dir.beside("copy.db")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);

    let other = Dir::new();
    assert_eq!(
        restore(&dir.beside("copy.db"), &other.data()).unwrap(),
        copied
    );
    let restored = other.open();
    let log = Appender::new(&restored, "room").await.log().await;
    let kept: Vec<_> = log.iter().map(|entry| (entry.seq, entry.id)).collect();
    assert_eq!(kept, acknowledged);
    Appender::new(&restored, "busy").await.log().await;
    Appender::new(&restored, "room")
        .await
        .append("goes on")
        .await
        .unwrap();
    assert_ne!(restored.store_id(), store.store_id());
    assert!(
        !restored.cursor_valid(&cursor).await.unwrap(),
        "what was written after the copy is gone: cursors from before cannot go on"
    );
    restored.close().await;
    store.close().await;
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let dir = Dir::new();
    let store = dir.open();
    Appender::new(&store, "room")
        .await
        .append("hello")
        .await
        .unwrap();
    let file = dir.beside("copy.db");
    backup(&dir.data(), &file).unwrap();
    let before = fs::read(&file).unwrap();
    let again = backup(&dir.data(), &file).unwrap_err();
    assert!(matches!(again, BackupError::Exists(_)), "{again}");
    assert_eq!(fs::read(&file).unwrap(), before);
    let over = restore(&file, &dir.data()).unwrap_err();
    assert!(matches!(over, BackupError::Exists(_)), "{over}");
    assert_eq!(Appender::new(&store, "room").await.log().await.len(), 1);
    store.close().await;
}

#[tokio::test]
async fn a_log_that_a_store_left_is_not_replayed_over_a_copy() {
    let dir = Dir::new();
    let store = dir.open();
    let mut appender = Appender::new(&store, "room").await;
    appender.append("in the copy").await.unwrap();
    let file = dir.beside("copy.db");
    backup(&dir.data(), &file).unwrap();
    appender.append("after it").await.unwrap();

    // As after a crash, when only the database was moved away.
    let other = Dir::new();
    fs::create_dir_all(other.data()).unwrap();
    let left = other.data().join("quikapp.db-wal");
    fs::copy(dir.data().join("quikapp.db-wal"), &left).unwrap();
    match restore(&file, &other.data()).unwrap_err() {
        BackupError::Exists(found) => assert_eq!(found, left),
        refused => panic!("{refused}"),
    }
    assert_eq!(names(&other.data()), ["quikapp.db-wal"]);

    fs::remove_file(&left).unwrap();
    restore(&file, &other.data()).unwrap();
    let restored = other.open();
    assert_eq!(Appender::new(&restored, "room").await.log().await.len(), 1);
    restored.close().await;
    store.close().await;
}

#[tokio::test]
async fn what_is_no_copy_is_not_put_back_and_leaves_nothing_behind() {
    let dir = Dir::new();
    let store = dir.open();
    for number in 0..200 {
        let text = format!("{number} {}", "x".repeat(500));
        Appender::new(&store, "room")
            .await
            .append(&text)
            .await
            .unwrap();
    }
    store.close().await;
    let good = dir.beside("good.db");
    backup(&dir.data(), &good).unwrap();

    let junk = dir.beside("junk.db");
    fs::write(&junk, "not a database".repeat(1000)).unwrap();
    let damaged = dir.beside("damaged.db");
    fs::copy(&good, &damaged).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&damaged).unwrap();
    file.write_all_at(&[0xAA; 4096], 5 * 4096).unwrap();
    let newer = dir.beside("newer.db");
    fs::copy(&good, &newer).unwrap();
    let conn = Connection::open(&newer).unwrap();
    conn.pragma_update(None, "user_version", 999).unwrap();
    drop(conn);
    let foreign = dir.beside("foreign.db");
    let conn = Connection::open(&foreign).unwrap();
    conn.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(conn);

    let other = Dir::new();
    for (file, said) in [
        (&junk, "not a database of this program"),
        (&damaged, "damaged"),
        (&newer, "schema version 999"),
        (&foreign, "not a database of this program"),
        (&dir.beside("missing.db"), "No such file"),
    ] {
        let refused = restore(file, &other.data()).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
        assert!(!other.data().join("quikapp.db").exists());
    }
    let nothing = backup(&other.data(), &other.beside("copy.db")).unwrap_err();
    assert!(matches!(nothing, BackupError::NoStore(_)), "{nothing}");
    assert!(!names(other.beside("").as_path()).contains(&"copy.db".to_owned()));
    restore(&good, &other.data()).unwrap();
    assert_eq!(names(&other.data()), ["quikapp.db"]);
}

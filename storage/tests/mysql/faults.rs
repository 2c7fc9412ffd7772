//! The server's failures: connections that are killed, a commit that waits, a pool that is full.

use std::{sync::Arc, time::Duration};

use mysql_async::prelude::Queryable;
use quikapp_storage::{
    Append, AppendError, Backend, Claim, Config, ConversationId, ConversationKind, EntryId,
    EntryKind, Epoch, Key16, NewConversation, NewEntry, OwnerId, Role, Seq, SharedStore,
    StoreError, Timestamp, UserId, WorkspaceId, connect,
};
use tokio::task::JoinSet;

use crate::support::{Database, servers};

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

async fn group(store: &SharedStore) -> (ConversationId, Epoch) {
    let id = ConversationId::generate();
    let new = NewConversation {
        id: id.clone(),
        workspace: WorkspaceId::new("w").unwrap(),
        kind: ConversationKind::Group,
        name: None,
        created_by: user("ana"),
        created_at: Timestamp(0),
        members: vec![(user("ana"), Role::Owner)],
    };
    store.create_conversation(new).await.unwrap();
    let claim = Claim {
        owner: OwnerId::generate(),
        now: Timestamp(0),
        min_tenure_ms: 0,
    };
    let taken = store.acquire(&id, claim).await.unwrap();
    (id, taken.conversation.epoch)
}

fn part(id: &ConversationId, epoch: Epoch, tail: Seq) -> Append {
    let entry = EntryId::generate();
    Append {
        conversation: id.clone(),
        epoch,
        tail,
        entries: vec![NewEntry {
            id: entry,
            kind: EntryKind::Message,
            sender: user("ana"),
            keys: Key16(*entry.0.as_bytes()).into(),
            hash: [0; 32],
            counts: true,
            target: None,
            payload: "{}".into(),
            at: Timestamp(0),
            effects: Vec::new(),
        }],
    }
}

/// While somebody kills every connection again and again, what is acknowledged is in the log, and
/// the log is dense; what is not known is looked up by its key.
#[tokio::test(flavor = "multi_thread")]
async fn killed_connections_lose_nothing() {
    for (name, server) in servers() {
        let database = Database::on(&server).await;
        let store = database.open().await.unwrap().store;
        let mut senders = JoinSet::new();
        for _ in 0..4 {
            let store = store.clone();
            senders.spawn(async move { send_through(&store, 40).await });
        }
        let mut conn = database.conn().await;
        let mut kills = 0;
        while !senders.is_empty() {
            let own: u32 = conn
                .query_first("SELECT CONNECTION_ID()")
                .await
                .unwrap()
                .unwrap();
            let others: Vec<u64> = conn
                .query(format!(
                    "SELECT id FROM information_schema.processlist
                     WHERE db = DATABASE() AND id <> {own}"
                ))
                .await
                .unwrap();
            for id in others {
                // It may have gone by itself.
                kills += u64::from(conn.query_drop(format!("KILL {id}")).await.is_ok());
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
            while let Some(done) = senders.try_join_next() {
                done.unwrap();
            }
        }
        assert!(kills > 0, "{name}: nothing was killed");
        let health = store.health().await;
        assert!(health.writable, "{name}: {health:?}");
        store.close().await;
        database.drop().await;
    }
}

/// Sends so many, each until it is known to be kept; then reads the log.
async fn send_through(store: &SharedStore, count: u64) {
    let (id, epoch) = loop {
        // The killer may be quicker than the start.
        let made = tokio::spawn({
            let store = store.clone();
            async move { group(&store).await }
        });
        if let Ok(made) = made.await {
            break made;
        }
    };
    let mut tail = Seq(0);
    while tail.0 < count {
        let part = part(&id, epoch, tail);
        loop {
            match store.append(vec![part.clone()]).await.remove(0) {
                Ok(appended) => {
                    assert_eq!(appended.tail, tail.next());
                    break;
                }
                // The commit before, whose outcome was not known, was kept.
                Err(AppendError::DuplicateKey { .. }) => break,
                Err(AppendError::Store(
                    StoreError::Unavailable(_) | StoreError::Unknown(_) | StoreError::Overloaded,
                )) => {}
                Err(error) => panic!("{error}"),
            }
        }
        tail = tail.next();
    }
    let log = loop {
        if let Ok(log) = store.entries(&id, Seq(0), usize::MAX).await {
            break log;
        }
    };
    let places: Vec<u64> = log.iter().map(|entry| entry.seq.0).collect();
    assert_eq!(places, (1..=count).collect::<Vec<u64>>());
}

/// A full pool refuses in time, says so, and works again afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_refuses_in_time() {
    for (name, server) in servers() {
        let database = Database::on(&server).await;
        let config = Config {
            connections: 1,
            connection_wait_ms: 100,
            ..database.config(std::path::Path::new("/nonexistent"))
        };
        let store = connect(&config).await.unwrap().store;
        let (id, epoch) = group(&store).await;
        // A row that the append needs is locked, so it keeps the only connection.
        let mut conn = database.conn().await;
        conn.query_drop("START TRANSACTION").await.unwrap();
        let lock = "SELECT * FROM conversations FOR UPDATE";
        conn.query_drop(lock).await.unwrap();
        let waiting = tokio::spawn({
            let (store, part) = (store.clone(), part(&id, epoch, Seq(0)));
            async move { store.append(vec![part]).await.remove(0) }
        });
        let refused = loop {
            if let Err(error) = store.conversation(&id).await {
                break error;
            }
        };
        assert_eq!(refused, StoreError::Overloaded, "{name}");
        conn.query_drop("ROLLBACK").await.unwrap();
        assert!(
            waiting.await.unwrap().is_ok(),
            "{name}: a late acknowledgement"
        );
        assert!(store.conversation(&id).await.is_ok(), "{name}");
        store.close().await;
        database.drop().await;
    }
}

/// A pool whose connections are all in use says that the server is busy, not that it is broken.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_well() {
    for (name, server) in servers() {
        let database = Database::on(&server).await;
        let config = Config {
            connections: 1,
            ..database.config(std::path::Path::new("/nonexistent"))
        };
        let store = connect(&config).await.unwrap().store;
        let (id, epoch) = group(&store).await;
        let mut conn = database.conn().await;
        conn.query_drop("START TRANSACTION").await.unwrap();
        let lock = "SELECT * FROM conversations FOR UPDATE";
        conn.query_drop(lock).await.unwrap();
        let waiting = tokio::spawn({
            let (store, part) = (store.clone(), part(&id, epoch, Seq(0)));
            async move { store.append(vec![part]).await.remove(0) }
        });
        // Once somebody stands in line in vain the only connection is in use.
        while store.conversation(&id).await.is_ok() {}
        let health = store.health().await;
        assert!(health.writable, "{name}: {health:?}");
        conn.query_drop("ROLLBACK").await.unwrap();
        assert!(waiting.await.unwrap().is_ok(), "{name}");
        store.close().await;
        database.drop().await;
    }
}

/// Readers of the stream while several processes write: nobody passes an entry that appears later.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_never_passes_what_another_process_commits() {
    for (name, server) in servers() {
        let database = Database::on(&server).await;
        let reader = database.open().await.unwrap().store;
        let mut ready = Vec::new();
        for _ in 0..3 {
            let store = database.open().await.unwrap().store;
            let (id, epoch) = group(&store).await;
            ready.push((store, id, epoch));
        }
        let start = reader.cursor_now().await.unwrap();
        let mut writers = JoinSet::new();
        for (store, id, epoch) in ready {
            writers.spawn(async move {
                for tail in 0..60 {
                    let part = part(&id, epoch, Seq(tail));
                    store.append(vec![part]).await.remove(0).unwrap();
                }
                store.close().await;
            });
        }
        let ana = quikapp_storage::Person {
            workspace: WorkspaceId::new("w").unwrap(),
            user: user("ana"),
        };
        let (mut cursor, mut seen) = (start.clone(), 0);
        while seen < 180 {
            let done = writers.is_empty();
            let page = reader.missed(&ana, &cursor, 7).await.unwrap();
            seen += page.entries.len();
            let lost = done && page.entries.is_empty() && seen < 180;
            assert!(!lost, "{name}: passed some; {seen} seen");
            cursor = page.next;
            while writers.try_join_next().is_some() {}
        }
        let counted = reader
            .backlog(&ana, &start, u64::MAX)
            .await
            .unwrap()
            .unwrap()
            .count;
        assert_eq!(counted, 180, "{name}");
        reader.close().await;
        database.drop().await;
    }
}

/// A server that is gone is told by readiness, and not with its address.
#[tokio::test]
async fn readiness_tells_what_is_wrong() {
    for (name, server) in servers() {
        let database = Database::on(&server).await;
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            people: Backend::Embedded,
            ..database.config(dir.path())
        };
        let connected = connect(&config).await.unwrap();
        let names: Vec<(&str, &str)> = connected
            .dependencies
            .iter()
            .map(|it| (it.name.as_str(), it.keeps.as_str()))
            .collect();
        let expected = [
            ("mysql", "log, registers, timers, security"),
            ("embedded", "people, devices"),
        ];
        assert_eq!(names, expected, "{name}");
        let [mysql, embedded] = connected.dependencies.as_slice() else {
            panic!("two stores");
        };
        assert_eq!(mysql.check().await, Ok(()));
        database.drop().await;
        let problem = mysql.check().await.unwrap_err();
        assert!(problem.starts_with("log, registers"), "{name}: {problem}");
        assert_eq!(
            embedded.check().await,
            Ok(()),
            "{name}: only the one that is gone"
        );
        connected.store.close().await;
    }
}

/// Many write one conversation's registers, and many conversations at once, while it is appended
/// to: nobody waits in a circle for ever.
#[tokio::test(flavor = "multi_thread")]
async fn registers_and_appends_do_not_lock_each_other_out() {
    for (name, server) in servers() {
        let database = Database::on(&server).await;
        let store = database.open().await.unwrap().store;
        let mut rooms = Vec::new();
        for _ in 0..4 {
            rooms.push(group(&store).await);
        }
        let rooms = Arc::new(rooms);
        let mut work = JoinSet::new();
        for turn in 0..4 {
            let (store, rooms) = (store.clone(), Arc::clone(&rooms));
            work.spawn(async move {
                for step in 0..20 {
                    let (id, epoch) = &rooms[turn];
                    let part = part(id, *epoch, Seq(step));
                    store.append(vec![part]).await.remove(0).unwrap();
                    let mut writes: Vec<_> = rooms
                        .iter()
                        .map(|(id, _)| quikapp_storage::RegisterWrite {
                            conversation: id.clone(),
                            user: user("ana"),
                            change: quikapp_storage::RegisterChange::Delivered(Seq(step + 1)),
                        })
                        .collect();
                    writes.rotate_left(turn);
                    store.write_registers(writes).await.unwrap();
                }
            });
        }
        while let Some(done) = work.join_next().await {
            done.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        store.close().await;
        database.drop().await;
    }
}

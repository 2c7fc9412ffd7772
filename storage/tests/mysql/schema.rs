//! The schema: made once, by one of many, left alone when it is newer or somebody else's. And
//! what it must not depend on.

use mysql_async::prelude::Queryable;
use quikapp_storage::{
    ConversationId, ConversationKind, NewConversation, Person, ProfileChange, Role, Timestamp,
    UserId, WorkspaceId,
};
use tokio::task::JoinSet;

use crate::support::{Database, servers};

/// Ten processes that start at once make one schema, and one store.
#[tokio::test(flavor = "multi_thread")]
async fn many_that_start_at_once_make_one_store() {
    for (name, server) in servers() {
        let database = std::sync::Arc::new(Database::on(&server).await);
        let mut starts = JoinSet::new();
        for _ in 0..10 {
            let database = std::sync::Arc::clone(&database);
            starts.spawn(async move {
                let connected = database.open().await.unwrap();
                let id = connected.store.store_id();
                connected.store.close().await;
                id
            });
        }
        let mut ids = starts.join_all().await;
        ids.dedup();
        assert_eq!(ids.len(), 1, "{name}: {ids:?}");
        let database = std::sync::Arc::into_inner(database).unwrap();
        let mut conn = database.conn().await;
        let versions: Vec<i64> = conn
            .query("SELECT version FROM schema_versions")
            .await
            .unwrap();
        assert_eq!(versions, [1, 2, 3], "{name}: each step was noted once");
        // A step that was interrupted is done again, and what there is stays.
        conn.query_drop("DELETE FROM schema_versions")
            .await
            .unwrap();
        let again = database.open().await.unwrap().store;
        assert_eq!(again.store_id(), ids[0], "{name}");
        again.close().await;
        database.drop().await;
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    for (name, server) in servers() {
        let database = Database::on(&server).await;
        database.open().await.unwrap().store.close().await;
        let mut conn = database.conn().await;
        let newer = "INSERT INTO schema_versions VALUES (999, 'from the future', 0)";
        conn.query_drop(newer).await.unwrap();
        let refusal = database.open().await.map(drop).unwrap_err().to_string();
        assert!(refusal.contains("schema version 999"), "{name}: {refusal}");
        database.drop().await;
    }
}

#[tokio::test]
async fn the_tables_of_somebody_else_are_left_alone() {
    for (name, server) in servers() {
        let database = Database::on(&server).await;
        let mut conn = database.conn().await;
        conn.query_drop("CREATE TABLE messages (x INT)")
            .await
            .unwrap();
        let refusal = database.open().await.map(drop).unwrap_err().to_string();
        assert!(refusal.contains("messages"), "{name}: {refusal}");
        let tables: Vec<String> = conn.query("SHOW TABLES").await.unwrap();
        assert_eq!(tables, ["messages"], "{name}");
        database.drop().await;
    }
}

/// What cannot be reached or entered is named, without its password.
#[tokio::test]
async fn a_refusal_to_connect_shows_no_password() {
    let backend = |url: &str| {
        let url = quikapp_storage::ServerUrl::parse(url).unwrap();
        quikapp_storage::Backend::Server(url)
    };
    let mut urls = vec!["mysql://quik:s3cret@127.0.0.1:1/chat".to_owned()];
    for (_, server) in servers() {
        let place = server.rsplit('@').next().unwrap_or_default().to_owned();
        urls.push(format!("mysql://nobody:s3cret@{place}chat"));
    }
    for url in urls {
        let config = crate::support::everything_in(backend(&url), std::path::Path::new("/x"));
        let error = quikapp_storage::connect(&config)
            .await
            .map(drop)
            .unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains(":***@"), "{text}");
    }
}

/// Moments are numbers: a server (or another session) in another time zone changes nothing. Names
/// are bytes: case, accents and blanks at the end tell people apart.
#[tokio::test]
async fn time_zones_and_collations_do_not_matter() {
    for (name, server) in servers() {
        let database = Database::on(&server).await;
        let store = database.open().await.unwrap().store;
        let workspace = WorkspaceId::new("w").unwrap();
        let users = ["ana", "Ana", "aná", "ana ", "ＡＮＡ"].map(|name| UserId::new(name).unwrap());
        let at = Timestamp(1_743_296_400_123);
        for user in &users {
            let person = Person {
                workspace: workspace.clone(),
                user: user.clone(),
            };
            let change = ProfileChange {
                name: Some(format!("it is {user}")),
                last_seen: Some(at),
                ..ProfileChange::default()
            };
            store.put_profile(&person, change).await.unwrap();
        }
        let new = NewConversation {
            id: ConversationId::generate(),
            workspace: workspace.clone(),
            kind: ConversationKind::Group,
            name: Some("наш 🏠".to_owned()),
            created_by: users[0].clone(),
            created_at: at,
            members: users
                .iter()
                .map(|user| (user.clone(), Role::Member))
                .collect(),
        };
        let id = new.id.clone();
        store.create_conversation(new).await.unwrap();
        let mut conn = database.conn().await;
        conn.query_drop("SET time_zone = '+09:30'").await.unwrap();
        let seen: Vec<i64> = conn
            .query("SELECT DISTINCT last_seen FROM profiles")
            .await
            .unwrap();
        assert_eq!(seen, [at.0], "{name}");
        let profiles = store.profiles(&workspace, &users).await.unwrap();
        assert_eq!(profiles.len(), users.len(), "{name}");
        for profile in profiles {
            assert_eq!(profile.name, Some(format!("it is {}", profile.person.user)));
            assert_eq!(profile.last_seen, Some(at), "{name}");
        }
        let members = store.members(&id, None, 10).await.unwrap();
        let mut sorted = users.to_vec();
        sorted.sort();
        let members: Vec<UserId> = members.into_iter().map(|member| member.user).collect();
        assert_eq!(members, sorted, "{name}: by bytes, as everywhere");
        store.close().await;
        database.drop().await;
    }
}

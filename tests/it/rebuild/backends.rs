//! The same where servers keep the logs and what is derived from them.

use std::sync::Arc;

use mongodb::bson::doc;
use mysql_async::prelude::Queryable;
use quikapp_storage::{Consumer, SharedStore, connect};
use tempfile::tempdir;

use super::{Chat, differing};
use crate::support::{Addresses, Layout, Server, Site, with_site, within};

/// Each projection, and how to damage it in SQL.
const DAMAGE: [(&str, &str); 5] = [
    (
        "history",
        "DELETE FROM messages WHERE seq % 2 = 0;
         UPDATE messages SET words = 'wrong', body = '{}', deleted = 0, pinned = 1 - pinned",
    ),
    (
        "threads",
        "DELETE FROM thread_entries; DELETE FROM thread_followers",
    ),
    ("queue", "DELETE FROM pending; DELETE FROM pending_totals"),
    ("timers", "DELETE FROM timers"),
    ("documents", "DELETE FROM documents"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_damaged_on_mysql_is_as_it_was_after_a_rebuild() {
    on_servers("rebuilding on mysql", Layout::Sql("mysql")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_damaged_on_mongodb_and_mysql_is_as_it_was_after_a_rebuild() {
    on_servers("rebuilding on mongodb and mysql", Layout::Mixed).await;
}

async fn on_servers(title: &str, layout: Layout) {
    if let Some(addresses) = Addresses::given(title) {
        with_site(layout, &addresses, damaged_and_rebuilt).await;
    }
}

async fn damaged_and_rebuilt(site: Arc<Site>) {
    let dir = tempdir().unwrap();
    // Whoever prepares servers is told what they keep.
    let prepared = site.run(dir.path(), &["migrate"]).await;
    let keeps = match site.mongo().await {
        Some(_) => "mongodb: up to date (log, devices)",
        None => "mysql: up to date (log, registers, timers, people, devices, security)",
    };
    assert!(prepared.contains(keeps), "{prepared}");
    let mut server = site.serve(dir.path()).await;
    let chat = Chat::on(&server).await;
    derived(&server).await;
    let before = chat.seen(&server).await;
    assert_eq!(before["thread"]["thread"]["unread"], 2, "{before}");
    assert!(before["overview"]["pending"]["count"].as_u64() > Some(10));
    let due = timers(&site).await;
    assert_eq!(due.len(), 1);

    // Each by its name, and at last all together.
    let names = DAMAGE.map(|(name, _)| name);
    let each = names.iter().map(std::slice::from_ref);
    for damaged in each.chain([&names[..]]) {
        let is_all = damaged.len() == names.len();
        server.terminate().await;
        for name in damaged {
            damage(&site, name).await;
        }
        server = site.serve(dir.path()).await;
        let seen = chat.damaged(&server, &before).await;
        let is_damaged = !seen.is_empty() || timers(&site).await != due;
        assert!(is_damaged, "{damaged:?} is seen nowhere");
        server.terminate().await;
        let named = if is_all { &[] } else { damaged };
        let told = site.run(dir.path(), &[&["rebuild"], named].concat()).await;
        for name in names {
            let is_told = told.lines().any(|line| line.starts_with(name));
            assert_eq!(is_told, damaged.contains(&name), "{told}");
        }
        server = site.serve(dir.path()).await;
        let after = chat.seen(&server).await;
        for part in differing(&before, &after) {
            assert_eq!(after[&part], before[&part], "{part} after {damaged:?}");
        }
        assert_eq!(timers(&site).await, due, "after {damaged:?}");
    }
    server.terminate().await;
}

async fn damage(site: &Site, name: &str) {
    if let ("history", Some(mongo)) = (name, site.mongo().await) {
        return damage_views(&mongo).await;
    }
    let damage = DAMAGE.iter().find(|(known, _)| *known == name).unwrap();
    let mut conn = site.sql().await;
    for statement in damage.1.split(';') {
        conn.query_drop(statement).await.unwrap();
    }
    conn.disconnect().await.unwrap();
}

/// Of some messages nothing is left but their entries, of others what was never so.
async fn damage_views(mongo: &mongodb::Database) {
    let entries = mongo.collection::<mongodb::bson::Document>("entries");
    let views = doc! { "line": { "$exists": true } };
    let wrong =
        doc! { "$set": { "text": "wrong", "body": "{}", "deleted": false, "pinned": true } };
    let damaged = entries.update_many(views.clone(), wrong).await.unwrap();
    assert!(damaged.modified_count > 10, "{damaged:?}");
    let lost = doc! { "seq": { "$mod": [2, 0] }, "line": { "$exists": true } };
    let gone =
        doc! { "line": "", "text": "", "body": "", "deleted": "", "pinned": "", "applied": "" };
    let damaged = entries.update_many(lost, doc! { "$unset": gone });
    assert!(damaged.await.unwrap().modified_count > 5);
}

/// When which timer is due.
async fn timers(site: &Site) -> Vec<(i64, String, i64)> {
    let mut conn = site.sql().await;
    let sql = "SELECT kind, CAST(id AS CHAR), due_at FROM timers ORDER BY kind, id";
    let timers = conn.query(sql).await.unwrap();
    conn.disconnect().await.unwrap();
    timers
}

/// Waits until every projection has come to the end of every log.
async fn derived(server: &Server) {
    let store = connect(&server.storage).await.unwrap().store;
    within("the projections", async {
        while is_behind(&store).await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    store.close().await;
}

async fn is_behind(store: &SharedStore) -> bool {
    let ids = store.all_conversations(None, 1000).await.unwrap();
    let tails = store.tails(&ids).await.unwrap();
    let ids: Vec<_> = tails.iter().map(|(id, _)| id.clone()).collect();
    for consumer in [Consumer::QUEUE, Consumer::THREADS, Consumer::TIMERS] {
        let places = store.projected(&consumer, &ids).await.unwrap();
        let mut each = places.iter().zip(&tails);
        if each.any(|(place, (_, tail))| place < tail) {
            return true;
        }
    }
    false
}

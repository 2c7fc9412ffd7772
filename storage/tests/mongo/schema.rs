//! A database that a later program has written is left alone.

use mongodb::bson::doc;
use quikapp_storage::{Config, connect};

use crate::support::{Place, with_database};

/// What a start with this database for a concern comes to.
async fn refusal(place: &Place, concern: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::at(dir.path());
    match concern {
        "log" => config.log = place.backend(),
        _ => config.devices = Some(place.backend()),
    }
    connect(&config).await.map(drop).unwrap_err().to_string()
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    with_database(|place| async move {
        place.open().await;
        let meta = place.collection("meta").await;
        let version = async |version: i64| {
            let newer = doc! { "$set": { "schema": version } };
            let changed = meta.update_one(doc! { "_id": "store" }, newer).await;
            assert_eq!(changed.unwrap().matched_count, 1);
        };
        version(999).await;
        for concern in ["log", "devices"] {
            let refusal = refusal(&place, concern).await;
            assert!(refusal.contains("schema version 999"), "{refusal}");
            assert!(
                refusal.contains("up to 1; use a newer program"),
                "{refusal}"
            );
        }
        // Whoever deletes the database opens it first.
        version(1).await;
    })
    .await;
}

/// Nothing is made in it before it is known whose it is.
#[tokio::test]
async fn a_newer_database_is_left_as_it_is() {
    with_database(|place| async move {
        let meta = place.collection("meta").await;
        let newer = doc! { "_id": "store", "schema": 2_i64, "store_id": "of a later form" };
        meta.insert_one(&newer).await.unwrap();
        refusal(&place, "log").await;
        assert_eq!(place.collections().await, ["meta"]);
        let kept = meta.find_one(doc! { "_id": "store" }).await.unwrap();
        assert_eq!(kept, Some(newer));
        meta.drop().await.unwrap();
    })
    .await;
}

//! How far the stream is read to count what somebody missed.

use mongodb::bson::doc;
use quikapp_storage::{LogKeeper, LogStore, StoreError};

use crate::support::{Sequencer, ana, group, message, with_database};

/// What lies behind the entry that makes it too much is not read: it could be anything.
#[tokio::test]
async fn the_stream_is_read_until_it_is_enough_and_no_further() {
    with_database(|place| async move {
        let log = place.open().await;
        let id = group(&log).await;
        let start = log.cursor_now().await.unwrap();
        let mut sequencer = Sequencer::take(&log, &id).await;
        for _ in 0..12 {
            sequencer.append(vec![message("hello")]).await.unwrap();
        }
        let stream = place.collection("stream").await;
        let behind = doc! { "_id": { "$gt": 8_i64 } };
        let damage = doc! { "$set": { "parts": [{ "conv": id.as_str(), "first": "damaged" }] } };
        let damaged = stream.update_many(behind, damage).await.unwrap();
        assert_eq!(damaged.modified_count, 4);
        let count = async |enough| {
            let backlog = log.log_backlog(&ana(), &start, enough).await;
            backlog.map(|backlog| backlog.unwrap().count)
        };
        assert_eq!(count(1).await, Ok(1));
        assert_eq!(count(8).await, Ok(8));
        let further = count(9).await;
        assert!(
            matches!(further, Err(StoreError::Corrupt(_))),
            "{further:?}"
        );
    })
    .await;
}

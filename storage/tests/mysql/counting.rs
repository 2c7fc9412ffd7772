//! Totals beside the queue, and transactions that are under way.

use std::time::Duration;

use mysql_async::{Conn, prelude::Queryable};

use crate::support::{Database, servers};

/// Waits until the store wants to write the totals, and cannot.
async fn waits_for_totals(conn: &mut Conn) {
    let waiting = "SELECT COUNT(*) FROM information_schema.processlist
                   WHERE db = DATABASE() AND (info LIKE 'INSERT INTO pending_totals%'
                                              OR info LIKE 'UPDATE pending_totals%')";
    let look = async {
        while conn.query_first(waiting).await.unwrap() == Some(0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(10), look).await;
    assert!(seen.is_ok(), "nobody waits");
}

/// Somebody queues an entry, and has not committed: what is counted again has both, the row and
/// its count.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_queued_is_counted_once() {
    for (name, server) in servers() {
        let database = Database::on(&server).await;
        let store = database.open().await.unwrap().store;
        let [mut writer, mut observer] = [database.conn().await, database.conn().await];
        for statement in [
            "INSERT INTO pending VALUES ('w', 'bob', 1, 1, 1, 0, 0)",
            "INSERT INTO pending_totals VALUES ('w', 'bob', 1)",
            "START TRANSACTION",
            "INSERT INTO pending VALUES ('w', 'bob', 1, 2, 2, 0, 0)",
            "UPDATE pending_totals SET total = total + 1",
        ] {
            writer.query_drop(statement).await.unwrap();
        }
        let counting = tokio::spawn({
            let store = store.clone();
            async move { store.recount_queues(None, 9).await }
        });
        waits_for_totals(&mut observer).await;
        writer.query_drop("COMMIT").await.unwrap();
        let counted = counting.await.unwrap().unwrap();
        assert_eq!(counted.len(), 1, "{name}");
        let total: Option<i64> = observer
            .query_first("SELECT total FROM pending_totals")
            .await
            .unwrap();
        assert_eq!(total, Some(2), "{name}");
        store.close().await;
        database.drop().await;
    }
}

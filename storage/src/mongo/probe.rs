//! Asks the server how it is.

use std::time::Duration;

use mongodb::bson::doc;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use uuid::Uuid;

use super::{db::Db, schema::META};
use crate::Health;

/// A result of a probe is good for this long.
const FRESH: Duration = Duration::from_secs(1);
/// A probe that takes longer has failed: less than what readiness waits for an answer.
const DEADLINE: Duration = Duration::from_millis(1500);

/// What the last probe found.
#[derive(Debug, Default)]
pub(super) struct Probe(Mutex<Option<(Instant, Health)>>);

impl Probe {
    /// How the server is, asked at most once in a while.
    pub(super) async fn health(&self, db: &Db) -> Health {
        let mut last = self.0.lock().await;
        if let Some((at, health)) = &*last
            && at.elapsed() < FRESH
        {
            return health.clone();
        }
        let health = look(db).await;
        *last = Some((Instant::now(), health.clone()));
        health
    }
}

async fn look(db: &Db) -> Health {
    let started = Instant::now();
    let meta = db.collection(META);
    let touched = doc! { "$set": { "by": Uuid::new_v4().to_string() } };
    let write = meta
        .update_one(doc! { "_id": "probe" }, touched)
        .upsert(true);
    let outcome = timeout(DEADLINE, db.write_aside(write.into_future())).await;
    let detail = match outcome {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("mongodb: a write took longer than {DEADLINE:?}")),
    };
    Health {
        writable: detail.is_none(),
        detail,
        latency_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
    }
}

//! A pool of connections that only read. Each read sees one snapshot.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{fault::Sql, place::Place};
use crate::StoreError;

/// Runs reads on blocking threads, as many at a time as there are connections.
///
/// At most `max_waiting` reads wait for a connection; beyond that a read is refused with
/// [`StoreError::Overloaded`].
#[derive(Debug)]
pub(super) struct Readers {
    place: Arc<Place>,
    idle: Arc<Mutex<Vec<Reader>>>,
    permits: Semaphore,
    waiting: AtomicUsize,
    max_waiting: usize,
    cache_kib: u32,
}

#[derive(Debug)]
struct Reader {
    generation: u64,
    conn: Connection,
}

impl Readers {
    /// A pool; connections are made when they are first needed.
    pub(super) fn new(place: Arc<Place>, count: usize, max_waiting: usize, cache_kib: u32) -> Self {
        Self {
            place,
            idle: Arc::new(Mutex::new(Vec::with_capacity(count))),
            permits: Semaphore::new(count),
            waiting: AtomicUsize::new(0),
            max_waiting,
            cache_kib,
        }
    }

    /// Runs a read in a snapshot of its own.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Sql<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let _permit = self.admit().await?;
        let place = Arc::clone(&self.place);
        let idle = Arc::clone(&self.idle);
        let cache_kib = self.cache_kib;
        let task = tokio::task::spawn_blocking(move || {
            let reader = take(&place, &idle, cache_kib)?;
            let outcome = snapshot(&reader.conn, work);
            if reader.conn.is_autocommit() {
                idle.lock().push(reader);
            }
            outcome.map_err(StoreError::from)
        });
        let outcome = task
            .await
            .unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())));
        metrics::histogram!("quikapp_store_read_seconds").record(started.elapsed());
        outcome
    }

    /// Closes the pool: reads fail from now on, connections are closed once they are idle.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().clear();
    }

    async fn admit(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        let _waiting = Waiting::enter(&self.waiting, self.max_waiting)?;
        self.permits
            .acquire()
            .await
            .map_err(|_| StoreError::Unavailable("the store is closed".to_owned()))
    }
}

/// One read that waits; leaves when it is dropped, also when its caller gives up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize, max: usize) -> Result<Self, StoreError> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let waiting = Self(count);
        if before < max {
            Ok(waiting)
        } else {
            Err(StoreError::Overloaded)
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An idle connection of the present generation, or a new one.
fn take(place: &Place, idle: &Mutex<Vec<Reader>>, cache_kib: u32) -> Result<Reader, StoreError> {
    let generation = place.generation();
    loop {
        match idle.lock().pop() {
            Some(reader) if reader.generation == generation => return Ok(reader),
            Some(_) => {}
            None => break,
        }
    }
    let unavailable = |error: rusqlite::Error| StoreError::Unavailable(error.to_string());
    let conn = place.connect(cache_kib).map_err(unavailable)?;
    conn.pragma_update(None, "query_only", true)
        .map_err(unavailable)?;
    Ok(Reader { generation, conn })
}

fn snapshot<T>(conn: &Connection, work: impl FnOnce(&Connection) -> Sql<T>) -> Sql<T> {
    conn.prepare_cached("BEGIN")?.execute([])?;
    let outcome = work(conn);
    conn.prepare_cached("COMMIT")?.execute([])?;
    outcome
}

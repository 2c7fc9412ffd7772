//! The one writer: a thread that drains what is queued into one transaction, commits, and then
//! answers all. While it waits for the disk the next batch gathers, so the cost of an fsync is
//! shared by everybody who waits (group commit).

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    checkpoint::Checkpointer,
    fault::{self, Fault, Sql},
    place::{Link, Place},
};
use crate::StoreError;

/// Hands jobs to the writer thread, which has the checkpointer at its side.
///
/// The queue is bounded; when it is full a write is refused with [`StoreError::Overloaded`].
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    trouble: Arc<Trouble>,
}

/// Why the last commit that met the disk failed; cleared by a probe that succeeds.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Option<String>>);

impl Trouble {
    /// What is wrong, if anything is.
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().clone()
    }

    fn set(&self, reason: &str) {
        let mut trouble = self.0.lock();
        if trouble.is_none() {
            tracing::error!(reason, "the store does not take writes");
        }
        *trouble = Some(reason.to_owned());
    }

    /// Writes work again.
    pub(super) fn clear(&self) {
        if let Some(reason) = self.0.lock().take() {
            tracing::info!(reason, "the store takes writes again");
        }
    }
}

enum Message {
    Write(Box<dyn Job>),
    Stop,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(
        place: Arc<Place>,
        queue_len: usize,
        max_batch: usize,
        cache_kib: u32,
    ) -> std::io::Result<Self> {
        let (queue, inbox) = mpsc::channel(queue_len);
        let trouble = Arc::new(Trouble::default());
        let (checkpointer, checkpoints) = Checkpointer::start(Arc::clone(&place))?;
        let worker = Worker {
            link: Link::new(Arc::clone(&place), cache_kib),
            place,
            trouble: Arc::clone(&trouble),
            checkpointer,
        };
        let writes = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || worker.run(inbox, max_batch))?;
        Ok(Self {
            queue,
            threads: Mutex::new(vec![writes, checkpoints]),
            trouble,
        })
    }

    /// Runs a piece of work in the next transaction. Returns once it is durable; an error of the
    /// work undoes the work alone.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> Sql<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_guarded(move |conn, guard| guard.run(conn, &work))
            .await
    }

    /// The same for work that has parts and guards each.
    pub(super) async fn write_guarded<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection, Guard) -> Sql<Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply_to, reply) = oneshot::channel();
        let job = Box::new(Pending {
            work,
            outcome: None,
            reply_to,
        });
        self.queue
            .try_send(Message::Write(job))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => closed(),
            })?;
        reply
            .await
            .unwrap_or_else(|_| Err(StoreError::Unknown("the writer gave up".to_owned())))
    }

    /// What keeps writes from working.
    pub(super) fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// Commits what is queued and ends the threads.
    pub(super) async fn stop(&self) {
        // A writer that is gone already is what is wanted.
        let _ = self.queue.send(Message::Stop).await;
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // A panic of the thread was reported where it happened.
            let _ = tokio::task::spawn_blocking(|| thread.join()).await;
        }
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}

/// How a piece of work that fails is kept from touching the others of its transaction.
///
/// A savepoint makes SQLite copy every page that the work changes, which costs a third of all
/// appends. But work looks before it writes, so it hardly ever fails half way. A batch is
/// therefore tried bare; if one fails after all, it is rolled back and done again with care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Any failure gives up the transaction.
    Bare,
    /// Each piece of work has a savepoint to go back to.
    Savepoint,
}

impl Guard {
    /// Runs work. The outer error means that the transaction cannot go on; the inner one, that
    /// the work failed and left nothing behind.
    pub(super) fn run<T>(
        self,
        conn: &Connection,
        work: impl FnOnce(&Connection) -> Sql<T>,
    ) -> Sql<Result<T, StoreError>> {
        match self {
            Self::Bare => work(conn).map(Ok),
            Self::Savepoint => savepoint(conn, work),
        }
    }
}

fn savepoint<T>(
    conn: &Connection,
    work: impl FnOnce(&Connection) -> Sql<T>,
) -> Sql<Result<T, StoreError>> {
    execute(conn, "SAVEPOINT work")?;
    let outcome = match work(conn) {
        Ok(value) => Ok(value),
        Err(fault) if given_up(conn, &fault) => return Err(fault),
        Err(fault) => {
            execute(conn, "ROLLBACK TO work")?;
            Err(fault.into())
        }
    };
    execute(conn, "RELEASE work")?;
    Ok(outcome)
}

/// Whether a transaction is beyond help, or SQLite has ended it already.
fn given_up(conn: &Connection, fault: &Fault) -> bool {
    fault.is_environmental() || conn.is_autocommit()
}

/// A piece of work with somebody who waits for it.
trait Job: Send {
    /// Does the work, perhaps for the second time. An error means that the transaction cannot go
    /// on.
    fn run(&mut self, conn: &Connection, guard: Guard) -> Result<(), Fault>;

    /// Tells whoever waits, once it is known what became of the transaction.
    fn answer(self: Box<Self>, committed: &Result<(), StoreError>);
}

struct Pending<T, F> {
    work: F,
    outcome: Option<Result<T, StoreError>>,
    reply_to: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Pending<T, F>
where
    T: Send,
    F: Fn(&Connection, Guard) -> Sql<Result<T, StoreError>> + Send,
{
    fn run(&mut self, conn: &Connection, guard: Guard) -> Result<(), Fault> {
        self.outcome = Some((self.work)(conn, guard)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: &Result<(), StoreError>) {
        let answer = match (committed, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(closed()),
            (Err(error), _) => Err(error.clone()),
        };
        // Whoever asked may have gone; the work is done all the same.
        let _ = self.reply_to.send(answer);
    }
}

struct Worker {
    place: Arc<Place>,
    link: Link,
    trouble: Arc<Trouble>,
    checkpointer: Checkpointer,
}

impl Worker {
    fn run(mut self, mut inbox: mpsc::Receiver<Message>, max_batch: usize) {
        let mut messages = Vec::with_capacity(max_batch);
        let mut stopped = false;
        while !stopped && inbox.blocking_recv_many(&mut messages, max_batch) > 0 {
            metrics::gauge!("quikapp_store_write_queue").set(to_f64(inbox.len()));
            let mut batch = Vec::with_capacity(messages.len());
            for message in messages.drain(..) {
                match message {
                    Message::Write(job) => batch.push(job),
                    Message::Stop => stopped = true,
                }
            }
            self.commit_or_recover(batch);
        }
    }

    /// A panic in one job (a bug) costs its batch, whose callers learn that the outcome is
    /// unknown, and not the store.
    fn commit_or_recover(&mut self, batch: Vec<Box<dyn Job>>) {
        if catch_unwind(AssertUnwindSafe(|| self.commit(batch))).is_err() {
            tracing::error!("a write panicked; its batch was rolled back");
            self.link.reset();
        }
    }

    fn commit(&mut self, mut batch: Vec<Box<dyn Job>>) {
        if batch.is_empty() {
            return;
        }
        let started = Instant::now();
        let outcome = self.transact(&mut batch);
        metrics::histogram!("quikapp_store_commit_seconds").record(started.elapsed());
        metrics::histogram!("quikapp_store_batch_writes").record(to_f64(batch.len()));
        if let Err(error) = &outcome {
            self.trouble.set(&error.to_string());
            metrics::counter!("quikapp_store_commit_failures_total").increment(1);
            self.checkpointer.nudge();
        }
        for job in batch {
            job.answer(&outcome);
        }
        if outcome.is_ok()
            && let Ok(conn) = self.link.get()
        {
            self.checkpointer.after_commit(conn);
        }
    }

    fn transact(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let conn = self.link.get()?;
        let outcome = fill(conn, batch).and_then(|()| commit(conn));
        if outcome.is_err() {
            // What a failed commit leaves in a connection is not worth reasoning about.
            self.link.reset();
            return outcome;
        }
        self.place.check().map_err(StoreError::Unknown)
    }
}

/// Opens a transaction and does the work. Nothing is kept when this fails.
fn fill(conn: &Connection, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    let unavailable = |fault: Fault| match StoreError::from(fault) {
        StoreError::Unavailable(reason) => StoreError::Unavailable(reason),
        other => StoreError::Unavailable(other.to_string()),
    };
    match attempt(conn, batch, Guard::Bare) {
        Err(fault) if given_up(conn, &fault) => Err(unavailable(fault)),
        Err(_) => {
            execute(conn, "ROLLBACK").map_err(|error| unavailable(error.into()))?;
            attempt(conn, batch, Guard::Savepoint).map_err(unavailable)
        }
        Ok(()) => Ok(()),
    }
}

fn attempt(conn: &Connection, batch: &mut [Box<dyn Job>], guard: Guard) -> Sql<()> {
    execute(conn, "BEGIN IMMEDIATE")?;
    batch.iter_mut().try_for_each(|job| job.run(conn, guard))
}

fn commit(conn: &Connection) -> Result<(), StoreError> {
    execute(conn, "COMMIT").map_err(|error| fault::of_commit(&error))
}

fn execute(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.execute([]).map(drop)
}

#[expect(clippy::cast_precision_loss, reason = "a queue length, for a gauge")]
pub(super) fn to_f64(count: usize) -> f64 {
    count as f64
}

//! The one writer of a process: a task that drains what is queued into one transaction, commits,
//! and then answers all. While it waits for the server the next batch gathers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

use super::{
    append,
    pool::{Pool, transact},
};
use crate::{Append, AppendError, Appended, Config, StoreError};

/// Payloads of one transaction, so that no statement meets the server's packet limit because many
/// share it.
const MAX_BYTES: usize = 4 << 20;
/// Positions that are left out after a new connection: more than there can be under way.
const JUMP: u64 = 1 << 20;

type Results = Vec<Result<Appended, AppendError>>;

/// Hands appends to the task. The queue is bounded; when it is full an append is refused with
/// [`StoreError::Overloaded`].
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    task: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Append(Job),
    Stop,
}

struct Job {
    parts: Vec<Append>,
    reply_to: oneshot::Sender<Results>,
}

impl Job {
    fn bytes(&self) -> usize {
        let entries = self.parts.iter().flat_map(|part| &part.entries);
        entries.map(|entry| entry.payload.len()).sum()
    }
}

impl Writer {
    /// Starts the task.
    pub(super) fn start(pool: Arc<Pool>, config: &Config) -> Self {
        let (queue, inbox) = mpsc::channel(config.write_queue);
        let worker = Worker {
            pool,
            tried: AtomicU64::new(0),
            kept: AtomicU64::new(0),
        };
        let task = tokio::spawn(worker.run(inbox, config.max_batch));
        Self {
            queue,
            task: Mutex::new(Some(task)),
        }
    }

    /// Appends in the next transaction.
    pub(super) async fn append(&self, parts: Vec<Append>) -> Results {
        let count = parts.len();
        let (reply_to, reply) = oneshot::channel();
        let sent = self
            .queue
            .try_send(Message::Append(Job { parts, reply_to }));
        let error = match sent {
            Ok(()) => match reply.await {
                Ok(results) => return results,
                Err(_) => StoreError::Unknown("the writer gave up".to_owned()),
            },
            Err(mpsc::error::TrySendError::Full(_)) => StoreError::Overloaded,
            Err(mpsc::error::TrySendError::Closed(_)) => {
                StoreError::Unavailable("the store is closed".to_owned())
            }
        };
        vec![Err(AppendError::Store(error)); count]
    }

    /// Commits what is queued and ends the task.
    pub(super) async fn stop(&self) {
        // A writer that is gone already is what is wanted.
        let _ = self.queue.send(Message::Stop).await;
        let task = self.task.lock().take();
        if let Some(task) = task {
            // A panic of the task was reported where it happened.
            let _ = task.await;
        }
    }
}

struct Worker {
    pool: Arc<Pool>,
    /// How many connections had been made when the last append was tried,
    tried: AtomicU64,
    /// and when the last was kept.
    kept: AtomicU64,
}

impl Worker {
    async fn run(self, mut inbox: mpsc::Receiver<Message>, max_batch: usize) {
        let mut messages = Vec::with_capacity(max_batch);
        let mut stopped = false;
        while !stopped && inbox.recv_many(&mut messages, max_batch).await > 0 {
            let (mut batch, mut bytes) = (Vec::with_capacity(messages.len()), 0);
            for message in messages.drain(..) {
                match message {
                    Message::Append(job) => {
                        bytes += job.bytes();
                        batch.push(job);
                    }
                    Message::Stop => stopped = true,
                }
                if bytes > MAX_BYTES {
                    self.commit(std::mem::take(&mut batch)).await;
                    bytes = 0;
                }
            }
            self.commit(batch).await;
        }
    }

    async fn commit(&self, batch: Vec<Job>) {
        if batch.is_empty() {
            return;
        }
        let began = Instant::now();
        let parts: Vec<&Append> = batch.iter().flat_map(|job| &job.parts).collect();
        let outcome = self.transact(&parts).await;
        metrics::histogram!("quikapp_store_commit_seconds").record(began.elapsed());
        metrics::histogram!("quikapp_store_batch_writes").record(to_f64(parts.len()));
        if outcome.is_err() {
            metrics::counter!("quikapp_store_commit_failures_total").increment(1);
        }
        let mut results = outcome
            .unwrap_or_else(|error| vec![Err(AppendError::Store(error)); parts.len()])
            .into_iter();
        for job in batch {
            let mine = results.by_ref().take(job.parts.len()).collect();
            // Whoever asked may have gone; the work is done all the same.
            let _ = job.reply_to.send(mine);
        }
    }

    /// Tried bare first: parts hardly ever fail half way.
    async fn transact(&self, parts: &[&Append]) -> Result<Results, StoreError> {
        let bare = transact!(self.pool, |db| append::append_all(db, parts, self.jump())
            .await);
        let outcome = match bare.await {
            Err(StoreError::Invalid(_) | StoreError::Corrupt(_)) => {
                let each = transact!(self.pool, |db| {
                    append::append_each(db, parts, self.jump()).await
                });
                each.await
            }
            other => other,
        };
        if outcome.is_ok() {
            let tried = self.tried.load(Ordering::Relaxed);
            self.kept.store(tried, Ordering::Relaxed);
        }
        outcome
    }

    /// Asked within the transaction, whose connection counts already. A connection that is made
    /// later costs another jump.
    fn jump(&self) -> u64 {
        let made = self.pool.connections_made();
        self.tried.store(made, Ordering::Relaxed);
        match made > self.kept.load(Ordering::Relaxed) {
            true => JUMP,
            false => 0,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count, for a histogram")]
fn to_f64(count: usize) -> f64 {
    count as f64
}

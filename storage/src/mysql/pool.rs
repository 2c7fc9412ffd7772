//! Connections to one server: as many as there are permits, kept while they are good.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mysql_async::{Conn, Params, Row, prelude::Queryable};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

use super::{
    dial::{Dialer, hang_up},
    fault::{self, Fault, Sql},
    probe::ProbeLine,
};
use crate::{ServerUrl, StoreError};

/// A deadlock, a lock that did not come, or a connection that was lost before anything was kept:
/// the work is done so often at most.
const ATTEMPTS: u32 = 5;
/// Between two attempts, growing.
const PAUSE: Duration = Duration::from_millis(5);

/// Does work on a connection of a pool, again if [`Pool::judge`] says so; a future of what comes
/// out. (A method that takes a closure over `&mut Db` would be the same, but its future is not
/// known to be `Send`.)
macro_rules! run {
    ($pool:expr, |$db:ident| $work:expr) => {
        async {
            let mut effort = $crate::mysql::pool::Effort::begin();
            loop {
                let work = async {
                    let mut lease = $pool.get().await?;
                    let $db = &mut lease;
                    $work
                };
                let outcome = $crate::mysql::pool::attempt(work).await;
                if let Some(result) = $pool.judge(&mut effort, outcome).await {
                    break result;
                }
            }
        }
    };
}

/// The same in a transaction.
macro_rules! transact {
    ($pool:expr, |$db:ident| $work:expr) => {
        $crate::mysql::pool::run!($pool, |$db| {
            $db.begin().await?;
            let outcome = $crate::mysql::pool::attempt(async { $work }).await;
            $db.finish(outcome).await
        })
    };
}
pub(super) use {run, transact};

/// Says what comes out of an attempt.
pub(super) async fn attempt<T>(work: impl Future<Output = Sql<T>>) -> Sql<T> {
    work.await
}

/// How much has been tried.
pub(super) struct Effort {
    attempts: u32,
    began: Instant,
}

impl Effort {
    pub(super) fn begin() -> Self {
        Self {
            attempts: 1,
            began: Instant::now(),
        }
    }
}

/// A bounded pool. Whoever finds it empty waits for the configured time and is then refused with
/// [`StoreError::Overloaded`].
#[derive(Debug)]
pub(super) struct Pool {
    url: ServerUrl,
    dialer: Dialer,
    idle: Mutex<Vec<Conn>>,
    probe_line: ProbeLine,
    made: AtomicU64,
    permits: Arc<Semaphore>,
    wait: Duration,
    patience: Duration,
}

impl Pool {
    /// A pool; connections are made when they are first needed.
    pub(super) fn new(
        url: ServerUrl,
        dialer: Dialer,
        count: usize,
        wait: Duration,
        patience: Duration,
    ) -> Self {
        Self {
            url,
            dialer,
            idle: Mutex::default(),
            probe_line: ProbeLine::default(),
            made: AtomicU64::new(0),
            permits: Arc::new(Semaphore::new(count)),
            wait,
            patience,
        }
    }

    /// What to do after an attempt: `Some` is the answer, `None` means to try again. Work is done
    /// again, a bounded number of times and as long as a server may take to answer, when it failed
    /// for a passing reason and nothing of it was kept.
    pub(super) async fn judge<T>(
        &self,
        effort: &mut Effort,
        outcome: Sql<T>,
    ) -> Option<Result<T, StoreError>> {
        let fault = match outcome {
            Ok(value) => return Some(Ok(value)),
            Err(fault) => fault,
        };
        if matches!(fault, Fault::Lost(_) | Fault::Unanswered(_)) {
            // Whatever ended this connection has probably ended the others.
            self.forget_idle();
        }
        let attempt = effort.attempts;
        let is_over = attempt >= ATTEMPTS || effort.began.elapsed() >= self.patience;
        if !fault.is_transient() || is_over {
            return Some(Err(self.clean(fault.into())));
        }
        tracing::debug!(?fault, attempt, "doing it again");
        metrics::counter!("quikapp_store_retries_total").increment(1);
        sleep(PAUSE * attempt * attempt).await;
        effort.attempts += 1;
        None
    }

    /// A connection for as long as the caller keeps it.
    pub(super) async fn get(&self) -> Sql<Db<'_>> {
        let permit = timeout(self.wait, Arc::clone(&self.permits).acquire_owned());
        let permit = match permit.await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(Fault::Lost("the store is closed".to_owned())),
            Err(_) => return Err(Fault::Crowded),
        };
        let idle = self.idle.lock().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => self.connect().await?,
        };
        Ok(Db {
            pool: self,
            conn: Some(conn),
            is_open: false,
            is_broken: false,
            _permit: permit,
        })
    }

    async fn connect(&self) -> Sql<Conn> {
        let conn = self.dialer.dial().await?;
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(conn)
    }

    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    pub(super) fn probe_line(&self) -> &ProbeLine {
        &self.probe_line
    }

    /// How many connections have been made so far.
    pub(super) fn connections_made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Takes secrets out of a message that the driver made.
    pub(super) fn clean(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Unavailable(what) => StoreError::Unavailable(self.url.scrub(&what)),
            StoreError::Unknown(what) => StoreError::Unknown(self.url.scrub(&what)),
            StoreError::Corrupt(what) => StoreError::Corrupt(self.url.scrub(&what)),
            StoreError::Invalid(what) => StoreError::Invalid(self.url.scrub(&what)),
            StoreError::Overloaded => StoreError::Overloaded,
        }
    }

    fn forget_idle(&self) {
        let idle = std::mem::take(&mut *self.idle.lock());
        idle.into_iter().for_each(hang_up);
    }

    /// Refuses work from now on.
    pub(super) fn close(&self) {
        self.permits.close();
        self.forget_idle();
    }
}

/// A connection on loan. It goes back when it is dropped, unless it was lost, or its transaction
/// is still open (a caller that gave up): then it is closed, and the server rolls back.
pub(super) struct Db<'a> {
    pool: &'a Pool,
    conn: Option<Conn>,
    is_open: bool,
    is_broken: bool,
    _permit: OwnedSemaphorePermit,
}

impl Db<'_> {
    /// All rows of a query.
    pub(super) async fn all<T>(
        &mut self,
        sql: &str,
        params: impl Into<Params> + Send,
        mut decode: impl FnMut(&mut Row) -> Sql<T>,
    ) -> Sql<Vec<T>> {
        let params = params.into();
        let (conn, answer) = self.usable()?;
        let rows: Vec<Row> = answer.to(conn.exec(sql, params)).await?;
        rows.into_iter().map(|mut row| decode(&mut row)).collect()
    }

    /// The first row of a query.
    pub(super) async fn first<T>(
        &mut self,
        sql: &str,
        params: impl Into<Params> + Send,
        decode: impl FnMut(&mut Row) -> Sql<T>,
    ) -> Sql<Option<T>> {
        let mut found = self.all(sql, params, decode).await?;
        match found.is_empty() {
            true => Ok(None),
            false => Ok(Some(found.swap_remove(0))),
        }
    }

    /// Runs a statement; how many rows it matched (of an insert: wrote).
    pub(super) async fn run(&mut self, sql: &str, params: impl Into<Params> + Send) -> Sql<u64> {
        let params = params.into();
        let (conn, answer) = self.usable()?;
        answer.to(conn.exec_drop(sql, params)).await?;
        Ok(self.conn.as_ref().map_or(0, Conn::affected_rows))
    }

    /// Runs a statement without parameters as text, which some statements need.
    pub(super) async fn command(&mut self, sql: &str) -> Sql<()> {
        let (conn, answer) = self.usable()?;
        answer.to(conn.query_drop(sql)).await
    }

    /// The value that the last statement made: an auto increment, or `LAST_INSERT_ID(...)`.
    pub(super) fn made(&self) -> Sql<u64> {
        let made = self.conn.as_ref().and_then(Conn::last_insert_id);
        made.ok_or_else(|| Fault::Corrupt("the server made no number".to_owned()))
    }

    /// Opens a transaction.
    pub(super) async fn begin(&mut self) -> Sql<()> {
        self.is_open = true;
        self.command("START TRANSACTION").await
    }

    /// Commits. After an error that is not one of the server's it is not known what became of the
    /// transaction.
    pub(super) async fn commit(&mut self) -> Sql<()> {
        let outcome = self.command("COMMIT").await.map_err(fault::of_commit);
        match outcome {
            Ok(()) => self.is_open = false,
            Err(_) => self.is_broken = true,
        }
        outcome
    }

    /// Undoes what was done since [`Db::begin`]. If that fails the connection is dropped.
    pub(super) async fn rollback(&mut self) {
        if !self.is_broken && self.command("ROLLBACK").await.is_ok() {
            self.is_open = false;
        }
    }

    /// Ends a transaction as its work went.
    pub(super) async fn finish<T>(&mut self, outcome: Sql<T>) -> Sql<T> {
        match outcome {
            Ok(value) => {
                self.commit().await?;
                Ok(value)
            }
            Err(fault) => {
                self.rollback().await;
                Err(fault)
            }
        }
    }

    /// What the server said is its `max_allowed_packet`, in bytes.
    pub(super) fn learn_packet(&self, bytes: i64) {
        if let Ok(bytes) = usize::try_from(bytes) {
            self.pool.dialer.learn_packet(bytes);
        }
    }

    fn usable(&mut self) -> Sql<(&mut Conn, Answer<'_>)> {
        let answer = Answer {
            is_broken: &mut self.is_broken,
            patience: self.pool.patience,
        };
        match self.conn.as_mut() {
            Some(conn) if !*answer.is_broken => Ok((conn, answer)),
            _ => Err(Fault::Lost("the connection was lost".to_owned())),
        }
    }
}

/// Waits for the server.
struct Answer<'a> {
    is_broken: &'a mut bool,
    patience: Duration,
}

impl Answer<'_> {
    /// The connection counts as broken until it has answered: a caller that gives up leaves an
    /// answer unread.
    async fn to<T>(self, asked: impl Future<Output = mysql_async::Result<T>>) -> Sql<T> {
        *self.is_broken = true;
        let outcome = match timeout(self.patience, asked).await {
            Ok(outcome) => outcome.map_err(Fault::from),
            Err(_) => Err(Fault::Lost("the server did not answer in time".to_owned())),
        };
        *self.is_broken = matches!(outcome, Err(Fault::Lost(_)));
        outcome
    }
}

impl Drop for Db<'_> {
    fn drop(&mut self) {
        let is_good = !self.is_broken && !self.is_open && !self.pool.permits.is_closed();
        match self.conn.take() {
            Some(conn) if is_good => self.pool.idle.lock().push(conn),
            Some(conn) => hang_up(conn),
            None => {}
        }
    }
}

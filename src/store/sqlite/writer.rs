//! The one thread that writes: it takes what waits, does it in one transaction, and answers when that is on disk.
//!
//! Under load many writes share one sync of the disk; a lone write waits for nobody. What a write means is the
//! caller's: it comes as a closure over the connection. It may be called twice, since a batch in which one fails is done
//! again with each apart from the others: then that one alone is undone, and all the other batches need no savepoints.

use crate::clock::Stopwatch;
use crate::crash::{self, Point};
use crate::lifecycle::{Panicked, caught, panic_text};
use crate::metrics::Commits;
use crate::store::StoreError;
use rusqlite::Connection;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::warn;

/// How many writes may wait; one more is told that the store is busy.
const QUEUE: usize = 4096;
/// How many writes share a transaction at most.
const BATCH: usize = 256;
/// After this long without a write the log is folded into the database.
const IDLE: Duration = Duration::from_secs(1);
/// Folds into the database what nobody reads any more, or all of the log.
const FOLD_SOME: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const FOLD_ALL: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// The handle on the writing thread; dropping it finishes what waits and ends the thread.
pub(super) struct Writer {
    queue: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    commits: Commits,
}

impl Writer {
    /// Starts the thread; it owns the connection from now on.
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        Self::spawn(connection, FOLD_ALL)
    }

    /// Starts the thread beside another process that may write too. At the end it folds in what it can without waiting for
    /// that one or holding it up.
    pub(super) fn start_beside(connection: Connection) -> std::io::Result<Self> {
        Self::spawn(connection, FOLD_SOME)
    }

    fn spawn(connection: Connection, at_the_end: &'static str) -> std::io::Result<Self> {
        let (queue, inbox) = sync_channel(QUEUE);
        let commits = Commits::of(connection.path());
        let counts = commits.clone();
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            run(&connection, &inbox, &counts);
            checkpoint(&connection, at_the_end);
        })?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)), commits })
    }

    /// Does `work` in a transaction and returns its answer once that is on disk. An error undoes this work alone.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.enqueue(work, Safety::Synced).await
    }

    /// Does `work` as [`Writer::write`] does, without waiting for the disk: it survives the end of this process, but a
    /// loss of power may take it. For what the next start finds out or decides anew.
    pub(super) async fn note<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.enqueue(work, Safety::Unsynced).await
    }

    async fn enqueue<T, F>(&self, work: F, safety: Safety) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Task { work, safety, result: None, reply };
        match self.queue.try_send(Message::Write(Box::new(task))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(StoreError::Busy { waiting: QUEUE }),
            Err(TrySendError::Disconnected(_)) => return Err(closed()),
        }
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Returns what is counted of its transactions.
    pub(super) fn commits(&self) -> Commits {
        self.commits.clone()
    }

    /// Finishes what waits, folds the log into the database and ends the thread. Blocks; a second time does nothing.
    pub(super) fn close(&self) {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        // An error means that the thread has ended already.
        let _ = self.queue.send(Message::Close);
        if thread.join().is_err() {
            warn!("the store's writer ended in a panic");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

/// What the store says once it is closed.
pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".into())
}

/// What a commit waits for. The later one asks for more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Safety {
    Unsynced,
    Synced,
}

impl Safety {
    /// In WAL mode `NORMAL` differs from `FULL` in one thing: a commit does not sync the log. The next commit that does
    /// syncs all of it.
    fn pragma(self) -> &'static str {
        match self {
            Self::Unsynced => "PRAGMA synchronous = NORMAL",
            Self::Synced => "PRAGMA synchronous = FULL",
        }
    }
}

enum Message {
    Write(Box<dyn Write>),
    Close,
}

/// One write of unknown answer type.
trait Write: Send {
    /// Returns what its commit must wait for.
    fn safety(&self) -> Safety;

    /// Does the work, perhaps for the second time; an error text means that what it did must be undone.
    fn perform(&mut self, connection: &Connection) -> Result<(), String>;

    /// Answers the caller, after the transaction was committed or was not.
    fn answer(self: Box<Self>, committed: &Result<(), String>);
}

struct Task<T, F> {
    work: F,
    safety: Safety,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Write for Task<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> Result<T, StoreError> + Send,
{
    fn safety(&self) -> Safety {
        self.safety
    }

    fn perform(&mut self, connection: &Connection) -> Result<(), String> {
        let result = catch_unwind(AssertUnwindSafe(|| (self.work)(connection)))
            .unwrap_or_else(|panic| Err(StoreError::Panicked(panic_text(panic.as_ref()).to_owned())));
        let kept = result.as_ref().map(|_| ()).map_err(ToString::to_string);
        self.result = Some(result);
        kept
    }

    fn answer(self: Box<Self>, committed: &Result<(), String>) {
        let answer = match committed {
            Ok(()) => self.result.unwrap_or_else(|| Err(closed())),
            // Even an error of its own may rest on a neighbour's write that is now undone.
            Err(why) => Err(StoreError::Unavailable(why.clone())),
        };
        // An error means that the caller no longer waits.
        let _ = self.reply.send(answer);
    }
}

fn run(connection: &Connection, inbox: &Receiver<Message>, commits: &Commits) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut log_grew = false;
    let mut closing = false;
    let mut safety = None;
    while !closing {
        let wait =
            if log_grew { inbox.recv_timeout(IDLE) } else { inbox.recv().map_err(|_| RecvTimeoutError::Disconnected) };
        match wait {
            Ok(Message::Write(write)) => batch.push(write),
            Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                checkpoint(connection, FOLD_SOME);
                log_grew = false;
                continue;
            }
        }
        while batch.len() < BATCH && !closing {
            match inbox.try_recv() {
                Ok(Message::Write(write)) => batch.push(write),
                Ok(Message::Close) => closing = true,
                Err(_) => break,
            }
        }
        let watch = Stopwatch::start();
        let work = || set_safety(connection, &batch, &mut safety).and_then(|()| transact(connection, &mut batch));
        let committed = caught("store writer", work).unwrap_or_else(|Panicked| Err(undone_after_panic(connection)));
        if committed.is_ok() {
            commits.done(batch.len(), watch.elapsed());
            // What is on disk is answered as stored, whatever happens here.
            let _ = caught("store writer", || crash::pass(Point::Written));
        }
        for write in batch.drain(..) {
            write.answer(&committed);
        }
        log_grew = true;
    }
}

/// Lets the next commit wait for what the most careful write of the batch asks for. `now` is what commits wait for now.
fn set_safety(connection: &Connection, batch: &[Box<dyn Write>], now: &mut Option<Safety>) -> Result<(), String> {
    let wanted = batch.iter().map(|write| write.safety()).max().unwrap_or(Safety::Synced);
    if *now != Some(wanted) {
        *now = None;
        connection.execute_batch(wanted.pragma()).map_err(|error| error.to_string())?;
        *now = Some(wanted);
    }
    Ok(())
}

/// Does every write of the batch in one transaction. An error means that none of them happened.
fn transact(connection: &Connection, batch: &mut [Box<dyn Write>]) -> Result<(), String> {
    let together = undone_unless_committed(connection, || perform_together(connection, batch));
    match together {
        Ok(Together::Done) => Ok(()),
        Ok(Together::OneFailed) => undone_unless_committed(connection, || perform_apart(connection, batch)),
        Err(why) => Err(why),
    }
}

/// Leaves no transaction open, whatever became of the work in it.
fn undone_unless_committed<T>(connection: &Connection, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let done = work();
    if !connection.is_autocommit()
        && let Err(error) = execute(connection, "ROLLBACK")
    {
        warn!(error, "the store could not roll back");
    }
    done
}

/// Leaves no transaction open after a panic, so that the next batch can begin one.
fn undone_after_panic(connection: &Connection) -> String {
    match undone_unless_committed(connection, || Ok(())) {
        Ok(()) => "the writer panicked".into(),
        Err(why) => why,
    }
}

enum Together {
    Done,
    /// Nothing is kept: the work of its neighbours must be done again, without it.
    OneFailed,
}

fn perform_together(connection: &Connection, batch: &mut [Box<dyn Write>]) -> Result<Together, String> {
    execute(connection, "BEGIN IMMEDIATE")?;
    let is_alone = batch.len() == 1;
    for write in batch {
        let kept = write.perform(connection);
        if kept.is_err() && is_alone {
            return Ok(Together::Done);
        }
        if kept.is_err() || connection.is_autocommit() {
            return Ok(Together::OneFailed);
        }
    }
    crash::pass(Point::Writing);
    execute(connection, "COMMIT").map(|()| Together::Done)
}

fn perform_apart(connection: &Connection, batch: &mut [Box<dyn Write>]) -> Result<(), String> {
    execute(connection, "BEGIN IMMEDIATE")?;
    for write in batch {
        execute(connection, "SAVEPOINT one")?;
        let kept = write.perform(connection);
        if connection.is_autocommit() {
            // A full disk makes SQLite roll back everything, the neighbours' work too.
            return Err(kept.err().unwrap_or_else(|| "the transaction was rolled back".into()));
        }
        if kept.is_err() {
            execute(connection, "ROLLBACK TO one")?;
        }
        execute(connection, "RELEASE one")?;
    }
    crash::pass(Point::Writing);
    execute(connection, "COMMIT")
}

fn execute(connection: &Connection, statement: &str) -> Result<(), String> {
    connection
        .prepare_cached(statement)
        .and_then(|mut prepared| prepared.execute(()))
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// Folds the log into the database; where that fails it stays in the log, which is as safe.
fn checkpoint(connection: &Connection, statement: &str) {
    if let Err(error) = connection.query_row(statement, (), |_| Ok(())) {
        warn!(%error, "the store's log could not be folded into the database");
    }
}

#[cfg(test)]
mod tests;

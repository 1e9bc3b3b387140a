//! The one thread that writes: it takes what waits, does it in one transaction, and answers when that is on disk.
//!
//! Under load many writes share one sync of the disk; a lone write waits for nobody. What a write means is the
//! caller's: it comes as a closure over the connection.

use crate::store::StoreError;
use rusqlite::Connection;
use std::any::Any;
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

/// The handle on the writing thread; dropping it finishes what waits and ends the thread.
pub(super) struct Writer {
    queue: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread; it owns the connection from now on.
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (queue, inbox) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            run(&connection, &inbox);
        })?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)) })
    }

    /// Does `work` in a transaction and returns its answer once that is on disk. An error undoes this work alone.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Task { work: Some(work), result: None, reply };
        match self.queue.try_send(Message::Write(Box::new(task))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(StoreError::Busy { waiting: QUEUE }),
            Err(TrySendError::Disconnected(_)) => return Err(closed()),
        }
        answer.await.unwrap_or_else(|_| Err(closed()))
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

enum Message {
    Write(Box<dyn Write>),
    Close,
}

/// One write of unknown answer type.
trait Write: Send {
    /// Does the work; an error text means that what it did must be undone.
    fn perform(&mut self, connection: &Connection) -> Result<(), String>;

    /// Answers the caller, after the transaction was committed or was not.
    fn answer(self: Box<Self>, committed: &Result<(), String>);
}

struct Task<T, F> {
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Write for Task<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
{
    fn perform(&mut self, connection: &Connection) -> Result<(), String> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let result = catch_unwind(AssertUnwindSafe(|| work(connection)))
            .unwrap_or_else(|panic| Err(StoreError::Damaged(format!("a write panicked: {}", text(panic.as_ref())))));
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

fn run(connection: &Connection, inbox: &Receiver<Message>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut log_grew = false;
    let mut closing = false;
    while !closing {
        let wait =
            if log_grew { inbox.recv_timeout(IDLE) } else { inbox.recv().map_err(|_| RecvTimeoutError::Disconnected) };
        match wait {
            Ok(Message::Write(write)) => batch.push(write),
            Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)");
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
        let committed = transact(connection, &mut batch);
        for write in batch.drain(..) {
            write.answer(&committed);
        }
        log_grew = true;
    }
    checkpoint(connection, "PRAGMA wal_checkpoint(TRUNCATE)");
}

/// Does every write of the batch in one transaction. An error means that none of them happened.
fn transact(connection: &Connection, batch: &mut [Box<dyn Write>]) -> Result<(), String> {
    let done = perform_all(connection, batch);
    if !connection.is_autocommit()
        && let Err(error) = execute(connection, "ROLLBACK")
    {
        warn!(error, "the store could not roll back");
    }
    done
}

fn perform_all(connection: &Connection, batch: &mut [Box<dyn Write>]) -> Result<(), String> {
    execute(connection, "BEGIN IMMEDIATE")?;
    if let [only] = batch {
        // Alone, its savepoint is the transaction: left open after an error, it is rolled back by the caller.
        return match only.perform(connection) {
            Ok(()) => execute(connection, "COMMIT"),
            Err(_) => Ok(()),
        };
    }
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

fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc;
    use tokio::task::JoinSet;

    #[tokio::test]
    async fn a_failing_write_does_not_spoil_its_neighbours() {
        let writer = writer();
        let (gate, held) = hold(&writer).await;
        let mut batch = Vec::new();
        for number in 0..100 {
            let mut write = Box::pin(writer.write(move |connection| insert(connection, number)));
            assert!(futures_util::poll!(&mut write).is_pending());
            batch.push((number, write));
        }
        drop(gate);
        held.join_all().await;
        for (number, write) in batch {
            let answer = write.await;
            match number % 10 {
                3 => assert!(matches!(answer, Err(StoreError::KeyReused(_)))),
                7 => assert!(matches!(answer, Err(StoreError::Damaged(text)) if text.contains("on purpose"))),
                _ => answer.unwrap(),
            }
        }
        let kept: i64 = writer.write(|connection| Ok(count(connection))).await.unwrap();
        assert_eq!(kept, 80);
    }

    #[tokio::test]
    async fn a_lone_write_that_fails_is_undone() {
        let writer = writer();
        assert!(writer.write(|connection| insert(connection, 3)).await.is_err());
        assert!(writer.write(|connection| insert(connection, 7)).await.is_err());
        writer.write(|connection| insert(connection, 1)).await.unwrap();
        assert_eq!(writer.write(|connection| Ok(count(connection))).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_rolled_back_fails_for_every_member() {
        let writer = writer();
        let (gate, held) = hold(&writer).await;
        let first = writer.write(|connection| insert(connection, 1));
        let second = writer.write(|connection| {
            connection.execute_batch("ROLLBACK").unwrap();
            Err::<(), _>(StoreError::Unavailable("disk full".into()))
        });
        let both = async { tokio::join!(first, second) };
        let (answers, ()) = tokio::join!(both, async move { drop(gate) });
        held.join_all().await;
        assert!(matches!(answers.0, Err(StoreError::Unavailable(text)) if text.contains("disk full")));
        assert!(answers.1.is_err());
        writer.write(|connection| insert(connection, 2)).await.unwrap();
        assert_eq!(writer.write(|connection| Ok(count(connection))).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_full_disk_stores_nothing_says_so_and_is_over_when_there_is_room() {
        let writer = writer();
        let pages: i64 = writer
            .write(|connection| Ok(connection.query_row("PRAGMA max_page_count = 2", (), |row| row.get(0))?))
            .await
            .unwrap();
        let fill = |writer: Arc<Writer>| async move {
            let work = |connection: &Connection| {
                connection.execute("INSERT INTO number VALUES (1)", ())?;
                connection.execute("CREATE TABLE page AS SELECT zeroblob(100000) AS bytes", ())?;
                Ok(())
            };
            writer.write(work).await
        };
        let (gate, held) = hold(&writer).await;
        let together = async { tokio::join!(fill(Arc::clone(&writer)), fill(Arc::clone(&writer))) };
        let (answers, ()) = tokio::join!(together, async move { drop(gate) });
        held.join_all().await;
        for answer in [answers.0, answers.1, fill(Arc::clone(&writer)).await] {
            assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?} with {pages} pages");
        }
        assert_eq!(writer.write(|connection| Ok(count(connection))).await.unwrap(), 0);
        writer
            .write(|connection| Ok(connection.query_row("PRAGMA max_page_count = 1000000", (), |_| Ok(()))?))
            .await
            .unwrap();
        fill(Arc::clone(&writer)).await.unwrap();
        assert_eq!(writer.write(|connection| Ok(count(connection))).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_full_queue_says_that_it_is_busy() {
        let writer = writer();
        let (gate, held) = hold(&writer).await;
        let mut waiting = Vec::new();
        for _ in 0..QUEUE {
            let mut write = Box::pin(writer.write(|connection| Ok(count(connection))));
            assert!(futures_util::poll!(&mut write).is_pending());
            waiting.push(write);
        }
        let one_more = writer.write(|connection| Ok(count(connection))).await;
        assert!(matches!(one_more, Err(StoreError::Busy { waiting: QUEUE })));
        drop(gate);
        held.join_all().await;
        for write in waiting {
            assert_eq!(write.await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn closing_finishes_what_waits_and_refuses_what_comes_later() {
        let writer = writer();
        let (gate, held) = hold(&writer).await;
        let mut write = Box::pin(writer.write(|connection| insert(connection, 1)));
        assert!(futures_util::poll!(&mut write).is_pending());
        let closing = Arc::clone(&writer);
        let closed = tokio::task::spawn_blocking(move || closing.close());
        drop(gate);
        closed.await.unwrap();
        held.join_all().await;
        write.await.unwrap();
        let late = writer.write(|connection| insert(connection, 2)).await;
        assert!(matches!(late, Err(StoreError::Unavailable(_))));
    }

    /// Keeps the writer busy until the gate is dropped, so that what is written meanwhile shares a transaction.
    async fn hold(writer: &Arc<Writer>) -> (mpsc::Sender<()>, JoinSet<()>) {
        let (gate, opened) = mpsc::channel::<()>();
        let (busy, is_busy) = oneshot::channel();
        let writer = Arc::clone(writer);
        let mut held = JoinSet::new();
        held.spawn(async move {
            let work = move |_: &Connection| {
                busy.send(()).unwrap();
                assert!(opened.recv().is_err());
                Ok(())
            };
            writer.write(work).await.unwrap();
        });
        is_busy.await.unwrap();
        (gate, held)
    }

    fn writer() -> Arc<Writer> {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE number (value INTEGER PRIMARY KEY)").unwrap();
        Arc::new(Writer::start(connection).unwrap())
    }

    /// Inserts the number; those that end in 3 fail afterwards, those that end in 7 panic.
    fn insert(connection: &Connection, number: i64) -> Result<(), StoreError> {
        connection.execute("INSERT INTO number VALUES (?1)", [number]).unwrap();
        assert!(number % 10 != 7, "on purpose");
        if number % 10 == 3 { Err(StoreError::KeyReused("on purpose".into())) } else { Ok(()) }
    }

    fn count(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM number", (), |row| row.get(0)).unwrap()
    }
}

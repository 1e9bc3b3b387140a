//! The writer held to its word: batches, failures, a full disk and queue, closing.

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
            7 => assert!(matches!(answer, Err(StoreError::Panicked(text)) if text.contains("on purpose"))),
            _ => answer.unwrap(),
        }
    }
    let kept: i64 = writer.write(|connection| Ok(count(connection))).await.unwrap();
    assert_eq!(kept, 80);
}

#[tokio::test]
async fn only_commits_of_nothing_but_notes_do_not_wait_for_the_disk() {
    let writer = writer();
    assert_eq!(writer.note(safety).await.unwrap(), NORMAL);
    assert_eq!(writer.write(safety).await.unwrap(), FULL);
    assert_eq!(writer.note(safety).await.unwrap(), NORMAL);
    let (gate, held) = hold(&writer).await;
    let both = async { tokio::join!(writer.note(safety), writer.write(safety), writer.note(safety)) };
    let (levels, ()) = tokio::join!(both, async move { drop(gate) });
    held.join_all().await;
    assert_eq!((levels.0.unwrap(), levels.1.unwrap(), levels.2.unwrap()), (FULL, FULL, FULL));
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
    let mut busy = Some(busy);
    let writer = Arc::clone(writer);
    let mut held = JoinSet::new();
    held.spawn(async move {
        let work = move |_: &Connection| {
            busy.take().unwrap().send(()).unwrap();
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

const NORMAL: i64 = 1;
const FULL: i64 = 2;

fn safety(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.pragma_query_value(None, "synchronous", |row| row.get(0))?)
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

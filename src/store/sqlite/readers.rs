//! A few read-only connections, lent to blocking threads; readers neither wait for the writer nor hold it up.

use super::writer::closed;
use crate::store::StoreError;
use rusqlite::Connection;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// The pool of reading connections.
pub(super) struct Readers {
    size: u32,
    free: Arc<Semaphore>,
    connections: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// Makes a pool of these connections.
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        let size = u32::try_from(connections.len()).unwrap_or(u32::MAX);
        Self { size, free: Arc::new(Semaphore::new(connections.len())), connections: Arc::new(Mutex::new(connections)) }
    }

    /// Does `work` on a free connection and a thread that may block.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| closed())?;
        let pool = Arc::clone(&self.connections);
        let reading = tokio::task::spawn_blocking(move || {
            // The permit goes last, so that whoever is let in finds the connection back.
            let permit = permit;
            let connection = pool.lock().unwrap_or_else(PoisonError::into_inner).pop().ok_or_else(closed)?;
            let lent = Lent { connection: Some(connection), pool };
            let answer = lent.connection.as_ref().map_or_else(|| Err(closed()), work);
            drop(lent);
            drop(permit);
            answer
        });
        reading.await.unwrap_or_else(|error| Err(StoreError::Panicked(format!("a read did not end: {error}"))))
    }

    /// Closes every connection, after the reads that are under way; later reads are refused.
    pub(super) async fn close(&self) {
        // An error means that it was closed before.
        if let Ok(all) = self.free.acquire_many(self.size).await {
            self.free.close();
            self.connections.lock().unwrap_or_else(PoisonError::into_inner).clear();
            drop(all);
        }
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("free", &self.free.available_permits()).finish_non_exhaustive()
    }
}

/// A connection that goes back to the pool even when the reader panics.
struct Lent {
    connection: Option<Connection>,
    pool: Arc<Mutex<Vec<Connection>>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).extend(self.connection.take());
    }
}

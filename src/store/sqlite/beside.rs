//! Opens the store beside a gateway that may be running on it, for commands that change a row or two.

use super::SqliteStore;
use super::arrivals::Numbers;
use super::schema::{self, OpenError};
use super::writer::Writer;
use std::path::Path;
use std::sync::Arc;

/// Opens the store in `folder` whether a gateway runs there or not. SQLite lets both write, one after the other. Where there
/// is no database yet, or an older one, it is made or migrated under the lock, so a gateway must not run there then.
///
/// What another process changes, the gateway sees when it reads the row again; nothing is rung.
pub fn open_beside(folder: &Path) -> Result<Arc<SqliteStore>, OpenError> {
    let path = folder.join("comfygate.db");
    let Some(connection) = schema::open_beside(&path)? else { return SqliteStore::open(folder) };
    let unusable = |source| OpenError::Folder { folder: folder.to_owned(), source };
    let readers = vec![schema::open_reader(&path)?];
    let numbers = Numbers::after_all(&connection).map_err(|source| OpenError::Sqlite { path: path.clone(), source })?;
    let writer = Writer::start_beside(connection).map_err(unusable)?;
    Ok(SqliteStore::over(readers, writer, numbers, None))
}

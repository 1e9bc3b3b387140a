//! Opens the database file: refuses what it must not touch, creates what is not there, and migrates what is older.
//!
//! A new database is built under another name and renamed when it is whole, so a file that is there and is not a
//! database is always damage: it is refused, never replaced.

use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The SQL of every schema version, oldest first.
const MIGRATIONS: [&str; 6] = [
    include_str!("../migrations/sqlite/0001.sql"),
    include_str!("../migrations/sqlite/0002.sql"),
    include_str!("../migrations/sqlite/0003.sql"),
    include_str!("../migrations/sqlite/0004.sql"),
    include_str!("../migrations/sqlite/0005.sql"),
    include_str!("../migrations/sqlite/0006.sql"),
];
/// Marks the file as one of ours: `cgat`.
const APPLICATION_ID: i64 = 0x6367_6174;
/// Below this size the whole file is checked at every start; above it only the header and the schema are read.
const CHECKED_WHOLE: u64 = 64 * 1024 * 1024;
/// The oldest SQLite that keeps its log safe when it begins anew.
const OLDEST_SQLITE: i32 = 3_051_003;

/// Why the store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made or used.
    #[error("the data folder `{}` cannot be used", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error(
        "the data folder `{}` is in use: another comfygate holds `{}`; stop that one or choose another folder",
        folder.display(), lock.display()
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// The file whose lock it holds.
        lock: PathBuf,
    },
    /// A newer comfygate wrote it.
    #[error("`{}` has schema version {found}, this comfygate knows versions up to {known}; use the newer comfygate", path.display())]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// The version in the file.
        found: usize,
        /// The newest version known here.
        known: usize,
    },
    /// It cannot be read as a database of ours.
    #[error("`{}` is damaged or not comfygate's ({reason}); restore it from a backup or move the data folder away", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The SQLite in this program is too old to be trusted.
    #[error("SQLite {found} can lose data; 3.51.3 or newer is needed")]
    OldSqlite {
        /// Its version.
        found: String,
    },
    /// SQLite said no.
    #[error("`{}` cannot be opened", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

/// Opens the database for writing, made or migrated where needed. The folder must be locked by the caller.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(OpenError::OldSqlite { found: rusqlite::version().into() });
    }
    let log = path.with_extension("db-wal");
    let log_bytes = std::fs::metadata(&log).map_or(0, |metadata| metadata.len());
    match File::open(path) {
        Ok(file) => check_header(path, file)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && log_bytes > 0 => {
            return Err(damaged(path, format!("it is missing, though its log `{}` is there", log.display())));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(path)?,
        Err(source) => return Err(OpenError::Folder { folder: path.to_owned(), source }),
    }
    keep_private(path).map_err(|source| OpenError::Folder { folder: path.to_owned(), source })?;
    open_checked(path)
}

/// Opens the database for writing while another process may have it open. None where there is none, or an older one. Touches
/// the file through SQLite alone: closing another handle on it would end the locks that this process holds.
pub(super) fn open_beside(path: &Path) -> Result<Option<Connection>, OpenError> {
    let unusable = |source| OpenError::Folder { folder: path.to_owned(), source };
    if !path.try_exists().map_err(unusable)? {
        return Ok(None);
    }
    let (connection, version) = connect(path)?;
    Ok((version == MIGRATIONS.len()).then_some(connection))
}

/// Opens a connection that can only read.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed(path))?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(failed(path))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens the database to be read as a whole, whatever state it is in; returns its schema version too.
pub(super) fn open_to_check(path: &Path) -> Result<(Connection, usize), OpenError> {
    check_header(path, File::open(path).map_err(|source| OpenError::Folder { folder: path.to_owned(), source })?)?;
    let connection = open_reader(path)?;
    let version = check_ours(path, &connection)?;
    Ok((connection, version))
}

/// Takes the rights of others away from the database and its logs: secrets are in it. SQLite makes new logs with the rights
/// of the database.
fn keep_private(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    for file in [path.to_owned(), path.with_extension("db-wal"), path.with_extension("db-shm")] {
        use std::os::unix::fs::PermissionsExt;
        let mode = match std::fs::metadata(&file) {
            Ok(metadata) => metadata.permissions().mode(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if mode & 0o077 != 0 {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

/// Makes an empty file that only its owner can read.
fn private_file(path: &Path) -> std::io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn check_header(path: &Path, mut file: File) -> Result<(), OpenError> {
    let mut header = [0; 16];
    match file.read_exact(&mut header) {
        Ok(()) if &header == b"SQLite format 3\0" => Ok(()),
        Ok(()) => Err(damaged(path, "its first bytes are not SQLite's".into())),
        Err(error) => Err(damaged(path, format!("its header cannot be read: {error}"))),
    }
}

/// Builds an empty database aside and puts it in place.
fn create(path: &Path) -> Result<(), OpenError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let unusable = |source| OpenError::Folder { folder: folder.to_owned(), source };
    let aside = path.with_extension("db.new");
    for leftover in [aside.clone(), path.with_extension("db.new-journal"), path.with_extension("db.new-wal")] {
        match std::fs::remove_file(leftover) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unusable(error)),
            Ok(()) | Err(_) => {}
        }
    }
    // Made before SQLite does it, so that nobody else can read it from the first byte on.
    private_file(&aside).map_err(unusable)?;
    let connection = Connection::open(&aside).map_err(sqlite(path))?;
    connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(sqlite(path))?;
    migrate(path, &connection, 0)?;
    connection.close().map_err(|(_, error)| sqlite(path)(error))?;
    File::open(&aside).and_then(|file| file.sync_all()).map_err(unusable)?;
    std::fs::rename(&aside, path).map_err(unusable)?;
    sync_folder(folder).map_err(unusable)
}

/// Opens a connection that writes durably, and returns the schema version that it found.
fn connect(path: &Path) -> Result<(Connection, usize), OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite(path))?;
    let failed = failed(path);
    connection.busy_timeout(Duration::from_secs(5)).map_err(&failed)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(&failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(&failed)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(&failed)?;
    connection.set_prepared_statement_cache_capacity(128);
    let synchronous = number(&connection, "synchronous").map_err(&failed)?;
    let foreign_keys = number(&connection, "foreign_keys").map_err(&failed)?;
    if mode != "wal" || synchronous != 2 || foreign_keys != 1 {
        return Err(damaged(path, format!("SQLite would not be durable: {mode}, {synchronous}, {foreign_keys}")));
    }
    let version = check_ours(path, &connection)?;
    Ok((connection, version))
}

fn open_checked(path: &Path) -> Result<Connection, OpenError> {
    let (connection, version) = connect(path)?;
    if std::fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_WHOLE) {
        // Not the quick one, which does not see where an index and its table differ: such a job would seem not to be there.
        let verdict: String =
            connection.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0)).map_err(failed(path))?;
        if verdict != "ok" {
            return Err(damaged(path, verdict));
        }
    }
    migrate(path, &connection, version)?;
    Ok(connection)
}

/// Returns the schema version of a database that is ours and not too new.
fn check_ours(path: &Path, connection: &Connection) -> Result<usize, OpenError> {
    let application = number(connection, "application_id").map_err(failed(path))?;
    if application != APPLICATION_ID {
        return Err(damaged(path, format!("its application id is {application}")));
    }
    let version = usize::try_from(number(connection, "user_version").map_err(failed(path))?).unwrap_or(0);
    if version > MIGRATIONS.len() {
        return Err(OpenError::NewerSchema { path: path.to_owned(), found: version, known: MIGRATIONS.len() });
    }
    Ok(version)
}

/// Brings the schema from `version` to the newest, each step in a transaction of its own.
fn migrate(path: &Path, connection: &Connection, version: usize) -> Result<(), OpenError> {
    for (step, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        let next = step + 1;
        connection
            .execute_batch(&format!("BEGIN IMMEDIATE;\n{migration}\nPRAGMA user_version = {next};\nCOMMIT;"))
            .map_err(sqlite(path))?;
    }
    Ok(())
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

fn damaged(path: &Path, reason: String) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), reason }
}

/// Tells damage from what has other causes: a disk or a system that says no.
fn failed(path: &Path) -> impl Fn(rusqlite::Error) -> OpenError {
    use rusqlite::ErrorCode;
    move |error| match error.sqlite_error_code() {
        Some(
            ErrorCode::PermissionDenied
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::DiskFull
            | ErrorCode::CannotOpen
            | ErrorCode::NoLargeFileSupport,
        ) => sqlite(path)(error),
        Some(_) | None => damaged(path, error.to_string()),
    }
}

fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> OpenError {
    move |source| OpenError::Sqlite { path: path.to_owned(), source }
}

/// Makes a rename in the folder survive a loss of power.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_that_fails_leaves_nothing_behind() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE attempt (x)").unwrap();
        assert!(migrate(Path::new("x"), &connection, 0).is_err());
        connection.execute_batch("ROLLBACK").unwrap();
        assert_eq!(number(&connection, "user_version").unwrap(), 0);
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn the_writer_syncs_every_commit() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open(&folder.path().join("comfygate.db")).unwrap();
        assert_eq!(number(&connection, "synchronous").unwrap(), 2);
        assert_eq!(number(&connection, "user_version").unwrap(), 6);
    }

    #[test]
    fn a_reader_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("comfygate.db");
        let _writer = open(&path).unwrap();
        let reader = open_reader(&path).unwrap();
        assert!(reader.execute("DELETE FROM job", ()).is_err());
    }
}

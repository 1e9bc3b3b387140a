//! Opening a folder: what is refused, with which words, and that nothing is ever replaced.

use crate::support::{House, copy_files, new_job};
use comfygate::store::{ListFilter, OpenError, SqliteStore, Store, StoreError};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

#[tokio::test]
async fn a_folder_in_use_is_refused_by_name_and_free_after_closing() {
    let house = House::new();
    let error = SqliteStore::open(house.folder.path()).unwrap_err();
    assert!(matches!(&error, OpenError::Locked { folder, .. } if folder == house.folder.path()));
    let text = error.to_string();
    assert!(text.contains(&house.folder.path().display().to_string()), "{text}");
    assert!(text.contains(&house.folder.path().join("lock").display().to_string()), "{text}");
    let id = house.accept(1).await;
    house.store.close().await;
    let again = SqliteStore::open(house.folder.path()).unwrap();
    assert!(again.job(id).await.unwrap().is_some());
}

#[tokio::test]
async fn dropping_the_store_gives_the_folder_free() {
    let House { folder, store } = House::new();
    drop(store);
    SqliteStore::open(folder.path()).unwrap();
}

#[tokio::test]
async fn a_closed_store_refuses_every_verb() {
    let house = House::new();
    house.store.close().await;
    house.store.close().await;
    let written = house.store.accept(new_job(1)).await;
    assert!(matches!(written, Err(StoreError::Unavailable(_))));
    let read = house.store.job(new_job(1).id).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_missing_folder_is_made_and_a_file_in_its_place_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let deep = parent.path().join("a/b");
    drop(SqliteStore::open(&deep).unwrap());
    let file = parent.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = SqliteStore::open(&file).unwrap_err();
    assert!(matches!(error, OpenError::Folder { folder, .. } if folder == file));
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_the_folder_and_the_database() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let store = SqliteStore::open(&folder).unwrap();
    store.accept(new_job(1)).await.unwrap();
    let files = ["comfygate.db", "comfygate.db-wal", "comfygate.db-shm"].map(|name| folder.join(name));
    assert_eq!(mode(&folder), 0o700);
    assert!(files.iter().all(|file| mode(file) == 0o600));
    store.close().await;
    // One that an older version has made, or that came out of a backup.
    std::fs::set_permissions(&files[0], std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = SqliteStore::open(&folder).unwrap();
    store.accept(new_job(2)).await.unwrap();
    assert!(files.iter().all(|file| mode(file) == 0o600));
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let house = House::new();
    let id = house.accept(1).await;
    house.store.close().await;
    let set_version = |version: u32| {
        let connection = Connection::open(house.database()).unwrap();
        let known: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
        known
    };
    let known = set_version(99);
    let error = SqliteStore::open(house.folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::NewerSchema { found: 99, .. }));
    assert!(error.to_string().contains("schema version 99"), "{error}");
    set_version(known);
    let store = SqliteStore::open(house.folder.path()).unwrap();
    assert!(store.job(id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_migration_that_fails_or_is_killed_half_way_is_done_again_from_its_beginning() {
    let migration = include_str!("../../src/store/migrations/sqlite/0002.sql");
    let half_done = |connection: &Connection| {
        let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'unfit'";
        let tables: u32 = connection.query_row(sql, (), |row| row.get(0)).unwrap();
        (version, tables)
    };
    let jobs = async |folder: &Path| {
        let store = SqliteStore::open(folder).unwrap();
        let listed = store.list(ListFilter { limit: 100, ..ListFilter::default() }).await.unwrap();
        (listed.len(), store.backlog().await.unwrap().queued)
    };

    // Its last step cannot be done: the steps before it are undone.
    let folder = tempfile::tempdir().unwrap();
    copy_files(&schema_1(), folder.path());
    let connection = Connection::open(folder.path().join("comfygate.db")).unwrap();
    connection.execute_batch("CREATE INDEX output_by_blob ON output (bytes)").unwrap();
    let error = SqliteStore::open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Sqlite { .. }), "{error}");
    assert_eq!(half_done(&connection), (1, 0));
    connection.execute_batch("DROP INDEX output_by_blob").unwrap();
    drop(connection);
    assert_eq!(jobs(folder.path()).await, (13, 3));

    // Killed before its commit: its pages are in the log already, since they find no room in memory.
    let folder = tempfile::tempdir().unwrap();
    copy_files(&schema_1(), folder.path());
    let connection = Connection::open(folder.path().join("comfygate.db")).unwrap();
    connection.execute_batch("PRAGMA cache_size = 1; PRAGMA cache_spill = 1").unwrap();
    let log = folder.path().join("comfygate.db-wal");
    let before = std::fs::metadata(&log).unwrap().len();
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {migration} PRAGMA user_version = 2;")).unwrap();
    assert_eq!(half_done(&connection), (2, 1));
    assert!(std::fs::metadata(&log).unwrap().len() > before, "nothing of it is on disk");
    let killed = tempfile::tempdir().unwrap();
    copy_files(folder.path(), killed.path());
    let reader = Connection::open(killed.path().join("comfygate.db")).unwrap();
    assert_eq!(half_done(&reader), (1, 0));
    drop(reader);
    assert_eq!(jobs(killed.path()).await, (13, 3));
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("comfygate.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").unwrap();
    refused_as_damaged(folder.path());
    let rows: i64 = other.query_row("SELECT count(*) FROM theirs", (), |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    for content in ["", "SQLite format 3\0", "not a database at all, but longer than any header of SQLite's would be"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("comfygate.db");
        std::fs::write(&path, content).unwrap();
        refused_as_damaged(folder.path());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
}

#[tokio::test]
async fn a_log_without_its_database_is_refused() {
    let house = House::new();
    house.accept(1).await;
    let killed = tempfile::tempdir().unwrap();
    copy_files(house.folder.path(), killed.path());
    std::fs::remove_file(killed.path().join("comfygate.db")).unwrap();
    refused_as_damaged(killed.path());
}

#[tokio::test]
async fn damage_to_any_page_is_an_error_and_never_a_fresh_start() {
    let house = House::new();
    for number in 0..20 {
        house.ended(number).await;
    }
    house.store.close().await;
    let sound = std::fs::read(house.database()).unwrap();
    let page = 4096;
    for number in 0..sound.len() / page {
        let mut torn = sound.clone();
        torn[number * page..(number + 1) * page].fill(0xA5);
        std::fs::write(house.database(), &torn).unwrap();
        refused_as_damaged(house.folder.path());
    }
    for length in [1, 15, 16, 100, page - 1, page, page + 1, sound.len() / 2, sound.len() - page] {
        std::fs::write(house.database(), &sound[..length]).unwrap();
        refused_as_damaged(house.folder.path());
    }
    std::fs::write(house.database(), &sound).unwrap();
    let store = SqliteStore::open(house.folder.path()).unwrap();
    assert_eq!(store.backlog().await.unwrap().deliveries, 20);
}

#[tokio::test]
async fn a_flipped_byte_anywhere_stops_the_start_or_spares_every_job() {
    let house = House::new();
    for number in 0..20 {
        house.ended(number).await;
    }
    let ids: Vec<_> = (0..20).map(|number| new_job(number).id).collect();
    house.store.close().await;
    let sound = std::fs::read(house.database()).unwrap();
    let page = 4096;
    let (mut refused, mut opened) = (0, 0);
    for number in 0..sound.len() / page {
        // The head of a page, its directory of cells, its middle, and its contents, which are at its end.
        for (place, mask) in [
            (0, 0xFF),
            (3, 0x01),
            (5, 0x10),
            (8, 0x80),
            (13, 0xFF),
            (100, 0xFF),
            (page / 2, 0x08),
            (page - 40, 0xFF),
            (page - 1, 0x01),
        ] {
            let mut torn = sound.clone();
            torn[number * page + place] ^= mask;
            std::fs::write(house.database(), &torn).unwrap();
            match SqliteStore::open(house.folder.path()) {
                Err(error) => {
                    refused += 1;
                    let text = error.to_string();
                    assert!(matches!(error, OpenError::Damaged { .. } | OpenError::NewerSchema { .. }), "{text}");
                    assert!(text.contains(&house.database().display().to_string()), "{text}");
                }
                Ok(store) => {
                    opened += 1;
                    let place = number * page + place;
                    for id in &ids {
                        // SQLite keeps no checksums: a changed letter within a text is not noticed, a lost row is.
                        let job = store.job(*id).await;
                        assert!(
                            matches!(job, Ok(Some(_)) | Err(StoreError::Damaged(_))),
                            "{id} after {place}: {job:?}"
                        );
                        let end = store.finished(*id).await;
                        assert!(
                            matches!(end, Ok(Some(_)) | Err(StoreError::Damaged(_))),
                            "{id} after {place}: {end:?}"
                        );
                    }
                    store.close().await;
                    drop(store);
                    std::fs::remove_file(house.database().with_extension("db-wal")).ok();
                }
            }
        }
    }
    assert!(refused > 50 && opened > 10, "{refused} refused, {opened} opened");
}

#[tokio::test]
async fn a_request_that_cannot_be_read_back_is_an_error_that_names_its_job() {
    let house = House::new();
    let id = house.accept(1).await;
    house.store.close().await;
    let connection = Connection::open(house.database()).unwrap();
    connection.execute("UPDATE job_request SET request = '{\"workflow\":3}'", ()).unwrap();
    drop(connection);
    let store = SqliteStore::open(house.folder.path()).unwrap();
    let error = store.job(id).await.unwrap_err();
    assert!(matches!(&error, StoreError::Damaged(text) if text.contains(&id.to_string())), "{error}");
    store.accept(new_job(2)).await.unwrap();
    assert!(store.job(new_job(2).id).await.unwrap().is_some());
}

#[tokio::test]
async fn the_database_itself_forbids_a_second_end() {
    let house = House::new();
    house.ended(1).await;
    house.store.close().await;
    let connection = Connection::open(house.database()).unwrap();
    for change in ["state = 'failed'", "state = 'queued', ended_at = NULL", "ended_at = 5", "run_number = 9"] {
        let error = connection.execute(&format!("UPDATE job SET {change}"), ()).unwrap_err();
        assert!(error.to_string().contains("never changes"), "{change}: {error}");
    }
}

/// A data folder of schema 1 that a killed gateway left.
fn schema_1() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data-schema1/data")
}

fn refused_as_damaged(folder: &Path) {
    let error = SqliteStore::open(folder).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains(&folder.join("comfygate.db").display().to_string()), "{error}");
}

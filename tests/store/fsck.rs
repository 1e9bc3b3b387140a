//! The check of a data folder: what is sound passes, every kind of damage is found and named, and repairing removes only
//! what is nobody's.

use crate::support::{House, after, cancelled, copy_files, failed, image, new_job, request, succeeded};
use bytes::Bytes;
use comfygate::fsck::{CheckError, Options, Report, check};
use comfygate::job::{BlobId, JobId, Outcome, Segment, Tenant, UploadId};
use comfygate::media::Blobs;
use comfygate::store::{NewUpload, OpenError, Revision, Store, Upload, UploadStore};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::Path;

const REPAIR: Options = Options { quick: false, repair: true };

#[tokio::test]
async fn a_folder_with_jobs_in_every_state_is_clean_whether_stopped_or_killed() {
    let house = lived_in().await;
    let killed = tempfile::tempdir().unwrap();
    copy_folder(house.folder.path(), killed.path());
    house.store.close().await;
    for folder in [house.folder.path(), killed.path()] {
        let before = content(folder);
        let report = check(folder, Options::default()).unwrap();
        assert!(report.is_clean(), "{}", report.text());
        assert!(report.text().contains("no problems"), "{}", report.text());
        let counted = report.database.unwrap();
        assert_eq!((counted.jobs, counted.live, counted.pending), (7, 3, 4));
        assert_eq!(report.blobs, (2, 11));
        let json = report.json();
        assert_eq!((&json["clean"], &json["database"]["jobs"]), (&true.into(), &7.into()));
        assert_eq!(content(folder), before, "the check has changed something");
    }
}

#[tokio::test]
async fn the_stored_folder_of_schema_1_is_checked_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data-schema1/data"), folder.path());
    let report = check(folder.path(), Options::default()).unwrap();
    assert!(report.is_clean(), "{}", report.text());
    let counted = report.database.unwrap();
    assert_eq!((counted.schema, counted.jobs, counted.live), (1, 13, 5));
}

#[tokio::test]
async fn input_images_and_uploads_are_somebodys_and_are_missed() {
    let house = House::new();
    let blobs = Blobs::open(house.folder.path()).unwrap();
    let (of_job, bytes) = blobs.put(Bytes::from_static(b"of a job")).await.unwrap();
    let (of_upload, more) = blobs.put(Bytes::from_static(b"of an upload")).await.unwrap();
    let revision = request(None).revision;
    let revision = Revision { hash: revision, name: "flux".into(), config: "a".into(), template: "b".into() };
    house.store.keep_revision(revision).await.unwrap();
    let mut job = new_job(1);
    job.request.images.insert("photo".into(), image(&of_job, bytes));
    house.store.accept(job).await.unwrap();
    let upload = Upload {
        id: UploadId::new([7; 16]),
        tenant: Tenant::default(),
        sha256: of_upload.clone(),
        bytes: more,
        content_type: "image/png".into(),
        width: 1,
        height: 1,
        created_at: after(1),
        expires_at: after(2),
    };
    house.store.keep_upload(NewUpload { upload, most: 1000 }).await.unwrap();
    house.store.close().await;
    let report = check(house.folder.path(), REPAIR).unwrap();
    assert!(report.is_clean() && report.repaired.is_empty(), "{}", report.text());

    for blob in [&of_job, &of_upload] {
        std::fs::remove_file(blobs.path(blob)).unwrap();
    }
    Connection::open(house.database()).unwrap().execute("DELETE FROM input", ()).unwrap();
    let report = check(house.folder.path(), Options::default()).unwrap();
    let mut found: Vec<_> = report.flaws.iter().map(|flaw| (flaw.code, flaw.subject.clone())).collect();
    found.sort();
    let mut expected = vec![
        ("blob_missing", format!("input {of_job}")),
        ("blob_missing", format!("input {of_upload}")),
        ("input_not_noted", format!("job {}", new_job(1).id)),
    ];
    expected.sort();
    assert_eq!(found, expected);
}

/// What an accident may do to the rows, and the word for it.
const ROWS: [(&str, &str); 12] = [
    ("ended_without_result", "DELETE FROM result WHERE job = (SELECT row FROM job WHERE state = 'failed')"),
    ("result_too_early", "INSERT INTO result SELECT row, '{\"segments\":[]}' FROM job WHERE state = 'queued' LIMIT 1"),
    (
        "outputs_too_early",
        "UPDATE output SET job = (SELECT row FROM job WHERE state = 'running')
         WHERE job = (SELECT job FROM output LIMIT 1)",
    ),
    (
        "delivery_too_early",
        "INSERT INTO delivery (job, url, created_at, due_at) SELECT row, 'http://a', 1, 1 FROM job
         WHERE state = 'submitted'",
    ),
    ("ended_without_delivery", "DELETE FROM delivery WHERE job = (SELECT row FROM job WHERE state = 'cancelled')"),
    (
        "delivery_unasked",
        "UPDATE job_request SET request = json_remove(request, '$.webhook_url')
         WHERE job = (SELECT row FROM job WHERE state = 'cancelled')",
    ),
    ("job_without_request", "DELETE FROM job_request WHERE job = (SELECT row FROM job WHERE state = 'queued')"),
    ("dangling_row", "INSERT INTO unfit VALUES (999, 'gpu', 0, 'x')"),
    ("revision_missing", "DELETE FROM revision"),
    ("unreadable_row", "UPDATE job_request SET request = json_set(request, '$.workflow', 3) WHERE job = 1"),
    ("unreadable_row", "UPDATE result SET body = '{' WHERE job = (SELECT row FROM job WHERE state = 'failed')"),
    ("body_and_outputs_differ", "DELETE FROM output WHERE job = (SELECT job FROM output LIMIT 1)"),
];

#[tokio::test]
async fn every_kind_of_damage_is_found_and_named() {
    let house = lived_in().await;
    house.store.close().await;
    let found_after = |expected: &str, damage: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(house.folder.path(), folder.path());
        damage(folder.path());
        let report = check(folder.path(), Options::default()).unwrap();
        assert!(found(&report).contains(expected), "{expected}: {}", report.text());
        for flaw in &report.flaws {
            assert!(report.text().contains(&flaw.what) && !flaw.remedy.is_empty(), "{flaw:?}");
        }
    };
    for (expected, sql) in ROWS {
        found_after(expected, &|folder| {
            let connection = Connection::open(folder.join("comfygate.db")).unwrap();
            connection.pragma_update(None, "foreign_keys", false).unwrap();
            assert!(connection.execute(sql, ()).unwrap() > 0, "{sql} changes nothing");
        });
    }
    found_after("blob_missing", &|folder| std::fs::remove_file(first_output(folder)).unwrap());
    found_after("blob_size", &|folder| std::fs::write(first_output(folder), "short").unwrap());
    found_after("blob_content", &|folder| flip(&first_output(folder), 3));
    let orphan = Path::new("blobs/ab").join("0".repeat(62));
    found_after("orphan", &|folder| std::fs::write(folder.join(&orphan), "x").unwrap());
    found_after("draft", &|folder| std::fs::write(folder.join("blobs/tmp/7"), "x").unwrap());
    found_after("database_damaged", &|folder| std::fs::write(folder.join("comfygate.db"), "no").unwrap());
}

#[tokio::test]
async fn a_quick_check_looks_at_sizes_only() {
    let house = lived_in().await;
    house.store.close().await;
    flip(&first_output(house.folder.path()), 0);
    let quick = Options { quick: true, repair: false };
    assert!(check(house.folder.path(), quick).unwrap().is_clean());
    assert_eq!(found(&check(house.folder.path(), Options::default()).unwrap()), BTreeSet::from(["blob_content"]));
}

#[tokio::test]
async fn repairing_removes_what_is_nobodys_and_nothing_else() {
    let house = lived_in().await;
    house.store.close().await;
    let folder = house.folder.path();
    let (orphan, draft) = (folder.join("blobs/ab").join("0".repeat(62)), folder.join("blobs/tmp/7"));
    std::fs::write(&orphan, "x").unwrap();
    std::fs::write(&draft, "x").unwrap();
    std::fs::write(folder.join("blobs/ab/notes.txt"), "not a blob").unwrap();
    let wrong = first_output(folder);
    flip(&wrong, 0);
    assert_eq!(found(&check(folder, Options::default()).unwrap()), BTreeSet::from(["blob_content", "draft", "orphan"]));
    assert!(orphan.exists() && draft.exists());
    let report = check(folder, REPAIR).unwrap();
    assert_eq!((found(&report), report.repaired.len()), (BTreeSet::from(["blob_content"]), 2));
    assert!(!orphan.exists() && !draft.exists() && wrong.exists() && folder.join("blobs/ab/notes.txt").exists());
    flip(&wrong, 0);
    assert!(check(folder, Options::default()).unwrap().is_clean());
}

#[tokio::test]
async fn where_the_database_cannot_be_read_no_output_counts_as_nobodys() {
    let house = lived_in().await;
    house.store.close().await;
    let folder = house.folder.path();
    let output = first_output(folder);
    let sound = std::fs::read(house.database()).unwrap();
    for page in 1..sound.len() / 4096 {
        let mut torn = sound.clone();
        torn[page * 4096..(page + 1) * 4096].fill(0xA5);
        std::fs::write(house.database(), &torn).unwrap();
        let report = check(folder, REPAIR).unwrap();
        assert!(found(&report).contains("database_damaged"), "page {page}: {}", report.text());
        assert!(output.exists() && report.repaired.is_empty(), "page {page}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_checked_is_an_error_that_says_why() {
    let house = lived_in().await;
    let error = check(house.folder.path(), Options::default()).unwrap_err();
    assert!(matches!(error, CheckError::Database(OpenError::Locked { .. })), "{error}");
    house.store.close().await;
    let connection = Connection::open(house.database()).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = check(house.folder.path(), Options::default()).unwrap_err();
    assert!(matches!(error, CheckError::Database(OpenError::NewerSchema { found: 99, .. })), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = check(empty.path(), REPAIR).unwrap_err();
    assert!(matches!(error, CheckError::Database(OpenError::Folder { .. })), "{error}");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0, "it has made something");
}

/// A house with jobs in every state, whose outputs are there.
async fn lived_in() -> House {
    let house = House::new();
    let blobs = Blobs::open(house.folder.path()).unwrap();
    let revision = request(None).revision;
    let revision = Revision { hash: revision, name: "flux".into(), config: "a".into(), template: "b".into() };
    house.store.keep_revision(revision).await.unwrap();
    let ids = [house.accept(1).await, house.accept(2).await, house.accept(3).await, house.accept(4).await];
    let mut runs = Vec::new();
    for _ in ids {
        runs.push(house.claim_one("gpu", after(10)).await.run.number);
    }
    for (place, text) in ["steady", "other"].into_iter().enumerate() {
        let (id, bytes) = blobs.put(Bytes::from(text)).await.unwrap();
        assert!(house.store.finish(with_output(ids[place], runs[place], &id, bytes)).await.unwrap());
    }
    assert!(house.store.finish(failed(ids[2], Some(runs[2]), after(30))).await.unwrap());
    assert!(house.store.finish(cancelled(ids[3], Some(runs[3]), after(30))).await.unwrap());
    house.accept(5).await;
    house.claim_one("gpu", after(40)).await;
    house.accept(6).await;
    let running = house.claim_one("gpu", after(40)).await;
    house.store.started(running.job.id, running.run.number, after(50)).await.unwrap();
    house.store.accept(new_job(7)).await.unwrap();
    house
}

fn with_output(id: JobId, run: u32, blob: &BlobId, bytes: u64) -> comfygate::store::Ending {
    let mut ending = succeeded(id, Some(run), after(20));
    if let Outcome::Succeeded(outputs) = &mut ending.outcome {
        (outputs[0].sha256, outputs[0].bytes) = (blob.clone(), bytes);
    }
    ending.body.segments = vec![Segment::Base64(blob.clone(), bytes)];
    ending
}

fn found(report: &Report) -> BTreeSet<&'static str> {
    report.flaws.iter().map(|flaw| flaw.code).collect()
}

/// An output that a job names.
fn first_output(folder: &Path) -> std::path::PathBuf {
    let connection = Connection::open(folder.join("comfygate.db")).unwrap();
    let id: String = connection.query_row("SELECT min(sha256) FROM output", (), |row| row.get(0)).unwrap();
    let (first, rest) = id.split_at(2);
    folder.join("blobs").join(first).join(rest)
}

fn flip(path: &Path, place: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[place] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// The bytes of every file but those that SQLite makes anew.
fn content(folder: &Path) -> BTreeSet<(std::path::PathBuf, Vec<u8>)> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(content(&path));
        } else if !path.to_string_lossy().ends_with("-shm") {
            let bytes = std::fs::read(&path).unwrap();
            if !(bytes.is_empty() && path.to_string_lossy().ends_with("-wal")) {
                all.insert((path, bytes));
            }
        }
    }
    all
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    copy_files(from, to);
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            copy_folder(&path, &to.join(path.file_name().unwrap()));
        }
    }
}

//! What is left after a crash, and how many commits it takes to make it so.

use crate::support::{House, after, copy_files, new_job, succeeded};
use bytes::Bytes;
use comfygate::job::{JobId, Outcome, Segment};
use comfygate::media::{Blobs, body_stream};
use comfygate::store::{SqliteStore, Store};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const PAGE: usize = 4096;

#[tokio::test]
async fn many_accepts_at_once_are_all_durable_and_share_commits() {
    let house = House::new();
    let answers = join_all((0..80).map(|number| house.store.accept(new_job(number)))).await;
    let accepted: Vec<JobId> = answers.into_iter().map(Result::unwrap).collect();
    let log = std::fs::read(log_of(house.folder.path())).unwrap();
    let commits = commits(&log).len();
    assert!((1..=40).contains(&commits), "{commits} commits for 80 accepts");
    let killed = house.as_if_killed_now();
    for id in accepted {
        assert!(killed.store.job(id).await.unwrap().is_some());
    }
    assert_eq!(killed.store.backlog().await.unwrap().queued, 80);
}

#[tokio::test]
async fn every_accepted_job_is_on_disk_when_accept_answers() {
    let house = House::new();
    for number in 0..20 {
        let id = house.accept(number).await;
        let killed = house.as_if_killed_now();
        assert!(killed.store.job(id).await.unwrap().is_some());
        assert_eq!(killed.store.backlog().await.unwrap().queued, u64::from(number) + 1);
    }
}

#[tokio::test]
async fn a_log_cut_anywhere_opens_to_the_commits_before_the_cut() {
    let (folder, log) = uninterrupted_log(6).await;
    let commits = commits(&log);
    assert_eq!(commits.len(), 6);
    let frames = (log.len() - LOG_HEADER) / (FRAME_HEADER + PAGE);
    for frame in 0..=frames {
        let boundary = LOG_HEADER + frame * (FRAME_HEADER + PAGE);
        for cut in [boundary - 1, boundary, (boundary + 1).min(log.len())] {
            let whole = commits.iter().filter(|end| **end <= cut).count();
            assert_eq!(jobs_after(folder.path(), &log[..cut]).await, whole, "cut at {cut}");
        }
    }
    // A flipped bit ends the log there, as a cut does.
    for frame in 0..frames {
        let place = LOG_HEADER + frame * (FRAME_HEADER + PAGE) + FRAME_HEADER + 100;
        let mut flipped = log.clone();
        flipped[place] ^= 0x10;
        let whole = commits.iter().filter(|end| **end <= place).count();
        assert_eq!(jobs_after(folder.path(), &flipped).await, whole, "flipped at {place}");
    }
}

#[tokio::test]
async fn a_blob_whose_end_was_never_stored_is_swept_at_the_next_start() {
    let house = House::new();
    let blobs = Blobs::open(house.folder.path()).unwrap();
    let (orphan, _) = blobs.put(Bytes::from_static(b"the crash came next")).await.unwrap();
    let id = house.accept(1).await;
    let mut ending = succeeded(id, None, after(5));
    let (in_output, bytes) = blobs.put(Bytes::from_static(b"an output")).await.unwrap();
    let (in_body, more_bytes) = blobs.put(Bytes::from_static(b"only in the body")).await.unwrap();
    if let Outcome::Succeeded(outputs) = &mut ending.outcome {
        outputs[0].sha256 = in_output.clone();
    }
    let segments = [(&in_output, bytes), (&in_body, more_bytes)];
    ending.body.segments = segments.map(|(blob, bytes)| Segment::Base64(blob.clone(), bytes)).into();
    assert!(house.store.finish(ending).await.unwrap());

    let house = house.reopened().await;
    let blobs = Blobs::open(house.folder.path()).unwrap();
    let needed = house.store.needed_blobs().await.unwrap();
    assert_eq!(needed, HashSet::from([in_output.clone(), in_body.clone()]));
    assert_eq!(blobs.sweep(&needed).unwrap(), 1);
    assert!(!blobs.path(&orphan).exists());
    let body = house.store.finished(id).await.unwrap().unwrap().body;
    let sent: Vec<Bytes> = body_stream(Arc::new(blobs), body.clone()).try_collect().await.unwrap();
    assert_eq!(sent.concat().len() as u64, body.content_length());
}

/// Accepts so many jobs one after the other; returns the database as it was before, and the log of all of them.
async fn uninterrupted_log(jobs: u16) -> (tempfile::TempDir, Vec<u8>) {
    for _ in 0..10 {
        let house = House::new();
        let before = tempfile::tempdir().unwrap();
        copy_files(house.folder.path(), before.path());
        for number in 0..jobs {
            house.accept(number).await;
        }
        let log = std::fs::read(log_of(house.folder.path())).unwrap();
        // On a machine that stalls the idle writer folds the log into the database and begins it anew.
        if commits(&log).len() == usize::from(jobs) {
            return (before, log);
        }
    }
    panic!("the log was never left alone for {jobs} writes");
}

async fn jobs_after(database: &Path, log: &[u8]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    copy_files(database, folder.path());
    std::fs::write(log_of(folder.path()), log).unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let mut found = 0;
    while store.job(new_job(found).id).await.unwrap().is_some() {
        found += 1;
    }
    assert_eq!(store.backlog().await.unwrap().queued, u64::from(found));
    found.into()
}

fn log_of(folder: &Path) -> std::path::PathBuf {
    folder.join("comfygate.db-wal")
}

/// Returns where in the log each commit ends: after a frame that names the size of the database. Frames of an earlier
/// round of the log carry another salt and are not counted.
fn commits(log: &[u8]) -> Vec<usize> {
    let salt = &log[16..24];
    let frames = log[LOG_HEADER..].chunks_exact(FRAME_HEADER + PAGE).enumerate();
    let ends = frames.filter(|(_, frame)| frame[4..8] != [0; 4] && &frame[8..16] == salt);
    ends.map(|(place, _)| LOG_HEADER + (place + 1) * (FRAME_HEADER + PAGE)).collect()
}

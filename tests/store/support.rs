//! Builders of jobs and endings, and a store in a folder that is removed afterwards.

use crate::own_folder::Folder;
use comfygate::clock::Timestamp;
use comfygate::job::{
    BlobId, Failure, FailureCode, FileRef, FrozenBody, Job, JobId, Limits, NodeTime, Outcome, Output, ParamValue,
    Params, Profile, PromptId, Request, Segment, Tenant,
};
use comfygate::store::{Assignment, Claimed, Ending, IdempotencyKey, NewJob, SqliteStore, Store, Waiting};
use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// When every test begins.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);
/// Where the jobs of the tests report their end.
pub(crate) const HOOK: &str = "https://app.example/hook?order=7";

/// An open store and its folder.
pub(crate) struct House {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) folder: Folder,
}

impl House {
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        let store = SqliteStore::open(folder.path()).unwrap();
        Self { store, folder }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("comfygate.db")
    }

    /// Closes the store and opens it again.
    pub(crate) async fn reopened(self) -> Self {
        self.store.close().await;
        let store = SqliteStore::open(self.folder.path()).unwrap();
        Self { store, folder: self.folder }
    }

    /// Opens a copy of the files as they are at this instant, which is what a killed process leaves.
    pub(crate) fn as_if_killed_now(&self) -> Self {
        let folder = Folder::new();
        copy_files(self.folder.path(), folder.path());
        let store = SqliteStore::open(folder.path()).unwrap();
        Self { store, folder }
    }

    pub(crate) async fn accept(&self, number: u16) -> JobId {
        self.store.accept(new_job(number)).await.unwrap()
    }

    pub(crate) async fn job(&self, id: JobId) -> Job {
        self.store.job(id).await.unwrap().unwrap()
    }

    /// Claims at most so many of the jobs that `backend` has not refused: those of the highest priority, then the oldest.
    pub(crate) async fn claim(&self, backend: &str, at_most: u8, now: Timestamp) -> Vec<Claimed> {
        let mut waiting = self.waiting().await;
        waiting.retain(|waiting| waiting.unfit.iter().all(|way| way.backend != backend));
        waiting.sort_by_key(|waiting| (Reverse(waiting.priority), waiting.place));
        let jobs = waiting.into_iter().map(|waiting| waiting.job);
        let assignments = jobs.zip(offer(at_most)).map(|(job, fresh)| assignment(job, backend, fresh)).collect();
        self.store.claim(assignments, now).await.unwrap()
    }

    /// Returns all jobs that wait.
    pub(crate) async fn waiting(&self) -> Vec<Waiting> {
        self.store.arrivals(0, 1_000_000).await.unwrap().jobs
    }

    /// Claims one job, which must be there.
    pub(crate) async fn claim_one(&self, backend: &str, now: Timestamp) -> Claimed {
        let mut claimed = self.claim(backend, 1, now).await;
        assert_eq!(claimed.len(), 1);
        claimed.remove(0)
    }

    /// Claims this job, which must wait.
    pub(crate) async fn claim_this(&self, id: JobId, now: Timestamp) -> Claimed {
        let this = assignment(id, "gpu", offer(1).remove(0));
        self.store.claim(vec![this], now).await.unwrap().pop().unwrap()
    }

    /// Takes a new job to its end.
    pub(crate) async fn ended(&self, number: u16) -> JobId {
        let id = self.accept(number).await;
        let run = self.claim_this(id, after(number.into())).await.run.number;
        assert!(self.store.finish(succeeded(id, Some(run), after(10_000))).await.unwrap());
        id
    }
}

/// The time so many milliseconds after the start.
pub(crate) fn after(millis: u64) -> Timestamp {
    START + Duration::from_millis(millis)
}

/// A job with a webhook; a larger number is a later job.
pub(crate) fn new_job(number: u16) -> NewJob {
    let created_at = after(number.into());
    let [high, low] = number.to_be_bytes();
    NewJob {
        id: JobId::new(created_at, [high, low, 3, 4, 5, 6, 7, 8, 9, 10]),
        tenant: Tenant::default(),
        request: request(Some(HOOK)),
        created_at,
        idempotency: None,
        own_revision: None,
    }
}

pub(crate) fn keyed(mut job: NewJob, key: &str, body: u8) -> NewJob {
    let expires_at = job.created_at + Duration::from_hours(24);
    job.idempotency =
        Some(IdempotencyKey { tenant: Tenant::default(), key: key.into(), body_sha256: [body; 32], expires_at });
    job
}

/// An input image of these bytes.
pub(crate) fn image(blob: &BlobId, bytes: u64) -> comfygate::job::InputImage {
    let content_type = "image/png".to_owned();
    comfygate::job::InputImage { sha256: blob.clone(), bytes, content_type, width: 1, height: 1, mask: None }
}

pub(crate) fn request(webhook_url: Option<&str>) -> Request {
    let limits = Limits {
        queue: Duration::from_hours(1),
        start: Duration::from_mins(5),
        silence: Duration::from_mins(2),
        run: Duration::from_mins(30),
    };
    Request {
        params: Params::from([("prompt".into(), ParamValue::Text("a castle".into()))]),
        seed: Some(7),
        expected_images: Some(1),
        webhook_url: webhook_url.map(Into::into),
        ..Request::plain("flux", &"ab".repeat(32), limits)
    }
}

pub(crate) fn assignment(job: JobId, backend: &str, fresh: PromptId) -> Assignment {
    Assignment { job, backend: backend.into(), variant: 0, fresh }
}

/// So many fresh prompt ids.
pub(crate) fn offer(count: u8) -> Vec<PromptId> {
    (0..count).map(|number| PromptId::fresh([number; 16])).collect()
}

pub(crate) fn succeeded(job: JobId, run: Option<u32>, ended_at: Timestamp) -> Ending {
    let output = Output {
        node_id: "9".into(),
        index: 0,
        content_type: "image/png".into(),
        filename: Some("comfy_00001_.png".into()),
        bytes: 70,
        sha256: BlobId("cd".repeat(32)),
        metadata_stripped: Some(true),
        origin: Some(FileRef { filename: "a.png".into(), subfolder: "b".into(), folder: "output".into() }),
    };
    let segments = vec![
        Segment::Text(format!(r#"{{"prompt_id":"{job}","images":[""#)),
        Segment::Base64(output.sha256.clone(), output.bytes),
        Segment::Text(r#""]}"#.into()),
    ];
    Ending {
        job,
        run,
        outcome: Outcome::Succeeded(vec![output]),
        body: FrozenBody { segments },
        profile: run.map(profile),
        ended_at,
    }
}

/// How a run of one node went.
pub(crate) fn profile(run: u32) -> Profile {
    let node = NodeTime { id: "9".into(), class: Some("SaveImage".into()), title: None, at_ms: 1, ms: 70 };
    Profile {
        backend: "one".into(),
        run,
        queued_ms: 5,
        waited_ms: None,
        run_ms: 71,
        nodes_executed: 1,
        nodes_cached: 2,
        partial: false,
        is_from_history: false,
        nodes: vec![node],
    }
}

pub(crate) fn failed(job: JobId, run: Option<u32>, ended_at: Timestamp) -> Ending {
    let failure = Failure::new(FailureCode::NodeError, "node `31` raised: out of memory");
    ending(job, run, Outcome::Failed(failure, Vec::new()), ended_at)
}

pub(crate) fn cancelled(job: JobId, run: Option<u32>, ended_at: Timestamp) -> Ending {
    ending(job, run, Outcome::Cancelled, ended_at)
}

pub(crate) fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // The index of the log is made anew from the log, as after a crash of the machine.
        if entry.path().is_file() && !entry.path().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn ending(job: JobId, run: Option<u32>, outcome: Outcome, ended_at: Timestamp) -> Ending {
    let text = format!(r#"{{"prompt_id":"{job}","status":"{}"}}"#, outcome.state().as_str());
    Ending { job, run, outcome, body: FrozenBody { segments: vec![Segment::Text(text)] }, profile: None, ended_at }
}

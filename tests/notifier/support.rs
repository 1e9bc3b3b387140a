//! A notifier over a real store with a clock moved by hand.

mod receiver;

pub(crate) use receiver::{Received, Receiver, Reply, url_of};

use crate::own_folder::Folder;
use bytes::Bytes;
use comfygate::clock::{Clock, ManualClock, Timestamp};
use comfygate::egress::{Guard, Rules, SystemLookup};
use comfygate::job::{
    BodyRules, DeliveryMode, FrozenBody, JobId, Limits, LinkKey, Outcome, Output, Request, Segment, freeze,
};
use comfygate::lifecycle::Lifecycle;
use comfygate::media::{Blobs, body_stream};
use comfygate::notifier::{self, Announcer, BodyStream, Parts};
use comfygate::settings::{EgressSettings, WebhookSettings};
use comfygate::signing::{Keyring, Options};
use comfygate::store::{Attempt, Delivery, DeliveryState, Ending, NewJob, SqliteStore, Store};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

pub(crate) const START: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// How long anything may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits for `what`, but not for ever.
pub(crate) async fn soon<T>(name: &str, what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.unwrap_or_else(|_| panic!("{name}: did not happen in time"))
}

/// A notifier that can be stopped and started again over the same folder.
pub(crate) struct Rig {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) settings: WebhookSettings,
    pub(crate) announcer: Announcer,
    /// What the next jobs have as metadata.
    pub(crate) metadata: Option<serde_json::Value>,
    /// How the next jobs' images are sent.
    pub(crate) delivery: DeliveryMode,
    bell: Arc<Notify>,
    lifecycle: Lifecycle,
    folder: Folder,
    witnesses: AtomicU8,
}

impl Rig {
    /// Makes a rig whose notifier has not started.
    pub(crate) fn new() -> Self {
        Self::at(START)
    }

    /// The same with another time.
    pub(crate) fn at(now: Timestamp) -> Self {
        let folder = Folder::new();
        let clock = ManualClock::at(now);
        Self {
            announcer: Announcer::new(Arc::clone(&clock) as Arc<dyn Clock>),
            clock,
            store: SqliteStore::open(folder.path()).unwrap(),
            blobs: Arc::new(Blobs::open(folder.path()).unwrap()),
            settings: WebhookSettings::default(),
            metadata: None,
            delivery: DeliveryMode::default(),
            bell: Arc::default(),
            lifecycle: Lifecycle::new(),
            folder,
            witnesses: AtomicU8::new(100),
        }
    }

    /// Makes a rig and starts its notifier.
    pub(crate) fn started() -> Self {
        let rig = Self::new();
        rig.start();
        rig
    }

    pub(crate) fn start(&self) {
        self.start_with(self.body());
    }

    /// Returns what opens bodies.
    pub(crate) fn body(&self) -> impl Fn(&FrozenBody) -> BodyStream + Send + Sync + use<> {
        let blobs = Arc::clone(&self.blobs);
        move |body| Box::pin(body_stream(Arc::clone(&blobs), body.clone()))
    }

    pub(crate) fn start_with(&self, body: impl Fn(&FrozenBody) -> BodyStream + Send + Sync + 'static) {
        let parts = Parts {
            store: Arc::clone(&self.store) as Arc<dyn Store>,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            lifecycle: self.lifecycle.clone(),
            bell: Arc::clone(&self.bell),
            announcer: self.announcer.clone(),
            body: Arc::new(body),
            keyring: self.keyring(),
            settings: self.settings.clone(),
            guard: Guard::new(Rules::new(&EgressSettings::default(), true), Arc::new(SystemLookup)),
            grace: Duration::from_secs(10),
            random: Box::new(|| 0.5),
            standing: Arc::default(),
        };
        self.lifecycle.spawn_station("notifier", notifier::run(parts, self.lifecycle.stop()));
    }

    fn keyring(&self) -> Option<Arc<Keyring>> {
        let options = Options { ed25519: self.settings.ed25519 };
        let store = Arc::<SqliteStore>::clone(&self.store);
        let clock = Arc::<ManualClock>::clone(&self.clock);
        let keyring = Keyring::new(store, clock, |bytes| rand::fill(bytes), options);
        self.settings.signing.then(|| Arc::new(keyring))
    }

    /// Tells the notifier to stop, and returns what ends when it has.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + use<> {
        let lifecycle = self.lifecycle.clone();
        lifecycle.stop().cancel();
        async move { lifecycle.end().await }
    }

    /// Ends the process in effect: notifier and store are gone, the folder stays, and all is opened anew.
    pub(crate) async fn restart(self) -> Self {
        soon("the stop", self.stopping()).await;
        self.store.close().await;
        let Self { clock, settings, folder, .. } = self;
        let rig = Self {
            announcer: Announcer::new(Arc::clone(&clock) as Arc<dyn Clock>),
            clock,
            store: SqliteStore::open(folder.path()).unwrap(),
            blobs: Arc::new(Blobs::open(folder.path()).unwrap()),
            settings,
            metadata: None,
            delivery: DeliveryMode::default(),
            bell: Arc::default(),
            lifecycle: Lifecycle::new(),
            folder,
            witnesses: AtomicU8::new(100),
        };
        rig.start();
        rig
    }

    pub(crate) fn panics(&self) -> u64 {
        self.lifecycle.panics()
    }

    /// Stores a job that has ended with these images and whose end is to be told to `url`.
    pub(crate) async fn ended_job(&self, number: u8, url: &str, images: &[&[u8]]) -> (JobId, Vec<u8>) {
        self.ended_job_of("default", number, url, images).await
    }

    /// The same for a tenant of this name.
    pub(crate) async fn ended_job_of(&self, tenant: &str, number: u8, url: &str, images: &[&[u8]]) -> (JobId, Vec<u8>) {
        let now = self.clock.now();
        let id = JobId::new(now, [number; 10]);
        let request = Request { metadata: self.metadata.clone(), delivery: self.delivery, ..request(url) };
        self.store
            .accept(NewJob {
                id,
                tenant: tenant.parse().unwrap(),
                request,
                created_at: now,
                idempotency: None,
                own_revision: None,
            })
            .await
            .unwrap();
        let mut outputs = Vec::new();
        for (index, image) in (0..).zip(images) {
            let (sha256, bytes) = self.blobs.put(Bytes::copy_from_slice(image)).await.unwrap();
            let content_type = "image/png".into();
            outputs.push(Output {
                node_id: "9".into(),
                index,
                content_type,
                filename: None,
                bytes,
                sha256,
                metadata_stripped: None,
                origin: None,
            });
        }
        let job = self.store.job(id).await.unwrap().unwrap();
        let outcome = Outcome::Succeeded(outputs);
        let body = freeze(&job, &outcome, now, &BodyRules::new("http://gateway", LinkKey::new([7; 32])));
        let expected = self.bytes_of(&body).await;
        let ending = Ending { job: id, run: None, outcome, body, profile: None, ended_at: now };
        assert!(self.store.finish(ending).await.unwrap());
        self.bell.notify_one();
        (id, expected)
    }

    /// Stores many of them, a millisecond apart from each other.
    pub(crate) async fn ended_jobs_of(&self, tenant: &str, count: usize, url: impl Fn(usize) -> String) -> Vec<JobId> {
        let mut jobs = Vec::new();
        for number in 0..count {
            self.clock.advance(Duration::from_millis(1));
            jobs.push(self.ended_job_of(tenant, 0, &url(number), &[]).await.0);
        }
        jobs
    }

    /// Waits until the notifier has looked at everything that is due: what came last, from a tenant of its own to a host of
    /// its own, has arrived.
    pub(crate) async fn until_looked(&self) {
        let mut witness = Receiver::start([Reply::Status(200, "")]).await;
        let number = self.witnesses.fetch_add(1, Ordering::SeqCst);
        let (job, _) = self.ended_job_of("witness", number, &witness.url, &[]).await;
        witness.next().await;
        self.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    }

    /// Counts the attempts of these jobs that are recorded.
    pub(crate) async fn attempts_of(&self, jobs: &[JobId]) -> usize {
        let mut count = 0;
        for job in jobs {
            count += self.store.delivery(*job).await.unwrap().unwrap().1.len();
        }
        count
    }

    /// Waits until there are so many.
    pub(crate) async fn until_attempts(&self, jobs: &[JobId], count: usize) {
        let reached = async {
            while self.attempts_of(jobs).await < count {
                tokio::task::yield_now().await;
            }
        };
        soon("the attempts", reached).await;
    }

    /// Wakes the notifier, as whoever changes a delivery does.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Returns a delivery as it is now.
    pub(crate) async fn store_delivery(&self, job: JobId) -> (Delivery, Vec<Attempt>) {
        self.store.delivery(job).await.unwrap().unwrap()
    }

    /// Waits until the store says about a delivery what is asked for.
    pub(crate) async fn until(
        &self,
        job: JobId,
        is_so: impl Fn(&Delivery, &[Attempt]) -> bool,
    ) -> (Delivery, Vec<Attempt>) {
        let found = async {
            loop {
                let (delivery, attempts) = self.store.delivery(job).await.unwrap().unwrap();
                if is_so(&delivery, &attempts) {
                    return (delivery, attempts);
                }
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, found).await;
        let Ok(found) = in_time else { panic!("it never got there: {:?}", self.store.delivery(job).await) };
        found
    }

    /// Waits until the next delivery is due as asked for.
    pub(crate) async fn until_due(&self, name: &str, is_so: impl Fn(Timestamp) -> bool) {
        let due = async {
            while !self.store.next_due().await.unwrap().is_some_and(&is_so) {
                tokio::task::yield_now().await;
            }
        };
        soon(name, due).await;
    }

    /// Waits until this many attempts are recorded.
    pub(crate) async fn after_attempts(&self, job: JobId, count: usize) -> (Delivery, Vec<Attempt>) {
        self.until(job, |_, attempts| attempts.len() >= count).await
    }

    async fn bytes_of(&self, body: &FrozenBody) -> Vec<u8> {
        use futures_util::TryStreamExt;
        let pieces: Vec<Bytes> = body_stream(Arc::clone(&self.blobs), body.clone()).try_collect().await.unwrap();
        pieces.concat()
    }

    /// Removes every image that the bodies need.
    pub(crate) fn remove_blobs(&self, body: &FrozenBody) {
        for segment in &body.segments {
            if let Segment::Base64(blob, _) = segment {
                std::fs::remove_file(self.blobs.path(blob)).unwrap();
            }
        }
    }
}

fn request(url: &str) -> Request {
    let limit = Duration::from_mins(1);
    Request {
        seed: Some(1),
        expected_images: Some(1),
        webhook_url: Some(url.into()),
        ..Request::plain("canvas", "r", Limits { queue: limit, start: limit, silence: limit, run: limit })
    }
}

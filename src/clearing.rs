//! Now and then removes what has become old: jobs that ended long ago and their outputs, expired keys, and the outputs of
//! runs that came to nothing. In small steps, so that nobody waits for it.
//!
//! A blob is removed when no job and no upload names it and nobody is left who could come to name it: only a run that goes on
//! can, or a request that is being taken in, and what began later must put the blob first, which marks it as new.

use crate::clock::{Clock, Timestamp};
use crate::job::{BlobId, JobId};
use crate::media::{Blobs, Removed, Turn};
use crate::store::{Store, StoreError};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often it looks for something to remove.
pub const ROUND: Duration = Duration::from_mins(1);

/// How many jobs, and how many keys, are removed in one transaction: some milliseconds for whoever waits behind it.
pub const STEP: u32 = 32;

/// What lies between two such transactions, for those who wait.
const BREATH: Duration = Duration::from_millis(50);

/// How many blobs are asked about and removed at once.
const BLOBS_AT_ONCE: usize = 256;

/// What clearing works with.
#[derive(Debug)]
pub struct Parts {
    /// Where jobs are kept.
    pub store: Arc<dyn Store>,
    /// Where outputs are kept.
    pub blobs: Arc<Blobs>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How long a job is kept after its end; none means for ever.
    pub retention: Option<Duration>,
}

/// Clears until told to stop.
pub async fn run(parts: Parts, stop: CancellationToken) {
    let kept = parts.retention.map_or("forever".to_owned(), |kept| humantime::format_duration(kept).to_string());
    info!(kept, "jobs are cleared so long after their end");
    let mut collector = Collector::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = round(&parts, &mut collector) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = parts.clock.sleep_until(parts.clock.now() + ROUND) => {}
        }
    }
}

/// Removes all that is old by now, and the blobs that have become nobody's.
async fn round(parts: &Parts, collector: &mut Collector) {
    match clear(parts, collector).await {
        Ok((0, 0, 0)) => {}
        Ok((jobs, keys, uploads)) => info!(jobs, keys, uploads, "cleared what is old"),
        Err(error) => warn!(%error, "what is old stays for now"),
    }
    match collector.collect(parts).await {
        Ok(Removed { blobs: 0, .. }) => {}
        Ok(Removed { blobs, bytes }) => info!(blobs, bytes, "removed outputs that no job needs"),
        Err(error) => warn!(%error, "outputs that no job needs stay for now"),
    }
}

async fn clear(parts: &Parts, collector: &mut Collector) -> Result<(u64, u64, u64), StoreError> {
    let (mut jobs, mut keys, mut uploads) = (0, 0, 0);
    loop {
        let now = parts.clock.now();
        let ended_by = parts.retention.map(|kept| before(now, kept));
        let cleared = parts.store.clear(ended_by, now, STEP).await?;
        jobs += u64::from(cleared.jobs);
        keys += u64::from(cleared.keys);
        uploads += u64::from(cleared.uploads);
        collector.perhaps_free.extend(cleared.blobs);
        if cleared.jobs < STEP && cleared.keys < STEP && cleared.uploads < STEP {
            return Ok((jobs, keys, uploads));
        }
        parts.clock.sleep_until(parts.clock.now() + BREATH).await;
    }
}

fn before(now: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_millis(now.millis().saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

/// Removes blobs in turns: those that may be nobody's wait until every run has ended that might still name them.
#[derive(Default)]
struct Collector {
    /// Named by jobs that were cleared since the turn began.
    perhaps_free: HashSet<BlobId>,
    turn: Option<Waiting>,
}

struct Waiting {
    turn: Turn,
    /// The runs that went on when the turn began and have not ended since.
    runs: HashSet<(JobId, u32)>,
    /// The requests that were being taken in then and still are: they may name what they have put.
    holds: BTreeSet<u64>,
    /// What is removed then, where no job names it.
    blobs: HashSet<BlobId>,
}

impl Collector {
    async fn collect(&mut self, parts: &Parts) -> Result<Removed, anyhow::Error> {
        let mut waiting = match self.turn.take() {
            Some(waiting) => waiting,
            None => self.begin(parts).await?,
        };
        if waiting.blobs.is_empty() {
            return Ok(Removed::default());
        }
        let removed = Self::go_on(parts, &mut waiting).await;
        if !matches!(removed, Ok(Some(_))) {
            self.turn = Some(waiting);
        }
        Ok(removed?.unwrap_or_default())
    }

    /// The turn begins before the runs are listed: whoever puts a blob in between is either listed or has ended.
    async fn begin(&mut self, parts: &Parts) -> Result<Waiting, StoreError> {
        let turn = parts.blobs.begin_turn();
        let holds = parts.blobs.holds();
        let runs = live_runs(parts).await?;
        let mut blobs = std::mem::take(&mut self.perhaps_free);
        blobs.extend(parts.blobs.put_before(turn));
        Ok(Waiting { turn, runs, holds, blobs })
    }

    /// Removes the blobs of the turn; none where a run of its beginning still goes on.
    async fn go_on(parts: &Parts, waiting: &mut Waiting) -> Result<Option<Removed>, anyhow::Error> {
        if !waiting.runs.is_empty() {
            let live = live_runs(parts).await?;
            waiting.runs.retain(|run| live.contains(run));
        }
        let held = parts.blobs.holds();
        waiting.holds.retain(|hold| held.contains(hold));
        if !waiting.runs.is_empty() || !waiting.holds.is_empty() {
            return Ok(None);
        }
        let mut all = Removed::default();
        let blobs: Vec<BlobId> = waiting.blobs.iter().cloned().collect();
        for some in blobs.chunks(BLOBS_AT_ONCE) {
            // Asked only now: the runs that have ended meanwhile name their outputs.
            let unnamed = parts.store.unnamed(some.to_vec()).await?;
            let removed = parts.blobs.remove(unnamed, waiting.turn).await?;
            all.blobs += removed.blobs;
            all.bytes += removed.bytes;
        }
        parts.blobs.forget_before(waiting.turn);
        Ok(Some(all))
    }
}

async fn live_runs(parts: &Parts) -> Result<HashSet<(JobId, u32)>, StoreError> {
    let claimed = parts.store.on_backends().await?;
    Ok(claimed.into_iter().map(|claimed| (claimed.job.id, claimed.run.number)).collect())
}

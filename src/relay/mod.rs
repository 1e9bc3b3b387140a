//! Live events of jobs and backends, for any number of listeners. What happens is taken in without waiting, told by a task of
//! its own, and a listener that cannot follow is cut off: nothing here slows a run.

mod board;
mod ear;
mod event;
mod filter;
mod frames;
mod line;
mod pace;
mod run;

pub use ear::{Heard, Listener, Tellable, TooMany};
pub use event::{EventKind, Facts, NodeName, NodeState, Place, Status, Told};
pub use filter::Filter;
pub use frames::{Framed, image_frame, legacy_preview};
pub use line::Followed;
pub use pace::{Pace, Remaining};
pub use run::{Parts, Queue, run};

use crate::clock::Timestamp;
use crate::job::{Job, JobId, RawFrame, Tapped, Tenant};
use board::Board;
use ear::Places;
use run::Taken;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// How much may wait to be told, and how many bytes of images may be among that.
const QUEUE: usize = 16_384;
const QUEUED_BYTES: usize = 32 << 20;

/// Takes in what happens, and lets listeners hear it.
#[derive(Clone)]
pub struct Relay {
    shared: Arc<Shared>,
}

struct Shared {
    board: Mutex<Board>,
    taken: mpsc::Sender<Taken>,
    /// How many bytes of images wait to be told.
    queued_bytes: AtomicUsize,
    /// Something could not be taken in.
    has_lost: AtomicBool,
    frames_wanted: Arc<AtomicBool>,
    places: Places,
    /// What tells the numbers of events in this life of the gateway from those in another.
    epoch: i64,
}

/// How many listen, and how many were cut off since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// How many listen now.
    pub listeners: usize,
    /// How many could not follow.
    pub cut_off: u64,
}

impl Relay {
    /// Makes one for at most `most` listeners, and what its task takes from.
    pub fn new(now: Timestamp, most: usize) -> (Self, Queue) {
        let (taken, queue) = mpsc::channel(QUEUE);
        let shared = Shared {
            board: Mutex::new(Board::new()),
            taken,
            queued_bytes: AtomicUsize::new(0),
            has_lost: AtomicBool::new(false),
            frames_wanted: Arc::default(),
            places: Places::new(most),
            epoch: now.millis(),
        };
        (Self { shared: Arc::new(shared) }, Queue(queue))
    }

    /// Takes in what happened to a job. Never waits.
    pub fn take(&self, tapped: Tapped) {
        self.put(Taken::Job(Box::new(tapped)));
    }

    /// Takes in a frame, and which job it is about. Never waits.
    pub fn take_frame(&self, job: Option<(JobId, &Tenant)>, frame: RawFrame) {
        let (job, tenant) = job.map(|(job, tenant)| (job, tenant.clone())).unzip();
        self.put(Taken::Frame(Framed { job, tenant, frame }));
    }

    /// Takes in a text that is no backend's, for those who hear frames and may hear of a tenant. Never waits.
    pub fn take_note(&self, tenant: &Tenant, text: String) {
        if self.shared.frames_wanted.load(Ordering::Relaxed) {
            let (tenant, frame) = (Some(tenant.clone()), RawFrame::Text(text.into()));
            self.put(Taken::Frame(Framed { job: None, tenant, frame }));
        }
    }

    /// Takes in what happened to a backend. Never waits.
    pub fn take_backend(&self, backend: &str, at: Timestamp, event: &'static str, reason: Option<&str>) {
        let (backend, reason) = (backend.to_owned(), reason.map(str::to_owned));
        self.put(Taken::Backend { backend, at, event, reason });
    }

    /// Says while frames are wanted as backends send them.
    pub fn frames_wanted(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.frames_wanted)
    }

    /// Follows a job from now on. `last` is the id of the last event that was heard before, where there is one.
    pub fn follow(&self, job: &Job, filter: Filter, last: Option<&str>) -> Result<Followed, TooMany> {
        let (ear, listener) = ear::pair(filter, &self.shared.places)?;
        Ok(self.board().follow(job, ear, listener, last.and_then(|last| self.number(last))))
    }

    /// Hears of all jobs that the filter lets through, from now on or from the event after `last`, where that is still known.
    pub fn listen(&self, filter: Filter, last: Option<&str>) -> Result<(Vec<Arc<Told>>, Listener<Told>), TooMany> {
        let (ear, listener) = ear::pair(filter, &self.shared.places)?;
        Ok((self.board().listen(ear, last.and_then(|last| self.number(last))), listener))
    }

    /// Hears frames as backends send them: those about jobs of a tenant, or all.
    pub fn frames(&self, tenant: Option<Tenant>) -> Result<Listener<Framed>, TooMany> {
        let filter = Filter { tenant, ..Filter::default() };
        let (ear, listener) = ear::pair(filter, &self.shared.places)?;
        let mut board = self.board();
        board.hear_frames(ear);
        self.shared.frames_wanted.store(true, Ordering::Relaxed);
        Ok(listener)
    }

    /// Returns the name of an event in streams, by which one can go on after it.
    pub fn event_id(&self, told: &Told) -> String {
        format!("{:x}-{}", self.shared.epoch, told.id)
    }

    /// Reads that name back; none where it is of another life of the gateway.
    fn number(&self, id: &str) -> Option<u64> {
        let (epoch, number) = id.split_once('-')?;
        let is_of_now = i64::from_str_radix(epoch, 16).ok()? == self.shared.epoch;
        number.parse().ok().filter(|_| is_of_now)
    }

    /// Returns how many listen.
    pub fn counts(&self) -> Counts {
        Counts { listeners: self.shared.places.taken(), cut_off: self.board().cut_off() }
    }

    fn put(&self, taken: Taken) {
        let size = taken.size();
        let queued = self.shared.queued_bytes.fetch_add(size, Ordering::Relaxed);
        // Of images the next one is as good; of anything else none may be missing unnoticed.
        let is_too_much = size > 0 && queued.saturating_add(size) > QUEUED_BYTES;
        if is_too_much && taken.may_be_left_out() {
            self.shared.queued_bytes.fetch_sub(size, Ordering::Relaxed);
            return;
        }
        if is_too_much || self.shared.taken.try_send(taken).is_err() {
            self.shared.queued_bytes.fetch_sub(size, Ordering::Relaxed);
            self.shared.has_lost.store(true, Ordering::Relaxed);
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.shared.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("listeners", &self.shared.places.taken()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

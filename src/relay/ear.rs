//! The way to one listener: a bounded queue, and the end of it. Whoever tells never waits; a listener whose queue is full is
//! cut off, and told why once it comes for what is left.

use super::event::{EventKind, Told};
use super::filter::Filter;
use super::frames::Framed;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// How many events may wait for a listener, and how many bytes.
const EVENTS: usize = 256;
const BYTES: usize = 8 << 20;

/// Above so many bytes of images and so many events a listener is left out of images: the next one is as good. One that is larger
/// may wait alone.
const BYTES_FOR_PREVIEWS: usize = 2 << 20;
const EVENTS_FOR_PREVIEWS: usize = 32;

pub(super) const TOO_SLOW: &str =
    "the listener did not read fast enough: connect again, and read what was missed from the job";
pub(super) const HAS_LOST: &str =
    "more happened at once than could be told: connect again, and read what was missed from the job";
pub(super) const STOPPING: &str = "the gateway is stopping: connect again soon";

/// What is told to listeners.
pub trait Tellable {
    /// About how many bytes are held while it waits.
    fn size(&self) -> usize;
    /// It may be left out where a listener is slow.
    fn may_be_left_out(&self) -> bool;
}

impl Tellable for Told {
    fn size(&self) -> usize {
        Told::size(self)
    }

    fn may_be_left_out(&self) -> bool {
        self.kind() == EventKind::Preview
    }
}

impl Tellable for Framed {
    fn size(&self) -> usize {
        self.frame.size()
    }

    fn may_be_left_out(&self) -> bool {
        self.is_image()
    }
}

/// No more can listen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{0} listen already, which is as many as COMFYGATE_MAX_LISTENERS allows")]
pub struct TooMany(pub usize);

/// How many may listen, and how many do.
#[derive(Clone, Debug)]
pub(super) struct Places {
    most: usize,
    taken: Arc<AtomicUsize>,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn take(&self) -> Result<Held, TooMany> {
        let held = Held(Arc::clone(&self.taken));
        if self.taken.fetch_add(1, Ordering::Relaxed) < self.most { Ok(held) } else { Err(TooMany(self.most)) }
    }
}

/// A place, which is given back when this is dropped.
#[derive(Debug)]
struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The end of the way at which things are told.
#[derive(Debug)]
pub(super) struct Ear<T> {
    pub(super) filter: Filter,
    out: mpsc::Sender<Arc<T>>,
    waiting: Waiting,
    cut: Arc<OnceLock<&'static str>>,
}

/// How many bytes wait for a listener: of images, and of what may not be left out.
#[derive(Clone, Debug, Default)]
struct Waiting {
    images: Arc<AtomicUsize>,
    others: Arc<AtomicUsize>,
}

impl Waiting {
    fn of(&self, told: &impl Tellable) -> &AtomicUsize {
        if told.may_be_left_out() { &self.images } else { &self.others }
    }
}

/// The end at which they are heard.
#[derive(Debug)]
pub struct Listener<T> {
    queue: mpsc::Receiver<Arc<T>>,
    waiting: Waiting,
    cut: Arc<OnceLock<&'static str>>,
    _place: Held,
}

/// What a listener hears.
#[derive(Debug)]
pub enum Heard<T> {
    /// Something that happened.
    Event(Arc<T>),
    /// Nothing more follows, though more happens: why.
    CutOff(&'static str),
    /// Nothing more happens.
    Over,
}

pub(super) fn pair<T>(filter: Filter, places: &Places) -> Result<(Ear<T>, Listener<T>), TooMany> {
    let place = places.take()?;
    let (out, queue) = mpsc::channel(EVENTS);
    let (waiting, cut) = (Waiting::default(), Arc::<OnceLock<&'static str>>::default());
    let ear = Ear { filter, out, waiting: waiting.clone(), cut: Arc::clone(&cut) };
    Ok((ear, Listener { queue, waiting, cut, _place: place }))
}

/// How it went to tell a listener something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// It hears it, or may do without.
    Yes,
    /// It has gone.
    Gone,
    /// It could not follow, and is cut off.
    CutOff,
}

impl<T: Tellable> Ear<T> {
    /// Tells it something that its filter lets through.
    pub(super) fn tell(&self, told: &Arc<T>) -> Sent {
        let (size, bytes) = (told.size(), self.waiting.of(told.as_ref()));
        let waiting = bytes.load(Ordering::Relaxed);
        let is_too_much = |most| waiting > 0 && waiting.saturating_add(size) > most;
        if told.may_be_left_out() {
            let events = self.out.max_capacity() - self.out.capacity();
            if events > EVENTS_FOR_PREVIEWS || is_too_much(BYTES_FOR_PREVIEWS) {
                return Sent::Yes;
            }
        } else if is_too_much(BYTES) {
            return self.cut_off(TOO_SLOW);
        }
        bytes.fetch_add(size, Ordering::Relaxed);
        match self.out.try_send(Arc::clone(told)) {
            Ok(()) => Sent::Yes,
            Err(TrySendError::Closed(_)) => Sent::Gone,
            Err(TrySendError::Full(_)) => self.cut_off(TOO_SLOW),
        }
    }

    /// Has it told, after what waits for it, that nothing more follows. It must be dropped after this.
    pub(super) fn cut_off(&self, why: &'static str) -> Sent {
        // Whoever was cut off already knows why.
        let _ = self.cut.set(why);
        Sent::CutOff
    }

    pub(super) fn is_gone(&self) -> bool {
        self.out.is_closed()
    }
}

impl<T: Tellable> Listener<T> {
    /// Waits for the next that happens.
    pub async fn next(&mut self) -> Heard<T> {
        match self.queue.recv().await {
            Some(told) => {
                self.waiting.of(told.as_ref()).fetch_sub(told.size(), Ordering::Relaxed);
                Heard::Event(told)
            }
            None => self.cut.get().map_or(Heard::Over, |why| Heard::CutOff(why)),
        }
    }
}

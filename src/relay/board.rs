//! Who hears what: the jobs that are followed, the listeners of all jobs, and the numbers of events. Pure but for the queues of the
//! listeners.

use super::ear::{Ear, Listener, STOPPING, Sent, Tellable};
use super::event::{Facts, Place, Told};
use super::frames::Framed;
use super::line::{Followed, Line};
use super::pace::Remaining;
use crate::clock::Timestamp;
use crate::job::{Happening, Job, JobId, Tapped};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

/// How many jobs that have ended are kept for those who come back.
const ENDED: usize = 256;

/// How many events are kept for listeners of all jobs who come back.
const REPLAY: usize = 2048;

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// The number of the last event.
    last: u64,
    lines: HashMap<JobId, Line>,
    ended: VecDeque<JobId>,
    everywhere: Vec<Ear<Told>>,
    replay: VecDeque<Arc<Told>>,
    /// The number of the last event that is not in `replay` any more.
    dropped: u64,
    frames: Vec<Ear<Framed>>,
    cut_off: u64,
    /// Nothing is told any more: why.
    is_over: bool,
    /// Whose turn it is to be asked how they wait.
    asked: usize,
}

impl Board {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn cut_off(&self) -> u64 {
        self.cut_off
    }

    /// Tells what happened to a job.
    pub(super) fn take(&mut self, tapped: Tapped, left: &Remaining) {
        let Tapped { job, tenant, workflow, run, at, what } = tapped;
        let is_new = !self.lines.contains_key(&job);
        // A job that waits and is followed by nobody needs no line: there may be very many of them.
        let is_passing = is_new && matches!(what, Happening::Queued | Happening::Ended { .. });
        let last = self.last;
        let mut line = self.lines.remove(&job).unwrap_or_else(|| Line::new(tenant, workflow, last));
        for facts in line.hear(run, at, what, left) {
            self.publish(job, &mut line, at, facts);
        }
        self.put_back(job, line, is_passing);
    }

    /// Tells what happened to a backend.
    pub(super) fn take_backend(&mut self, backend: String, at: Timestamp, event: &'static str, reason: Option<String>) {
        let facts = Facts::Backend { backend, event, reason };
        let told =
            self.number(Told { id: 0, job: None, tenant: None, workflow: None, at, facts, data: OnceLock::new() });
        self.tell_everywhere(&told);
    }

    /// Hands a frame to those who want frames.
    pub(super) fn take_frame(&mut self, framed: Framed) {
        let framed = Arc::new(framed);
        let wants = |ear: &Ear<Framed>| ear.filter.tenant.is_none() || ear.filter.tenant == framed.tenant;
        self.cut_off += tell(&mut self.frames, &framed, wants);
    }

    /// Returns how many jobs it keeps something of.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.lines.len()
    }

    /// Lets a listener follow a job.
    pub(super) fn follow(
        &mut self,
        job: &Job,
        ear: Ear<Told>,
        listener: Listener<Told>,
        last: Option<u64>,
    ) -> Followed {
        let id = self.last;
        if self.is_over {
            ear.cut_off(STOPPING);
            return Followed { listener, before: None, id };
        }
        let heard = last.filter(|last| *last <= id);
        let line = self.lines.entry(job.id);
        let line = line.or_insert_with(|| Line::new(job.tenant.clone(), job.request.workflow.clone(), id));
        let before = heard.and_then(|heard| line.since(heard)).or_else(|| line.snapshot());
        let before = before.map(|told| told.into_iter().filter(|told| ear.filter.lets_through(told)).collect());
        if !line.has_ended() {
            line.ears.push(ear);
        }
        Followed { listener, before, id }
    }

    /// Lets a listener hear of all jobs; returns what it missed.
    pub(super) fn listen(&mut self, ear: Ear<Told>, last: Option<u64>) -> Vec<Arc<Told>> {
        if self.is_over {
            ear.cut_off(STOPPING);
            return Vec::new();
        }
        let heard = last.filter(|heard| (self.dropped..=self.last).contains(heard));
        let missed = self.replay.iter().filter(|told| heard.is_some_and(|heard| told.id > heard));
        let missed = missed.filter(|told| ear.filter.lets_through(told)).cloned().collect();
        self.everywhere.push(ear);
        missed
    }

    /// Lets a listener hear frames.
    pub(super) fn hear_frames(&mut self, ear: Ear<Framed>) {
        if self.is_over {
            ear.cut_off(STOPPING);
        } else {
            self.frames.push(ear);
        }
    }

    /// Forgets who has gone, and what nobody asks for any more. Returns whether frames are wanted.
    pub(super) fn sweep(&mut self) -> bool {
        self.lines.retain(|_, line| {
            line.ears.retain(|ear| !ear.is_gone());
            !line.is_waiting() || !line.ears.is_empty()
        });
        self.everywhere.retain(|ear| !ear.is_gone());
        self.frames.retain(|ear| !ear.is_gone());
        !self.frames.is_empty()
    }

    /// Returns jobs that wait and are followed, at most so many, each in its turn.
    pub(super) fn waiting(&mut self, most: usize) -> Vec<JobId> {
        let waiting = self.lines.iter().filter(|(_, line)| line.is_waiting() && !line.ears.is_empty());
        let mut waiting: Vec<JobId> = waiting.map(|(job, _)| *job).collect();
        if waiting.len() > most {
            waiting.sort_unstable();
            self.asked %= waiting.len();
            waiting.rotate_left(self.asked);
            waiting.truncate(most);
            self.asked += most;
        }
        waiting
    }

    /// Tells how a job waits, where that has changed.
    pub(super) fn place(&mut self, job: JobId, place: Place, at: Timestamp) {
        let Some(mut line) = self.lines.remove(&job) else { return };
        for facts in line.wait(place) {
            self.publish(job, &mut line, at, facts);
        }
        self.put_back(job, line, false);
    }

    /// Ends every stream, and says why; those that begin later too, if nothing more is told at all.
    pub(super) fn cut_all(&mut self, why: &'static str, is_over: bool) {
        self.is_over |= is_over;
        let mut all = 0;
        for ear in self.lines.values_mut().flat_map(|line| line.ears.drain(..)).chain(self.everywhere.drain(..)) {
            ear.cut_off(why);
            all += 1;
        }
        for ear in self.frames.drain(..) {
            ear.cut_off(why);
            all += 1;
        }
        // What was kept has a gap.
        self.lines.clear();
        self.ended.clear();
        self.replay.clear();
        self.dropped = self.last;
        self.cut_off += if is_over { 0 } else { all };
    }

    fn publish(&mut self, job: JobId, line: &mut Line, at: Timestamp, facts: Facts) {
        let (tenant, workflow) = (Some(line.tenant.clone()), Some(line.workflow.clone()));
        let told = self.number(Told { id: 0, job: Some(job), tenant, workflow, at, facts, data: OnceLock::new() });
        line.keep(&told);
        self.cut_off += tell(&mut line.ears, &told, |ear| ear.filter.lets_through(&told));
        self.tell_everywhere(&told);
    }

    /// Keeps a line that somebody may ask for.
    fn put_back(&mut self, job: JobId, mut line: Line, is_passing: bool) {
        if is_passing {
            return;
        }
        if line.has_ended() {
            if !self.ended.contains(&job) {
                self.ended.push_back(job);
            }
            // Each hears what waits for it, and then that it is over.
            line.ears.clear();
        }
        self.lines.insert(job, line);
        if self.ended.len() > ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.lines.remove(&oldest);
        }
    }

    fn number(&mut self, told: Told) -> Arc<Told> {
        self.last += 1;
        Arc::new(Told { id: self.last, ..told })
    }

    fn tell_everywhere(&mut self, told: &Arc<Told>) {
        self.cut_off += tell(&mut self.everywhere, told, |ear| ear.filter.lets_through(told));
        if told.may_be_left_out() {
            return;
        }
        self.replay.push_back(Arc::clone(told));
        if self.replay.len() > REPLAY
            && let Some(first) = self.replay.pop_front()
        {
            self.dropped = first.id;
        }
    }
}

/// Tells those who want to hear it, and forgets those who do not follow. Returns how many were cut off.
fn tell<T: Tellable>(ears: &mut Vec<Ear<T>>, told: &Arc<T>, wants: impl Fn(&Ear<T>) -> bool) -> u64 {
    let mut cut_off = 0;
    ears.retain(|ear| match if wants(ear) { ear.tell(told) } else { Sent::Yes } {
        Sent::Yes => true,
        Sent::Gone => false,
        Sent::CutOff => {
            cut_off += 1;
            false
        }
    });
    cut_off
}

//! The waits of the tracker that no caller sets, and the names of all its deadlines.

use std::time::Duration;

/// Why a tick is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deadline {
    /// `POST /prompt` should have been answered.
    Submit,
    /// The job has waited in queues for as long as it may.
    Queue,
    /// A free backend should have begun.
    Start,
    /// The run should have given a sign of life.
    Silence,
    /// The run should have ended.
    Run,
    /// The outputs should have been stored.
    Collect,
    /// The wish to cancel should have been confirmed.
    Cancel,
    /// It is time to look into queue and history, or the last look should have been answered.
    Look,
}

/// `POST /prompt` is taken for lost after this; a stalled server needs seconds for a big body.
pub(super) const SUBMIT_LIMIT: Duration = Duration::from_mins(1);

/// A look into queue and history is taken for lost after this; longer than the client's own timeouts together.
pub(super) const LOOKUP_LIMIT: Duration = Duration::from_mins(1);

/// How often queue and history are asked while the socket hears the run: a prompt that somebody deletes says nothing.
pub(super) const POLL_HEARD: Duration = Duration::from_secs(15);

/// How soon they are asked at the soonest where a run takes longer than it usually does: a socket may be deaf. Each time
/// it takes twice as long until the next look.
pub(super) const SHORTEST_PATIENCE: Duration = Duration::from_secs(2);

/// How often they are asked when the socket does not hear the run.
pub(super) const POLL_UNHEARD: Duration = Duration::from_secs(1);

/// A socket that was silent for this long although the run has ended is deaf.
pub(super) const DEAF_AFTER: Duration = Duration::from_secs(5);

/// A backend without a socket that could not be reached for this long, however often it was asked, has lost what it ran, as
/// ComfyUI does when it ends: where there is another backend, its jobs need not wait for it any longer.
pub(super) const GONE_AFTER: Duration = Duration::from_secs(15);

/// How long a history entry may be late after `execution_success`.
pub(super) const HISTORY_PATIENCE: Duration = Duration::from_secs(5);

/// How long the outputs of a run that ended may take to arrive.
pub(super) const COLLECT_LIMIT: Duration = Duration::from_mins(10);

/// How long ComfyUI may take to confirm that a prompt is gone.
pub(super) const CANCEL_LIMIT: Duration = Duration::from_mins(1);

/// Up to this run of a job, one that was lost because the gateway itself stopped does not count as a try. A job that is
/// lost more often than this may be what stops the gateway.
pub(super) const CUT_OFF_RUNS: u32 = 10;

/// How long a prompt that was given up is looked for on its backend although it is not there: a request that was cut off
/// may come to the queue late.
pub(super) const ORPHAN_LINGER: Duration = Duration::from_mins(2);

/// How often such prompts are looked for, and how often where the backend does not answer.
pub(super) const ORPHAN_POLL: Duration = Duration::from_secs(1);
pub(super) const ORPHAN_PATIENCE: Duration = Duration::from_secs(5);

/// A prompt that still runs so long after it was first told to stop shows that nothing works there.
pub(super) const LET_GO_LIMIT: Duration = Duration::from_mins(1);

/// A backend on which a prompt waited for so long, while none of ours began, may run none at all. No caller's own limit
/// shows that any sooner.
pub(super) const STANDSTILL: Duration = Duration::from_mins(1);

/// How long a backend that does not give its files is asked again; a restart takes seconds and leaves saved files alone.
pub(super) const FETCH_PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait before an output is stored once more.
pub(super) const STORE_PAUSE: Duration = Duration::from_secs(1);

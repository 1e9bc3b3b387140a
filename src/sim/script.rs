//! Faults that a test arms beforehand, and when each of them strikes.
//!
//! This file only keeps the list; `voice`, `labour`, `run`, `prompts` and `routes` do what a fault says.

use std::time::Duration;

/// Something that goes wrong on purpose.
///
/// Event types are ComfyUI's (`execution_start`, `executing`, `progress`, `executed`, ...). A result of
/// `SaveImageWebsocket` counts as `image`, a sampler's preview as `preview`, `executing` with `node: null` as `idle`, and
/// the silent moment between being taken from the queue and `execution_start` as `taken`: an interrupt in it is lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Ends the TCP connection of the prompt's client before its n-th frame, counting from `execution_start` = 0; the
    /// prompt goes on. `status` frames are not counted.
    CloseSocketAt {
        /// The frame that is not sent any more.
        event_index: usize,
    },
    /// Ends that connection after the first event of a type.
    CloseSocketAfter {
        /// The event type.
        event: String,
    },
    /// Stops before the first event of a type, deaf to interrupts, until `Sim::release`.
    Hang {
        /// The event type.
        at: String,
    },
    /// Runs the prompt and sends none of its events.
    Silent,
    /// Lets a node raise.
    FailNode {
        /// The node's id or class.
        node: String,
        /// The exception's text.
        message: String,
        /// Its type, such as `ValueError`.
        exception_type: String,
    },
    /// Lets a node run out of graphics memory.
    OutOfMemory {
        /// The node's id or class.
        node: String,
    },
    /// Interrupts the prompt when it comes to a node, as if somebody else had.
    Interrupt {
        /// The node's id or class.
        node: String,
    },
    /// Ends every connection, refuses new ones for a while, and comes back. Without `at` it happens at once.
    Restart {
        /// The event type before which it happens.
        at: Option<String>,
        /// Queue, history, cache and counter are gone afterwards, as after a real restart.
        forget: bool,
        /// How long connections are refused.
        down_for: Duration,
    },
    /// Refuses new connections for a while, at once; those that are open go on.
    RefuseConnections(Duration),
    /// Takes no prompt from the queue, from now on until `Sim::release`.
    Stall,
    /// Answers a `POST /prompt` with an error.
    Refuse(Refusal),
    /// Queues a prompt, then ends the connection instead of answering.
    DropAfterAccept,
    /// Queues a prompt and answers only this much later.
    SlowAnswer(Duration),
    /// Waits before each event of a prompt.
    Slow(Duration),
    /// Sends every event of a prompt twice.
    DuplicateEvents,
    /// Sends events and images of other prompts, and malformed frames, before each event.
    ForeignEvents,
    /// Does not send the images of `SaveImageWebsocket`.
    LoseFrames,
    /// Sends none of the events that end a prompt: `execution_*` and `executing` with `node: null`.
    NoEnd,
    /// Sends `"output": null` with `executed`, and writes lists that are null into the history.
    NullOutputs,
    /// Puts `NaN` and `Infinity` into every output.
    NanInOutputs,
    /// Cuts every image file of a prompt in half.
    TruncatedImages,
    /// Tells of image files and does not keep them: `/view` answers 404.
    MissingFiles,
    /// Sends `execution_error` after `execution_success`; the history says success.
    SuccessThenError,
    /// Answers 200 with `node_errors`; the last output does not run, unless it is the only one.
    NodeErrorsPartial,
    /// Queues a prompt and deletes it before it runs, as if another client had.
    DeleteFromQueue,
    /// Writes the history entry only this long after `executing` with `node: null`.
    LateHistory(Duration),
    /// Lets the socket of the prompt's client stay open and hear nothing from now on.
    DeafSocket,
    /// Takes a request and never answers it, until `Sim::release`.
    HungHttp,
    /// Lets the images of a prompt fill frames of at least this many bytes.
    OversizeFrame(usize),
    /// Ignores interrupts of a prompt.
    IgnoreInterrupts,
    /// Loses the first interrupts of a prompt.
    LoseInterrupts(usize),
}

/// How a `POST /prompt` is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// HTTP 400 with this JSON body.
    Invalid(String),
    /// HTTP 500; nothing is queued.
    Crash,
    /// HTTP 500, and the prompt runs nevertheless.
    CrashButQueued,
}

/// When a fault strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// At the next occasion, once. An occasion is a request for HTTP faults, a submission for faults of `POST /prompt`,
    /// and a prompt that begins to run for all others.
    Next,
    /// At every occasion, until the faults are cleared.
    Every,
    /// Once, after this many occasions have gone well.
    After(usize),
}

/// Where a fault strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Request,
    Submission,
    Run,
}

/// The faults that are armed.
#[derive(Debug, Default)]
pub(super) struct Script {
    armed: Vec<(Fault, When)>,
}

impl Fault {
    fn stage(&self) -> Stage {
        match self {
            Self::HungHttp => Stage::Request,
            Self::Refuse(_)
            | Self::DropAfterAccept
            | Self::SlowAnswer(_)
            | Self::NodeErrorsPartial
            | Self::DeleteFromQueue => Stage::Submission,
            Self::CloseSocketAt { .. }
            | Self::CloseSocketAfter { .. }
            | Self::Hang { .. }
            | Self::Silent
            | Self::FailNode { .. }
            | Self::OutOfMemory { .. }
            | Self::Interrupt { .. }
            | Self::Restart { .. }
            | Self::RefuseConnections(_)
            | Self::Stall
            | Self::Slow(_)
            | Self::DuplicateEvents
            | Self::ForeignEvents
            | Self::LoseFrames
            | Self::NoEnd
            | Self::NullOutputs
            | Self::NanInOutputs
            | Self::TruncatedImages
            | Self::MissingFiles
            | Self::SuccessThenError
            | Self::LateHistory(_)
            | Self::DeafSocket
            | Self::OversizeFrame(_)
            | Self::IgnoreInterrupts
            | Self::LoseInterrupts(_) => Stage::Run,
        }
    }
}

impl Script {
    /// Arms a fault.
    pub(super) fn arm(&mut self, fault: Fault, when: When) {
        self.armed.push((fault, when));
    }

    /// Disarms everything.
    pub(super) fn clear(&mut self) {
        self.armed.clear();
    }

    /// Returns the faults that strike at this occasion, and uses up those that strike once.
    pub(super) fn strike(&mut self, stage: Stage) -> Vec<Fault> {
        let mut struck = Vec::new();
        self.armed.retain_mut(|(fault, when)| {
            if fault.stage() != stage {
                return true;
            }
            match when {
                When::After(left) if *left > 0 => {
                    *left -= 1;
                    true
                }
                When::Every => {
                    struck.push(fault.clone());
                    true
                }
                When::Next | When::After(_) => {
                    struck.push(fault.clone());
                    false
                }
            }
        });
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_at_its_own_occasions_only() {
        let mut script = Script::default();
        script.arm(Fault::Silent, When::Next);
        script.arm(Fault::HungHttp, When::Every);
        script.arm(Fault::LoseFrames, When::After(1));
        assert_eq!(script.strike(Stage::Run), [Fault::Silent]);
        assert_eq!(script.strike(Stage::Submission), []);
        assert_eq!(script.strike(Stage::Run), [Fault::LoseFrames]);
        assert_eq!(script.strike(Stage::Run), []);
        assert_eq!(script.strike(Stage::Request), [Fault::HungHttp]);
        assert_eq!(script.strike(Stage::Request), [Fault::HungHttp]);
        script.clear();
        assert_eq!(script.strike(Stage::Request), []);
    }
}

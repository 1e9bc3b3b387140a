//! What happened to a run: one task per backend follows its runs over the socket, by deadlines, and by asking.
//!
//! The machine decides ([`step`]); the task acts. The tracker does not know who submits, nor who tells the caller.

mod attribution;
mod desk;
mod early;
mod evidence;
mod harvest;
mod limits;
mod machine;
mod run;
mod stopping;
mod storing;

pub use attribution::Attribution;
pub use desk::{Desk, Progress};
pub use evidence::Evidence;
pub use harvest::{SlotId, SlotResult, Source};
pub use limits::Deadline;
pub use machine::{Effect, Input, Plan, Run, SubmitResult, step};
pub use run::{Command, Parts, Tracker, run, submit_result};

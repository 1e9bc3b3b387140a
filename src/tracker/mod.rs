//! What happened to a run: one task per backend follows its runs over the socket, by deadlines, and by asking.
//!
//! The machine decides ([`step`]); the task acts. The tracker does not know who submits, nor who tells the caller.

mod account;
mod attribution;
mod command;
mod desk;
mod early;
mod ending;
mod evidence;
mod harvest;
mod limits;
mod machine;
mod orphans;
mod perform;
mod reasons;
mod reporting;
mod run;
mod stopping;
mod storing;
mod telling;
mod upstream;

pub use account::{Account, Accounts, Shown};
pub use attribution::Attribution;
pub use command::{Command, Tracker, Watching};
pub use desk::{Block, Desk, Progress, SocketState};
pub use evidence::Evidence;
pub use harvest::{SlotId, SlotResult, Source};
pub use limits::Deadline;
pub use machine::{Effect, Input, Plan, Run, SubmitResult, step};
pub use reasons::{NO_TAG, nobody_can};
pub use run::{Parts, run};
pub use stopping::stop_all;
pub use upstream::submit_result;

//! Telling the caller, until told: takes due deliveries from the store, makes one HTTP call for each attempt, and
//! records what it means. Freezing the body and storing the delivery are the business of those who end a job.

mod announcer;
mod announcing;
mod attempt;
mod client;
mod gate;
mod lane;
mod lanes;
mod memory;
mod run;
mod schedule;
mod sending;
mod settling;
mod snippet;
mod standing;
mod target;

pub use announcer::Announcer;
pub use run::{BodyStream, Parts, run};
pub use schedule::{Answer, RETRY_AFTER_CAP, Round, Trouble, after, retry_after};
pub use standing::Standing;
pub use target::{TargetError, TargetRules, without_query};

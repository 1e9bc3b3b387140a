//! Telling the caller, until told: takes due deliveries from the store, makes one HTTP call for each attempt, and
//! records what it means. Freezing the body and storing the delivery are the business of those who end a job.

mod attempt;
mod client;
mod lanes;
mod run;
mod schedule;
mod snippet;
mod target;

pub use run::{BodyStream, Parts, run};
pub use schedule::{Answer, RETRY_AFTER_CAP, Round, Trouble, after, retry_after};
pub use target::{TargetError, TargetRules, without_query};

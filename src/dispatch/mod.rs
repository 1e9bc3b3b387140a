//! Which job, on which backend, when: keeps who waits in memory, decides who goes where, claims those, has them watched, submits them.

mod breaker;
mod choice;
mod ending;
mod fitness;
mod ledger;
mod outlook;
mod partner;
mod plan;
mod room;
mod round;
mod run;
mod sending;

pub use choice::{Allowance, Choice, Knowledge, Stand, decide};
pub use fitness::{Fit, Fitness};
pub use outlook::{Outlook, Outlooks, WaitingCounts, Why};
pub use room::Room;
pub use run::{Parts, run};

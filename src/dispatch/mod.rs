//! Which job, on which backend, when: claims waiting jobs, has them watched, submits them.

mod ending;
mod fitness;
mod partner;
mod run;
mod sending;

pub use fitness::{Fit, Fitness};
pub use run::{Parts, run};

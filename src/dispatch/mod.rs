//! Which job, on which backend, when: claims waiting jobs, has them watched, submits them.

mod backend;
mod ending;
mod partner;
mod run;
mod sending;

pub use backend::Backend;
pub use run::{Parts, run};

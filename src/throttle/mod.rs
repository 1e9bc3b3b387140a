//! How much callers may ask for: requests in a time, wrong keys, jobs that wait, jobs in a day.
//!
//! It counts and says no; who a caller is comes from elsewhere, and how a no is answered is left to the API.

mod jobs;
mod refusal;
mod requests;
mod run;

pub use jobs::Place;
pub use refusal::Refusal;
pub use requests::Standing;
pub use run::Throttle;

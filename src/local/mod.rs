//! A ComfyUI of our own: started in its folder, waited for, kept running, and ended with everything that it has started. What
//! runs on it is left to others, who see one more backend.

mod error;
mod options;
mod output;
mod process;
mod start;
mod supervisor;
mod tail;

pub use error::ServerNotReady;
pub use options::LocalOptions;
pub use start::{Ended, Local, Parts};
pub use supervisor::{Condition, Standing, Supervisor};

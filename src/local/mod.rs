//! A ComfyUI of our own: started in its folder, waited for, kept running, and ended with everything that it has started. What
//! runs on it is left to others, who see one more backend.

mod error;
mod options;
mod output;
mod owner;
mod predecessor;
mod process;
mod redact;
mod start;
mod supervisor;
mod tail;

pub use error::ServerNotReady;
pub use options::{Found, LocalOptions};
pub use redact::redact as without_secrets;
pub use start::{Ended, Local, Parts};
pub use supervisor::{Condition, Standing, Supervisor};

/// The name under which the ComfyUI that a gateway keeps running is known as a backend, whatever its port.
pub const NAME: &str = "local";

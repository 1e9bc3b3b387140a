//! Who a caller is: makes keys, and says whose a key is that somebody shows, or that a session was opened with.
//!
//! What the caller may do with it is left to the route table of the API.

mod keys;
mod session;
mod token;

pub use keys::{Grant, Keys, NewKey};
pub use session::{LIFE as SESSION_LIFE, SessionKey};

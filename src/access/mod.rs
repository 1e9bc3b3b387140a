//! Who a caller is: makes keys, and says whose a key is that somebody shows.
//!
//! What the caller may do with it is left to the route table of the API.

mod keys;
mod token;

pub use keys::{Grant, Keys, NewKey};

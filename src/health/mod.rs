//! How each backend is: asked for its pulse now and then, and judged by its answers and by its socket. What that means for
//! jobs is left to its desk, and who is told of it to `app`.

mod run;
mod sight;
mod state;

pub use run::{Change, LIMIT, Parts, run};
pub use sight::{Health, HttpSight, Link, Sight, SocketSight, Standing};

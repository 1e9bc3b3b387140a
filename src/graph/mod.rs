//! Graphs as ComfyUI executes them (API format): read, changed, compared, written. Knows no server and no workflow file.

mod api;

pub use api::{Graph, GraphError, Node, is_link, kind_of};

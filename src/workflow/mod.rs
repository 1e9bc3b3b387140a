//! From the name of a workflow and a caller's parameters to a graph that ComfyUI executes.
//!
//! This room reads the pairs `configs/<name>.yaml` and `templates/<name>.json`, says precisely what is wrong with them,
//! checks what callers give, and puts it into the graph. It sends nothing and knows no backend.

mod build;
mod catalog;
mod fields;
mod folder;
mod mapping;
mod naming;
mod pair;
mod parameter;
mod places;
mod problem;
mod raw;
mod reader;
mod resolve;
mod sections;
pub mod shipped;
mod structure;
mod target;
mod template;
mod told;
mod typing;
mod yaml;

pub use crate::graph::{Built, Target};
pub use build::{BuildError, build, check};
pub use catalog::Catalog;
pub use mapping::RESERVED;
pub use pair::{Files, Pair, Source};
pub use parameter::{Kind, ParamError, Parameter};
pub use problem::{Problem, Waits};
pub use raw::{RawError, RawGraph};
pub use resolve::{Resolved, attempt, resolve};
pub use sections::{Place, Sections};
pub use structure::structure;
pub use template::{duplicate_within, duplicates};

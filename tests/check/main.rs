//! Holds the check of graphs to what a real ComfyUI said to the same graphs, and the documentation to what the check says.

#![expect(clippy::unwrap_used, reason = "all of this is a test")]

mod answers;
mod mistakes;

use comfygate::definitions::Definitions;
use std::path::{Path, PathBuf};

/// Returns what the server said of the classes in the fixtures.
fn definitions() -> Definitions {
    Definitions::parse(&std::fs::read_to_string(fixture("check/classes.json")).unwrap()).unwrap()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

//! Reads recorded sessions.

use std::path::PathBuf;

use serde_json::Value;

/// One line of a recording.
pub(crate) struct Line {
    pub(crate) dir: String,
    pub(crate) value: Value,
}

impl Line {
    /// Returns a text of the line, empty if there is none.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.value[key].as_str().unwrap_or_default()
    }
}

/// Returns the names of all recordings, without the ending.
pub(crate) fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let recordings = entries.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    recordings.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

/// Reads one recording.
pub(crate) fn read(name: &str) -> Vec<Line> {
    let text = std::fs::read_to_string(folder().join(format!("{name}.jsonl"))).unwrap();
    let line = |line| {
        let value: Value = serde_json::from_str(line).unwrap();
        Line { dir: value["dir"].as_str().unwrap().to_owned(), value }
    };
    text.lines().map(line).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/traces")
}

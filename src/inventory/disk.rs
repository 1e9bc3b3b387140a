//! The copies in the data folder, one file a backend: written aside and renamed, so that there is never half of one.

use crate::hex;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Reads the copy of a backend's answer; none where there is none, or one that nobody would have written.
pub(super) fn load(folder: &Path, backend: &str, most: usize) -> Option<String> {
    let file = fs::File::open(place(folder, backend)).ok()?;
    let mut text = String::new();
    let read = file.take(most as u64 + 1).read_to_string(&mut text).ok()?;
    (read <= most).then_some(text)
}

/// Writes the copy of a backend's answer. It is not synced: what a power cut takes is asked for again.
pub(super) fn keep(folder: &Path, backend: &str, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let place = place(folder, backend);
    let aside = place.with_extension("new");
    fs::write(&aside, text)?;
    fs::rename(aside, place)
}

/// Removes the copy of a backend's answer, where there is one.
pub(super) fn remove(folder: &Path, backend: &str) -> io::Result<()> {
    match fs::remove_file(place(folder, backend)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Names a backend's file: readable, and never the same for two.
fn place(folder: &Path, backend: &str) -> PathBuf {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '_' };
    let readable: String = backend.trim_start_matches("http://").chars().take(60).map(plain).collect();
    let hash = hex::of(&Sha256::digest(backend)[..4]);
    folder.join(format!("{readable}-{hash}.json"))
}

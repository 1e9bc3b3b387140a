//! Writes outputs into a folder, under names that sort and that nothing has yet.

use super::error::OutputError;
use super::executor::Artifact;
use super::frames::padded;
use crate::job::OutputKind;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

/// How many names are tried for one output.
const MOST_NAMES: u32 = 10_000;

/// The largest number of an output that is gone on from.
const MOST_NUMBER: u64 = 999_999_999_999;

/// The folder that outputs are written into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens the folder, made where it is missing.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OutputError> {
        let path = path.into();
        std::fs::create_dir_all(&path).map_err(|error| failed(&path, &error))?;
        Ok(Self { path })
    }

    /// Returns the number with which the names of a workflow's outputs go on: one more than the largest that is there.
    pub fn next_number(&self, workflow: &str) -> Result<u64, OutputError> {
        let entries = std::fs::read_dir(&self.path).map_err(|error| failed(&self.path, &error))?;
        let mut largest = 0;
        for entry in entries {
            let name = entry.map_err(|error| failed(&self.path, &error))?.file_name();
            let number = name.to_str().and_then(|name| number_of(name, workflow));
            largest = largest.max(number.unwrap_or_default());
        }
        Ok(largest + 1)
    }

    /// Writes an output as `<name>_<k>.<ending>`; `place` counts from 0, of `count`. What has that name already stays, and
    /// the output gets another one.
    pub async fn save(
        &self,
        name: &str,
        place: usize,
        count: usize,
        artifact: &Artifact,
    ) -> Result<PathBuf, OutputError> {
        let digits = count.to_string().len();
        let stem = format!("{name}_{}", padded(place as u64 + 1, digits));
        let ending = ending_of(artifact);
        let (folder, file) = (self.path.clone(), artifact.file.clone());
        let write = tokio::task::spawn_blocking(move || write(&folder, &stem, &ending, &file));
        write.await.unwrap_or_else(|error| Err(OutputError { path: self.path.clone(), reason: error.to_string() }))
    }
}

fn write(folder: &Path, stem: &str, ending: &str, file: &Path) -> Result<PathBuf, OutputError> {
    for number in 1..=MOST_NAMES {
        let again = if number == 1 { String::new() } else { format!("-{number}") };
        let path = folder.join(format!("{stem}{again}.{ending}"));
        let mut target = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(failed(&path, &error)),
        };
        let copied = std::fs::File::open(file).and_then(|mut source| io::copy(&mut source, &mut target));
        return match copied {
            Ok(_) => Ok(path),
            Err(error) => {
                // Half a picture would look like one.
                let _ = std::fs::remove_file(&path);
                Err(failed(&path, &error))
            }
        };
    }
    let reason = format!("{MOST_NAMES} names that begin so are taken; choose another folder");
    Err(OutputError { path: folder.join(format!("{stem}.{ending}")), reason })
}

fn failed(path: &Path, error: &io::Error) -> OutputError {
    OutputError { path: path.to_owned(), reason: error.to_string() }
}

/// Reads the number out of `starter-0012_1.png`. One that is larger than any of ours is somebody else's.
fn number_of(name: &str, workflow: &str) -> Option<u64> {
    let (number, _) = name.strip_prefix(workflow)?.strip_prefix('-')?.split_once('_')?;
    number.parse().ok().filter(|number| *number <= MOST_NUMBER)
}

/// Takes the ending that the server gave the file, else one for its type.
fn ending_of(artifact: &Artifact) -> String {
    let given = artifact.output.filename.as_deref().and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
    let is_plain =
        |ending: &&str| (1..=8).contains(&ending.len()) && ending.chars().all(|it| it.is_ascii_alphanumeric());
    if let Some(ending) = given.filter(is_plain) {
        return ending.to_ascii_lowercase();
    }
    let subtype = artifact.output.content_type.split('/').nth(1).unwrap_or_default();
    let ending = match (artifact.output.kind(), subtype) {
        (_, "jpeg") => "jpg",
        (_, "quicktime") => "mov",
        (_, "x-matroska") => "mkv",
        (_, "mpeg") => "mp3",
        (_, "x-wav") => "wav",
        (OutputKind::Text, _) => "txt",
        (OutputKind::Image | OutputKind::Video | OutputKind::Audio, subtype) if is_plain(&subtype) => subtype,
        (OutputKind::Image | OutputKind::Video | OutputKind::Audio | OutputKind::File, _) => "bin",
    };
    ending.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{BlobId, Output};

    fn artifact(folder: &Path, text: &str, content_type: &str, filename: Option<&str>) -> Artifact {
        let file = folder.join("blob");
        std::fs::write(&file, text).unwrap();
        let output = Output {
            node_id: "9".into(),
            index: 0,
            content_type: content_type.into(),
            filename: filename.map(str::to_owned),
            bytes: text.len() as u64,
            sha256: BlobId("0".repeat(64)),
            metadata_stripped: None,
            origin: None,
        };
        Artifact { output, file }
    }

    #[tokio::test]
    async fn nothing_that_is_there_is_written_over() {
        let (blobs, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = Folder::open(out.path().join("deep/er")).unwrap();
        let mut paths = Vec::new();
        for text in ["one", "two", "three"] {
            let artifact = artifact(blobs.path(), text, "image/png", None);
            paths.push(folder.save("shot-0007", 0, 12, &artifact).await.unwrap());
        }
        let names: Vec<_> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["shot-0007_01.png", "shot-0007_01-2.png", "shot-0007_01-3.png"]);
        let texts: Vec<_> = paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert_eq!(texts, ["one", "two", "three"]);
        assert_eq!(folder.next_number("shot").unwrap(), 8);
        assert_eq!(folder.next_number("sho").unwrap(), 1);
        std::fs::write(out.path().join("deep/er").join(format!("shot-{}_1.png", u64::MAX)), "").unwrap();
        assert_eq!(folder.next_number("shot").unwrap(), 8, "a number that no run of ours has");
    }

    #[tokio::test]
    async fn an_output_that_cannot_be_read_leaves_no_half_file() {
        let (blobs, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = Folder::open(out.path()).unwrap();
        let mut artifact = artifact(blobs.path(), "x", "image/png", None);
        artifact.file = blobs.path().to_owned();
        assert!(folder.save("a", 0, 1, &artifact).await.is_err());
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_ending_is_the_servers_or_fits_the_type() {
        let folder = tempfile::tempdir().unwrap();
        let ending = |kind: &str, name: Option<&str>| ending_of(&artifact(folder.path(), "", kind, name));
        assert_eq!(ending("image/png", Some("ComfyUI_1_.PNG")), "png");
        assert_eq!(ending("image/jpeg", None), "jpg");
        assert_eq!(ending("video/mp4", Some("a.x/../y")), "mp4");
        assert_eq!(ending("text/plain", None), "txt");
        assert_eq!(ending("application/octet-stream", None), "bin");
    }
}

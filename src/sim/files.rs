//! The folders `output`, `temp` and `input` in memory, and the rules by which `/view` and `/upload/image` reach them.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::clock::Timestamp;

/// More files than this are not kept: the oldest go first.
const MOST_FILES: usize = 2_000;

/// The files that the server has.
#[derive(Debug, Default)]
pub(super) struct Files {
    kept: HashMap<Place, File>,
    order: VecDeque<Place>,
    counters: HashMap<(String, String), u32>,
}

/// Where a file is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Place {
    /// `output`, `temp` or `input`.
    pub(super) folder: String,
    pub(super) subfolder: String,
    pub(super) name: String,
}

/// A file.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) bytes: Bytes,
    pub(super) modified: Timestamp,
}

/// Why `/view` gives no file: the HTTP status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refusal(pub(super) u16);

impl Files {
    /// Keeps a file.
    pub(super) fn put(&mut self, place: Place, bytes: Bytes, modified: Timestamp) {
        if self.kept.insert(place.clone(), File { bytes, modified }).is_none() {
            self.order.push_back(place);
        }
        while self.order.len() > MOST_FILES {
            if let Some(oldest) = self.order.pop_front() {
                self.kept.remove(&oldest);
            }
        }
    }

    /// Returns whether a name that a node wrote, such as `sub/a.png` or `a.png [output]`, stands for a file.
    pub(super) fn has(&self, written: &str) -> bool {
        self.written(written).is_some()
    }

    /// Chooses the place of the next file of a prefix, such as `a/b` for `a/b_00001_.png`.
    pub(super) fn next_place(&mut self, folder: &str, prefix: &str) -> Place {
        let (subfolder, stem) = prefix.rsplit_once('/').unwrap_or(("", prefix));
        let counter = self.counters.entry((folder.to_owned(), prefix.to_owned())).or_default();
        *counter += 1;
        place(folder, subfolder, &format!("{stem}_{counter:05}_.png"))
    }

    /// Finds what `/view` asks for.
    pub(super) fn view(
        &self,
        filename: Option<&str>,
        folder: Option<&str>,
        subfolder: &str,
    ) -> Result<(Place, &File), Refusal> {
        let (written, annotation) = annotated(filename.ok_or(Refusal(404))?);
        if written.is_empty() || written.starts_with('/') || written.contains("..") {
            return Err(Refusal(400));
        }
        let folder = annotation.or(folder).unwrap_or("output");
        if !is_folder(folder) {
            return Err(Refusal(400));
        }
        if escapes(subfolder) {
            return Err(Refusal(403));
        }
        let name = written.rsplit('/').next().unwrap_or(written);
        let place = place(folder, subfolder.trim_matches('/'), name);
        let file = self.kept.get(&place).ok_or(Refusal(404))?;
        Ok((place, file))
    }

    /// Returns the bytes of a file by the name that a node wrote.
    pub(super) fn written(&self, written: &str) -> Option<&Bytes> {
        let (name, folder) = annotated(written);
        let (subfolder, name) = name.rsplit_once('/').unwrap_or(("", name));
        self.kept.get(&place(folder.unwrap_or("input"), subfolder, name)).map(|file| &file.bytes)
    }

    /// Returns the files of the input folder by their names with folders, in the order in which they came.
    pub(super) fn inputs(&self) -> Vec<(String, Bytes)> {
        let inputs = self.order.iter().filter(|place| place.folder == "input");
        let path = |place: &Place| format!("{}/{}", place.subfolder, place.name).trim_start_matches('/').to_owned();
        inputs.filter_map(|place| Some((path(place), self.kept.get(place)?.bytes.clone()))).collect()
    }

    /// Forgets the files of the input folder.
    pub(super) fn wipe_inputs(&mut self) {
        self.kept.retain(|place, _| place.folder != "input");
        self.order.retain(|place| place.folder != "input");
    }

    /// Keeps an uploaded file under a name that no other bytes have, or under its own if it may overwrite. What is kept may be
    /// made of the bytes and not be them; they are what is compared all the same, as ComfyUI does.
    pub(super) fn upload(
        &mut self,
        place: Place,
        overwrite: bool,
        bytes: &Bytes,
        made: Option<Bytes>,
        now: Timestamp,
    ) -> Result<Place, Refusal> {
        if escapes(&place.subfolder) || escapes(&place.name) {
            return Err(Refusal(400));
        }
        if place.name.is_empty() || place.name.contains('/') || !is_folder(&place.folder) {
            return Err(Refusal(500));
        }
        let (stem, ending) = place
            .name
            .rsplit_once('.')
            .map_or((place.name.clone(), String::new()), |(stem, ending)| (stem.to_owned(), format!(".{ending}")));
        let mut chosen = place;
        let mut number = 0_u32;
        while !overwrite && self.kept.get(&chosen).is_some_and(|file| file.bytes != *bytes) {
            number += 1;
            chosen.name = format!("{stem} ({number}){ending}");
        }
        if made.is_none() || self.kept.get(&chosen).is_none_or(|file| file.bytes != *bytes) {
            self.put(chosen.clone(), made.unwrap_or_else(|| bytes.clone()), now);
        }
        Ok(chosen)
    }

    /// Forgets every file that a prompt has made.
    pub(super) fn wipe_results(&mut self) {
        self.kept.retain(|place, _| place.folder == "input");
        self.order.retain(|place| place.folder == "input");
    }

    /// Forgets what a restart wipes: the temporary files.
    pub(super) fn wipe_temporary(&mut self) {
        self.kept.retain(|place, _| place.folder != "temp");
        self.order.retain(|place| place.folder != "temp");
    }
}

/// Returns the content type that `/view` gives to a file name.
pub(super) fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).as_deref() {
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("gif") => "image/gif",
        Some("txt") => "text/plain",
        Some("json") => "application/json",
        Some("mp4") => "video/mp4",
        Some("webm") => "video/webm",
        Some("flac") => "audio/flac",
        Some("mp3") => "audio/mpeg",
        Some(_) | None => "application/octet-stream",
    }
}

fn place(folder: &str, subfolder: &str, name: &str) -> Place {
    Place { folder: folder.to_owned(), subfolder: subfolder.to_owned(), name: name.to_owned() }
}

fn is_folder(folder: &str) -> bool {
    matches!(folder, "output" | "temp" | "input")
}

fn escapes(path: &str) -> bool {
    path.starts_with('/') || path.split('/').any(|part| part == "..")
}

/// Takes the folder off a name such as `a.png [output]`.
fn annotated(name: &str) -> (&str, Option<&str>) {
    ["output", "input", "temp"]
        .into_iter()
        .find_map(|folder| Some((name.strip_suffix(&format!(" [{folder}]"))?, Some(folder))))
        .unwrap_or((name, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(0);

    #[test]
    fn view_refuses_with_the_statuses_that_were_measured() {
        let mut files = Files::default();
        files.put(place("input", "x/y", "u.png"), Bytes::from_static(b"u"), NOW);
        files.put(place("input", "", "u.png"), Bytes::from_static(b"u"), NOW);
        let table = [
            (None, None, "", Some(404)),
            (Some(""), None, "", Some(400)),
            (Some("u.png"), None, "", Some(404)),
            (Some("u.png"), Some("bogus"), "", Some(400)),
            (Some("a..b.png"), Some("input"), "", Some(400)),
            (Some("/etc/passwd"), None, "", Some(400)),
            (Some("u.png"), Some("input"), "../..", Some(403)),
            (Some("u.png"), Some("input"), "/etc", Some(403)),
            (Some("u.png [input]"), None, "", None),
            (Some("sub/u.png"), Some("input"), "", None),
            (Some("u.png"), Some("input"), "x/y", None),
        ];
        for (name, folder, subfolder, status) in table {
            let refusal = files.view(name, folder, subfolder).err().map(|refusal| refusal.0);
            assert_eq!(refusal, status, "{name:?} {folder:?} {subfolder}");
        }
    }

    #[test]
    fn other_bytes_under_a_known_name_are_numbered_and_equal_bytes_are_not() {
        let mut files = Files::default();
        let mut upload = |bytes: &'static [u8], overwrite| {
            files.upload(place("input", "", "u.png"), overwrite, &Bytes::from_static(bytes), None, NOW).unwrap().name
        };
        assert_eq!(upload(b"1", false), "u.png");
        assert_eq!(upload(b"1", false), "u.png");
        assert_eq!(upload(b"2", false), "u (1).png");
        assert_eq!(upload(b"2", false), "u (1).png");
        assert_eq!(upload(b"3", true), "u.png");
        assert!(files.has("u (1).png") && !files.has("u (1).png [output]"));
    }

    #[test]
    fn saved_files_are_numbered_per_prefix() {
        let mut files = Files::default();
        assert_eq!(files.next_place("output", "a/b").name, "b_00001_.png");
        assert_eq!(files.next_place("output", "a/b"), place("output", "a", "b_00002_.png"));
        assert_eq!(files.next_place("output", "b").name, "b_00001_.png");
    }
}

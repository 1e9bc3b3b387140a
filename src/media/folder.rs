//! The files of the blob folder: where each lies, how one is written so that its name is either whole or absent, and what
//! is cleared away. Everything here blocks.

use super::blobs::BlobError;
use crate::crash::{self, Point};
use crate::hex;
use crate::job::BlobId;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the blobs lie: 256 folders by the first byte of the name, and one for drafts.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    aside: PathBuf,
    /// The name of the next draft.
    next: AtomicU64,
    /// Whoever removes a blob holds this meanwhile, and whoever puts one notes it here first.
    puts: Mutex<Puts>,
}

/// When each blob was put last, by turns; one that is not listed was put before all of them.
#[derive(Debug, Default)]
struct Puts {
    turn: u64,
    last: HashMap<BlobId, u64>,
}

impl Folder {
    /// Makes what is missing of the folder at `root`, and removes the drafts that a crash left. `root` lies in `data`.
    pub(super) fn open(data: &Path, root: PathBuf) -> Result<Self, BlobError> {
        let aside = root.join("tmp");
        match std::fs::remove_dir_all(&aside) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(BlobError::Io { path: aside, cause: source });
            }
            Ok(()) | Err(_) => {}
        }
        let folder = Self { root, aside, next: AtomicU64::new(0), puts: Mutex::default() };
        make_folder(&folder.aside)?;
        for fan_out in folder.fan_outs() {
            make_folder(&fan_out)?;
        }
        sync_folder(&folder.root)?;
        sync_folder(data)?;
        Ok(folder)
    }

    /// Returns where a blob lies, or would lie.
    pub(super) fn path(&self, id: &BlobId) -> Result<PathBuf, BlobError> {
        let text = id.as_str();
        let is_digest = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match text.split_at_checked(2) {
            Some((fan_out, rest)) if is_digest => Ok(self.root.join(fan_out).join(rest)),
            Some(_) | None => Err(BlobError::BadId(text.to_owned())),
        }
    }

    /// Returns a path below the folder at which nothing is ever put.
    pub(super) fn nowhere(&self) -> PathBuf {
        self.root.join("nowhere")
    }

    /// The folder at `root` as it lies there; nothing is made or removed.
    pub(super) fn found(root: PathBuf) -> Self {
        Self { aside: root.join("tmp"), root, next: AtomicU64::new(0), puts: Mutex::default() }
    }

    /// Removes every blob that is not among `needed`, and returns how many.
    pub(super) fn sweep(&self, needed: &HashSet<BlobId>) -> Result<u64, BlobError> {
        let mut removed = 0;
        self.each_blob(|id, path| {
            if !needed.contains(&id) {
                std::fs::remove_file(path).map_err(at(path))?;
                removed += 1;
            }
            Ok(())
        })?;
        Ok(removed)
    }

    /// Shows every blob with its path. What does not have the name of a blob is not ours.
    pub(super) fn each_blob(
        &self,
        mut show: impl FnMut(BlobId, &Path) -> Result<(), BlobError>,
    ) -> Result<(), BlobError> {
        for fan_out in self.fan_outs() {
            for path in entries(&fan_out)? {
                let names = (fan_out.file_name().and_then(OsStr::to_str), path.file_name().and_then(OsStr::to_str));
                let (Some(first), Some(rest)) = names else { continue };
                let id = BlobId(format!("{first}{rest}"));
                if self.path(&id).is_ok() {
                    show(id, &path)?;
                }
            }
        }
        Ok(())
    }

    /// Returns what is being written, or was when the gateway ended.
    pub(super) fn drafts(&self) -> Result<Vec<PathBuf>, BlobError> {
        entries(&self.aside)
    }

    /// Begins a turn and returns its number: what is put from now on is put in it or later.
    pub(super) fn begin_turn(&self) -> u64 {
        let mut puts = self.puts.lock().unwrap_or_else(PoisonError::into_inner);
        puts.turn += 1;
        puts.turn
    }

    /// Returns the blobs that were put in this life of the gateway, the last time before `turn`.
    pub(super) fn put_before(&self, turn: u64) -> Vec<BlobId> {
        let puts = self.puts.lock().unwrap_or_else(PoisonError::into_inner);
        puts.last.iter().filter(|(_, last)| **last < turn).map(|(id, _)| id.clone()).collect()
    }

    /// Forgets when blobs were put before `turn`; they count as old from now on.
    pub(super) fn forget_before(&self, turn: u64) {
        self.puts.lock().unwrap_or_else(PoisonError::into_inner).last.retain(|_, last| *last >= turn);
    }

    /// Removes a blob unless it was put again since `turn` began; returns the bytes that this freed, none where nothing
    /// was removed.
    pub(super) fn remove_unless_put_since(&self, id: &BlobId, turn: u64) -> Result<Option<u64>, BlobError> {
        let path = self.path(id)?;
        // Held over the removal: who puts the same content now waits here, and then finds no file and writes it.
        let puts = self.puts.lock().unwrap_or_else(PoisonError::into_inner);
        if puts.last.get(id).is_some_and(|last| *last >= turn) {
            return Ok(None);
        }
        let bytes = match std::fs::metadata(&path) {
            Ok(file) => file.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&path)(error)),
        };
        std::fs::remove_file(&path).map_err(at(&path))?;
        drop(puts);
        Ok(Some(bytes))
    }

    /// Notes that a blob is being put, which must come before the question whether it is there already.
    pub(super) fn note_put(&self, id: &BlobId) {
        let mut puts = self.puts.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = puts.turn;
        puts.last.insert(id.clone(), turn);
    }

    /// Says whether the blob is there and whole; where it is, it has survived a loss of power from now on, even if the
    /// one who put it has not got to that yet.
    pub(super) fn holds(&self, id: &BlobId, bytes: u64) -> Result<bool, BlobError> {
        let path = self.path(id)?;
        let is_whole = std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() == bytes);
        if is_whole {
            sync_parent(&path)?;
        }
        Ok(is_whole)
    }

    fn fan_outs(&self) -> impl Iterator<Item = PathBuf> {
        (0..=u8::MAX).map(|first| self.root.join(format!("{first:02x}")))
    }
}

/// A blob being written; dropping it removes what was written so far.
pub(super) struct Draft {
    folder: Arc<Folder>,
    file: File,
    path: PathBuf,
    hash: Sha256,
    bytes: u64,
}

impl Draft {
    /// Begins a blob.
    pub(super) fn new(folder: Arc<Folder>) -> Result<Self, BlobError> {
        let path = folder.aside.join(folder.next.fetch_add(1, Ordering::Relaxed).to_string());
        let file = File::options().write(true).create_new(true).open(&path).map_err(at(&path))?;
        Ok(Self { folder, file, path, hash: Sha256::new(), bytes: 0 })
    }

    pub(super) fn append(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        self.write_all(chunk).map_err(at(&self.path))
    }

    /// Begins another one beside this.
    pub(super) fn another(&self) -> Result<Self, BlobError> {
        Self::new(Arc::clone(&self.folder))
    }

    /// Opens what was written so far for reading.
    pub(super) fn reread(&self) -> Result<File, BlobError> {
        File::open(&self.path).map_err(at(&self.path))
    }

    /// Says that this draft could not be read or written.
    pub(super) fn failed(&self, cause: io::Error) -> BlobError {
        at(&self.path)(cause)
    }

    pub(super) fn append_all(mut self, chunks: &[Bytes]) -> Result<Self, BlobError> {
        for chunk in chunks {
            self.append(chunk)?;
        }
        Ok(self)
    }

    /// Syncs the bytes and puts them in their place. Two at once put the same bytes there, so neither need wait.
    pub(super) fn keep(mut self) -> Result<(BlobId, u64), BlobError> {
        let id = name(&std::mem::take(&mut self.hash).finalize().into());
        self.folder.note_put(&id);
        if self.folder.holds(&id, self.bytes)? {
            return Ok((id, self.bytes));
        }
        let path = self.folder.path(&id)?;
        self.file.sync_all().map_err(at(&self.path))?;
        crash::pass(Point::Drafted);
        std::fs::rename(&self.path, &path).map_err(at(&path))?;
        sync_parent(&path)?;
        crash::pass(Point::Kept);
        Ok((id, self.bytes))
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // An error means that it was put in its place.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Returns the name of the bytes with this digest.
pub(super) fn name(digest: &[u8; 32]) -> BlobId {
    BlobId(hex::of(digest))
}

/// Returns what lies in a folder; nothing where the folder is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, BlobError> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry.map_err(at(folder))?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(at(folder)(error)),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> BlobError {
    move |cause| BlobError::Io { path: path.to_owned(), cause }
}

fn make_folder(folder: &Path) -> Result<(), BlobError> {
    std::fs::create_dir_all(folder).map_err(at(folder))
}

fn sync_parent(path: &Path) -> Result<(), BlobError> {
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes new names in the folder survive a loss of power.
fn sync_folder(folder: &Path) -> Result<(), BlobError> {
    if cfg!(unix) { File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder)) } else { Ok(()) }
}

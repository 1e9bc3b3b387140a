//! Which blobs may go, and that they go: nobody may name one that is removed, now or later.

use super::blobs::{BlobError, Blobs, blocking};
use super::holds::Hold;
use crate::job::BlobId;
use std::collections::{BTreeSet, HashSet};

/// A stretch of time between two looks at what may be removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn(u64);

/// What a removal has freed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Removed {
    /// How many blobs are gone.
    pub blobs: u64,
    /// How many bytes they had.
    pub bytes: u64,
}

impl Blobs {
    /// Removes every blob that is not among `needed`, as a crash between a blob and its job's end leaves them; returns how
    /// many. Only at the start, before anything is put. Blocks.
    pub fn sweep(&self, needed: &HashSet<BlobId>) -> Result<u64, BlobError> {
        self.folder().sweep(needed)
    }

    /// Begins a turn. A blob that nobody names may be removed if it was not put since a turn began, and every run that went
    /// on at its beginning has ended: then nobody is left who could still come to name it.
    pub fn begin_turn(&self) -> Turn {
        Turn(self.folder().begin_turn())
    }

    /// Notes that somebody is about to name a blob that is there already, as if it were put anew: a turn that goes on does not
    /// remove it.
    pub fn touch(&self, id: &BlobId) {
        self.folder().note_put(id);
    }

    /// Keeps all blobs from being removed that are put or found from now on, until what is returned is dropped.
    pub fn hold(&self) -> Hold {
        self.held().take()
    }

    /// Returns the holds of this moment; each has a number of its own for ever.
    pub fn holds(&self) -> BTreeSet<u64> {
        self.held().now()
    }

    /// Returns the blobs that were put in this life of the gateway, the last time before `turn`.
    pub fn put_before(&self, turn: Turn) -> Vec<BlobId> {
        self.folder().put_before(turn.0)
    }

    /// Removes those of `unneeded` that were not put again since `turn` began, and says how many and how large they were.
    pub async fn remove(&self, unneeded: Vec<BlobId>, turn: Turn) -> Result<Removed, BlobError> {
        let folder = self.folder();
        blocking(move || {
            let mut removed = Removed::default();
            for id in &unneeded {
                if let Some(bytes) = folder.remove_unless_put_since(id, turn.0)? {
                    removed.blobs += 1;
                    removed.bytes += bytes;
                }
            }
            Ok(removed)
        })
        .await
    }

    /// Ends the concern with what was put before `turn`.
    pub fn forget_before(&self, turn: Turn) {
        self.folder().forget_before(turn.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[tokio::test]
    async fn sweeping_removes_what_nobody_needs_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let (kept, _) = blobs.put(Bytes::from_static(b"kept")).await.unwrap();
        let (orphan, _) = blobs.put(Bytes::from_static(b"orphan")).await.unwrap();
        std::fs::write(folder.path().join("blobs/00/notes.txt"), "not a blob").unwrap();
        assert_eq!(blobs.sweep(&HashSet::from([kept.clone()])).unwrap(), 1);
        assert_eq!(std::fs::read(blobs.path(&kept)).unwrap(), b"kept");
        assert!(matches!(blobs.size(&orphan).await, Err(BlobError::Missing(_))));
        assert!(folder.path().join("blobs/00/notes.txt").exists());
        assert_eq!(blobs.sweep(&HashSet::from([kept])).unwrap(), 0);
    }
}

//! Looks at the blob folder of a gateway that does not run: what lies there, and whether it is what its name says.
//! Everything here blocks.

use super::blobs::BlobError;
use super::folder::{Folder, name};
use crate::job::BlobId;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How much of a blob is read at once.
const READ: usize = 256 * 1024;

/// What lies in a blob folder.
#[derive(Debug)]
pub struct Survey {
    /// Every blob with its size.
    pub blobs: BTreeMap<BlobId, u64>,
    /// What was being written when the gateway ended.
    pub drafts: Vec<PathBuf>,
    folder: Folder,
}

impl Survey {
    /// Lists what lies in the blobs of the data folder `data`; a folder that is not there is empty.
    pub fn of(data: &Path) -> Result<Self, BlobError> {
        let folder = Folder::found(data.join("blobs"));
        let mut blobs = BTreeMap::new();
        folder.each_blob(|id, path| {
            let bytes = std::fs::metadata(path).map_err(|cause| BlobError::Io { path: path.to_owned(), cause })?.len();
            blobs.insert(id, bytes);
            Ok(())
        })?;
        Ok(Self { blobs, drafts: folder.drafts()?, folder })
    }

    /// Reads a blob and says whether its content is what its name says.
    pub fn is_sound(&self, id: &BlobId) -> Result<bool, BlobError> {
        let path = self.folder.path(id)?;
        let unreadable = |cause| BlobError::Io { path: path.clone(), cause };
        let mut file = File::open(&path).map_err(unreadable)?;
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; READ]);
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(name(&hash.finalize().into()) == *id),
                Ok(read) => hash.update(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
    }

    /// Removes a blob.
    pub fn remove(&self, id: &BlobId) -> Result<(), BlobError> {
        let path = self.folder.path(id)?;
        std::fs::remove_file(&path).map_err(|cause| BlobError::Io { path, cause })
    }

    /// Removes a draft.
    pub fn remove_draft(&self, path: &Path) -> Result<(), BlobError> {
        std::fs::remove_file(path).map_err(|cause| BlobError::Io { path: path.to_owned(), cause })
    }
}

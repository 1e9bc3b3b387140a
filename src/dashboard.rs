//! The files of the dashboard: the folder `dashboard/` as it was when the program was built. A debug build reads the folder itself
//! where it is still there, so that a change shows on reload. Who gets them is left to the API.

use bytes::Bytes;
use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

/// The page itself.
pub const PAGE: &str = "index.html";

/// One file of the dashboard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asset {
    /// What is in it.
    pub bytes: Bytes,
    /// What a browser takes it for.
    pub content_type: &'static str,
    /// Another one for other bytes, as it stands in `etag`.
    pub tag: String,
}

static FOLDER: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/dashboard");

/// Every file that was built in, by its path in the folder.
static BUILT_IN: LazyLock<HashMap<String, Asset>> = LazyLock::new(|| {
    let mut files = HashMap::new();
    let mut folders = vec![&FOLDER];
    while let Some(folder) = folders.pop() {
        folders.extend(folder.dirs());
        for file in folder.files() {
            let path = file.path().to_string_lossy().replace('\\', "/");
            let asset = asset_of(&path, Bytes::from_static(file.contents()));
            files.insert(path, asset);
        }
    }
    files
});

/// Finds a file by its path in the folder, such as `app.mjs` or `views/jobs.mjs`.
pub fn asset(path: &str) -> Option<Asset> {
    if !is_plain(path) {
        return None;
    }
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/dashboard"));
    if cfg!(debug_assertions) && folder.is_dir() { on_disk(folder, path) } else { BUILT_IN.get(path).cloned() }
}

/// Reads a file as it is now. It is small, and only whoever works on it waits for it.
fn on_disk(folder: &Path, path: &str) -> Option<Asset> {
    std::fs::read(folder.join(path)).ok().map(|bytes| asset_of(path, bytes.into()))
}

fn asset_of(path: &str, bytes: Bytes) -> Asset {
    let hash: [u8; 32] = Sha256::digest(&bytes).into();
    Asset { content_type: content_type(path), tag: format!("\"{}\"", crate::hex::of(hash)), bytes }
}

/// Says whether a path is names between slashes, none of them hidden: what leads out of a folder is not.
fn is_plain(path: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    path.split('/').all(|name| !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_letter))
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_what_lies_in_the_folder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard");
        assert_eq!(BUILT_IN.get(PAGE).unwrap().content_type, "text/html; charset=utf-8");
        for (path, built_in) in BUILT_IN.iter() {
            assert!(is_plain(path), "{path} would not be served");
            assert_ne!(built_in.content_type, "application/octet-stream", "{path}: say what a browser takes it for");
            assert_eq!(on_disk(&root, path).as_ref(), Some(built_in), "{path}");
            assert_eq!(asset(path).as_ref(), Some(built_in), "{path}");
        }
    }

    #[test]
    fn no_path_leads_out_of_the_folder() {
        for path in ["", "/", "..", "../Cargo.toml", "a/../index.html", "./index.html", "//etc/passwd", "/etc/passwd"] {
            assert!(!is_plain(path) && asset(path).is_none(), "{path}");
        }
        for path in ["index.html/", ".hidden", "a/.git", "a\\b", "a\0", "a%2fb", "C:x", "index.html ", "nothing.html"] {
            assert!(asset(path).is_none(), "{path}");
        }
    }

    #[test]
    fn other_bytes_have_another_tag() {
        let tag = |bytes: &'static [u8]| asset_of("a.mjs", Bytes::from_static(bytes)).tag;
        assert_eq!(tag(b"x"), tag(b"x"));
        assert_ne!(tag(b"x"), tag(b"y"));
        assert!(tag(b"x").starts_with('"') && tag(b"x").len() == 66);
    }
}

//! Asks the backends whether a file lies in their input folders.

use crate::comfy::ClientError;
use crate::job::FileRef;
use crate::pool::{Backend, Pool};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// How long a backend may take to say so: it may be busy writing an image (T26).
const LIMIT: Duration = Duration::from_secs(15);

/// How many backends are asked.
const MOST: usize = 64;

/// The longest name of a file, with its folders.
const LONGEST: usize = 255;

/// What the backends say of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whereabouts {
    /// Those that have it.
    pub on: Vec<String>,
    /// Those that do not.
    pub not_on: Vec<String>,
    /// Those that did not say.
    pub silent: Vec<String>,
}

/// Reads the name of a file in the input folder as nodes write it, `a.png` or `folder/a.png`; says what is wrong with another.
pub fn input_file(name: &str) -> Result<FileRef, &'static str> {
    let name = name.strip_suffix(" [input]").unwrap_or(name);
    if name.is_empty() || name.len() > LONGEST {
        return Err("a name has 1 to 255 bytes");
    }
    if name.ends_with(" [output]") || name.ends_with(" [temp]") {
        return Err("only files of ComfyUI's input folder are taken");
    }
    let (subfolder, filename) = name.rsplit_once('/').unwrap_or(("", name));
    let leads_elsewhere = name.starts_with('/')
        || name.contains("..")
        || name.contains('\\')
        || name.chars().any(char::is_control)
        || filename.is_empty()
        || subfolder.split('/').any(|part| part == ".");
    if leads_elsewhere {
        return Err("it must be the name of a file in ComfyUI's input folder, such as photo.png or folder/photo.png");
    }
    Ok(FileRef { filename: filename.to_owned(), subfolder: subfolder.to_owned(), folder: "input".to_owned() })
}

/// Asks every backend at once.
pub(super) async fn ask(pool: &Pool, file: &FileRef) -> Whereabouts {
    let backends = pool.backends();
    let answers = join_all(backends.iter().take(MOST).map(|backend| has(backend, file))).await;
    let mut found = Whereabouts { on: Vec::new(), not_on: Vec::new(), silent: Vec::new() };
    for (backend, answer) in backends.iter().zip(answers) {
        let list = match answer {
            Some(true) => &mut found.on,
            Some(false) => &mut found.not_on,
            None => &mut found.silent,
        };
        list.push(backend.name.clone());
    }
    found
}

/// The bytes are not read: that they would come is enough.
async fn has(backend: &Arc<Backend>, file: &FileRef) -> Option<bool> {
    match tokio::time::timeout(LIMIT, backend.client.view(file)).await.ok()? {
        Ok(_) => Some(true),
        // A server says so of a name that it would not look for.
        Err(ClientError::NotFound | ClientError::Status { status: 400..=403, .. }) => Some(false),
        Err(
            ClientError::Unreachable(_)
            | ClientError::TimedOut(_)
            | ClientError::Status { .. }
            | ClientError::Malformed(_)
            | ClientError::TooLarge { .. },
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_within_the_input_folder() {
        let file = |name| input_file(name).map(|file| (file.subfolder, file.filename));
        assert_eq!(file("a.png"), Ok((String::new(), "a.png".to_owned())));
        assert_eq!(file("b/c/a b.png [input]"), Ok(("b/c".to_owned(), "a b.png".to_owned())));
        for name in ["", "../a.png", "/a.png", "a..b.png", "b/", "a\\b.png", "a\n.png", "./a.png", "a.png [output]"] {
            assert!(file(name).is_err(), "{name}");
        }
        assert!(file(&"a".repeat(256)).is_err());
    }
}

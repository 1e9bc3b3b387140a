//! Which node classes each backend has, and with which models: its answer to `GET /object_info`, kept in memory and in the
//! data folder, so that it is known at the start too, before any backend has answered.
//!
//! `run.rs` fetches it: when a backend's socket comes up, every few minutes, and when somebody wishes a fresher one. An
//! answer that makes no sense changes nothing.

mod disk;
mod merge;
mod run;

pub use run::{Parts, run};

use crate::clock::{Clock, Timestamp};
use crate::definitions::{Definitions, DefinitionsError};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tracing::{debug, warn};

/// The largest answer that is taken, in bytes, and the most classes. A server with all custom nodes there are has a tenth.
const MOST_BYTES: usize = 64 << 20;
const MOST_CLASSES: usize = 50_000;

/// How long somebody who wishes a fresher copy waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the backends have.
pub struct Inventory {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    shelves: RwLock<Vec<Arc<Shelf>>>,
    all: RwLock<Definitions>,
    changes: watch::Sender<u64>,
}

/// What one backend has.
struct Shelf {
    backend: String,
    stock: RwLock<Stock>,
    /// Rung when somebody wishes a fresher copy.
    wish: Notify,
    /// How often the backend was asked, whatever came of it, and when last.
    asked: watch::Sender<(u64, Option<Timestamp>)>,
}

#[derive(Default)]
struct Stock {
    definitions: Option<Definitions>,
    /// How often they have changed.
    version: u64,
    /// Of the text from which the definitions were read.
    sha256: Option<[u8; 32]>,
}

/// Why an answer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// It has too many bytes.
    #[error("the answer to GET /object_info has {0} bytes, more than {MOST_BYTES} are not read")]
    TooLarge(usize),
    /// It has too many classes.
    #[error("the answer to GET /object_info has {0} node classes, more than {MOST_CLASSES} are not kept")]
    TooMany(usize),
    /// It is none.
    #[error(transparent)]
    Malformed(#[from] DefinitionsError),
}

impl Inventory {
    /// Reads what the data folder knows of these backends. Whatever cannot be read there is as if it were not there.
    pub fn open(data: &Path, backends: impl IntoIterator<Item = String>, clock: Arc<dyn Clock>) -> Self {
        let inventory = Self {
            folder: data.join("object_info"),
            clock,
            shelves: RwLock::default(),
            all: RwLock::default(),
            changes: watch::Sender::new(0),
        };
        backends.into_iter().for_each(|backend| inventory.admit(&backend));
        inventory
    }

    /// Makes room for a backend, unless there is some already, and reads what the data folder knows of it.
    pub fn admit(&self, backend: &str) {
        if self.shelf(backend).is_some() {
            return;
        }
        let text = disk::load(&self.folder, backend, MOST_BYTES);
        let stock = text.and_then(|text| Stock::of(&text).inspect_err(|error| report(backend, error)).ok());
        let is_known = stock.is_some();
        let stand = Shelf {
            backend: backend.to_owned(),
            stock: RwLock::new(stock.unwrap_or_default()),
            wish: Notify::new(),
            asked: watch::Sender::new((0, None)),
        };
        self.shelves.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(stand));
        if is_known {
            self.put_together();
        }
    }

    /// Forgets a backend, and what the data folder knows of it. It takes some time, and must not be called where others wait.
    pub fn forget(&self, backend: &str) {
        let Some(stand) = self.shelf(backend) else { return };
        self.shelves.write().unwrap_or_else(PoisonError::into_inner).retain(|shelf| shelf.backend != backend);
        if let Err(error) = disk::remove(&self.folder, backend) {
            warn!(backend, %error, "the backend's node definitions stay on the disk");
        }
        if stand.definitions().is_some() {
            self.put_together();
        }
    }

    /// Returns the names of the backends.
    pub fn backends(&self) -> Vec<String> {
        self.shelves().iter().map(|shelf| shelf.backend.clone()).collect()
    }

    /// Returns what a backend has; none where it is not known yet, or where there is no such backend.
    pub fn of(&self, backend: &str) -> Option<Definitions> {
        self.shelf(backend)?.definitions()
    }

    /// Returns what a backend has, and a number that is another one whenever it has something else; none where it is not
    /// known yet.
    pub fn stock(&self, backend: &str) -> Option<(u64, Definitions)> {
        let place = self.shelf(backend)?;
        let stock = place.stock.read().unwrap_or_else(PoisonError::into_inner);
        Some((stock.version, stock.definitions.clone()?))
    }

    /// Returns the classes of all backends together, with the choices of all; empty where none is known yet.
    pub fn known(&self) -> Definitions {
        self.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what tells that something has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Asks a backend again, unless it was asked since `age` ago, and waits for its answer, some seconds at most.
    pub async fn refresh(&self, backend: &str, age: Duration) {
        let Some(stand) = self.shelf(backend) else { return };
        let mut asked = stand.asked.subscribe();
        let (times, last) = *asked.borrow_and_update();
        let now = self.clock.now();
        if last.is_some_and(|last| now.since(last) < age) {
            return;
        }
        stand.wish.notify_one();
        tokio::select! {
            _ = asked.wait_for(|(now, _)| *now > times) => {}
            () = self.clock.sleep_until(now + PATIENCE) => debug!(backend, "no fresh node definitions in time"),
        }
    }

    /// Takes a backend's answer in, and keeps it on the disk. Returns whether anything is different now. It takes some
    /// time, and must not be called where others wait.
    pub fn take(&self, backend: &str, text: &str) -> Result<bool, InventoryError> {
        let Some(stand) = self.shelf(backend) else { return Ok(false) };
        let is_same = |stock: &Stock| stock.sha256 == Some(Sha256::digest(text).into());
        if is_same(&stand.stock.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(false);
        }
        let stock = Stock::of(text)?;
        if let Err(error) = disk::keep(&self.folder, backend, text) {
            warn!(backend, %error, "the backend's node definitions are not kept on the disk");
        }
        let mut place = stand.stock.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = place.definitions != stock.definitions;
        let version = place.version + u64::from(is_new);
        *place = Stock { version, ..stock };
        drop(place);
        if !is_new {
            return Ok(false);
        }
        self.put_together();
        Ok(true)
    }

    fn put_together(&self) {
        let all = merge::all(self.shelves().iter().filter_map(|shelf| shelf.definitions()));
        *self.all.write().unwrap_or_else(PoisonError::into_inner) = all;
        self.changes.send_modify(|times| *times += 1);
    }

    fn shelf(&self, backend: &str) -> Option<Arc<Shelf>> {
        self.shelves().into_iter().find(|shelf| shelf.backend == backend)
    }

    fn shelves(&self) -> Vec<Arc<Shelf>> {
        self.shelves.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shelf {
    fn definitions(&self) -> Option<Definitions> {
        self.stock.read().unwrap_or_else(PoisonError::into_inner).definitions.clone()
    }

    /// Notes that the backend was asked.
    fn was_asked(&self, now: Timestamp) {
        self.asked.send_modify(|asked| *asked = (asked.0 + 1, Some(now)));
    }
}

impl Stock {
    fn of(text: &str) -> Result<Self, InventoryError> {
        if text.len() > MOST_BYTES {
            return Err(InventoryError::TooLarge(text.len()));
        }
        let definitions = Definitions::parse(text)?;
        let count = definitions.nodes().len();
        if count > MOST_CLASSES {
            return Err(InventoryError::TooMany(count));
        }
        Ok(Self { definitions: Some(definitions), version: 0, sha256: Some(Sha256::digest(text).into()) })
    }
}

fn report(backend: &str, error: &InventoryError) {
    warn!(backend, %error, "what the disk knows of the backend's nodes cannot be read; it is asked again");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use serde_json::json;

    fn answer(class: &str, models: &[&str]) -> String {
        json!({class: {"input": {"required": {"name": [models]}}, "output": ["MODEL"]}}).to_string()
    }

    fn inventory(data: &Path) -> Inventory {
        Inventory::open(data, ["http://a:1".to_owned(), "http://b:2".to_owned()], SystemClock::start())
    }

    #[test]
    fn what_a_backend_has_is_known_after_a_restart_before_it_has_answered() {
        let data = tempfile::tempdir().unwrap();
        let before = inventory(data.path());
        assert_eq!((before.of("http://a:1"), before.known().is_empty()), (None, true));
        let mut changes = before.changes();
        assert!(before.take("http://a:1", &answer("Loader", &["x"])).unwrap());
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert!(!before.take("http://a:1", &answer("Loader", &["x"])).unwrap(), "nothing is new");
        assert!(!changes.has_changed().unwrap());
        let after = inventory(data.path());
        assert_eq!(after.of("http://a:1"), before.of("http://a:1"));
        assert!(after.known().node("Loader").is_some() && after.of("http://b:2").is_none());
        let other = Inventory::open(data.path(), ["http://a:10".to_owned()], SystemClock::start());
        assert_eq!(other.of("http://a:10"), None, "another backend's definitions are not its own");
    }

    #[test]
    fn what_makes_no_sense_changes_nothing() {
        let data = tempfile::tempdir().unwrap();
        let inventory = inventory(data.path());
        inventory.take("http://a:1", &answer("Loader", &["x"])).unwrap();
        let good = inventory.of("http://a:1");
        for broken in ["", "{}", "<html>", "[1]", r#"{"Loader": 7}"#] {
            assert!(matches!(inventory.take("http://a:1", broken), Err(InventoryError::Malformed(_))), "{broken}");
        }
        assert!(matches!(inventory.take("http://a:1", &" ".repeat(MOST_BYTES + 1)), Err(InventoryError::TooLarge(_))));
        assert_eq!(inventory.of("http://a:1"), good);
        let file = std::fs::read_dir(data.path().join("object_info")).unwrap().next().unwrap().unwrap().path();
        std::fs::write(file, "{\"Loader\": {\"inp").unwrap();
        assert_eq!(self::inventory(data.path()).of("http://a:1"), None, "half a file is no file");
    }

    #[test]
    fn a_backend_that_comes_later_is_known_from_the_disk_too() {
        let data = tempfile::tempdir().unwrap();
        inventory(data.path()).take("http://a:1", &answer("Loader", &["x"])).unwrap();
        let later = Inventory::open(data.path(), [], SystemClock::start());
        assert!(later.backends().is_empty() && later.known().is_empty());
        let changes = later.changes();
        later.admit("http://a:1");
        later.admit("http://a:1");
        assert_eq!(later.backends(), ["http://a:1"]);
        assert!(later.known().node("Loader").is_some() && changes.has_changed().unwrap());
    }

    #[test]
    fn a_backend_that_was_forgotten_is_not_known_under_its_name_again() {
        let data = tempfile::tempdir().unwrap();
        let inventory = inventory(data.path());
        inventory.take("http://a:1", &answer("Loader", &["x"])).unwrap();
        let changes = inventory.changes();
        inventory.forget("http://a:1");
        assert!(inventory.known().is_empty() && changes.has_changed().unwrap());
        assert!(!inventory.take("http://a:1", &answer("Loader", &["x"])).unwrap(), "nobody keeps what comes late");
        inventory.admit("http://a:1");
        assert_eq!((inventory.of("http://a:1"), inventory.known().is_empty()), (None, true));
        assert_eq!(std::fs::read_dir(data.path().join("object_info")).unwrap().count(), 0);
    }

    #[test]
    fn all_together_have_the_choices_of_each() {
        let data = tempfile::tempdir().unwrap();
        let inventory = inventory(data.path());
        inventory.take("http://a:1", &answer("Loader", &["x", "y"])).unwrap();
        inventory.take("http://b:2", &answer("Loader", &["y", "z"])).unwrap();
        let known = inventory.known();
        assert_eq!(known.node("Loader").unwrap().choices("name").unwrap(), [json!("x"), json!("y"), json!("z")]);
        let of_b = inventory.of("http://b:2").unwrap();
        assert_eq!(of_b.node("Loader").unwrap().choices("name").unwrap(), [json!("y"), json!("z")]);
    }
}

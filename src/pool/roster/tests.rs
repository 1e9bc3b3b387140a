//! What happens between a backend that goes and one that comes under its name.

use super::*;
use crate::clock::SystemClock;
use crate::comfy::{Client, Route};
use crate::pool::BackendTap;
use crate::store::SqliteStore;
use crate::tracker::{Desk, Tracker};
use std::sync::mpsc;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How long a test waits for something.
const PATIENCE: Duration = Duration::from_secs(30);

/// A roster whose backends are at addresses where nobody is.
struct Bench {
    roster: Arc<Roster>,
    pool: Arc<Pool>,
    store: Arc<SqliteStore>,
    /// Says that a backend is just being forgotten, which goes on with `go_on`.
    forgetting: UnboundedReceiver<String>,
    go_on: mpsc::Sender<()>,
    /// What became of the backends.
    news: Arc<Mutex<Vec<&'static str>>>,
    /// Keeps a task of each backend alive until it is told.
    hold: CancellationToken,
    _folder: tempfile::TempDir,
}

async fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let (pool, lifecycle, hold) = (Arc::<Pool>::default(), Lifecycle::new(), CancellationToken::new());
    let (told, forgetting) = unbounded_channel();
    let (go_on, awaited) = mpsc::channel::<()>();
    let awaited = Mutex::new(awaited);
    let news = Arc::<Mutex<Vec<&'static str>>>::default();
    let heard = Arc::clone(&news);
    pool.listen(BackendTap::new(move |news| heard.lock().unwrap().push(news.event.as_str())));
    let until = hold.clone();
    let whole = lifecycle.clone();
    let parts = Parts {
        pool: Arc::clone(&pool),
        store: Arc::<SqliteStore>::clone(&store),
        jobs: Arc::<SqliteStore>::clone(&store),
        open: Arc::new(move |definition| {
            let client = Client::by(definition.url.clone(), Route::none()).map_err(|error| error.to_string())?;
            let mut backend = Backend::new(&definition.name, client, Tracker::channel().0, Arc::<Desk>::default());
            backend.source = Source::Added;
            backend.life = whole.part();
            let until = until.clone();
            backend.life.spawn("held", async move { until.cancelled().await });
            Ok(backend)
        }),
        forget: Arc::new(move |name| {
            told.send(name.to_owned()).unwrap();
            awaited.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }),
        clock: SystemClock::start(),
        lifecycle,
        queue_bell: Arc::default(),
    };
    let roster = Roster::begin(parts).await.unwrap();
    Bench { roster, pool, store, forgetting, go_on, news, hold, _folder: folder }
}

#[tokio::test]
async fn a_backend_is_forgotten_wholly_before_another_has_its_name() {
    let Bench { roster, pool, store, mut forgetting, go_on, news, hold, _folder } = bench().await;
    let definition = Definition::at("http://127.0.0.1:9".parse().unwrap());
    hold.cancel();
    roster.add(&definition).await.unwrap();
    roster.remove(&definition.name, Leaving::Now).await.unwrap();
    let name = tokio::time::timeout(PATIENCE, forgetting.recv()).await.unwrap().unwrap();
    assert_eq!((name, pool.backends().len()), (definition.name.clone(), 1), "who looks for it finds it until then");
    assert_eq!(store.kept_backends().await.unwrap(), []);
    assert!(roster.turn.try_lock().is_err(), "nobody comes or goes meanwhile");
    assert_eq!(roster.said().await.unwrap().leaving, HashSet::from([definition.name.clone()]), "it still goes");
    let (added, ()) = tokio::join!(roster.add(&definition), async { go_on.send(()).unwrap() });
    assert_eq!(added.unwrap().name, definition.name);
    assert_eq!(*news.lock().unwrap(), ["backend_added", "backend_draining", "backend_removed", "backend_added"]);
    assert_eq!((pool.backends().len(), roster.said().await.unwrap().leaving.len()), (1, 0));
    roster.parts.lifecycle.end().await;
}

#[tokio::test]
async fn a_name_that_is_just_going_is_neither_given_away_nor_taken_in_again() {
    let Bench { roster, pool, store, mut forgetting, go_on, hold, _folder, .. } = bench().await;
    let definition = Definition::at("http://127.0.0.1:9".parse().unwrap());
    roster.add(&definition).await.unwrap();
    roster.remove(&definition.name, Leaving::Now).await.unwrap();
    // A task of it has not ended.
    let refused = roster.add(&definition).await.unwrap_err();
    assert!(matches!(&refused, RosterError::IsGoing(name) if *name == definition.name), "{refused}");
    hold.cancel();
    go_on.send(()).unwrap();
    tokio::time::timeout(PATIENCE, forgetting.recv()).await.unwrap().unwrap();
    let gone = async {
        while pool.get(&definition.name).is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    assert_eq!(store.kept_backends().await.unwrap(), []);
    roster.agree().await.unwrap();
    assert_eq!(pool.backends().len(), 0);
    roster.add(&definition).await.unwrap();
    roster.parts.lifecycle.end().await;
}

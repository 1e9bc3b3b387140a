//! How long graphs run is kept as it was learnt, replaced by what is learnt later, and removed when it is forgotten.

use crate::support::{House, after};
use comfygate::job::{Estimate, StructureHash};
use comfygate::store::{EstimateStore, SqliteStore};

fn estimate(graph: &str, backend: &str, cold_ms: Option<f64>, runs: u64) -> Estimate {
    let structure = StructureHash(graph.to_owned());
    Estimate { structure, backend: backend.to_owned(), cold_ms, warm_ms: Some(1.5), runs, at: after(runs.min(9)) }
}

async fn all(store: &SqliteStore) -> Vec<Estimate> {
    let mut all = store.estimates().await.unwrap();
    all.sort_by_key(|estimate| (estimate.structure.clone(), estimate.backend.clone()));
    all
}

#[tokio::test]
async fn estimates_are_there_after_a_restart_and_gone_once_forgotten() {
    let house = House::new();
    let (one, other) = (estimate("a", "one", Some(70_000.25), 1), estimate("a", "two", None, 2));
    house.store.keep_estimates(vec![one.clone(), other.clone()], Vec::new()).await.unwrap();
    let later = estimate("a", "one", Some(60_000.0), u64::MAX);
    house.store.keep_estimates(vec![later.clone()], Vec::new()).await.unwrap();
    house.store.close().await;
    let store = SqliteStore::open(house.folder.path()).unwrap();
    let most = Estimate { runs: i64::MAX.unsigned_abs(), ..later };
    assert_eq!(all(&store).await, [most.clone(), other]);
    let gone = (StructureHash("a".to_owned()), "two".to_owned());
    let unknown = (StructureHash("b".to_owned()), "two".to_owned());
    store.keep_estimates(Vec::new(), vec![gone, unknown]).await.unwrap();
    assert_eq!(all(&store).await, [most]);
}

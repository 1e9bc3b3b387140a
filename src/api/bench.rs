//! Work that may take a second, such as converting what a caller has drawn: away from the threads that serve, and only so much of it
//! at once that the others have a processor core left. What comes meanwhile waits.

use super::ApiError;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Where long work is done.
pub struct Bench {
    places: Arc<Semaphore>,
}

impl Default for Bench {
    /// Has half as many places as there are processor cores.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self::with(cores / 2)
    }
}

impl Bench {
    fn with(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places.max(1))) }
    }

    /// Does `work` as soon as there is a place. Who goes away while waiting is forgotten; what has begun is done to its end.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| ApiError::internal())?;
        super::workflows::away(move || {
            // Goes with the work: whoever wished it may be gone before it ends.
            let _place = place;
            work()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn only_so_much_is_done_at_once_and_never_where_others_are_served() {
        let bench = Arc::new(Bench::with(2));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (begun, begins) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        let here = std::thread::current().id();
        let works: Vec<_> = (0..6)
            .map(|number| {
                let (bench, now, most, begun) =
                    (Arc::clone(&bench), Arc::clone(&now), Arc::clone(&most), begun.clone());
                let gate = Arc::clone(&gate);
                let work = move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    begun.send(std::thread::current().id()).unwrap();
                    gate.lock().unwrap().recv_timeout(PATIENCE).unwrap();
                    now.fetch_sub(1, Ordering::SeqCst);
                    number
                };
                async move { bench.work(work).await.unwrap() }
            })
            .collect();
        let next = async || {
            loop {
                if let Ok(thread) = begins.try_recv() {
                    assert_ne!(thread, here, "it was done on the thread that serves");
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let opened = async {
            next().await;
            for _ in 0..5 {
                next().await;
                go.send(()).unwrap();
            }
            go.send(()).unwrap();
        };
        let both = futures_util::future::join(futures_util::future::join_all(works), opened);
        let (done, ()) = tokio::time::timeout(PATIENCE, both).await.unwrap();
        assert_eq!(done, [0, 1, 2, 3, 4, 5]);
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }
}

//! Work that may take a second, such as converting what a caller has drawn: away from the threads that serve, and only so much of it
//! at once that the others have a processor core left. What comes meanwhile waits, and no more of it than there are seats.

use super::ApiError;
use crate::inputs::Places;
use crate::job::Tenant;
use crate::lifecycle::half_of_the_cores;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// How many graphs may wait or be worked on: each holds a body of 8 MiB at most, or of `COMFYGATE_MAX_BODY`.
const GRAPHS: usize = 32;
/// How many pictures: one that waits holds next to nothing, and a page may show hundreds.
const PICTURES: usize = 512;

/// Where long work is done.
pub struct Bench {
    /// Those of whom something waits or is done; nobody takes them all.
    seats: Arc<Places>,
    places: Arc<Semaphore>,
    /// What whoever finds no seat is told.
    busy: fn() -> ApiError,
}

impl Bench {
    /// One for graphs, with half as many places as there are processor cores.
    pub fn for_graphs() -> Self {
        Self::with(half_of_the_cores(), GRAPHS, || {
            let message = "too many graphs are being read and converted: send this one again soon";
            ApiError::unavailable("graphs_busy", message)
        })
    }

    /// One for pictures, as large again.
    pub fn for_pictures() -> Self {
        Self::with(half_of_the_cores(), PICTURES, || {
            let message = "too many pictures are being made smaller: ask for this one again soon";
            ApiError::unavailable("thumbnails_busy", message)
        })
    }

    fn with(places: usize, seats: usize, busy: fn() -> ApiError) -> Self {
        Self { seats: Places::new(seats, seats), places: Arc::new(Semaphore::new(places)), busy }
    }

    /// Does `work` for a tenant as soon as there is a place, unless too much waits already for it to have one more. Who goes away
    /// while waiting is forgotten; what has begun is done to its end.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        tenant: &Tenant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let seat = self.seats.take(tenant, 1).ok_or_else(self.busy)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| ApiError::internal())?;
        super::workflows::away(move || {
            // Goes with the work: whoever wished it may be gone before it ends.
            let _both = (place, seat);
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
        let bench = Arc::new(Bench::with(2, 32, ApiError::internal));
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
                async move { bench.work(&Tenant::default(), work).await.unwrap() }
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

    #[tokio::test]
    async fn only_so_much_waits_and_who_comes_new_finds_a_seat() {
        let bench = Arc::new(Bench::with(1, 8, Bench::for_graphs().busy));
        let (go, gate) = mpsc::channel::<()>();
        let tenant = |number: usize| Tenant::from_stored(format!("tenant{number}"));
        let mut begun = Box::pin(async { bench.work(&tenant(0), move || gate.recv_timeout(PATIENCE)).await.is_ok() });
        assert!(futures_util::poll!(&mut begun).is_pending());
        let mut waiting = Vec::new();
        let refused = loop {
            let mut next = Box::pin(async { bench.work(&tenant(0), || ()).await });
            match futures_util::poll!(&mut next) {
                std::task::Poll::Pending => waiting.push(next),
                std::task::Poll::Ready(answer) => break answer.unwrap_err(),
            }
            assert!(waiting.len() < 100, "it has no bound");
        };
        assert_eq!((refused.code(), waiting.len()), ("graphs_busy", 5));
        let mut new = Box::pin(async { bench.work(&tenant(1), || ()).await.is_ok() });
        assert!(futures_util::poll!(&mut new).is_pending(), "it waits, and is not refused");
        waiting.clear();
        go.send(()).unwrap();
        assert!(tokio::time::timeout(PATIENCE, begun).await.unwrap());
        assert!(tokio::time::timeout(PATIENCE, new).await.unwrap());
        assert!(bench.work(&tenant(0), || ()).await.is_ok(), "the seats are free again");
    }
}

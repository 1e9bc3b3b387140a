//! Every task is spawned here and awaited here, and all end when told. A panic is caught here, and ends as little as it can.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error};

/// Spawns tasks, tells them to stop, and waits until they have.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    stop: CancellationToken,
    /// The one of the whole: what a station that fails cancels.
    whole: CancellationToken,
    tasks: TaskTracker,
    /// Those of the lifecycles that this one is part of.
    above: Vec<TaskTracker>,
    panics: Arc<AtomicU64>,
    has_failed: Arc<AtomicBool>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

/// Something panicked; what it said is in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Panicked;

impl Lifecycle {
    /// Makes a lifecycle that has not ended.
    pub fn new() -> Self {
        let stop = CancellationToken::new();
        Self {
            whole: stop.clone(),
            stop,
            tasks: TaskTracker::new(),
            above: Vec::new(),
            panics: Arc::default(),
            has_failed: Arc::default(),
        }
    }

    /// Makes a part of this one that can be ended alone, and ends with it at the latest. Its panics are counted here, and a
    /// station of it that panics stops everything.
    #[must_use]
    pub fn part(&self) -> Self {
        let mut above = self.above.clone();
        above.push(self.tasks.clone());
        Self { stop: self.stop.child_token(), tasks: TaskTracker::new(), above, ..self.clone() }
    }

    /// Returns the token that is cancelled when everything should stop.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Spawns a station: a task that the gateway cannot live without. If it panics, everything stops.
    pub fn spawn_station<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let watcher = self.clone();
        self.spawn_tracked(async move {
            if watcher.contain(name, task).await.is_err() {
                watcher.has_failed.store(true, Ordering::Relaxed);
                watcher.whole.cancel();
            }
        });
    }

    /// Spawns a unit of work. If it panics, that unit ends and nothing else.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let watcher = self.clone();
        self.spawn_tracked(async move {
            // The unit has ended, one way or the other; a panic is in the log.
            let _ = watcher.contain(name, task).await;
        });
    }

    /// Awaits a part of a task whose panic must not end the rest of it.
    pub async fn contain<F: Future>(&self, name: &'static str, part: F) -> Result<F::Output, Panicked> {
        AssertUnwindSafe(part).catch_unwind().await.map_err(|panic| self.note(name, panic.as_ref()))
    }

    /// Does what does not wait, and whose panic must not end the rest of its task.
    pub fn contain_now<T>(&self, name: &'static str, part: impl FnOnce() -> T) -> Result<T, Panicked> {
        catch_unwind(AssertUnwindSafe(part)).map_err(|panic| self.note(name, panic.as_ref()))
    }

    /// Returns how many tasks have not ended.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Returns how many panics were caught.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Says whether a station has panicked, and everything stops because of it.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// Tells every task to stop and waits until all have.
    pub async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    fn spawn_tracked(&self, task: impl Future<Output = ()> + Send + 'static) {
        let above: Vec<_> = self.above.iter().map(TaskTracker::token).collect();
        let task = task.in_current_span();
        tokio::spawn(self.tasks.track_future(async move {
            task.await;
            drop(above);
        }));
    }

    fn note(&self, name: &'static str, panic: &(dyn Any + Send)) -> Panicked {
        self.panics.fetch_add(1, Ordering::Relaxed);
        noted(name, panic)
    }
}

/// Does what may panic, where no lifecycle is at hand.
pub fn caught<T>(name: &'static str, part: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(part)).map_err(|panic| noted(name, panic.as_ref()))
}

fn noted(name: &'static str, panic: &(dyn Any + Send)) -> Panicked {
    error!(task = name, panic = panic_text(panic), "a task panicked: please report this");
    Panicked
}

/// Why the process should stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopSignal {
    /// SIGINT, as by Ctrl-C.
    Interrupt,
    /// SIGTERM, as by a supervisor.
    Terminate,
}

impl StopSignal {
    /// Returns the exit code of a process that a signal has ended: 128 and its number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Hears the signals that ask the process to stop. From its making on, they no longer end the process by themselves.
#[derive(Debug)]
pub struct StopSignals {
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    interrupt: Option<tokio::signal::unix::Signal>,
}

impl StopSignals {
    /// Begins to listen.
    #[cfg(unix)]
    pub fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        // A signal that cannot be heard does what it always did: it ends the process.
        Self { terminate: signal(SignalKind::terminate()).ok(), interrupt: signal(SignalKind::interrupt()).ok() }
    }

    /// Begins to listen.
    #[cfg(not(unix))]
    pub fn listen() -> Self {
        Self {}
    }

    /// Ends when the next one comes.
    #[cfg(unix)]
    pub async fn next(&mut self) -> StopSignal {
        async fn heard(signal: &mut Option<tokio::signal::unix::Signal>) {
            if let Some(signal) = signal
                && signal.recv().await.is_some()
            {
                return;
            }
            std::future::pending::<()>().await;
        }
        tokio::select! {
            () = heard(&mut self.terminate) => StopSignal::Terminate,
            () = heard(&mut self.interrupt) => StopSignal::Interrupt,
        }
    }

    /// Ends when the next one comes.
    #[cfg(not(unix))]
    pub async fn next(&mut self) -> StopSignal {
        // Without a way to hear signals the process can only be killed, so there is nothing to wait for but that.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        StopSignal::Interrupt
    }
}

/// Ends when somebody asks the process to stop: at Ctrl-C or SIGTERM.
pub async fn asked_to_stop() {
    StopSignals::listen().next().await;
}

/// Ends when something has changed; never, where there is nobody left who could say so.
pub async fn changed<T>(news: &mut watch::Receiver<T>) {
    if news.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Returns how much long work may be done at once, so that those who serve have a processor core left wherever there are two.
pub fn half_of_the_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

/// Returns what a caught panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_unit_ends_that_unit_only() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn("unlucky", async { panic!("on purpose") });
        let stop = lifecycle.stop();
        lifecycle.spawn("other", async move { stop.cancelled().await });
        assert!(!lifecycle.stop().is_cancelled());
        lifecycle.end().await;
        assert_eq!(lifecycle.panics(), 1);
    }

    #[tokio::test]
    async fn a_panic_in_a_station_stops_everything() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn_station("station", async { panic!("on purpose") });
        lifecycle.stop().cancelled().await;
        lifecycle.end().await;
    }

    #[tokio::test]
    async fn a_part_ends_alone_and_the_whole_waits_for_its_parts() {
        let whole = Lifecycle::new();
        let (one, other) = (whole.part(), whole.part());
        for part in [&one, &other] {
            let stop = part.stop();
            part.spawn_station("station", async move { stop.cancelled().await });
        }
        one.end().await;
        assert_eq!((one.tasks(), other.tasks(), whole.stop().is_cancelled()), (0, 1, false));
        whole.end().await;
        assert_eq!((other.tasks(), whole.has_failed()), (0, false));
    }

    #[tokio::test]
    async fn a_panic_in_a_station_of_a_part_stops_everything() {
        let whole = Lifecycle::new();
        whole.part().spawn_station("station", async { panic!("on purpose") });
        whole.stop().cancelled().await;
        whole.end().await;
        assert_eq!((whole.panics(), whole.has_failed()), (1, true));
    }
}

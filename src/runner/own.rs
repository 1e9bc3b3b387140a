//! The ComfyUI that is started for the runs of one command: looked after, so that its end is known at once, and ended with
//! them. What runs on it is `comfy.rs`'s matter.

use super::error::{RunError, ServerNotReady};
use super::executor::Context;
use crate::clock::SystemClock;
use crate::lifecycle::Lifecycle;
use crate::local::{self, Ended, Local, LocalOptions, Parts};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How many of the last lines of one that has ended are told.
const SHOWN: usize = 20;

/// One that is ready, and that nobody looks after yet. Dropped, it ends.
pub(super) struct Started {
    local: Local,
    lifecycle: Lifecycle,
    is_up: watch::Sender<bool>,
}

/// One that is looked after.
pub(super) struct Own {
    lifecycle: Lifecycle,
    end: watch::Receiver<Option<Ended>>,
}

impl Started {
    /// Starts it, and waits until it answers.
    pub(super) async fn start(context: &Context) -> Result<Self, RunError> {
        let Some(home) = context.settings.local.home.clone() else {
            let reason = "COMFYUI_HOME must be the folder of a ComfyUI, in which its main.py is";
            return Err(not_ready(reason.to_owned()));
        };
        let options = LocalOptions::of(home, &context.settings.local);
        let lifecycle = Lifecycle::new();
        let parts =
            Parts { clock: SystemClock::start(), lifecycle: lifecycle.clone(), tell: Arc::clone(&context.tell) };
        let starting = Local::start(&options, &parts);
        tokio::pin!(starting);
        let started = tokio::select! {
            started = &mut starting => started,
            () = context.stop.cancelled() => {
                lifecycle.stop().cancel();
                starting.await
            }
        };
        match started {
            Ok(local) => Ok(Self { local, lifecycle, is_up: watch::Sender::new(true) }),
            Err(local::ServerNotReady::Stopped) => Err(RunError::Cancelled),
            // It was ended before anybody saw that it should.
            Err(_) if context.stop.is_cancelled() => Err(RunError::Cancelled),
            Err(error) => Err(not_ready(error.to_string())),
        }
    }

    /// Returns where it is reached.
    pub(super) fn address(&self) -> String {
        self.local.url().to_string()
    }

    /// Returns what always knows whether the server at the address is ours.
    pub(super) fn is_up(&self) -> watch::Receiver<bool> {
        self.is_up.subscribe()
    }

    /// Begins to look after it.
    pub(super) fn look_after(self) -> Own {
        let Self { local, lifecycle, is_up } = self;
        let (end, heard) = watch::channel(None);
        lifecycle.spawn_station("local", watch_over(local, is_up, end, lifecycle.stop()));
        Own { lifecycle, end: heard }
    }
}

impl Own {
    /// Says how it has ended, with its last lines; none while it runs.
    pub(super) fn end(&self) -> Option<String> {
        self.end.borrow().as_ref().map(told)
    }

    /// Waits until it has ended by itself.
    pub(super) async fn ended(&self) {
        if self.end.clone().wait_for(Option::is_some).await.is_err() {
            // It was ended on purpose, and nobody looks after it any more.
            std::future::pending::<()>().await;
        }
    }

    /// Ends it.
    pub(super) async fn stop(&self) {
        self.lifecycle.end().await;
    }
}

/// Says that there is no ComfyUI of our own, and why.
pub(super) fn not_ready(reason: String) -> RunError {
    ServerNotReady { address: "a ComfyUI of our own".to_owned(), reason }.into()
}

async fn watch_over(
    mut local: Local,
    is_up: watch::Sender<bool>,
    end: watch::Sender<Option<Ended>>,
    stop: CancellationToken,
) {
    tokio::select! {
        biased;
        () = stop.cancelled() => return local.stop().await,
        () = local.exited() => {}
    }
    // Whoever listens there from now on is somebody else.
    is_up.send_replace(false);
    end.send_replace(Some(local.ended().await));
    // Those who ask how it ended, and who is at the address, ask until everything stops.
    stop.cancelled().await;
}

fn told(ended: &Ended) -> String {
    let last: Vec<&str> = ended.log.iter().skip(ended.log.len().saturating_sub(SHOWN)).map(String::as_str).collect();
    let status = &ended.status;
    if last.is_empty() {
        return format!("the ComfyUI that was started for the runs has ended ({status}); it wrote nothing");
    }
    format!("the ComfyUI that was started for the runs has ended ({status}); it wrote last:\n  {}", last.join("\n  "))
}

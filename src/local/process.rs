//! A ComfyUI process and its warden. The warden is a shell that leads the process group in which ComfyUI and all that it starts
//! live, and the only one who sends signals: to its own group, so that nobody else is ever hit. It hears over a pipe what to do;
//! when the pipe ends, because the gateway has been killed, it ends the group.

use super::error::ServerNotReady;
use super::options::Launch;
use super::output::{Drained, Output};
use super::predecessor;
use crate::clock::Clock;
use crate::lifecycle::Lifecycle;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::Child;
use tracing::warn;

/// How long ComfyUI may take to end after it was told to.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How long the end of a process may take after which there is nothing more that could be done.
const LAST_LIMIT: Duration = Duration::from_secs(5);
/// How long its last words may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// ComfyUI, running or ended.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    warden: Warden,
    pub(super) output: Output,
    drained: [Drained; 2],
}

impl Process {
    /// Starts it.
    pub(super) async fn spawn(launch: &Launch, lifecycle: &Lifecycle) -> Result<Self, ServerNotReady> {
        // The warden first: were the gateway killed in between, there would be nobody to end ComfyUI.
        let lock = launch.lock_file.as_deref().and_then(|path| {
            let unheld = |error| warn!(%error, path = %path.display(), "a gateway that starts after a kill will not wait for this ComfyUI");
            predecessor::hold(path).map_err(unheld).ok()
        });
        let warden = Warden::post(lock).map_err(|error| ServerNotReady::NoWarden(error.to_string()))?;
        let mut command = launch.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        warden.take_in(&mut command)?;
        let no_python = |error: std::io::Error| {
            let reason = error.to_string();
            ServerNotReady::NoPython { python: launch.python.clone(), reason }
        };
        let mut child = command.spawn().map_err(no_python)?;
        let output = Output::open(launch.log_file.as_deref()).await;
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(ServerNotReady::NoWarden("its output cannot be read".into()));
        };
        let drained = [output.read(out, lifecycle), output.read(err, lifecycle)];
        Ok(Self { child, warden, output, drained })
    }

    /// Returns the number of the process group; none where there are none.
    pub(super) fn group(&self) -> Option<u32> {
        self.warden.group()
    }

    /// Ends when ComfyUI has. Being dropped before costs nothing.
    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends what ComfyUI has left behind, after its own end, and lets its last words be read.
    pub(super) async fn clear(mut self, clock: &dyn Clock) -> Vec<String> {
        self.warden.say("KILL").await;
        self.close(clock).await
    }

    /// Ends it, softly first.
    pub(super) async fn stop(mut self, clock: &dyn Clock) -> Vec<String> {
        self.warden.say("TERM").await;
        within(clock, GRACE, self.child.wait()).await;
        self.warden.say("KILL").await;
        // For a warden that somebody else has ended. It does nothing to a process that has ended.
        let _ = self.child.start_kill();
        within(clock, LAST_LIMIT, self.child.wait()).await;
        self.close(clock).await
    }

    async fn close(mut self, clock: &dyn Clock) -> Vec<String> {
        within(clock, LAST_LIMIT, self.warden.leave()).await;
        let [out, err] = &self.drained;
        within(clock, LAST_WORDS, async { tokio::join!(out.wait(), err.wait()) }).await;
        self.output.enough();
        self.output.lines()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The warden hears that its pipe ends, and sees to the rest.
        self.output.enough();
    }
}

async fn within<T>(clock: &dyn Clock, limit: Duration, what: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = what => Some(done),
        () = clock.sleep_until(clock.now() + limit) => None,
    }
}

#[cfg(unix)]
use unix::Warden;

#[cfg(unix)]
mod unix {
    use super::{GRACE, ServerNotReady};
    use std::fs::File;
    use std::process::Stdio;
    use tokio::io::AsyncWriteExt;
    use tokio::process::{Child, ChildStdin, Command};

    /// What the warden does: as it is told, and at the end of its pipe the same as a stop. `kill` with 0 is for its own group.
    const ORDERS: &str = r#"
        trap '' TERM INT HUP QUIT PIPE
        while read -r word; do
            case $word in
                TERM) kill -s TERM 0 ;;
                KILL) kill -s KILL 0 ;;
            esac
        done
        kill -s TERM 0
        sleep "$1"
        kill -s KILL 0
    "#;

    /// Leads the group. As long as it is there, nobody else's group can have its number.
    #[derive(Debug)]
    pub(super) struct Warden {
        child: Child,
        pipe: ChildStdin,
    }

    impl Warden {
        /// Starts one. It holds `lock` as long as it lives, as what it would write to.
        pub(super) fn post(lock: Option<File>) -> std::io::Result<Self> {
            let mut command = Command::new("sh");
            command.args(["-c", ORDERS, "comfygate-warden", &GRACE.as_secs().to_string()]);
            command.stdin(Stdio::piped()).stdout(lock.map_or_else(Stdio::null, Stdio::from)).stderr(Stdio::null());
            command.current_dir("/").process_group(0);
            let mut child = command.spawn()?;
            let pipe = child.stdin.take().ok_or_else(|| std::io::Error::other("its warden has no pipe"))?;
            Ok(Self { child, pipe })
        }

        pub(super) fn group(&self) -> Option<u32> {
            self.child.id()
        }

        /// Has a command start within the group.
        pub(super) fn take_in(&self, command: &mut Command) -> Result<(), ServerNotReady> {
            let group = self.child.id().and_then(|id| i32::try_from(id).ok());
            let group = group.ok_or_else(|| ServerNotReady::NoWarden("its warden has ended already".into()))?;
            command.process_group(group);
            Ok(())
        }

        pub(super) async fn say(&mut self, word: &str) {
            // An error means that it is not there any more.
            let _ = self.pipe.write_all(format!("{word}\n").as_bytes()).await;
        }

        pub(super) async fn leave(&mut self) {
            // It has ended itself with its group.
            let _ = self.child.wait().await;
        }
    }
}

#[cfg(not(unix))]
use elsewhere::Warden;

#[cfg(not(unix))]
mod elsewhere {
    use super::ServerNotReady;
    use std::fs::File;
    use tokio::process::Command;

    /// Without process groups there is none: ComfyUI ends with the handle to it, and what it has started may stay.
    #[derive(Debug)]
    pub(super) struct Warden;

    impl Warden {
        #[expect(clippy::unnecessary_wraps, reason = "where there are process groups it can fail")]
        pub(super) fn post(_lock: Option<File>) -> std::io::Result<Self> {
            Ok(Self)
        }

        pub(super) fn group(&self) -> Option<u32> {
            None
        }

        #[expect(clippy::unnecessary_wraps, reason = "where there are process groups it can fail")]
        pub(super) fn take_in(&self, command: &mut Command) -> Result<(), ServerNotReady> {
            command.kill_on_drop(true);
            Ok(())
        }

        pub(super) async fn say(&mut self, _word: &str) {}

        pub(super) async fn leave(&mut self) {}
    }
}

//! Why there is no local ComfyUI, with what it wrote last where it wrote something.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How many of its last lines stand in the text of an error.
const SHOWN: usize = 20;

/// Why a ComfyUI of our own is not ready.
#[derive(Debug, thiserror::Error)]
pub enum ServerNotReady {
    /// There is no such folder.
    #[error("there is no folder `{}`; COMFYUI_HOME must be the folder of a ComfyUI, in which its main.py is", .0.display())]
    NoFolder(PathBuf),
    /// The folder is not a ComfyUI's.
    #[error("`{}` has no main.py; COMFYUI_HOME must be the folder of a ComfyUI, in which its main.py is", .0.display())]
    NoMain(PathBuf),
    /// There is no such Python.
    #[error(
        "the Python `{}` cannot be started: {reason}; set COMFYUI_PYTHON to the one with ComfyUI's packages, such as \
         <folder>/.venv/bin/python", python.display()
    )]
    NoPython {
        /// What was to be started.
        python: PathBuf,
        /// Why it was not.
        reason: String,
    },
    /// Something else listens where ComfyUI should.
    #[error("ComfyUI cannot listen on {address}: {reason}; stop what listens there, or set COMFY_PORT to another port")]
    PortTaken {
        /// The address.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// The system does not allow to listen there.
    #[error(
        "ComfyUI may not listen on {address}: the system keeps such a port for itself; set COMFY_PORT to one from 1024 on that is not kept"
    )]
    ForbiddenPort {
        /// The address.
        address: SocketAddr,
    },
    /// No interface of this machine has the address.
    #[error(
        "ComfyUI cannot listen on {address}: this machine has no such address; set COMFY_LISTEN to one that it has, such as 127.0.0.1"
    )]
    NoSuchAddress {
        /// The address.
        address: SocketAddr,
    },
    /// It cannot listen there for another reason.
    #[error(
        "ComfyUI cannot listen on {address}: {reason}; set COMFY_LISTEN to another address of this machine, or COMFY_PORT to another port"
    )]
    CannotListen {
        /// The address.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// Something that goes with it could not be started.
    #[error("ComfyUI cannot be looked after: {0}")]
    NoWarden(String),
    /// It ended before it was ready.
    #[error("ComfyUI ended before it was ready ({status}){}", told(.log))]
    Ended {
        /// How it ended.
        status: String,
        /// The last lines that it wrote.
        log: Vec<String>,
    },
    /// It did not become ready in time, and was ended.
    #[error(
        "ComfyUI was not ready within {}, and was ended; COMFYUI_READY_WITHIN gives it longer{}",
        humantime::format_duration(*.within), told(.log)
    )]
    TimedOut {
        /// The limit.
        within: Duration,
        /// The last lines that it wrote.
        log: Vec<String>,
    },
    /// Everything was told to stop meanwhile.
    #[error("ComfyUI was not waited for any longer: everything was told to stop")]
    Stopped,
}

impl ServerNotReady {
    /// Returns the last lines that ComfyUI wrote; none where it did not come to write.
    pub fn log(&self) -> &[String] {
        match self {
            Self::Ended { log, .. } | Self::TimedOut { log, .. } => log,
            Self::NoFolder(_)
            | Self::NoMain(_)
            | Self::NoPython { .. }
            | Self::PortTaken { .. }
            | Self::ForbiddenPort { .. }
            | Self::NoSuchAddress { .. }
            | Self::CannotListen { .. }
            | Self::NoWarden(_)
            | Self::Stopped => &[],
        }
    }
}

fn told(log: &[String]) -> String {
    if log.is_empty() {
        return "; it wrote nothing".to_owned();
    }
    let last = log.iter().skip(log.len().saturating_sub(SHOWN));
    last.fold(String::from("; it wrote last:"), |text, line| text + "\n  " + line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_the_last_lines_and_not_all() {
        let log: Vec<String> = (0..50).map(|number| format!("line {number}.")).collect();
        let text = ServerNotReady::Ended { status: "exit status: 3".into(), log }.to_string();
        assert!(text.contains("exit status: 3") && text.contains("line 49.") && text.contains("line 30."), "{text}");
        assert!(!text.contains("line 29."), "{text}");
        let silent = ServerNotReady::TimedOut { within: Duration::from_secs(90), log: Vec::new() }.to_string();
        assert!(silent.contains("1m 30s") && silent.ends_with("it wrote nothing"), "{silent}");
    }
}

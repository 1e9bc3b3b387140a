//! What a local ComfyUI is started with: finds its folder, its Python and its port, and says what is wrong with them before
//! anything is started.

use super::error::ServerNotReady;
use super::owner::{Owner, owner};
use crate::comfy::ComfyUrl;
use crate::settings::{LocalSettings, SETTINGS, process_environment};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// The virtual environments that are looked for in the folder, in this order.
const ENVIRONMENTS: [&str; 2] = [".venv", "venv"];
/// Where a virtual environment has its Python: on Unix, on Windows.
const PYTHONS: [&str; 2] = ["bin/python", "Scripts/python.exe"];

/// How to start a ComfyUI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalOptions {
    /// The folder with `main.py`.
    pub home: PathBuf,
    /// The Python that runs it; none for the one of the virtual environment in the folder, or else `python3`.
    pub python: Option<PathBuf>,
    /// Where it listens; none for a port that is free.
    pub port: Option<u16>,
    /// The address on which it listens.
    pub listen: IpAddr,
    /// What is added to its command line.
    pub args: Vec<String>,
    /// How long it may take until it answers.
    pub ready_within: Duration,
    /// The file into which all that it writes goes, besides the last lines in memory; none for no file.
    pub log_file: Option<PathBuf>,
    /// The file that is locked as long as it lives, by which the gateway after this one knows it; none for no file.
    pub lock_file: Option<PathBuf>,
}

/// What would be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The folder.
    pub home: PathBuf,
    /// The Python; a name alone is looked for by the system.
    pub python: PathBuf,
}

impl LocalOptions {
    /// Returns how a ComfyUI in this folder is started where nothing else is said.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self::of(home.into(), &LocalSettings::default())
    }

    /// Returns what the settings say, for the ComfyUI in `home`.
    pub fn of(home: PathBuf, settings: &LocalSettings) -> Self {
        Self {
            home,
            python: settings.python.clone(),
            port: settings.port,
            listen: settings.listen,
            args: settings.args.clone(),
            ready_within: settings.ready_within,
            log_file: None,
            lock_file: None,
        }
    }

    /// Looks whether the folder and the Python are there, without starting anything; else says all that is missing.
    pub fn look(&self) -> Result<Found, Vec<ServerNotReady>> {
        let home = std::path::absolute(&self.home).unwrap_or_else(|_| self.home.clone());
        let folder = if !home.is_dir() {
            Err(ServerNotReady::NoFolder(self.home.clone()))
        } else if !home.join("main.py").is_file() {
            Err(ServerNotReady::NoMain(self.home.clone()))
        } else {
            Ok(())
        };
        let python = self.python.clone().or_else(|| environment(&home)).unwrap_or_else(|| PathBuf::from("python3"));
        match (folder, located(python)) {
            (Ok(()), Ok(python)) => Ok(Found { home, python }),
            (folder, python) => Err(folder.err().into_iter().chain(python.err()).collect()),
        }
    }

    /// Returns the address of a port.
    pub(super) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.listen, port)
    }

    /// Looks whether it can be started, and settles what was left open. `wished` is the port that is taken if it is free
    /// and none is said. Must not be called where others wait: it may look through all processes.
    pub(super) fn settle(&self, wished: Option<u16>) -> Result<Launch, ServerNotReady> {
        let Found { home, python } = self.look().map_err(|missing| {
            missing.into_iter().next().unwrap_or_else(|| ServerNotReady::NoFolder(self.home.clone()))
        })?;
        let address = self.address(wished)?;
        let (log_file, lock_file) = (self.log_file.clone(), self.lock_file.clone());
        Ok(Launch { home, python, address, args: self.args.clone(), log_file, lock_file })
    }

    fn address(&self, wished: Option<u16>) -> Result<SocketAddr, ServerNotReady> {
        let free = |port: u16| {
            let address = self.at(port);
            TcpListener::bind(address)
                .and_then(|listener| listener.local_addr())
                .map_err(|error| taken(address, &error))
        };
        match (self.port, wished) {
            (Some(port), _) => free(port),
            (None, Some(port)) => free(port).or_else(|_| free(0)),
            (None, None) => free(0),
        }
    }
}

/// All that is settled before a start; the same for every further start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Launch {
    pub(super) home: PathBuf,
    pub(super) python: PathBuf,
    pub(super) address: SocketAddr,
    pub(super) args: Vec<String>,
    pub(super) log_file: Option<PathBuf>,
    pub(super) lock_file: Option<PathBuf>,
}

impl Launch {
    /// Looks whether the port is still free. Like `settle` it may look through all processes, and must not be called where
    /// others wait.
    pub(super) fn check_port(&self) -> Result<(), ServerNotReady> {
        TcpListener::bind(self.address).map(drop).map_err(|error| taken(self.address, &error))
    }

    /// Returns where it is reached from this machine.
    pub(super) fn url(&self) -> Result<ComfyUrl, ServerNotReady> {
        let ip = match self.address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let reached = SocketAddr::new(ip, self.address.port());
        let wrong = |error: crate::comfy::AddressError| ServerNotReady::CannotListen {
            address: self.address,
            reason: error.to_string(),
        };
        format!("http://{reached}").parse().map_err(wrong)
    }

    /// Returns the command line, which knows none of the gateway's secrets.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.python);
        command.arg("main.py").args(["--listen", &self.address.ip().to_string()]);
        command.args(["--port", &self.address.port().to_string()]).args(&self.args);
        command.current_dir(&self.home).env("PYTHONUNBUFFERED", "1");
        for setting in SETTINGS.iter().filter(|setting| setting.secret) {
            command.env_remove(setting.name);
        }
        command
    }
}

/// Does something beside the threads that serve.
pub(super) async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServerNotReady> + Send + 'static,
) -> Result<T, ServerNotReady> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(ServerNotReady::NoWarden(error.to_string())))
}

/// Says why it cannot listen there, with who does where that can be seen.
fn taken(address: SocketAddr, error: &io::Error) -> ServerNotReady {
    let kind = error.kind();
    if kind == io::ErrorKind::PermissionDenied {
        return ServerNotReady::ForbiddenPort { address };
    }
    if kind == io::ErrorKind::AddrNotAvailable {
        return ServerNotReady::NoSuchAddress { address };
    }
    if kind != io::ErrorKind::AddrInUse {
        return ServerNotReady::CannotListen { address, reason: error.to_string() };
    }
    let who = match owner(address.port(), None) {
        Owner::Others(who) => format!(" ({who})"),
        Owner::Ours | Owner::Unknown => String::new(),
    };
    ServerNotReady::PortTaken { address, reason: format!("port {} is taken by another server{who}", address.port()) }
}

fn environment(home: &Path) -> Option<PathBuf> {
    let all = ENVIRONMENTS.iter().flat_map(|name| PYTHONS.iter().map(move |python| home.join(name).join(python)));
    all.into_iter().find(|python| python.is_file())
}

/// A path is made whole, since ComfyUI starts in a folder of its own; a name alone is looked for by the system.
fn located(python: PathBuf) -> Result<PathBuf, ServerNotReady> {
    let wrong = |reason: &str| ServerNotReady::NoPython { python: python.clone(), reason: reason.to_owned() };
    if python.components().count() < 2 {
        let path = process_environment().find(|(name, _)| name == "PATH").map(|(_, path)| path).unwrap_or_default();
        // Elsewhere the system looks for more than this name, in more than these folders.
        let is_there = cfg!(not(unix)) || std::env::split_paths(&path).any(|folder| is_program(&folder.join(&python)));
        return if is_there { Ok(python) } else { Err(wrong("PATH leads to no such program")) };
    }
    let whole = std::path::absolute(&python).unwrap_or_else(|_| python.clone());
    if !whole.is_file() {
        return Err(wrong("there is no such file"));
    }
    if is_program(&whole) { Ok(whole) } else { Err(wrong("it is not executable")) }
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn home(files: &[&str]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for file in files {
            let path = home.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        home
    }

    #[test]
    fn the_python_is_the_said_one_then_that_of_the_folder_then_the_systems() {
        let plain = home(&["main.py"]);
        assert_eq!(LocalOptions::new(plain.path()).settle(None).unwrap().python, Path::new("python3"));
        let both = home(&["main.py", ".venv/bin/python", "venv/bin/python"]);
        let found = LocalOptions::new(both.path()).settle(None).unwrap().python;
        assert_eq!(found, both.path().join(".venv/bin/python"));
        let old = home(&["main.py", "venv/bin/python"]);
        let mut options = LocalOptions::new(old.path());
        assert_eq!(options.settle(None).unwrap().python, old.path().join("venv/bin/python"));
        options.python = Some(both.path().join("venv/bin/python"));
        assert_eq!(options.settle(None).unwrap().python, both.path().join("venv/bin/python"));
        options.python = Some(both.path().join("nowhere/python"));
        let error = options.settle(None).unwrap_err().to_string();
        assert!(error.contains("nowhere/python") && error.contains("COMFYUI_PYTHON"), "{error}");
        options.python = Some("no-such-python".into());
        let error = options.settle(None).unwrap_err().to_string();
        assert!(error.contains("PATH leads to no such program"), "{error}");
        std::fs::set_permissions(old.path().join("venv/bin/python"), PermissionsExt::from_mode(0o644)).unwrap();
        options.python = None;
        let error = options.settle(None).unwrap_err().to_string();
        assert!(error.contains("venv/bin/python") && error.contains("not executable"), "{error}");
    }

    #[test]
    fn what_is_no_folder_of_a_comfyui_is_named() {
        let empty = home(&[]);
        let error = LocalOptions::new(empty.path()).settle(None).unwrap_err().to_string();
        assert!(error.contains("has no main.py") && error.contains(empty.path().to_str().unwrap()), "{error}");
        let error = LocalOptions::new(empty.path().join("x")).settle(None).unwrap_err().to_string();
        assert!(error.contains("there is no folder") && error.contains("COMFYUI_HOME"), "{error}");
    }

    #[test]
    fn a_port_that_is_taken_is_refused_where_it_was_said_and_passed_over_where_it_was_only_wished() {
        let home = home(&["main.py"]);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut options = LocalOptions::new(home.path());
        let other = options.settle(Some(port)).unwrap();
        assert_ne!(other.address.port(), port);
        options.port = Some(port);
        let error = options.settle(None).unwrap_err().to_string();
        assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("COMFY_PORT"), "{error}");
        drop(taken);
        options.port = None;
        assert_eq!(options.settle(Some(port)).unwrap().address.port(), port);
    }

    #[test]
    fn where_it_may_not_or_cannot_listen_is_told_with_the_setting_that_mends_it() {
        let home = home(&["main.py"]);
        // An address that is kept for documentation, which no machine has.
        let options = LocalOptions { listen: "192.0.2.1".parse().unwrap(), ..LocalOptions::new(home.path()) };
        let nowhere = options.settle(None).unwrap_err().to_string();
        assert!(nowhere.contains("192.0.2.1") && nowhere.contains("COMFY_LISTEN"), "{nowhere}");
        let low = taken("127.0.0.1:80".parse().unwrap(), &io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(low.contains("127.0.0.1:80") && low.contains("COMFY_PORT") && low.contains("1024"), "{low}");
        for text in [nowhere, low] {
            assert!(!text.contains("stop what listens"), "{text}");
        }
    }

    #[test]
    fn what_listens_everywhere_is_reached_on_loopback() {
        let home = home(&["main.py"]);
        let mut options = LocalOptions::new(home.path());
        for (listen, host) in [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1")] {
            options.listen = listen.parse().unwrap();
            let launch = options.settle(None).unwrap();
            let port = launch.address.port();
            assert_eq!(launch.url().unwrap().to_string(), format!("http://{host}:{port}"));
            let words: Vec<_> = launch.command().as_std().get_args().map(ToOwned::to_owned).collect();
            assert_eq!(words, ["main.py", "--listen", listen, "--port", &port.to_string()]);
        }
    }
}

//! Joins the sources: reads each, lays one over the other, checks what no single value can tell.

use super::{KeyMode, Place, Problem, SETTINGS, Setting, Settings, SettingsError, dotenv, error, file};
use crate::crash;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How much longer than the schedule of webhooks a job must be kept.
const A_DAY: Duration = Duration::from_hours(24);

/// Which file to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileChoice {
    /// None.
    None,
    /// This one, where it is there.
    Optional(PathBuf),
    /// This one; that it is missing is a problem.
    Required(PathBuf),
}

/// Where settings come from.
#[derive(Debug)]
pub struct Sources<E> {
    /// The command line, by flat key, `section.key` or variable.
    pub cli: BTreeMap<String, String>,
    /// The environment, as [`process_environment`] reads it.
    pub env: E,
    /// The `.env` file.
    pub dotenv: FileChoice,
    /// The `comfygate.yaml` file.
    pub file: FileChoice,
}

/// Reads the environment of this process; text that is not Unicode becomes so, and will be told as a wrong value.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    let text = |(name, value): (OsString, OsString)| (name.to_string_lossy().into(), value.to_string_lossy().into());
    std::env::vars_os().map(text).filter(|(name, _): &(String, String)| !crash::is_order(name))
}

/// One thing that a source says.
struct Given {
    place: Place,
    /// The name as it was written.
    name: String,
    setting: &'static Setting,
    value: String,
}

pub(super) fn load<E: IntoIterator<Item = (String, String)>>(sources: Sources<E>) -> Result<Settings, SettingsError> {
    let mut problems = Vec::new();
    let layers = [
        from_yaml(&sources.file, &mut problems),
        from_dotenv(&sources.dotenv, &mut problems),
        from_environment(sources.env, &mut problems),
        from_command_line(sources.cli, &mut problems),
    ];
    let mut settings = Settings::default();
    for mut layer in layers {
        find_doubles(&layer, &mut problems);
        // An alias goes first, so that the name proper wins where a source has both.
        layer.sort_by_key(|given| given.setting.alias != Some(given.name.as_str()));
        for given in &layer {
            let empty_means_not_said = given.value.trim().is_empty();
            if empty_means_not_said {
                continue;
            }
            if let Err(reason) = (given.setting.set)(&mut settings, given.value.trim()) {
                problems.push(wrong(given, &reason));
            }
        }
    }
    if problems.is_empty() {
        check_together(&settings, &mut problems);
    }
    if problems.is_empty() { Ok(settings) } else { Err(SettingsError { problems }) }
}

fn from_command_line(cli: BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Vec<Given> {
    let mut layer = Vec::new();
    for (name, value) in cli {
        match Setting::find(&name) {
            Some(setting) => layer.push(Given { place: Place::CommandLine, name, setting, value }),
            None => problems.push(Problem {
                place: Place::CommandLine,
                text: error::unknown(&name, SETTINGS.iter().map(Setting::flat_key)),
            }),
        }
    }
    layer
}

fn from_environment(env: impl IntoIterator<Item = (String, String)>, problems: &mut Vec<Problem>) -> Vec<Given> {
    env.into_iter().filter_map(|(name, value)| variable(Place::Environment, name, value, problems)).collect()
}

fn from_dotenv(choice: &FileChoice, problems: &mut Vec<Problem>) -> Vec<Given> {
    let Some((path, text)) = read(choice, problems) else { return Vec::new() };
    let place = |line| Place::File(path.to_owned(), Some(line));
    let (lines, mistakes) = dotenv::read(&text);
    problems.extend(mistakes.into_iter().map(|(line, text)| Problem { place: place(line), text }));
    lines.into_iter().filter_map(|line| variable(place(line.number), line.name, line.value, problems)).collect()
}

/// Takes a variable that is ours, leaves those of others alone, and notes one that looks like ours and is not.
fn variable(place: Place, name: String, value: String, problems: &mut Vec<Problem>) -> Option<Given> {
    let known = SETTINGS.iter().find(|setting| setting.name == name || setting.alias == Some(name.as_str()));
    if known.is_none() && name.starts_with("COMFYGATE_") {
        let names = SETTINGS.iter().map(|setting| setting.name.to_owned());
        problems.push(Problem { place: place.clone(), text: error::unknown(&name, names) });
    }
    known.map(|setting| Given { place, name, setting, value })
}

fn from_yaml(choice: &FileChoice, problems: &mut Vec<Problem>) -> Vec<Given> {
    let Some((path, text)) = read(choice, problems) else { return Vec::new() };
    let place = |line| Place::File(path.to_owned(), line);
    let entries = match file::read(&text) {
        Ok(entries) => entries,
        Err(mistake) => {
            problems.push(Problem { place: place(mistake.line), text: mistake.text });
            return Vec::new();
        }
    };
    let mut layer = Vec::new();
    for entry in entries {
        let place = place(Some(entry.line));
        let Some(setting) = entry.setting else {
            let nested = entry.key.contains('.');
            let key = |setting: &Setting| if nested { setting.path.to_owned() } else { setting.flat_key() };
            problems.push(Problem { place, text: error::unknown(&entry.key, SETTINGS.iter().map(key)) });
            continue;
        };
        layer.push(Given { place, name: entry.key, setting, value: entry.value });
    }
    layer
}

fn read<'a>(choice: &'a FileChoice, problems: &mut Vec<Problem>) -> Option<(&'a Path, String)> {
    let (path, required) = match choice {
        FileChoice::None => return None,
        FileChoice::Optional(path) => (path, false),
        FileChoice::Required(path) => (path, true),
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Some((path, text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => None,
        Err(error) => {
            problems.push(Problem { place: Place::File(path.clone(), None), text: format!("cannot be read: {error}") });
            None
        }
    }
}

fn find_doubles(layer: &[Given], problems: &mut Vec<Problem>) {
    for (place, given) in layer.iter().enumerate() {
        let same = |other: &&Given| other.setting.name == given.setting.name && is_alias(other) == is_alias(given);
        if let Some(first) = layer.iter().take(place).find(same) {
            let text = format!("`{}` is set twice; the first time at {}", given.name, first.place);
            problems.push(Problem { place: given.place.clone(), text });
        }
    }
}

fn is_alias(given: &Given) -> bool {
    given.setting.alias == Some(given.name.as_str())
}

fn wrong(given: &Given, reason: &str) -> Problem {
    // A URL may carry a password.
    let value = shown(given);
    let text = format!("`{}` is `{}`: {reason}; allowed: {}", given.name, value.escape_debug(), given.setting.allowed);
    Problem { place: given.place.clone(), text }
}

/// Returns of a value what may be repeated: nothing of a secret or of what may hold a password, and of a URL's query only
/// that there is one.
fn shown(given: &Given) -> String {
    if given.setting.secret || given.value.contains('@') {
        return "***".to_owned();
    }
    match given.value.split_once(['?', '#']) {
        Some((before, _)) => format!("{before}?***"),
        None => given.value.clone(),
    }
}

fn check_together(settings: &Settings, problems: &mut Vec<Problem>) {
    let address = settings.server.address;
    let is_open = !address.ip().is_loopback() && settings.access.keys == KeyMode::Off;
    if is_open && !settings.server.allow_open {
        problems.push(Problem {
            place: Place::Together,
            text: format!(
                "`COMFYGATE_ADDRESS` is `{address}`, which other machines can reach, and `COMFYGATE_KEYS` is off, so no key \
                 protects the gateway; listen on 127.0.0.1, leave COMFYGATE_KEYS at auto, or set COMFYGATE_ALLOW_OPEN=true"
            ),
        });
    }
    check_runner(settings, problems);
    if settings.access.admin_key.is_some() && settings.access.admin_key_file.is_some() {
        let text = "`COMFYGATE_ADMIN_KEY` and `COMFYGATE_ADMIN_KEY_FILE` are both set; take one away".into();
        problems.push(Problem { place: Place::Together, text });
    }
    if settings.backends.token.is_some() && settings.backends.token_file.is_some() {
        let text = "`COMFYUI_TOKEN` and `COMFYUI_TOKEN_FILE` are both set; take one away".into();
        problems.push(Problem { place: Place::Together, text });
    }
    if settings.local.enabled && settings.local.home.is_none() {
        let text = "`COMFYGATE_LOCAL` is true, and no `COMFYUI_HOME` says which ComfyUI to start; \
                    set it to the folder with its main.py, or use serve --local --home FOLDER"
            .into();
        problems.push(Problem { place: Place::Together, text });
    }
    let (usual, most) = (&settings.limits.usual, &settings.limits.most);
    let mut at_most = |name: &str, usual: Duration, most: Duration| {
        if usual > most {
            let (usual, most) = (humantime::format_duration(usual), humantime::format_duration(most));
            let text = format!("`COMFYGATE_{name}` is {usual}, longer than `COMFYGATE_MAX_{name}`, which is {most}");
            problems.push(Problem { place: Place::Together, text });
        }
    };
    at_most("QUEUE_TIMEOUT", usual.queue, most.queue);
    at_most("START_TIMEOUT", usual.start, most.start);
    at_most("SILENCE_TIMEOUT", usual.silence, most.silence);
    at_most("RUN_TIMEOUT", usual.run, most.run);
    if let Some(retention) = settings.storage.retention {
        let schedule: Duration = settings.webhooks.schedule.iter().sum();
        if retention < schedule + A_DAY {
            let (retention, schedule) = (humantime::format_duration(retention), humantime::format_duration(schedule));
            let text = format!(
                "`COMFYGATE_RETENTION` is {retention}, less than a day longer than the waits of \
                 `COMFYGATE_WEBHOOK_SCHEDULE`, which are {schedule} together; what could not be delivered would be gone \
                 before anybody has looked"
            );
            problems.push(Problem { place: Place::Together, text });
        }
    }
}

/// What holds for the gateway's own port holds for those of the remote control.
fn check_runner(settings: &Settings, problems: &mut Vec<Problem>) {
    let doors = [
        ("COMFYGATE_ADDRESS", Some(settings.server.address)),
        ("COMFYGATE_RUNNER_ADDRESS", settings.runner.address),
        ("COMFYGATE_RUNNER_WS_ADDRESS", settings.runner.ws_address),
    ];
    let doors = doors.map(|(name, address)| (name, address.filter(|address| address.port() != 0)));
    for (place, (name, address)) in doors.iter().enumerate().skip(1) {
        let Some(address) = address else { continue };
        let is_open = !address.ip().is_loopback() && settings.access.keys == KeyMode::Off;
        if is_open && !settings.server.allow_open {
            let text = format!(
                "`{name}` is `{address}`, which other machines can reach, and `COMFYGATE_KEYS` is off, so no key protects it; \
                 listen on 127.0.0.1, leave COMFYGATE_KEYS at auto, or set COMFYGATE_ALLOW_OPEN=true"
            );
            problems.push(Problem { place: Place::Together, text });
        }
        if let Some((other, _)) = doors.iter().take(place).find(|(_, known)| known.as_ref() == Some(address)) {
            let text = format!("`{name}` and `{other}` are both `{address}`: give each a port of its own");
            problems.push(Problem { place: Place::Together, text });
        }
    }
}

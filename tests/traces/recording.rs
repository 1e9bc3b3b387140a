//! Reads the recordings and gathers what was heard of each prompt.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use comfygate::comfy::wire::HistoryEnd;
use comfygate::comfy::{Event, NodeError, NodeOutput, decode_binary, decode_text};
use comfygate::lenient;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// One recorded session.
pub(crate) struct Trace {
    pub(crate) name: String,
    pub(crate) text: String,
    lines: Vec<Line>,
    events: Vec<(String, Event)>,
    /// When each of them came, in milliseconds from the beginning.
    times: Vec<u64>,
}

/// What one socket heard of one prompt.
pub(crate) struct Heard {
    pub(crate) socket: String,
    pub(crate) prompt: String,
    /// A letter for each event that tells of an end.
    pub(crate) ends: String,
    /// The last end of the prompt itself.
    pub(crate) end: Option<HistoryEnd>,
    pub(crate) outputs: BTreeMap<String, NodeOutput>,
}

/// A line of a recording; which fields it has depends on `dir`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Line {
    t: f64,
    dir: String,
    sock: String,
    text: String,
    b64: String,
    id: u64,
    method: String,
    path: String,
    status: u16,
    body: String,
    json: Value,
}

/// Returns all recordings by name.
pub(crate) fn traces() -> &'static [Trace] {
    static TRACES: LazyLock<Vec<Trace>> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/traces");
        let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "jsonl")).collect();
        files.sort();
        files.iter().map(|path| Trace::read(path)).collect()
    });
    &TRACES
}

/// Returns the recording of that name.
pub(crate) fn trace(name: &str) -> &'static Trace {
    traces().iter().find(|trace| trace.name == name).unwrap_or_else(|| panic!("no recording `{name}`"))
}

/// Returns every event of every recording with the recording's name.
pub(crate) fn all_events() -> impl Iterator<Item = (&'static str, &'static Event)> {
    traces().iter().flat_map(|trace| trace.events().map(|event| (trace.name.as_str(), event)))
}

/// Returns what a failed node said.
pub(crate) fn error_of(event: &Event) -> Option<&NodeError> {
    if let Event::Failed { error, .. } = event { Some(error) } else { None }
}

impl Trace {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<Line> = text.lines().map(|line| lenient::from_str(line).unwrap()).collect();
        let mut times = Vec::new();
        let mut events = Vec::new();
        for line in &lines {
            if let Some(event) = line.event() {
                times.push(u64::try_from(Duration::from_secs_f64(line.t).as_millis()).unwrap());
                events.push((line.sock.clone(), event));
            }
        }
        Self { name: path.file_stem().unwrap().to_str().unwrap().to_owned(), text, lines, events, times }
    }

    /// Returns what was heard, frame by frame.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|(_, event)| event)
    }

    /// Returns all frames as they came, text and binary.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Message> {
        self.lines.iter().filter_map(|line| match line.dir.as_str() {
            "ws-text" => Some(Message::text(&line.text)),
            "ws-binary" => Some(Message::binary(STANDARD.decode(&line.b64).unwrap())),
            _ => None,
        })
    }

    /// Returns the text frames as they came.
    pub(crate) fn text_frames(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(|line| line.dir == "ws-text").map(|line| line.text.as_str())
    }

    /// Returns the binary frames as they came.
    pub(crate) fn binary_frames(&self) -> impl Iterator<Item = Vec<u8>> {
        self.lines.iter().filter(|line| line.dir == "ws-binary").map(|line| STANDARD.decode(&line.b64).unwrap())
    }

    /// Returns the status and body of the answers to calls of exactly this path.
    pub(crate) fn statuses(&self, method: &str, path: &str) -> impl Iterator<Item = (u16, &str)> {
        self.calls(method, move |called| called == path).map(|answer| (answer.status, answer.body.as_str()))
    }

    /// Returns the bodies of the answers to calls of exactly this path.
    pub(crate) fn answers(&self, method: &str, path: &str) -> impl Iterator<Item = &str> {
        self.statuses(method, path).map(|(_, body)| body)
    }

    /// Returns the histories of single prompts that had ended: the id and the answer.
    pub(crate) fn histories(&self) -> impl Iterator<Item = (String, &str)> {
        let answers = self.calls("GET", |path| path.contains("/history/")).filter(|answer| answer.status == 200);
        answers.filter_map(|answer| {
            let body = lenient::parse(&answer.body).unwrap();
            let prompt = body.as_object().unwrap().keys().next()?.clone();
            Some((prompt, answer.body.as_str()))
        })
    }

    /// Returns what each socket heard of each prompt, in the order of the first word about it.
    pub(crate) fn prompts(&self) -> Vec<Heard> {
        let mut heard: Vec<Heard> = Vec::new();
        for (socket, event) in &self.events {
            // The frame that is replayed to a late socket, an image or a text without a name: of no prompt for sure.
            let Some(prompt) = event.prompt() else { continue };
            let known = heard.iter().position(|heard| heard.socket == *socket && heard.prompt == prompt);
            let at = known.unwrap_or(heard.len());
            if known.is_none() {
                heard.push(Heard::new(socket, prompt));
            }
            heard[at].hear(event);
        }
        heard
    }

    /// Returns every prompt that was accepted and whose graph is recorded as JSON, with that graph.
    pub(crate) fn submitted(&self) -> Vec<(String, &Value)> {
        let requests = self.lines.iter().filter(|line| line.dir == "http-req" && line.path.ends_with("/prompt"));
        let accepted = requests.filter_map(|request| {
            let answer = self.lines.iter().find(|line| line.dir == "http-res" && line.id == request.id)?;
            let prompt = lenient::parse(&answer.body).ok()?.get("prompt_id")?.as_str()?.to_owned();
            Some((prompt, request.json.get("prompt").filter(|graph| graph.is_object())?))
        });
        accepted.collect()
    }

    /// Returns what one socket heard, of all prompts.
    pub(crate) fn heard_by(&self, socket: &str) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |(heard_by, _)| heard_by == socket).map(|(_, event)| event)
    }

    /// The same, with the times at which it came, in milliseconds from the beginning.
    pub(crate) fn timed(&self, socket: &str) -> impl Iterator<Item = (u64, &Event)> {
        let timed = self.times.iter().copied().zip(&self.events);
        timed.filter(move |(_, (heard_by, _))| heard_by == socket).map(|(time, (_, event))| (time, event))
    }

    fn calls(&self, method: &str, path: impl Fn(&str) -> bool) -> impl Iterator<Item = &Line> {
        let is_meant = move |line: &&Line| line.dir == "http-req" && line.method == method && path(&line.path);
        let requests: Vec<u64> = self.lines.iter().filter(is_meant).map(|line| line.id).collect();
        self.lines.iter().filter(move |line| line.dir == "http-res" && requests.contains(&line.id))
    }
}

impl Heard {
    fn new(socket: &str, prompt: &str) -> Self {
        let (socket, prompt) = (socket.to_owned(), prompt.to_owned());
        Self { socket, prompt, ends: String::new(), end: None, outputs: BTreeMap::new() }
    }

    fn hear(&mut self, event: &Event) {
        let mut ended = |letter: char, end: HistoryEnd| {
            self.ends.push(letter);
            self.end = Some(end);
        };
        match event {
            Event::Succeeded { .. } => ended('S', HistoryEnd::Succeeded),
            Event::Interrupted { .. } => ended('X', HistoryEnd::Interrupted),
            Event::Failed { error, .. } if error.is_block() => self.ends.push('B'),
            Event::Failed { error, .. } => ended('F', HistoryEnd::Failed(error.clone())),
            Event::Idle { .. } => self.ends.push('I'),
            Event::Executed { node, output, .. } if *output != NodeOutput::default() => {
                self.outputs.insert(node.clone(), output.clone());
            }
            Event::Executed { .. }
            | Event::Status { .. }
            | Event::FeatureFlags { .. }
            | Event::Started { .. }
            | Event::Cached { .. }
            | Event::ProgressState { .. }
            | Event::Executing { .. }
            | Event::Progress { .. }
            | Event::Image(_)
            | Event::Text { .. }
            | Event::Noise { .. } => {}
        }
    }
}

impl Line {
    fn event(&self) -> Option<Event> {
        match self.dir.as_str() {
            "ws-text" => Some(decode_text(&self.text)),
            "ws-binary" => Some(decode_binary(Bytes::from(STANDARD.decode(&self.b64).unwrap()))),
            _ => None,
        }
    }
}

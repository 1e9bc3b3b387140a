//! Plays recorded sessions against the simulator and demands the same answers and the same frames in the same order.
//!
//! `status` frames are a stream of their own: how they fall among a prompt's events is chance on a real server too.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use comfygate::sim::{Fault, Sim, When};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::client::{Answer, Frame, Socket, answered, http, post};
use crate::recordings::{NOT_PLAYED, PLAYED, options};
use crate::shape::level;
use crate::trace::{self, Line};

#[test]
fn every_recording_is_played_or_listed_with_a_reason() {
    let played = PLAYED.iter().copied().flatten().map(|(name, _)| *name);
    let mut known: Vec<&str> = played.chain(NOT_PLAYED.iter().map(|(name, _)| *name)).collect();
    known.sort_unstable();
    let mut names = trace::names();
    names.sort_unstable();
    assert_eq!(names, known);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulator_answers_like_the_recorded_server() {
    let plays = PLAYED.iter().map(|group| async move {
        // An interrupt races with a node's ticks. On a busy machine it can lose, but not time after time.
        for _ in 0..2 {
            if play(group).await.is_empty() {
                return Vec::new();
            }
        }
        play(group).await
    });
    // Few at a time: an interrupt must not come late because of another recording.
    let complaints = futures_util::stream::iter(plays).buffer_unordered(6).concat().await;
    assert!(complaints.is_empty(), "{} differences:\n{}", complaints.len(), complaints.join("\n"));
}

/// Plays recordings on one fresh server and returns the differences.
async fn play(group: &[(&str, &[u64])]) -> Vec<String> {
    let sim = Sim::start(options()).await.unwrap();
    break_nodes(&sim);
    let mut player = Player::new(&sim);
    for (name, left_out) in group {
        player.play(name, left_out).await;
    }
    player.complaints
}

fn break_nodes(sim: &Sim) {
    let (node, message) = ("ProbeFail".to_owned(), "boom".to_owned());
    let fault = Fault::FailNode { node, message, exception_type: "ValueError".to_owned() };
    sim.inject_when(fault, When::Every);
}

struct Player<'a> {
    sim: &'a Sim,
    sockets: HashMap<String, Ear>,
    answers: HashMap<u64, Answer>,
    /// Recorded prompt ids and the simulator's.
    ids: Vec<(String, String)>,
    /// Recorded names of saved files and the simulator's.
    files: Vec<(String, String)>,
    tag: String,
    name: String,
    lines: Vec<Line>,
    complaints: Vec<String>,
}

/// A socket with what it has heard and nobody has asked for yet.
struct Ear {
    socket: Socket,
    heard: Vec<Frame>,
}

impl<'a> Player<'a> {
    fn new(sim: &'a Sim) -> Self {
        Self {
            sim,
            sockets: HashMap::new(),
            answers: HashMap::new(),
            ids: Vec::new(),
            files: Vec::new(),
            tag: String::new(),
            name: String::new(),
            lines: Vec::new(),
            complaints: Vec::new(),
        }
    }

    async fn play(&mut self, name: &str, left_out: &[u64]) {
        name.clone_into(&mut self.name);
        if name == "25-oom-error" {
            self.sim.clear_faults();
            self.sim.inject(Fault::OutOfMemory { node: "ProbeFail".to_owned() });
        }
        if name == "52-number-and-front" {
            // The counter stood at 28 there; refused prompts count, and the order of the heap depends on it.
            for _ in 0..28 {
                post(self.sim, "/prompt", &json!({ "prompt": {} })).await;
            }
        }
        self.lines = trace::read(name);
        for line in trace::read(name) {
            let is_left_out = line.value["id"].as_u64().is_some_and(|id| left_out.contains(&id));
            if is_left_out {
                continue;
            }
            match line.dir.as_str() {
                "note" => self.note(line.text("text")),
                "ws-open" => {
                    let socket = Socket::open(self.sim, line.text("path")).await;
                    self.sockets.insert(line.text("sock").to_owned(), Ear { socket, heard: Vec::new() });
                }
                "ws-send" => self.ear(&line).socket.send(line.text("text")).await,
                "ws-text" | "ws-binary" => self.frame(&line).await,
                "ws-close" => self.sockets.remove(line.text("sock")).unwrap().socket.close().await,
                "ws-closed" => {
                    // Panics if the connection does not end in time.
                    while self.ear(&line).socket.next().await != Frame::Closed {}
                }
                "http-req" => self.request(&line).await,
                "http-res" => self.response(&line),
                "ws-opened" => {}
                other => self.complaints.push(format!("{name}: unknown line `{other}`")),
            }
        }
    }

    /// Does what a note says was done to the server.
    fn note(&self, text: &str) {
        if text.contains("file is deleted from the output folder") {
            self.sim.delete_files();
        }
        if text == "signal sent" {
            self.sim.inject(Fault::Restart { at: None, forget: true, down_for: std::time::Duration::ZERO });
        }
    }

    fn ear(&mut self, line: &Line) -> &mut Ear {
        self.sockets.get_mut(line.text("sock")).unwrap()
    }

    async fn frame(&mut self, line: &Line) {
        let recorded = match line.dir.as_str() {
            "ws-text" => Frame::Text(line.text("text").to_owned()),
            _ => Frame::Binary(STANDARD.decode(line.text("b64")).unwrap().into()),
        };
        let wanted = is_status(&recorded);
        let ear = self.ear(line);
        let found = match ear.heard.iter().position(|frame| is_status(frame) == wanted) {
            Some(at) => ear.heard.remove(at),
            None => loop {
                let frame = ear.socket.next().await;
                if is_status(&frame) == wanted || frame == Frame::Closed {
                    break frame;
                }
                ear.heard.push(frame);
            },
        };
        self.files.extend(file_names(&recorded).into_iter().zip(file_names(&found)));
        let (recorded, found) = (self.levelled(&recorded, true), self.levelled(&found, false));
        self.compare("frame", &recorded, &found);
    }

    async fn request(&mut self, line: &Line) {
        let id = line.value["id"].as_u64().unwrap();
        let path = self.files.iter().rev().fold(self.translated(line.text("path")), |path, (recorded, found)| {
            path.replace(&format!("filename={recorded}"), &format!("filename={found}"))
        });
        let url = format!("{}{path}", self.sim.url());
        let mut request = http().request(line.text("method").parse().unwrap(), url);
        for (name, value) in line.value["headers"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap().replace("8188", &self.sim.addr().port().to_string());
            let value = if name == "If-None-Match" { self.tag.clone() } else { value };
            request = request.header(name, value);
        }
        if !line.value["json"].is_null() || line.value.get("json").is_some() {
            request = request.body(self.translated(&self.written(&line.value["json"], id)));
        } else if let Some(body) = line.value["body"].as_str() {
            request = request.body(body.to_owned());
        } else if let Some(form) = line.value["form"].as_object() {
            let kind = "multipart/form-data; boundary=limit";
            request = request.header("Content-Type", kind).body(multipart(form));
        }
        let answer = answered(request.send().await.unwrap()).await;
        if let Some(tag) = answer.headers.get("etag") {
            tag.to_str().unwrap().clone_into(&mut self.tag);
        }
        if let Ok(Value::Object(body)) = serde_json::from_slice(&answer.body)
            && let (Some(Value::String(found)), Some(recorded)) = (body.get("prompt_id"), self.recorded_id(id))
        {
            self.ids.push((recorded, found.clone()));
        }
        self.answers.insert(id, answer);
    }

    fn response(&mut self, line: &Line) {
        let id = line.value["id"].as_u64().unwrap();
        let Some(answer) = self.answers.remove(&id) else { return };
        let what = format!("answer {id}");
        self.compare(&what, &line.value["status"], &json!(answer.status));
        let headers = line.value["headers"].as_object().unwrap();
        let missing: Vec<&String> = headers.keys().filter(|name| !answer.headers.contains_key(name.as_str())).collect();
        if !missing.is_empty() {
            self.complaints.push(format!("{}: {what} has no header {missing:?}", self.name));
        }
        let kind = answer.headers.get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        self.compare(&what, &json!(headers.get("Content-Type")), &json!(kind));
        if let Some(body) = line.value["body"].as_str() {
            let recorded = self.levelled(&Frame::Text(body.to_owned()), true);
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            let found = self.levelled(&Frame::Text(body), false);
            self.compare(&what, &recorded, &found);
        }
    }

    /// Returns the id that the real server gave to a submission; ids are levelled by the order of submissions.
    fn recorded_id(&self, request: u64) -> Option<String> {
        let response = self.lines.iter().find(|line| line.dir == "http-res" && line.value["id"] == request)?;
        let body: Value = serde_json::from_str(response.text("body")).ok()?;
        body["prompt_id"].as_str().map(str::to_owned)
    }

    /// Writes a body as it was sent, the nodes of a graph in the order in which the real server ran them: there it is
    /// chance, in the simulator it is the order in which they are written.
    fn written(&self, body: &Value, request: u64) -> String {
        let (Some(graph), Some(id)) = (body["prompt"].as_object(), self.recorded_id(request)) else {
            return body.to_string();
        };
        let messages = self.lines.iter().filter(|line| line.dir == "ws-text");
        let messages = messages.filter_map(|line| serde_json::from_str::<Value>(line.text("text")).ok());
        let of_prompt = messages.filter(|message| message["data"]["prompt_id"] == id.as_str());
        let ran: Vec<String> =
            of_prompt.filter_map(|message| message["data"]["node"].as_str().map(str::to_owned)).collect();
        let mut nodes: Vec<&String> = graph.keys().collect();
        nodes.sort_by_key(|node| ran.iter().position(|other| other == *node));
        let nodes: Vec<String> = nodes.iter().map(|node| format!("{}: {}", json!(node), graph[*node])).collect();
        let mut rest = body.clone();
        rest["prompt"] = json!("GRAPH");
        rest.to_string().replace("\"GRAPH\"", &format!("{{{}}}", nodes.join(", ")))
    }

    /// Puts the simulator's prompt ids in the place of the recorded ones.
    fn translated(&self, text: &str) -> String {
        let uuids = self.ids.iter().filter(|(recorded, _)| recorded.len() == 36);
        uuids.fold(text.to_owned(), |text, (recorded, found)| text.replace(recorded, found))
    }

    fn levelled(&self, frame: &Frame, is_recorded: bool) -> Value {
        let text = |text: &str| if is_recorded { self.translated(text) } else { text.to_owned() };
        match frame {
            Frame::Text(body) => {
                let body = text(body);
                serde_json::from_str(&body).map_or_else(|_| json!(body), |value| level(&value))
            }
            Frame::Binary(bytes) => {
                let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
                let (kind, second) = (word(0), word(4));
                if kind == 1 {
                    return json!([kind, second, bytes[8..10].to_vec()]);
                }
                let end = 8 + second as usize;
                let metadata: Value = serde_json::from_str(&text(&String::from_utf8_lossy(&bytes[8..end]))).unwrap();
                json!([kind, level(&metadata), bytes[end..end + 2].to_vec()])
            }
            Frame::Closed => json!("Closed"),
        }
    }

    fn compare(&mut self, what: &str, recorded: &Value, found: &Value) {
        // The first difference tells; what follows is out of step.
        let is_known = self.complaints.iter().any(|complaint| complaint.starts_with(&self.name));
        if recorded != found && !is_known {
            self.complaints.push(format!("{}: {what}\n  recorded {recorded}\n  found    {found}", self.name));
        }
    }
}

fn is_status(frame: &Frame) -> bool {
    matches!(frame, Frame::Text(text) if text.starts_with(r#"{"type": "status""#))
}

/// Returns the names of the image files that an `executed` frame tells of.
fn file_names(frame: &Frame) -> Vec<String> {
    let Frame::Text(text) = frame else { return Vec::new() };
    let message: Value = serde_json::from_str(text).unwrap_or_default();
    let images = message["data"]["output"]["images"].as_array().cloned().unwrap_or_default();
    images.iter().filter_map(|image| image["filename"].as_str().map(str::to_owned)).collect()
}

fn multipart(form: &serde_json::Map<String, Value>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in form {
        body.extend(format!("--limit\r\nContent-Disposition: form-data; name=\"{name}\"").into_bytes());
        if let Some(text) = value.as_str() {
            body.extend(format!("\r\n\r\n{text}").into_bytes());
        } else {
            let (file, kind) = (value["filename"].as_str().unwrap(), value["content_type"].as_str().unwrap());
            body.extend(format!("; filename=\"{file}\"\r\nContent-Type: {kind}\r\n\r\n").into_bytes());
            body.extend(STANDARD.decode(value["b64"].as_str().unwrap()).unwrap());
        }
        body.extend(b"\r\n");
    }
    body.extend(b"--limit--\r\n");
    body
}

//! Says which answer belongs to which request; one screen shows every URL.

use std::sync::Arc;

use super::frames;
use super::http::{LARGEST_BODY, Request, Response, decoded};
use super::json::Json;
use super::prompts;
use super::script::{Fault, Stage};
use super::world::{State, World};
use super::{SimRequest, stored, upload};

/// Longer bodies are not remembered for tests.
const LONGEST_NOTE: usize = 64 * 1024;

/// Where the metrics agent answers.
const AGENT: &str = "/orchestrator/metrics";

/// What becomes of a connection after a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is answered.
    Response(Response),
    /// It becomes a WebSocket.
    Upgrade,
    /// It ends without an answer.
    Nothing,
}

/// Answers a request.
pub(super) async fn answer(world: &Arc<World>, request: &Request) -> Answer {
    let path = request.path.strip_prefix("/api").filter(|path| path.starts_with('/')).unwrap_or(&request.path);
    let note = SimRequest {
        method: request.method.clone(),
        path: path.to_owned(),
        body: if request.body.len() <= LONGEST_NOTE { request.body.clone() } else { bytes::Bytes::new() },
    };
    let faults = world.change(|state| {
        state.note_request(note);
        // Nobody waits for an agent: a fault is for a request whose fate matters.
        if path == AGENT { Vec::new() } else { state.script.strike(Stage::Request) }
    });
    if faults.contains(&Fault::HungHttp) {
        world.hang().await;
        return Answer::Nothing;
    }
    if request.too_large {
        let text = format!("Maximum request body size {LARGEST_BODY} exceeded.");
        return Answer::Response(Response::new(413, "text/plain; charset=utf-8", text));
    }
    if is_foreign(request) {
        return Answer::Response(Response::empty(403));
    }
    match (request.method.as_str(), path) {
        ("OPTIONS", _) => Answer::Response(Response::empty(200)),
        ("GET", "/ws") if request.is_upgrade() => Answer::Upgrade,
        ("GET", "/ws") => Answer::Response(Response::empty(400)),
        ("POST", "/prompt") => prompts::submit(world, &request.body).await,
        ("POST", path) => Answer::Response(act(world, path, request)),
        ("GET" | "HEAD", path) => Answer::Response(tell(world, path, request)),
        _ => Answer::Response(wrong_method()),
    }
}

fn tell(world: &World, path: &str, request: &Request) -> Response {
    if path == "/view" {
        return world.look(|state| stored::view(&state.files, request));
    }
    if let Some(answer) = world.look(|state| state.agent.clone()).filter(|_| path == AGENT) {
        return Response::new(200, "application/json; charset=utf-8", answer);
    }
    let value = world.look(|state| match path {
        "/prompt" => {
            let info = Json::object([("queue_remaining", state.engine.remaining().into())]);
            Some(Json::object([("exec_info", info)]))
        }
        "/queue" => Some(state.engine.queue()),
        "/features" => Some(frames::features()),
        "/object_info" => Some(world.classes.table().clone()),
        "/system_stats" => Some(system_stats()),
        "/internal/logs/raw" => Some(logs()),
        "/embeddings" | "/extensions" => Some(Json::List(Vec::new())),
        "/models" => Some(Json::List(vec!["checkpoints".into(), "diffusion_models".into(), "vae".into()])),
        _ => None,
    });
    if let Some(value) = value {
        return Response::json(&value);
    }
    match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        None if path == "/history" => history(world, request),
        None if path == "/" => Response::new(200, "text/html", "<!doctype html><title>ComfyUI (simulated)</title>"),
        Some(("history", id)) if !id.is_empty() && !id.contains('/') && !decoded(id).contains(['{', '}']) => {
            world.look(|state| Response::json(&state.engine.history_of(&decoded(id))))
        }
        Some(("object_info", class)) if !class.is_empty() => {
            let class = decoded(class);
            let found = world.classes.definition(&class).cloned();
            Response::json(&Json::Object(found.map(|definition| (class, definition)).into_iter().collect()))
        }
        Some(("models", folder)) => match folder {
            "checkpoints" | "diffusion_models" | "unet" | "vae" | "loras" | "text_encoders" | "clip"
            | "upscale_models" => Response::json(&world.classes.models()),
            _ => Response::empty(404),
        },
        // What no route knows is looked for among the files of the web page.
        Some(_) | None => {
            Response { headers: vec![("Content-Type", "application/octet-stream".into())], ..Response::empty(404) }
        }
    }
}

fn act(world: &World, path: &str, request: &Request) -> Response {
    let done = match path {
        "/upload/image" | "/upload/mask" => {
            let now = crate::clock::Clock::now(world.clock.as_ref());
            return world.change(|state| upload::answer(&mut state.files, request, now, path == "/upload/mask"));
        }
        "/queue" => world.change(|state| change_queue(state, &request.body)),
        "/history" => world.change(|state| change_history(state, &request.body)),
        "/interrupt" => world.change(|state| interrupt(state, &request.body)),
        "/free" => world.change(|state| free(state, &request.body)),
        _ => return wrong_method(),
    };
    if done.is_some() { Response::empty(200) } else { Response::crash() }
}

fn history(world: &World, request: &Request) -> Response {
    let number = |name: &str| request.parameter(name).map(str::parse::<i64>).transpose();
    match (number("max_items"), number("offset")) {
        (Ok(max_items), Ok(offset)) => world.look(|state| Response::json(&state.engine.history(max_items, offset))),
        _ => Response::crash(),
    }
}

fn change_queue(state: &mut State, body: &[u8]) -> Option<()> {
    let body = Json::parse(body)?;
    if body.get("clear").is_some_and(Json::truthy) {
        state.engine.clear();
        state.tell_status();
    }
    for id in ids(&body)? {
        if let Some(is_last) = state.engine.delete(&id) {
            state.tell_status();
            if is_last {
                // The worker wakes, finds nothing, and says so.
                state.tell_status();
            }
        }
    }
    Some(())
}

fn change_history(state: &mut State, body: &[u8]) -> Option<()> {
    let body = Json::parse(body)?;
    if body.get("clear").is_some_and(Json::truthy) {
        state.engine.forget_all();
    }
    ids(&body)?.iter().for_each(|id| state.engine.forget(id));
    Some(())
}

fn ids(body: &Json) -> Option<Vec<String>> {
    match body.get("delete") {
        None => Some(Vec::new()),
        Some(Json::List(ids)) => Some(ids.iter().map(Json::python_str).collect()),
        Some(Json::Text(text)) => Some(text.chars().map(String::from).collect()),
        Some(Json::Object(fields)) => Some(fields.iter().map(|(key, _)| key.clone()).collect()),
        Some(Json::Null | Json::Bool(_) | Json::Number(_)) => None,
    }
}

fn interrupt(state: &mut State, body: &[u8]) -> Option<()> {
    // What is not JSON is taken for an empty body.
    let body = Json::parse(body).unwrap_or(Json::Object(Vec::new()));
    if !matches!(body, Json::Object(_)) {
        return None;
    }
    let prompt = body.get("prompt_id").filter(|id| id.truthy()).map(Json::python_str);
    state.engine.interrupt(prompt.as_deref());
    Some(())
}

fn free(state: &mut State, body: &[u8]) -> Option<()> {
    if Json::parse(body)?.get("free_memory").is_some_and(Json::truthy) {
        state.engine.cache.clear();
    }
    Some(())
}

/// ComfyUI's check against other web pages: it counts only where `Host` is a loopback address.
fn is_foreign(request: &Request) -> bool {
    let (Some(host), Some(origin)) = (request.header("host"), request.header("origin")) else { return false };
    let Some(origin) = url::Url::parse(origin).ok().filter(url::Url::has_host) else { return false };
    let Ok(host) = url::Url::parse(&format!("http://{host}")) else { return false };
    let is_loopback = match host.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let has_other_port = matches!((host.port(), origin.port()), (Some(host), Some(origin)) if host != origin);
    is_loopback && (host.host() != origin.host() || has_other_port)
}

fn wrong_method() -> Response {
    Response::new(405, "text/plain; charset=utf-8", "405: Method Not Allowed")
}

/// The log of a server that has just started, in the shape of ComfyUI's.
fn logs() -> Json {
    let line = |text: &str| Json::object([("t", "2026-05-09T07:35:25.492923".into()), ("m", text.into())]);
    let entries = vec![line("Device: cpu\n"), line("Starting server\n")];
    let size = Json::object([("cols", 80_u64.into()), ("rows", 24_u64.into())]);
    Json::object([("entries", Json::List(entries)), ("size", size)])
}

fn system_stats() -> Json {
    let text = include_str!("system_stats.json");
    Json::parse(text.as_bytes()).unwrap_or_default()
}

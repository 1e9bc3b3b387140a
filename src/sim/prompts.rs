//! `POST /prompt`: reads the body as ComfyUI does, has the graph checked, and queues it.

use super::engine::Item;
use super::http::Response;
use super::json::Json;
use super::routes::Answer;
use super::script::{Fault, Refusal, Stage};
use super::validate::{self, Verdict};
use super::world::{State, World};

/// Answers a submission.
pub(super) async fn submit(world: &World, body: &[u8]) -> Answer {
    let faults = world.change(|state| state.script.strike(Stage::Submission));
    if let Some(refusal) =
        faults.iter().find_map(|fault| if let Fault::Refuse(refusal) = fault { Some(refusal) } else { None })
    {
        match refusal {
            Refusal::Invalid(body) => {
                return Answer::Response(Response { status: 400, ..Response::json_text(body.clone()) });
            }
            Refusal::Crash => return Answer::Response(Response::crash()),
            Refusal::CrashButQueued => {
                world.change(|state| accept(world, state, body, &faults));
                world.wake_worker();
                return Answer::Response(Response::crash());
            }
        }
    }
    let response = world.change(|state| accept(world, state, body, &faults));
    world.wake_worker();
    for fault in &faults {
        if let Fault::SlowAnswer(wait) = fault {
            tokio::time::sleep(*wait).await;
        }
    }
    if faults.contains(&Fault::DropAfterAccept) {
        return Answer::Nothing;
    }
    Answer::Response(response.unwrap_or_else(Response::crash))
}

/// Queues a prompt or refuses it; nothing means that the handler raises.
fn accept(world: &World, state: &mut State, body: &[u8], faults: &[Fault]) -> Option<Response> {
    let body = Json::parse(body)?;
    if matches!(body, Json::Null | Json::Bool(_) | Json::Number(_)) {
        return None;
    }
    let number = number(state, &body)?;
    let Some(graph) = body.get("prompt") else {
        let details = "No prompt provided";
        return Some(refusal(validate::refused("no_prompt", details, details, Json::Object(Vec::new()))));
    };
    let mut graph = graph.clone();
    let prompt = match body.get("prompt_id") {
        Some(id) => id.python_str(),
        None => uuid::Uuid::new_v4().to_string(),
    };
    let targets = body.get("partial_execution_targets");
    let has_file = |name: &str| state.files.has(name);
    let (mut outputs, mut node_errors) = match validate::check(&mut graph, targets, &world.classes, &has_file) {
        Verdict::Accepted { outputs, node_errors } => (outputs, node_errors),
        verdict @ Verdict::Refused(_) => return Some(refusal(verdict)),
        Verdict::Crash => return None,
    };
    let mut extra_data = body.get("extra_data").cloned().unwrap_or(Json::Object(Vec::new()));
    if let Some(client) = body.get("client_id") {
        if !matches!(extra_data, Json::Object(_)) {
            return None;
        }
        extra_data.set("client_id", client.clone());
    }
    if faults.contains(&Fault::NodeErrorsPartial) {
        leave_out_last(&graph, &mut outputs, &mut node_errors);
    }
    let item = Item { number: number.clone(), prompt: prompt.clone(), graph, extra_data, outputs };
    let pushed = state.engine.push(item);
    state.tell_status();
    if faults.contains(&Fault::DeleteFromQueue) {
        state.engine.delete(&prompt);
        state.tell_status();
    }
    pushed.ok()?;
    let answer = Json::object([("prompt_id", prompt.into()), ("number", number), ("node_errors", node_errors)]);
    Some(Response::json(&answer))
}

/// Returns the priority: what the caller gave as a float, or the counter.
fn number(state: &mut State, body: &Json) -> Option<Json> {
    if let Some(number) = body.get("number") {
        return match number {
            Json::Number(_) => number.number().map(Json::float),
            Json::Text(text) => text.trim().parse().ok().map(Json::float),
            Json::Bool(flag) => Some(Json::float(f64::from(u8::from(*flag)))),
            Json::Null | Json::List(_) | Json::Object(_) => None,
        };
    }
    let number = i64::try_from(state.engine.count()).unwrap_or(i64::MAX);
    let is_front = body.get("front").is_some_and(Json::truthy);
    Some(if is_front { -number } else { number }.into())
}

fn leave_out_last(graph: &Json, outputs: &mut Vec<String>, node_errors: &mut Json) {
    let Some(last) = outputs.pop() else { return };
    if outputs.is_empty() {
        outputs.push(last);
        return;
    }
    let error = Json::object([
        ("type", "required_input_missing".into()),
        ("message", "Required input is missing".into()),
        ("details", "images".into()),
        ("extra_info", Json::object([("input_name", "images".into())])),
    ]);
    let class = graph.get(&last).and_then(|node| node.get("class_type")).cloned().unwrap_or_default();
    let entry = Json::object([
        ("errors", Json::List(vec![error])),
        ("dependent_outputs", Json::List(vec![last.as_str().into()])),
        ("class_type", class),
    ]);
    node_errors.set(&last, entry);
}

fn refusal(verdict: Verdict) -> Response {
    match verdict {
        Verdict::Refused(body) => Response { status: 400, ..Response::json(&body) },
        Verdict::Accepted { .. } | Verdict::Crash => Response::crash(),
    }
}

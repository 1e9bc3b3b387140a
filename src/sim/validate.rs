//! Checks a submitted graph as ComfyUI does before it queues one, with the same error shapes.
//!
//! Pure: it needs the class table and the names of the input files, and rewrites inputs to their declared types.

use std::collections::HashMap;

use super::classes::{Classes, Input, Kind};
use super::coerce::{error, extra_info, scalar};
use super::json::Json;

/// What became of a graph.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// These output nodes may run; `node_errors` names the others.
    Accepted { outputs: Vec<String>, node_errors: Json },
    /// HTTP 400 with this body.
    Refused(Json),
    /// HTTP 500: ComfyUI stumbles over the shape.
    Crash,
}

/// Checks `graph`; only the outputs among `targets` count, if some are given.
pub(super) fn check(
    graph: &mut Json,
    targets: Option<&Json>,
    classes: &Classes,
    has_file: &dyn Fn(&str) -> bool,
) -> Verdict {
    if matches!(graph, Json::List(items) if items.is_empty()) {
        *graph = Json::Object(Vec::new());
    }
    if !matches!(graph, Json::Object(_)) {
        return Verdict::Crash;
    }
    let outputs = match outputs_of(graph, targets, classes) {
        Ok(outputs) => outputs,
        Err(verdict) => return verdict,
    };
    if outputs.is_empty() {
        return refused("prompt_no_outputs", "Prompt has no outputs", "", Json::Object(Vec::new()));
    }
    let mut checker = Checker { graph, classes, has_file, seen: HashMap::new() };
    let mut node_errors = Json::Object(Vec::new());
    let mut details = Vec::new();
    let mut good = Vec::new();
    for output in outputs {
        if checker.output(&output) {
            good.push(output);
        } else {
            details.extend(checker.seen.get(&output).into_iter().flat_map(|findings| &findings.errors).map(line_of));
            checker.report(&output, &mut node_errors);
        }
    }
    if good.is_empty() {
        let message = "Prompt outputs failed validation";
        return refused("prompt_outputs_failed_validation", message, &details.join("\n"), node_errors);
    }
    Verdict::Accepted { outputs: good, node_errors }
}

/// Makes a refusal's body.
pub(super) fn refused(kind: &str, message: &str, details: &str, node_errors: Json) -> Verdict {
    let error = Json::object([
        ("type", kind.into()),
        ("message", message.into()),
        ("details", details.into()),
        ("extra_info", Json::Object(Vec::new())),
    ]);
    Verdict::Refused(Json::object([("error", error), ("node_errors", node_errors)]))
}

fn outputs_of(graph: &Json, targets: Option<&Json>, classes: &Classes) -> Result<Vec<String>, Verdict> {
    let mut outputs = Vec::new();
    for (id, node) in graph.fields() {
        if !matches!(node, Json::Object(_)) {
            return Err(Verdict::Crash);
        }
        let details = format!("Node ID '#{id}'");
        let invalid = |message: &str| refused("invalid_prompt", message, &details, Json::Object(Vec::new()));
        let Some(class) = node.get("class_type") else {
            return Err(invalid("Cannot execute because a node is missing the class_type property."));
        };
        let class = class.python_str();
        if classes.definition(&class).is_none() {
            return Err(invalid(&format!("Cannot execute because node {class} does not exist.")));
        }
        if classes.is_output(&class) && is_target(id, targets) {
            outputs.push(id.clone());
        }
    }
    Ok(outputs)
}

fn is_target(id: &str, targets: Option<&Json>) -> bool {
    match targets {
        None | Some(Json::Null) => true,
        Some(Json::Text(text)) => text.contains(id),
        Some(targets) => targets.items().iter().any(|target| target.text() == Some(id)),
    }
}

#[derive(Default)]
struct Findings {
    valid: bool,
    errors: Vec<Json>,
}

/// Why the check of a node ended early, as the Python exception would have it.
enum Exception {
    Raised { kind: &'static str, text: String },
    Recursion,
}

struct Checker<'a> {
    graph: &'a mut Json,
    classes: &'a Classes,
    has_file: &'a dyn Fn(&str) -> bool,
    seen: HashMap<String, Findings>,
}

impl Checker<'_> {
    fn output(&mut self, id: &str) -> bool {
        match self.node(id, &mut Vec::new()) {
            Ok(valid) => valid,
            Err(Exception::Recursion) => false,
            Err(Exception::Raised { kind, text }) => {
                let extra = Json::object([("exception_type", kind.into()), ("traceback", traceback(&[1010, 788]))]);
                let error = error("exception_during_validation", "Exception when validating node", &text, extra);
                self.seen.insert(id.to_owned(), Findings { valid: false, errors: vec![error] });
                false
            }
        }
    }

    fn report(&self, output: &str, node_errors: &mut Json) {
        for (id, node) in self.graph.fields() {
            let Some(findings) = self.seen.get(id).filter(|findings| !findings.errors.is_empty()) else { continue };
            if !self.depends(output, id, &mut Vec::new()) {
                continue;
            }
            let mut dependents = node_errors.get(id).and_then(|entry| entry.get("dependent_outputs")).cloned();
            if let Some(Json::List(outputs)) = &mut dependents {
                outputs.push(output.into());
            }
            let entry = Json::object([
                ("errors", Json::List(findings.errors.clone())),
                ("dependent_outputs", dependents.unwrap_or_else(|| Json::List(vec![output.into()]))),
                ("class_type", node.get("class_type").cloned().unwrap_or_default()),
            ]);
            node_errors.set(id, entry);
        }
    }

    fn depends<'g>(&'g self, from: &'g str, on: &str, visited: &mut Vec<&'g str>) -> bool {
        if from == on {
            return true;
        }
        if visited.contains(&from) {
            return false;
        }
        visited.push(from);
        let inputs = self.graph.get(from).and_then(|node| node.get("inputs")).map_or(&[][..], Json::fields);
        inputs.iter().filter_map(|(_, value)| value.items().first()?.text()).any(|next| self.depends(next, on, visited))
    }

    fn node(&mut self, id: &str, path: &mut Vec<String>) -> Result<bool, Exception> {
        if let Some(findings) = self.seen.get(id) {
            return Ok(findings.valid);
        }
        if path.iter().any(|above| above == id) {
            return Err(Exception::Recursion);
        }
        let class = self.class_of(id)?;
        if self.graph.get(id).and_then(|node| node.get("inputs")).is_none() {
            return Err(key_error("inputs"));
        }
        path.push(id.to_owned());
        let mut findings = Findings { valid: true, errors: Vec::new() };
        let classes = self.classes;
        for input in classes.inputs(&class) {
            match self.input(id, &class, &input, path)? {
                Outcome::Fine => {}
                Outcome::BadUpstream => findings.valid = false,
                Outcome::Bad(error) => {
                    findings.valid = false;
                    findings.errors.push(error);
                }
            }
        }
        path.pop();
        let valid = findings.valid;
        self.seen.insert(id.to_owned(), findings);
        Ok(valid)
    }

    fn class_of(&self, id: &str) -> Result<String, Exception> {
        let node = self.graph.get(id).ok_or_else(|| key_error(id))?;
        Ok(node.get("class_type").map(Json::python_str).unwrap_or_default())
    }

    fn input(
        &mut self,
        id: &str,
        class: &str,
        input: &Input<'_>,
        path: &mut Vec<String>,
    ) -> Result<Outcome, Exception> {
        let inputs = self.graph.get(id).and_then(|node| node.get("inputs"));
        let Some(value) = inputs.and_then(|inputs| inputs.get(input.name)).cloned() else {
            let extra = Json::object([("input_name", input.name.into())]);
            let missing = error("required_input_missing", "Required input is missing", input.name, extra);
            return Ok(if input.required { Outcome::Bad(missing) } else { Outcome::Fine });
        };
        if let Json::List(link) = &value {
            return self.link(input, link, path);
        }
        let outcome = match scalar(input, &value) {
            Ok(converted) => {
                self.rewrite(id, input.name, converted);
                Outcome::Fine
            }
            Err(error) => Outcome::Bad(error),
        };
        let name = value.python_str();
        if class == "LoadImage" && input.name == "image" && !(self.has_file)(&name) {
            let details = format!("image - Invalid image file: {name}");
            let extra = Json::object([("input_name", "image".into())]);
            let message = "Custom validation failed for node";
            return Ok(Outcome::Bad(error("custom_validation_failed", message, &details, extra)));
        }
        Ok(outcome)
    }

    fn link(&mut self, input: &Input<'_>, link: &[Json], path: &mut Vec<String>) -> Result<Outcome, Exception> {
        let [from, slot] = link else {
            let message = "Bad linked input, must be a length-2 list of [node_id, slot_index]";
            let extra = extra_info(input, "received_value", &Json::List(link.to_vec()));
            return Ok(Outcome::Bad(error("bad_linked_input", message, input.name, extra)));
        };
        let from = from.python_str();
        let class = self.class_of(&from)?;
        let slot = slot.unsigned().and_then(|slot| usize::try_from(slot).ok()).unwrap_or(usize::MAX);
        let received = self
            .classes
            .output(&class, slot)
            .ok_or_else(|| Exception::Raised { kind: "IndexError", text: "tuple index out of range".to_owned() })?;
        let expected = match input.kind {
            Kind::Type(kind) => kind,
            Kind::Choice(_) | Kind::AnyModel => "COMBO",
        };
        if !fits(received, expected) {
            let message = "Return type mismatch between linked nodes";
            let details = format!("{}, received_type({received}) mismatch input_type({expected})", input.name);
            let mut extra = extra_info(input, "received_type", &received.into());
            extra.set("linked_node", Json::List(link.to_vec()));
            return Ok(Outcome::Bad(error("return_type_mismatch", message, &details, extra)));
        }
        match self.node(&from, path) {
            Ok(true) => Ok(Outcome::Fine),
            Ok(false) => Ok(Outcome::BadUpstream),
            Err(Exception::Recursion) => Err(Exception::Recursion),
            Err(Exception::Raised { kind, text }) => {
                let mut extra = extra_info(input, "exception_message", &text.as_str().into());
                extra.set("exception_type", kind.into());
                extra.set("traceback", traceback(&[808, 788]));
                extra.set("linked_node", Json::List(link.to_vec()));
                let message = "Exception when validating inner node";
                let errors = vec![error("exception_during_inner_validation", message, &text, extra)];
                path.truncate(path.iter().position(|above| *above == from).unwrap_or(path.len()));
                self.seen.insert(from, Findings { valid: false, errors });
                Ok(Outcome::BadUpstream)
            }
        }
    }

    fn rewrite(&mut self, id: &str, name: &str, value: Json) {
        if let Json::Object(nodes) = &mut *self.graph
            && let Some((_, Json::Object(fields))) = nodes.iter_mut().find(|(node, _)| node == id)
            && let Some((_, inputs)) = fields.iter_mut().find(|(key, _)| key == "inputs")
        {
            inputs.set(name, value);
        }
    }
}

enum Outcome {
    Fine,
    BadUpstream,
    Bad(Json),
}

fn key_error(key: &str) -> Exception {
    Exception::Raised { kind: "KeyError", text: format!("'{key}'") }
}

fn fits(received: &str, expected: &str) -> bool {
    received == "*" || expected == "*" || expected.split(',').any(|kind| kind == received)
}

fn line_of(error: &Json) -> String {
    let part = |key: &str| error.get(key).and_then(Json::text).unwrap_or_default().to_owned();
    format!("{}: {}", part("message"), part("details"))
}

fn traceback(lines: &[usize; 2]) -> Json {
    let [outer, inner] = lines;
    let function = if *outer > 1000 { "validate_prompt" } else { "validate_inputs" };
    let line = |number: usize, function: &str| {
        Json::from(format!("  File \"ComfyUI/execution.py\", line {number}, in {function}\n    (simulated)\n"))
    };
    Json::List(vec![line(*outer, function), line(*inner, "validate_inputs")])
}

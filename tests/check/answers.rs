//! Graphs with mistakes, and the server's answers: the check and the server agree on which node is wrong, and in what.

use crate::{definitions, fixture};
use comfygate::check::{Kind, Problem, Severity, check};
use comfygate::definitions::Definitions;
use comfygate::graph::Graph;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// What a graph was answered.
#[derive(Deserialize)]
struct Case {
    name: String,
    status: u16,
    error: Option<String>,
    errors: Vec<(String, String, Option<String>)>,
    #[serde(default)]
    prompt: Value,
}

#[test]
fn the_check_and_the_server_agree_on_every_mistake() {
    let definitions = definitions();
    let text = std::fs::read_to_string(fixture("check/answers.jsonl")).unwrap();
    let cases: Vec<Case> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(cases.len() > 140, "only {} answers found", cases.len());
    let differences: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let problems = Graph::from_value(case.prompt.clone()).map(|graph| check(&graph, &definitions));
            let difference = match &problems {
                Err(error) => (!error.to_string().contains("class_type")).then(|| error.to_string()),
                Ok(problems) => difference(case, problems),
            };
            difference.map(|difference| format!("{}: {difference}", case.name))
        })
        .collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn the_check_and_the_recorded_refusals_agree() {
    let definitions = definitions();
    let mut compared = 0;
    for name in ["20-validation-errors", "22-partially-valid"] {
        let text = std::fs::read_to_string(fixture(&format!("traces/{name}.jsonl"))).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for request in lines.iter().filter(|line| line["dir"] == "http-req" && line["path"] == "/prompt") {
            let answer = lines.iter().find(|line| line["dir"] == "http-res" && line["id"] == request["id"]).unwrap();
            let Ok(graph) = Graph::from_value(request["json"]["prompt"].clone()) else { continue };
            // Classes that were installed for the recording alone are not described anywhere.
            if graph.nodes().any(|(_, node)| node.class_type.starts_with("Probe")) {
                continue;
            }
            let case = Case::of(name, &request["json"]["prompt"], answer);
            assert_eq!(difference(&case, &check(&graph, &definitions)), None, "{name}: {request}");
            compared += 1;
        }
    }
    assert!(compared >= 12, "only {compared} graphs were compared");
}

#[test]
fn the_check_and_the_server_agree_on_published_templates() {
    let text = std::fs::read_to_string(fixture("conversions/object_info.json")).unwrap();
    let definitions = Definitions::parse(&text).unwrap();
    let text = std::fs::read_to_string(fixture("check/templates.jsonl")).unwrap();
    let cases: Vec<Case> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(cases.len() >= 345, "only {} answers found", cases.len());
    let mut differences = Vec::new();
    for mut case in cases {
        let file = fixture(&format!("conversions/cases/{}/api.json", case.name));
        let graph = Graph::parse(&std::fs::read_to_string(file).unwrap()).unwrap();
        let mut problems = check(&graph, &definitions);
        // Which files the server has is not known for certain, so it is a warning at most.
        let was_refused_for_files = case.errors.iter().any(|(_, kind, _)| kind == "custom_validation_failed");
        case.errors.retain(|(_, kind, _)| kind != "custom_validation_failed");
        if was_refused_for_files && case.errors.is_empty() {
            case.error = None;
        }
        // A missing model of a newer class is refused by later versions; this one fails when it runs.
        problems.retain(|problem| !is_missing_model_of_newer_class(problem, &definitions));
        differences.extend(difference(&case, &problems).map(|difference| format!("{}: {difference}", case.name)));
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

fn is_missing_model_of_newer_class(problem: &Problem, definitions: &Definitions) -> bool {
    let class = problem.class_type.as_ref().and_then(|class| definitions.node(class));
    let input = class.zip(problem.input.as_ref()).and_then(|(class, input)| class.input(input));
    let is_newer = input.is_some_and(|input| input.options.contains_key("options"));
    problem.kind == Kind::ValueNotInList && is_newer && problem.message.contains("no model file")
}

impl Case {
    fn of(name: &str, prompt: &Value, answer: &Value) -> Self {
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let mut errors = Vec::new();
        for (node, entry) in body["node_errors"].as_object().into_iter().flatten() {
            for error in entry["errors"].as_array().unwrap() {
                errors.push((node.clone(), text(&error["type"]).unwrap(), text(&error["extra_info"]["input_name"])));
            }
        }
        let status = u16::try_from(answer["status"].as_u64().unwrap()).unwrap();
        Self { name: name.to_owned(), status, error: text(&body["error"]["type"]), errors, prompt: prompt.clone() }
    }

    /// Says whether the server stumbled over this node, so that it did not tell its other faults.
    fn stumbled_over(&self, node: &str) -> bool {
        self.errors.iter().any(|(at, kind, _)| at == node && kind.starts_with("exception_during_"))
    }
}

/// Returns in what the check and the server differ.
fn difference(case: &Case, problems: &[Problem]) -> Option<String> {
    let errors: Vec<&Problem> = problems.iter().filter(|it| it.severity == Severity::Error).collect();
    let has = |kind: Kind| problems.iter().any(|it| it.kind == kind);
    match case.error.as_deref() {
        // The server tells nothing else then.
        Some("invalid_prompt") => {
            return (!has(Kind::MissingNodeType)).then(|| "the unknown class is not told".to_owned());
        }
        Some("prompt_no_outputs") => {
            return (!has(Kind::PromptNoOutputs)).then(|| "the missing output is not told".to_owned());
        }
        Some(_) if errors.is_empty() => return Some("the server refuses it, and the check finds no fault".to_owned()),
        Some("prompt_outputs_failed_validation") | None => {}
        Some(other) => return Some(format!("the server says {other}")),
    }
    assert!(case.error.is_none() || case.status == 400, "{}", case.name);
    let place = |problem: &Problem| (problem.node.clone().unwrap_or_default(), problem.kind.as_str().to_owned());
    let ours: BTreeSet<_> = problems.iter().map(place).collect();
    let mut theirs = BTreeSet::new();
    for (node, kind, _) in &case.errors {
        if kind.starts_with("exception_during_") {
            // It names no fault, but there is one.
            if !errors.iter().any(|it| it.node.as_ref() == Some(node)) {
                return Some(format!("the server stumbles over node {node}, and the check finds no fault there"));
            }
        } else if !ours.contains(&(node.clone(), kind.clone())) {
            return Some(format!("the server says {kind} of node {node}, the check says {ours:?}"));
        }
        theirs.insert((node.clone(), kind.clone()));
    }
    let too_much = errors.iter().map(|it| place(it)).find(|(node, kind)| {
        let is_known = theirs.contains(&(node.clone(), kind.clone())) || case.stumbled_over(node);
        // A circle is refused without a word.
        !is_known && kind != "dependency_cycle"
    });
    too_much.map(|(node, kind)| format!("the check says {kind} of node {node}, the server does not: {:?}", case.errors))
}

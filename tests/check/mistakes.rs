//! The mistakes that `docs/WORKFLOWS.md` shows: each message there is what the check says of that mistake.

use crate::{definitions, fixture};
use comfygate::check::{Problem, Severity, check};
use comfygate::graph::Graph;
use serde_json::{Value, json};

/// A pointer into the graph, and what is written there; `None` takes it away.
type Change = (&'static str, Option<Value>);

fn mistakes() -> Vec<Change> {
    vec![
        ("/3/class_type", Some(json!("KSamplr"))),
        ("/4/inputs/ckpt_name", Some(json!("v1-5-pruned.safetensors"))),
        ("/3/inputs/denoise", None),
        ("/3/inputs/sampler_name", Some(json!("dpmpp2m"))),
        ("/3/inputs/steps", Some(json!(0))),
        ("/3/inputs/cfg", Some(json!("7,5"))),
        ("/8/inputs/vae", Some(json!(["4", 1]))),
        ("/8/inputs/samples", Some(json!(["33", 0]))),
        ("/9", None),
        ("/5", Some(json!({ "class_type": "VAEEncode", "inputs": { "pixels": ["8", 0], "vae": ["4", 2] } }))),
    ]
}

#[test]
fn every_mistake_of_the_page_is_told_as_the_page_says() {
    let page = std::fs::read_to_string(fixture("../../docs/WORKFLOWS.md")).unwrap();
    let (_, section) = page.split_once("## Ten typical mistakes").unwrap();
    let section = in_one_line(section.split("\n## ").next().unwrap());
    let mut untold = Vec::new();
    for (pointer, value) in mistakes() {
        let problems = with_mistake(pointer, value);
        let problem = problems
            .iter()
            .find(|it| it.severity == Severity::Error)
            .unwrap_or_else(|| panic!("{pointer}: nothing is wrong"));
        if !section.contains(&in_one_line(&problem.to_string())) {
            untold.push(problem.to_string());
        }
    }
    assert!(untold.is_empty(), "the page does not say:\n{}", untold.join("\n"));
    assert_eq!(section.matches(" -> ").count(), mistakes().len(), "the page shows a message that nobody says");
}

fn with_mistake(pointer: &str, value: Option<Value>) -> Vec<Problem> {
    let text = std::fs::read_to_string(fixture("check/answers.jsonl")).unwrap();
    let good: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let mut graph = good["prompt"].clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = graph.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => {
            parent.insert(key.to_owned(), value);
        }
        None => {
            parent.remove(key).unwrap();
        }
    }
    check(&Graph::from_value(graph).unwrap(), &definitions())
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

//! How each recorded prompt went, told at the times at which its frames came: what ran, what did not, and how long it took.

use crate::recording::{Heard, Trace, trace, traces};
use crate::tracked::plan;
use comfygate::clock::Timestamp;
use comfygate::comfy::{Event, wire};
use comfygate::job::{NodeLabel, Profile};
use comfygate::tracker::{Attribution, Input, Run, SubmitResult, step};
use serde_json::Value;
use std::collections::BTreeMap;

/// How long a frame may have been on its way, in milliseconds; whoever recorded was late now and then, never early.
const ON_THE_WAY: u64 = 30;

#[test]
fn nodes_that_run_and_nodes_that_do_not_are_told_apart() {
    // Which nodes ran in which order, and how many had their results kept.
    let cases = [
        ("01-success-saveimage", "1 2", 0),
        ("02-cached-rerun-saveimage", "", 2),
        ("04-rerun-websocket-image", "2", 1),
        ("11-subgraph-expansion", "1 5 9", 0),
        ("14-async-nodes", "1 2 3 6 7 5 4", 0),
        ("23-execution-error", "1 2 3 4", 0),
        ("24-error-rerun", "4", 3),
    ];
    for (name, ran, cached) in cases {
        let profile = first(name);
        let nodes: Vec<&str> = profile.nodes.iter().map(|node| node.id.as_str()).collect();
        let mut expected: Vec<&str> = ran.split(' ').filter(|id| !id.is_empty()).collect();
        // Those that begin in the same millisecond have no order.
        let mut sorted = nodes.clone();
        sorted.sort_unstable();
        expected.sort_unstable();
        assert_eq!((&sorted, profile.nodes_cached), (&expected, cached), "{name}");
        assert_eq!(profile.nodes_executed, nodes.len(), "{name}");
        assert_eq!((profile.partial, profile.is_telling()), (false, !nodes.is_empty()), "{name}");
    }
}

#[test]
fn a_node_that_was_expanded_takes_as_long_as_all_that_it_became() {
    let profile = first("11-subgraph-expansion");
    let took: BTreeMap<&str, u64> = profile.nodes.iter().map(|node| (node.id.as_str(), node.ms)).collect();
    assert!((100..=105).contains(&took["5"]), "{took:?}");
    assert_eq!(profile.nodes.iter().find(|node| node.id == "5").unwrap().class.as_deref(), Some("ProbeExpand"));
    assert_eq!(profile.brief()["slowest"][0]["id"], "5");
}

#[test]
fn nodes_that_run_at_the_same_time_each_have_their_own() {
    let profile = first("14-async-nodes");
    let took: BTreeMap<&str, u64> = profile.nodes.iter().map(|node| (node.id.as_str(), node.ms)).collect();
    assert!((600..=604).contains(&took["2"]), "{took:?}");
    assert!((513..=517).contains(&took["3"]) && (512..=516).contains(&took["6"]), "{took:?}");
    assert!(took.values().sum::<u64>() > profile.run_ms * 2, "{profile:?}");
    assert_eq!(profile.brief()["slowest"].as_array().unwrap().len(), 5);
}

#[test]
fn every_run_takes_as_long_as_its_history_says() {
    let (mut compared, mut late) = (0, Vec::new());
    for (trace, heard, graph) in recorded() {
        let history = trace.histories().filter(|(prompt, _)| *prompt == heard.prompt).last();
        let entry = history.and_then(|(prompt, body)| wire::history(body, &prompt).unwrap());
        let (Some(entry), false) = (entry, heard.ends.is_empty()) else { continue };
        let profile = profile(trace, &heard, graph);
        let took = u64::try_from(entry.timeline.took().unwrap().as_millis()).unwrap();
        let label = format!("{}, prompt {}", trace.name, heard.prompt);
        assert!(profile.run_ms + ON_THE_WAY >= took, "{label}: {} and {took}", profile.run_ms);
        if profile.run_ms > took + ON_THE_WAY {
            late.push((label.clone(), profile.run_ms, took));
        }
        assert!(profile.nodes.iter().all(|node| node.ms <= profile.run_ms), "{label}: {profile:?}");
        assert!(profile.nodes.iter().all(|node| node.at_ms <= profile.run_ms), "{label}: {profile:?}");
        assert!(profile.nodes_executed + profile.nodes_cached <= graph.as_object().unwrap().len(), "{label}");
        compared += 1;
    }
    assert!(compared > 35, "only {compared} runs were compared");
    assert!(late.len() * 8 < compared, "{late:?} of {compared}");
}

/// The profile of the first prompt of a recording that was heard of.
fn first(name: &str) -> Profile {
    let (trace, heard, graph) = recorded().find(|(of, ..)| of.name == trace(name).name).unwrap();
    profile(trace, &heard, graph)
}

fn profile(trace: &Trace, heard: &Heard, graph: &Value) -> Profile {
    let at = |millis: u64| Timestamp::from_millis(i64::try_from(millis).unwrap());
    let mut plan = plan(&heard.prompt, graph);
    let label = |node: &Value| NodeLabel { class: node["class_type"].as_str().unwrap().to_owned(), title: None };
    let labels = graph.as_object().unwrap().iter().map(|(id, node)| (id.clone(), label(node)));
    plan.labels = std::sync::Arc::new(labels.collect());
    let mut run = Run::about_to_submit(plan, at(0));
    step(&mut run, Input::Submitted(SubmitResult::Accepted(None)), at(0));
    let mut attribution = Attribution::default();
    let mut now = at(0);
    let events: Vec<(u64, Event)> = trace.timed(&heard.socket).map(|(time, event)| (time, event.clone())).collect();
    for (time, event) in events {
        now = at(time);
        step(&mut run, Input::Event(attribution.of(event)), now);
    }
    run.profile(now).unwrap_or_else(|| panic!("{}: no run began", trace.name))
}

fn recorded() -> impl Iterator<Item = (&'static Trace, Heard, &'static Value)> {
    traces().iter().flat_map(|trace| {
        let submitted = trace.submitted();
        let known = move |heard: Heard| {
            let (_, graph) = submitted.iter().find(|(prompt, _)| *prompt == heard.prompt)?;
            Some((trace, heard, *graph))
        };
        trace.prompts().into_iter().filter_map(known)
    })
}

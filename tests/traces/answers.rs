//! What the server answered: the history agrees with the socket, and the queue with what ran next.

use crate::recording::{error_of, trace, traces};
use comfygate::comfy::wire::{self, Device, HistoryEnd, SystemStats};
use comfygate::comfy::{Event, NodeOutput, Refusal};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

#[test]
fn the_history_tells_the_end_that_the_socket_told() {
    let mut compared = 0;
    let mut told_by_history_only = 0;
    for trace in traces() {
        let heard = trace.prompts();
        for (prompt, body) in trace.histories() {
            let entry = wire::history(body, &prompt).unwrap().unwrap();
            assert!(entry.timeline.took().is_some(), "{}: {prompt}", trace.name);
            let same_prompt = heard.iter().find(|heard| heard.prompt == prompt && !heard.ends.is_empty());
            let Some(heard) = same_prompt else {
                assert_eq!(entry.end, HistoryEnd::Succeeded, "{}: {prompt}", trace.name);
                told_by_history_only += 1;
                continue;
            };
            assert_eq!(Some(&entry.end), heard.end.as_ref(), "{}: {prompt}", trace.name);
            let has_any = |(_, output): &(String, NodeOutput)| *output != NodeOutput::default();
            let told: BTreeMap<String, NodeOutput> = entry.outputs.into_iter().filter(has_any).collect();
            assert_eq!(told, heard.outputs, "{}: {prompt}", trace.name);
            compared += 1;
        }
    }
    assert_eq!((compared, told_by_history_only), (44, 4));
}

#[test]
fn a_cycle_in_a_subgraph_failed_although_its_status_is_success() {
    let (prompt, body) = trace("71-subgraph-cycle").histories().next().unwrap();
    assert!(body.contains(r#""status_str": "success", "completed": true"#), "{body}");
    let end = wire::history(body, &prompt).unwrap().unwrap().end;
    assert!(matches!(end, HistoryEnd::Failed(error) if error.exception == "graph.DependencyCycleError"));
}

#[test]
fn pending_prompts_are_listed_in_the_order_in_which_they_then_started() {
    let mut waited = 0;
    for trace in traces() {
        let started: Vec<&str> = trace.events().filter_map(started).collect();
        for body in trace.answers("GET", "/queue") {
            let queue = wire::queue(body).unwrap();
            assert!(queue.running.len() <= 1, "{}: {queue:?}", trace.name);
            let mut pending: Vec<&str> = queue.pending.iter().map(String::as_str).collect();
            pending.retain(|prompt| started.contains(prompt));
            pending.dedup();
            let order: Vec<&str> = started.iter().copied().filter(|prompt| pending.contains(prompt)).collect();
            assert!(order.starts_with(&pending) || order.ends_with(&pending), "{}: {queue:?}", trace.name);
            waited += pending.len();
        }
    }
    assert!(waited >= 14, "{waited}");
    let queue = wire::queue(trace("52-number-and-front").answers("GET", "/queue").next().unwrap()).unwrap();
    let order = ["p-numhuge", "p-front2", "p-front1", "p-num5", "p-numstr", "p-n1", "p-n2"];
    assert_eq!((queue.running, queue.pending), (vec!["p-running".to_owned()], order.map(str::to_owned).to_vec()));
}

#[test]
fn numbers_that_json_does_not_know_hide_nothing_of_the_queue() {
    let body = trace("72-json-oddities").answers("GET", "/queue").next().unwrap();
    assert!(serde_json::from_str::<Value>(body).is_err());
    let queue = wire::queue(body).unwrap();
    assert_eq!((queue.running, queue.pending), (words("blocker"), words("nan inf sur big bigfloat")));
}

#[test]
fn a_prompt_that_kills_the_worker_still_stands_in_the_queue() {
    for name in ["extra-data-list", "extra-data-null", "extra-data-number", "extra-data-string", "node-systemexit"] {
        let body = trace(&format!("71-{name}")).answers("GET", "/queue").next().unwrap();
        let queue = wire::queue(body).unwrap();
        let expected = (words(&format!("probe-{name}")), words(&format!("alive-{name}")));
        assert_eq!((queue.running, queue.pending), expected);
    }
}

#[test]
fn tracebacks_tensors_and_paths_stay_with_the_server() {
    let markers = ["<source line>", ".py", "tensor(", "/etc"];
    let mut recorded = String::new();
    let mut told = String::new();
    for trace in traces() {
        recorded.push_str(&trace.text);
        for error in trace.events().filter_map(error_of) {
            writeln!(told, "{error:?}").unwrap();
        }
        for (prompt, body) in trace.histories() {
            writeln!(told, "{:?}", wire::history(body, &prompt).unwrap()).unwrap();
        }
        for (status, body) in trace.statuses("POST", "/prompt") {
            writeln!(told, "{:?} {:?}", Refusal::from_answer(status, body), wire::accepted(body)).unwrap();
        }
    }
    for marker in markers {
        assert!(recorded.contains(marker), "{marker}");
        assert!(!told.contains(marker), "{marker}: {told}");
    }
}

#[test]
fn the_system_tells_its_version() {
    let body = trace("63-history-queue-free-misc").answers("GET", "/system_stats").next().unwrap();
    let bytes = Some(25_276_502_016);
    let device = Device { name: "cpu".into(), kind: "cpu".into(), vram_total: bytes, vram_free: Some(24_133_312_512) };
    let expected = SystemStats {
        version: Some("0.3.64".into()),
        python: Some("3.11.7 (main, May  9 2026, 07:35:25) [GCC 12.2.0]".into()),
        pytorch: Some("2.5.1+cu124".into()),
        os: Some("posix".into()),
        ram_total: bytes,
        ram_free: Some(24_133_312_512),
        devices: vec![device],
    };
    assert_eq!(wire::system_stats(body).unwrap(), expected);
}

fn started(event: &Event) -> Option<&str> {
    if let Event::Started { prompt } = event { Some(prompt) } else { None }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

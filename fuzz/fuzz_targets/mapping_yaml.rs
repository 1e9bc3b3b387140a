//! The two files of a workflow: a mapping beside a template that is good, and a template beside a mapping that is good.
//! Whatever they say, they are refused with a reason or make a workflow that is read again from its own sources.

#![no_main]

use comfygate::graph::Graph;
use comfygate::workflow::{Files, Pair, shipped};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((which, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let pair = &shipped::PAIRS[usize::from(which / 2) % shipped::PAIRS.len()];
    let (config, template) = if which % 2 == 0 { (text, pair.template) } else { (pair.config, text) };
    let files = Files { config: "a.yaml".into(), template: "a.json".into() };
    match Pair::parse("a", config, template, &files) {
        Ok(workflow) => {
            let again = Pair::from_source(&workflow.source()).expect("what was good once is good again");
            assert_eq!(again.revision(), workflow.revision());
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(!problem.to_string().contains('\n'), "more than one line: {problem}");
            }
        }
    }
    if let Ok(graph) = Graph::parse(text) {
        let value = graph.to_value();
        let again = Graph::from_value(value.clone()).expect("a graph is a graph");
        assert_eq!(again.to_value(), value);
    }
});

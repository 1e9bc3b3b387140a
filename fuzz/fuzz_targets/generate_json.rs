//! The body of `POST /generate`: whatever it says, it is refused or becomes a graph whose links are those of its template.

#![no_main]

use comfygate::api::{Defaults, Rules, read_submission};
use comfygate::egress::{self, Guard, SystemLookup};
use comfygate::intake::IntakeError;
use comfygate::job::{Limits, ParamValue};
use comfygate::notifier::TargetRules;
use comfygate::settings::EgressSettings;
use comfygate::graph::is_link;
use comfygate::workflow::{Source, Pair, build, check, resolve, shipped};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static WORKFLOWS: LazyLock<Vec<Arc<Pair>>> = LazyLock::new(|| {
    let read = |pair: &shipped::Shipped| {
        let (name, config, template) = (pair.name.into(), pair.config.into(), pair.template.into());
        Arc::new(Pair::from_source(&Source { hash: String::new(), name, config, template }).expect("it is shipped"))
    };
    shipped::PAIRS.iter().map(read).collect()
});

fuzz_target!(|body: &[u8]| {
    let day = Duration::from_secs(86_400);
    let find = |name: Option<&str>| {
        let name = name.unwrap_or("canvas");
        let found = WORKFLOWS.iter().find(|workflow| workflow.name() == name).map(Arc::clone);
        found.ok_or_else(|| IntakeError::UnknownWorkflow { name: name.to_owned(), known: Vec::new() })
    };
    let most = Limits { queue: day, start: day, silence: day, run: day };
    let guard = Guard::new(egress::Rules::new(&EgressSettings::default(), false), Arc::new(SystemLookup));
    let targets = TargetRules { guard, https_only: false };
    let rules = Rules { targets: &targets, most, max_runs: 3, defaults: Defaults::default(), workflow: &find, graphs: None };
    let Ok((workflow, submission)) = read_submission(body, &rules) else { return };
    let Ok(resolved) = resolve(&workflow, &submission.params, || 7) else { return };
    assert!(check(&workflow, &resolved.params).is_ok(), "resolved parameters do not build: {:?}", resolved.params);
    let built = build(&workflow, &resolved.params).expect("it was checked");
    for value in resolved.params.values() {
        if let ParamValue::Number(number) = value {
            assert!(number.is_finite());
        }
    }
    let links = |graph: &serde_json::Value| -> usize {
        let nodes = graph.as_object().into_iter().flat_map(|nodes| nodes.values());
        nodes
            .filter_map(|node| node["inputs"].as_object())
            .flat_map(|inputs| inputs.values())
            .filter(|v| is_link(v))
            .count()
    };
    let template = serde_json::from_str(&workflow.source().template).expect("a template is JSON");
    assert!(links(&built.graph.to_value()) <= links(&template), "a parameter became a link");
});

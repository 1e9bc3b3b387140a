//! Holds `docs/openapi.json` to the code: every call, every code, every field, and examples that the gateway takes.

use super::{code_of, read, section};
use comfygate::api::{Defaults, Needs, Rules, calls, read_submission};
use comfygate::egress::{self, Guard, SystemLookup};
use comfygate::intake::IntakeError;
use comfygate::job::{FailureCode, JobState, Limits};
use comfygate::notifier::TargetRules;
use comfygate::settings::EgressSettings;
use comfygate::store::DeliveryState;
use comfygate::workflow::{Pair, Source, resolve, shipped};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Parameters that every shipped workflow has, told of as fields since ComfyLite had them as such.
const PARAMETERS: [&str; 5] = ["prompt", "image_count", "width", "height", "seed"];

#[test]
fn every_call_is_described_with_what_it_needs_and_no_other_is() {
    let document = document();
    let mut served = BTreeSet::new();
    for (method, path, needs) in calls() {
        let call = &document["paths"][path][method.to_lowercase()];
        assert!(call.is_object(), "{method} {path} is not described");
        let security = match needs {
            Needs::Nothing => json!([]),
            Needs::KeyWith(_) | Needs::Key => json!([{ "bearer": [] }, { "header": [] }]),
            Needs::Scope(_) | Needs::ScopeOrLink(_) | Needs::NoKey => json!([{}, { "bearer": [] }, { "header": [] }]),
        };
        assert_eq!(call["security"], security, "{method} {path}");
        served.insert((path.to_owned(), method.to_lowercase()));
    }
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, calls)| calls.as_object().unwrap().keys().map(|method| (path.clone(), method.clone())))
        .collect();
    assert_eq!(described, served);
}

#[test]
fn every_word_that_answers_use_is_described() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let api = read("docs/API.md");
    let lines = section(&api, "## Errors").lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    assert_eq!(words(&schemas["Code"]["enum"]), lines.map(|(code, _)| code.to_owned()).collect());
    let failures = FailureCode::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(words(&schemas["FailureCode"]["enum"]), failures);
    let states: BTreeSet<_> = JobState::ALL.iter().map(|state| state.as_str().to_owned()).collect();
    assert_eq!(words(&schemas["LivingJob"]["properties"]["status"]["enum"]), states);
    let states: BTreeSet<_> = DeliveryState::ALL.iter().map(|state| state.as_str().to_owned()).collect();
    for place in ["Delivery", "DeliveryLog", "Replay"] {
        assert_eq!(words(&schemas[place]["properties"]["state"]["enum"]), states, "{place}");
    }
}

#[test]
fn every_field_of_a_request_is_described_and_no_other_is() {
    let document = document();
    let described = document["components"]["schemas"]["Generate"]["properties"].as_object().unwrap();
    let described: BTreeSet<&str> = described.keys().map(String::as_str).collect();
    let code: String = ["submit", "wishes", "raw"].map(|name| code_of(&read(&format!("src/api/{name}.rs")))).concat();
    let taken = code.split("fields.remove(\"").chain(code.split("optional_text(fields, \"")).filter_map(|rest| {
        let (name, _) = rest.split_once('"')?;
        name.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_').then_some(name)
    });
    let taken: BTreeSet<&str> = taken.filter(|name| !name.is_empty()).chain(PARAMETERS).collect();
    assert!(taken.len() >= 14, "{taken:?}");
    assert_eq!(described, taken);
}

#[test]
fn examples_of_requests_are_taken() {
    let document = document();
    let content = &document["paths"]["/generate"]["post"]["requestBody"]["content"]["application/json"];
    let examples = content["examples"].as_object().unwrap();
    assert!(examples.len() >= 2);
    let starter = shipped::PAIRS.iter().find(|pair| pair.name == "starter").unwrap();
    let (name, config, template) = (starter.name.into(), starter.config.into(), starter.template.into());
    let starter = Pair::from_source(&Source { hash: String::new(), name, config, template }).unwrap();
    let starter = Arc::new(starter);
    let find = |_: Option<&str>| Ok::<_, IntakeError>(Arc::clone(&starter));
    let day = Duration::from_hours(24);
    let most = Limits { queue: day, start: day, silence: day, run: day };
    let guard = Guard::new(egress::Rules::new(&EgressSettings::default(), true), Arc::new(SystemLookup));
    let targets = TargetRules { guard, https_only: false };
    let (max_runs, defaults) = (100, Defaults::default());
    let rules = Rules { targets: &targets, most, max_runs, defaults, workflow: &find, graphs: None };
    for (name, example) in examples {
        let read = read_submission(example["value"].to_string().as_bytes(), &rules);
        let (workflow, submission) = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(resolve(&workflow, &submission.params, || 7).is_ok(), "{name}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_everything_is_used() {
    let document = document();
    let text = read("docs/openapi.json");
    let references: BTreeSet<&str> =
        text.split("\"$ref\": \"#").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    for reference in &references {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
    for kind in ["schemas", "responses", "headers"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(references.contains(format!("/components/{kind}/{name}").as_str()), "{kind}/{name} is not used");
        }
    }
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

fn document() -> Value {
    serde_json::from_str(&read("docs/openapi.json")).unwrap()
}

fn words(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

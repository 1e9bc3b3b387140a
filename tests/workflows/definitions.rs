//! What backends say of their node classes: types and bounds that no mapping writes; and that nobody needs it to build again
//! what was taken in with it.

use super::reload::{Folders, told};
use super::{TEMPLATE, object};
use comfygate::definitions::Definitions;
use comfygate::job::ParamValue;
use comfygate::workflow::{Files, Kind, Pair, build, resolve};
use serde_json::{Value, json};

/// Nodes of the template as a server describes them, and a class of somebody's own.
fn definitions() -> Definitions {
    let mut classes = json!({
        "KSampler": {"input": {"required": {
            "seed": ["INT", {"default": 0, "min": 0, "max": u64::MAX, "control_after_generate": true}],
            "steps": ["INT", {"default": 20, "min": 1, "max": 10000}],
            "cfg": ["FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1}],
            "sampler_name": [["euler", "heun"], {}]}}},
        "EmptyLatentImage": {"input": {"required": {
            "width": ["INT", {"default": 512, "min": 16, "max": 2048, "step": 8}],
            "height": ["INT", {"default": 512, "min": 16, "max": 4096, "step": 8}],
            "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}]}}},
        "LoadImage": {"input": {"required": {"image": [["a.png", "b.png"], {"image_upload": true}]}}},
        "SaveImage": {"input": {"required": {
            "filename_prefix": ["STRING", {}], "odd": ["FLOAT", {"min": -0.5, "max": 1.5}]}}}
    });
    for class in classes.as_object_mut().unwrap().values_mut() {
        class["output"] = json!([]);
    }
    Definitions::parse(&classes.to_string()).unwrap()
}

fn known(config: &str) -> Pair {
    Pair::parse_with("w", config, TEMPLATE, &Files::of("w"), &definitions()).unwrap_or_else(|told| panic!("{told:#?}"))
}

fn code(pair: &Pair, given: Value) -> &'static str {
    resolve(pair, &object(given), || 77).map_or_else(|faults| faults[0].code, |_| "good")
}

const CONFIG: &str = r#"
node_mappings:
  cfg: { node_id: "3", property: cfg }
  steps: { node_id: "3", property: steps, max: 50 }
  noise: { node_id: "3", property: seed }
  sampler: { node_id: "3", property: sampler_name }
  size: [ {node_id: "5", property: width}, {node_id: "5", property: height} ]
  image_count: { node_id: "5", property: batch_size }
  photo: { node_id: "10", property: image }
  odd: { node_id: "12", property: odd }
"#;

#[test]
fn types_that_are_not_written_come_from_the_backend() {
    let pair = known(CONFIG);
    let kinds: Vec<(&str, Kind)> =
        pair.parameters().map(|parameter| (parameter.name.as_str(), parameter.kind)).collect();
    let expected = [
        ("cfg", Kind::Number),
        ("image_count", Kind::Integer),
        ("noise", Kind::Seed),
        ("odd", Kind::Number),
        ("photo", Kind::Image),
        ("sampler", Kind::Text),
        ("size", Kind::Integer),
        ("steps", Kind::Integer),
    ];
    assert_eq!(kinds, expected);
    let unknown = Pair::parse("w", CONFIG, TEMPLATE, &Files::of("w")).unwrap_err();
    assert!(unknown[0].reason.contains("does not tell a type: write `type`"), "the template has null there");
    let written = known("node_mappings:\n  cfg: { node_id: 3, property: cfg, type: integer }\n");
    assert_eq!(written.parameter("cfg").unwrap().kind, Kind::Integer, "what is written goes first");
}

#[test]
fn the_backends_bounds_hold_beside_those_that_are_written() {
    let pair = known(CONFIG);
    for (given, expected) in [
        (json!({"cfg": 100}), "good"),
        (json!({"cfg": 100.5}), "out_of_range"),
        (json!({"steps": 50}), "good"),
        (json!({"steps": 51}), "out_of_range"),
        (json!({"steps": 0}), "out_of_range"),
        (json!({"size": 2048}), "good"),
        (json!({"size": 2056}), "out_of_range"),
        (json!({"size": 8}), "out_of_range"),
        (json!({"image_count": 64}), "good"),
        (json!({"image_count": 65}), "out_of_range"),
        (json!({"odd": -0.5}), "good"),
        (json!({"odd": -0.75}), "out_of_range"),
        (json!({"cfg": "8"}), "invalid_type"),
    ] {
        assert_eq!(code(&pair, given.clone()), expected, "{given}");
    }
    // A mapping that is beyond what this backend takes is its author's wish: perhaps another backend is meant.
    let beyond = known("node_mappings:\n  p: { node_id: 3, property: steps, min: 20000, max: 30000 }\n");
    assert_eq!(code(&beyond, json!({"p": 20000})), "good");
}

#[test]
fn choices_of_a_backend_are_told_and_not_enforced() {
    let pair = known(CONFIG);
    let text = |text: &str| ParamValue::Text(text.to_owned());
    let sampler = pair.parameter("sampler").unwrap();
    assert_eq!(sampler.suggested, [text("euler"), text("heun")]);
    assert_eq!(code(&pair, json!({"sampler": "of another backend"})), "good");
    assert_eq!(code(&pair, json!({"photo": "../x.png"})), "invalid_filename");
    assert!(pair.parameter("steps").unwrap().suggested.is_empty());
}

#[test]
fn what_was_taken_in_with_definitions_is_built_the_same_without() {
    let config = CONFIG.replace("property: cfg }", "property: cfg, default: 7.5 }");
    let pair = known(&config);
    let given = object(json!({"odd": 1, "size": 64, "sampler": "heun", "noise": -1}));
    let params = resolve(&pair, &given, || 77).unwrap().params;
    let stored = serde_json::from_str(&serde_json::to_string(&params).unwrap()).unwrap();
    let again = Pair::from_source(&pair.source()).unwrap();
    assert_eq!(again.revision(), pair.revision());
    let (first, second) = (build(&pair, &params).unwrap(), build(&again, &stored).unwrap());
    assert_eq!(first, second);
    assert_eq!(serde_json::to_string(&first.graph).unwrap(), serde_json::to_string(&second.graph).unwrap());
    assert_eq!(first.graph.node("12").unwrap().inputs["odd"], json!(1.0));
    // What is no pair at all does not become one because it was stored.
    let damaged = comfygate::workflow::Source { config: CONFIG.replace("\"12\"", "\"99\""), ..pair.source() };
    assert!(Pair::from_source(&damaged).is_err());
}

#[test]
fn a_pair_that_needs_definitions_waits_for_them_and_then_serves() {
    let folders = Folders::new();
    folders.put("w", Some(CONFIG), Some(TEMPLATE));
    let catalog = folders.load();
    assert!(catalog.names().is_empty() && told(&catalog)[0].contains("write `type`"));
    assert!(catalog.learn(definitions()));
    assert_eq!((catalog.names(), told(&catalog)), (vec!["w".to_owned()], Vec::new()));
    let before = catalog.workflow("w").unwrap();
    assert!(!catalog.learn(definitions()), "nothing is new");
    // Nobody knows them any more: what was good stays.
    assert!(catalog.learn(Definitions::default()));
    assert_eq!(catalog.workflow("w").unwrap().revision(), before.revision());
    assert_eq!(told(&catalog).len(), 1);
}

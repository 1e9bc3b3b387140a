//! What a request may say: a table of every value and its answer, and properties that hold for any body.

use super::{PLAIN, TEMPLATE, object, params, resolved, workflow};
use comfygate::graph::is_link;
use comfygate::job::ParamValue;
use comfygate::workflow::{Kind, Pair, build, check, resolve};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A parameter of every kind.
const FULL: &str = r#"
node_mappings:
  prompt: { title: Positive, property: text, required: true, max: 20 }
  negativePrompt: { title: Negative, property: text }
  steps: { class: KSampler, property: steps, type: int, default: 20, min: 1, max: 150 }
  cfg: { node_id: 3, property: cfg, min: 1, max: 30.5 }
  sampler: { node_id: "3", property: sampler_name, enum: [euler, "no", "10"] }
  seed: { node_id: "3", property: seed }
  size: [ {node_id: "5", property: width}, {node_id: "5", property: height} ]
  image_count: { node_id: "5", property: batch_size, max: 4 }
  photo: { node_id: "10", property: image }
  upload: { node_id: "10", property: upload }
  filenamePrefix: { node_id: "12", property: filename_prefix }
outputs: ["40"]
"#;

#[test]
fn types_are_inferred_from_the_template() {
    let workflow = workflow(FULL);
    let kinds: Vec<(&str, Kind)> =
        workflow.parameters().map(|parameter| (parameter.name.as_str(), parameter.kind)).collect();
    let expected = [
        ("cfg", Kind::Number),
        ("filename_prefix", Kind::Filename),
        ("image_count", Kind::Integer),
        ("negative_prompt", Kind::Text),
        ("photo", Kind::Image),
        ("prompt", Kind::Text),
        ("sampler", Kind::Text),
        ("seed", Kind::Seed),
        ("size", Kind::Integer),
        ("steps", Kind::Integer),
        ("upload", Kind::Boolean),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn every_good_value_arrives_typed() {
    let workflow = workflow(FULL);
    let cases = [
        (json!({"steps": 20.0}), "steps", ParamValue::Integer(20)),
        (json!({"steps": 1e2}), "steps", ParamValue::Integer(100)),
        (json!({"steps": null}), "steps", ParamValue::Integer(20)),
        (json!({"cfg": 7}), "cfg", ParamValue::Number(7.0)),
        (json!({"cfg": 7.25}), "cfg", ParamValue::Number(7.25)),
        (json!({"seed": u64::MAX}), "seed", ParamValue::Integer(u64::MAX.into())),
        (json!({"seed": 9_007_199_254_740_993_u64}), "seed", ParamValue::Integer(9_007_199_254_740_993)),
        (json!({"seed": -1}), "seed", ParamValue::Integer(77)),
        (json!({"seed": null}), "seed", ParamValue::Integer(77)),
        (json!({"sampler": "no"}), "sampler", ParamValue::Text("no".into())),
        (json!({"upload": false}), "upload", ParamValue::Boolean(false)),
        (json!({"negative_prompt": "[\"6\", 0]"}), "negative_prompt", ParamValue::Text("[\"6\", 0]".into())),
        (json!({"negativePrompt": "20"}), "negative_prompt", ParamValue::Text("20".into())),
        (json!({"photo": "folder/a (1).png"}), "photo", ParamValue::Text("folder/a (1).png".into())),
        (json!({"filename_prefix": "team/a"}), "filename_prefix", ParamValue::Text("team/a".into())),
        (json!({"image_count": 0}), "image_count", ParamValue::Integer(1)),
    ];
    for (given, name, expected) in cases {
        let mut body = object(given);
        body.insert("prompt".into(), json!("x"));
        let resolved = resolve(&workflow, &body, || 77).unwrap_or_else(|faults| panic!("{body:?}: {faults:?}"));
        assert_eq!(resolved.params.get(name), Some(&expected), "{body:?}");
    }
}

#[test]
fn every_bad_value_is_refused_with_its_code_and_reason() {
    let workflow = workflow(FULL);
    let cases = [
        (json!({"prompt": ["4", 0]}), "invalid_type", "parameter `prompt`: must be a text, not a list"),
        (
            json!({"prompt": {"__value__": ["4", 0]}}),
            "invalid_type",
            "parameter `prompt`: must be a text, not an object",
        ),
        (json!({"prompt": {"class_type": "X", "inputs": {}}}), "invalid_type", "must be a text, not an object"),
        (json!({"prompt": 1}), "invalid_type", "parameter `prompt`: must be a text, not an integer"),
        (json!({"prompt": null}), "missing_param", "parameter `prompt`: is required, a text is expected"),
        (json!({"prompt": "a\u{0}b"}), "invalid_string", "parameter `prompt`: contains the character U+0000"),
        (json!({"prompt": "x".repeat(21)}), "too_long", "parameter `prompt`: has 21 characters, at most 20 are taken"),
        (json!({"negative_prompt": "x".repeat(100_001)}), "too_long", "at most 100000 are taken"),
        (json!({"steps": 900}), "out_of_range", "parameter `steps`: 900 is outside 1..=150"),
        (json!({"steps": 0}), "out_of_range", "parameter `steps`: 0 is outside 1..=150"),
        (json!({"steps": "20"}), "invalid_type", "parameter `steps`: must be an integer, not a text"),
        (json!({"steps": 20.5}), "invalid_type", "parameter `steps`: must be an integer, not a number with a fraction"),
        (json!({"steps": true}), "invalid_type", "parameter `steps`: must be an integer, not a boolean"),
        (json!({"steps": 1e300}), "invalid_type", "parameter `steps`: must be an integer"),
        (json!({"cfg": "8"}), "invalid_type", "parameter `cfg`: must be a number, not a text"),
        (json!({"cfg": 30.6}), "out_of_range", "parameter `cfg`: 30.6 is outside 1..=30.5"),
        (json!({"sampler": "dpm"}), "not_allowed", "parameter `sampler`: `dpm` is not one of `euler`, `no`, `10`"),
        (json!({"sampler": 10}), "invalid_type", "parameter `sampler`: must be a text, not an integer"),
        (json!({"seed": -2}), "out_of_range", "parameter `seed`: -2 is outside 0..=18446744073709551615"),
        (json!({"seed": "5"}), "invalid_type", "parameter `seed`: must be an integer, not a text"),
        (json!({"image_count": -1}), "out_of_range", "parameter `image_count`: -1 is outside 1..=4"),
        (json!({"image_count": 1_000_000}), "out_of_range", "parameter `image_count`: 1000000 is outside 1..=4"),
        (json!({"upload": "true"}), "invalid_type", "parameter `upload`: must be true or false, not a text"),
        (json!({"photo": "secret.png [output]"}), "invalid_filename", "is not the plain name of an image"),
        (json!({"photo": "x.png [temp] "}), "invalid_filename", "is not the plain name of an image"),
        (json!({"photo": "../x.png"}), "invalid_filename", "is not the plain name of an image"),
        (json!({"filename_prefix": "../../x"}), "invalid_filename", "is not a plain name"),
        (json!({"filename_prefix": "/x"}), "invalid_filename", "is not a plain name"),
        (json!({"filename_prefix": "c:\\x"}), "invalid_filename", "is not a plain name"),
        (json!({"filename_prefix": "%date:yyyy%"}), "invalid_filename", "is not a plain name"),
        (json!({"filename_prefix": "a/.. /b"}), "invalid_filename", "is not a plain name"),
        (json!({"filename_prefix": ""}), "invalid_filename", "is not a plain name"),
        (json!({"promt": "x"}), "unknown_param", "workflow `w` has no parameter `promt`; did you mean `prompt`?"),
        (json!({"inputs.text": "x"}), "unknown_param", "has no parameter `inputs.text`; there are: cfg, "),
        (json!({"6.inputs.text": "x"}), "unknown_param", "has no parameter `6.inputs.text`"),
        (json!({"__proto__": "x"}), "unknown_param", "has no parameter `__proto__`"),
        (json!({"negativePrompt": "a", "negative_prompt": "b"}), "duplicate_param", "are the same: give it once"),
    ];
    for (given, code, reason) in cases {
        let mut body = object(given);
        body.entry("prompt").or_insert(json!("x"));
        let faults = resolve(&workflow, &body, || 77).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].code, code, "{body:?}");
        assert!(faults[0].to_string().contains(reason), "{} does not say {reason}", faults[0]);
    }
}

#[test]
fn comfylites_numbers_are_held_to_what_comfyui_can_draw() {
    for (given, code) in [
        (json!({"width": -1}), "out_of_range"),
        (json!({"width": 450.5}), "invalid_type"),
        (json!({"height": "450"}), "invalid_type"),
        (json!({"height": 4_294_967_296_u64}), "out_of_range"),
        (json!({"width": 100_000}), "out_of_range"),
        (json!({"image_count": 1_000_000}), "out_of_range"),
    ] {
        let faults = resolved(&workflow(PLAIN), given.clone()).unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.code).collect::<Vec<_>>(), [code], "{given}");
    }
}

#[test]
fn all_faults_are_told_at_once_but_not_without_end() {
    let workflow = workflow(FULL);
    let faults = resolved(&workflow, json!({"promt": "x", "steps": 900, "cfg": "x"})).unwrap_err();
    let told: Vec<(&str, &str)> = faults.iter().map(|fault| (fault.parameter.as_str(), fault.code)).collect();
    let expected =
        [("promt", "unknown_param"), ("cfg", "invalid_type"), ("prompt", "missing_param"), ("steps", "out_of_range")];
    assert_eq!(told, expected);

    let flood: Map<String, Value> =
        (0..10_000).map(|number| (format!("{number}{}", "x".repeat(500)), json!(1))).collect();
    let faults = resolve(&workflow, &flood, || 77).unwrap_err();
    assert_eq!(faults.len(), 32);
    assert!(faults.iter().all(|fault| fault.to_string().len() < 400));
}

#[test]
fn a_drawn_seed_can_be_held_by_every_reader_of_json_and_stays_in_bounds() {
    let workflow = workflow(PLAIN);
    let drawn = resolve(&workflow, &Map::new(), || u64::MAX).unwrap().seed.unwrap();
    assert!(drawn < 1 << 53);
    let narrow = PLAIN.replace("property: \"seed\"", "property: \"seed\", min: 10, max: 12");
    for chance in [0, 1, 2, 3, u64::MAX] {
        let seed = resolve(&super::workflow(&narrow), &Map::new(), || chance).unwrap().seed.unwrap();
        assert!((10..=12).contains(&seed));
    }
}

#[test]
fn one_parameter_can_set_several_inputs() {
    let workflow = workflow(FULL);
    let built = build(&workflow, &params(json!({"size": 256}))).unwrap();
    let inputs = &built.graph.node("5").unwrap().inputs;
    assert_eq!((&inputs["width"], &inputs["height"]), (&json!(256), &json!(256)));
}

#[test]
fn parameters_of_another_revision_do_not_build() {
    let error = build(&workflow(PLAIN), &params(json!({"steps": 3}))).unwrap_err();
    assert_eq!(check(&workflow(PLAIN), &params(json!({"steps": 3}))), Err(error.clone()));
    assert_eq!(error.to_string(), "workflow `w` has no parameter `steps`");
    let infinite = [("prompt".to_owned(), ParamValue::Number(f64::INFINITY))].into();
    assert!(build(&workflow(PLAIN), &infinite).is_err());
    assert!(check(&workflow(PLAIN), &infinite).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_body_makes_resolve_panic_and_what_it_takes_builds(body in body(), chance: u64) {
        let workflow = workflow(FULL);
        if let Ok(resolved) = resolve(&workflow, &body, || chance) {
            check(&workflow, &resolved.params).unwrap();
            let built = build(&workflow, &resolved.params).unwrap();
            differs_only_where_mapped(&workflow, &built.graph.to_value());
        }
    }

    #[test]
    fn a_text_never_becomes_a_link(text in "\\PC{0,40}|\\[\"[0-9]{1,2}\", ?[0-9]\\]|\\{\"__value__\":\\PC*\\}") {
        let workflow = workflow(FULL);
        let given = object(json!({"prompt": "x", "negative_prompt": text}));
        let built = build(&workflow, &resolve(&workflow, &given, || 0).unwrap().params).unwrap();
        prop_assert_eq!(&built.graph.node("7").unwrap().inputs["text"], &json!(text));
    }
}

fn differs_only_where_mapped(workflow: &Pair, built: &Value) {
    let template: Value = serde_json::from_str(TEMPLATE).unwrap();
    let mut restored = built.clone();
    for target in workflow.parameters().flat_map(|parameter| &parameter.targets) {
        let value = &mut restored[&target.node]["inputs"][&target.input];
        assert!(value.is_string() || value.is_number() || value.is_boolean(), "{value}");
        assert!(!is_link(value));
        *value = template[&target.node]["inputs"][&target.input].clone();
    }
    assert_eq!(restored, template);
}

fn body() -> impl Strategy<Value = Map<String, Value>> {
    let names =
        ["prompt", "negativePrompt", "steps", "cfg", "sampler", "seed", "size", "image_count", "photo", "upload", "x"];
    let name = prop_oneof![9 => prop::sample::select(names.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,80}"];
    prop::collection::btree_map(name, value(), 0..8).prop_map(|entries| {
        let mut body: Map<String, Value> = entries.into_iter().collect();
        body.entry("prompt").or_insert(json!("x"));
        body
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0..200_i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,30}".prop_map(Value::from),
        Just(json!("euler")),
        Just(json!(["6", 0])),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{0,10}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

//! Workflows from the outside: the shipped ones, what is wrong with files, what requests may say, and reloading.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod definitions;
mod drawings;
mod faults;
mod guide;
mod hostile;
mod names;
mod reload;
mod requests;
mod shipped;

use comfygate::job::{ParamValue, Params};
use comfygate::workflow::{Files, Pair, ParamError, Resolved, resolve};
use serde_json::{Map, Value, json};

/// A template with an input of every kind.
const TEMPLATE: &str = r#"{
  "3": {"class_type": "KSampler", "_meta": {"title": "Sampler"}, "inputs": {
    "seed": 5, "steps": 20, "cfg": 8, "sampler_name": "euler",
    "positive": ["6", 0], "latent_image": ["5", 0]}},
  "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 2}},
  "6": {"class_type": "CLIPTextEncode", "_meta": {"title": "Positive"}, "inputs": {"text": "a", "clip": ["4", 1]}},
  "7": {"class_type": "CLIPTextEncode", "_meta": {"title": "Negative"}, "inputs": {"text": "b", "clip": ["4", 1]}},
  "10": {"class_type": "LoadImage", "inputs": {"image": "example.png", "upload": true}},
  "12": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0], "odd": null}},
  "40": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["8", 0]}}
}"#;

/// `ComfyLite`'s grammar and nothing more.
const PLAIN: &str = r#"
node_mappings:
  prompt: { node_id: "6", property: "text" }
  seed: { node_id: "3", property: "seed" }
  width: { node_id: "5", property: "width" }
  height: { node_id: "5", property: "height" }
  imageCount: { node_id: "5", property: "batch_size" }
"#;

fn workflow(config: &str) -> Pair {
    Pair::parse("w", config, TEMPLATE, &Files::of("w")).unwrap()
}

/// Returns the problems of a pair as the operator reads them.
fn problems(config: &str, template: &str) -> Vec<String> {
    let problems = Pair::parse("w", config, template, &Files::of("w")).unwrap_err();
    assert!(!problems.is_empty());
    problems.iter().map(ToString::to_string).collect()
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("{value} is not an object") };
    object
}

/// Resolves with the drawn seed 77.
fn resolved(workflow: &Pair, given: Value) -> Result<Resolved, Vec<ParamError>> {
    resolve(workflow, &object(given), || 77)
}

fn params(values: Value) -> Params {
    let value = |value: Value| serde_json::from_value::<ParamValue>(value).unwrap();
    object(values).into_iter().map(|(name, given)| (name, value(given))).collect()
}

#[test]
fn comfylites_grammar_works_unchanged() {
    let workflow = workflow(PLAIN);
    let given = json!({"prompt": "a cat", "imageCount": 3, "width": 640, "height": 480});
    let resolved = resolved(&workflow, given).unwrap();
    assert_eq!(
        resolved.params,
        params(json!({"prompt": "a cat", "seed": 77, "width": 640, "height": 480, "image_count": 3}))
    );
    assert_eq!((resolved.seed, resolved.expected_images), (Some(77), Some(3)));
}

#[test]
fn comfylites_defaults_hold_where_nothing_is_given() {
    let resolved =
        resolved(&workflow(PLAIN), json!({"prompt": "a", "image_count": 0, "width": 0, "height": null})).unwrap();
    assert_eq!(
        resolved.params,
        params(json!({"prompt": "a", "seed": 77, "width": 450, "height": 450, "image_count": 1}))
    );
}

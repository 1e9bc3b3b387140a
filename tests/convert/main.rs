//! Conversions held to what the real frontend makes: every case under `tests/fixtures/conversions/cases/` is a file and the graph
//! that the frontend 1.27.10 made of it with the node classes in `object_info.json`: published workflows, variants of them, and
//! files made to try one rule each.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "this whole program is a test")]

mod hostile;
mod rules;

use comfygate::convert::{Converted, convert};
use comfygate::definitions::Definitions;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The node classes of a stock ComfyUI 0.3.64.
fn definitions() -> &'static Definitions {
    static DEFINITIONS: OnceLock<Definitions> = OnceLock::new();
    DEFINITIONS.get_or_init(|| Definitions::parse(&text(&fixtures().join("object_info.json"))).unwrap())
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conversions")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&text(path)).unwrap()
}

#[test]
fn every_file_becomes_what_the_frontend_makes_of_it() {
    // Other corpora of the same layout can be run with `COMFYGATE_CASES=<folder>`.
    let root = std::env::var_os("COMFYGATE_CASES").map_or_else(|| fixtures().join("cases"), PathBuf::from);
    let mut cases: Vec<PathBuf> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|case| case.join("api.json").exists());
    cases.sort();
    let (mut exact, mut with_meta, mut in_order) = (0, 0, 0);
    for case in &cases {
        let name = case.file_name().unwrap().to_string_lossy();
        let expected = text(&case.join("api.json"));
        let wanted: Value = serde_json::from_str(&expected).unwrap();
        match convert(&json(&case.join("workflow.json")), definitions()) {
            Err(error) => println!("{name}: {}: {error}", error.code()),
            Ok(converted) => {
                if let Some(difference) = difference(&wanted, &converted.graph.to_value()) {
                    println!("{name}: {difference}");
                    continue;
                }
                exact += 1;
                let meta = meta_difference(&wanted, &converted.graph.to_value());
                with_meta += usize::from(meta.is_none());
                meta.inspect(|meta| println!("{name}: {meta}"));
                let ordered = ids(&expected) == ids_of(&converted);
                in_order += usize::from(ordered);
                if !ordered {
                    println!("{name}: order {:?}, want {:?}", ids_of(&converted), ids(&expected));
                }
            }
        }
    }
    let total = cases.len();
    println!("{exact}/{total} exact ({with_meta} with _meta, {in_order} in order)");
    assert!(total > 0);
    assert_eq!((exact, with_meta, in_order), (total, total, total));
}

fn ids(text: &str) -> Vec<String> {
    let nodes: indexmap::IndexMap<String, serde::de::IgnoredAny> = serde_json::from_str(text).unwrap();
    nodes.into_keys().collect()
}

fn ids_of(converted: &Converted) -> Vec<String> {
    converted.graph.nodes().map(|(id, _)| id.to_owned()).collect()
}

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().map(|object| object.keys().collect()).unwrap_or_default()
}

/// Returns the first difference, in words. 1 and 1.0 are the same, true and 1 are not.
fn difference(wanted: &Value, found: &Value) -> Option<String> {
    if keys(wanted) != keys(found) {
        return Some(format!("nodes {:?}, want {:?}", keys(found), keys(wanted)));
    }
    for (id, want) in wanted.as_object()? {
        let node = &found[id];
        if want["class_type"] != node["class_type"] {
            return Some(format!("node {id}: class {}, want {}", node["class_type"], want["class_type"]));
        }
        let (class, want, inputs) = (&want["class_type"], &want["inputs"], &node["inputs"]);
        if keys(want) != keys(inputs) {
            return Some(format!("node {id} ({class}): inputs {:?}, want {:?}", keys(inputs), keys(want)));
        }
        for (name, want) in want.as_object()? {
            if !same(want, &inputs[name]) {
                return Some(format!("node {id} ({class}).{name}: {}, want {want}", inputs[name]));
            }
        }
    }
    None
}

fn meta_difference(wanted: &Value, found: &Value) -> Option<String> {
    let (id, want) = wanted.as_object()?.iter().find(|(id, want)| want["_meta"] != found[*id]["_meta"])?;
    Some(format!("node {id}: _meta {}, want {}", found[id]["_meta"], want["_meta"]))
}

fn same(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Number(one), Value::Number(two)) => one == two || one.as_f64() == two.as_f64(),
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same(one, two))
        }
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len() && one.iter().all(|(key, one)| two.get(key).is_some_and(|two| same(one, two)))
        }
        (
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
            _,
        ) => one == two,
    }
}

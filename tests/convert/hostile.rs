//! Files that nobody saved in good faith, and files that are broken: an answer or a clear error, soon, whatever they hold.

use super::definitions;
use comfygate::convert::{ConvertError, convert, is_ui_format};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

/// Converts in a bounded time.
fn soon(workflow: Value) -> Result<Value, ConvertError> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        sender.send(convert(&workflow, definitions()).map(|converted| converted.graph.to_value())).ok();
    });
    receiver.recv_timeout(Duration::from_mins(1)).expect("it takes too long, or it has panicked")
}

fn saver(link: &Value) -> Value {
    json!({"id": 1, "type": "SaveImage", "inputs": [{"name": "images", "type": "IMAGE", "link": link}]})
}

fn reroute(id: usize, link: &Value, links: &[usize]) -> Value {
    json!({
        "id": id, "type": "Reroute",
        "inputs": [{"name": "", "type": "*", "link": link}], "outputs": [{"name": "", "type": "*", "links": links}]
    })
}

#[test]
fn a_circle_of_reroutes_is_told_or_broken() {
    // 3 <- 4 <- 3, and 1 <- 3: the frontend breaks the circle.
    let workflow = json!({
        "nodes": [saver(&json!(1)), reroute(3, &json!(2), &[1, 3]), reroute(4, &json!(3), &[2])],
        "links": [[1, 3, 0, 1, 0, "*"], [2, 4, 0, 3, 0, "*"], [3, 3, 0, 4, 0, "*"]],
        "version": 0.4
    });
    assert_eq!(soon(workflow).unwrap()["1"]["inputs"], json!({"filename_prefix": "ComfyUI"}));
    // A circle inside a subgraph stays one.
    let inside = json!({
        "id": "s", "name": "Ring", "version": 1, "inputs": [], "outputs": [],
        "nodes": [saver(&json!(1)), reroute(3, &json!(2), &[1, 3]), reroute(4, &json!(3), &[2])],
        "links": [
            {"id": 1, "origin_id": 3, "origin_slot": 0, "target_id": 1, "target_slot": 0, "type": "*"},
            {"id": 2, "origin_id": 4, "origin_slot": 0, "target_id": 3, "target_slot": 0, "type": "*"},
            {"id": 3, "origin_id": 3, "origin_slot": 0, "target_id": 4, "target_slot": 0, "type": "*"}
        ]
    });
    let workflow = json!({"nodes": [{"id": 7, "type": "s"}], "links": [], "definitions": {"subgraphs": [inside]}});
    let error = soon(workflow).unwrap_err();
    assert_eq!((error.code(), error.node()), ("circular_links", Some("7:1")));
}

#[test]
fn a_long_chain_of_reroutes_is_followed_to_its_end() {
    let length = 5000;
    let mut nodes = vec![saver(&json!(1)), json!({"id": 2, "type": "EmptyImage", "outputs": [{"links": [length]}]})];
    let mut links = vec![json!([length, 2, 0, 1000 + length - 1, 0, "IMAGE"])];
    for place in 1..length {
        nodes.push(reroute(1000 + place, &json!(place + 1), &[place]));
        let target = if place == 1 { 1 } else { 1000 + place - 1 };
        links.push(json!([place, 1000 + place, 0, target, 0, "IMAGE"]));
    }
    let graph = soon(json!({"nodes": nodes, "links": links, "version": 0.4})).unwrap();
    assert_eq!(graph["1"]["inputs"]["images"], json!(["2", 0]));
}

fn instances(name: &str, of: &[&str]) -> Value {
    let nodes: Vec<Value> = of.iter().enumerate().map(|(id, of)| json!({"id": id, "type": of})).collect();
    json!({"id": name, "name": name, "nodes": nodes, "links": [], "inputs": [], "outputs": []})
}

#[test]
fn a_subgraph_that_contains_itself_is_refused() {
    for cycle in [vec![instances("a", &["a"])], vec![instances("a", &["b"]), instances("b", &["a"])]] {
        let workflow = json!({"nodes": [{"id": 1, "type": "a"}], "links": [], "definitions": {"subgraphs": cycle}});
        let error = soon(workflow).unwrap_err();
        assert_eq!(error.code(), "recursive_subgraph");
        assert!(error.to_string().contains("contains itself"), "{error}");
    }
}

#[test]
fn subgraphs_that_double_at_each_level_are_refused() {
    let names: Vec<String> = (0..=30).map(|level| format!("level{level}")).collect();
    let mut definitions: Vec<Value> =
        names.windows(2).map(|pair| instances(&pair[0], &[pair[1].as_str(), pair[1].as_str()])).collect();
    definitions.push(instances("level30", &["VAEDecode"]));
    let workflow =
        json!({"nodes": [{"id": 1, "type": "level0"}], "links": [], "definitions": {"subgraphs": definitions}});
    let error = soon(workflow).unwrap_err();
    assert_eq!(error.code(), "workflow_too_large");
    assert!(error.to_string().contains("more than 10000 nodes"), "{error}");
}

#[test]
fn one_large_value_in_many_places_is_refused() {
    let inside = json!({
        "id": "s", "name": "s", "inputs": [], "outputs": [], "links": [],
        "nodes": [{"id": 1, "type": "CLIPTextEncode", "widgets_values": ["x".repeat(1_000_000)]}]
    });
    let nodes: Vec<Value> = (1..200).map(|id| json!({"id": id, "type": "s"})).collect();
    let workflow = json!({"nodes": nodes, "links": [], "definitions": {"subgraphs": [inside]}});
    assert_eq!(soon(workflow).unwrap_err().code(), "workflow_too_large");
}

#[test]
fn many_instances_with_many_links_are_refused_in_time() {
    let links: Vec<Value> = (0..20_000)
        .map(|id| json!({"id": id, "origin_id": -10, "origin_slot": 0, "target_id": 1, "target_slot": 0}))
        .collect();
    let inside = json!({
        "id": "s", "name": "s", "outputs": [], "links": links,
        "inputs": [{"name": "x", "type": "IMAGE", "linkIds": (0..20_000).collect::<Vec<_>>()}],
        "nodes": [{"id": 1, "type": "SaveImage", "inputs": [{"name": "images", "type": "IMAGE", "link": 1}]}]
    });
    let nodes: Vec<Value> = (1..9000).map(|id| json!({"id": id, "type": "s"})).collect();
    let workflow = json!({"nodes": nodes, "links": [], "definitions": {"subgraphs": [inside]}});
    assert_eq!(soon(workflow).unwrap_err().code(), "workflow_too_large");
}

fn with_groups(nodes: &[Value], groups: &Value) -> Value {
    json!({"nodes": nodes, "links": [], "version": 0.4, "extra": {"groupNodes": groups}})
}

#[test]
fn a_large_group_node_in_many_places_is_refused() {
    let nodes: Vec<Value> = (1..5000).map(|id| json!({"id": id, "type": "workflow>g"})).collect();
    let text = json!({"type": "CLIPTextEncode", "mode": 2, "widgets_values": ["x".repeat(1_000_000)]});
    let workflow = with_groups(&nodes[..100], &json!({"g": {"nodes": [text], "links": []}}));
    assert_eq!(soon(workflow).unwrap_err().code(), "workflow_too_large");
    let many = vec![json!({"type": "VAEDecode"}); 100];
    let workflow = with_groups(&nodes, &json!({"g": {"nodes": many, "links": []}}));
    assert_eq!(soon(workflow).unwrap_err().code(), "workflow_too_large");
}

#[test]
fn a_group_node_that_cannot_be_taken_apart_is_told() {
    let node = [json!({"id": 1, "type": "workflow>g"})];
    for inside in ["Reroute", "PrimitiveNode", "NoSuchClass", "LoadAudio", "workflow>g"] {
        let groups =
            json!({"g": {"nodes": [{"type": inside}], "links": [[0, 0, 0, 0, 1, "IMAGE"], null, [7, -3, 9, 1]]}});
        let error = soon(with_groups(&node, &groups)).unwrap_err();
        assert_eq!((error.code(), error.node()), ("group_node", Some("1")), "{inside}");
    }
    for groups in [json!(null), json!([]), json!({"g": null}), json!({"g": {"nodes": 3}}), json!({"other": {}})] {
        assert_eq!(soon(with_groups(&node, &groups)).unwrap_err().code(), "group_node", "{groups}");
    }
}

#[test]
fn what_is_no_saved_workflow_is_named() {
    let cases = [
        (json!([]), "not_a_workflow", "this is a list"),
        (json!({"nodes": 5}), "not_a_workflow", "`nodes` is an integer"),
        (json!({}), "not_a_workflow", "this has no `nodes`"),
        (json!({"1": {"class_type": "A", "inputs": {}}}), "api_format", "needs no conversion"),
        (json!({"nodes": [7]}), "malformed_workflow", "`nodes[0]` must be an object, but it is an integer"),
        (json!({"nodes": [{"id": 4}]}), "malformed_workflow", "`nodes[0].type` must be the name of a class"),
    ];
    for (workflow, code, words) in cases {
        assert_eq!(is_ui_format(&workflow), workflow.get("nodes").is_some_and(Value::is_array));
        let error = convert(&workflow, definitions()).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_link_that_leads_nowhere_is_told_with_its_node() {
    let error = soon(json!({"nodes": [saver(&json!(5))], "links": []})).unwrap_err();
    assert_eq!((error.code(), error.node()), ("broken_link", Some("1")));
    let text = error.to_string();
    assert!(text.contains("input `images` of node 1 (\"Save Image\")") && text.contains("no such link"), "{text}");
}

#[test]
fn an_unknown_class_is_told_with_its_node_and_the_near_one() {
    let workflow = json!({
        "nodes": [{"id": 3, "type": "KSamplr", "title": "Mine"}, {"id": 4, "type": "Nowhere"}, {"id": 5, "type": "Muted", "mode": 2}],
        "links": []
    });
    let error = soon(workflow).unwrap_err();
    assert_eq!((error.code(), error.node()), ("unknown_class", Some("3")));
    let text = error.to_string();
    for words in ["node 3 (\"Mine\")", "`KSamplr`", "did you mean `KSampler`?", "`Nowhere`", "mute or remove"] {
        assert!(text.contains(words), "{text}");
    }
    assert!(!text.contains("Muted"), "a muted node does not run: {text}");
}

/// A file with most of what the format has.
fn sample() -> Value {
    let folder = super::fixtures().join("cases/image_inpainting_qwen_image/workflow.json");
    super::json(&folder)
}

/// Puts another value at some place of a document.
fn mutated(value: &mut Value, path: &mut std::slice::Iter<'_, u16>, other: &Value) {
    let Some(step) = path.next() else {
        *value = other.clone();
        return;
    };
    match value {
        Value::Array(list) if !list.is_empty() => {
            let place = usize::from(*step) % list.len();
            mutated(&mut list[place], path, other);
        }
        Value::Object(object) if !object.is_empty() => {
            let place = usize::from(*step) % object.len();
            mutated(object.values_mut().nth(place).unwrap(), path, other);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            *value = other.clone();
        }
    }
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-30_i64..30).prop_map(Value::from),
        "[a-z%{}|/\\\\]{0,8}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([1, 2, 3, 4, 5, "*"])),
        Just(json!("KSampler")),
        Just(json!("Reroute")),
        Just(json!("PrimitiveNode")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_file_never_panics(
        changes in prop::collection::vec((prop::collection::vec(any::<u16>(), 1..9), odd_value()), 1..6)
    ) {
        let mut workflow = sample();
        for (path, other) in &changes {
            mutated(&mut workflow, &mut path.iter(), other);
        }
        if let Err(error) = convert(&workflow, definitions()) {
            prop_assert!(!error.code().is_empty() && !error.to_string().is_empty());
        }
    }
}

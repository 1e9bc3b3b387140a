//! Rules of the frontend that no published workflow shows.

use super::definitions;
use comfygate::convert::{Converted, convert};
use serde_json::{Value, json};

fn converted(workflow: &Value) -> Converted {
    convert(workflow, definitions()).unwrap()
}

fn graph(workflow: &Value) -> Value {
    converted(workflow).graph.to_value()
}

#[test]
fn a_subgraphs_input_may_go_straight_to_its_output() {
    let inside = json!({
        "id": "s", "name": "Pass", "nodes": [],
        "inputs": [{"name": "x", "type": "IMAGE", "linkIds": [1]}],
        "outputs": [{"name": "y", "type": "IMAGE", "linkIds": [1]}],
        "links": [{"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "IMAGE"}]
    });
    let workflow = json!({
        "nodes": [
            {"id": 1, "type": "EmptyImage", "outputs": [{"links": [1]}]},
            {"id": 2, "type": "s", "inputs": [{"name": "x", "link": 1}], "outputs": [{"links": [2]}]},
            {"id": 3, "type": "SaveImage", "inputs": [{"name": "images", "link": 2}]}
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"]],
        "definitions": {"subgraphs": [inside]}
    });
    assert_eq!(graph(&workflow)["3"]["inputs"]["images"], json!(["1", 0]));
}

#[test]
fn a_primitive_inside_a_subgraph_sets_its_target() {
    let inside = json!({
        "id": "s", "name": "Inner", "inputs": [], "outputs": [],
        "nodes": [
            {"id": 1, "type": "PrimitiveNode", "outputs": [{"type": "INT", "links": [9]}], "widgets_values": [77, "fixed"]},
            {"id": 2, "type": "EmptyImage", "inputs": [{"name": "width", "type": "INT", "link": 9, "widget": {"name": "width"}}]}
        ],
        "links": [{"id": 9, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "INT"}]
    });
    let workflow = json!({"nodes": [{"id": 5, "type": "s"}], "links": [], "definitions": {"subgraphs": [inside]}});
    assert_eq!(graph(&workflow)["5:2"]["inputs"]["width"], json!(77));
}

#[test]
fn links_may_be_lists_or_objects_whatever_the_version() {
    let nodes = json!([
        {"id": 1, "type": "EmptyImage", "outputs": [{"links": [1]}]},
        {"id": 3, "type": "SaveImage", "inputs": [{"name": "images", "link": 1}]}
    ]);
    let list = json!([1, 1, 0, 3, 0, "IMAGE"]);
    let object = json!({"id": 1, "origin_id": 1, "origin_slot": 0, "target_id": 3, "target_slot": 0, "type": "IMAGE"});
    for version in [json!(0.4), json!(1), json!(null), json!("0.4")] {
        for links in [json!([list]), json!([object]), json!([null, list]), json!({"1": object})] {
            let workflow = json!({"nodes": nodes, "links": links, "version": version});
            assert_eq!(graph(&workflow)["3"]["inputs"]["images"], json!(["1", 0]), "{workflow}");
        }
    }
}

#[test]
fn values_by_name_go_into_the_widgets_of_the_pack_that_saves_them_so() {
    let text = r#"{"VHS_Load": {"input": {"required": {"video": ["STRING", {}], "rate": ["FLOAT", {"default": 8}]}}, "output": []},
                   "Other": {"input": {"required": {"video": ["STRING", {}]}}, "output": []}}"#;
    let definitions = comfygate::definitions::Definitions::parse(text).unwrap();
    let values = json!({"rate": 24, "video": "a.mp4", "videopreview": {}});
    let workflow = json!({"nodes": [
        {"id": 1, "type": "VHS_Load", "widgets_values": values}, {"id": 2, "type": "Other", "widgets_values": values}
    ]});
    let graph = convert(&workflow, &definitions).unwrap().graph.to_value();
    assert_eq!(graph["1"]["inputs"], json!({"video": "a.mp4", "rate": 24}));
    assert_eq!(graph["2"]["inputs"], json!({"video": ""}), "the frontend itself makes nothing of them");
}

#[test]
fn a_choice_is_made_and_told_and_a_date_is_left_to_the_server() {
    let workflow = json!({"nodes": [
        {"id": 1, "type": "CLIPTextEncode", "title": "Words", "widgets_values": ["a {red|blue} fox // not this"]},
        {"id": 2, "type": "SaveImage", "widgets_values": ["%date:yyyy-MM-dd%/%Words.text%"]},
        {"id": 3, "type": "SaveImage", "widgets_values": ["%date:yy%"]}
    ]});
    let converted = converted(&workflow);
    let graph = converted.graph.to_value();
    assert_eq!(graph["1"]["inputs"]["text"], json!("a red fox "));
    let prefix = "%year%-%month%-%day%/a {red_blue} fox __ not this";
    assert_eq!(graph["2"]["inputs"]["filename_prefix"], json!(prefix));
    assert_eq!(graph["3"]["inputs"]["filename_prefix"], json!("%date:yy%"));
    let [choice, date] = converted.warnings.as_slice() else { panic!("{:?}", converted.warnings) };
    assert!(choice.starts_with("node 1 (\"Words\") has choices") && date.contains("%date:yy%"), "{choice} {date}");
}

#[test]
fn a_workflow_in_which_nothing_runs_is_an_empty_graph_with_a_warning() {
    let workflow = json!({"nodes": [{"id": 1, "type": "Note"}, {"id": 2, "type": "SaveImage", "mode": 2}]});
    let converted = converted(&workflow);
    assert_eq!(converted.graph.to_value(), json!({}));
    assert!(converted.warnings[0].contains("nothing in this workflow runs"));
}

#[test]
fn nodes_come_in_the_order_of_a_browsers_keys() {
    let nodes: Vec<Value> = ["b", "10", "a", "9"].iter().map(|id| json!({"id": id, "type": "EmptyImage"})).collect();
    let converted = converted(&json!({"nodes": nodes}));
    let ids: Vec<&str> = converted.graph.nodes().map(|(id, _)| id).collect();
    assert_eq!(ids, ["9", "10", "b", "a"]);
}

#[test]
fn a_primitives_value_is_rounded_to_the_steps_of_each_target() {
    // The two differ in an option, so the primitive keeps to the first, and each takes the value in its own steps.
    let workflow = json!({
        "nodes": [
            {"id": 1, "type": "PrimitiveNode", "outputs": [{"type": "INT", "links": [1, 2]}], "widgets_values": [1001, "fixed"]},
            {"id": 2, "type": "EmptyImage", "inputs": [{"name": "color", "type": "INT", "link": 1, "widget": {"name": "color"}}]},
            {"id": 3, "type": "EmptyLatentImage", "inputs": [{"name": "width", "type": "INT", "link": 2, "widget": {"name": "width"}}]}
        ],
        "links": [[1, 1, 0, 2, 0, "INT"], [2, 1, 0, 3, 0, "INT"]]
    });
    let graph = graph(&workflow);
    assert_eq!(graph["2"]["inputs"]["color"], json!(1001));
    assert_eq!(graph["3"]["inputs"]["width"], json!(1000));
}

#[test]
fn numbers_have_the_digits_of_a_browser() {
    let workflow = json!({"nodes": [{"id": 1, "type": "KSampler", "widgets_values": [12_345_678_901_234_567_890_u64, "fixed", 20.0]}]});
    let inputs = &graph(&workflow)["1"]["inputs"];
    assert_eq!((inputs["seed"].to_string(), inputs["steps"].to_string()), ("12345678901234567000".into(), "20".into()));
}

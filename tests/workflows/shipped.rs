//! The shipped workflows: they load, fit the nodes of a real ComfyUI, and take what `ComfyLite`'s callers send.

use super::resolved;
use comfygate::graph::is_link;
use comfygate::workflow::{Files, Pair, build, shipped};
use serde_json::{Value, json};

const NODES: &str = include_str!("../fixtures/node_definitions.json");

#[test]
fn every_shipped_workflow_loads_and_is_described() {
    for workflow in all() {
        assert!(workflow.description().is_some(), "{}", workflow.name());
        for parameter in workflow.parameters() {
            assert!(parameter.description.is_some(), "{}: {}", workflow.name(), parameter.name);
        }
        assert_eq!(Pair::from_source(&workflow.source()).unwrap(), workflow);
    }
}

#[test]
fn comfylites_example_request_fits_starter_and_flux() {
    for name in ["starter", "flux"] {
        let given = json!({
            "prompt": "A futuristic city at sunset, highly detailed, cyberpunk style",
            "image_count": 1, "width": 450, "height": 450,
        });
        let resolved = resolved(&named(name), given).unwrap();
        assert_eq!((resolved.seed, resolved.expected_images), (Some(77), Some(1)), "{name}");
        let bare = super::resolved(&named(name), json!({"prompt": "x"})).unwrap();
        let side = bare.params.get("width").map(ToString::to_string);
        assert_eq!((side.as_deref(), bare.expected_images), (Some("450"), Some(1)), "{name}");
    }
}

#[test]
fn the_shipped_workflows_fit_the_nodes_of_a_real_comfyui() {
    let definitions: Value = serde_json::from_str(NODES).unwrap();
    for workflow in all() {
        let resolved = resolved(&workflow, json!({"prompt": "x", "image_count": 2})).unwrap();
        let built = build(&workflow, &resolved.params).unwrap();
        for (id, node) in built.graph.nodes() {
            let at = format!("{} node {id}", workflow.name());
            let definition = &definitions[&node.class_type];
            let wanted =
                definition["inputs"].as_object().unwrap_or_else(|| panic!("{at}: unknown class {}", node.class_type));
            assert!(wanted.keys().eq(node.inputs.keys()), "{at}: {:?} are not {:?}", node.inputs.keys(), wanted.keys());
            for (name, value) in &node.inputs {
                assert!(fits(&wanted[name], value, &built.graph, &definitions), "{at}: {name} is {value}");
            }
        }
    }
}

#[test]
fn canvas_puts_its_parameters_where_they_belong() {
    let workflow = named("canvas");
    let given = json!({"prompt": "p", "width": 64, "height": 32, "color": 255, "image_count": 3});
    let built = build(&workflow, &resolved(&workflow, given).unwrap().params).unwrap();
    let input = |node: &str, input: &str| built.graph.node(node).unwrap().inputs[input].clone();
    assert_eq!((input("2", "width"), input("2", "height")), (json!(64), json!(32)));
    assert_eq!((input("1", "color"), input("1", "batch_size")), (json!(255), json!(3)));
    assert_eq!(built.outputs, Some(vec!["3".to_owned()]));
    assert!(built.websocket_nodes.iter().eq(["3"]));
}

fn fits(wanted: &Value, value: &Value, graph: &comfygate::graph::Graph, definitions: &Value) -> bool {
    let within = || {
        let (min, max) = (wanted["min"].as_f64(), wanted["max"].as_f64());
        value.as_f64().is_some_and(|value| min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max))
    };
    match wanted["type"].as_str().unwrap() {
        "INT" => (value.is_u64() || value.is_i64()) && within(),
        "FLOAT" => value.is_number() && within(),
        "STRING" => value.is_string(),
        "COMBO" => {
            let options = wanted["options"].as_array().unwrap();
            // The list of model files is whatever a server has.
            options.contains(value) || (options.is_empty() && value.is_string())
        }
        linked => {
            let source = value[0].as_str().and_then(|id| graph.node(id));
            let outputs = source.map(|node| &definitions[&node.class_type]["outputs"]);
            is_link(value)
                && outputs
                    .is_some_and(|outputs| outputs[usize::try_from(value[1].as_u64().unwrap()).unwrap()] == linked)
        }
    }
}

fn named(name: &str) -> Pair {
    all().into_iter().find(|workflow| workflow.name() == name).unwrap()
}

fn all() -> Vec<Pair> {
    let read =
        |pair: shipped::Shipped| Pair::parse(pair.name, pair.config, pair.template, &Files::of(pair.name)).unwrap();
    shipped::PAIRS.into_iter().map(read).collect()
}

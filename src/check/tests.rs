//! What the check says of graphs, good and bad.

use super::*;
use serde_json::{Value, json};

fn definitions() -> Definitions {
    let text = json!({
        "Loader": {"input": {"required": {"ckpt_name": [["a.safetensors", "sd/b.safetensors"]]}},
                   "output": ["MODEL", "CLIP", "VAE"], "output_node": false},
        "Text": {"input": {"required": {"text": ["STRING", {"multiline": true}], "clip": ["CLIP"]}},
                 "output": ["CONDITIONING"], "output_node": false},
        "Sampler": {"input": {
            "required": {"model": ["MODEL"], "positive": ["CONDITIONING"], "steps": ["INT", {"default": 20, "min": 1, "max": 100}],
                         "sampler": [["euler", "dpmpp_2m"]]},
            "optional": {"denoise": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0}], "tiled": ["BOOLEAN", {}]},
            "hidden": {"unique_id": "UNIQUE_ID"}}, "output": ["IMAGE"], "output_node": false},
        "Save": {"input": {"required": {"images": ["IMAGE"]}}, "output": [], "output_node": true},
        "Old": {"input": {"required": {}}, "output": ["IMAGE"], "output_node": false, "deprecated": true},
        "Photo": {"input": {"required": {"image": [["x.png"], {"image_upload": true}]}}, "output": ["IMAGE", "MASK"], "output_node": false},
    });
    Definitions::parse(&text.to_string()).unwrap()
}

fn good() -> Value {
    json!({
        "1": {"class_type": "Loader", "inputs": {"ckpt_name": "a.safetensors"}},
        "2": {"class_type": "Text", "inputs": {"text": "a house", "clip": ["1", 1]}},
        "3": {"class_type": "Sampler", "_meta": {"title": "Draw"},
              "inputs": {"model": ["1", 0], "positive": ["2", 0], "steps": 20, "sampler": "euler"}},
        "4": {"class_type": "Save", "inputs": {"images": ["3", 0]}},
    })
}

/// Checks the good graph with one place changed.
fn changed(pointer: &str, value: Value) -> Vec<Problem> {
    let mut graph = good();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    graph.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
    check_value(graph)
}

fn removed(pointer: &str) -> Vec<Problem> {
    let mut graph = good();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    graph.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    check_value(graph)
}

fn check_value(graph: Value) -> Vec<Problem> {
    check(&Graph::from_value(graph).unwrap(), &definitions())
}

fn short(problems: &[Problem]) -> Vec<(&str, Kind, Option<&str>)> {
    problems.iter().map(|it| (it.node.as_deref().unwrap_or("-"), it.kind, it.input.as_deref())).collect()
}

#[test]
fn a_good_graph_has_no_problem() {
    assert_eq!(check_value(good()), []);
    for (pointer, value) in [
        ("/3/inputs/steps", json!("20")),
        ("/3/inputs/steps", json!(20.9)),
        ("/3/inputs/steps", json!(true)),
        ("/3/inputs/denoise", json!("5e-1")),
        ("/3/inputs/tiled", json!(0)),
        ("/2/inputs/text", json!(7)),
        ("/2/inputs/text", json!({"__value__": "x"})),
        ("/3/inputs/unheard_of", json!(1)),
        ("/3/inputs/model", json!(["1", -3])),
        ("/3/inputs/model", json!(["1", false])),
    ] {
        assert_eq!(changed(pointer, value.clone()), [], "{pointer} {value}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_by_node() {
    let graph = json!({
        "1": {"class_type": "Loader", "inputs": {"ckpt_name": "c.safetensors"}},
        "2": {"class_type": "Txt", "inputs": {"text": "a house", "clip": ["1", 1]}},
        "3": {"class_type": "Sampler", "inputs": {"model": ["1", 2], "positive": ["2", 0], "step": 20, "sampler": "eulr",
              "denoise": 2, "tiled": "false"}},
        "4": {"class_type": "Save", "inputs": {"images": ["30", 0]}},
        "5": {"class_type": "Save", "inputs": {"images": ["3", 1]}},
        "6": {"class_type": "Save", "inputs": {"images": ["3"]}},
        "7": {"class_type": "Old", "inputs": {}},
    });
    let problems = check_value(graph);
    let expected = [
        ("1", Kind::ValueNotInList, Some("ckpt_name")),
        ("2", Kind::MissingNodeType, None),
        ("3", Kind::ReturnTypeMismatch, Some("model")),
        ("3", Kind::ValueNotInList, Some("sampler")),
        ("3", Kind::RequiredInputMissing, Some("steps")),
        ("3", Kind::ValueBiggerThanMax, Some("denoise")),
        ("3", Kind::TextForBoolean, Some("tiled")),
        ("3", Kind::UnknownInput, Some("step")),
        ("4", Kind::BadLinkedInput, Some("images")),
        ("5", Kind::BadLinkedInput, Some("images")),
        ("6", Kind::BadLinkedInput, Some("images")),
        ("7", Kind::DeprecatedNode, None),
    ];
    assert_eq!(short(&problems), expected);
    assert!(!is_good(&problems));
}

#[test]
fn the_nearest_thing_that_would_be_right_is_named() {
    let suggestion = |problems: Vec<Problem>| problems[0].suggestion.clone();
    for (pointer, value, expected) in [
        ("/3/inputs/sampler", json!("dpmp_2m"), json!("dpmpp_2m")),
        ("/1/inputs/ckpt_name", json!("b.safetensors"), json!("sd/b.safetensors")),
        ("/3/inputs/steps", json!(0), json!(1)),
        ("/3/inputs/steps", json!("many"), json!(20)),
        ("/3/inputs/model", json!(["1", 1]), json!(["1", 0])),
        ("/3/inputs/model", json!(["99", 0]), json!(["1", 0])),
        ("/4/inputs/images", json!([3, 0]), json!(["3", 0])),
        ("/3/class_type", json!("sampler"), json!("Sampler")),
        ("/3/inputs/tiled", json!("false"), json!(false)),
        ("/3/inputs/model", json!(null), json!(["1", 0])),
    ] {
        assert_eq!(suggestion(changed(pointer, value.clone())), Some(expected), "{pointer} {value}");
    }
    assert_eq!(suggestion(removed("/4/inputs/images")), Some(json!(["3", 0])));
    assert_eq!(suggestion(removed("/3/inputs/steps")), Some(json!(20)));
}

#[test]
fn a_problem_reads_as_one_line() {
    let problem = changed("/3/inputs/sampler", json!("eulr")).remove(0);
    assert_eq!(
        problem.to_string(),
        "node `3` (Sampler, titled `Draw`), input `sampler`: \"eulr\" is none of its choices (the server offers euler, \
         dpmpp_2m); did you mean \"euler\"? -> write one of the choices"
    );
    let written = serde_json::to_value(&problem).unwrap();
    let expected = json!({"severity": "error", "type": "value_not_in_list", "node": "3", "class_type": "Sampler", "title": "Draw",
        "input": "sampler", "message": "\"eulr\" is none of its choices", "details": "the server offers euler, dpmpp_2m",
        "received": "eulr", "suggestion": "euler", "mend": "write one of the choices"});
    assert_eq!(written, expected);
}

#[test]
fn nodes_in_a_circle_are_told_and_an_unused_circle_is_not() {
    let mut graph = good();
    graph["2"]["inputs"]["clip"] = json!(["3", 0]);
    let problems = check_value(graph);
    let circle = problems.iter().find(|it| it.kind == Kind::DependencyCycle).unwrap();
    assert!(circle.message.contains("`3`") && circle.message.contains("`2`"), "{circle}");
    let mut graph = good();
    graph["8"] = json!({"class_type": "Text", "inputs": {"text": "", "clip": ["8", 0]}});
    assert_eq!(short(&check_value(graph.clone())), [("8", Kind::UnusedNode, None)]);
    graph["2"]["inputs"]["clip"] = json!(["3", 0]);
    let kinds: Vec<Kind> = check_value(graph).iter().map(|it| it.kind).collect();
    assert!(kinds.contains(&Kind::DependencyCycle), "an unused circle hides none that is needed: {kinds:?}");
}

#[test]
fn a_graph_without_an_output_is_told_so_and_still_checked() {
    let mut graph = good();
    graph.as_object_mut().unwrap().remove("4");
    assert_eq!(short(&check_value(graph.clone())), [("-", Kind::PromptNoOutputs, None)]);
    graph["3"]["inputs"]["steps"] = json!(0);
    let expected = [("-", Kind::PromptNoOutputs, None), ("3", Kind::ValueSmallerThanMin, Some("steps"))];
    assert_eq!(short(&check_value(graph)), expected);
}

#[test]
fn an_unused_node_is_not_checked_but_its_class_must_be_known() {
    let mut graph = good();
    graph["8"] = json!({"class_type": "Sampler", "inputs": {"steps": 0}});
    graph["9"] = json!({"class_type": "Nope", "inputs": {}});
    let expected = [("8", Kind::UnusedNode, None), ("9", Kind::MissingNodeType, None)];
    assert_eq!(short(&check_value(graph)), expected);
}

#[test]
fn behind_a_broken_link_all_else_is_still_told() {
    let mut graph = good();
    graph["4"]["inputs"]["images"] = json!(["30", 0]);
    graph["3"]["inputs"]["steps"] = json!(0);
    let problems = check_value(graph);
    let expected = [("3", Kind::ValueSmallerThanMin, Some("steps")), ("4", Kind::BadLinkedInput, Some("images"))];
    assert_eq!(short(&problems), expected);
    assert_eq!(problems[0].severity, Severity::Warning, "ComfyUI would not see it yet");
}

#[test]
fn a_file_that_may_have_been_uploaded_since_is_a_warning_and_one_in_a_folder_is_none() {
    let photo = |name: &str| {
        let mut graph = good();
        graph["3"] = json!({"class_type": "Photo", "inputs": {"image": name}});
        graph.as_object_mut().unwrap().retain(|id, _| id == "3" || id == "4");
        check_value(graph)
    };
    assert_eq!(photo("x.png"), []);
    assert_eq!(photo("team/y.png"), []);
    assert_eq!(photo("y.png [output]"), []);
    let problems = photo("y.png");
    assert_eq!(short(&problems), [("3", Kind::CustomValidationFailed, Some("image"))]);
    assert!(is_good(&problems));
}

#[test]
fn a_deprecated_class_is_a_warning() {
    let problems = changed("/3", json!({"class_type": "Old", "inputs": {}}));
    let of_three: Vec<_> = problems.iter().filter(|it| it.node.as_deref() == Some("3")).collect();
    assert_eq!(of_three.len(), 1);
    assert_eq!((of_three[0].kind, of_three[0].severity), (Kind::DeprecatedNode, Severity::Warning));
}

#[test]
fn a_hostile_graph_is_checked_in_time_and_told_in_part() {
    let mut graph = serde_json::Map::new();
    for id in 0..20_000 {
        let inputs = json!({"images": [(id + 1).to_string(), 0], "x": "y".repeat(50)});
        graph.insert(id.to_string(), json!({"class_type": format!("Sawe{id}{}", "é".repeat(40)), "inputs": inputs}));
    }
    graph.insert("20000".to_owned(), json!({"class_type": "Save", "inputs": {"images": {"a": "b".repeat(10_000)}}}));
    let problems = check_value(Value::Object(graph));
    assert_eq!(problems.len(), 1001);
    assert_eq!(problems[1000].kind, Kind::More);
    assert!(!is_good(&problems[1000..]), "errors are among what is not told");
    assert!(problems.iter().all(|it| it.to_string().len() < 2000));
}

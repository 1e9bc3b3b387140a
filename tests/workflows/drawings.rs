//! Templates as ComfyUI saves them: converted once the nodes of a backend are known, kept as what is executed, and told of by
//! file, node and title.

use super::params;
use super::reload::{Folders, told};
use comfygate::definitions::Definitions;
use comfygate::graph::Graph;
use comfygate::workflow::{Files, Pair, build};
use serde_json::{Value, json};

/// What a server says of two classes.
fn definitions() -> Definitions {
    let side = json!(["INT", {"default": 512, "min": 1, "max": 16384, "step": 1}]);
    let classes = json!({
        "EmptyImage": {"input": {"required": {
            "width": side, "height": side,
            "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
            "color": ["INT", {"default": 0, "min": 0, "max": 16_777_215}]}},
            "input_order": {"required": ["width", "height", "batch_size", "color"]},
            "output": ["IMAGE"], "output_name": ["IMAGE"], "output_is_list": [false]},
        "SaveImageWebsocket": {"input": {"required": {"images": ["IMAGE"]}}, "output": [], "output_node": true}
    });
    Definitions::parse(&classes.to_string()).unwrap()
}

/// A drawing of a sheet of paper, with a node that is muted and a note.
pub(super) fn drawing() -> Value {
    let node = |id: u32, class: &str, title: Option<&str>, mode: u32, values: Value| {
        let mut node = json!({
            "id": id, "type": class, "pos": [0, 0], "size": [200, 100], "flags": {}, "order": id, "mode": mode,
            "inputs": [], "outputs": [], "properties": {}, "widgets_values": values
        });
        if let Some(title) = title {
            node["title"] = json!(title);
        }
        node
    };
    let mut paper = node(1, "EmptyImage", Some("Paper"), 0, json!([64, 48, 1, 255]));
    paper["outputs"] = json!([{"name": "IMAGE", "type": "IMAGE", "links": [1], "slot_index": 0}]);
    let mut send = node(2, "SaveImageWebsocket", None, 0, json!([]));
    send["inputs"] = json!([{"name": "images", "type": "IMAGE", "link": 1}]);
    let mut muted = node(3, "EmptyImage", Some("Other paper"), 2, json!([8, 8, 1, 0]));
    muted["outputs"] = json!([{"name": "IMAGE", "type": "IMAGE", "links": [], "slot_index": 0}]);
    let remark = node(4, "Note", Some("Read me"), 0, json!(["a note"]));
    json!({
        "last_node_id": 4, "last_link_id": 1, "nodes": [paper, send, muted, remark],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]], "groups": [], "config": {}, "extra": {}, "version": 0.4
    })
}

const CONFIG: &str = "node_mappings:
  width: { title: Paper, property: width }
  color: { class: EmptyImage, property: color }
outputs: { sheet: { class: SaveImageWebsocket } }
";

fn read(config: &str, drawing: &Value) -> Result<Pair, Vec<String>> {
    Pair::parse_with("w", config, &drawing.to_string(), &Files::of("w"), &definitions())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_drawing_waits_for_the_definitions_of_a_backend_and_then_serves() {
    let folders = Folders::new();
    folders.put("w", Some(CONFIG), Some(&drawing().to_string()));
    let catalog = folders.load();
    assert!(catalog.names().is_empty());
    let waits = format!(
        "{}: this is a workflow as ComfyUI saves it (UI format): it waits for the node definitions of a backend",
        folders.template("w").display()
    );
    assert!(told(&catalog)[0].starts_with(&waits), "{:?}", told(&catalog));
    assert!(catalog.learn(definitions()));
    assert_eq!((catalog.names(), told(&catalog)), (vec!["w".to_owned()], Vec::new()));
    assert_eq!(Pair::parse("w", CONFIG, &drawing().to_string(), &Files::of("w")).unwrap_err().len(), 1);
}

#[test]
fn what_is_kept_of_a_drawing_is_what_is_executed_and_needs_no_definitions() {
    let pair = read(CONFIG, &drawing()).unwrap();
    let source = pair.source();
    let kept: Value = serde_json::from_str(&source.template).unwrap();
    assert_eq!(kept["1"]["inputs"], json!({"width": 64, "height": 48, "batch_size": 1, "color": 255}));
    assert_eq!(kept["2"]["inputs"], json!({"images": ["1", 0]}));
    assert_eq!(kept.as_object().unwrap().len(), 2);
    let again = Pair::from_source(&source).unwrap();
    assert_eq!(again.revision(), pair.revision());
    let given = params(json!({"width": 640, "color": 7}));
    let (first, second) = (build(&pair, &given).unwrap(), build(&again, &given).unwrap());
    assert_eq!(first, second);
    assert_eq!(first.graph.node("1").unwrap().inputs["width"], 640);
    assert_eq!((first.outputs, pair.output_names()["2"].as_str()), (Some(vec!["2".to_owned()]), "sheet"));
    // The same file as ComfyUI exports it is the same revision.
    let exported = serde_json::to_string(&Graph::parse(&source.template).unwrap()).unwrap();
    assert_eq!(Pair::parse("w", CONFIG, &exported, &Files::of("w")).unwrap().revision(), pair.revision());
}

#[test]
fn what_is_wrong_with_a_drawing_is_told_with_its_node_and_title() {
    let config = |target: &str| format!("node_mappings:\n  p: {{ {target}, property: width }}\n");
    for (target, says) in [
        (
            "title: Other paper",
            "configs/w.yaml:2: node with the title `Other paper` of templates/w.json (node `3`) is not executed",
        ),
        ("node_id: 4", "configs/w.yaml:2: node `4` of templates/w.json (node `4`) is not executed"),
        ("title: Papr", "configs/w.yaml:2: templates/w.json has no node with the title `Papr`; did you mean `Paper`?"),
        ("class: EmptyImag", "configs/w.yaml:2: templates/w.json has no node of the class `EmptyImag`; did you mean"),
        ("node_id: 9", "configs/w.yaml:2: templates/w.json has no node `9`; there are: 1, 2"),
    ] {
        let problems = read(&config(target), &drawing()).unwrap_err();
        assert!(problems[0].starts_with(says), "{problems:?}");
    }
    let linked = "node_mappings:\n  p: { node_id: 2, property: images, type: text }\n";
    assert!(read(linked, &drawing()).unwrap_err()[0].contains("comes from node `1` by a link"));
    let mut unknown = drawing();
    unknown["nodes"][0]["type"] = json!("EmptyImages");
    let problems = Pair::parse_with("w", CONFIG, &unknown.to_string(), &Files::of("w"), &definitions()).unwrap_err();
    assert_eq!((problems[0].file.as_str(), problems[0].node.as_deref()), ("templates/w.json", Some("1")));
    let reason = &problems[0].reason;
    assert!(reason.contains("Paper") && reason.contains("`EmptyImages`"), "{reason}");
}

#[test]
fn a_drawing_that_no_longer_converts_keeps_its_last_good_version() {
    let folders = Folders::new();
    folders.put("w", Some(CONFIG), Some(&drawing().to_string()));
    let catalog = folders.load();
    catalog.learn(definitions());
    let revision = catalog.workflow("w").unwrap().revision().to_owned();
    // The backend has lost the class, or nobody knows it any more.
    let other = Definitions::parse(r#"{"Other": {"input": {"required": {}}, "output": []}}"#).unwrap();
    for lesson in [other, Definitions::default()] {
        assert!(catalog.learn(lesson));
        assert_eq!(catalog.workflow("w").unwrap().revision(), revision);
        assert_eq!(told(&catalog).len(), 1);
    }
    catalog.learn(definitions());
    assert!(told(&catalog).is_empty());
    // And a drawing that changes is taken in like any other file.
    let mut changed = drawing();
    changed["nodes"][0]["widgets_values"][0] = json!(32);
    folders.put("w", None, Some(&changed.to_string()));
    catalog.reload_if_changed();
    assert!(catalog.reload_if_changed());
    assert_eq!(catalog.workflow("w").unwrap().template().node("1").unwrap().inputs["width"], 32);
}

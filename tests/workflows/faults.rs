//! What can be wrong with a pair of files, and what the operator reads then: file, line, reason.

use super::{PLAIN, TEMPLATE, problems};
use comfygate::workflow::{Files, Pair};

/// Faults of single parameters; each stands alone in a file, its first line being line 2.
const PARAMETERS: &[(&str, &str)] = &[
    ("p: {node_id: 99, property: text}", "2: templates/w.json has no node `99`; there are: 3, 5, 6, 7, 10, 12, 40"),
    ("p: {node_id: 4, property: text}", "2: templates/w.json has no node `4`; there are: 3, 5, 6, 7, 10, 12, 40"),
    (
        "p: {title: Positiv, property: text}",
        "2: templates/w.json has no node with the title `Positiv`; did you mean `Positive`?",
    ),
    (
        "p: {class: KSampla, property: text}",
        "2: templates/w.json has no node of the class `KSampla`; did you mean `KSampler`?",
    ),
    (
        "p: {class: CLIPTextEncode, property: text}",
        "2: node of the class `CLIPTextEncode` fits 2 nodes of templates/w.json (6, 7): name one of them by `node_id`",
    ),
    (
        "p:\n    node_id: 3\n    property: step",
        "4: parameter `p`: node `3` (KSampler) of templates/w.json:2 has no input `step`; did you mean `steps`?",
    ),
    (
        "p:\n    node_id: 3\n    property: positive",
        "4: parameter `p`: input `positive` of node `3` (KSampler) comes from node `6` by a link in templates/w.json:4: map \
         the input of the node where the value is written",
    ),
    ("p: {node_id: 6}", "2: parameter `p` has no `property`, the name of the node's input that it sets"),
    ("p: {property: text}", "2: parameter `p` names no node: write one of `node_id`, `title`, `class`"),
    (
        "p: {node_id: 6, title: Positive, property: text}",
        "2: parameter `p` names its node by `node_id` and `title`: keep one",
    ),
    (
        "p: {node_id: 6.5, property: text}",
        "2: node_id must be a text, but it reads as the number 6.5: put it in quotes",
    ),
    ("p: {node_id: 010, property: text}", "2: node_id must be a text, but it reads as the number 10: put it in quotes"),
    ("p: {node_id: null, property: text}", "2: node_id must be a text, but it is nothing"),
    ("p: {node_id: [6], property: text}", "2: node_id must be a text, but it is a list"),
    ("p: 6", "2: parameter `p` must be a mapping, but it is an integer"),
    ("p:", "2: parameter `p` must be a mapping, but it is nothing"),
    ("p: []", "2: parameter `p` has no target: name at least one node and property"),
    ("p: [6]", "2: a target of parameter `p` must be a mapping, but it is an integer"),
    ("p: {targets: [], type: text}", "2: parameter `p` has no target: name at least one node and property"),
    (
        "p: {node_id: 6, property: text, targets: [{node_id: 7, property: text}]}",
        "2: parameter `p` has `targets` and a target of its own: write all of them in `targets`",
    ),
    ("p: {node_id: 6, property: text, defualt: x}", "2: parameter `p` has no `defualt`; did you mean `default`?"),
    (
        "p: {node_id: 6, nodeId: 7, property: text}",
        "2: parameter `p` has `node_id` and `nodeId`, which are the same: keep one",
    ),
    (
        "p: {node_id: 6, property: text, type: sting}",
        "2: parameter `p` has the type `sting`; there are: text, integer, number, boolean, seed, filename, image",
    ),
    (
        "p: {node_id: 12, property: odd}",
        "2: parameter `p`: node `12` holds null in `odd`, which does not tell a type: write `type`",
    ),
    (
        "p: [{node_id: 6, property: text}, {node_id: 5, property: width}]",
        "2: parameter `p`: node `6` holds text in `text`, but node `5` holds integer in `width`: write `type`",
    ),
    (
        "p: [{node_id: 6, property: text}, {node_id: 6, property: text}]",
        "2: parameter `p` sets input `text` of node `6` twice: keep one",
    ),
    (
        "p: {node_id: 6, property: text}\n  q: {title: Positive, property: text}",
        "3: parameters `p` and `q` both set input `text` of node `6`: keep one",
    ),
    (
        "imageCount: {node_id: 5, property: width}\n  image_count: {node_id: 5, property: height}",
        "3: parameter `image_count` is the same as `image_count` on line 2: keep one",
    ),
    ("p: {node_id: 3, property: steps, default: many}", "2: parameter `p`: default must be an integer, not a text"),
    ("p: {node_id: 3, property: steps, default: \"20\"}", "2: parameter `p`: default must be an integer, not a text"),
    (
        "p: {node_id: 3, property: steps, default: [1]}",
        "2: parameter `p`: default must be an integer, but it is a list",
    ),
    ("p: {node_id: 3, property: steps, default: 900, max: 150}", "2: parameter `p`: default 900 is more than 150"),
    ("p: {node_id: 3, property: cfg, default: .nan}", "2: non-finite float `.nan`"),
    (
        "p: {node_id: 6, property: text, default: 5}",
        "2: parameter `p`: default must be a text, not an integer: put `5` in quotes",
    ),
    ("p: {node_id: 6, property: text, default: true}", "default must be a text, not a boolean: put `true` in quotes"),
    (
        "p: {node_id: 12, property: filename_prefix, default: ../x}",
        "2: parameter `p`: default `../x` is not a plain name",
    ),
    ("p: {node_id: 10, property: upload, default: no}", "2: parameter `p`: default must be true or false, not a text"),
    ("p: {node_id: 3, property: steps, min: 9, max: 1}", "2: parameter `p`: min 9 is more than max 1"),
    ("p: {node_id: 3, property: steps, min: low}", "2: parameter `p`: min must be an integer, but it is a text"),
    ("p: {node_id: 6, property: text, max: -1}", "2: parameter `p`: max must be a number of characters, 0 to 1000000"),
    ("p: {node_id: 10, property: upload, min: 0}", "2: parameter `p`: min must be absent: a truth value has no bounds"),
    ("p: {node_id: 6, property: text, enum: []}", "2: parameter `p`: enum is empty, so no value could be given"),
    ("p: {node_id: 6, property: text, enum: a}", "2: parameter `p`: enum must be a list, but it is a text"),
    (
        "p: {node_id: 6, property: text, enum: [a, 1]}",
        "2: parameter `p`: enum must be a text, not an integer: put `1` in quotes",
    ),
    ("p: {node_id: 6, property: text, enum: [a], default: b}", "2: parameter `p`: default `b` is not one of `a`"),
    ("p: {node_id: 3, property: seed, enum: [1]}", "2: parameter `p`: enum makes no sense for a seed"),
    ("p: {node_id: 6, property: text, required: 1}", "2: required must be true or false, but it is an integer"),
    (
        "p: {node_id: 6, property: text, required: true, default: x}",
        "2: parameter `p` is required, so its default would never be used: keep one of both",
    ),
    ("p: {node_id: 6, property: text, description: [x]}", "2: description must be a text, but it is a list"),
    (
        "webhookUrl: {node_id: 6, property: text}",
        "2: parameter `webhookUrl` has the name of a field of the request itself: choose another",
    ),
    ("\"\": {node_id: 6, property: text}", "2: `` cannot name a parameter: 1 to 64 printable characters are needed"),
];

#[test]
fn every_fault_of_a_parameter_is_told_with_its_line() {
    for (parameter, expected) in PARAMETERS {
        let told = problems(&format!("node_mappings:\n  {parameter}\n"), TEMPLATE);
        assert_eq!(told.len(), 1, "{parameter}: {told:#?}");
        assert!(
            told[0].starts_with("configs/w.yaml:2: ")
                || told[0].starts_with("configs/w.yaml:3: ")
                || told[0].starts_with("configs/w.yaml:4: "),
            "{told:?}"
        );
        assert!(told[0].contains(expected), "{parameter}\n  says {}\n  not  {expected}", told[0]);
    }
}

#[test]
fn every_fault_of_the_mapping_file_is_told() {
    let with = |line: &str| format!("node_mappings: {{}}\n{line}\n");
    for (config, expected) in [
        (String::new(), "configs/w.yaml: the file is empty; it needs at least `node_mappings`"),
        ("# nothing\n".to_owned(), "configs/w.yaml: the file is empty; it needs at least `node_mappings`"),
        (
            "description: x\n".to_owned(),
            "configs/w.yaml: the file has no `node_mappings`; a workflow without parameters",
        ),
        (
            "node_mapings: {}\n".to_owned(),
            "configs/w.yaml:1: the file has no `node_mapings`; did you mean `node_mappings`?",
        ),
        (
            "node_mappings: [1]\n".to_owned(),
            "configs/w.yaml:1: `node_mappings` must be a mapping of parameters, but it is a list",
        ),
        ("- a\n".to_owned(), "configs/w.yaml:1: the file must be a mapping, but it is a list"),
        (with("outputs: [99]"), "configs/w.yaml:2: templates/w.json has no node `99`"),
        (with("outputs: [\"40\", 40]"), "configs/w.yaml:2: `outputs` names node `40` twice: keep one"),
        (with("outputs: []"), "configs/w.yaml: `outputs` is empty, so a job could have no result"),
        (with("outputs: [{property: x}]"), "configs/w.yaml:2: an output has no `property`"),
        (
            with("timeouts: {run: 10}"),
            "configs/w.yaml:2: `timeouts.run` must be a duration with its unit, such as 30s or 10m, but it is an integer",
        ),
        (
            with("timeouts: {run: 10 parsecs}"),
            "configs/w.yaml:2: `timeouts.run`: `10 parsecs` is not a duration such as 30s or 10m",
        ),
        (with("timeouts: {run: 0s}"), "configs/w.yaml:2: `timeouts.run`: 0s is outside 1ms..=366days"),
        (with("timeouts: {runs: 1s}"), "configs/w.yaml:2: `timeouts` has no `runs`; did you mean `run`?"),
        (with("requires: {tag: x}"), "configs/w.yaml:2: `requires` has no `tag`; did you mean `tags`?"),
        (with("requires: {tags: [[x]]}"), "configs/w.yaml:2: a tag must be a text, but it is a list"),
    ] {
        let told = problems(&config, TEMPLATE);
        assert!(told[0].starts_with(expected), "{config}\n  says {}\n  not  {expected}", told[0]);
    }
}

#[test]
fn every_fault_of_the_template_is_told() {
    for (template, expected) in [
        ("", "templates/w.json: the file is empty; it must hold a graph"),
        (" \u{feff}\n", "templates/w.json: the file is empty; it must hold a graph"),
        (
            "{\n\"6\": {\"class",
            "templates/w.json:2: not valid JSON: EOF while parsing a string (line 2, column 12); is the file complete?",
        ),
        ("{} {}", "templates/w.json:1: not valid JSON: trailing characters (line 1, column 4); is the file complete?"),
        ("[]", "templates/w.json: a graph is an object of nodes by id, but this is a list"),
        ("{}", "templates/w.json: the graph has no nodes"),
        (
            r#"{"last_node_id": 9, "nodes": [], "links": [], "version": 0.4}"#,
            "templates/w.json: this is a workflow as ComfyUI saves it (UI format)",
        ),
        (
            "{\n\n\"6\": 5}",
            "templates/w.json:3: node `6` must be an object with `class_type` and `inputs`, but it is an integer",
        ),
        ("{\"6\":\n{}}", "templates/w.json:1: node `6` has no `class_type`"),
        (
            "{\"6\": {\"class_type\": \"A\"},\n\"7\": {\"class_type\": \"A\"},\n\"6\": {\"class_type\": \"B\"}}",
            "templates/w.json:3: `6` is written twice, first on line 1: keep one",
        ),
        (
            "{\"6\": {\"class_type\": \"A\", \"inputs\": {\"text\": \"a\",\n\"text\": \"b\"}}}",
            "templates/w.json:2: `6.inputs.text` is written twice, first on line 1: keep one",
        ),
    ] {
        let told = problems("node_mappings: {}\n", template);
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].starts_with(expected), "{template}\n  says {}\n  not  {expected}", told[0]);
    }
}

#[test]
fn all_faults_of_a_pair_are_told_at_once() {
    let config =
        "node_mappings:\n  a: {node_id: 99, property: x}\n  b: {node_id: 3, property: y}\noutputs: [77]\nmore: 1\n";
    let told = problems(config, TEMPLATE);
    let lines: Vec<&str> = told.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["configs/w.yaml:5", "configs/w.yaml:2", "configs/w.yaml:3", "configs/w.yaml:4"], "{told:#?}");
    let both = problems("more: 1\n", "{");
    assert!(both.iter().any(|problem| problem.starts_with("configs/")), "{both:?}");
    assert!(both.iter().any(|problem| problem.starts_with("templates/")), "{both:?}");
}

#[test]
fn a_problem_names_its_node_and_input() {
    let config = "node_mappings:\n  a: {node_id: 3, property: y}\n";
    let problems = Pair::parse("w", config, TEMPLATE, &Files::of("w")).unwrap_err();
    assert_eq!((problems[0].node.as_deref(), problems[0].input.as_deref()), (Some("3"), Some("y")));
}

#[test]
fn a_name_with_path_characters_is_refused() {
    for name in ["", "../x", "a/b", "a\\b", ".hidden", "a b", "ä", "a\n", &"x".repeat(65)] {
        let told = Pair::parse(name, PLAIN, TEMPLATE, &Files::of("w")).unwrap_err();
        assert!(told[0].to_string().contains("cannot name a workflow"), "{told:?}");
    }
    for name in ["a", "my_custom_workflow", "flux.1-dev", "4x"] {
        assert!(Pair::parse(name, PLAIN, TEMPLATE, &Files::of("w")).is_ok(), "{name}");
    }
}

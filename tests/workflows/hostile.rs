//! Files made to hurt: they are refused quickly, with a reason, and never with a panic.

use super::{PLAIN, TEMPLATE, problems, workflow};
use comfygate::graph::{Graph, is_link};
use comfygate::workflow::{Files, Pair};
use proptest::prelude::*;
use std::fmt::Write;

#[test]
fn yaml_that_hurts_is_refused() {
    let bomb = (1..9).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |mut text, level| {
        let alias = format!("*a{}", level - 1);
        writeln!(text, "a{level}: &a{level} [{}]", vec![alias; 9].join(", ")).unwrap();
        text
    });
    let many = (0..20_000).fold("node_mappings:\n".to_owned(), |mut text, number| {
        writeln!(text, "  p{number}: {{node_id: 6, property: text}}").unwrap();
        text
    });
    for (config, says) in [
        (bomb.as_str(), "configs/w.yaml"),
        (many.as_str(), "configs/w.yaml"),
        ("a: &a [*a]\n", "configs/w.yaml:1: an anchor must not contain itself"),
        (&"[".repeat(20_000), "configs/w.yaml"),
        (&"{a: ".repeat(20_000), "configs/w.yaml"),
        (&"- ".repeat(20_000), "configs/w.yaml"),
        (
            &format!("# {}\nnode_mappings: {{}}\n", "x".repeat(10_000_000)),
            "configs/w.yaml: the file has 10000021 bytes, at most",
        ),
        ("node_mappings:\n\tprompt: 1\n", "configs/w.yaml:2: "),
        ("node_mappings: {}\n---\nnode_mappings: {}\n", "configs/w.yaml:3: a second document begins here"),
        ("node_mappings: {}\nnode_mappings: {}\n", "configs/w.yaml:2: `node_mappings` is written twice: keep one"),
        (
            "node_mappings:\n  p: {node_id: 6, property: text}\n  p: {node_id: 7, property: text}\n",
            "configs/w.yaml:3: `p` is written twice: keep one",
        ),
        (
            "node_mappings:\n  6: {node_id: 6, property: text}\n  \"6\": {node_id: 7, property: text}\n",
            "configs/w.yaml:3: ",
        ),
        ("node_mappings: !!python/object:os.system {}\n", "configs/w.yaml:1: "),
        ("node_mappings:\n  p: !secret {node_id: 6, property: text}\n", "configs/w.yaml:2: "),
        ("node_mappings:\n  [a, b]: {node_id: 6, property: text}\n", "configs/w.yaml:2: "),
        ("node_mappings:\n  ? {a: 1}\n  : {node_id: 6, property: text}\n", "configs/w.yaml:2: "),
        ("node_mappings: {}\nx: *nobody\n", "configs/w.yaml:2: "),
        ("node_mappings: {\n", "configs/w.yaml:"),
        ("\u{0}", "configs/w.yaml"),
    ] {
        let told = problems(config, TEMPLATE);
        let start: String = config.chars().take(60).collect();
        assert!(told[0].starts_with(says), "{start}\n  says {}\n  not  {says}", told[0]);
        assert!(told.iter().all(|problem| problem.len() < 1_000 && !problem.contains('\n')), "{start}: {told:?}");
    }
}

#[test]
fn json_that_hurts_is_refused() {
    for template in
        ["[".repeat(100_000), "{\"a\":".repeat(100_000), format!("\"{}\"", "x".repeat(9_000_000)), "\u{0}".into()]
    {
        let told = problems("node_mappings: {}\n", &template);
        assert!(told[0].starts_with("templates/w.json"), "{told:?}");
        assert!(told[0].len() < 1_000);
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let config = format!("\u{feff}{}", PLAIN.trim_start().replace('\n', "\r\n"));
    let template = format!("\u{feff}{}", TEMPLATE.replace('\n', "\r\n"));
    let marked = Pair::parse("w", &config, &template, &Files::of("w")).unwrap();
    assert!(marked.parameters().eq(workflow(PLAIN).parameters()));
    assert_ne!(marked.revision(), workflow(PLAIN).revision());
}

#[test]
fn anchors_and_merges_work_as_yaml_has_them() {
    let config = "node_mappings:\n  width: &size {node_id: 5, property: width, min: 64}\n  height: {<<: *size, property: height}\n";
    let workflow = workflow(config);
    assert_eq!(workflow.parameter("height").unwrap().targets[0].input, "height");
    assert_eq!(workflow.parameter("height").unwrap().min, workflow.parameter("width").unwrap().min);
}

#[test]
fn a_graph_keeps_every_bit_of_its_numbers() {
    let text = r#"{"1":{"class_type":"A","inputs":{"a":18446744073709551615,"b":-9223372036854775808,"c":0.1,"d":8.0,"e":1e-7}}}"#;
    assert_eq!(serde_json::to_string(&Graph::parse(text).unwrap()).unwrap(), text);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_pair_of_texts_makes_parse_panic(config in text_like(PLAIN), template in text_like(TEMPLATE)) {
        if let Ok(workflow) = Pair::parse("w", &config, &template, &Files::of("w")) {
            for target in workflow.parameters().flat_map(|parameter| &parameter.targets) {
                prop_assert!(!is_link(&workflow.template().node(&target.node).unwrap().inputs[&target.input]));
            }
        }
    }
}

/// A text that is nearly `good`: cut, with something put in somewhere.
fn text_like(good: &'static str) -> impl Strategy<Value = String> {
    let letters: Vec<char> = good.chars().collect();
    let most = letters.len();
    (0..=most, 0..=most, "[\\PC\n\t]{0,4}", 0..40_usize).prop_map(move |(end, at, inserted, gap)| {
        let end = if end % 3 == 0 { letters.len() } else { end };
        let at = at.min(end);
        let before: String = letters[..at].iter().collect();
        let after: String = letters[at..end].iter().skip(if gap > 30 { gap } else { 0 }).collect();
        before + &inserted + &after
    })
}

//! Laws of graphs that are edited, tried with drawn graphs: nothing panics, no link is left to nowhere, and the hash knows
//! structure from values.

use super::workflow::tests::classes;
use super::{Graph, Workflow};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Texts that could be anything: values, ids, names, paths, links in disguise.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,12}",
        "[0-9]{1,2}(\\.inputs)?(\\.(text|seed|model|a))?",
        Just("a.safetensors".to_owned()),
        Just("-1".to_owned()),
    ]
}

fn class() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["KSampler", "LoraLoader", "CLIPTextEncode", "VAEDecode", "SaveImageWebsocket", "Strange"])
}

fn input() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["model", "clip", "positive", "negative", "samples", "latent_image", "images", "a", "b"])
}

fn value() -> impl Strategy<Value = (&'static str, Value)> {
    let names = prop::sample::select(vec!["text", "seed", "noise_seed", "width", "on", "filename_prefix", "image"]);
    let values = prop_oneof![
        text().prop_map(Value::from),
        (-2_i64..9).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(Value::Null),
    ];
    (names, values)
}

/// A node: its class, links to earlier nodes (by a number that is cut to size), values, perhaps a model.
type Drawn = (&'static str, Vec<(&'static str, usize, usize)>, Vec<(&'static str, Value)>, Option<u8>);

fn nodes() -> impl Strategy<Value = Vec<Drawn>> {
    let links = prop::collection::vec((input(), any::<usize>(), 0_usize..4), 0..4);
    prop::collection::vec((class(), links, prop::collection::vec(value(), 0..4), prop::option::of(0_u8..3)), 1..12)
}

fn graph(nodes: &[Drawn], id: impl Fn(usize) -> String) -> Graph {
    let node = |(place, (class, links, values, model)): (usize, &Drawn)| {
        let mut inputs: BTreeMap<String, Value> =
            values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        inputs.extend(model.map(|model| ("lora_name".to_owned(), json!(format!("{model}.safetensors")))));
        for (name, from, slot) in links.iter().filter(|_| place > 0) {
            inputs.insert((*name).to_owned(), json!([id(from % place), slot]));
        }
        (id(place), json!({"class_type": class, "inputs": inputs, "_meta": {"title": class}}))
    };
    Graph::from_value(Value::Object(nodes.iter().enumerate().map(node).collect())).unwrap()
}

/// One thing to do to a workflow.
#[derive(Clone, Debug)]
enum Edit {
    Set(String, Value),
    Force(String, Value),
    Title(String, String),
    Connect(String, String),
    Bypass(String),
    Remove(String),
    Output(String),
    Seeds,
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let id = || (0_usize..12).prop_map(|id| id.to_string());
    let values = || prop_oneof![value().prop_map(|(_, value)| value), Just(json!(["0", 0])), Just(json!([1, [2]]))];
    let path = || prop_oneof![text(), (id(), input()).prop_map(|(id, input)| format!("{id}.{input}"))];
    let edit = prop_oneof![
        (path(), values()).prop_map(|(path, value)| Edit::Set(path, value)),
        (path(), values()).prop_map(|(path, value)| Edit::Force(path, value)),
        (text(), text()).prop_map(|(title, name)| Edit::Title(title, name)),
        (path(), id()).prop_map(|(path, from)| Edit::Connect(path, from)),
        id().prop_map(Edit::Bypass),
        id().prop_map(Edit::Remove),
        prop_oneof![text(), id(), (text(), id()).prop_map(|(alias, id)| format!("{alias}:{id}"))]
            .prop_map(Edit::Output),
        Just(Edit::Seeds),
    ];
    prop::collection::vec(edit, 0..12)
}

/// Does it; what is refused must have changed nothing.
fn apply(workflow: &mut Workflow, edit: &Edit) {
    let before = workflow.clone();
    let is_done = match edit {
        Edit::Set(path, value) => workflow.set(path, value.clone()).is_ok(),
        Edit::Force(path, value) => workflow.force(path, value.clone()).is_ok(),
        Edit::Title(title, name) => workflow.set_by_title(title, name, 1).is_ok(),
        Edit::Connect(path, from) => workflow.connect(path, from, 1).is_ok(),
        Edit::Bypass(node) => workflow.bypass(node).is_ok(),
        Edit::Remove(node) => workflow.remove(node).is_ok(),
        Edit::Output(name) => workflow.output(name).is_ok(),
        Edit::Seeds => {
            workflow.draw_seeds(|| u64::MAX);
            true
        }
    };
    assert!(is_done || *workflow == before, "{edit:?} was refused and has changed something");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_edit_panics_or_leaves_a_link_to_nowhere(nodes in nodes(), edits in edits(), knows: bool) {
        let mut workflow = Workflow::of(graph(&nodes, |place| place.to_string()));
        if knows {
            workflow = workflow.with_definitions(&classes());
        }
        for edit in &edits {
            apply(&mut workflow, edit);
            let nowhere = workflow.graph().links().find(|link| workflow.graph().node(link.from).is_none());
            prop_assert!(nowhere.is_none(), "{edit:?} left {nowhere:?}");
            let outputs: Vec<_> = workflow.outputs().iter().map(|output| &output.node).collect();
            prop_assert!(outputs.iter().all(|node| workflow.graph().node(node).is_some()));
        }
        workflow.draw_seeds(|| 7);
        let is_round = workflow.graph().cycle().is_some();
        let built = workflow.build();
        prop_assert_eq!(built.is_err(), is_round);
        if let Ok(built) = built {
            let left = built.graph.nodes().any(|(_, node)| node.inputs.get("seed").and_then(Value::as_f64) == Some(-1.0));
            prop_assert!(!left, "a seed was not drawn");
        }
    }

    #[test]
    fn values_ids_and_order_do_not_change_the_hash(nodes in nodes(), others in prop::collection::vec(value(), 12), shift in 1_usize..99) {
        let one = graph(&nodes, |place| place.to_string());
        let mut changed = nodes.clone();
        for ((_, _, values, _), other) in changed.iter_mut().zip(others) {
            *values = vec![other];
        }
        // Ids that sort the other way round give another order too.
        let other = graph(&changed, |place| format!("n{}", 1000 - place * 7 + shift));
        prop_assert_eq!(one.structure_hash(), other.structure_hash());
    }

    #[test]
    fn a_class_a_model_a_link_and_a_node_change_the_hash(nodes in nodes(), at: prop::sample::Index) {
        let hash = |nodes: &[Drawn]| graph(nodes, |place| place.to_string()).structure_hash();
        let before = hash(&nodes);
        let change = |change: &dyn Fn(&mut Drawn)| {
            let mut changed = nodes.clone();
            change(&mut changed[at.index(nodes.len())]);
            hash(&changed)
        };
        prop_assert_ne!(&change(&|node| node.0 = "Another"), &before);
        prop_assert_ne!(&change(&|node| node.3 = Some(99)), &before);
        let mut more = nodes.clone();
        more.push(nodes[at.index(nodes.len())].clone());
        prop_assert_ne!(&hash(&more), &before);
        if at.index(nodes.len()) > 0 {
            prop_assert_ne!(&change(&|node| node.1.push(("another", 0, 0))), &before);
            prop_assert_ne!(&change(&|node| { node.1.clear(); node.1.push(("another", 0, 9)); }), &before);
        }
    }
}

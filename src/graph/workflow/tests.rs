//! Editing by path, title and class, outputs, seeds, and nodes that go.

use super::*;

/// A few classes as a server describes them.
pub(in crate::graph) fn classes() -> Definitions {
    let classes = json!({
        "KSampler": {"input": {"required": {
            "model": ["MODEL"], "seed": ["INT", {"max": 99}], "steps": ["INT", {}], "cfg": ["FLOAT", {}],
            "sampler_name": [["euler", "ddim"]], "positive": ["CONDITIONING"], "negative": ["CONDITIONING"],
            "latent_image": ["LATENT"]}}, "output": ["LATENT"]},
        "LoraLoader": {"input": {"required": {
            "model": ["MODEL"], "clip": ["CLIP"], "lora_name": [["a.safetensors"]], "strength_model": ["FLOAT", {}]}},
            "output": ["MODEL", "CLIP"]},
        "CLIPTextEncode": {"input": {"required": {"text": ["STRING", {}], "clip": ["CLIP"]}}, "output": ["CONDITIONING"]},
        "VAEDecode": {"input": {"required": {"samples": ["LATENT"], "vae": ["VAE"]}}, "output": ["IMAGE"]},
        "Average": {"input": {"required": {"to": ["CONDITIONING"], "from": ["CONDITIONING"]}},
                    "input_order": {"required": ["to", "from"]}, "output": ["CONDITIONING"]},
        "Pass": {"input": {"required": {"one": ["CONDITIONING"], "two": ["CONDITIONING"]}},
                 "output": ["CONDITIONING", "CONDITIONING"]},
        "Swap": {"input": {"required": {"mask": ["MASK"], "any": ["*"], "picture": ["IMAGE"]}},
                 "input_order": {"required": ["mask", "any", "picture"]}, "output": ["IMAGE"]},
        "Add": {"input": {"required": {"a": ["INT", {}], "b": ["INT", {}]}}, "output": ["INT"]},
        "LoadImage": {"input": {"required": {"image": [["x.png"], {"image_upload": true}]}}, "output": ["IMAGE", "MASK"]},
        "SaveImageWebsocket": {"input": {"required": {"images": ["IMAGE"]}}, "output": [], "output_node": true},
    });
    Definitions::parse(&classes.to_string()).unwrap()
}

fn starter() -> Workflow {
    let graph = json!({
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
        "20": {"class_type": "LoraLoader", "inputs": {"lora_name": "b.safetensors", "model": ["4", 0], "clip": ["4", 1]}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "x", "clip": ["20", 1]}, "_meta": {"title": "Positive"}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "y", "clip": ["20", 1]}, "_meta": {"title": "Negative"}},
        "3": {"class_type": "KSampler", "inputs": {
            "seed": 1, "steps": 20, "model": ["20", 0], "positive": ["6", 0], "negative": ["7", 0],
            "latent_image": ["5", 0]}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "57:9": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["8", 0]}},
    });
    Workflow::from_value(graph).unwrap()
}

fn value<'a>(workflow: &'a Workflow, node: &str, input: &str) -> &'a Value {
    &workflow.graph.node(node).unwrap().inputs[input]
}

fn told<T: std::fmt::Debug>(result: Result<T, PromptError>) -> (&'static str, String) {
    let error = result.unwrap_err();
    (error.code(), error.to_string())
}

#[test]
fn inputs_are_set_by_path_title_and_class() {
    let mut workflow = starter();
    workflow.set("6.inputs.text", "a").unwrap().set("7.text", "b").unwrap().input("3", "steps", 9).unwrap();
    assert_eq!((value(&workflow, "6", "text"), value(&workflow, "7", "text")), (&json!("a"), &json!("b")));
    assert_eq!(value(&workflow, "3", "steps"), &json!(9));
    workflow.set_by_title("Negative", "text", "c").unwrap().set_by_class("EmptyLatentImage", "width", 64).unwrap();
    assert_eq!((value(&workflow, "7", "text"), value(&workflow, "5", "width")), (&json!("c"), &json!(64)));
    assert_eq!(
        told(workflow.set_by_title("Negativ", "text", "x")),
        ("unknown_node", "the graph has no node with the title `Negativ`; did you mean `Negative`?".into())
    );
    assert_eq!(
        told(workflow.set_by_class("CLIPTextEncode", "text", "x")),
        ("ambiguous_node", "2 nodes have the class `CLIPTextEncode` (6, 7): name one of them by its id".into())
    );
}

#[test]
fn a_link_is_replaced_on_purpose_only_and_no_value_becomes_one() {
    let mut workflow = starter();
    let linked = "input `model` of node `3` (KSampler) comes from node `20` by a link: set the input where the value is \
                  written, or replace the link by `force`";
    assert_eq!(told(workflow.set("3.model", "x")), ("linked_input", linked.into()));
    for list in [json!(["4", 0]), json!([]), json!([4, 0])] {
        assert_eq!(told(workflow.set("6.text", list.clone())).0, "not_a_value", "{list}");
        assert_eq!(told(workflow.force("6.text", list)).0, "not_a_value");
    }
    assert_eq!(workflow, starter());
    workflow.force("3.model", "x").unwrap().connect("3.model", "4", 0).unwrap();
    assert_eq!(value(&workflow, "3", "model"), &json!(["4", 0]));
    assert_eq!(told(workflow.connect("3.model", "44", 0)).0, "unknown_node");
}

#[test]
fn several_inputs_are_set_all_or_none() {
    let mut workflow = starter();
    workflow.inputs("5", [("width", 64), ("height", 32)]).unwrap().input_of_each(&["6", "7"], "text", "z").unwrap();
    assert_eq!((value(&workflow, "5", "height"), value(&workflow, "7", "text")), (&json!(32), &json!("z")));
    let before = workflow.clone();
    assert_eq!(told(workflow.inputs("5", [("width", 1), ("heigth", 2)])).0, "unknown_input");
    assert_eq!(told(workflow.input_of_each(&["6", "66"], "text", "q")).0, "unknown_node");
    assert_eq!(told(workflow.set_all([("6.text", json!("q")), ("7.text", json!([]))])).0, "not_a_value");
    assert_eq!(workflow, before);
}

#[test]
fn an_input_that_only_the_server_knows_can_be_set_once_it_is_told() {
    let mut workflow = starter();
    let unknown = "node `3` (KSampler) has no input `cfg`; there are: seed, steps";
    assert_eq!(told(workflow.set("3.cfg", 7)), ("unknown_input", unknown.into()));
    let mut workflow = workflow.with_definitions(&classes());
    workflow.set("3.cfg", 7).unwrap();
    assert!(told(workflow.set("3.sampler", "x")).1.contains("sampler_name"));
}

#[test]
fn outputs_are_declared_in_three_ways_and_only_of_nodes_that_are_there() {
    let mut workflow = starter();
    workflow.output("57:9").unwrap().output("latents:3").unwrap().output(("pictures", "8")).unwrap();
    let built = workflow.clone().build().unwrap();
    assert_eq!(built.outputs.unwrap(), ["57:9", "3", "8"]);
    assert_eq!(built.aliases, [("3", "latents"), ("8", "pictures")].map(|(a, b)| (a.into(), b.into())).into());
    assert!(built.websocket_nodes.iter().eq(["57:9"]));
    for (name, code) in [("images:99", "unknown_node"), ("99", "unknown_node"), (":6", "bad_name")] {
        assert_eq!(told(workflow.output(name)).0, code, "{name}");
    }
    for (name, first) in [("again:8", "pictures"), ("pictures:6", "pictures"), ("57:9", "57:9")] {
        let (code, text) = told(workflow.output(name));
        assert!(code == "duplicate_output" && text.contains(&format!("so does `{first}`")), "{text}");
    }
    assert_eq!(starter().build().unwrap().outputs, None, "none declared means every output node");
}

#[test]
fn every_seed_of_minus_one_is_drawn_and_told() {
    let graph = json!({
        "1": {"class_type": "KSampler", "inputs": {"seed": -1, "noise_seed": -1.0, "steps": -1}},
        "2": {"class_type": "Other", "inputs": {"rand_seed": -1}},
        "3": {"class_type": "Other", "inputs": {"seed": 5, "noise_seed": "-1"}},
    });
    let mut draws = [u64::MAX, 2].into_iter();
    let mut workflow = Workflow::from_value(graph).unwrap().with_definitions(&classes());
    let seeds = workflow.draw_seeds(|| draws.next().unwrap()).clone();
    let first = u64::MAX % 100;
    assert_eq!(seeds, [("1".to_owned(), first), ("2".to_owned(), 2)].into(), "a KSampler takes seeds up to 99");
    assert_eq!(value(&workflow, "1", "seed"), &json!(first));
    assert_eq!(value(&workflow, "1", "noise_seed"), &json!(first), "one node, one choice");
    assert_eq!((value(&workflow, "1", "steps"), value(&workflow, "3", "seed")), (&json!(-1), &json!(5)));
    assert_eq!(value(&workflow, "3", "noise_seed"), &json!("-1"));
    assert_eq!(workflow.draw_seeds(|| 1), &seeds, "none is drawn twice");
    assert_eq!(workflow.build().unwrap().seeds, seeds);
}

#[test]
fn a_removed_node_takes_its_links_along() {
    let mut workflow = starter();
    let cut = workflow.remove("20").unwrap();
    let named: Vec<String> = cut.iter().map(ToString::to_string).collect();
    assert_eq!(named.join(" "), "3.model 6.clip 7.clip");
    assert!(workflow.graph.node("6").unwrap().inputs.get("clip").is_none());
    workflow.output("8").unwrap();
    let stays = "node `8` is declared as the output `8`, so it must stay";
    assert_eq!(told(workflow.remove("8")), ("declared_output", stays.into()));
    assert_eq!(told(workflow.bypass("8")), ("declared_output", stays.into()));
    assert_eq!(told(workflow.remove("20")).0, "unknown_node");
}

#[test]
fn a_bypassed_node_is_stepped_over_by_types_or_by_names() {
    for definitions in [Definitions::default(), classes()] {
        let mut workflow = starter().with_definitions(&definitions);
        workflow.bypass("20").unwrap();
        assert!(workflow.graph.node("20").is_none());
        assert_eq!(value(&workflow, "3", "model"), &json!(["4", 0]));
        assert_eq!(value(&workflow, "6", "clip"), &json!(["4", 1]));
        // Another name, the same type: latent_image, samples.
        workflow.bypass("3").unwrap();
        assert_eq!(value(&workflow, "8", "samples"), &json!(["5", 0]));
        let before = workflow.clone();
        let (code, text) = told(workflow.bypass("8"));
        assert_eq!(code, "not_bypassable");
        assert!(text.ends_with("so nothing would feed input `images` of node `57:9`"), "{text}");
        assert_eq!(workflow, before);
        workflow.bypass("57:9").unwrap();
        assert!(workflow.graph.node("57:9").is_none(), "what feeds nothing just goes");
    }
}

#[test]
fn the_input_at_the_place_of_the_output_goes_before_others_of_its_type() {
    let graph = |class: &str, inputs: [&str; 2], slot: usize| {
        let graph = json!({
            "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a"}},
            "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "b"}},
            "3": {"class_type": class, "inputs": {inputs[0]: ["1", 0], inputs[1]: ["2", 0]}},
            "4": {"class_type": "KSampler", "inputs": {"positive": ["3", slot]}},
        });
        Workflow::from_value(graph).unwrap()
    };
    for (slot, source) in [(0, "1"), (1, "2")] {
        let mut workflow = graph("Pass", ["one", "two"], slot).with_definitions(&classes());
        workflow.bypass("3").unwrap();
        assert_eq!(value(&workflow, "4", "positive"), &json!([source, 0]));
    }
    let mut workflow = graph("Average", ["from", "to"], 0);
    assert_eq!(told(workflow.bypass("3")).0, "not_bypassable", "no name tells which of both");
    let mut workflow = workflow.with_definitions(&classes());
    workflow.bypass("3").unwrap();
    assert_eq!(value(&workflow, "4", "positive"), &json!(["2", 0]), "`to` is the first input of the class");
}

#[test]
fn the_very_type_goes_before_one_that_takes_anything() {
    let graph = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
        "3": {"class_type": "Swap", "inputs": {"mask": ["1", 1], "any": ["1", 1], "picture": ["1", 0]}},
        "4": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["3", 0]}},
    });
    let mut workflow = Workflow::from_value(graph).unwrap().with_definitions(&classes());
    workflow.bypass("3").unwrap();
    assert_eq!(value(&workflow, "4", "images"), &json!(["1", 0]));
}

#[test]
fn a_written_number_goes_on_as_a_number() {
    let graph = json!({
        "1": {"class_type": "Add", "inputs": {"a": 30, "b": 2}},
        "2": {"class_type": "KSampler", "inputs": {"steps": ["1", 0]}},
        "3": {"class_type": "Add", "inputs": {"a": ["3", 0], "b": 1}},
        "4": {"class_type": "KSampler", "inputs": {"steps": ["3", 0]}},
    });
    let mut workflow = Workflow::from_value(graph).unwrap().with_definitions(&classes());
    workflow.bypass("1").unwrap();
    assert_eq!(value(&workflow, "2", "steps"), &json!(30));
    assert!(told(workflow.bypass("3")).1.contains("is fed by itself"));
}

#[test]
fn what_cannot_run_is_not_built() {
    let mut workflow = starter();
    workflow.connect("3.latent_image", "8", 0).unwrap();
    let text = "nodes feed each other in a circle, so that none could run first: 8 -> 3 -> 8";
    assert_eq!(told(workflow.build()), ("cycle", text.into()));
}

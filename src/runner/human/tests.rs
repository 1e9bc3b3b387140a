//! Names that people use, against a graph as people draw it.

use super::*;
use serde_json::json;

/// A graph as people draw it: two encoders, a guidance between, a count that comes from a node of its own, two sizes.
fn graph() -> Graph {
    Graph::from_value(json!({
        "4": { "class_type": "CheckpointLoaderSimple", "inputs": { "ckpt_name": "a.safetensors" } },
        "5": { "class_type": "EmptyLatentImage", "inputs": { "width": 512, "height": 512, "batch_size": ["20", 0] } },
        "6": { "class_type": "CLIPTextEncode", "inputs": { "text": "a hill", "clip": ["4", 1] },
               "_meta": { "title": "What it shows" } },
        "7": { "class_type": "CLIPTextEncode", "inputs": { "text": ["21", 0], "clip": ["4", 1] } },
        "8": { "class_type": "FluxGuidance", "inputs": { "guidance": 3.5, "conditioning": ["6", 0] } },
        "9": { "class_type": "ControlNetApplyAdvanced", "inputs": { "positive": ["8", 0], "negative": ["7", 0], "strength": 1.0 } },
        "3": { "class_type": "KSampler", "inputs": { "seed": 5, "steps": 20, "cfg": 8, "sampler_name": "euler",
               "scheduler": "normal", "denoise": 1.0, "model": ["4", 0], "positive": ["9", 0], "negative": ["9", 1],
               "latent_image": ["5", 0] }, "_meta": { "title": "The Sampler" } },
        "11": { "class_type": "ImageScale", "inputs": { "image": ["3", 0], "width": 1024, "height": 1024 } },
        "12": { "class_type": "SaveImage", "inputs": { "images": ["11", 0], "filename_prefix": "x" } },
        "20": { "class_type": "PrimitiveInt", "inputs": { "value": 2 } },
        "21": { "class_type": "PrimitiveString", "inputs": { "value": "blurry" }, "_meta": { "title": "Not This" } },
    }))
    .unwrap()
}

fn found(name: &str) -> Vec<String> {
    let places = find(&graph(), name).unwrap_or_else(|fault| panic!("{name}: {}", fault.message));
    places.into_iter().map(|place| format!("{}.{}", place.node, place.input)).collect()
}

fn fault(name: &str) -> (String, String) {
    let fault = find(&graph(), name).unwrap_err();
    (fault.code, fault.message)
}

#[test]
fn every_way_to_name_an_input_leads_to_it() {
    for (name, place) in [
        ("6.text", "6.text"),
        ("6.inputs.text", "6.text"),
        ("\"What it shows\".text", "6.text"),
        ("what it shows.text", "6.text"),
        ("KSampler.seed", "3.seed"),
        ("The Sampler.Steps", "3.steps"),
        ("Steps", "3.steps"),
        ("steps", "3.steps"),
        ("Seed", "3.seed"),
        ("NoiseSeed", "3.seed"),
        ("CFG", "3.cfg"),
        ("cfg_scale", "3.cfg"),
        ("Guidance", "8.guidance"),
        ("Sampler", "3.sampler_name"),
        ("SamplerName", "3.sampler_name"),
        ("Scheduler", "3.scheduler"),
        ("Checkpoint", "4.ckpt_name"),
        ("Model", "4.ckpt_name"),
        ("Prefix", "12.filename_prefix"),
        ("Strength", "3.denoise"),
        ("Not This", "21.value"),
    ] {
        assert_eq!(found(name), [place], "{name}");
    }
}

#[test]
fn the_prompts_are_the_texts_that_are_linked_to_the_sampler_through_whatever_lies_between() {
    for name in ["PositivePrompt", "positive_prompt", "Positive Prompt", "prompt", "Positive"] {
        assert_eq!(found(name), ["6.text"], "{name}");
    }
    for name in ["NegativePrompt", "negative prompt", "Negative"] {
        assert_eq!(found(name), ["21.value"], "the text comes by a link: {name}");
    }
}

#[test]
fn both_texts_of_one_encoder_are_one_prompt() {
    let graph = Graph::from_value(json!({
        "1": { "class_type": "CLIPTextEncodeFlux", "inputs": { "clip_l": "a", "t5xxl": "a", "guidance": 3.5 } },
        "2": { "class_type": "BasicGuider", "inputs": { "conditioning": ["1", 0] } },
        "3": { "class_type": "SamplerCustomAdvanced", "inputs": { "guider": ["2", 0] } },
    }));
    let places = find(&graph.unwrap(), "PositivePrompt").unwrap();
    let inputs: Vec<_> = places.iter().map(|place| (place.node.as_str(), place.input.as_str())).collect();
    assert_eq!(inputs, [("1", "clip_l"), ("1", "t5xxl")]);
}

#[test]
fn a_negative_side_that_is_made_of_the_positive_one_is_no_prompt_of_its_own() {
    let graph = Graph::from_value(json!({
        "1": { "class_type": "CLIPTextEncode", "inputs": { "text": "a" } },
        "2": { "class_type": "ConditioningAverage", "inputs": { "conditioning_to": ["1", 0] } },
        "3": { "class_type": "KSampler", "inputs": { "positive": ["1", 0], "negative": ["2", 0] } },
    }));
    assert_eq!(find(&graph.unwrap(), "NegativePrompt").unwrap_err().code, "unknown_param");
}

#[test]
fn a_value_that_comes_by_a_link_is_set_where_it_stands() {
    assert_eq!(found("Batch"), ["20.value"]);
    assert_eq!(found("5.batch_size"), ["20.value"]);
    assert_eq!(found("7.text"), ["21.value"]);
    let (code, message) = fault("11.image");
    assert_eq!(code, "linked_input");
    assert!(message.contains("comes from node `3` by a link"), "{message}");
}

#[test]
fn the_size_is_that_of_the_empty_latent() {
    assert_eq!((found("Width"), found("Height")), (vec!["5.width".to_owned()], vec!["5.height".to_owned()]));
    assert_eq!(found("11.width"), ["11.width"]);
}

#[test]
fn what_fits_nothing_or_several_is_told_with_what_there_is() {
    let (code, message) = fault("Stpes");
    assert_eq!((code.as_str(), message.contains("did you mean `steps`?")), ("unknown_param", true), "{message}");
    let (code, message) = fault("value");
    assert_eq!(code, "ambiguous_param");
    assert!(message.contains("20.value (PrimitiveInt)") && message.contains("21.value (Not This)"), "{message}");
    let (code, message) = fault("CLIPTextEncode.text");
    assert_eq!((code.as_str(), message.contains("fits 2 inputs")), ("ambiguous_param", true), "{message}");
    let (code, message) = fault("6.txt");
    assert_eq!((code.as_str(), message.contains("did you mean `text`?")), ("unknown_param", true), "{message}");
}

#[test]
fn seeds_are_found_where_they_stand() {
    let mut graph = graph();
    graph.set("3", "seed", json!(["20", 0])).unwrap();
    let (stands, is_fed) =
        (Place { node: "20".into(), input: "value".into() }, Place { node: "3".into(), input: "seed".into() });
    assert_eq!(seeds(&graph), BTreeMap::from([(stands, vec![is_fed])]));
}

#[test]
fn links_in_a_circle_end() {
    let graph = Graph::from_value(json!({
        "1": { "class_type": "A", "inputs": { "value": ["2", 0], "positive": ["2", 0], "conditioning": ["1", 0] } },
        "2": { "class_type": "B", "inputs": { "value": ["1", 0], "positive": ["1", 0], "conditioning": ["1", 0] } },
    }))
    .unwrap();
    assert!(find(&graph, "1.value").is_err());
    assert!(find(&graph, "PositivePrompt").is_err());
    assert!(find(&graph, &"x.".repeat(10_000)).is_err());
}

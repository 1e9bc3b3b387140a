//! What a person wants of a workflow, and which orders come of it.

//! How parameters become plans: names, frames, batches and what is refused.

use super::*;
use crate::workflow::{Files, shipped};
use serde_json::json;

#[expect(clippy::needless_pass_by_value, reason = "so that calls may build it in place")]
fn sampler(seed: serde_json::Value) -> Subject {
    let graph = json!({
        "1": { "class_type": "LoadImage", "inputs": { "image": "there.png" } },
        "3": { "class_type": "KSampler", "inputs": { "seed": seed, "steps": 20, "cfg": 8, "latent_image": ["1", 0] } },
        "4": { "class_type": "KSampler", "inputs": { "seed": 9, "steps": 20, "cfg": 8, "latent_image": ["3", 0] } },
        "9": { "class_type": "SaveImage", "inputs": { "images": ["4", 0], "filename_prefix": "x" } },
    });
    Subject::Graph { name: "two".into(), graph: Graph::from_value(graph).unwrap() }
}

fn starter() -> Subject {
    let shipped = shipped::PAIRS.iter().find(|pair| pair.name == "starter").unwrap();
    let pair = Pair::parse("starter", shipped.config, shipped.template, &Files::of("starter")).unwrap();
    Subject::Pair(Arc::new(pair))
}

fn wishes(params: &[(&str, &str)]) -> Wishes {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), Given::Word((*value).to_owned())));
    Wishes { params: params.collect(), ..Wishes::default() }
}

fn plan(subject: Subject, wishes: Wishes) -> Result<Plan, ValidationError> {
    let mut next = 1000;
    Plan::new(subject, wishes, Definitions::default(), move || {
        next += 1;
        next
    })
}

fn nothing(_: &str) -> Found {
    Found::NoPath
}

fn seeds(plan: &Plan) -> Vec<Vec<u64>> {
    let orders = (0..plan.count()).map(|place| plan.order(place, &nothing).unwrap());
    orders.map(|order| order.seeds.into_values().collect()).collect()
}

#[test]
fn seeds_that_stand_there_stay_and_one_of_minus_one_is_drawn() {
    let plan_of = |seed| plan(sampler(seed), wishes(&[])).unwrap();
    assert_eq!(seeds(&plan_of(json!(5))), [[5, 9]]);
    let drawn = seeds(&plan_of(json!(-1)));
    assert!(drawn[0][0] != 9 && drawn[0][0] < 1 << 53 && drawn[0][1] == 9, "{drawn:?}");
    assert_eq!(seeds(&plan_of(json!(-1))), drawn, "chance is given");
}

#[test]
fn of_several_seeds_only_those_that_were_given_go_up() {
    let mut wishes = wishes(&[("3.seed", "7")]);
    wishes.repeats = Some(3);
    assert_eq!(seeds(&plan(sampler(json!(5)), wishes).unwrap()), [[7, 9], [8, 9], [9, 9]]);
    let several = plan(sampler(json!(5)), self::wishes(&[("Seed", "1")])).map(drop).unwrap_err();
    assert_eq!(several.faults[0].code, "ambiguous_param");
}

#[test]
fn where_none_is_given_all_are_drawn_for_each_run_and_are_the_same_for_its_frames() {
    let mut wishes = wishes(&[("9.filename_prefix", "x_{frame}")]);
    wishes.repeats = Some(2);
    wishes.frames = Some("1-2".parse().unwrap());
    for subject in [sampler(json!(5)), starter()] {
        let is_pair = matches!(subject, Subject::Pair(_));
        if is_pair {
            wishes.params = self::wishes(&[("prompt", "{frame}")]).params;
        }
        let plan = plan(subject, wishes.clone()).unwrap();
        let seeds = seeds(&plan);
        assert_eq!((seeds.len(), &seeds[0], &seeds[1]), (4, &seeds[2], &seeds[3]));
        assert_ne!(seeds[0], seeds[1]);
        let names: Vec<String> = (0..4).map(|place| plan.order(place, &nothing).unwrap().name).collect();
        let workflow = if is_pair { "starter" } else { "two" };
        let expected = ["0001-0001", "0001-0002", "0002-0001", "0002-0002"].map(|it| format!("{workflow}-{it}"));
        assert_eq!(names, expected);
    }
}

#[test]
fn a_seed_of_a_graph_is_drawn_within_the_bounds_of_all_inputs_that_get_it() {
    let graph = json!({
        "1": { "class_type": "PrimitiveInt", "inputs": { "value": -1 } },
        "2": { "class_type": "Small", "inputs": { "seed": ["1", 0] } },
        "3": { "class_type": "Smaller", "inputs": { "noise_seed": ["1", 0] } },
        "4": { "class_type": "High", "inputs": { "seed": -1 } },
    });
    let class = |input: &str, min: u64, max: u64| json!({ "output": [], "input": { "required": { input: ["INT", { "min": min, "max": max }] } } });
    let told = json!({
        "Small": class("seed", 0, u32::MAX.into()),
        "Smaller": class("noise_seed", 3, 9),
        "High": class("seed", 100, 101),
    });
    let subject = Subject::Graph { name: "small".into(), graph: Graph::from_value(graph).unwrap() };
    let wishes = Wishes { repeats: Some(50), ..Wishes::default() };
    let definitions = Definitions::parse(&told.to_string()).unwrap();
    let mut next = 0u64;
    let draw = move || {
        next = next.wrapping_add(0x9E37_79B9_7F4A_7C15);
        next
    };
    let seeds = seeds(&Plan::new(subject, wishes, definitions, draw).unwrap());
    assert!(seeds.iter().all(|seeds| (3..=9).contains(&seeds[0]) && (100..=101).contains(&seeds[1])), "{seeds:?}");
    let different: BTreeSet<u64> = seeds.iter().map(|seeds| seeds[0]).collect();
    assert!(different.len() >= 5, "{different:?}");
}

#[test]
fn a_picture_that_is_a_file_for_one_frame_is_one_for_all() {
    let mut wishes = wishes(&[("Image", "shot_####.png")]);
    wishes.frames = Some("1-3".parse().unwrap());
    for missing in ["shot_0001.png", "shot_0002.png", "shot_0003.png"] {
        let find = |text: &str| if text == missing { Found::NoPath } else { Found::File(text.into()) };
        let mut plan = plan(sampler(json!(5)), wishes.clone()).unwrap();
        let tried = (0..3).try_for_each(|place| plan.try_order(place, &find).map(drop));
        let error = tried.unwrap_err();
        assert_eq!(error.faults[0].code, "no_such_file");
        assert!(error.to_string().contains(missing), "{error}");
    }
    let mut plan = plan(sampler(json!(5)), wishes).unwrap();
    (0..3).for_each(|place| drop(plan.try_order(place, &nothing).unwrap()));
}

#[test]
fn a_seed_of_a_mapping_that_is_drawn_is_settled_in_the_order() {
    let order = plan(starter(), wishes(&[("Seed", "-1"), ("Steps", "3")])).unwrap().order(0, &nothing).unwrap();
    let seed = order.seeds["seed"];
    assert_eq!(order.params["seed"], json!(seed));
    let graph = order.graph().unwrap();
    let inputs = &graph.node("3").unwrap().inputs;
    assert_eq!((&inputs["seed"], &inputs["steps"]), (&json!(seed), &json!(3)));
}

#[test]
fn a_picture_of_this_machine_is_sent_along_and_a_missing_one_is_a_fault() {
    let find = |text: &str| match text {
        "here.png" => Found::File("/pictures/here.png".into()),
        "./gone.png" => Found::Missing,
        _ => Found::NoPath,
    };
    let order = |value: &str| plan(sampler(json!(5)), wishes(&[("Image", value)])).unwrap().order(0, &find);
    let sent = order("here.png").unwrap();
    assert_eq!(sent.images.values().collect::<Vec<_>>(), [&PathBuf::from("/pictures/here.png")]);
    assert_eq!(sent.graph().unwrap().node("1").unwrap().inputs["image"], "here.png");
    let there = order("other.png").unwrap();
    assert!(there.images.is_empty());
    assert_eq!(there.graph().unwrap().node("1").unwrap().inputs["image"], "other.png");
    assert_eq!(order("./gone.png").unwrap_err().faults[0].code, "no_such_file");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut wishes = wishes(&[("Stpes", "1"), ("3.nothing", "1")]);
    wishes.outputs = vec![(None, "99".into()), (Some("a".into()), "9".into()), (None, "9".into())];
    wishes.frames = Some("1-2".parse().unwrap());
    let error = plan(sampler(json!(5)), wishes).map(drop).unwrap_err();
    let codes: Vec<&str> = error.faults.iter().map(|fault| fault.code.as_str()).collect();
    assert_eq!(codes, ["unknown_param", "unknown_param", "frame_unused", "unknown_node", "duplicate_output"]);
    let mut too_many = self::wishes(&[("9.filename_prefix", "####")]);
    (too_many.frames, too_many.repeats) = (Some("1-100000".parse().unwrap()), Some(2));
    let error = plan(sampler(json!(5)), too_many).map(drop).unwrap_err();
    assert_eq!(error.faults[0].code, "out_of_range");
}

#[test]
fn the_last_of_two_values_counts_whatever_they_are_called() {
    let order = plan(starter(), wishes(&[("Steps", "3"), ("steps", "4")])).unwrap().order(0, &nothing).unwrap();
    assert_eq!(order.params["steps"], json!(4));
    let graph = plan(sampler(json!(5)), wishes(&[("3.steps", "3"), ("3.inputs.steps", "4")])).unwrap();
    let graph = graph.order(0, &nothing).unwrap().graph().unwrap();
    assert_eq!(graph.node("3").unwrap().inputs["steps"], json!(4));
}

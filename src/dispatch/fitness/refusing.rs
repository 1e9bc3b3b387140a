//! What a refusal says of all graphs of a structure, and what only of the values of one job.

use crate::comfy::{NodeProblem, Refusal};
use crate::graph::{Graph, is_model};

/// Says whether the backend would refuse every graph of this structure: it lacks node classes or models, and nothing else.
pub(super) fn is_of_structure(refusal: &Refusal, graph: &Graph) -> bool {
    let names_a_model = |problem: &NodeProblem| {
        let input = problem.input.as_deref()?;
        let value = graph.node(&problem.node)?.inputs.get(input)?.as_str()?;
        Some(is_model(input, value))
    };
    let is_of_all = |problem: &NodeProblem| match problem.kind.as_str() {
        "value_not_in_list" => names_a_model(problem).unwrap_or(false),
        _ => true,
    };
    refusal.may_pass_elsewhere() && refusal.problems.iter().all(is_of_all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(kind: &str, input: Option<&str>) -> Refusal {
        let problem = NodeProblem {
            node: "1".into(),
            class: "Loader".into(),
            kind: kind.into(),
            message: "m".into(),
            input: input.map(str::to_owned),
        };
        Refusal { problems: vec![problem], ..Refusal::new("prompt_outputs_failed_validation", "m") }
    }

    #[test]
    fn a_missing_class_or_model_is_of_the_structure_and_a_missing_sampler_or_image_of_the_job() {
        let graph = json!({"1": {"class_type": "Loader", "inputs":
            {"ckpt_name": "a.safetensors", "sampler_name": "euler", "image": "a.png", "n": 1}}});
        let graph = Graph::from_value(graph).unwrap();
        for (kind, input, expected) in [
            ("missing_node_type", None, true),
            ("invalid_prompt", None, true),
            ("value_not_in_list", Some("ckpt_name"), true),
            ("value_not_in_list", Some("sampler_name"), false),
            ("value_not_in_list", Some("image"), false),
            ("value_not_in_list", Some("n"), false),
            ("value_not_in_list", Some("nowhere"), false),
            ("value_not_in_list", None, false),
            ("value_smaller_than_min", Some("n"), false),
        ] {
            assert_eq!(is_of_structure(&refusal(kind, input), &graph), expected, "{kind} {input:?}");
        }
        let mut both = refusal("missing_node_type", None);
        both.problems.extend(refusal("value_not_in_list", Some("sampler_name")).problems);
        assert!(!is_of_structure(&both, &graph), "the sampler may be another one the next time");
    }
}

//! The structure of a job's graph, by which jobs are told that need the same of a backend. Hardly ever is a graph built for it:
//! only where a parameter names a model.

use super::build::{BuildError, build};
use super::pair::Pair;
use crate::graph::is_model;
use crate::job::{ParamValue, Params, StructureHash};

/// Returns the structure of the graph that `build` makes of these parameters.
pub fn structure(workflow: &Pair, params: &Params) -> Result<StructureHash, BuildError> {
    if params.iter().any(|(name, value)| changes_a_model(workflow, name, value)) {
        return Ok(StructureHash(build(workflow, params)?.graph.structure_hash()));
    }
    Ok(workflow.structure().clone())
}

fn changes_a_model(workflow: &Pair, name: &str, value: &ParamValue) -> bool {
    let targets = workflow.parameter(name).into_iter().flat_map(|parameter| &parameter.targets);
    targets.into_iter().any(|target| {
        let node = workflow.template().node(&target.node);
        let before = node.and_then(|node| node.inputs.get(&target.input)).and_then(serde_json::Value::as_str);
        let after = match value {
            ParamValue::Text(text) => Some(text.as_str()),
            ParamValue::Boolean(_) | ParamValue::Integer(_) | ParamValue::Number(_) => None,
        };
        before != after && [before, after].into_iter().flatten().any(|text| is_model(&target.input, text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Files;

    const TEMPLATE: &str = r#"{"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "b.safetensors"}}}"#;

    #[test]
    fn a_parameter_that_names_a_model_changes_the_structure_and_no_other_does() {
        let config =
            "node_mappings:\n  model: {node_id: '1', property: ckpt_name}\n  prompt: {node_id: '2', property: text}\n";
        let pair = Pair::parse("x", config, TEMPLATE, &Files::of("x")).unwrap();
        let of = |name: &str, text: &str| {
            let params = Params::from([(name.to_owned(), ParamValue::Text(text.to_owned()))]);
            let built = build(&pair, &params).unwrap().graph.structure_hash();
            let structure = structure(&pair, &params).unwrap();
            assert_eq!(structure.as_str(), built, "{name} {text}");
            structure
        };
        let usual = structure(&pair, &Params::new()).unwrap();
        assert_eq!(of("prompt", "a cat"), usual);
        assert_eq!(of("model", "a.safetensors"), usual);
        assert_ne!(of("model", "b.safetensors"), usual);
    }
}

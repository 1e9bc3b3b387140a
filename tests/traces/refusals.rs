//! What the server said to graphs that it refused, or took only in part.

use crate::recording::{trace, traces};
use comfygate::comfy::wire;
use comfygate::comfy::{NodeProblem, Refusal};
use comfygate::job::FailureCode;

/// ComfyUI's word for most of what can be wrong.
const FAILED: &str = "prompt_outputs_failed_validation";

/// What each refused graph of recording 20 becomes: ComfyUI's word, whether another backend may take it, what callers read.
const REFUSALS: &[(&str, bool, &str)] = &[
    (FAILED, false, "node `2` (SaveImage), input `images`: Required input is missing"),
    (FAILED, false, "node `1` (EmptyImage), input `width`: Value 0 smaller than min of 1 (and 1 more)"),
    (
        FAILED,
        true,
        "node `2` (ImageScale), input `upscale_method`: Value not in list: \
     upscale_method: 'nope' not in ['nearest-exact', 'bilinear', 'area', 'bicubic', 'lanczos']",
    ),
    (
        FAILED,
        false,
        "node `2` (PreviewImage), input `images`: Return type mismatch between linked \
     nodes: images, received_type(STRING) mismatch input_type(IMAGE)",
    ),
    (
        FAILED,
        false,
        "node `2` (PreviewImage), input `images`: Bad linked input, must be a length-2 \
     list of [node_id, slot_index]",
    ),
    (FAILED, false, "node `2` (PreviewImage): Exception when validating node: '99'"),
    (FAILED, false, "node `3` (ImageInvert), input `images`: Exception when validating inner node: '99'"),
    (
        "invalid_prompt",
        true,
        "node `1` (CheckpointLoaderNope): Cannot execute because node \
     CheckpointLoaderNope does not exist.",
    ),
    ("invalid_prompt", false, "node `1`: Cannot execute because a node is missing the class_type property."),
    (FAILED, false, "node `1` (PreviewImage): Exception when validating node: 'inputs'"),
    ("prompt_no_outputs", false, "Prompt has no outputs"),
    ("prompt_no_outputs", false, "Prompt has no outputs"),
    (FAILED, false, "Prompt outputs failed validation"),
    (
        FAILED,
        false,
        "node `2` (ProbeValidate), input `name`: Custom validation failed for node: name \
     - name must be ok, not zz",
    ),
    (
        FAILED,
        false,
        "node `2` (ProbeValidate), input `images`: Exception when validating inner node: \
     validator exploded",
    ),
    (
        FAILED,
        true,
        "node `1` (CheckpointLoaderSimple), input `ckpt_name`: Value not in list: \
     ckpt_name: 'sd15.safetensors' not in []",
    ),
    ("no_prompt", false, "No prompt provided"),
];

#[test]
fn a_refused_graph_says_what_to_mend() {
    let told: Vec<(String, bool, String)> = trace("20-validation-errors")
        .statuses("POST", "/prompt")
        .map(|(status, body)| {
            let refusal = Refusal::from_answer(status, body);
            let failure = refusal.to_failure();
            assert_eq!(failure.code, FailureCode::Validation);
            let message = failure.message.strip_prefix("ComfyUI refused the graph: ").unwrap();
            (refusal.kind.clone(), refusal.may_pass_elsewhere(), message.to_owned())
        })
        .collect();
    let told: Vec<(&str, bool, &str)> =
        told.iter().map(|(kind, elsewhere, message)| (kind.as_str(), *elsewhere, message.as_str())).collect();
    assert_eq!(told, REFUSALS);
}

#[test]
fn a_body_that_is_no_graph_is_refused_or_breaks_the_server() {
    let kinds = |status: u16, body: &str| format!("{status} {}", Refusal::from_answer(status, body).kind);
    let told: Vec<String> =
        trace("21-malformed-bodies").statuses("POST", "/prompt").map(|(status, body)| kinds(status, body)).collect();
    let count = |kind: &str| told.iter().filter(|told| *told == kind).count();
    assert_eq!(
        (count("500 http_500"), count("400 no_prompt"), count("400 prompt_no_outputs"), told.len()),
        (8, 1, 3, 12)
    );
}

#[test]
fn a_prompt_taken_in_part_warns_of_what_is_missing() {
    let answer = wire::accepted(trace("22-partially-valid").answers("POST", "/prompt").next().unwrap()).unwrap();
    assert_eq!(answer.prompt_id, "83ffb277-ba90-4ab0-a5b8-70cb0057c83f");
    assert_eq!(
        answer.node_errors.iter().map(NodeProblem::sentence).collect::<Vec<_>>(),
        ["node `3` (ImageScale), input `upscale_method`: Value not in list: upscale_method: 'nope' not in \
         ['nearest-exact', 'bilinear', 'area', 'bicubic', 'lanczos']"]
    );
    let warning = answer.to_warning().unwrap();
    assert_eq!(warning.code, FailureCode::Validation);
    assert_eq!(warning.node.unwrap().id, "3");
}

#[test]
fn every_other_prompt_was_taken_whole() {
    let mut taken = 0;
    for trace in traces().iter().filter(|trace| trace.name != "22-partially-valid") {
        for (_, body) in trace.statuses("POST", "/prompt").filter(|(status, _)| *status == 200) {
            let accepted = wire::accepted(body).unwrap_or_else(|| panic!("{}: {body}", trace.name));
            assert_eq!(accepted.to_warning(), None, "{}: {body}", trace.name);
            taken += 1;
        }
    }
    assert_eq!(taken, 145);
}

//! Why ComfyUI refused a graph, or a part of one: typed, without tracebacks and paths, and as a job's failure.

use super::decode::id;
use super::redact;
use crate::job::{FailedNode, Failure, FailureCode};
use crate::lenient;
use serde_json::Value;

/// How the failure of a refused graph begins.
const REFUSED: &str = "ComfyUI refused the graph";

/// The answer 400 to `POST /prompt`: nothing was queued.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// ComfyUI's word for it, such as `prompt_outputs_failed_validation`.
    pub kind: String,
    /// What it said, in one line.
    pub message: String,
    /// What is wrong with which node; may be empty.
    pub problems: Vec<NodeProblem>,
}

/// One thing that is wrong with one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeProblem {
    /// The node's id.
    pub node: String,
    /// Its `class_type`; empty where ComfyUI did not say.
    pub class: String,
    /// ComfyUI's word for it, such as `value_not_in_list`.
    pub kind: String,
    /// What is wrong, with the value, in one line.
    pub message: String,
    /// The input at fault.
    pub input: Option<String>,
}

impl Refusal {
    /// Makes a refusal that names no node.
    pub fn new(kind: impl Into<String>, message: &str) -> Self {
        Self { kind: kind.into(), message: redact(message), problems: Vec::new() }
    }

    /// Reads the body of an answer that refuses with this HTTP status.
    pub fn from_answer(status: u16, body: &str) -> Self {
        let body = lenient::parse(body).unwrap_or_default();
        let Some(error) = body.get("error").filter(|error| error.is_object()) else {
            return Self::new(format!("http_{status}"), &format!("ComfyUI answered {status} without a reason"));
        };
        let field = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut refusal = Self::new(field("type"), &with_detail(field("message"), field("details")));
        refusal.problems = problems(body.get("node_errors"));
        if refusal.problems.is_empty() {
            refusal.problems.extend(problem_without_list(error, &refusal));
        }
        refusal
    }

    /// Says whether only this backend may lack what the graph needs, so that another one may accept it: a class or a
    /// model file that is not installed there.
    pub fn may_pass_elsewhere(&self) -> bool {
        let is_missing_here = |problem: &NodeProblem| match problem.kind.as_str() {
            "value_not_in_list" | "missing_node_type" => true,
            "invalid_prompt" => !problem.class.is_empty(),
            _ => false,
        };
        !self.problems.is_empty() && self.problems.iter().all(is_missing_here)
    }

    /// Returns the failure of a job that was refused so; it names the first node at fault.
    pub fn to_failure(&self) -> Failure {
        failure(REFUSED, &self.problems)
            .unwrap_or_else(|| Failure::new(FailureCode::Validation, redact(&format!("{REFUSED}: {}", self.message))))
    }
}

impl NodeProblem {
    /// Says in one line which node and input are at fault and why.
    pub fn sentence(&self) -> String {
        let class = if self.class.is_empty() { String::new() } else { format!(" ({})", self.class) };
        let input = self.input.as_ref().map(|input| format!(", input `{input}`")).unwrap_or_default();
        format!("node `{}`{class}{input}: {}", self.node, self.message)
    }
}

/// Returns the failure that begins with `lead` and names the first node at fault; none without problems.
pub(super) fn failure(lead: &str, problems: &[NodeProblem]) -> Option<Failure> {
    let first = problems.first()?;
    let others = match problems.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let node = FailedNode { id: first.node.clone(), class: first.class.clone(), message: first.message.clone() };
    Some(Failure {
        code: FailureCode::Validation,
        message: redact(&format!("{lead}: {}{others}", first.sentence())),
        node: Some(node),
    })
}

/// Reads `node_errors`, of a refusal or of a prompt that was accepted in part (T13).
pub(super) fn problems(node_errors: Option<&Value>) -> Vec<NodeProblem> {
    let mut problems = Vec::new();
    for (node, entry) in node_errors.and_then(Value::as_object).into_iter().flatten() {
        let class = entry.get("class_type").and_then(Value::as_str).unwrap_or_default();
        let errors = entry.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        problems.extend(errors.iter().map(|error| problem(node, class, error)));
        if errors.is_empty() {
            let message = "ComfyUI did not say what is wrong".to_owned();
            problems.push(NodeProblem {
                node: node.clone(),
                class: class.into(),
                kind: "unknown".into(),
                message,
                input: None,
            });
        }
    }
    problems
}

fn problem(node: &str, class: &str, error: &Value) -> NodeProblem {
    let field = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let extra = |name: &str| error.get("extra_info").and_then(|extra| extra.get(name));
    let kind = field("type");
    // The details of a missing input are only its name; where an exception names no input they are only its text.
    let input = extra("input_name").and_then(Value::as_str).map(str::to_owned);
    let details = if input.as_deref() == Some(field("details")) { "" } else { field("details") };
    let mut message = with_detail(field("message"), details);
    if let Some(value) = extra("received_value").and_then(scalar).filter(|value| !message.contains(value.as_str())) {
        message = format!("{message} (received {value})");
    }
    NodeProblem { node: node.into(), class: class.into(), kind: kind.into(), message: redact(&message), input }
}

/// A missing class is told in `error` alone: the node in `details`, the class in the message, later versions in `extra_info`.
fn problem_without_list(error: &Value, refusal: &Refusal) -> Option<NodeProblem> {
    let field = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let extra = |name: &str| error.get("extra_info").and_then(|extra| extra.get(name)).and_then(id);
    let node_in_details = || field("details").strip_prefix("Node ID '#").and_then(|rest| rest.strip_suffix('\''));
    let node = extra("node_id").or_else(|| node_in_details().map(str::to_owned))?;
    let class_in_message = || {
        let rest = field("message").strip_prefix("Cannot execute because node ")?;
        rest.strip_suffix(" does not exist.")
    };
    let class = extra("class_type").or_else(|| class_in_message().map(str::to_owned)).unwrap_or_default();
    Some(NodeProblem { node, class, kind: refusal.kind.clone(), message: redact(field("message")), input: None })
}

fn with_detail(message: &str, details: &str) -> String {
    if details.is_empty() || details == message { message.to_owned() } else { format!("{message}: {details}") }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refusal_names_node_class_input_and_value() {
        let body = json!({"error": {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation",
            "details": "", "extra_info": {}}, "node_errors": {"1": {"class_type": "EmptyImage", "errors": [
            {"type": "value_smaller_than_min", "message": "Value 0 smaller than min of 1", "details": "width",
             "extra_info": {"input_name": "width", "received_value": 0}},
            {"type": "invalid_input_type", "message": "Failed to convert an input value to a INT value",
             "details": "height, abc", "extra_info": {"input_name": "height", "received_value": "abc"}}]}}});
        let refusal = Refusal::from_answer(400, &body.to_string());
        let failure = refusal.to_failure();
        assert_eq!(failure.code, FailureCode::Validation);
        assert_eq!(
            failure.message,
            "ComfyUI refused the graph: node `1` (EmptyImage), input `width`: Value 0 smaller than min of 1 (and 1 more)"
        );
        assert_eq!(refusal.problems[1].message, "Failed to convert an input value to a INT value: height, abc");
        assert_eq!(refusal.problems[1].input.as_deref(), Some("height"));
        assert_eq!(failure.node.unwrap().class, "EmptyImage");
        assert!(!refusal.may_pass_elsewhere());
    }

    #[test]
    fn a_missing_class_names_its_node_and_may_pass_elsewhere() {
        let body = json!({"error": {"type": "invalid_prompt", "details": "Node ID '#7'", "extra_info": {},
            "message": "Cannot execute because node Nope does not exist."}, "node_errors": {}});
        let refusal = Refusal::from_answer(400, &body.to_string());
        assert_eq!((refusal.problems[0].node.as_str(), refusal.problems[0].class.as_str()), ("7", "Nope"));
        assert!(refusal.may_pass_elsewhere());
        let expected = "ComfyUI refused the graph: node `7` (Nope): Cannot execute because node Nope does not exist.";
        assert_eq!(refusal.to_failure().message, expected);
    }

    #[test]
    fn a_missing_model_may_pass_elsewhere() {
        let error = json!({"type": "value_not_in_list", "message": "Value not in list",
            "details": "ckpt_name: 'a.safetensors' not in (list of length 90)",
            "extra_info": {"input_name": "ckpt_name", "input_config": null, "received_value": "a.safetensors"}});
        let body = json!({"error": {"type": "prompt_outputs_failed_validation", "message": "m"},
            "node_errors": {"4": {"class_type": "Loader", "errors": [error]}}});
        assert!(Refusal::from_answer(400, &body.to_string()).may_pass_elsewhere());
    }

    #[test]
    fn tracebacks_and_paths_stay_inside() {
        let error = json!({"type": "exception_during_validation", "message": "Exception when validating node",
            "details": "no '/srv/private/x.png'", "extra_info": {"traceback": ["File \"/srv/private/execution.py\""]}});
        let body = json!({"error": {"type": "t", "message": "m", "details": "in /srv/private/y.png"},
            "node_errors": {"4": {"class_type": "Loader", "errors": [error]}}});
        let refusal = Refusal::from_answer(400, &body.to_string());
        assert!(!format!("{refusal:?}").contains("private"), "{refusal:?}");
        assert_eq!(refusal.problems[0].message, "Exception when validating node: no 'x.png'");
    }

    #[test]
    fn a_refusal_without_a_readable_reason_still_is_one() {
        for body in ["", "<html>", "[]", r#"{"error":"text"}"#, r#"{"error":null,"node_errors":[]}"#] {
            assert_eq!(Refusal::from_answer(400, body).kind, "http_400");
        }
        let cycle = r#"{"error":{"type":"t","message":"m","details":""},"node_errors":{}}"#;
        assert_eq!(Refusal::from_answer(400, cycle).to_failure().message, "ComfyUI refused the graph: m");
    }
}

//! What can go wrong with a run, in the library's own words: each kind is a type with a stable `code()`, and [`RunError`] is
//! any of them.

use crate::check::{Problem, Severity};
use crate::job::{FailedNode, Failure, FailureCode};
use crate::workflow;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;
use thiserror::Error;

/// The code of a value of another type; a template alone may tell another type than the server's nodes do.
const INVALID_TYPE: &str = "invalid_type";

/// One thing that is wrong with a workflow or with what was given for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The stable word for it, such as `unknown_param` or `required_input_missing`.
    pub code: String,
    /// What it is about: a parameter, a file, or `node.input`.
    pub subject: String,
    /// One line that names the thing, the value and how to mend it.
    pub message: String,
    /// Whether it is perhaps none where the server's nodes are known.
    pub waits: bool,
}

/// The workflow, or what was given for it, is wrong; nothing was sent. Has at least one fault.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub struct ValidationError {
    /// Everything that is wrong.
    pub faults: Vec<Fault>,
}

/// The server would refuse the graph of a run; nothing was sent. Has at least one error.
#[derive(Clone, PartialEq, Debug)]
pub struct UnfitError {
    /// What was checked: the run's name.
    pub workflow: String,
    /// Whose nodes it was held against.
    pub origin: String,
    /// Everything that is wrong, and everything that is strange.
    pub problems: Vec<Problem>,
}

/// There is no ComfyUI that takes prompts.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{address} is not ready: {reason}")]
pub struct ServerNotReady {
    /// Where it was looked for.
    pub address: String,
    /// What is wrong there, and how to mend it.
    pub reason: String,
}

/// The run was not taken in: the server refused the graph, or nothing could be stored for it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("not taken: {message}")]
pub struct SubmissionError {
    /// What was said.
    pub message: String,
    /// The node at fault, where one is known.
    pub node: Option<FailedNode>,
}

/// The way to the server broke, and what became of the run is not known.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{message}")]
pub struct ConnectorError {
    /// What broke.
    pub message: String,
}

/// The run began and did not end well.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{message}")]
pub struct ExecutionError {
    /// What kind of failure it is.
    pub failure: FailureCode,
    /// One line: what happened.
    pub message: String,
    /// The node at fault, where one is known.
    pub node: Option<FailedNode>,
}

/// The outputs could not be written.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("`{}` cannot be written: {reason}", path.display())]
pub struct OutputError {
    /// The file or folder.
    pub path: PathBuf,
    /// What the system says.
    pub reason: String,
}

/// Why a run did not succeed.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum RunError {
    /// The workflow, or what was given for it, is wrong.
    #[error(transparent)]
    Validation(#[from] ValidationError),
    /// The server would refuse the graph.
    #[error(transparent)]
    Unfit(#[from] UnfitError),
    /// There is no server that takes prompts.
    #[error(transparent)]
    NotReady(#[from] ServerNotReady),
    /// It was not taken in.
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    /// The way to the server broke.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// It began and did not end well.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    /// Its outputs could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// It was cancelled on purpose.
    #[error("the run was cancelled")]
    Cancelled,
}

impl Fault {
    /// Makes a fault.
    pub fn new(code: impl Into<String>, subject: impl Into<String>, message: impl Into<String>) -> Self {
        let code = code.into();
        Self { waits: code == INVALID_TYPE, code, subject: subject.into(), message: message.into() }
    }
}

impl ValidationError {
    /// Makes an error of one fault.
    pub fn one(code: impl Into<String>, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { faults: vec![Fault::new(code, subject, message)] }
    }

    /// Makes an error of what is wrong with a workflow's files.
    pub(super) fn of_problems(name: &str, problems: &[workflow::Problem]) -> Self {
        let fault = |problem: &workflow::Problem| {
            let waits = problem.waits.is_some();
            Fault { waits, ..Fault::new("invalid_workflow", name, problem.to_string()) }
        };
        Self { faults: problems.iter().map(fault).collect() }
    }

    /// Returns `validation`.
    pub fn code(&self) -> &'static str {
        "validation"
    }
}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: Vec<&str> = self.faults.iter().map(|fault| fault.message.as_str()).collect();
        f.write_str(&messages.join("; "))
    }
}

impl UnfitError {
    /// Returns `validation`.
    pub fn code(&self) -> &'static str {
        "validation"
    }

    fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error)
    }
}

impl fmt::Display for UnfitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: Vec<String> = self.errors().map(ToString::to_string).collect();
        f.write_str(&messages.join("; "))
    }
}

impl std::error::Error for UnfitError {}

impl ServerNotReady {
    /// Returns `server_not_ready`.
    pub fn code(&self) -> &'static str {
        "server_not_ready"
    }
}

impl SubmissionError {
    /// Returns `submission`.
    pub fn code(&self) -> &'static str {
        "submission"
    }
}

impl ConnectorError {
    /// Returns `connector`.
    pub fn code(&self) -> &'static str {
        "connector"
    }
}

impl ExecutionError {
    /// Returns the failure's own code, such as `node_error` or `timeout_run`.
    pub fn code(&self) -> &'static str {
        self.failure.as_str()
    }
}

impl OutputError {
    /// Returns `output`.
    pub fn code(&self) -> &'static str {
        "output"
    }
}

impl RunError {
    /// Returns the stable word for it, which programs may rely on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Validation(error) => error.code(),
            Self::Unfit(error) => error.code(),
            Self::NotReady(error) => error.code(),
            Self::Submission(error) => error.code(),
            Self::Connector(error) => error.code(),
            Self::Execution(error) => error.code(),
            Self::Output(error) => error.code(),
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the node at fault, where one is known.
    pub fn node(&self) -> Option<&FailedNode> {
        match self {
            Self::Submission(error) => error.node.as_ref(),
            Self::Execution(error) => error.node.as_ref(),
            Self::Validation(_)
            | Self::Unfit(_)
            | Self::NotReady(_)
            | Self::Connector(_)
            | Self::Output(_)
            | Self::Cancelled => None,
        }
    }

    /// Says whether it might not be an error if more were known of the server's nodes: these tell types that a template does
    /// not.
    pub fn may_be_mended_by_definitions(&self) -> bool {
        let Self::Validation(error) = self else { return false };
        error.faults.iter().all(|fault| fault.waits)
    }

    /// Returns it as `{"code", "message", "node"?, "details"?, "checked_against"?, "problems"?}`.
    pub fn to_value(&self) -> Value {
        let mut value = json!({ "code": self.code(), "message": self.to_string() });
        if let Some(node) = self.node() {
            value["node"] = json!({ "id": node.id, "class": node.class, "message": node.message });
        }
        let detail =
            |code: &str, subject: &str, message: &str| json!({ "code": code, "subject": subject, "message": message });
        match self {
            Self::Validation(error) => {
                let each = |fault: &Fault| detail(&fault.code, &fault.subject, &fault.message);
                value["details"] = error.faults.iter().map(each).collect();
            }
            Self::Unfit(error) => {
                let each = |problem: &Problem| {
                    let place: Vec<&str> =
                        [&problem.node, &problem.input].into_iter().flatten().map(String::as_str).collect();
                    detail(problem.kind.as_str(), &place.join("."), &problem.to_string())
                };
                value["details"] = error.errors().map(each).collect();
                value["checked_against"] = json!(error.origin);
                value["problems"] = json!(error.problems);
            }
            Self::NotReady(_)
            | Self::Submission(_)
            | Self::Connector(_)
            | Self::Execution(_)
            | Self::Output(_)
            | Self::Cancelled => {}
        }
        value
    }
}

impl From<Fault> for ValidationError {
    fn from(fault: Fault) -> Self {
        Self { faults: vec![fault] }
    }
}

impl From<Failure> for RunError {
    fn from(failure: Failure) -> Self {
        let Failure { code, message, node } = failure;
        match code {
            FailureCode::Validation => SubmissionError { message, node }.into(),
            FailureCode::BackendLost => ConnectorError { message }.into(),
            FailureCode::Cancelled => Self::Cancelled,
            FailureCode::NodeError
            | FailureCode::TimeoutQueue
            | FailureCode::TimeoutStart
            | FailureCode::TimeoutSilence
            | FailureCode::TimeoutRun
            | FailureCode::OutputMissing
            | FailureCode::OutputTooLarge
            | FailureCode::Interrupted
            | FailureCode::ApiKeyLost
            | FailureCode::Internal => ExecutionError { failure: code, message, node }.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_of_the_gateway_has_its_kind_and_keeps_its_words() {
        for code in FailureCode::ALL {
            let error = RunError::from(Failure::new(code, "what happened"));
            let others = [(FailureCode::Validation, "submission"), (FailureCode::BackendLost, "connector")];
            let other = others.iter().find(|(known, _)| *known == code);
            let expected = other.map_or(code.as_str(), |(_, name)| name);
            assert_eq!(error.code(), expected);
            assert_eq!(error.to_string().contains("what happened"), code != FailureCode::Cancelled, "{error}");
        }
    }

    #[test]
    fn an_error_tells_programs_every_fault() {
        let first = Fault::new("unknown_param", "Stpes", "there is no `Stpes`");
        let second = Fault::new("invalid_type", "CFG", "`CFG` must be a number");
        let error = RunError::from(ValidationError { faults: vec![first, second] });
        assert_eq!(error.to_string(), "there is no `Stpes`; `CFG` must be a number");
        assert_eq!(
            error.to_value(),
            json!({ "code": "validation", "message": "there is no `Stpes`; `CFG` must be a number", "details": [
                { "code": "unknown_param", "subject": "Stpes", "message": "there is no `Stpes`" },
                { "code": "invalid_type", "subject": "CFG", "message": "`CFG` must be a number" },
            ] })
        );
    }
}

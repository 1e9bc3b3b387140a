//! An event as listeners are told of it: what it says, and that as JSON, which is written once for all who hear it.

use crate::clock::Timestamp;
use crate::job::{FailureCode, Job, JobId, JobState, Output, Preview, Tenant, described_output, number};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// What kind of event it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EventKind {
    /// How far a job is.
    Status,
    /// A node began, is over, or does not run.
    Node,
    /// How far a run is.
    Progress,
    /// What a node is about to make.
    Preview,
    /// An output is stored.
    Output,
    /// A backend came, went or changed.
    Backend,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Status, Self::Node, Self::Progress, Self::Preview, Self::Output, Self::Backend];

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Node => "node",
            Self::Progress => "progress",
            Self::Preview => "preview",
            Self::Output => "output",
            Self::Backend => "backend",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// One event.
#[derive(Debug)]
pub struct Told {
    /// Its number: later events have higher ones.
    pub id: u64,
    /// The job that it is about; none where it is about a backend.
    pub job: Option<JobId>,
    /// Whose that is.
    pub tenant: Option<Tenant>,
    /// The name of its workflow.
    pub workflow: Option<String>,
    /// When it happened.
    pub at: Timestamp,
    /// What it says.
    pub facts: Facts,
    /// That as JSON.
    pub(super) data: OnceLock<String>,
}

/// What an event says.
#[derive(Clone, PartialEq, Debug)]
pub enum Facts {
    /// How far a job is.
    Status(Status),
    /// A node of its graph.
    Node {
        /// The node.
        node: NodeName,
        /// What became of it.
        state: NodeState,
        /// How many nodes need not run any more.
        done: usize,
        /// How many there are.
        total: usize,
    },
    /// How far its run is.
    Progress {
        /// From 0 to 1 over the whole graph.
        fraction: f64,
        /// The node that was heard of last.
        node: Option<NodeName>,
        /// How far that is and what that runs to.
        bar: Option<(f64, f64)>,
        /// When it should end.
        ends_at: Option<Timestamp>,
    },
    /// What a node is about to make.
    Preview {
        /// The node.
        node: Option<NodeName>,
        /// The image.
        preview: Preview,
    },
    /// An output is stored.
    Output {
        /// The output.
        output: Output,
        /// Its name by its workflow.
        name: Option<String>,
    },
    /// Something happened to a backend.
    Backend {
        /// The backend's name.
        backend: String,
        /// What.
        event: &'static str,
        /// Why.
        reason: Option<String>,
    },
}

/// How far a job is.
#[derive(Clone, PartialEq, Debug)]
pub struct Status {
    /// Its state.
    pub state: JobState,
    /// Its run and where that is.
    pub run: Option<(u32, Option<String>)>,
    /// How it waits.
    pub place: Option<Place>,
    /// Why its last run is repeated.
    pub again: Option<String>,
    /// Why it failed.
    pub failure: Option<(FailureCode, String)>,
}

impl Status {
    /// A job in this state.
    pub fn of(state: JobState) -> Self {
        Self { state, run: None, place: None, again: None, failure: None }
    }
}

/// How a job waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its place among those that wait, from 1.
    pub position: usize,
    /// Why it waits.
    pub why: &'static str,
    /// When its run should begin and end; none where that is not known.
    pub expected: Option<(Timestamp, Timestamp)>,
}

/// A node of a graph.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeName {
    /// Its id.
    pub id: String,
    /// Its class, where that is known.
    pub class: Option<String>,
    /// Its title, where it has one.
    pub title: Option<String>,
}

/// What became of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeState {
    /// It runs.
    Running,
    /// It is over.
    Finished,
    /// It does not run, since the backend has its result.
    Cached,
}

impl NodeState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cached => "cached",
        }
    }
}

impl NodeName {
    fn json(&self) -> Value {
        let mut node = json!({ "id": self.id });
        if let Some(class) = &self.class {
            node["class_type"] = json!(class);
        }
        if let Some(title) = &self.title {
            node["title"] = json!(title);
        }
        node
    }
}

impl Told {
    /// An event about a job that has this number.
    pub fn about(job: &Job, id: u64, at: Timestamp, facts: Facts) -> Self {
        let (tenant, workflow) = (Some(job.tenant.clone()), Some(job.request.workflow.clone()));
        Self { id, job: Some(job.id), tenant, workflow, at, facts, data: OnceLock::new() }
    }

    /// Returns what kind of event it is.
    pub fn kind(&self) -> EventKind {
        match &self.facts {
            Facts::Status(_) => EventKind::Status,
            Facts::Node { .. } => EventKind::Node,
            Facts::Progress { .. } => EventKind::Progress,
            Facts::Preview { .. } => EventKind::Preview,
            Facts::Output { .. } => EventKind::Output,
            Facts::Backend { .. } => EventKind::Backend,
        }
    }

    /// Says whether nothing follows for its job.
    pub fn is_final(&self) -> bool {
        matches!(&self.facts, Facts::Status(status) if status.state.is_final())
    }

    /// Returns about how many bytes a listener holds while it has not sent it.
    pub fn size(&self) -> usize {
        match &self.facts {
            Facts::Preview { preview, .. } => preview.bytes.len().saturating_mul(2),
            Facts::Status(_)
            | Facts::Node { .. }
            | Facts::Progress { .. }
            | Facts::Output { .. }
            | Facts::Backend { .. } => 512,
        }
    }

    /// Returns what it says as JSON.
    pub fn data(&self) -> &str {
        self.data.get_or_init(|| Value::Object(self.json()).to_string())
    }

    fn json(&self) -> Map<String, Value> {
        let mut data = Map::new();
        if let Some(job) = self.job {
            data.insert("prompt_id".into(), json!(job.to_string()));
        }
        if let Some(workflow) = &self.workflow {
            data.insert("workflow".into(), json!(workflow));
        }
        data.insert("at".into(), json!(self.at.rfc3339()));
        match &self.facts {
            Facts::Status(status) => self.status(status, &mut data),
            Facts::Node { node, state, done, total } => {
                data.insert("node".into(), node.json());
                data.insert("state".into(), json!(state.as_str()));
                data.insert("nodes_done".into(), json!(done));
                data.insert("nodes_total".into(), json!(total));
            }
            Facts::Progress { fraction, node, bar, ends_at } => {
                data.insert("percent".into(), json!(percent(*fraction)));
                data.insert("fraction".into(), json!(fraction));
                if let Some(node) = node {
                    data.insert("node".into(), node.json());
                }
                if let Some((value, max)) = bar {
                    data.insert("value".into(), number(*value));
                    data.insert("max".into(), number(*max));
                }
                self.eta(None, *ends_at, &mut data);
            }
            Facts::Preview { node, preview } => {
                if let Some(node) = node {
                    data.insert("node".into(), node.json());
                }
                data.insert("content_type".into(), json!(preview.content_type));
                data.insert("data_base64".into(), json!(STANDARD.encode(&preview.bytes)));
            }
            Facts::Output { output, name } => {
                data.insert("output".into(), described_output(output, name.as_deref()));
            }
            Facts::Backend { backend, event, reason } => {
                data.insert("backend".into(), json!(backend));
                data.insert("event".into(), json!(event));
                if let Some(reason) = reason {
                    data.insert("reason".into(), json!(reason));
                }
            }
        }
        data
    }

    fn status(&self, status: &Status, data: &mut Map<String, Value>) {
        data.insert("status".into(), json!(status.state.as_str()));
        if let Some((number, backend)) = &status.run {
            let mut run = json!({ "number": number });
            if let Some(backend) = backend {
                run["backend"] = json!(backend);
            }
            data.insert("run".into(), run);
        }
        if let Some(place) = &status.place {
            data.insert("position".into(), json!(place.position));
            data.insert("waiting_reason".into(), json!(place.why));
            let (start, end) = place.expected.unzip();
            self.eta(start, end, data);
        }
        if let Some(reason) = &status.again {
            data.insert("will_retry".into(), json!(true));
            data.insert("reason".into(), json!(reason));
        }
        if let Some((code, error)) = &status.failure {
            data.insert("code".into(), json!(code));
            data.insert("error".into(), json!(error));
        }
    }

    fn eta(&self, start: Option<Timestamp>, end: Option<Timestamp>, data: &mut Map<String, Value>) {
        let Some(end) = end else { return };
        let mut eta = json!({ "end": end.rfc3339() });
        if let Some(start) = start {
            eta["start"] = json!(start.rfc3339());
        }
        data.insert("eta".into(), eta);
        data.insert("eta_ms".into(), json!(end.millis_since(self.at)));
    }
}

/// Returns a fraction in whole hundredths; 100 is only what is whole.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped to 0..=100")]
pub(super) fn percent(fraction: f64) -> u8 {
    // 0.29 times 100 is a little less than 29.
    (fraction.clamp(0.0, 1.0) * 100.0 + 1e-9).floor() as u8
}

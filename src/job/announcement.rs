//! What is told of a job while it goes on: the words of those who follow it and of those who tell its receiver. When and
//! how it is told is left to the latter.

use super::payload::{entry, tail};
use super::{FrozenBody, Job, JobId, Output, Segment, Tenant, WebhookEvent};
use crate::clock::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// The largest whole number below which a float has every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Takes an announcement. It never waits, and it may drop what it takes.
pub type Announce = Arc<dyn Fn(Announcement) + Send + Sync>;

/// Who is told of one run of a job, and what of.
#[derive(Clone, PartialEq)]
pub struct Audience {
    /// The job.
    pub job: JobId,
    /// Whose it is.
    pub tenant: Tenant,
    /// Which run of the job it is about, from 1.
    pub run: u32,
    /// Where to tell it.
    pub url: String,
    /// The name of the workflow.
    pub workflow: String,
    /// The names that outputs have, by the node that makes them.
    pub output_names: BTreeMap<String, String>,
    /// The caller's own data.
    pub metadata: Option<Value>,
    /// When the job was accepted.
    pub accepted_at: Timestamp,
    /// What of.
    pub events: BTreeSet<WebhookEvent>,
}

impl Audience {
    /// Returns who is told of a run of `job`; none where nobody wants to hear of it before its end.
    pub fn of(job: &Job, run: u32) -> Option<Arc<Self>> {
        let request = &job.request;
        let url = request.webhook_url.clone()?;
        let wants_more = request.webhook_events.iter().any(|event| *event != WebhookEvent::Completed);
        let audience = || Self {
            job: job.id,
            tenant: job.tenant.clone(),
            run,
            url,
            workflow: request.workflow.clone(),
            output_names: request.output_names.clone(),
            metadata: request.metadata.clone(),
            accepted_at: job.created_at,
            events: request.webhook_events.clone(),
        };
        wants_more.then(audience).map(Arc::new)
    }

    /// Says whether it wants to be told of such things.
    pub fn wants(&self, event: WebhookEvent) -> bool {
        self.events.contains(&event)
    }
}

/// Without the URL and the caller's data, which are nobody else's business.
impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audience").field("job", &self.job).field("run", &self.run).finish_non_exhaustive()
    }
}

/// How far a run is.
#[derive(Clone, PartialEq, Debug)]
pub struct Advance {
    /// From 0 to 1 over the whole graph.
    pub fraction: f64,
    /// The node that was heard of last; none before the first.
    pub node: Option<NodeAdvance>,
}

/// How far a node is.
#[derive(Clone, PartialEq, Debug)]
pub struct NodeAdvance {
    /// The node of the submitted graph.
    pub id: String,
    /// How far it is and what that runs to, in its own units; none where it does not tell.
    pub bar: Option<(f64, f64)>,
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum News {
    /// The run has begun.
    Started,
    /// It is this far.
    Progress(Advance),
    /// An output is stored.
    Output(Output),
}

impl News {
    /// Returns what kind of event it is.
    pub fn event(&self) -> WebhookEvent {
        match self {
            Self::Started => WebhookEvent::Started,
            Self::Progress(_) => WebhookEvent::Progress,
            Self::Output(_) => WebhookEvent::Output,
        }
    }
}

/// Something that happened to a run, and who is to be told.
#[derive(Clone, PartialEq, Debug)]
pub struct Announcement {
    /// Who is told.
    pub audience: Arc<Audience>,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub news: News,
}

impl Announcement {
    /// Returns the `webhook-id`; `number` tells events of one kind apart. The start of a run has its run's number, so
    /// that it is the same should it be told twice.
    pub fn webhook_id(&self, number: u64) -> String {
        let number = match self.news {
            News::Started => u64::from(self.audience.run),
            News::Progress(_) | News::Output(_) => number,
        };
        format!("{}_{}_{number}", self.audience.job.webhook_id(), self.news.event().as_str())
    }

    /// Writes the body: small, without images, with a status that is no end.
    pub fn body(&self) -> FrozenBody {
        let audience = &self.audience;
        let mut more = Map::new();
        more.insert("timestamp".into(), json!(self.at.rfc3339()));
        more.insert("workflow".into(), json!(audience.workflow));
        more.insert("run".into(), json!({ "number": audience.run }));
        if let Some(metadata) = &audience.metadata {
            more.insert("metadata".into(), metadata.clone());
        }
        match &self.news {
            News::Started => {}
            News::Progress(advance) => {
                more.insert("progress".into(), progress(advance));
            }
            News::Output(output) => {
                // Without its link: which number an output has is settled only when all are there.
                more.insert("output".into(), entry(output, &audience.output_names));
            }
        }
        let text = format!(
            r#"{{"type":"generation.{}","status":"running","prompt_id":"{}"{}"#,
            self.news.event().as_str(),
            audience.job,
            tail(more)
        );
        FrozenBody { segments: vec![Segment::Text(text)] }
    }
}

fn progress(advance: &Advance) -> Value {
    let mut told = json!({ "fraction": advance.fraction });
    if let Some(node) = &advance.node {
        told["node"] = json!({ "id": node.id });
        if let Some((value, max)) = node.bar {
            told["value"] = number(value);
            told["max"] = number(max);
        }
    }
    told
}

/// Writes `3`, not `3.0`.
#[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
pub fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < EXACT { json!(value as i64) } else { json!(value) }
}

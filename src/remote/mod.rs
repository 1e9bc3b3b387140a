//! The remote control: one workflow of the catalogue, in memory for each tenant, changed by small calls and run as a job like any
//! other. What is asked and answered over HTTP is the API's business; a job's fate is the stations'.

mod edit;
mod end;
mod files;
mod reach;
mod runs;
mod service;
mod session;
mod waiting;

pub use edit::{EditError, Found, TEXT_FIELDS, Wanted, find};
pub use end::{End, How};
pub use files::{Whereabouts, input_file};
pub use runs::{Awaited, Begun, Interrupted, Launched};
pub use service::{PromptService, ServiceError};

use crate::clock::Clock;
use crate::intake::{Intake, IntakeError};
use crate::job::{BodyRules, FileRef, JobId, Tenant};
use crate::lifecycle::Lifecycle;
use crate::pool::Pool;
use crate::relay::Relay;
use crate::store::Store;
use crate::workflow::Pair;
use serde_json::{Value, json};
use session::{Full, Session, Sessions};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error as ThisError;
use tracing::{info, warn};

/// What the remote control works with.
pub struct Parts {
    /// Takes its runs in.
    pub intake: Arc<Intake>,
    /// Has what became of them.
    pub store: Arc<dyn Store>,
    /// The backends.
    pub pool: Arc<Pool>,
    /// Tells who listens what happens, and this room how jobs end.
    pub relay: Relay,
    /// What links are made by.
    pub bodies: Arc<BodyRules>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where it spawns.
    pub lifecycle: Lifecycle,
    /// The workflow that it holds.
    pub workflow: String,
    /// The section in which names are looked for first.
    pub section: Option<String>,
    /// Writes prompts; none where no service is set.
    pub service: Option<PromptService>,
}

/// The remote control.
pub struct Remote {
    parts: Parts,
    sessions: Mutex<Sessions>,
}

/// How a tenant's workflow stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Its name.
    pub workflow: String,
    /// The revision of the template from which it was taken.
    pub revision: String,
    /// It is not as it was taken.
    pub is_edited: bool,
    /// What has begun of it and not ended, the oldest first.
    pub runs: Vec<JobId>,
}

/// Why the workflow was not changed or run.
#[derive(Debug, ThisError)]
pub enum RemoteError {
    /// It is not there, or the job was not taken in.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// What shall be changed is not there.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// Nothing can be remembered besides what is.
    #[error(
        "the remote control is busy: as many runs or workflows are in memory as may be; try again when some have ended"
    )]
    Busy,
    /// What followed the run is gone, which only a fault of the gateway's own does.
    #[error("the run was lost sight of; GET /jobs lists it if it was taken in")]
    Lost,
}

impl Remote {
    /// Takes the workflow into memory, where it is there; says in the log how things stand.
    pub fn new(parts: Parts) -> Arc<Self> {
        let remote = Arc::new(Self { parts, sessions: Mutex::default() });
        remote.report_workflow();
        let own = Arc::clone(&remote);
        remote.parts.lifecycle.spawn("remote reach", async move {
            let stop = own.parts.lifecycle.stop();
            tokio::select! {
                () = stop.cancelled() => {}
                () = reach::report(&own.parts.pool, &own.parts.workflow) => {}
            }
        });
        remote
    }

    /// Returns how a tenant's workflow stands.
    pub fn standing(&self, tenant: &Tenant) -> Result<Standing, RemoteError> {
        self.with(tenant, |session| Standing {
            workflow: session.workflow.name().to_owned(),
            revision: session.workflow.revision().to_owned(),
            is_edited: session.is_edited,
            runs: session.runs().collect(),
        })
    }

    /// Finds an input without changing it.
    pub fn find(&self, tenant: &Tenant, written: &str, wanted: Wanted) -> Result<Found, RemoteError> {
        let section = self.parts.section.as_deref();
        let found = self.with(tenant, |session| find(&session.workflow, &session.graph, section, written, wanted))?;
        Ok(found?)
    }

    /// Sets an input of a tenant's workflow in memory to a text.
    pub fn set(&self, tenant: &Tenant, written: &str, wanted: Wanted, text: String) -> Result<Found, RemoteError> {
        let section = self.parts.section.as_deref();
        let found = self.with(tenant, |session| {
            let found = find(&session.workflow, &session.graph, section, written, wanted)?;
            // It is there, and so is its node: it was found just now.
            let is_set = session.graph.set(&found.node, &found.input, Value::String(text));
            session.is_edited |= is_set.is_ok();
            Ok::<_, EditError>(found)
        })?;
        Ok(found?)
    }

    /// Takes a tenant's workflow from its template again.
    pub fn reset(&self, tenant: &Tenant) -> Result<Standing, RemoteError> {
        let workflow = self.workflow()?;
        self.with(tenant, |session| session.reset(workflow))?;
        self.standing(tenant)
    }

    /// Says on which backends a file lies in the input folder.
    pub async fn whereabouts(&self, file: &FileRef) -> Whereabouts {
        files::ask(&self.parts.pool, file).await
    }

    /// Returns the service that writes prompts.
    pub fn prompt_service(&self) -> Option<&PromptService> {
        self.parts.service.as_ref()
    }

    /// Tells those who listen that a request came, without its body, which may hold secrets.
    pub fn tell_request(&self, tenant: &Tenant, method: &str, path: &str) {
        let at = self.parts.clock.now().rfc3339();
        let event = json!({ "type": "runner_request", "data": { "method": method, "path": path, "at": at } });
        self.parts.relay.take_note(tenant, event.to_string());
    }

    fn workflow(&self) -> Result<Arc<Pair>, IntakeError> {
        self.parts.intake.workflow(Some(&self.parts.workflow))
    }

    fn with<T>(&self, tenant: &Tenant, act: impl FnOnce(&mut Session) -> T) -> Result<T, RemoteError> {
        let current = self.workflow();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        match sessions.of(tenant, current.as_ref().ok().map(Arc::clone)) {
            Ok(Some(session)) => Ok(act(session)),
            Ok(None) => Err(current.err().map_or(RemoteError::Busy, RemoteError::Intake)),
            Err(Full) => Err(RemoteError::Busy),
        }
    }

    fn report_workflow(&self) {
        let name = self.parts.workflow.as_str();
        let Ok(workflow) = self.workflow() else {
            return warn!(workflow = name, "the workflow of the remote control is not there");
        };
        info!(workflow = name, revision = workflow.revision(), "the remote control has its workflow in memory");
        if let Some(section) = &self.parts.section
            && workflow.sections().of(section).next().is_none()
        {
            let there = workflow.sections().names().collect::<Vec<_>>().join(", ");
            warn!(workflow = name, section, there, "COMFYGATE_RUNNER_SECTION names no section of this workflow");
        }
    }
}

//! What a caller wants, and why it is not taken in.

use crate::inputs::Refused;
use crate::job::{Conversion, DeliveryMode, JobId, Placement, Tenant, Timeouts, WebhookEvent};
use crate::secret::Secret;
use crate::store::{IdempotencyKey, StoreError};
use crate::workflow::{BuildError, Pair, ParamError, RawError};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a caller wants, its form already checked.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Submission {
    /// Whose the job shall be.
    pub tenant: Tenant,
    /// The id that the job shall have; none to draw one.
    pub id: Option<JobId>,
    /// The parameters as given, by any of their spellings.
    pub params: Map<String, Value>,
    /// Those of the parameters' names that stood in the field `images`, which is for images only.
    pub images: BTreeSet<String>,
    /// Where to report the end; checked by the caller of `accept`.
    pub webhook_url: Option<String>,
    /// What it is told of besides the end.
    pub webhook_events: BTreeSet<WebhookEvent>,
    /// How images reach the receiver.
    pub delivery: DeliveryMode,
    /// Whether what files hold besides the picture is taken out.
    pub strip_metadata: bool,
    /// What images are turned into.
    pub conversion: Option<Conversion>,
    /// Echoed in the webhook.
    pub metadata: Option<Value>,
    /// Higher runs first.
    pub priority: i32,
    /// What the caller wishes of the backend.
    pub placement: Placement,
    /// Other workflows that the job may run as, the best first.
    pub variants: Vec<Arc<Pair>>,
    /// How many runs the job may have; none for as many as the settings allow.
    pub max_runs: Option<u32>,
    /// The caller's own limits.
    pub timeouts: Timeouts,
    /// The caller's idempotency key.
    pub idempotency: Option<IdempotencyKey>,
    /// The caller's key for partner nodes.
    pub partner_key: Option<Secret>,
}

/// Why a submission was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// There is no such workflow.
    #[error("there is no workflow `{name}`; there are: {}", .known.join(", "))]
    UnknownWorkflow {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Parameters are missing, unknown or out of bounds; at least one.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Params(Vec<ParamError>),
    /// The workflow cannot be built although its parameters are right.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The images that it works on were not taken in.
    #[error(transparent)]
    Inputs(Refused),
    /// As many keys for partner nodes are in memory as may.
    #[error("too many jobs wait that have an api_key_comfy_org of their own")]
    TooManyKeys,
    /// The graph that came with it is none.
    #[error(transparent)]
    Graph(Box<RawError>),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RawError> for IntakeError {
    fn from(error: RawError) -> Self {
        Self::Graph(Box::new(error))
    }
}

impl From<Refused> for IntakeError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Params(faults) => Self::Params(faults),
            Refused::Busy | Refused::Store(_) | Refused::Blob(_) => Self::Inputs(refused),
        }
    }
}

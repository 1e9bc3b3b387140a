//! HTTP in, JSON out: the route table, and what every handler shares.

mod admit;
mod apart;
mod assets;
mod backends;
mod backends_pass;
mod bench;
mod body;
mod caller;
mod capacity;
mod contain;
mod convert;
mod crowd;
mod deliveries;
mod door;
mod error;
mod events;
mod fields;
mod guard;
mod headers;
mod health;
mod jobs;
mod keys;
mod link;
mod listening;
mod metrics;
mod openapi;
mod passage;
mod queue;
mod raw;
mod remote;
mod remote_runs;
mod remote_socket;
mod routing;
mod schema;
mod secrets;
mod session;
mod socket;
mod stalled;
mod submit;
mod summary;
mod throttle;
mod thumbnail;
mod trial;
mod uploads;
mod verdicts;
mod wait;
mod wishes;
mod workflows;

pub(crate) use admit::identify;
pub use assets::OwnPages;
pub use bench::Bench;
pub use capacity::most_connections;
pub(crate) use contain::contain;
pub use crowd::Crowd;
pub(crate) use door::enter;
pub use door::{Door, Entrance};
pub use error::ApiError;
pub(crate) use guard::guard;
pub(crate) use headers::headers;
pub use health::WriteCheck;
pub use keys::{check_name, key_view, usual_scopes};
pub use listening::place_of;
pub(crate) use metrics::count;
pub use passage::Passage;
pub use raw::Known;
pub use routing::Needs;
pub use secrets::secret_view;
pub use stalled::limit_stalling;
pub use submit::{FindWorkflow, Rules, read_submission};
pub(crate) use throttle::{guesses, throttle};
pub use thumbnail::Thumbnails;
pub use verdicts::Verdicts;
pub use wishes::Defaults;

use crate::access::Keys;
use crate::clock::{Clock, Timestamp};
use crate::dispatch::Outlooks;
use crate::inputs::Inputs;
use crate::intake::Intake;
use crate::job::BodyRules;
use crate::lifecycle::Lifecycle;
use crate::local;
use crate::media::Blobs;
use crate::notifier::{Standing, TargetRules};
use crate::pool::{Estimates, Pool, Roster};
use crate::relay::Relay;
use crate::remote::Remote;
use crate::signing::{Keyring, Office};
use crate::store::Store;
use crate::throttle::Throttle;
use crate::workflow::Catalog;
use actix_web::http::Method;
use actix_web::web;
use routing::{Call, delete, get, post};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// What the handlers work with.
pub struct Api {
    /// Takes jobs in.
    pub intake: Arc<Intake>,
    /// Takes images in.
    pub inputs: Arc<Inputs>,
    /// Where jobs are read.
    pub store: Arc<dyn Store>,
    /// How much callers may ask for.
    pub throttle: Arc<Throttle>,
    /// The workflows, for readiness.
    pub catalog: Arc<Catalog>,
    /// What is known of workflows on backends.
    pub verdicts: Verdicts,
    /// Where outputs are read.
    pub blobs: Arc<Blobs>,
    /// The backends.
    pub pool: Arc<Pool>,
    /// How jobs wait for them.
    pub outlooks: Arc<Outlooks>,
    /// Tells what happens to those who listen.
    pub relay: Relay,
    /// Changes who they are.
    pub roster: Arc<Roster>,
    /// How long graphs run on them.
    pub estimates: Arc<Estimates>,
    /// The way of what is passed on to one of them.
    pub passage: Passage,
    /// How the ComfyUI stands that is started here; none where none is.
    pub local: Option<watch::Receiver<local::Standing>>,
    /// The keys of callers.
    pub keys: Arc<Keys>,
    /// Whoever shows no key is refused.
    pub keys_required: bool,
    /// Who signs webhooks; none where they go out unsigned.
    pub keyring: Option<Arc<Keyring>>,
    /// Changes the secrets that sign.
    pub office: Office,
    /// Which webhook URLs are taken.
    pub targets: TargetRules,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What final objects were written by, which tells what their links are worth.
    pub bodies: Arc<BodyRules>,
    /// Whether a request may bring a graph of its own.
    pub raw_graphs: bool,
    /// Where graphs are read and converted.
    pub bench: Bench,
    /// Where pictures are made smaller.
    pub thumbnails: Thumbnails,
    /// What holds where a request does not say it.
    pub defaults: Defaults,
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// How long a request body may take to arrive.
    pub body_limit: Duration,
    /// The gateway is bound to a loopback address: only loopback host names are served.
    pub loopback_only: bool,
    /// What is known of the receivers of webhooks.
    pub standing: Arc<Standing>,
    /// What is known of whether the store can be written.
    pub write_check: WriteCheck,
    /// The names by which requests may call the gateway, besides loopback ones; none for any.
    pub allowed_hosts: Vec<String>,
    /// The origins of web pages that may use the gateway from a browser.
    pub allowed_origins: Vec<String>,
    /// The pages of the gateway's own.
    pub pages: OwnPages,
    /// What is counted.
    pub metrics: crate::metrics::Metrics,
    /// The remote control of one workflow.
    pub remote: Arc<Remote>,
    /// Knows of the panics that were contained.
    pub lifecycle: Lifecycle,
    /// When the gateway started.
    pub started_at: Timestamp,
    /// The gateway is stopping: nothing new is taken in.
    pub draining: AtomicBool,
}

impl Api {
    /// Stops taking in new jobs; what is running goes on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

use crate::job::Scope::{Admin, Metrics, Read, Submit};
use Needs::{Key, KeyWith, NoKey, Nothing, Scope, ScopeOrLink};

/// The route table: every call on one screen, with what it needs. `HEAD` goes with `GET`.
#[rustfmt::skip]
const ROUTES: &[Call] = &[
    post("/generate", Scope(Submit), || web::to(submit::generate)),
    post("/uploads", Scope(Submit), || web::to(uploads::create)),
    get("/uploads/{id}", Scope(Submit), || web::to(uploads::get)),
    delete("/uploads/{id}", Scope(Submit), || web::to(uploads::delete)),
    get("/jobs", Scope(Read), || web::to(jobs::list)),
    get("/jobs/{id}", Scope(Read), || web::to(jobs::get)),
    get("/jobs/{id}/profile", Scope(Read), || web::to(jobs::profile)),
    get("/jobs/{id}/events", Scope(Read), || web::to(events::of_job)),
    get("/events", Scope(Read), || web::to(events::of_all)),
    get("/ws", Scope(Read), || web::to(socket::of_all)),
    post("/jobs/{id}/cancel", Scope(Submit), || web::to(jobs::cancel)),
    get("/jobs/{id}/outputs/{n}", ScopeOrLink(Read), || web::to(jobs::output)),
    get("/jobs/{id}/deliveries", Scope(Read), || web::to(deliveries::of_job)),
    post("/jobs/{id}/deliveries/{d}/replay", Scope(Submit), || web::to(deliveries::replay)),
    get("/deliveries", Scope(Read), || web::to(deliveries::list)),
    post("/deliveries/replay", Scope(Submit), || web::to(deliveries::replay_all)),
    get("/webhooks/summary", Scope(Read), || web::to(summary::get)),
    get("/workflows", Scope(Read), || web::to(workflows::list)),
    get("/workflows/{name}", Scope(Read), || web::to(workflows::get)),
    post("/workflows/{name}/check", Scope(Submit), || web::to(trial::dry_run)),
    post("/convert", Scope(Submit), || web::to(convert::post)),
    get("/keys", KeyWith(Admin), || web::to(keys::list)),
    post("/keys", KeyWith(Admin), || web::to(keys::create)),
    delete("/keys/{id}", KeyWith(Admin), || web::to(keys::revoke)),
    get("/backends", Scope(Admin), || web::to(backends::list)),
    post("/backends", KeyWith(Admin), || web::to(backends::add)),
    get("/backends/{name}", Scope(Admin), || web::to(backends::get)),
    delete("/backends/{name}", KeyWith(Admin), || web::to(backends::remove)),
    post("/backends/{name}/drain", KeyWith(Admin), || web::to(backends::drain)),
    post("/backends/{name}/resume", KeyWith(Admin), || web::to(backends::resume)),
    get("/queue", Scope(Admin), || web::to(queue::get)),
    post("/queue/pause", KeyWith(Admin), || web::to(queue::pause)),
    post("/queue/resume", KeyWith(Admin), || web::to(queue::resume)),
    get("/backends/{name}/health", Scope(Admin), || web::to(backends_pass::health)),
    get("/backends/{name}/vitals", Scope(Admin), || web::to(backends_pass::vitals)),
    get("/backends/{name}/stats", Scope(Admin), || web::to(backends_pass::stats)),
    get("/backends/{name}/features", Scope(Admin), || web::to(backends_pass::features)),
    get("/backends/{name}/queue", Scope(Admin), || web::to(backends_pass::queue)),
    get("/backends/{name}/history", Scope(Admin), || web::to(backends_pass::history)),
    get("/backends/{name}/history/{prompt_id}", Scope(Admin), || web::to(backends_pass::history_of)),
    get("/backends/{name}/models", Scope(Admin), || web::to(backends_pass::folders)),
    get("/backends/{name}/models/{folder}", Scope(Admin), || web::to(backends_pass::models)),
    get("/backends/{name}/embeddings", Scope(Admin), || web::to(backends_pass::embeddings)),
    get("/backends/{name}/nodes/{class}", Scope(Admin), || web::to(backends_pass::node)),
    get("/backends/{name}/logs", Scope(Admin), || web::to(backends_pass::logs)),
    post("/backends/{name}/free", KeyWith(Admin), || web::to(backends_pass::free)),
    post("/backends/{name}/interrupt", KeyWith(Admin), || web::to(backends_pass::interrupt)),
    get("/webhook/secrets", KeyWith(Admin), || web::to(secrets::list)),
    post("/webhook/secrets/rotate", KeyWith(Admin), || web::to(secrets::rotate)),
    get("/.well-known/jwks.json", Nothing, || web::to(secrets::jwks)),
    get("/runner/health", Nothing, || web::to(remote::health)),
    get("/runner/status", Scope(Read), || web::to(remote::status)),
    get("/runner/queue", Scope(Submit), || web::to(remote_runs::queue)),
    post("/runner/queue", Scope(Submit), || web::to(remote_runs::queue)),
    post("/runner/update/text", Scope(Submit), || web::to(remote::update_text)),
    post("/runner/update/prompt", Scope(Submit), || web::to(remote::update_prompt)),
    post("/runner/update/image", Scope(Submit), || web::to(remote::update_image)),
    post("/runner/generate/image", Scope(Submit), || web::to(remote_runs::generate_image)),
    post("/runner/interrupt", Scope(Submit), || web::to(remote_runs::interrupt)),
    post("/runner/reset", Scope(Submit), || web::to(remote::reset)),
    get("/runner/ws", Scope(Read), || web::to(remote_socket::listen)),
    get("/health", Nothing, || web::to(health::health)),
    get("/ready", NoKey, || web::to(health::ready)),
    get("/metrics", Scope(Metrics), || web::to(metrics::metrics)),
    get("/openapi.json", Nothing, || web::to(openapi::document)),
    get("/session", NoKey, || web::to(session::get)),
    post("/session", Key, || web::to(session::open)),
    delete("/session", NoKey, || web::to(session::end)),
    get("/", Nothing, || web::to(assets::page)),
    get("/dashboard/{path}*", Nothing, || web::to(assets::file)),
];

/// Serves the route table.
pub fn routes(config: &mut web::ServiceConfig) {
    routing::serve(&ROUTES.iter().collect::<Vec<_>>(), config);
}

/// Serves the part of the table that the remote control's own ports have.
pub fn remote_routes(config: &mut web::ServiceConfig) {
    let is_its_own = |call: &&Call| call.path.starts_with(door::REMOTE);
    routing::serve(&ROUTES.iter().filter(is_its_own).collect::<Vec<_>>(), config);
}

/// Returns the route table: method, path, and what the call needs.
pub fn calls() -> impl Iterator<Item = (&'static str, &'static str, Needs)> {
    ROUTES.iter().flat_map(|call| {
        let methods = call.verb.methods().iter().filter(|method| *method != Method::HEAD);
        methods.map(|method| (method.as_str(), call.told_path(), call.needs))
    })
}

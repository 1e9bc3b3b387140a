//! HTTP in, JSON out: the route table, and what every handler shares.

mod body;
mod caller;
mod capacity;
mod contain;
mod crowd;
mod deliveries;
mod error;
mod guard;
mod health;
mod jobs;
mod submit;

pub use capacity::most_connections;
pub(crate) use contain::contain;
pub use crowd::Crowd;
pub use error::ApiError;
pub(crate) use guard::guard;
pub use health::WriteCheck;
pub use submit::{FindWorkflow, Rules, read_submission};

use crate::clock::Clock;
use crate::intake::Intake;
use crate::media::Blobs;
use crate::notifier::TargetRules;
use crate::store::Store;
use crate::tracker::Desk;
use crate::workflow::Catalog;
use actix_web::{HttpResponse, web};
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What the handlers work with.
pub struct Api {
    /// Takes jobs in.
    pub intake: Arc<Intake>,
    /// Where jobs are read.
    pub store: Arc<dyn Store>,
    /// The workflows, for readiness.
    pub catalog: Arc<Catalog>,
    /// Where outputs are read.
    pub blobs: Arc<Blobs>,
    /// What is known of each backend, by name.
    pub desks: Vec<(String, Arc<Desk>)>,
    /// Which webhook URLs are taken.
    pub targets: TargetRules,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// How long a request body may take to arrive.
    pub body_limit: Duration,
    /// The gateway is bound to a loopback address: only loopback host names are served.
    pub loopback_only: bool,
    /// What is known of whether the store can be written.
    pub write_check: WriteCheck,
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

/// The route table: every URL on one screen.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(only_post("/generate").route(web::post().to(submit::generate)))
        .service(only_get("/jobs").route(web::get().to(jobs::list)).route(web::head().to(jobs::list)))
        .service(only_get("/jobs/{id}").route(web::get().to(jobs::get)).route(web::head().to(jobs::get)))
        .service(only_post("/jobs/{id}/cancel").route(web::post().to(jobs::cancel)))
        .service(
            only_get("/jobs/{id}/outputs/{n}").route(web::get().to(jobs::output)).route(web::head().to(jobs::output)),
        )
        .service(
            only_get("/jobs/{id}/deliveries")
                .route(web::get().to(deliveries::of_job))
                .route(web::head().to(deliveries::of_job)),
        )
        .service(only_post("/jobs/{id}/deliveries/{d}/replay").route(web::post().to(deliveries::replay)))
        .service(only_get("/deliveries").route(web::get().to(deliveries::list)).route(web::head().to(deliveries::list)))
        .service(only_post("/deliveries/replay").route(web::post().to(deliveries::replay_all)))
        .service(only_get("/health").route(web::get().to(health::health)).route(web::head().to(health::health)))
        .service(only_get("/ready").route(web::get().to(health::ready)).route(web::head().to(health::ready)))
        .default_service(web::route().to(unknown));
}

fn only_post(path: &str) -> actix_web::Resource {
    web::resource(path.to_owned()).default_service(web::route().to(|| refuse_method("POST")))
}

fn only_get(path: &str) -> actix_web::Resource {
    web::resource(path.to_owned()).default_service(web::route().to(|| refuse_method("GET, HEAD")))
}

fn refuse_method(allowed: &'static str) -> Ready<Result<HttpResponse, ApiError>> {
    ready(Err(ApiError::method_not_allowed(allowed)))
}

async fn unknown(request: actix_web::HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::not_found(format!("there is nothing at {}", request.path())))
}

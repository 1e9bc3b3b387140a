//! `GET /metrics`, for Prometheus, and the middleware that counts requests. Nothing is written and no table is read through for
//! an answer: what is not counted is looked at.

use super::error::Code;
use super::{Api, ROUTES};
use crate::clock::{Stopwatch, Timestamp};
use crate::health::{Link, Standing};
use crate::metrics::{Format, Seen, SeenAgent, SeenBackend, SeenGpu, SeenStore};
use crate::pool::{Backend, Duty};
use crate::vitals::{AgentMetrics, Gpu};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use std::collections::HashMap;
use std::time::Duration;

/// Where jobs come from.
const GENERATE: &str = "/generate";

/// Tells all that is counted, and how things stand. Where the store does not answer, what it would tell is left out.
pub(super) async fn metrics(api: web::Data<Api>, request: HttpRequest) -> HttpResponse {
    let format = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::of(format);
    let seen = look(&api).await;
    let text = api.metrics.text(seen, format);
    HttpResponse::Ok().insert_header((CONTENT_TYPE, format.content_type())).insert_header((VARY, "accept")).body(text)
}

async fn look(api: &Api) -> Seen {
    let now = api.clock.now();
    let store = api.store.backlog().await.ok().map(|backlog| SeenStore {
        queued: backlog.queued,
        running: backlog.running,
        deliveries: backlog.deliveries,
        oldest: backlog.oldest.map(|oldest| now.since(oldest)).unwrap_or_default(),
    });
    let blocked = api.outlooks.blocked();
    let listening = api.relay.counts();
    Seen {
        store,
        waiting: api.outlooks.counts().by_why().into(),
        is_paused: api.pool.is_paused(),
        backends: api.pool.backends().iter().map(|backend| look_at(backend, &blocked, now)).collect(),
        hosts_down: api.standing.hosts_down(),
        listeners: (listening.listeners, listening.cut_off),
        partner_keys: api.intake.vault.len(),
        panics: api.lifecycle.panics(),
        started_at: api.started_at.millis(),
    }
}

fn look_at(backend: &Backend, blocked: &HashMap<String, usize>, now: Timestamp) -> SeenBackend {
    let health = backend.health.look();
    let devices = health.system.as_ref().map(|system| system.devices.as_slice()).unwrap_or_default();
    SeenBackend {
        name: backend.name.clone(),
        is_up: backend.desk.is_connected() && health.standing != Standing::Down,
        standing: Standing::ALL.map(|it| (it.as_str(), it == health.standing)).into(),
        socket: Link::ALL.map(|it| (it.as_str(), it == health.socket.link)).into(),
        misses: health.http.misses,
        answer: health.http.took_ms.map(Duration::from_millis),
        blocked: blocked.get(&backend.name).copied().unwrap_or(0),
        foreign: health.foreign,
        agent: backend.vitals.fresh(now).map(|told| agent(&told)).unwrap_or_default(),
        memory: devices.iter().map(|device| (device.vram_total, device.vram_free)).collect(),
        is_draining: backend.duty() == Duty::Draining,
        slots: backend.slots,
        prompts: backend.desk.load(),
    }
}

/// An agent that could not ask its GPUs repeats what they were: of a row nobody would see how old it is.
fn agent(told: &AgentMetrics) -> SeenAgent {
    let gpu = |gpu: &Gpu| SeenGpu {
        index: gpu.index,
        busy: gpu.utilization_ratio(),
        memory: gpu.memory_total_bytes(),
        memory_used: gpu.memory_used_bytes(),
        celsius: gpu.temperature_c,
    };
    SeenAgent {
        cpu: told.cpu_ratio(),
        memory: told.memory_total_bytes(),
        memory_used: told.memory_used_bytes(),
        gpus: told.gpus.iter().filter(|_| !told.is_stale).map(gpu).collect(),
    }
}

/// Counts every request, whoever answers it.
pub(crate) async fn count<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let watch = Stopwatch::start();
    let Some(api) = request.app_data::<web::Data<Api>>().cloned() else { return next.call(request).await };
    let method = request.method().clone();
    let pattern = request.match_pattern();
    let route = ROUTES.iter().map(|call| call.path).find(|path| pattern.as_deref() == Some(*path));
    let answer = next.call(request).await;
    let (status, code) = match &answer {
        Ok(answer) => (answer.status(), answer.response().extensions().get::<Code>().copied()),
        Err(error) => (error.as_response_error().status_code(), error.as_error().map(super::ApiError::counted)),
    };
    api.metrics.answered(route, method.as_str(), status.as_u16(), watch.elapsed());
    if let Some(Code(code)) = code.filter(|_| is_refused_job(route, &method, status)) {
        api.metrics.refused(code);
    }
    answer
}

fn is_refused_job(route: Option<&str>, method: &Method, status: StatusCode) -> bool {
    route == Some(GENERATE) && method == Method::POST && !status.is_success()
}

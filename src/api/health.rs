//! Liveness, which never asks anybody, and readiness, which says what is missing.

use super::caller::Caller;
use super::{Api, ApiError};
use crate::clock::{Clock, Timestamp};
use crate::job::Scope;
use crate::store::{Backlog, Store, StoreError};
use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::sync::Mutex;

/// For so long what was found out about the store is told again: however often somebody asks, it is not written more often.
const FOUND_OUT: Duration = Duration::from_secs(1);

/// How long the store may take to write before it counts as one that cannot.
const WRITE_LIMIT: Duration = Duration::from_secs(3);

/// Whether the store could be written when it was tried last.
#[derive(Debug, Default)]
pub struct WriteCheck {
    last: Mutex<Option<(Timestamp, Option<String>)>>,
}

impl WriteCheck {
    /// Returns why the store cannot be written; none where it can. Who asks meanwhile waits for the same answer.
    async fn trouble(&self, store: &dyn Store, clock: &dyn Clock) -> Option<String> {
        let mut last = self.last.lock().await;
        if let Some((at, trouble)) = last.as_ref()
            && clock.now() < *at + FOUND_OUT
        {
            return trouble.clone();
        }
        let trouble = tokio::select! {
            written = store.probe() => written.err().map(|error| error.to_string()),
            () = clock.sleep_until(clock.now() + WRITE_LIMIT) => {
                Some(format!("the store has not written anything for {} s", WRITE_LIMIT.as_secs()))
            }
        };
        *last = Some((clock.now(), trouble.clone()));
        trouble
    }
}

/// Says that the process serves; a load balancer may ask as often as it likes.
pub(super) async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// Says whether new jobs can be taken in and run: 503 while stopping, with as many jobs waiting as may, without a store that
/// can be written, without any backend that serves and answers, or without the default workflow. Files that could not be loaded are listed, but do not make it unready. Who shows no key
/// where one is asked for is told no more than that; backends and counts, which are of all tenants, are the operator's.
pub(super) async fn ready(api: web::Data<Api>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let backlog = api.store.backlog().await;
    let unwritable = api.write_check.trouble(api.store.as_ref(), api.clock.as_ref()).await;
    let any_backend = api.pool.is_any_there();
    let has_workflow = api.catalog.workflow(&api.intake.default_workflow).is_some();
    let is_full = backlog.as_ref().is_ok_and(|backlog| backlog.queued >= api.throttle.most_waiting());
    let takes_jobs = !api.is_draining() && !is_full && backlog.is_ok() && unwritable.is_none();
    let is_ready = takes_jobs && any_backend && has_workflow;

    let mut view = Map::new();
    view.insert("status".into(), json!(if is_ready { "ready" } else { "not_ready" }));
    if caller.scopes.allow(Scope::Read) {
        view.insert("draining".into(), json!(api.is_draining()));
        view.insert("workflows".into(), json!(api.catalog.names()));
        view.insert("default_workflow".into(), json!({ "name": api.intake.default_workflow, "loaded": has_workflow }));
    }
    if caller.sees_all {
        view.insert("queue_full".into(), json!(is_full));
        tell_operator(&mut view, &api, unwritable, backlog);
    }
    let mut answer = if is_ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    Ok(answer.json(view))
}

fn tell_operator(
    view: &mut Map<String, Value>,
    api: &Api,
    unwritable: Option<String>,
    backlog: Result<Backlog, StoreError>,
) {
    let backends: Vec<Value> = api
        .pool
        .backends()
        .iter()
        .map(|backend| {
            let (name, desk, duty) = (&backend.name, &backend.desk, backend.duty().as_str());
            let (connected, prompts) = (desk.is_connected(), desk.load());
            json!({ "name": name, "duty": duty, "connected": connected, "prompts": prompts, "error": desk.trouble() })
        })
        .collect();
    view.insert("backends".into(), Value::Array(backends));
    view.insert("queue_paused".into(), json!(api.pool.is_paused()));
    if let Some(local) = &api.local {
        let local = local.borrow();
        let (address, condition, restarts) = (&local.address, local.condition.as_str(), local.restarts);
        let view_of_it =
            json!({ "address": address, "state": condition, "restarts": restarts, "error": local.trouble });
        view.insert("local".into(), view_of_it);
    }
    view.insert("partner_keys".into(), json!(api.intake.vault.len()));
    view.insert("webhook_hosts_down".into(), json!(api.standing.hosts_down()));
    let problems: Vec<String> = api.catalog.problems().values().flatten().map(ToString::to_string).collect();
    view.insert("workflow_problems".into(), json!(problems));
    if let Some(reason) = unwritable {
        view.insert("store".into(), json!(reason));
    }
    match backlog {
        Ok(backlog) => {
            let (queued, running, deliveries) = (backlog.queued, backlog.running, backlog.deliveries);
            let counts = json!({ "queued": queued, "running": running, "deliveries": deliveries });
            view.insert("backlog".into(), counts);
        }
        Err(error) => {
            view.insert("store".into(), json!(error.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::store::SqliteStore;

    #[tokio::test]
    async fn however_often_somebody_asks_the_store_is_written_once_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).unwrap();
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let check = WriteCheck::default();
        let other = rusqlite::Connection::open(folder.path().join("comfygate.db")).unwrap();
        // Another number for another connection after each commit that wrote something.
        let commits = || other.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).unwrap();
        let mut last = commits();
        for second in 0..3 {
            for asked in 0..100 {
                assert_eq!(check.trouble(store.as_ref(), clock.as_ref()).await, None);
                let now = commits();
                assert_eq!(now != last, asked == 0, "second {second}, asked {asked} times before");
                last = now;
            }
            clock.advance(FOUND_OUT);
        }
        store.close().await;
        let trouble = check.trouble(store.as_ref(), clock.as_ref()).await;
        assert_eq!(trouble.as_deref(), Some("the store cannot write: it is closed"));
    }
}

//! `GET /webhooks/summary`: how webhooks fared in the last hours.

use super::caller::Caller;
use super::{Api, ApiError};
use crate::store::{Summary, SummaryCounts, SummaryFilter, SummaryStep};
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

const USUAL: u64 = 24;
const MOST: u64 = 168;
/// How many jobs are looked at: what takes a tenth of a second or two.
const JOBS: u32 = 50_000;

/// Answers with the sum; `?hours=&tenant=`.
pub(super) async fn get(
    api: web::Data<Api>,
    caller: Caller,
    query: web::Query<HashMap<String, String>>,
) -> Result<HttpResponse, ApiError> {
    let tenant = caller.only(query.get("tenant").map(String::as_str))?;
    let mut hours = USUAL;
    for (name, value) in query.iter() {
        match name.as_str() {
            "hours" => hours = read_hours(value)?,
            // Whose they are is settled already.
            "tenant" => {}
            _ => {
                let message = format!("there is no filter `{}`; there are hours, tenant", name.escape_debug());
                return Err(ApiError::bad_request("unknown_field", message));
            }
        }
    }
    let until = api.clock.now();
    let since = until.back_by(Duration::from_hours(hours));
    let summary = api.store.summary(SummaryFilter { tenant, since, until, limit: JOBS }).await?;
    Ok(HttpResponse::Ok().json(view(&summary)))
}

fn read_hours(value: &str) -> Result<u64, ApiError> {
    let hours = value.parse().ok().filter(|hours| (1..=MOST).contains(hours));
    hours.ok_or_else(|| {
        ApiError::bad_request("out_of_range", format!("hours: `{}` is outside 1..={MOST}", value.escape_debug()))
    })
}

fn view(summary: &Summary) -> Value {
    let hosts: Vec<Value> =
        summary.hosts.iter().map(|(host, counts)| with_counts(json!({ "host": host }), counts)).collect();
    let buckets: Vec<Value> = summary.steps.iter().map(bucket).collect();
    let ended = summary.counts.ended();
    // Far fewer than a float tells apart.
    #[expect(clippy::cast_precision_loss, reason = "there are 50000 at most")]
    let rate = (ended > 0).then(|| summary.counts.delivered as f64 / ended as f64);
    let whole = json!({
        "since": summary.since.rfc3339(),
        "partial": summary.is_partial,
        "success_rate": rate,
        "buckets": buckets,
        "hosts": hosts,
    });
    with_counts(whole, &summary.counts)
}

fn with_counts(mut view: Value, counts: &SummaryCounts) -> Value {
    for (name, count) in [
        ("delivered", counts.delivered),
        ("gone", counts.gone),
        ("undeliverable", counts.undeliverable),
        ("pending", counts.pending),
    ] {
        view[name] = json!(count);
    }
    view
}

fn bucket(step: &SummaryStep) -> Value {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let latency = step.latency.map(|(half, most)| json!({ "p50": millis(half), "p95": millis(most) }));
    json!({ "at": step.at.rfc3339(), "delivered": step.delivered, "failed": step.failed, "latency_ms": latency })
}

//! How long after the end of a prompt its webhook has come, against a bare POST of the same bytes to the same receiver.

use crate::figures::{Row, percentile};
use crate::http::{Connection, post};
use crate::processes::{Gateway, Process};
use crate::sink::{Arrival, Sink};
use crate::tap::Tap;
use crate::{Plan, progress};
use anyhow::{Context, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long a single job may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn measure(plan: Plan) -> anyhow::Result<Vec<Row>> {
    let sim = Process::role("serve-sim")?;
    let (tap, wire) = Tap::open(sim.address).await?;
    let gateway = Gateway::start(wire)?;
    gateway.until("/ready").await?;
    let mut sink = Sink::open()?;
    let body = json!({ "prompt": "a lighthouse", "webhook_url": sink.url() }).to_string();
    let request = post(gateway.address(), "/generate", body.as_bytes());
    let mut to_gateway = Connection::open(gateway.address()).await?;
    let mut to_sink = Connection::open(sink.address).await?;
    let (mut webhooks, mut bare_posts) = (Vec::new(), Vec::new());
    let warm_up = plan.singles / 10;
    for number in 0..plan.singles + warm_up {
        let (status, answer) = to_gateway.exchange(&request).await?;
        ensure!(status == 202, "POST /generate answered {status}: {}", String::from_utf8_lossy(answer));
        let webhook = next(&mut sink).await?;
        ensure!(webhook.is_whole(), "a webhook without its image: {} bytes", webhook.body.len());
        let ended = tap.take().context("a webhook came, but no end of its prompt before it")?;
        let bytes = post(sink.address, "/hook", &webhook.body);
        let sent = Instant::now();
        let (status, _) = to_sink.exchange(&bytes).await?;
        ensure!(status == 204, "the receiver answered {status}");
        let bare = next(&mut sink).await?;
        if number >= warm_up {
            webhooks.push(webhook.at.saturating_duration_since(ended).as_secs_f64() * 1000.0);
            bare_posts.push(bare.at.saturating_duration_since(sent).as_secs_f64() * 1000.0);
        }
        if number % 100 == 99 {
            progress(&format!("latency: {} of {} jobs", number + 1, plan.singles + warm_up));
        }
    }
    sink.close().await;
    let row = |what, share, budget, most| {
        let (bare, webhook) = (percentile(&bare_posts, share), percentile(&webhooks, share));
        let over = webhook - bare;
        Row {
            what,
            bare: format!("{bare:.2} ms"),
            gateway: format!("{webhook:.2} ms"),
            result: format!("{over:.2} ms more"),
            budget,
            is_met: Some(over <= most),
        }
    };
    Ok(vec![
        row("last event of a prompt until its webhook has come, p50", 0.5, "<= 3 ms more", 3.0),
        row("the same, p99", 0.99, "<= 15 ms more", 15.0),
    ])
}

async fn next(sink: &mut Sink) -> anyhow::Result<Arrival> {
    let arrival = tokio::time::timeout(PATIENCE, sink.arrivals.recv()).await.context("nothing came")?;
    arrival.context("the receiver ended")
}

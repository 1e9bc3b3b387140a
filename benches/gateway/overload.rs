//! How soon the gateway refuses while ten times as many requests come as it lets in, and how much memory that takes.

use crate::figures::{Row, percentile};
use crate::http::{Connection, post};
use crate::processes::{Gateway, Process};
use crate::sink::Sink;
use crate::{Plan, millis, progress};
use anyhow::{bail, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use std::time::{Duration, Instant};

/// What is let in, and what comes: this many connections, each with so many requests a second.
const RATE: &str = "COMFYGATE_RATE=40/s";
const CONNECTIONS: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// How many turns of the other measurements it lasts.
const TURNS: u32 = 8;

/// How soon the slowest hundredth is refused, in milliseconds, and how much the memory may grow, in MB.
const SOON: f64 = 50.0;
const GROWTH: f64 = 32.0;

pub(crate) async fn measure(plan: Plan) -> anyhow::Result<Vec<Row>> {
    let sim = Process::role("serve-sim")?;
    let gateway = Gateway::start_with(sim.address, &[RATE])?;
    gateway.until("/ready").await?;
    let mut sink = Sink::open()?;
    let body = json!({ "prompt": "a lighthouse", "webhook_url": sink.url() }).to_string();
    let request = post(gateway.address(), "/generate", body.as_bytes());
    let lasts = plan.turn * TURNS;
    let (flood, before) = tokio::select! {
        flooded = async {
            flood(&gateway, &request, lasts / 4).await?;
            let before = gateway.memory()?;
            anyhow::Ok((flood(&gateway, &request, lasts).await?, before))
        } => flooded?,
        // What was taken in is told meanwhile.
        () = async { while sink.arrivals.recv().await.is_some() {} } => bail!("the receiver ended"),
    };
    let after = gateway.memory()?;
    sink.close().await;
    let (taken_in, refusals) = flood;
    ensure!(refusals.len() >= 8 * taken_in, "{taken_in} taken in and {} refused: no overload", refusals.len());
    progress(&format!("overload: {taken_in} requests taken in, {} refused", refusals.len()));
    let (half, slowest) = (percentile(&refusals, 0.5), percentile(&refusals, 0.99));
    let row = |what, gateway: String, budget, is_met| Row {
        what,
        bare: String::new(),
        result: gateway.clone(),
        gateway,
        budget,
        is_met,
    };
    Ok(vec![
        row(
            "a refusal while ten times as many requests come as are let in, p99",
            format!("{slowest:.2} ms"),
            "< 50 ms",
            Some(slowest < SOON),
        ),
        row("the same, p50", format!("{half:.2} ms"), "", None),
        row(
            "the gateway's memory after it; what it grew by counts",
            format!("{before:.0} to {after:.0} MB"),
            "< 32 MB more",
            Some(after - before < GROWTH),
        ),
    ])
}

/// Sends at an even pace. Returns how many were taken in, and how long each refusal took in milliseconds.
async fn flood(gateway: &Gateway, request: &[u8], lasts: Duration) -> anyhow::Result<(usize, Vec<f64>)> {
    let until = Instant::now() + lasts;
    let senders = (0..CONNECTIONS).map(async |_| {
        let mut connection = Connection::open(gateway.address()).await?;
        let mut pace = tokio::time::interval(PAUSE);
        let (mut taken_in, mut refusals) = (0, Vec::new());
        while Instant::now() < until {
            pace.tick().await;
            let sent = Instant::now();
            let (status, _) = connection.exchange(request).await?;
            match status {
                202 => taken_in += 1,
                429 | 503 => refusals.push(millis(sent)),
                _ => bail!("POST /generate answered {status}"),
            }
        }
        Ok((taken_in, refusals))
    });
    let seen = try_join_all(senders).await?;
    let taken_in = seen.iter().map(|(taken_in, _)| taken_in).sum();
    Ok((taken_in, seen.into_iter().flat_map(|(_, refusals)| refusals).collect()))
}

//! Two gateways that run single jobs turn by turn, so that what differs between them is all that differs.

use crate::http::{Connection, post};
use crate::processes::Gateway;
use crate::sink::Sink;
use crate::tap::Tap;
use crate::{Plan, progress};
use anyhow::{Context, ensure};
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How many more single jobs are timed than elsewhere: a hundredth of them must still be many.
const MORE: usize = 5;

/// How long a single job may take, and how long very many.
const PATIENCE: Duration = Duration::from_secs(10);
const LONG_PATIENCE: Duration = Duration::from_mins(1);

/// How long a job took, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Took {
    /// From its request to its webhook.
    pub(crate) whole: f64,
    /// From the last event of its prompt to its webhook.
    pub(crate) last_step: f64,
}

/// Runs single jobs on both, turn by turn; returns how long they took.
pub(crate) async fn in_turn(
    sides: [&mut Side; 2],
    sink: &mut Sink,
    plan: Plan,
    name: &str,
) -> anyhow::Result<(Vec<Took>, Vec<Took>)> {
    let [one, other] = sides;
    let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
    let (count, warm_up) = (plan.singles * MORE, plan.singles / 4);
    for number in 0..count + warm_up {
        // In turn the first, so that none has an advantage.
        for turn in [number % 2, 1 - number % 2] {
            let (side, times) = if turn == 0 { (&mut *one, &mut of_one) } else { (&mut *other, &mut of_other) };
            let took = side.run_one(sink).await?;
            if number >= warm_up {
                times.push(took);
            }
        }
        if number % 500 == 499 {
            progress(&format!("{name}: {} of {} pairs of jobs", number + 1, count + warm_up));
        }
    }
    Ok((of_one, of_other))
}

/// A gateway, and the wire on which the ends of its prompts go by.
pub(crate) struct Side {
    pub(crate) gateway: Gateway,
    tap: Tap,
    connection: Connection,
}

impl Side {
    pub(crate) async fn start(sim: SocketAddr, settings: &[&str]) -> anyhow::Result<Self> {
        let (tap, wire) = Tap::open(sim).await?;
        let gateway = Gateway::start_with(wire, settings)?;
        gateway.until("/ready").await?;
        let connection = Connection::open(gateway.address()).await?;
        Ok(Self { gateway, tap, connection })
    }

    async fn submit(&mut self, url: &str) -> anyhow::Result<()> {
        let body = json!({ "prompt": "a lighthouse", "webhook_url": url }).to_string();
        let request = post(self.gateway.address(), "/generate", body.as_bytes());
        let (status, answer) = self.connection.exchange(&request).await?;
        ensure!(status == 202, "POST /generate answered {status}: {}", String::from_utf8_lossy(answer));
        Ok(())
    }

    /// Runs so many jobs to their end; their receivers take turns.
    pub(crate) async fn run_many(&mut self, count: usize, urls: &[String]) -> anyhow::Result<()> {
        for number in 0..count {
            self.submit(&urls[number % urls.len()]).await?;
        }
        let ended = async {
            loop {
                let backlog = self.backlog().await?;
                if backlog["queued"] == 0 && backlog["running"] == 0 {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(LONG_PATIENCE, ended).await.context("the jobs did not end")?
    }

    /// Runs one job.
    async fn run_one(&mut self, sink: &mut Sink) -> anyhow::Result<Took> {
        self.tap.take();
        let sent = Instant::now();
        self.submit(&sink.url()).await?;
        let at = next(sink).await?;
        let ended = self.tap.take().context("a webhook came, but no end of its prompt before it")?;
        let millis_since = |since| at.saturating_duration_since(since).as_secs_f64() * 1000.0;
        Ok(Took { whole: millis_since(sent), last_step: millis_since(ended) })
    }

    pub(crate) async fn undelivered(&mut self) -> anyhow::Result<usize> {
        let backlog = self.backlog().await?;
        Ok(usize::try_from(backlog["deliveries"].as_u64().context("no number of deliveries")?)?)
    }

    async fn backlog(&mut self) -> anyhow::Result<serde_json::Value> {
        let request = crate::http::get(self.gateway.address(), "/ready");
        let (_, answer) = self.connection.exchange(&request).await?;
        let mut ready: serde_json::Value = serde_json::from_slice(answer)?;
        Ok(ready["backlog"].take())
    }
}

/// Waits for the next webhook; returns when it was whole.
pub(crate) async fn next(sink: &mut Sink) -> anyhow::Result<Instant> {
    let arrival = tokio::time::timeout(PATIENCE, sink.arrivals.recv()).await.context("no webhook came")?;
    let arrival = arrival.context("the receiver ended")?;
    ensure!(arrival.is_whole(), "a webhook without its image: {} bytes", arrival.body.len());
    Ok(arrival.at)
}

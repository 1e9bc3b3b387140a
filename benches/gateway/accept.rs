//! How many jobs a second are taken in and put on disk, against a handler that parses the same body and keeps nothing.

use crate::figures::{Row, median, percentile, rate, spread};
use crate::http::{Connection, post};
use crate::processes::{Gateway, Process};
use crate::{Plan, millis, progress};
use anyhow::ensure;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How many callers there are, each with one connection and one request under way.
const CONNECTIONS: usize = 64;

const BODY: &str = r#"{"prompt":"a lighthouse above a sea of clouds, first light, long exposure","image_count":1,"width":512,"height":512,"metadata":{"order":20261}}"#;

/// What a side did in its turn.
struct Turn {
    per_second: f64,
    /// Milliseconds from request to answer.
    answers: Vec<f64>,
    /// All that were answered, those of the warming up too.
    accepted: usize,
}

pub(crate) async fn measure(plan: Plan) -> anyhow::Result<Vec<Row>> {
    let bare = Process::role("serve-bare")?;
    // Nobody listens there, so jobs are taken in and stay in the queue.
    let nobody = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let gateway = Gateway::start(nobody)?;
    gateway.until("/health").await?;
    let (mut ratios, mut bare_rates, mut gateway_rates) = (Vec::new(), Vec::new(), Vec::new());
    let mut processor_times = Vec::new();
    let (mut bare_p99, mut gateway_p99) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        let volatile = load(bare.address, plan.turn).await?;
        let before = gateway.processor_time()?;
        let durable = load(gateway.address(), plan.turn).await?;
        processor_times.push((gateway.processor_time()? - before) * 1e6 / rate(durable.accepted, 1.0));
        let ratio = durable.per_second / volatile.per_second;
        let (bare_slow, gateway_slow) = (percentile(&volatile.answers, 0.99), percentile(&durable.answers, 0.99));
        progress(&format!(
            "accept {round}/{}: bare {:.0}/s (p99 {bare_slow:.1} ms), gateway {:.0}/s (p99 {gateway_slow:.1} ms), {ratio:.2} x",
            plan.rounds, volatile.per_second, durable.per_second,
        ));
        ratios.push(ratio);
        bare_rates.push(volatile.per_second);
        gateway_rates.push(durable.per_second);
        bare_p99.push(bare_slow);
        gateway_p99.push(gateway_slow);
    }
    Ok(vec![
        Row {
            what: "`POST /generate` taken in and on disk, 64 connections",
            bare: format!("{:.0}/s", median(&bare_rates)),
            gateway: format!("{:.0}/s", median(&gateway_rates)),
            result: format!("{} x", spread(&ratios, 2)),
            budget: ">= 0.5 x",
            is_met: Some(median(&ratios) >= 0.5),
        },
        Row {
            what: "its p99",
            bare: format!("{:.1} ms", median(&bare_p99)),
            gateway: format!("{:.1} ms", median(&gateway_p99)),
            result: format!("{} ms", spread(&gateway_p99, 1)),
            budget: "<= 25 ms",
            is_met: Some(median(&gateway_p99) <= 25.0),
        },
        Row::note("processor time of the gateway for one such job", format!("{} us", spread(&processor_times, 0))),
    ])
}

/// Loads a server for a turn, after a quarter of one to warm up.
async fn load(address: SocketAddr, turn: Duration) -> anyhow::Result<Turn> {
    let begin = Instant::now() + turn / 4;
    let end = begin + turn;
    let mut callers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        callers.spawn(call(address, begin, end));
    }
    let (mut answers, mut accepted) = (Vec::new(), 0);
    while let Some(caller) = callers.join_next().await {
        let (timed, all) = caller??;
        answers.extend(timed);
        accepted += all;
    }
    Ok(Turn { per_second: rate(answers.len(), turn.as_secs_f64()), answers, accepted })
}

async fn call(address: SocketAddr, begin: Instant, end: Instant) -> anyhow::Result<(Vec<f64>, usize)> {
    let request = post(address, "/generate", BODY.as_bytes());
    let mut connection = Connection::open(address).await?;
    let (mut answers, mut accepted) = (Vec::new(), 0);
    loop {
        let sent = Instant::now();
        let (status, body) = connection.exchange(&request).await?;
        ensure!(status == 202, "POST /generate answered {status}: {}", String::from_utf8_lossy(body));
        accepted += 1;
        let now = Instant::now();
        if now >= end {
            return Ok((answers, accepted));
        }
        if now >= begin {
            answers.push(millis(sent));
        }
    }
}

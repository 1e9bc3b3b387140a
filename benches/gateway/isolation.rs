//! Whether a healthy receiver notices that others are dead: the last step of single jobs, on a gateway with a thousand
//! webhooks to receivers that never answer and on one without, turn by turn.

use crate::figures::{Row, percentile};
use crate::http::{Connection, post};
use crate::processes::{Gateway, Process};
use crate::sink::Sink;
use crate::tap::Tap;
use crate::{Plan, progress};
use anyhow::{Context, ensure};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How many jobs end with a webhook that does not arrive.
const STUCK: usize = 1000;

/// How many more single jobs are timed than elsewhere: a hundredth of them must still be many.
const MORE: usize = 5;

/// How long a single job may take, and how long the thousand.
const PATIENCE: Duration = Duration::from_secs(10);
const LONG_PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn measure(plan: Plan) -> anyhow::Result<Vec<Row>> {
    let sim = Process::role("serve-sim")?;
    let mut sink = Sink::open()?;
    let mute = Mute::open().await?;
    let deaf = Deaf::open().await?;
    let mut alone = Side::start(sim.address).await?;
    let mut beside = Side::start(sim.address).await?;
    let stuck = if plan.singles < 100 { STUCK / 10 } else { STUCK };
    // As much work and as many rows on either side; only the receivers differ.
    alone.run_many(stuck, &[sink.url()]).await?;
    for _ in 0..stuck {
        next(&mut sink).await?;
    }
    beside.run_many(stuck, &[format!("http://{}/", mute.address), format!("http://{}/", deaf.address)]).await?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let (count, warm_up) = (plan.singles * MORE, plan.singles / 4);
    for number in 0..count + warm_up {
        // In turn the first, so that none has an advantage.
        for turn in [number % 2, 1 - number % 2] {
            let (side, times) = if turn == 0 { (&mut alone, &mut without) } else { (&mut beside, &mut with) };
            let took = side.run_one(&mut sink).await?;
            if number >= warm_up {
                times.push(took);
            }
        }
        if number % 500 == 499 {
            progress(&format!("isolation: {} of {} pairs of jobs", number + 1, count + warm_up));
        }
    }
    let waiting = beside.undelivered().await?;
    ensure!(waiting == stuck, "{waiting} webhooks wait for dead receivers, {stuck} should");
    sink.close().await;
    let row = |what, share, budget: &'static str, most: Option<f64>| {
        let (without, with) = (percentile(&without, share), percentile(&with, share));
        let ratio = with / without;
        Row {
            what,
            bare: format!("{without:.2} ms"),
            gateway: format!("{with:.2} ms"),
            result: format!("{ratio:.2} x"),
            budget,
            is_met: most.map(|most| ratio < most),
        }
    };
    Ok(vec![
        row(
            "last event of a prompt until its webhook has come, p99, beside 1000 webhooks to dead receivers (bare: without them)",
            0.99,
            "< 1.10 x",
            Some(1.10),
        ),
        row("the same, p50", 0.5, "", None),
    ])
}

/// A gateway, and the wire on which the ends of its prompts go by.
struct Side {
    gateway: Gateway,
    tap: Tap,
    connection: Connection,
}

impl Side {
    async fn start(sim: SocketAddr) -> anyhow::Result<Self> {
        let (tap, wire) = Tap::open(sim).await?;
        let gateway = Gateway::start(wire)?;
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
    async fn run_many(&mut self, count: usize, urls: &[String]) -> anyhow::Result<()> {
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

    /// Runs one job; returns the milliseconds from its last event to its webhook.
    async fn run_one(&mut self, sink: &mut Sink) -> anyhow::Result<f64> {
        self.tap.take();
        self.submit(&sink.url()).await?;
        let at = next(sink).await?;
        let ended = self.tap.take().context("a webhook came, but no end of its prompt before it")?;
        Ok(at.saturating_duration_since(ended).as_secs_f64() * 1000.0)
    }

    async fn undelivered(&mut self) -> anyhow::Result<usize> {
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

/// A receiver that accepts and never answers.
struct Mute {
    address: SocketAddr,
}

impl Mute {
    async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                kept.push(stream);
            }
        });
        Ok(Self { address })
    }
}

/// A receiver to which no connection comes about: its queue is full, so that the kernel drops what asks for one.
struct Deaf {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Deaf {
    async fn open() -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let listener = socket.listen(1)?;
        let address = listener.local_addr()?;
        let mut queue = Vec::new();
        while let Ok(stream) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            queue.push(stream?);
            ensure!(queue.len() < 64, "the queue of a listener does not become full");
        }
        Ok(Self { address, _listener: listener, _queue: queue })
    }
}

async fn next(sink: &mut Sink) -> anyhow::Result<std::time::Instant> {
    let arrival = tokio::time::timeout(PATIENCE, sink.arrivals.recv()).await.context("no webhook came")?;
    let arrival = arrival.context("the receiver ended")?;
    ensure!(arrival.is_whole(), "a webhook without its image: {} bytes", arrival.body.len());
    Ok(arrival.at)
}

//! How many jobs a second go the whole way, request to webhook, against what the same driver gets from the simulator
//! itself.

use crate::figures::{Row, median, rate, spread};
use crate::http::{Connection, post};
use crate::processes::{Gateway, Process};
use crate::roles::IMAGE_BYTES;
use crate::sink::Sink;
use crate::{Plan, progress};
use anyhow::{Context, bail, ensure};
use comfygate::workflow::shipped;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use uuid::Uuid;

/// How many jobs are under way, on either side.
const UNDER_WAY: usize = 16;

/// How long the last jobs of a turn may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn measure(plan: Plan) -> anyhow::Result<Vec<Row>> {
    let sim = Process::role("serve-sim")?;
    let usual = Gateway::start(sim.address)?;
    usual.until("/ready").await?;
    // As many as the driver keeps on the simulator when it talks to it itself.
    let deep = Gateway::start_with(sim.address, &[&format!("COMFYGATE_BACKEND_QUEUE={UNDER_WAY}")])?;
    deep.until("/ready").await?;
    let mut sink = Sink::open()?;
    let mut straight_rates = Vec::new();
    let mut processor_times = Vec::new();
    let (mut usual_rates, mut usual_ratios) = (Vec::new(), Vec::new());
    let (mut deep_rates, mut deep_ratios) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        let straight = straight(sim.address, plan.turn).await.context("straight from the simulator")?;
        let before = usual.processor_time()?;
        let with_usual = through(usual.address(), &mut sink, plan.turn).await.context("through the gateway")?;
        processor_times.push((usual.processor_time()? - before) * 1e3 / rate(with_usual.jobs, 1.0));
        let with_usual = with_usual.per_second;
        let with_deep = through(deep.address(), &mut sink, plan.turn).await.context("through the deeper queue")?;
        let with_deep = with_deep.per_second;
        progress(&format!(
            "journey {round}/{}: simulator {straight:.0} jobs/s, gateway {with_deep:.0} ({:.2} x), \
             with its usual backend queue {with_usual:.0} ({:.2} x)",
            plan.rounds,
            with_deep / straight,
            with_usual / straight,
        ));
        straight_rates.push(straight);
        usual_rates.push(with_usual);
        usual_ratios.push(with_usual / straight);
        deep_rates.push(with_deep);
        deep_ratios.push(with_deep / straight);
    }
    let peak = usual.peak_memory()?.max(deep.peak_memory()?);
    sink.close().await;
    let row = |what, rates: &[f64], ratios: &[f64]| Row {
        what,
        bare: format!("{:.0}/s", median(&straight_rates)),
        gateway: format!("{:.0}/s", median(rates)),
        result: format!("{} x", spread(ratios, 2)),
        budget: ">= 0.5 x",
        is_met: Some(median(ratios) >= 0.5),
    };
    Ok(vec![
        row(
            "jobs from request to webhook, one image of 100 kB, as many prompts on the simulator",
            &deep_rates,
            &deep_ratios,
        ),
        row("the same with the usual two prompts on the simulator", &usual_rates, &usual_ratios),
        Row::note("processor time of the gateway for one such job", format!("{} ms", spread(&processor_times, 2))),
        Row {
            what: "the gateway's largest resident memory meanwhile",
            bare: String::new(),
            gateway: format!("{peak:.0} MB"),
            result: format!("{peak:.0} MB"),
            budget: "< 150 MB",
            is_met: Some(peak < 150.0),
        },
    ])
}

/// Counts the jobs that end in a turn, after a quarter of one to warm up.
struct Count {
    begin: Instant,
    end: Instant,
    ended: usize,
}

impl Count {
    fn over(turn: Duration) -> Self {
        let begin = Instant::now() + turn / 4;
        Self { begin, end: begin + turn, ended: 0 }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    fn job_ended(&mut self, at: Instant) {
        self.ended += usize::from(at >= self.begin && at < self.end);
    }

    fn per_second(&self) -> f64 {
        rate(self.ended, (self.end - self.begin).as_secs_f64())
    }
}

/// What the gateway did in its turn.
struct Through {
    per_second: f64,
    /// All jobs, those of the warming up too.
    jobs: usize,
}

async fn through(gateway: SocketAddr, sink: &mut Sink, turn: Duration) -> anyhow::Result<Through> {
    let body = json!({ "prompt": "a lighthouse", "webhook_url": sink.url() }).to_string();
    let request = post(gateway, "/generate", body.as_bytes());
    let mut poster = Poster::start(gateway);
    let mut count = Count::over(turn);
    for _ in 0..UNDER_WAY {
        poster.send(request.clone())?;
    }
    let mut open = UNDER_WAY;
    let mut told = HashSet::new();
    while open > 0 {
        let arrival = tokio::time::timeout(PATIENCE, sink.arrivals.recv()).await.context("no webhook came")?;
        let arrival = arrival.context("the receiver ended")?;
        ensure!(arrival.is_whole(), "a webhook without its image: {} bytes", arrival.body.len());
        ensure!(told.insert(arrival.job.clone()), "job {} was told of twice", arrival.job);
        count.job_ended(arrival.at);
        poster.check()?;
        open -= 1;
        if !count.is_over() {
            poster.send(request.clone())?;
            open += 1;
        }
    }
    Ok(Through { per_second: count.per_second(), jobs: told.len() })
}

async fn straight(sim: SocketAddr, turn: Duration) -> anyhow::Result<f64> {
    let template = shipped::PAIRS.iter().find(|pair| pair.name == "starter").context("no workflow `starter`")?.template;
    let mut graph: Value = serde_json::from_str(template)?;
    let client = Uuid::new_v4().to_string();
    let mut socket = listen(sim, &client).await?;
    let mut poster = Poster::start(sim);
    let mut count = Count::over(turn);
    let mut seed = u64::from(Uuid::new_v4().as_fields().0);
    let mut request = || {
        seed += 1;
        graph["3"]["inputs"]["seed"] = seed.into();
        let body = json!({ "prompt": graph, "client_id": client, "prompt_id": Uuid::new_v4().to_string() }).to_string();
        post(sim, "/prompt", body.as_bytes())
    };
    for _ in 0..UNDER_WAY {
        poster.send(request())?;
    }
    let (mut open, mut images) = (UNDER_WAY, 0);
    while open > 0 {
        let frame = tokio::time::timeout(PATIENCE, socket.next()).await.context("no event came")?;
        match frame.context("the simulator closed the socket")?? {
            Message::Binary(bytes) if bytes.len() >= IMAGE_BYTES => images += 1,
            Message::Text(text) if text.contains(r#""execution_success""#) => {
                ensure!(images == 1, "a prompt ended with {images} images");
                images = 0;
                count.job_ended(Instant::now());
                poster.check()?;
                open -= 1;
                if !count.is_over() {
                    poster.send(request())?;
                    open += 1;
                }
            }
            Message::Text(text) if text.contains(r#""execution_error""#) => bail!("a prompt failed: {text}"),
            Message::Text(_)
            | Message::Binary(_)
            | Message::Ping(_)
            | Message::Pong(_)
            | Message::Close(_)
            | Message::Frame(_) => {}
        }
    }
    socket.close(None).await?;
    Ok(count.per_second())
}

async fn listen(sim: SocketAddr, client: &str) -> anyhow::Result<WebSocketStream<MaybeTlsStream<TcpStream>>> {
    let (mut socket, _) = Box::pin(connect_async(format!("ws://{sim}/ws?clientId={client}"))).await?;
    let handshake = r#"{"type":"feature_flags","data":{"supports_preview_metadata":true}}"#;
    socket.send(Message::text(handshake)).await?;
    Ok(socket)
}

/// Posts requests over a few connections, without waiting for their answers.
struct Poster {
    requests: Vec<mpsc::UnboundedSender<Vec<u8>>>,
    errors: mpsc::UnboundedReceiver<anyhow::Error>,
    next: usize,
}

impl Poster {
    const CONNECTIONS: usize = 4;

    fn start(address: SocketAddr) -> Self {
        let (report, errors) = mpsc::unbounded_channel();
        let mut requests = Vec::new();
        for _ in 0..Self::CONNECTIONS {
            let (sender, mut inbox) = mpsc::unbounded_channel::<Vec<u8>>();
            let report = report.clone();
            tokio::spawn(async move {
                let posting = async {
                    let mut connection = Connection::open(address).await?;
                    while let Some(request) = inbox.recv().await {
                        let (status, body) = connection.exchange(&request).await?;
                        ensure!((200..300).contains(&status), "{status}: {}", String::from_utf8_lossy(body));
                    }
                    anyhow::Ok(())
                };
                if let Err(error) = posting.await {
                    // Without anybody to tell, the turn has ended.
                    let _ = report.send(error);
                }
            });
            requests.push(sender);
        }
        Self { requests, errors, next: 0 }
    }

    fn send(&mut self, request: Vec<u8>) -> anyhow::Result<()> {
        self.next = (self.next + 1) % self.requests.len();
        self.requests[self.next].send(request).ok().context("a connection ended")
    }

    fn check(&mut self) -> anyhow::Result<()> {
        self.errors.try_recv().map_or(Ok(()), Err)
    }
}

//! Whether a healthy receiver notices that others are dead: the last step of single jobs, on a gateway with a thousand
//! webhooks to receivers that never answer and on one without, turn by turn.

use crate::Plan;
use crate::figures::Row;
use crate::processes::Process;
use crate::side::{Side, Took, in_turn, next};
use crate::sink::Sink;
use anyhow::ensure;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How many jobs end with a webhook that does not arrive.
const STUCK: usize = 1000;

pub(crate) async fn measure(plan: Plan) -> anyhow::Result<Vec<Row>> {
    let sim = Process::role("serve-sim")?;
    let mut sink = Sink::open()?;
    let mute = Mute::open().await?;
    let deaf = Deaf::open().await?;
    let mut alone = Side::start(sim.address, &[]).await?;
    let mut beside = Side::start(sim.address, &[]).await?;
    let stuck = if plan.singles < 100 { STUCK / 10 } else { STUCK };
    // As much work and as many rows on either side; only the receivers differ.
    alone.run_many(stuck, &[sink.url()]).await?;
    for _ in 0..stuck {
        next(&mut sink).await?;
    }
    beside.run_many(stuck, &[format!("http://{}/", mute.address), format!("http://{}/", deaf.address)]).await?;
    let (without, with) = in_turn([&mut alone, &mut beside], &mut sink, plan, "isolation").await?;
    let (without, with) = (last_steps(&without), last_steps(&with));
    let waiting = beside.undelivered().await?;
    ensure!(waiting == stuck, "{waiting} webhooks wait for dead receivers, {stuck} should");
    sink.close().await;
    let sides = [without.as_slice(), with.as_slice()];
    Ok(vec![
        Row::beside(
            "last event of a prompt until its webhook has come, p99, beside 1000 webhooks to dead receivers (bare: without them)",
            sides,
            0.99,
            "< 1.10 x",
            Some(1.10),
        ),
        Row::beside("the same, p50", sides, 0.5, "", None),
    ])
}

fn last_steps(took: &[Took]) -> Vec<f64> {
    took.iter().map(|took| took.last_step).collect()
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

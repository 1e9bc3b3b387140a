//! Whether jobs notice that very many listen: single jobs on a gateway with two thousand listeners that hear nothing and one that never
//! reads, and on one without, turn by turn.

use crate::Plan;
use crate::figures::Row;
use crate::processes::Process;
use crate::side::{Side, Took, in_turn};
use crate::sink::Sink;
use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How many listen.
const LISTENERS: usize = 2000;

/// How long it may take until one is answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lets as many connect from one address.
const SETTINGS: [&str; 1] = ["COMFYGATE_MAX_CONNECTIONS_PER_ADDRESS=0"];

pub(crate) async fn measure(plan: Plan) -> anyhow::Result<Vec<Row>> {
    let sim = Process::role("serve-sim")?;
    let mut sink = Sink::open()?;
    let mut alone = Side::start(sim.address, &SETTINGS).await?;
    let mut beside = Side::start(sim.address, &SETTINGS).await?;
    let listeners = if plan.singles < 100 { LISTENERS / 10 } else { LISTENERS };
    let before = beside.gateway.memory()?;
    let mut open = Vec::new();
    for _ in 0..listeners {
        // Everything is held against what each wants to hear, and nothing is it.
        open.push(listen(beside.gateway.address(), "/events?events=backend").await?);
    }
    let each = (beside.gateway.memory()? - before) * 1e3 / crate::figures::rate(listeners, 1.0);
    let _frozen = listen(beside.gateway.address(), "/events?events=status,node,progress,preview,output").await?;
    let (without, with) = in_turn([&mut alone, &mut beside], &mut sink, plan, "listeners").await?;
    for stream in &open {
        let mut rest = [0; 4096];
        let said = stream.try_read(&mut rest);
        ensure!(!matches!(said, Ok(0)), "a listener was cut off that had nothing to read");
    }
    sink.close().await;
    let whole = |took: &[Took]| took.iter().map(|took| took.whole).collect::<Vec<_>>();
    let (without, with) = (whole(&without), whole(&with));
    let sides = [without.as_slice(), with.as_slice()];
    Ok(vec![
        Row::beside(
            "a single job from request to webhook, p50, beside 2000 listeners that hear nothing and one that does not read (bare: without them)",
            sides,
            0.5,
            "< 1.10 x",
            Some(1.10),
        ),
        Row::beside("the same, p99", sides, 0.99, "", None),
        Row::note("resident memory of the gateway for each of those listeners", format!("{each:.1} kB")),
    ])
}

/// Asks for a stream and reads how it begins, and no more.
async fn listen(gateway: SocketAddr, path: &str) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(gateway).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {gateway}\r\n\r\n").as_bytes()).await?;
    let mut head = [0; 12];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut head)).await.context("a listener is not answered")??;
    ensure!(head == *b"HTTP/1.1 200", "a listener is answered {}", String::from_utf8_lossy(&head));
    Ok(stream)
}

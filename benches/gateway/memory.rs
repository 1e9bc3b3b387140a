//! How much memory the gateway takes while large bodies go to a receiver that reads them slowly, as many at once as it may.

use crate::figures::Row;
use crate::http::{Connection, post};
use crate::processes::{Gateway, Process};
use crate::roles::LARGE_IMAGE_BYTES;
use crate::{Plan, progress};
use anyhow::{Context, ensure};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_mins(4);

pub(crate) async fn measure(plan: Plan) -> anyhow::Result<Vec<Row>> {
    let sim = Process::role("serve-large-sim")?;
    // Only the memory limits how many are sent at once, and nobody gives up meanwhile.
    let settings =
        ["COMFYGATE_WEBHOOK_CONCURRENCY=1000", "COMFYGATE_WEBHOOK_PER_HOST=1000", "COMFYGATE_WEBHOOK_TIMEOUT=10m"];
    let gateway = Gateway::start_with(sim.address, &settings)?;
    gateway.until("/ready").await?;
    let sink = SlowSink::open().await?;
    let mut connection = Connection::open(gateway.address()).await?;
    let measured = async {
        for number in 0..plan.large {
            // Another request each time, so that the prompt runs; the same seed, so that the image is stored once.
            let body = json!({ "prompt": "a lighthouse", "seed": 1, "cfg": 1.0 + 0.01 * f64::from(u32::try_from(number)?),
                "webhook_url": format!("http://{}/", sink.address) });
            let request = post(gateway.address(), "/generate", body.to_string().as_bytes());
            let (status, answer) = connection.exchange(&request).await?;
            ensure!(status == 202, "POST /generate answered {status}: {}", String::from_utf8_lossy(answer));
        }
        // All have ended; as many are on their way as may be, and none has arrived.
        until(&mut connection, &gateway, |backlog| backlog["queued"] == 0 && backlog["running"] == 0).await?;
        let at_once = sink.open.load(Ordering::SeqCst);
        progress(&format!(
            "memory: {} bodies wait, {at_once} of them on their way; peak so far {:.0} MB",
            plan.large,
            gateway.peak_memory()?
        ));
        ensure!(at_once > 1 && sink.whole.load(Ordering::SeqCst) == 0, "{at_once} on their way at once");
        sink.go_on();
        until(&mut connection, &gateway, |backlog| backlog["deliveries"] == 0).await?;
        let whole = sink.whole.load(Ordering::SeqCst);
        ensure!(whole == plan.large, "{whole} of {} bodies arrived whole", plan.large);
        anyhow::Ok(at_once)
    };
    let at_once = tokio::time::timeout(PATIENCE, measured).await.context("the bodies did not all arrive in time")??;
    let peak = gateway.peak_memory()?;
    Ok(vec![Row {
        what: "the gateway's largest resident memory with 500 bodies of 20 MB for a receiver that hardly reads, as many at once as its memory allows",
        bare: String::new(),
        gateway: format!("{peak:.0} MB, {at_once} at once"),
        result: format!("{peak:.0} MB"),
        budget: "< 300 MB",
        is_met: Some(peak < 300.0),
    }])
}

async fn until(
    connection: &mut Connection,
    gateway: &Gateway,
    is_so: impl Fn(&serde_json::Value) -> bool,
) -> anyhow::Result<()> {
    let request = crate::http::get(gateway.address(), "/ready");
    loop {
        let (_, answer) = connection.exchange(&request).await?;
        let ready: serde_json::Value = serde_json::from_slice(answer)?;
        if is_so(&ready["backlog"]) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A receiver that reads a little of each body, and the rest when told to.
struct SlowSink {
    address: SocketAddr,
    /// How many bodies have begun and not ended.
    open: Arc<AtomicUsize>,
    /// How many have arrived whole.
    whole: Arc<AtomicUsize>,
    goes_on: watch::Sender<bool>,
}

impl SlowSink {
    async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (open, whole) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (goes_on, told) = watch::channel(false);
        let (opened, finished) = (Arc::clone(&open), Arc::clone(&whole));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (opened, finished, told) = (Arc::clone(&opened), Arc::clone(&finished), told.clone());
                tokio::spawn(async move {
                    // What breaks off does not count as whole, and is sent again.
                    let _ = receive(stream, &opened, &finished, told).await;
                });
            }
        });
        Ok(Self { address, open, whole, goes_on })
    }

    fn go_on(&self) {
        self.goes_on.send_replace(true);
    }
}

async fn receive(
    mut stream: TcpStream,
    open: &AtomicUsize,
    whole: &AtomicUsize,
    mut told: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let mut read = stream.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        open.fetch_add(1, Ordering::SeqCst);
        let head = loop {
            if let Some(end) = piece[..read].windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let more = stream.read(&mut piece[read..]).await?;
            ensure!(more > 0, "the head broke off");
            read += more;
        };
        let text = std::str::from_utf8(&piece[..head])?;
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
        let length: usize = length.parse()?;
        ensure!(length > LARGE_IMAGE_BYTES, "a webhook without its image: {length} bytes");
        let mut left = length - (read - head);
        while left > 0 {
            // A little each second, until told to go on.
            tokio::select! {
                _ = told.wait_for(|goes_on| *goes_on) => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            let read = stream.read(&mut piece).await?;
            ensure!(read > 0, "the body broke off");
            left -= read;
        }
        open.fetch_sub(1, Ordering::SeqCst);
        whole.fetch_add(1, Ordering::SeqCst);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
    }
}

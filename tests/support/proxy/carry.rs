//! Carries the bytes of one connection both ways, as its orders say.

use super::Shared;
use super::link::{End, Gate, Link, Orders};
use super::rule::{Effect, Way};
use super::wire::{Messages, Piece, Requests, Said};
use bytes::{Bytes, BytesMut};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Small, so that whoever is not read from is soon held up.
pub(super) const BUFFER: u32 = 64 * 1024;
/// So many pieces may be on their way, as they are while they are delayed.
const ON_THE_WAY: usize = 256;
/// How long an orderly end waits for the other ends to close.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often a throttled way lets something through in a second.
const SIPS: u32 = 20;

/// Carries one connection until it ends.
pub(super) async fn carry(shared: Arc<Shared>, link: Arc<Link>, client: TcpStream, effects: Vec<Effect>) {
    link.perform(effects, &shared);
    link.keep_course();
    tokio::select! {
        () = shared.stopped() => {}
        () = converse(&shared, &link, client) => {}
    }
    link.end();
    shared.note_change();
}

async fn converse(shared: &Shared, link: &Link, mut client: TcpStream) {
    let mut orders = link.orders();
    if orders.borrow().end == Some(End::Reset) {
        return reset(&[&client]);
    }
    // Whoever cannot reach the server through a proxy finds the connection broken.
    let Ok(mut server) = connect(shared.upstream()).await else { return reset(&[&client]) };
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            biased;
            ended = orders.wait_for(|orders| orders.end.is_some()) => ended.ok().and_then(|orders| orders.end),
            done = async {
                tokio::try_join!(
                    pump(shared, link, Way::ToServer, from_client, to_server),
                    pump(shared, link, Way::ToClient, from_server, to_client),
                )
            } => Some(if done.is_ok() { End::Close } else { End::Reset }),
        }
    };
    match end {
        Some(End::Reset) => reset(&[&client, &server]),
        Some(End::Close) | None => {
            // A socket with unread bytes in it would be reset when it is dropped.
            let closing = async { tokio::join!(close(&mut client), close(&mut server)) };
            // Whoever does not close its end in time has it dropped.
            let _ = tokio::time::timeout(LAST_WORDS, closing).await;
        }
    }
}

async fn connect(upstream: SocketAddr) -> io::Result<TcpStream> {
    let socket = if upstream.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(BUFFER)?;
    let stream = socket.connect(upstream).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Streams without linger say RST when they are dropped.
fn reset(streams: &[&TcpStream]) {
    for stream in streams {
        stream.set_zero_linger().unwrap();
    }
}

async fn close(stream: &mut TcpStream) {
    // An error is a peer that has gone already.
    let _ = stream.shutdown().await;
    let mut waste = [0; 4096];
    while stream.read(&mut waste).await.is_ok_and(|count| count > 0) {}
}

type Arrived = (Instant, io::Result<Bytes>);

/// Carries what goes one way: one half takes it in as it comes, the other lets it out when it may.
async fn pump(
    shared: &Shared,
    link: &Link,
    way: Way,
    input: ReadHalf<'_>,
    mut output: WriteHalf<'_>,
) -> io::Result<()> {
    let (sender, mut arrived) = mpsc::channel::<Arrived>(ON_THE_WAY);
    let letting_out = async {
        let mut exit = Exit { shared, link, way, output: &mut output, orders: link.orders() };
        if way == Way::ToServer {
            exit.requests(&mut arrived).await?;
        } else {
            exit.answers(&mut arrived).await?;
        }
        // The end of a connection takes the way of its bytes.
        exit.until_open(Instant::now()).await;
        exit.output.shutdown().await
    };
    tokio::try_join!(take_in(link, way, input, sender), letting_out).map(drop)
}

async fn take_in(link: &Link, way: Way, mut input: ReadHalf<'_>, arrived: mpsc::Sender<Arrived>) -> io::Result<()> {
    let mut orders = link.orders();
    loop {
        let gate = orders.borrow_and_update().now.of(way).gate;
        if gate == Gate::Frozen {
            orders.changed().await.ok();
            continue;
        }
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        let read = tokio::select! {
            biased;
            _ = orders.changed() => continue,
            read = input.read_buf(&mut buffer) => read,
        };
        let is_end = !matches!(read, Ok(1..));
        if !matches!(read, Ok(0)) && arrived.send((Instant::now(), read.map(|_| buffer.freeze()))).await.is_err() {
            return Ok(());
        }
        if is_end {
            return Ok(());
        }
    }
}

/// Where bytes leave the proxy.
struct Exit<'a, 'b> {
    shared: &'a Shared,
    link: &'a Link,
    way: Way,
    output: &'a mut WriteHalf<'b>,
    orders: watch::Receiver<Orders>,
}

impl Exit<'_, '_> {
    async fn requests(&mut self, arrived: &mut mpsc::Receiver<Arrived>) -> io::Result<()> {
        let mut requests = Requests::default();
        let mut last = Instant::now();
        while let Some((at, bytes)) = arrived.recv().await {
            last = at;
            requests.add(&self.or_broken(bytes).await?);
            while let Some(piece) = requests.next() {
                let bytes = match piece {
                    Piece::Rest(bytes) => bytes,
                    Piece::Head(request, bytes) => {
                        let rules = self.shared.rules_for(&request);
                        self.link.begin(request, rules);
                        bytes
                    }
                };
                self.pass(at, bytes).await?;
            }
        }
        self.pass(last, requests.rest()).await
    }

    async fn answers(&mut self, arrived: &mut mpsc::Receiver<Arrived>) -> io::Result<()> {
        let mut messages = Messages::default();
        let mut last = Instant::now();
        while let Some((at, bytes)) = arrived.recv().await {
            last = at;
            let bytes = self.or_broken(bytes).await?;
            if !self.link.is_websocket() {
                self.pass(at, bytes).await?;
                continue;
            }
            messages.add(&bytes);
            while let Some(said) = messages.next() {
                let bytes = match said {
                    Said::Other(bytes) => bytes,
                    Said::Message { is_status, bytes } => {
                        self.link.before_message(is_status, self.shared);
                        bytes
                    }
                };
                self.pass(at, bytes).await?;
            }
        }
        self.pass(last, messages.rest()).await
    }

    /// A connection that broke is heard of on the other side when its bytes would be.
    async fn or_broken(&mut self, bytes: io::Result<Bytes>) -> io::Result<Bytes> {
        if bytes.is_err() {
            self.until_open(Instant::now()).await;
        }
        bytes
    }

    /// Lets bytes out, piece by piece between the places of the rules.
    async fn pass(&mut self, arrived: Instant, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let free = self.link.before_next(self.way, self.shared);
            let piece = bytes.split_to(free.min(bytes.len()));
            let count = piece.len();
            self.flow(arrived, piece).await?;
            self.link.note_gone(self.way, count);
        }
        Ok(())
    }

    async fn flow(&mut self, arrived: Instant, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            if !self.is_due(arrived).await {
                return Ok(());
            }
            let rate = self.orders.borrow().now.of(self.way).rate;
            let sip = rate.map_or(bytes.len(), |rate| usize::try_from(rate / SIPS).unwrap_or(1).clamp(1, bytes.len()));
            self.output.write_all(&bytes.split_to(sip)).await?;
            if rate.is_some() {
                tokio::time::sleep(Duration::from_secs(1) / SIPS).await;
            }
        }
        Ok(())
    }

    /// Waits until what came then may go out; false if it goes nowhere.
    async fn is_due(&mut self, arrived: Instant) -> bool {
        loop {
            let Orders { now, end, .. } = *self.orders.borrow_and_update();
            let course = now.of(self.way);
            if end.is_some() {
                std::future::pending::<()>().await;
            }
            match course.gate {
                Gate::Swallows => return false,
                Gate::Open if Instant::now() >= arrived + course.delay => return true,
                Gate::Open => tokio::select! {
                    _ = self.orders.changed() => {}
                    () = tokio::time::sleep_until(arrived + course.delay) => {}
                },
                Gate::Frozen => {
                    self.orders.changed().await.ok();
                }
            }
        }
    }

    /// Waits until bytes could go out, for good where they are swallowed for good.
    async fn until_open(&mut self, arrived: Instant) {
        while !self.is_due(arrived).await {
            self.orders.changed().await.ok();
        }
    }
}

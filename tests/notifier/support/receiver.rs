//! A webhook receiver that is a plain socket: what it answers, and what came to it, to the byte.

use super::soon;
use comfygate::lifecycle::Lifecycle;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

/// What a receiver answers.
#[derive(Clone)]
pub(crate) enum Reply {
    /// This status, these header lines, an empty body.
    Status(u16, &'static str),
    /// These bytes, and the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, with the connection kept open.
    Silence,
    /// 200 and a body without end.
    Endless,
    /// 200, once allowed.
    Held(Arc<Notify>),
    /// 200 and a body that begins and never goes on.
    Stalled,
}

/// One request as it came.
pub(crate) struct Received {
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn header_names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0.to_lowercase())).collect();
        names.sort();
        names
    }
}

/// A webhook receiver.
pub(crate) struct Receiver {
    pub(crate) url: String,
    received: mpsc::UnboundedReceiver<Received>,
    pub(crate) connections: Arc<AtomicUsize>,
    /// How many bytes an endless answer had when its connection was cut; 0 before.
    pub(crate) cut_after: Arc<AtomicU64>,
    /// Keeps its tasks.
    _lifecycle: Lifecycle,
}

impl Receiver {
    /// Listens on any free port; request number n (from 0) is answered with reply n, or the last one.
    pub(crate) async fn start(replies: impl Into<Vec<Reply>>) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), replies.into())
    }

    pub(crate) fn serve(listener: TcpListener, replies: Vec<Reply>) -> Self {
        let (sender, received) = mpsc::unbounded_channel();
        let lifecycle = Lifecycle::new();
        let server = Server { replies: replies.into(), count: Arc::default(), sender, cut_after: Arc::default() };
        let connections = Arc::new(AtomicUsize::new(0));
        let url = url_of(listener.local_addr().unwrap());
        let cut_after = Arc::clone(&server.cut_after);
        let (spawner, counter) = (lifecycle.clone(), Arc::clone(&connections));
        lifecycle.spawn("receiver", async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let server = server.clone();
                spawner.spawn("connection", async move {
                    // The caller may go away at any time.
                    let _ = server.talk(stream).await;
                });
            }
        });
        Self { url, received, connections, cut_after, _lifecycle: lifecycle }
    }

    pub(crate) async fn next(&mut self) -> Received {
        soon("a request", self.received.recv()).await.unwrap()
    }

    /// The next request, if it has come.
    pub(crate) fn try_next(&mut self) -> Option<Received> {
        self.received.try_recv().ok()
    }

    /// Says whether nothing more has come by now.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.received.try_recv().is_err()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

pub(crate) fn url_of(address: SocketAddr) -> String {
    format!("http://{address}/hook")
}

#[derive(Clone)]
struct Server {
    replies: Arc<[Reply]>,
    count: Arc<AtomicUsize>,
    sender: mpsc::UnboundedSender<Received>,
    cut_after: Arc<AtomicU64>,
}

impl Server {
    async fn talk(self, mut stream: TcpStream) -> std::io::Result<()> {
        while let Some(received) = read_request(&mut stream).await? {
            let number = self.count.fetch_add(1, Ordering::SeqCst);
            let reply = self.replies.get(number).or(self.replies.last()).unwrap().clone();
            // An error means that the test is over.
            let _ = self.sender.send(received);
            match reply {
                Reply::Status(status, headers) => {
                    let head = format!("HTTP/1.1 {status} So\r\n{headers}content-length: 2\r\n\r\nok");
                    stream.write_all(head.as_bytes()).await?;
                }
                Reply::Raw(bytes) => {
                    stream.write_all(&bytes).await?;
                    return stream.shutdown().await;
                }
                Reply::Silence => return std::future::pending().await,
                Reply::Held(allowed) => {
                    allowed.notified().await;
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
                }
                Reply::Stalled => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await?;
                    return std::future::pending().await;
                }
                Reply::Endless => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                    let chunk = [b"1000\r\n".as_slice(), &[b'x'; 4096], b"\r\n"].concat();
                    let mut written = 0;
                    while stream.write_all(&chunk).await.is_ok() {
                        written += 4096;
                    }
                    self.cut_after.store(written, Ordering::SeqCst);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Returns none at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<Option<Received>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let body = bytes.split_off(end + 4);
    let mut received = Received { head: String::from_utf8(bytes).unwrap(), body };
    let length: usize = received.header("content-length").unwrap().parse().unwrap();
    while received.body.len() < length {
        if stream.read_buf(&mut received.body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(received))
}

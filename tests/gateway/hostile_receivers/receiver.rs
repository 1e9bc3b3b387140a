//! A receiver that does what no receiver should, and counts who calls it.

use super::HERE;
#[cfg(target_os = "linux")]
use super::{ELSEWHERE, NO_CONTENT};
use crate::support::PATIENCE;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a receiver does with those who call.
#[derive(Clone)]
pub(super) enum Conduct {
    /// Answers requests with these bytes in turn, the last ones ever after.
    Answer(Arc<[String]>),
    /// Never answers.
    Silent,
    /// Answers one byte of a header each second.
    Drip,
    /// Answers 200 with a body without end.
    Endless,
    /// Announces an answer without end.
    Flood,
}

/// A receiver that counts.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    written: AtomicUsize,
    has_ended: std::sync::atomic::AtomicBool,
}

impl Receiver {
    pub(super) async fn answering(answers: &[&str]) -> Self {
        Self::start(HERE, 0, Conduct::Answer(answers.iter().map(|answer| (*answer).to_owned()).collect())).await
    }

    pub(super) async fn start(address: &str, port: u16, conduct: Conduct) -> Self {
        Self::try_start(address, port, conduct).await.unwrap()
    }

    pub(super) async fn try_start(address: &str, port: u16, conduct: Conduct) -> io::Result<Self> {
        let listener = TcpListener::bind((address, port)).await?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        actix_web::rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.connections.fetch_add(1, Ordering::SeqCst);
                let (conduct, counted) = (conduct.clone(), Arc::clone(&counted));
                // Whoever called may go away at any time.
                actix_web::rt::spawn(async move {
                    let _ = serve(stream, conduct, &counted).await;
                });
            }
        });
        Ok(Self { address, counts })
    }

    /// Its URL under a name, or under an address.
    pub(super) fn named(&self, name: &str) -> String {
        format!("http://{name}:{}/hook", self.address.port())
    }

    pub(super) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// How many bytes went out before the caller ended the connection.
    pub(super) fn written_at_the_end(&self) -> Option<usize> {
        let has_ended = self.counts.has_ended.load(Ordering::SeqCst);
        has_ended.then(|| self.counts.written.load(Ordering::SeqCst))
    }
}

/// Two receivers at the same port of two addresses; the second one is not to be called.
#[cfg(target_os = "linux")]
pub(super) async fn pair(answers: &[&str]) -> (Receiver, Receiver) {
    for _ in 0..100 {
        let hidden = Receiver::start(ELSEWHERE, 0, Conduct::Answer([NO_CONTENT.to_owned()].into())).await;
        let conduct = Conduct::Answer(answers.iter().map(|answer| (*answer).to_owned()).collect());
        if let Ok(honest) = Receiver::try_start(HERE, hidden.address.port(), conduct).await {
            return (honest, hidden);
        }
    }
    panic!("no port is free at both addresses");
}

async fn serve(mut stream: TcpStream, conduct: Conduct, counts: &Counts) -> io::Result<()> {
    while read_request(&mut stream).await? {
        let number = counts.requests.fetch_add(1, Ordering::SeqCst);
        match &conduct {
            Conduct::Answer(answers) => {
                let answer = answers.get(number).or(answers.last()).unwrap();
                stream.write_all(answer.as_bytes()).await?;
                if answer.contains("connection: close") {
                    return stream.shutdown().await;
                }
            }
            Conduct::Silent => tokio::time::sleep(PATIENCE).await,
            Conduct::Drip => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await?;
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    stream.write_all(b"a").await?;
                }
            }
            Conduct::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
                return pour(&mut stream, &chunk, counts).await;
            }
            Conduct::Flood => {
                let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(100);
                return pour(&mut stream, hints.as_bytes(), counts).await;
            }
        }
    }
    Ok(())
}

/// Writes the same for as long as it is taken.
async fn pour(stream: &mut TcpStream, bytes: &[u8], counts: &Counts) -> io::Result<()> {
    loop {
        if let Err(error) = stream.write_all(bytes).await {
            counts.has_ended.store(true, Ordering::SeqCst);
            return Err(error);
        }
        counts.written.fetch_add(bytes.len(), Ordering::SeqCst);
    }
}

/// Reads one request; false at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> io::Result<bool> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(false);
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if bytes.len() >= head.len() + 4 + length {
            return Ok(true);
        }
    }
}

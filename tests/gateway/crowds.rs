//! Callers that take more than their part: connections from one address beyond its number, bytes that are no HTTP, and
//! backends that send more than an output may have.

use crate::hostile_receivers::peak_memory;
use crate::support::{Inbox, PATIENCE, Program, Setup, canvas, eventually};
use comfygate::sim::{Fault, Sim, SimOptions};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const MOST: usize = 64;

/// Another address of this machine, as Linux has it without being told.
const GREEDY: &str = "127.0.0.3";

#[actix_web::test]
async fn ten_thousand_idle_connections_of_one_address_are_capped_and_others_are_served() {
    let mut setup = Setup::new();
    setup.settings.server.connections_per_address = MOST;
    let gateway = setup.start().await;
    let mut held = Vec::new();
    for number in 0..10_000_u32 {
        let stream = TcpStream::connect(gateway.address()).await.unwrap();
        held.push(stream);
        if number % 1000 == 0 {
            assert_eq!(health_from("127.0.0.2", gateway.address()).await, Some(200), "at {number}");
        }
    }
    let look = async || {
        let open = held.iter().filter(|stream| is_open(stream)).count();
        (open <= MOST).then_some(open)
    };
    eventually("all but the capped ones are closed", look).await;
    assert_eq!(health_from("127.0.0.2", gateway.address()).await, Some(200));
    drop(held);
    let served = async || (health_from("127.0.0.1", gateway.address()).await == Some(200)).then_some(());
    eventually("their places are given back", served).await;
    gateway.close().await;
}

#[actix_web::test]
async fn a_request_over_a_connection_too_many_is_not_served() {
    let mut setup = Setup::new();
    setup.settings.server.connections_per_address = 2;
    let gateway = setup.start().await;
    let body = canvas("").to_string();
    let request = format!(
        "POST /generate HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        gateway.address(),
        body.len()
    );
    let mut refused = 0;
    for _ in 0..20 {
        let _held = eventually("both places are taken", async || {
            Some(fill(gateway.address()).await).filter(|held| held.len() == 2)
        })
        .await;
        let mut third = connect_from(GREEDY, gateway.address()).await;
        let _ = third.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let reading = tokio::time::timeout(PATIENCE, third.read_to_end(&mut answer)).await;
        // An error is a connection that was reset, which is an end as well.
        let _ = reading.expect("the connection ends");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 429"), "{answer}");
        refused += usize::from(answer.contains("too_many_connections"));
    }
    assert!(refused > 0, "nobody was told why");
    assert_eq!(gateway.get("/jobs").await.json()["jobs"], json!([]));
    gateway.close().await;
}

#[actix_web::test]
async fn a_tls_hello_on_the_plain_port_is_refused_and_leaves_no_bytes_in_the_log() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let program = Program::serve(setup.folder.path(), &sim.url(), &[("COMFYGATE_LOG", "trace")]).await;
    let mut stream = TcpStream::connect(program.address()).await.unwrap();
    let hello =
        [&[0x16, 3, 1, 0, 60, 1, 0, 0, 56, 3, 3][..], b"canary-of-the-hello\x1b[31m\x07\xff\xfe", &[7; 40]].concat();
    stream.write_all(&hello).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    // The next request is served, and its line in the log comes after what was said of the first.
    assert_eq!(program.get("/health").await.unwrap().0, 200);
    program.terminate();
    let log = std::sync::Arc::clone(&program.log);
    assert!(program.ended().await.success());
    let log = log.lock().unwrap().clone();
    assert!(log.contains("stopped"), "{log}");
    for trace in ["canary", "\u{1b}[31m", "\u{7}", "\u{fffd}", "99, 97, 110, 97, 114, 121", "63616e617279"] {
        let line = log.lines().find(|line| line.contains(trace));
        assert_eq!(line, None, "{trace:?}");
    }
    sim.stop().await;
}

#[actix_web::test]
async fn a_frame_of_three_hundred_mebibytes_fails_its_job_in_bounded_memory() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let program = Program::serve(setup.folder.path(), &sim.url(), &[]).await;
    let inbox = Inbox::open();
    sim.inject(Fault::OversizeFrame(300 << 20));
    assert_eq!(program.post(&canvas(&inbox.url())).await.unwrap().status(), 202);
    // It takes its time to draw so much, and the machine may be busy.
    let webhook = eventually_slowly("the job has failed", async || inbox.try_next()).await;
    assert_eq!((&webhook.body["status"], &webhook.body["code"]), (&json!("failure"), &json!("output_too_large")));
    let peak = peak_memory(program.id());
    // The frame itself, once, and what the process has besides.
    assert!(peak < 450 << 20, "{} MiB", peak >> 20);
    let mut next = canvas(&inbox.url());
    next["color"] = json!(7);
    assert_eq!(program.post(&next).await.unwrap().status(), 202);
    assert_eq!(inbox.next().await.body["status"], "success");
    program.kill();
    sim.stop().await;
}

/// Opens connections and keeps them, each served once, until one more is turned away.
async fn fill(address: SocketAddr) -> Vec<TcpStream> {
    let mut held = Vec::new();
    loop {
        let mut stream = connect_from(GREEDY, address).await;
        let request = format!("GET /health HTTP/1.1\r\nhost: {address}\r\n\r\n");
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = [0; 12];
        let reading = tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await;
        match reading.expect("an answer or an end") {
            Ok(_) if &answer == b"HTTP/1.1 200" => held.push(stream),
            Ok(_) | Err(_) => return held,
        }
        assert!(held.len() <= MOST, "nobody is turned away");
    }
}

async fn connect_from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

async fn eventually_slowly<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("did not happen within five minutes: {what}");
}

/// Says whether nothing has come and the other side has not ended it.
fn is_open(stream: &TcpStream) -> bool {
    let mut byte = [0];
    matches!(stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// The status of `/health` as another address of this machine sees it; none where the connection ends without.
async fn health_from(from: &str, to: SocketAddr) -> Option<u16> {
    let answer = exchange_from(from, to, "/health").await?;
    answer.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()
}

async fn exchange_from(from: &str, to: SocketAddr, path: &str) -> Option<String> {
    let exchange = async {
        let mut stream = connect_from(from, to).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("an answer or an end")
}

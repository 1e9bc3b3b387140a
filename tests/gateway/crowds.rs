//! Callers that take more than their part: connections from one address beyond its number, bytes that are no HTTP, and
//! backends that send more than an output may have.

use crate::hostile_receivers::peak_memory;
use crate::support::{Inbox, PATIENCE, Program, Setup, canvas, eventually};
use comfygate::sim::{Fault, Sim, SimOptions};
use serde_json::{Value, json};
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
    // Those with a place say nothing, are told so after five seconds, and leave it to the next ones.
    let mut turned_away = 0;
    for mut stream in held {
        let mut answer = Vec::new();
        let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        // An error is an end as well.
        let _ = reading.expect("the connection ends");
        turned_away += usize::from(answer.starts_with(b"HTTP/1.1 429"));
    }
    assert!(turned_away > 9_000, "only {turned_away} were turned away");
    assert_eq!(health_from("127.0.0.2", gateway.address()).await, Some(200));
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
async fn fifty_bodies_that_would_be_sixty_megabytes_each_are_refused_and_never_inflated() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let program = Program::serve(setup.folder.path(), &sim.url(), &[]).await;
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let bomb = bomb();
    assert!(bomb.len() < 60_000, "{} bytes", bomb.len());
    let code = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["code"].as_str().unwrap().to_owned();
    let send = async |encoding: &str| {
        let request = client.post(program.url("/generate")).header("content-type", "application/json");
        let answer = request.header("content-encoding", encoding).body(bomb.clone()).send().await.unwrap();
        let status = answer.status();
        (status.as_u16(), code(&answer.bytes().await.unwrap()))
    };
    assert_eq!(send("gzip").await, (415, "unsupported_encoding".into()));
    let before = peak_memory(program.id());
    let encodings = ["gzip", "x-gzip", "GZIP", "gzip, gzip", "deflate"];
    for answer in futures_util::future::join_all((0..50).map(|number| send(encodings[number % 5]))).await {
        assert_eq!(answer, (415, "unsupported_encoding".into()));
    }
    let grown = peak_memory(program.id()).saturating_sub(before);
    assert!(grown < 16 << 20, "the process has grown by {grown} bytes");
    assert_eq!(program.get("/jobs").await.unwrap().1["jobs"], json!([]));
    program.kill();
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

/// A gzip file of 58 kB that is 60 MB of spaces: one block in which the longest repetition takes two bits.
fn bomb() -> Vec<u8> {
    const REPETITIONS: usize = 232_560;
    // Of the spaces, as any tool that inflates it will find.
    const CHECKSUM: u32 = 0x8d17_eb2b;
    let size = u32::try_from(1 + 258 * REPETITIONS).unwrap();
    let mut bits = Vec::new();
    let mut number = |value: u32, length: u32| bits.extend((0..length).map(|at| value >> at & 1 == 1));
    // The last block, with codes of its own: 286 for letters and lengths, one for distances, 18 that tell their lengths.
    for (value, length) in [(1, 1), (2, 2), (29, 5), (0, 5), (14, 4)] {
        number(value, length);
    }
    // Of those 18, in their fixed order: many zeros have the code 0, a length of 1 has 10, and one of 2 has 11.
    for place in 0..18 {
        number(
            match place {
                2 => 1,
                15 | 17 => 2,
                _ => 0,
            },
            3,
        );
    }
    // The space and the end have two bits, the repetition of 258 letters one, and so has the distance of one.
    let zeros = |number: &mut dyn FnMut(u32, u32), count: u32| {
        number(0, 1);
        number(count - 11, 7);
    };
    zeros(&mut number, 32);
    number(0b11, 2);
    zeros(&mut number, 138);
    zeros(&mut number, 85);
    number(0b11, 2);
    zeros(&mut number, 28);
    // Codes are written from their first bit: 10 is 1 and then 0.
    number(0b01, 2);
    number(0b01, 2);
    // A space, its repetitions, the end.
    number(0b01, 2);
    for _ in 0..REPETITIONS {
        number(0, 2);
    }
    number(0b11, 2);
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
    file.extend(bits.chunks(8).map(byte));
    file.extend([CHECKSUM.to_le_bytes(), size.to_le_bytes()].concat());
    file
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

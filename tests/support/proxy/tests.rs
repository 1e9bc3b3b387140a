//! Each fault of the proxy does what it says, and nothing else does.

use super::*;
use comfygate::sim::{Sim, SimOptions};
use futures_util::StreamExt;
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

/// So long nothing may come where nothing should.
const A_WHILE: Duration = Duration::from_millis(100);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789";

/// A server that answers every request alike, behind a proxy.
struct Rig {
    proxy: Proxy,
    /// What each connection has sent until it ended, and how it ended.
    ended: UnboundedReceiver<(Vec<u8>, Result<(), ErrorKind>)>,
    /// Ends the server when it is dropped.
    _guard: tokio_util::sync::DropGuard,
}

impl Rig {
    /// The server answers with `answer` to each `POST .. 3 bytes` and to each request without a body.
    async fn answering(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::before(listener.local_addr().unwrap()).await;
        let (sender, ended) = unbounded_channel();
        let lifecycle = Lifecycle::new();
        let (guard, spawner) = (lifecycle.stop().drop_guard(), lifecycle.clone());
        lifecycle.spawn("server", async move {
            let stop = spawner.stop();
            while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                let (sender, stop) = (sender.clone(), spawner.stop());
                spawner.spawn("connection", async move {
                    if let Some(end) = stop.run_until_cancelled(serve(stream, answer)).await {
                        sender.send(end).ok();
                    }
                });
            }
        });
        Self { proxy, ended, _guard: guard }
    }

    async fn new() -> Self {
        Self::answering(ANSWER).await
    }

    async fn client(&self) -> TcpStream {
        TcpStream::connect(self.proxy.address()).await.unwrap()
    }

    /// What the next connection to end has sent, and how it ended.
    async fn next_end(&mut self) -> (Vec<u8>, Result<(), ErrorKind>) {
        timeout(PATIENCE, self.ended.recv()).await.unwrap().unwrap()
    }
}

async fn serve(mut stream: TcpStream, answer: &[u8]) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut got = Vec::new();
    let mut answered = 0;
    loop {
        match stream.read_buf(&mut got).await {
            Ok(0) => return (got, Ok(())),
            Ok(_) => {}
            Err(error) => return (got, Err(error.kind())),
        }
        let text = String::from_utf8_lossy(&got);
        let whole = text.matches("GET ").count() + text.matches("abc").count();
        while answered < whole {
            answered += 1;
            if let Err(error) = stream.write_all(answer).await {
                return (got, Err(error.kind()));
            }
        }
    }
}

const GET: &[u8] = b"GET /queue HTTP/1.1\r\nhost: x\r\n\r\n";
const POST: &[u8] = b"POST /prompt?a=b HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc";

/// Sends a request and reads its whole answer.
async fn exchange(client: &mut TcpStream, request: &[u8]) -> Result<Vec<u8>, ErrorKind> {
    client.write_all(request).await.map_err(|error| error.kind())?;
    let mut answer = vec![0; ANSWER.len()];
    timeout(PATIENCE, client.read_exact(&mut answer)).await.unwrap().map_err(|error| error.kind())?;
    Ok(answer)
}

/// Reads until the connection ends, and says how it does.
async fn until_end(client: &mut TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut got = Vec::new();
    let end = timeout(PATIENCE, client.read_to_end(&mut got)).await.unwrap();
    (got, end.map(drop).map_err(|error| error.kind()))
}

async fn is_mute(client: &mut TcpStream) -> bool {
    timeout(A_WHILE, client.read(&mut [0; 1])).await.is_err()
}

#[tokio::test]
async fn without_a_fault_every_byte_and_the_end_of_a_connection_pass() {
    let mut rig = Rig::new().await;
    let mut client = rig.client().await;
    for request in [GET, POST, GET] {
        assert_eq!(exchange(&mut client, request).await.unwrap(), ANSWER);
    }
    assert_eq!(rig.proxy.calls(), ["GET /queue", "POST /prompt?a=b", "GET /queue"]);
    client.shutdown().await.unwrap();
    assert_eq!(rig.next_end().await, ([GET, POST, GET].concat(), Ok(())));
    assert_eq!(until_end(&mut client).await, (vec![], Ok(())));
    rig.proxy.until("the connection is over", |proxy| proxy.connections() == 0).await;
    assert_eq!(rig.proxy.struck(), 0);
}

#[tokio::test]
async fn what_is_not_http_passes_too() {
    let mut rig = Rig::new().await;
    let mut client = rig.client().await;
    let waste: Vec<u8> = (0..200_000_u32).map(|place| place.to_le_bytes()[0]).collect();
    client.write_all(&waste).await.unwrap();
    client.shutdown().await.unwrap();
    let (got, end) = rig.next_end().await;
    assert!(got == waste && end == Ok(()), "{} bytes, {end:?}", got.len());
}

#[tokio::test]
async fn a_reset_now_is_one_at_both_ends() {
    let mut rig = Rig::new().await;
    let mut client = rig.client().await;
    exchange(&mut client, GET).await.unwrap();
    assert_eq!(rig.proxy.strike(&On::WebSocket, Effect::Reset), 0);
    assert_eq!(rig.proxy.strike(&On::Call("GET /queue"), Effect::Reset), 1);
    assert_eq!(until_end(&mut client).await, (vec![], Err(ErrorKind::ConnectionReset)));
    assert_eq!(rig.next_end().await, (GET.to_vec(), Err(ErrorKind::ConnectionReset)));
    assert_eq!(exchange(&mut rig.client().await, GET).await.unwrap(), ANSWER);
}

#[tokio::test]
async fn every_connection_can_be_reset_until_the_proxy_is_healed() {
    let mut rig = Rig::new().await;
    rig.proxy.arm_every(On::Any, At::Connect, Effect::Reset);
    for _ in 0..3 {
        assert_eq!(until_end(&mut rig.client().await).await.1, Err(ErrorKind::ConnectionReset));
    }
    assert_eq!(rig.proxy.struck(), 3);
    rig.proxy.heal();
    let mut client = rig.client().await;
    assert_eq!(exchange(&mut client, GET).await.unwrap(), ANSWER);
    drop(client);
    assert_eq!(rig.next_end().await.0, GET);
}

#[tokio::test]
async fn connections_are_refused_and_accepted_again_and_open_ones_go_on() {
    let rig = Rig::new().await;
    let mut open = rig.client().await;
    exchange(&mut open, GET).await.unwrap();
    rig.proxy.refuse().await;
    for _ in 0..3 {
        let refused = TcpStream::connect(rig.proxy.address()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    exchange(&mut open, GET).await.unwrap();
    rig.proxy.accept().await;
    exchange(&mut rig.client().await, GET).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_shows_as_a_reset() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::before(nobody).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(until_end(&mut client).await.1, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_request_is_cut_before_it_gets_through_or_after_some_bytes() {
    for (count, effect) in [(0, Effect::Reset), (40, Effect::Reset), (POST.len() - 1, Effect::Close)] {
        let mut rig = Rig::new().await;
        rig.proxy.arm(On::Call("POST /prompt"), At::Request(count), effect);
        let mut client = rig.client().await;
        exchange(&mut client, GET).await.unwrap();
        client.write_all(POST).await.unwrap();
        let (got, end) = until_end(&mut client).await;
        let is_reset = effect == Effect::Reset;
        assert_eq!((got, end.is_err()), (vec![], is_reset), "{count}");
        drop(client);
        assert_eq!(rig.next_end().await.0, [GET, &POST[..count]].concat(), "{count}");
        assert_eq!(rig.proxy.struck(), 1);
    }
}

#[tokio::test]
async fn an_answer_is_lost_after_the_server_has_the_request_or_after_some_bytes() {
    for (count, effect) in [(0, Effect::Reset), (0, Effect::Close), (45, Effect::Close)] {
        let mut rig = Rig::new().await;
        rig.proxy.arm(On::Call("POST /prompt"), At::Answer(count), effect);
        let mut client = rig.client().await;
        exchange(&mut client, GET).await.unwrap();
        client.write_all(POST).await.unwrap();
        let (got, end) = until_end(&mut client).await;
        assert_eq!((&got[..], end.is_err()), (&ANSWER[..count], effect == Effect::Reset), "{count}");
        drop(client);
        assert_eq!(rig.next_end().await.0, [GET, POST].concat(), "{count}");
        assert_eq!(exchange(&mut rig.client().await, POST).await.unwrap(), ANSWER, "a rule strikes once");
        assert_eq!(rig.proxy.struck(), 1);
    }
}

#[tokio::test]
async fn what_is_swallowed_goes_nowhere_and_the_connection_stays() {
    let mut rig = Rig::new().await;
    let mut client = rig.client().await;
    exchange(&mut client, GET).await.unwrap();
    assert_eq!(rig.proxy.strike(&On::Any, Effect::Swallow(Way::ToClient)), 1);
    client.write_all(POST).await.unwrap();
    rig.proxy.until("the request is there", |proxy| proxy.count("POST /prompt") == 1).await;
    assert!(is_mute(&mut client).await);
    rig.proxy.heal();
    assert_eq!(exchange(&mut client, GET).await.unwrap(), ANSWER, "the lost answer does not come later");

    rig.proxy.strike(&On::Any, Effect::Swallow(Way::ToServer));
    client.write_all(POST).await.unwrap();
    client.shutdown().await.unwrap();
    assert!(is_mute(&mut client).await);
    assert!(rig.ended.try_recv().is_err(), "the end of the connection is swallowed too");
    rig.proxy.heal();
    assert_eq!(rig.next_end().await, ([GET, POST, GET].concat(), Ok(())));
}

#[tokio::test]
async fn what_is_frozen_holds_up_its_sender_and_arrives_when_healed() {
    static LARGE: [u8; 32 << 20] = [b'x'; 32 << 20];
    let rig = Rig::answering(&LARGE).await;
    rig.proxy.arm(On::Http, At::Answer(1000), Effect::Freeze(Way::ToClient));
    let mut client = rig.client().await;
    client.write_all(GET).await.unwrap();
    rig.proxy.until("it froze", |proxy| proxy.struck() == 1).await;
    let mut got = vec![0; 1000];
    client.read_exact(&mut got).await.unwrap();
    assert!(is_mute(&mut client).await);
    rig.proxy.heal();
    let mut rest = vec![0; LARGE.len() - 1000];
    timeout(PATIENCE, client.read_exact(&mut rest)).await.unwrap().unwrap();
    assert!(got.iter().chain(&rest).all(|byte| *byte == b'x'));

    rig.proxy.strike(&On::Any, Effect::Freeze(Way::ToServer));
    let flood = async { while client.write_all(&LARGE[..1 << 20]).await.is_ok() {} };
    assert!(timeout(A_WHILE * 5, flood).await.is_err(), "a sender that nobody reads from is held up");
}

#[tokio::test]
async fn a_delay_comes_once_for_what_is_sent_together_and_for_each_way() {
    let rig = Rig::new().await;
    // Far longer than a machine that is busy takes for an exchange.
    let delay = Duration::from_secs(1);
    let mut client = rig.client().await;
    for (way, least) in [(Way::ToServer, delay), (Way::ToClient, delay), (Way::Both, delay * 2)] {
        rig.proxy.arm(On::Call("GET"), At::Request(0), Effect::Delay(way, delay));
        let began = Instant::now();
        client.write_all(GET).await.unwrap();
        let mut answer = vec![0; ANSWER.len()];
        client.read_exact(&mut answer).await.unwrap();
        assert!(began.elapsed() >= least && began.elapsed() < least + delay * 4, "{way:?}: {:?}", began.elapsed());
    }
    let began = Instant::now();
    exchange(&mut client, GET).await.unwrap();
    assert!(began.elapsed() < delay, "the delay was for one exchange");

    rig.proxy.strike(&On::Any, Effect::Delay(Way::ToServer, delay));
    let began = Instant::now();
    for _ in 0..20 {
        client.write_all(GET).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut answers = vec![0; ANSWER.len() * 20];
    timeout(PATIENCE, client.read_exact(&mut answers)).await.unwrap().unwrap();
    assert!(began.elapsed() >= delay && began.elapsed() < delay * 10, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_throttled_way_lets_so_many_bytes_through() {
    static ANSWER: [u8; 10_000] = [b'x'; 10_000];
    let rig = Rig::answering(&ANSWER).await;
    rig.proxy.arm(On::Any, At::Request(0), Effect::Throttle(Way::ToClient, 20_000));
    let mut client = rig.client().await;
    let began = Instant::now();
    client.write_all(GET).await.unwrap();
    client.read_exact(&mut vec![0; ANSWER.len()]).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_rule_for_a_path_strikes_no_other_and_as_often_as_it_says() {
    let rig = Rig::new().await;
    rig.proxy.arm_times(2, On::Call("POST /prompt"), At::Answer(0), Effect::Close);
    let mut struck = 0;
    for _ in 0..4 {
        let mut client = rig.client().await;
        exchange(&mut client, GET).await.unwrap();
        struck += usize::from(exchange(&mut client, POST).await.is_err());
    }
    assert_eq!((struck, rig.proxy.struck()), (2, 2));
}

/// How many messages come until a socket ends: those that are not of type `status`, and all.
async fn messages_until_end(
    socket: &mut (impl StreamExt<Item = Result<Message, impl Sized>> + Unpin),
) -> (usize, usize) {
    let (mut events, mut all) = (0, 0);
    while let Some(Ok(message)) = timeout(PATIENCE, socket.next()).await.unwrap() {
        let is_status = message.to_text().is_ok_and(|text| text.contains("\"status\"") && !text.contains("_status\""));
        if message.is_text() || message.is_binary() {
            all += 1;
            events += usize::from(!is_status);
        }
    }
    (events, all)
}

const PROMPT: &str = r#"{"client_id": "c", "prompt_id": "p", "prompt": {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 2, "color": 1}},
    "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}}}"#;

#[tokio::test]
async fn a_websocket_ends_before_the_message_that_was_asked_for() {
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let proxy = Proxy::before(sim.addr()).await;
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let url = format!("ws://{}/ws?clientId=c", proxy.address());
    for (number, at) in [(0, At::Event(0)), (3, At::Event(3)), (7, At::Event(7)), (4, At::Message(4))] {
        // Armed beforehand, and while it is open.
        for is_open in [false, true] {
            let arm = || proxy.arm(On::WebSocket, at, Effect::Close);
            if !is_open {
                arm();
            }
            let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
            if is_open {
                // The report on the queue that every socket begins with.
                assert!(socket.next().await.unwrap().unwrap().is_text());
                arm();
            }
            http.post(format!("{}/prompt", sim.url())).body(PROMPT).send().await.unwrap();
            let (events, all) = messages_until_end(&mut socket).await;
            let heard = if matches!(at, At::Event(_)) { events } else { all };
            assert_eq!(heard, number, "{at:?}");
            sim.wait_for(|sim| sim.queued() == 0 && sim.connections() == 0).await.unwrap();
        }
    }
    assert_eq!(proxy.struck(), 8);
    assert_eq!((proxy.client_ids().len(), proxy.open_sockets().len()), (8, 0));
    assert!(proxy.messages() > proxy.events() && proxy.events() > 0);
    sim.stop().await;
}

#[tokio::test]
async fn a_websocket_that_passes_brings_every_message_whole() {
    let sim = Sim::start(SimOptions { noise_image_bytes: 300_000, ..SimOptions::default() }).await.unwrap();
    let proxy = Proxy::before(sim.addr()).await;
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/ws?clientId=c", proxy.address())).await.unwrap();
    http.post(format!("{}/prompt", proxy.url())).body(PROMPT).send().await.unwrap();
    let mut images = Vec::new();
    while images.len() < 2 {
        if let Message::Binary(bytes) = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap() {
            images.push(bytes);
        }
    }
    let made = sim.images();
    assert!(images.iter().zip(&made).all(|(image, made)| image.ends_with(&made.bytes)));
    assert_eq!(proxy.open_sockets(), ["c"]);
    sim.stop().await;
}

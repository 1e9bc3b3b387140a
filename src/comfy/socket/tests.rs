//! The socket against a server of a few lines. The clock stands still: only the test moves it.

use super::listening::BEAT;
use super::opening::HANDSHAKE;
use super::*;
use crate::clock::ManualClock;
use crate::lifecycle::Lifecycle;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::future::Future;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

const FLAGS: &str = r#"{"type":"feature_flags","data":{"supports_preview_metadata":true}}"#;
const START: &str = r#"{"type":"execution_start","data":{"prompt_id":"p"}}"#;

#[tokio::test]
async fn the_handshake_is_first_and_answered_before_anything_is_told() {
    let mut bench = Bench::new(16).await;
    let (mut peer, path) = bench.accept().await;
    assert_eq!(next_text(&mut peer).await, HANDSHAKE);
    peer.send(Message::text(r#"{"type":"status","data":{"sid":"s"}}"#)).await.unwrap();
    assert!(bench.told.try_recv().is_err());
    peer.send(Message::text(FLAGS)).await.unwrap();
    let client_id = bench.connected().await;
    assert_eq!(path, format!("/prefix/ws?clientId={client_id}"));
    assert_eq!(bench.event().await, Event::Status { queue_remaining: None, sid: Some("s".into()) });
    assert_eq!(bench.event().await, Event::FeatureFlags { previews_have_metadata: true });
    peer.send(Message::text(START)).await.unwrap();
    peer.send(Message::binary(Bytes::from_static(b"\0\0\0\x01\0\0\0\x02png"))).await.unwrap();
    assert_eq!(bench.event().await, Event::Started { prompt: "p".into() });
    assert!(matches!(bench.event().await, Event::Image(_)));
}

#[tokio::test]
async fn a_server_that_does_not_know_the_handshake_is_used_after_five_seconds() {
    let mut bench = Bench::new(16).await;
    let (mut peer, _) = bench.accept().await;
    next_text(&mut peer).await;
    bench.clock.advance(Duration::from_secs(5));
    bench.connected().await;
    peer.send(Message::text(START)).await.unwrap();
    assert_eq!(bench.event().await, Event::Started { prompt: "p".into() });
}

#[tokio::test]
async fn a_connection_that_breaks_is_lost_and_the_next_has_a_fresh_client_id() {
    let mut bench = Bench::new(16).await;
    let mut names = Vec::new();
    for _ in 0..4 {
        let (peer, client_id) = bench.shake_hands().await;
        drop(peer);
        let (lost, _) = bench.lost().await;
        assert_eq!(lost, client_id);
        names.push(client_id);
        bench.clock.advance(Duration::from_secs(15));
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 4);
}

#[tokio::test]
async fn a_listener_that_is_too_slow_costs_the_connection_and_not_the_server() {
    let mut bench = Bench::new(4).await;
    let (mut peer, _) = bench.accept().await;
    next_text(&mut peer).await;
    peer.send(Message::text(FLAGS)).await.unwrap();
    for _ in 0..10 {
        peer.send(Message::text(START)).await.unwrap();
    }
    assert!(within(peer.next()).await.unwrap().unwrap().is_close());
    while within(peer.next()).await.is_some() {}
    let client_id = bench.connected().await;
    bench.event().await;
    assert_eq!(bench.event().await, Event::Started { prompt: "p".into() });
    assert_eq!(bench.event().await, Event::Started { prompt: "p".into() });
    assert_eq!(bench.lost().await, (client_id, "the listener is too slow".into()));
    bench.clock.advance(Duration::from_secs(15));
    bench.shake_hands().await;
}

#[tokio::test]
async fn images_that_nobody_stores_cost_the_connection_and_not_the_memory() {
    let options = SocketOptions { most_held: 250, ..SocketOptions::default() };
    let mut bench = Bench::with(16, options, "http").await;
    let (mut peer, client_id) = bench.shake_hands().await;
    let image = Bytes::from([b"\0\0\0\x01\0\0\0\x02png".to_vec(), vec![b'x'; 97]].concat());
    let mut kept = Vec::new();
    for _ in 0..2 {
        peer.send(Message::binary(image.clone())).await.unwrap();
        kept.push(bench.event().await);
    }
    // What is stored, or no preview that anybody wants, makes room.
    kept.remove(0);
    peer.send(Message::binary(image.clone())).await.unwrap();
    kept.push(bench.event().await);
    peer.send(Message::binary(image)).await.unwrap();
    while within(peer.next()).await.is_some_and(|message| message.is_ok()) {}
    let (lost, reason) = bench.lost().await;
    assert_eq!((lost, reason.contains("200 bytes of images wait to be stored")), (client_id, true), "{reason}");
    drop(kept);
    bench.clock.advance(Duration::from_secs(15));
    bench.shake_hands().await;
}

#[tokio::test]
async fn a_large_frame_that_comes_slowly_is_told_of_before_it_is_whole() {
    use tokio::io::AsyncWriteExt;
    let mut bench = Bench::new(16).await;
    let (mut peer, _) = bench.shake_hands().await;
    let image = [b"\0\0\0\x01\0\0\0\x02png".to_vec(), vec![b'x'; 100_000]].concat();
    let head = [vec![0x82, 127], (image.len() as u64).to_be_bytes().to_vec()].concat();
    let (first, rest) = image.split_at(50_000);
    let line = peer.get_mut();
    line.write_all(&[&head, first].concat()).await.unwrap();
    let mut told = None;
    for _ in 0..15 {
        bench.clock.advance(BEAT);
        // What was written needs a moment to come.
        told = tokio::time::timeout(Duration::from_millis(100), bench.told.recv()).await.ok().flatten();
        if told.is_some() {
            break;
        }
    }
    assert_eq!(told, Some(SocketEvent::Receiving));
    for _ in 0..5 {
        bench.clock.advance(BEAT);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(bench.told.try_recv().is_err(), "no more has come");
    line.write_all(rest).await.unwrap();
    assert!(matches!(bench.event().await, Event::Image(frame) if frame.bytes.len() > 100_000));
}

#[tokio::test]
async fn a_quiet_connection_is_kept_alive_by_a_ping_every_thirty_seconds_at_least() {
    let mut bench = Bench::new(16).await;
    let (mut peer, _) = bench.shake_hands().await;
    for _ in 0..5 {
        bench.clock.advance(Duration::from_secs(30));
        assert!(within(peer.next()).await.unwrap().unwrap().is_ping());
        // The answer to the ping goes out before this.
        peer.send(Message::text(START)).await.unwrap();
        assert_eq!(bench.event().await, Event::Started { prompt: "p".into() });
    }
}

#[tokio::test]
async fn a_silent_connection_is_pinged_and_given_up_without_an_answer() {
    let options = SocketOptions { pong_limit: Duration::from_secs(20), ..SocketOptions::default() };
    let mut bench = Bench::with(16, options, "http").await;
    let (mut peer, client_id) = bench.shake_hands().await;
    bench.clock.advance(Duration::from_secs(20));
    assert!(within(peer.next()).await.unwrap().unwrap().is_ping());
    // The answer to the ping goes out before this.
    peer.send(Message::text(START)).await.unwrap();
    bench.event().await;
    bench.clock.advance(Duration::from_secs(20));
    tokio::task::yield_now().await;
    bench.clock.advance(Duration::from_secs(20));
    let message = within(peer.next()).await.unwrap().unwrap();
    assert!(message.is_ping(), "{message:?}");
    // This time the answer waits in the peer, which is not asked to go on.
    bench.clock.advance(Duration::from_secs(20));
    let told = bench.advance_until_told(Duration::from_secs(2)).await;
    assert_eq!(told, SocketEvent::Lost { client_id, reason: "no answer to a ping in time".into() });
}

#[tokio::test]
async fn who_thinks_it_is_deaf_gets_a_new_connection() {
    let mut bench = Bench::new(16).await;
    // Asked for before the connection stands, this concerns an older one.
    bench.reconnect.notify_one();
    let (mut peer, first) = bench.shake_hands().await;
    peer.send(Message::text(START)).await.unwrap();
    assert_eq!(bench.event().await, Event::Started { prompt: "p".into() });

    bench.reconnect.notify_one();
    assert!(within(peer.next()).await.unwrap().unwrap().is_close());
    while within(peer.next()).await.is_some() {}
    assert_eq!(bench.lost().await, (first.clone(), "a new connection was asked for".into()));
    bench.clock.advance(Duration::from_secs(15));
    let (_peer, second) = bench.shake_hands().await;
    assert_ne!(first, second);
}

#[tokio::test]
async fn stopping_closes_the_connection_politely() {
    let mut bench = Bench::new(16).await;
    let (mut peer, _) = bench.shake_hands().await;
    bench.lifecycle.stop().cancel();
    assert!(within(peer.next()).await.unwrap().unwrap().is_close());
    while within(peer.next()).await.is_some() {}
    within(bench.lifecycle.end()).await;
    assert_eq!(within(bench.told.recv()).await, None);
}

#[tokio::test]
async fn it_ends_when_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let (out, told) = mpsc::channel(1);
    drop(told);
    let clock = ManualClock::at(Timestamp::from_millis(0));
    within(run(url, SocketOptions::default(), out, Arc::default(), clock, CancellationToken::new())).await;
}

#[tokio::test]
async fn an_image_of_17_mib_is_one_frame() {
    let mut bench = Bench::new(16).await;
    let (mut peer, _) = bench.shake_hands().await;
    let frame = [&b"\0\0\0\x01\0\0\0\x02"[..], &vec![7; 17 << 20]].concat();
    let (sent, event) = tokio::join!(peer.send(Message::binary(frame)), bench.event());
    sent.unwrap();
    assert!(matches!(event, Event::Image(image) if image.bytes.len() == 17 << 20));
}

#[tokio::test]
async fn a_frame_beyond_the_limit_costs_the_connection_and_says_so() {
    let options = SocketOptions { largest_frame: 1_000, ..SocketOptions::default() };
    let mut bench = Bench::with(16, options, "http").await;
    let (mut peer, client_id) = bench.shake_hands().await;
    peer.send(Message::binary(vec![0; 1_001])).await.unwrap();
    while let Some(Ok(_)) = within(peer.next()).await {}
    assert_eq!(bench.lost().await, (client_id, "a frame of 1001 bytes is larger than the limit of 1000".into()));
}

#[tokio::test]
async fn why_there_is_no_connection_is_told_at_each_attempt() {
    let mut bench = Bench::new(16).await;
    let (tcp, _) = within(bench.listener.accept()).await.unwrap();
    drop(tcp);
    let told = bench.next().await;
    assert!(matches!(&told, SocketEvent::Unreachable { reason } if !reason.is_empty()), "{told:?}");
    let accept_again = async {
        let (tcp, _) = within(bench.listener.accept()).await.unwrap();
        drop(tcp);
    };
    let moving = async {
        loop {
            bench.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = accept_again => {}
        () = moving => {}
    }
    assert!(matches!(bench.next().await, SocketEvent::Unreachable { .. }));
}

#[tokio::test]
async fn a_server_without_tls_is_an_attempt_that_failed() {
    let bench = Bench::with(16, SocketOptions::default(), "https").await;
    drop(within(bench.listener.accept()).await.unwrap());
    let again = async {
        loop {
            bench.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        accepted = within(bench.listener.accept()) => drop(accepted.unwrap()),
        () = again => {}
    }
    assert_eq!(bench.lifecycle.panics(), 0);
}

#[test]
fn pauses_double_up_to_the_longest_and_are_left_to_chance_by_half() {
    let options = SocketOptions::default();
    let millis = |attempt, chance| pause(&options, attempt, chance).as_millis();
    assert_eq!((millis(0, 0), millis(0, 125)), (125, 250));
    assert_eq!((millis(1, 0), millis(1, 250)), (250, 500));
    assert_eq!((millis(6, 0), millis(6, 2_500)), (2_500, 5_000));
    for attempt in 0..100 {
        for chance in [0, 1, u64::MAX / 3, u64::MAX] {
            assert!((125..=5_000).contains(&millis(attempt, chance)));
        }
    }
    assert_eq!(millis(u32::MAX, 0), 2_500);
}

type Peer = WebSocketStream<TcpStream>;

struct Bench {
    listener: TcpListener,
    told: mpsc::Receiver<SocketEvent>,
    clock: Arc<ManualClock>,
    reconnect: Arc<Notify>,
    lifecycle: Lifecycle,
}

impl Bench {
    async fn new(capacity: usize) -> Self {
        Self::with(capacity, SocketOptions::default(), "http").await
    }

    async fn with(capacity: usize, options: SocketOptions, scheme: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{}/prefix", listener.local_addr().unwrap()).parse().unwrap();
        let (out, told) = mpsc::channel(capacity);
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let reconnect = Arc::new(Notify::new());
        let lifecycle = Lifecycle::new();
        let time: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        lifecycle.spawn("socket", run(url, options, out, Arc::clone(&reconnect), time, lifecycle.stop()));
        Self { listener, told, clock, reconnect, lifecycle }
    }

    async fn accept(&self) -> (Peer, String) {
        let (tcp, _) = within(self.listener.accept()).await.unwrap();
        let mut path = String::new();
        #[expect(clippy::result_large_err, reason = "the library's signature")]
        let note = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            path = request.uri().to_string();
            Ok(response)
        };
        let peer = within(tokio_tungstenite::accept_hdr_async(tcp, note)).await.unwrap();
        (peer, path)
    }

    async fn shake_hands(&mut self) -> (Peer, String) {
        let (mut peer, _) = self.accept().await;
        next_text(&mut peer).await;
        peer.send(Message::text(FLAGS)).await.unwrap();
        let client_id = self.connected().await;
        self.event().await;
        (peer, client_id)
    }

    async fn next(&mut self) -> SocketEvent {
        within(self.told.recv()).await.unwrap()
    }

    async fn connected(&mut self) -> String {
        match self.next().await {
            SocketEvent::Connected { client_id } => client_id,
            other @ (SocketEvent::Event(..)
            | SocketEvent::Receiving
            | SocketEvent::Unreachable { .. }
            | SocketEvent::Lost { .. }) => {
                panic!("not connected but {other:?}")
            }
        }
    }

    async fn event(&mut self) -> Event {
        match self.next().await {
            SocketEvent::Event(event, _) => event,
            other @ (SocketEvent::Connected { .. }
            | SocketEvent::Receiving
            | SocketEvent::Unreachable { .. }
            | SocketEvent::Lost { .. }) => {
                panic!("no event but {other:?}")
            }
        }
    }

    async fn lost(&mut self) -> (String, String) {
        match self.next().await {
            SocketEvent::Lost { client_id, reason } => (client_id, reason),
            other @ (SocketEvent::Connected { .. }
            | SocketEvent::Receiving
            | SocketEvent::Unreachable { .. }
            | SocketEvent::Event(..)) => {
                panic!("not lost but {other:?}")
            }
        }
    }

    /// Moves the clock on until something is told, for waits that nobody outside can see begin.
    async fn advance_until_told(&mut self, step: Duration) -> SocketEvent {
        let moving = async {
            loop {
                self.clock.advance(step);
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            told = within(self.told.recv()) => told.unwrap(),
            () = moving => unreachable!("it never ends"),
        }
    }
}

async fn next_text(peer: &mut Peer) -> String {
    within(peer.next()).await.unwrap().unwrap().into_text().unwrap().to_string()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), future).await.expect("it took too long")
}

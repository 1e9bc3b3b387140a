//! The WebSocket of one ComfyUI: keeps one connection, reads it at full speed, and tells what it heard.
//!
//! It never waits for whoever listens: a slow reader would freeze every client of that server (T21). What a lost
//! connection means for the jobs on it is decided by others.

use super::address::ComfyUrl;
use super::client::bearer;
use super::decode::{decode_binary, decode_text};
use super::event::Event;
use super::heard::{Counted, Heard};
use super::held::Held;
use crate::clock::{Clock, Timestamp};
use crate::lifecycle::{Panicked, caught};
use crate::secret::Secret;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, SinkExt, StreamExt};
use reqwest::header::AUTHORIZATION;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, watch};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

/// The first message that we send: with it, image frames say where they come from (T3, T23).
const HANDSHAKE: &str = r#"{"type":"feature_flags","data":{"supports_preview_metadata":true}}"#;
/// How many frames may come before the answer to the handshake: only broadcasts are for a new client id.
const EARLY_FRAMES: usize = 256;

/// How often it is told that part of a frame has come.
const BEAT: Duration = Duration::from_secs(1);
/// The most that a frame about the connection itself has in bytes: so much shows no more than a ping's answer.
const LONGEST_CONTROL: u64 = 131;

/// What the socket tells.
#[derive(Clone, PartialEq, Debug)]
pub enum SocketEvent {
    /// A connection stands and its handshake is done: prompts may be sent with this client id.
    Connected {
        /// The name of this connection, never used before.
        client_id: String,
    },
    /// Something was heard on it.
    Event(Event),
    /// Part of something was heard, for a while already: a large image on a slow line.
    Receiving,
    /// An attempt to connect failed, and there will be another.
    Unreachable {
        /// Why.
        reason: String,
    },
    /// The connection is gone, and with it whatever was said since. Follows each `Connected`, unless everything stops.
    Lost {
        /// The name of the connection.
        client_id: String,
        /// Why.
        reason: String,
    },
}

/// The limits of a socket.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// Until a connection stands.
    pub connect_limit: Duration,
    /// Until the handshake is answered; a server that does not know it never answers.
    pub handshake_limit: Duration,
    /// Between our pings.
    pub ping_every: Duration,
    /// From a ping until anything comes; a server that encodes images or loads models is mute for a while (T26), and
    /// giving up a connection that lives loses what it would have said.
    pub pong_limit: Duration,
    /// Until a connection that we close is closed.
    pub close_limit: Duration,
    /// The pause before the first attempt to reconnect; each further one waits twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// The largest frame in bytes: each image is one frame (T24).
    pub largest_frame: usize,
    /// Says whether the server at the address is the one that is meant; no connection is begun before. None: it always is.
    pub gate: Option<watch::Receiver<bool>>,
    /// What is shown as a bearer token when a connection is opened.
    pub token: Option<Secret>,
    /// How many bytes of images may wait to be stored. With more the listener cannot follow, and loses the connection.
    pub most_held: usize,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            connect_limit: Duration::from_secs(10),
            handshake_limit: Duration::from_secs(5),
            ping_every: Duration::from_secs(20),
            pong_limit: Duration::from_secs(45),
            close_limit: Duration::from_secs(2),
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(5),
            largest_frame: 320 << 20,
            gate: None,
            token: None,
            most_held: 128 << 20,
        }
    }
}

/// Keeps a connection until told to stop, or until nobody listens any more.
///
/// `reconnect` is for whoever thinks that the connection is deaf (T20): it is given up for a new one.
pub async fn run(
    url: ComfyUrl,
    options: SocketOptions,
    out: mpsc::Sender<SocketEvent>,
    reconnect: Arc<Notify>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let held = Held::new(options.most_held);
    let socket = Socket { url, options, held, out, reconnect, clock };
    // Boxed, because the buffers of a connection are in it.
    let work = Box::pin(socket.keep_connected(&stop));
    work.await;
}

/// Returns the pause before attempt number `attempt`: doubling, limited, and in its upper half left to `chance`.
fn pause(options: &SocketOptions, attempt: u32, chance: u64) -> Duration {
    let doubled = options.first_pause.saturating_mul(2_u32.saturating_pow(attempt)).min(options.longest_pause);
    let half = doubled / 2;
    let span = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    half + Duration::from_millis(chance % span)
}

struct Socket {
    url: ComfyUrl,
    options: SocketOptions,
    held: Held,
    out: mpsc::Sender<SocketEvent>,
    reconnect: Arc<Notify>,
    clock: Arc<dyn Clock>,
}

type Stream = WebSocketStream<MaybeTlsStream<Counted<TcpStream>>>;

/// A connection whose handshake is done.
struct Connection {
    client_id: String,
    stream: Stream,
    heard: Heard,
    /// What came before the answer to the handshake, and that answer.
    early: Vec<Event>,
}

/// Why a connection ended.
enum End {
    Lost(String),
    Stopped,
}

impl Socket {
    async fn keep_connected(self, stop: &CancellationToken) {
        let mut failures = 0;
        while self.is_let_in(stop).await {
            // A fresh name each time: one that was used before may be deaf as soon as its old connection ends (T19).
            let name = Uuid::new_v4();
            let began = self.clock.now();
            let connected = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                connected = self.connect(name.to_string()) => connected,
            };
            match connected {
                Ok(connection) => {
                    if !self.serve(connection, stop).await {
                        return;
                    }
                    failures = if self.lived_long(began) { 0 } else { failures };
                }
                Err(reason) => self.say_unreachable(reason, failures),
            }
            let pause = pause(&self.options, failures, name.as_u64_pair().1);
            failures = failures.saturating_add(1);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.out.closed() => return,
                () = self.after(pause) => {}
            }
        }
    }

    /// Waits until there may be a connection; false if all shall end.
    async fn is_let_in(&self, stop: &CancellationToken) -> bool {
        let mut gate = self.options.gate.clone();
        let is_open = async {
            match &mut gate {
                Some(gate) => gate.wait_for(|is_open| *is_open).await.is_ok(),
                None => true,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            is_open = is_open => is_open,
            () = self.out.closed() => false,
        }
    }

    fn say_unreachable(&self, reason: String, failures: u32) {
        if failures == 0 {
            warn!(backend.url = %self.url, reason, "no socket to the backend");
        } else {
            debug!(backend.url = %self.url, reason, failures, "still no socket to the backend");
        }
        // A listener that is busy hears of the next attempt; one that is gone is noticed in the pause.
        let _ = self.out.try_send(SocketEvent::Unreachable { reason });
    }

    /// Connects, shakes hands and waits for the answer, so that no prompt is sent before it (T23).
    async fn connect(&self, client_id: String) -> Result<Connection, String> {
        let (mut stream, heard) = tokio::select! {
            opened = self.open(&client_id) => opened?,
            () = self.after(self.options.connect_limit) => return Err("the connection did not stand in time".to_owned()),
        };
        let mut early = Vec::new();
        let handshake = async {
            stream.send(Message::text(HANDSHAKE)).await.map_err(|error| told(&error))?;
            while early.len() < EARLY_FRAMES {
                let Some(event) = heard_event(stream.next().await)? else { continue };
                let is_answer = matches!(event, Event::FeatureFlags { .. });
                early.push(event);
                if is_answer {
                    break;
                }
            }
            Ok::<(), String>(())
        };
        tokio::select! {
            done = handshake => done?,
            // An old server that does not know the handshake is used as it is.
            () = self.after(self.options.handshake_limit) => debug!(backend.url = %self.url, "no answer to the handshake"),
        }
        Ok(Connection { client_id, stream, heard, early })
    }

    async fn open(&self, client_id: &str) -> Result<(Stream, Heard), String> {
        let url = self.url.ws_url(client_id);
        let mut request = url.as_str().into_client_request().map_err(|error| told(&error))?;
        if let Some(token) = &self.options.token {
            let unfit = |_| "its token is not made of visible ASCII characters".to_owned();
            request.headers_mut().insert(AUTHORIZATION, bearer(token).map_err(unfit)?);
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        let tcp = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
        // Without it our small pings would wait; a failure only costs that.
        let _ = tcp.set_nodelay(true);
        let (counted, heard) = Counted::new(tcp);
        let largest = Some(self.options.largest_frame);
        let config = WebSocketConfig::default().max_frame_size(largest).max_message_size(largest);
        let opening = tokio_tungstenite::client_async_tls_with_config(request, counted, Some(config), None);
        let (stream, _) = Box::pin(opening).await.map_err(|error| told(&error))?;
        Ok((stream, heard))
    }

    /// Tells of a connection from its start to its end; false if all shall end.
    async fn serve(&self, mut connection: Connection, stop: &CancellationToken) -> bool {
        // Whoever asked before now meant an older connection.
        let _ = self.reconnect.notified().now_or_never();
        let client_id = connection.client_id.clone();
        if let Err(reason) = self.pass_on(SocketEvent::Connected { client_id: client_id.clone() }) {
            debug!(backend.url = %self.url, reason, "gave up a new socket");
            self.close(connection.stream).await;
            return true;
        }
        let end = self.listen(&mut connection, stop).await;
        self.close(connection.stream).await;
        let End::Lost(reason) = end else { return false };
        debug!(backend.url = %self.url, client_id, reason, "lost the socket to the backend");
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            sent = self.out.send(SocketEvent::Lost { client_id, reason }) => sent.is_ok(),
        }
    }

    async fn listen(&self, connection: &mut Connection, stop: &CancellationToken) -> End {
        for event in std::mem::take(&mut connection.early) {
            if let Err(reason) = self.pass_on(SocketEvent::Event(event)) {
                return End::Lost(reason);
            }
        }
        let mut alarm = self.after(self.options.ping_every);
        let mut heard_at_ping = None;
        let mut beat = self.after(BEAT);
        let (mut heard_at_beat, mut heard_whole) = (connection.heard.bytes(), true);
        loop {
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => return End::Stopped,
                () = self.reconnect.notified() => Err("a new connection was asked for".to_owned()),
                () = &mut alarm => match heard_at_ping.take() {
                    None => {
                        alarm = self.after(self.options.pong_limit);
                        heard_at_ping = Some(connection.heard.bytes());
                        self.ping(&mut connection.stream).await
                    }
                    Some(bytes) if bytes == connection.heard.bytes() => Err("no answer to a ping in time".to_owned()),
                    Some(_) => {
                        alarm = self.after(self.options.ping_every);
                        Ok(())
                    }
                },
                () = &mut beat => {
                    beat = self.after(BEAT);
                    let before = std::mem::replace(&mut heard_at_beat, connection.heard.bytes());
                    let receives = !std::mem::take(&mut heard_whole) && heard_at_beat > before + LONGEST_CONTROL;
                    if receives { self.pass_on(SocketEvent::Receiving) } else { Ok(()) }
                },
                frame = connection.stream.next() => match heard_event(frame) {
                    Ok(Some(event)) => {
                        heard_whole = true;
                        self.counted(event).and_then(|event| self.pass_on(SocketEvent::Event(event)))
                    }
                    Ok(None) => Ok(()),
                    Err(reason) => Err(reason),
                },
            };
            if let Err(reason) = outcome {
                return End::Lost(reason);
            }
        }
    }

    /// Counts an image as held until it is stored, or dropped as one that nobody wants.
    fn counted(&self, mut event: Event) -> Result<Event, String> {
        if let Event::Image(frame) = &mut event {
            frame.bytes = self.held.count(std::mem::take(&mut frame.bytes))?;
        }
        Ok(event)
    }

    /// Hands something on without waiting.
    fn pass_on(&self, event: SocketEvent) -> Result<(), String> {
        self.out.try_send(event).map_err(|error| match error {
            TrySendError::Full(_) => "the listener is too slow".to_owned(),
            TrySendError::Closed(_) => "nobody listens".to_owned(),
        })
    }

    async fn ping(&self, stream: &mut Stream) -> Result<(), String> {
        tokio::select! {
            sent = stream.send(Message::Ping(bytes::Bytes::new())) => sent.map_err(|error| told(&error)),
            () = self.after(self.options.pong_limit) => Err("a ping could not be sent in time".to_owned()),
        }
    }

    /// Closes a connection fully, or drops it after the limit.
    async fn close(&self, mut stream: Stream) {
        let closing = async {
            if stream.close(None).await.is_ok() {
                // What is still on its way comes before the answer to our close.
                while let Some(Ok(message)) = stream.next().await {
                    if message.is_close() {
                        break;
                    }
                }
            }
        };
        tokio::select! {
            () = closing => {}
            () = self.after(self.options.close_limit) => {}
        }
    }

    fn lived_long(&self, began: Timestamp) -> bool {
        self.clock.now().since(began) > self.options.longest_pause
    }

    fn after(&self, wait: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(self.clock.now() + wait)
    }
}

/// Reads what came from the stream; none for what only concerns the connection itself.
fn heard_event(frame: Option<Result<Message, tungstenite::Error>>) -> Result<Option<Event>, String> {
    match frame {
        None => Err("the connection ended".to_owned()),
        Some(Err(error)) => Err(told(&error)),
        // A frame that we fail on is lost; on a new connection the runs are looked up, and what it said is found out.
        Some(Ok(Message::Text(text))) => caught("socket", || Some(decode_text(&text))).map_err(undecodable),
        Some(Ok(Message::Binary(bytes))) => caught("socket", || Some(decode_binary(bytes))).map_err(undecodable),
        Some(Ok(Message::Close(frame))) => {
            let why = frame.map_or_else(|| "without a reason".to_owned(), |frame| frame.to_string());
            Err(format!("the backend closed the connection: {why}"))
        }
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
    }
}

fn undecodable(Panicked: Panicked) -> String {
    "the gateway failed on a frame".to_owned()
}

fn told(error: &tungstenite::Error) -> String {
    if let tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, max_size }) = error {
        return format!("a frame of {size} bytes is larger than the limit of {max_size}");
    }
    if let tungstenite::Error::Http(answer) = error
        && matches!(answer.status().as_u16(), 401 | 403)
    {
        return format!("{error}; is COMFYUI_TOKEN right?");
    }
    error.to_string()
}

#[cfg(test)]
mod tests;

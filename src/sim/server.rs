//! The port: accepts connections, answers requests on them, and turns some into sockets.
//!
//! What a request means is `routes`' matter; this file only moves bytes, and ends connections when told.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as SocketError, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::frames;
use super::http::{self, Request, Response};
use super::hub::{Audience, Command};
use super::json::Json;
use super::routes::{self, Answer};
use super::run;
use super::world::World;

/// aiohttp's limit for what a client sends.
const LONGEST_MESSAGE: usize = 4 * 1024 * 1024;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Binds, and serves from now on until the lifecycle ends.
#[expect(clippy::unused_async, reason = "it needs the runtime in which it is awaited")]
pub(super) async fn open(world: &Arc<World>, addr: SocketAddr) -> io::Result<SocketAddr> {
    let first = take_place(addr)?;
    let addr = first.local_addr()?;
    // Where two sockets may have one place, the first keeps it for as long as this runs, and others listen there.
    let (keeper, listener) = match take_place(addr).and_then(|second| second.listen(BACKLOG)) {
        Ok(listener) => (Some(first), listener),
        Err(_) => (None, first.listen(BACKLOG)?),
    };
    let listening = listen(Arc::clone(world), listener, addr);
    let kept = async move {
        listening.await;
        drop(keeper);
    };
    world.lifecycle.spawn_station("simulator's port", kept);
    world.lifecycle.spawn_station("simulator's worker", run::work(Arc::clone(world)));
    Ok(addr)
}

async fn listen(world: Arc<World>, mut listener: TcpListener, addr: SocketAddr) {
    let stop = world.lifecycle.stop();
    loop {
        let listening = world.listening();
        tokio::select! {
            () = stop.cancelled() => return,
            () = listening.cancelled() => {
                let down_for = world.down_for();
                if down_for.is_zero() {
                    continue;
                }
                drop(listener);
                let place = take_place(addr);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(down_for) => {}
                }
                match place.and_then(|place| place.listen(BACKLOG)) {
                    Ok(again) => listener = again,
                    Err(error) => {
                        tracing::error!(%addr, %error, "the simulator cannot listen again");
                        return;
                    }
                }
            }
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let connection = connection(Arc::clone(&world), stream, world.network());
                    world.lifecycle.spawn("simulator's connection", connection);
                }
            }
        }
    }
}

/// Takes the port without listening on it: connections are refused, and nobody who asks for any port gets this one.
fn take_place(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

async fn connection(world: Arc<World>, stream: TcpStream, network: CancellationToken) {
    let stop = world.lifecycle.stop();
    tokio::select! {
        () = stop.cancelled() => {}
        () = network.cancelled() => {}
        // An error is a client that has gone.
        _ = converse(&world, stream) => {}
    }
}

async fn converse(world: &Arc<World>, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::new();
    while let Some(request) = http::read(&mut stream, &mut buffer).await? {
        let closes = request.closes() || request.too_large;
        match routes::answer(world, &request).await {
            Answer::Response(response) => http::write(&mut stream, &response, request.method != "HEAD").await?,
            Answer::Upgrade => return upgrade(world, stream, &request, buffer).await,
            Answer::Nothing => return Ok(()),
        }
        if closes {
            break;
        }
    }
    Ok(())
}

async fn upgrade(world: &Arc<World>, mut stream: TcpStream, request: &Request, rest: BytesMut) -> io::Result<()> {
    let mut response = Response::empty(101);
    let accept = derive_accept_key(request.header("sec-websocket-key").unwrap_or_default().as_bytes());
    response.headers.push(("Upgrade", "websocket".to_owned()));
    response.headers.push(("Connection", "upgrade".to_owned()));
    response.headers.push(("Sec-WebSocket-Accept", accept));
    http::write(&mut stream, &response, false).await?;
    let config = WebSocketConfig::default().max_message_size(Some(LONGEST_MESSAGE));
    let mut socket = WebSocketStream::from_partially_read(stream, rest.to_vec(), Role::Server, Some(config)).await;

    let client = match request.parameter("clientId") {
        Some(client) if !client.is_empty() => client.to_owned(),
        Some(_) | None => uuid::Uuid::new_v4().simple().to_string(),
    };
    let (sender, commands) = unbounded_channel();
    let seat = world.change(|state| {
        let seat = state.hub.open(&client, sender);
        let audience = Audience::Client(client.clone());
        state.hub.text(&audience, &frames::status(state.engine.remaining(), Some(&client)));
        if let Some((_, node)) = state.engine.last_node.as_ref().filter(|(running, _)| *running == client) {
            state.hub.text(&audience, &frames::replay(node));
        }
        Seat { world: Arc::clone(world), socket: seat, client }
    });
    // An error is a client that has gone.
    let _ = attend(&seat, &mut socket, commands).await;
    Ok(())
}

/// A socket's place in the hub, given up when the connection ends in whatever way.
struct Seat {
    world: Arc<World>,
    socket: u64,
    client: String,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.world.change(|state| state.hub.close(self.socket, &self.client));
    }
}

async fn attend(
    seat: &Seat,
    socket: &mut WebSocketStream<TcpStream>,
    mut commands: UnboundedReceiver<Command>,
) -> Result<(), SocketError> {
    let mut is_first = true;
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some(command) = command else { return Ok(()) };
                let mut next = Some(command);
                while let Some(command) = next {
                    match command {
                        Command::Text(text) => {
                            let text = Utf8Bytes::try_from(text).unwrap_or_default();
                            socket.feed(Message::Text(text)).await?;
                        }
                        Command::Binary(bytes) => socket.feed(Message::Binary(bytes)).await?,
                        Command::Cut => return socket.flush().await,
                    }
                    next = commands.try_recv().ok();
                }
                socket.flush().await?;
            }
            message = socket.next() => {
                let Some(message) = message else { return Ok(()) };
                if let Message::Text(text) = message? {
                    hear(seat, &text, &mut is_first);
                }
            }
        }
    }
}

/// Only the first message that is JSON may be the handshake; everything else is ignored.
fn hear(seat: &Seat, text: &str, is_first: &mut bool) {
    let Some(message) = Json::parse(text.as_bytes()) else { return };
    if !std::mem::take(is_first) || message.get("type").and_then(Json::text) != Some("feature_flags") {
        return;
    }
    let wanted = message.get("data").and_then(|data| data.get("supports_preview_metadata")) == Some(&Json::Bool(true));
    seat.world.change(|state| {
        state.hub.set_metadata(&seat.client, wanted);
        let answer = frames::message("feature_flags", &frames::features());
        state.hub.text(&Audience::Client(seat.client.clone()), &answer);
    });
}

//! A server that says again, over a real WebSocket, what a real one said.

use crate::recording::{Trace, trace};
use comfygate::clock::SystemClock;
use comfygate::comfy::{Event, SocketEvent, SocketOptions, socket};
use comfygate::lifecycle::Lifecycle;
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

#[tokio::test]
async fn a_recorded_session_comes_through_the_socket_frame_by_frame() {
    for name in ["05-websocket-image-metadata", "07-preview-frames-metadata"] {
        let recorded = trace(name);
        let told = tokio::time::timeout(Duration::from_secs(30), replayed(recorded)).await.unwrap();
        let expected: Vec<&Event> = recorded.events().collect();
        assert_eq!(told.iter().collect::<Vec<_>>(), expected, "{name}");
    }
}

/// Plays a recording to a socket and returns what it told between the beginning and the end of the connection.
async fn replayed(recorded: &Trace) -> Vec<Event> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (out, mut told) = mpsc::channel(1_000);
    let lifecycle = Lifecycle::new();
    let options = SocketOptions::default();
    let socket = socket::run(url, options, out, Arc::default(), SystemClock::start(), lifecycle.stop());
    lifecycle.spawn("socket", socket);

    let (tcp, _) = listener.accept().await.unwrap();
    let mut peer = tokio_tungstenite::accept_async(tcp).await.unwrap();
    let handshake = peer.next().await.unwrap().unwrap();
    assert!(handshake.to_text().unwrap().contains("feature_flags"), "{handshake:?}");
    for frame in recorded.frames() {
        peer.send(frame).await.unwrap();
    }
    peer.close(None).await.unwrap();

    let mut events = Vec::new();
    assert!(matches!(told.recv().await, Some(SocketEvent::Connected { .. })));
    loop {
        match told.recv().await.unwrap() {
            SocketEvent::Event(event, _) => events.push(event),
            SocketEvent::Lost { .. } => break,
            SocketEvent::Receiving => {}
            again @ (SocketEvent::Connected { .. } | SocketEvent::Unreachable { .. }) => panic!("{again:?}"),
        }
    }
    lifecycle.end().await;
    events
}

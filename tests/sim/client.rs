//! A plain client of a ComfyUI server: HTTP and one WebSocket, every wait bounded.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use comfygate::sim::{Sim, SimOptions};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// The longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A frame, or the end of the connection.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Frame {
    Text(String),
    Binary(Bytes),
    Closed,
}

pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Socket {
    pub(crate) async fn open(sim: &Sim, path: &str) -> Self {
        let url = format!("ws://{}{path}", sim.addr());
        let connected = tokio::time::timeout(PATIENCE, tokio_tungstenite::connect_async(url)).await;
        Self(connected.expect("the socket opens in time").expect("the socket opens").0)
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn close(mut self) {
        // The server may have closed already.
        let _ = self.0.close(None).await;
        while self.next().await != Frame::Closed {}
    }

    /// Returns the next frame; pings and pongs are none.
    pub(crate) async fn next(&mut self) -> Frame {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame comes in time");
            match message {
                Some(Ok(Message::Text(text))) => return Frame::Text(text.to_string()),
                Some(Ok(Message::Binary(bytes))) => return Frame::Binary(bytes),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Frame::Closed,
            }
        }
    }

    /// Returns the frames up to and with the one that `is_last` accepts, or the end of the connection.
    pub(crate) async fn until(&mut self, mut is_last: impl FnMut(&Value) -> bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            let ends = match &frame {
                Frame::Text(text) => serde_json::from_str(text).is_ok_and(|message| is_last(&message)),
                Frame::Binary(_) => false,
                Frame::Closed => true,
            };
            frames.push(frame);
            if ends {
                return frames;
            }
        }
    }

    /// Returns the frames up to the end of a prompt.
    pub(crate) async fn until_idle(&mut self) -> Vec<Frame> {
        self.until(|message| message["type"] == "executing" && message["data"]["node"].is_null()).await
    }
}

pub(crate) async fn start() -> Sim {
    Sim::start(SimOptions::default()).await.unwrap()
}

/// One client for all tests; it keeps no connection, because each test has a runtime of its own.
pub(crate) fn http() -> &'static reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        reqwest::Client::builder().no_proxy().timeout(PATIENCE).pool_max_idle_per_host(0).build().unwrap()
    });
    &CLIENT
}

pub(crate) async fn get(sim: &Sim, path: &str) -> Answer {
    answered(http().get(format!("{}{path}", sim.url())).send().await.unwrap()).await
}

pub(crate) async fn post(sim: &Sim, path: &str, body: &Value) -> Answer {
    answered(http().post(format!("{}{path}", sim.url())).body(body.to_string()).send().await.unwrap()).await
}

pub(crate) async fn answered(response: reqwest::Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.bytes().await.unwrap() }
}

/// An empty image that goes to disk and to the socket; the colour keeps it out of the cache.
pub(crate) fn canvas(color: u32) -> Value {
    json!({
        "1": { "class_type": "EmptyImage", "inputs": { "width": 8, "height": 8, "batch_size": 2, "color": color } },
        "2": { "class_type": "SaveImage", "inputs": { "images": ["1", 0], "filename_prefix": "t" } },
        "3": { "class_type": "SaveImageWebsocket", "inputs": { "images": ["1", 0] } },
    })
}

pub(crate) async fn submit(sim: &Sim, id: &str, graph: &Value) -> Answer {
    post(sim, "/prompt", &json!({ "prompt": graph, "client_id": "a", "prompt_id": id })).await
}

/// Opens client `a`'s socket, with descriptions of images agreed upon.
pub(crate) async fn listen(sim: &Sim) -> Socket {
    let mut socket = Socket::open(sim, "/ws?clientId=a").await;
    socket.send(r#"{"type": "feature_flags", "data": {"supports_preview_metadata": true}}"#).await;
    socket.until(|message| message["type"] == "feature_flags").await;
    socket
}

/// The types of the events among the frames, `status` left out; `idle` ends a prompt, `image` is a binary frame.
pub(crate) fn kinds(frames: &[Frame]) -> Vec<String> {
    let kind = |frame: &Frame| match frame {
        Frame::Binary(_) => "image".to_owned(),
        Frame::Closed => "closed".to_owned(),
        Frame::Text(text) => match serde_json::from_str::<Value>(text) {
            Ok(message) if message["type"] == "executing" && message["data"]["node"].is_null() => "idle".to_owned(),
            Ok(message) => message["type"].as_str().unwrap_or("odd").to_owned(),
            Err(_) => "broken".to_owned(),
        },
    };
    frames.iter().map(kind).filter(|kind| kind != "status").collect()
}

//! Live events: what those hear who listen, by Server-Sent Events, by WebSocket, or by waiting for the answer.

mod resuming;
mod slow;
mod socket;
mod streams;
mod waiting;

use crate::support::{PATIENCE, TestGateway};
use futures_util::StreamExt;
use serde_json::Value;

/// An event of a stream.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// Somebody who reads a stream as an `EventSource` does.
pub(crate) struct Reader {
    pub(crate) headers: reqwest::header::HeaderMap,
    answer: reqwest::Response,
    unread: String,
    /// The comments that came so far.
    pub(crate) comments: Vec<String>,
}

impl Reader {
    pub(crate) async fn open(gateway: &TestGateway, path: &str, last: Option<&str>) -> Self {
        let headers: Vec<_> = last.map(|last| ("last-event-id", last)).into_iter().collect();
        Self::open_with(gateway, path, &headers).await
    }

    pub(crate) async fn open_with(gateway: &TestGateway, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = reqwest::Client::builder().no_proxy().build().unwrap().get(gateway.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = tokio::time::timeout(PATIENCE, request.send()).await.unwrap().unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        Self { headers: answer.headers().clone(), answer, unread: String::new(), comments: Vec::new() }
    }

    /// The next event; none when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                match self.read(&block) {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let piece = tokio::time::timeout(PATIENCE, self.answer.chunk()).await.expect("an event comes in time");
            let piece = piece.ok()??;
            self.unread.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// Everything until the stream ends.
    pub(crate) async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// The next event of this name for which `is_it` holds; others are passed over.
    pub(crate) async fn until(&mut self, name: &str, is_it: impl Fn(&Value) -> bool) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before {name}"));
            if event.name == name && is_it(&event.data) {
                return event;
            }
        }
    }

    fn read(&mut self, block: &str) -> Option<Event> {
        let mut event = Event { id: None, name: String::new(), data: Value::Null };
        for line in block.lines() {
            match line.split_once(": ").unwrap_or((line, "")) {
                ("id", id) => event.id = Some(id.to_owned()),
                ("event", name) => name.clone_into(&mut event.name),
                ("data", data) => event.data = serde_json::from_str(data).unwrap(),
                ("retry", _) => {}
                ("", comment) => self.comments.push(comment.to_owned()),
                other => panic!("not a field of a stream: {other:?}"),
            }
        }
        (!event.name.is_empty()).then_some(event)
    }
}

/// The states that were told, without repeats.
fn states(events: &[Event]) -> Vec<String> {
    let states = events.iter().filter(|event| event.name == "status");
    let mut states: Vec<String> = states.map(|event| event.data["status"].as_str().unwrap().to_owned()).collect();
    states.dedup();
    states
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;
type Message = tokio_tungstenite::tungstenite::Message;

async fn connect(gateway: &TestGateway, path: &str) -> Socket {
    let url = gateway.url(path).replacen("http", "ws", 1);
    let connected = tokio::time::timeout(PATIENCE, tokio_tungstenite::connect_async(url)).await.unwrap();
    connected.unwrap().0
}

/// The next message that is neither a ping nor its answer; none when the connection has ended.
async fn heard(socket: &mut Socket) -> Option<Message> {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("a message comes in time") {
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(message)) => return Some(message),
            Some(Err(_)) | None => return None,
        }
    }
}

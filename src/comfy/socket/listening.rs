//! A connection that stands: read at full speed until it is lost, with a ping now and then, and closed.

use super::frame::{heard_event, told};
use super::opening::{Connection, Stream};
use super::{Socket, SocketEvent};
use crate::comfy::event::Event;
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How often it is told that part of a frame has come.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// The most that a frame about the connection itself has in bytes: so much shows no more than a ping's answer.
const LONGEST_CONTROL: u64 = 131;

/// Why a connection ended.
enum End {
    Lost(String),
    Stopped,
}

impl Socket {
    /// Tells of a connection from its start to its end; false if all shall end.
    pub(super) async fn serve(&self, mut connection: Connection, stop: &CancellationToken) -> bool {
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
        for (event, raw) in std::mem::take(&mut connection.early) {
            if let Err(reason) = self.pass_on(SocketEvent::Event(event, raw)) {
                return End::Lost(reason);
            }
        }
        let mut alarm = self.after(self.options.ping_every);
        // What had been heard at the first ping after which nothing came, and when that was. More follow, for whoever is between us
        // and the server would end a connection that is quiet for a minute.
        let mut unanswered = None;
        let mut beat = self.after(BEAT);
        let (mut heard_at_beat, mut heard_whole) = (connection.heard.bytes(), true);
        loop {
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => return End::Stopped,
                () = self.reconnect.notified() => Err("a new connection was asked for".to_owned()),
                () = &mut alarm => {
                    let (heard, now) = (connection.heard.bytes(), self.clock.now());
                    let since = unanswered.filter(|(bytes, _)| *bytes == heard).map_or(now, |(_, since)| since);
                    unanswered = Some((heard, since));
                    let left = self.options.pong_limit.saturating_sub(now.since(since));
                    if left.is_zero() {
                        Err("no answer to a ping in time".to_owned())
                    } else {
                        alarm = self.after(left.min(self.options.ping_every));
                        self.ping(&mut connection.stream).await
                    }
                },
                () = &mut beat => {
                    beat = self.after(BEAT);
                    let before = std::mem::replace(&mut heard_at_beat, connection.heard.bytes());
                    let receives = !std::mem::take(&mut heard_whole) && heard_at_beat > before + LONGEST_CONTROL;
                    if receives { self.pass_on(SocketEvent::Receiving) } else { Ok(()) }
                },
                frame = connection.stream.next() => match heard_event(frame, self.keeps_raw()) {
                    Ok(Some((event, raw))) => {
                        heard_whole = true;
                        self.counted(event).and_then(|event| self.pass_on(SocketEvent::Event(event, raw)))
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
}

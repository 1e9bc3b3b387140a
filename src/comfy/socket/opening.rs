//! A connection from its first packet to the end of its handshake.

use super::Socket;
use super::frame::{HeardEvent, heard_event, told};
use crate::comfy::event::Event;
use crate::comfy::heard::{Counted, Heard};
use crate::comfy::route::{Credentials, mended};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};
use tracing::debug;

/// The first message that we send: with it, image frames say where they come from (T3, T23).
pub(super) const HANDSHAKE: &str = r#"{"type":"feature_flags","data":{"supports_preview_metadata":true}}"#;
/// How many frames may come before the answer to the handshake: only broadcasts are for a new client id.
const EARLY_FRAMES: usize = 256;

pub(super) type Stream = WebSocketStream<MaybeTlsStream<Counted<TcpStream>>>;

/// A connection whose handshake is done.
pub(super) struct Connection {
    pub(super) client_id: String,
    pub(super) stream: Stream,
    pub(super) heard: Heard,
    /// What came before the answer to the handshake, and that answer.
    pub(super) early: Vec<HeardEvent>,
}

impl Socket {
    /// Connects, shakes hands and waits for the answer, so that no prompt is sent before it (T23).
    pub(super) async fn connect(&self, client_id: String) -> Result<Connection, String> {
        // Has a limit of its own, and a reason of its own if it fails.
        let shown = self.options.route.credentials().await?;
        let (mut stream, heard) = tokio::select! {
            opened = self.open(&client_id, &shown) => opened?,
            () = self.after(self.options.connect_limit) => return Err("the connection did not stand in time".to_owned()),
        };
        let mut early = Vec::new();
        let handshake = async {
            stream.send(Message::text(HANDSHAKE)).await.map_err(|error| told(&error))?;
            while early.len() < EARLY_FRAMES {
                let Some(heard) = heard_event(stream.next().await, self.keeps_raw())? else { continue };
                let is_answer = matches!(heard.0, Event::FeatureFlags { .. });
                early.push(heard);
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

    async fn open(&self, client_id: &str, shown: &Credentials) -> Result<(Stream, Heard), String> {
        let (route, url) = (&self.options.route, self.url.ws_url(client_id));
        let mut request = url.as_str().into_client_request().map_err(|error| told(&error))?;
        request.headers_mut().extend(shown.headers.clone());
        let connector = if self.url.is_https() {
            Connector::Rustls(route.tls().map_err(|error| error.to_string())?)
        } else {
            Connector::Plain
        };
        let tcp = route.connect(&url).await?;
        // Without it our small pings would wait; a failure only costs that.
        let _ = tcp.set_nodelay(true);
        let (counted, heard) = Counted::new(tcp);
        let largest = Some(self.options.largest_frame);
        let config = WebSocketConfig::default().max_frame_size(largest).max_message_size(largest);
        let opening = tokio_tungstenite::client_async_tls_with_config(request, counted, Some(config), Some(connector));
        match Box::pin(opening).await {
            Ok((stream, _)) => Ok((stream, heard)),
            Err(error) => Err(self.refusal(&error, shown).await),
        }
    }

    /// Says why a server did not open a socket. The next attempt shows another access token if it did not take this one.
    async fn refusal(&self, error: &Error, shown: &Credentials) -> String {
        let Error::Http(answer) = error else { return mended(told(error)) };
        let status = answer.status().as_u16();
        if status == 401 {
            self.options.route.refused(shown).await;
        }
        if matches!(status, 401 | 403) { format!("{error}; {}", self.options.route.hint()) } else { told(error) }
    }
}

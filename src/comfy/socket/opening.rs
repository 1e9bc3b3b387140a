//! A connection from its first packet to the end of its handshake.

use super::Socket;
use super::frame::{heard_event, told};
use crate::comfy::client::bearer;
use crate::comfy::event::Event;
use crate::comfy::heard::{Counted, Heard};
use futures_util::{SinkExt, StreamExt};
use reqwest::header::AUTHORIZATION;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
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
    pub(super) early: Vec<Event>,
}

impl Socket {
    /// Connects, shakes hands and waits for the answer, so that no prompt is sent before it (T23).
    pub(super) async fn connect(&self, client_id: String) -> Result<Connection, String> {
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
}

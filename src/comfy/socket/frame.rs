//! What came from a connection, as an event or as the reason of its end.

use crate::comfy::decode::{decode_binary, decode_text};
use crate::comfy::event::Event;
use crate::job::RawFrame;
use crate::lifecycle::{Panicked, caught};
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::{self, Message};

/// What came, and what it was before it was read, where somebody wants to have that.
pub(super) type HeardEvent = (Event, Option<RawFrame>);

/// Reads what came from the stream; none for what only concerns the connection itself.
pub(super) fn heard_event(
    frame: Option<Result<Message, tungstenite::Error>>,
    keeps_raw: bool,
) -> Result<Option<HeardEvent>, String> {
    match frame {
        None => Err("the connection ended".to_owned()),
        Some(Err(error)) => Err(told(&error)),
        // A frame that we fail on is lost; on a new connection the runs are looked up, and what it said is found out.
        Some(Ok(Message::Text(text))) => {
            let event = caught("socket", || decode_text(&text)).map_err(undecodable)?;
            Ok(Some((event, keeps_raw.then(|| RawFrame::Text(text.into())))))
        }
        Some(Ok(Message::Binary(bytes))) => {
            let raw = keeps_raw.then(|| RawFrame::Binary(bytes.clone()));
            let event = caught("socket", || decode_binary(bytes)).map_err(undecodable)?;
            Ok(Some((event, raw)))
        }
        Some(Ok(Message::Close(frame))) => {
            let why = frame.map_or_else(|| "without a reason".to_owned(), |frame| frame.to_string());
            Err(format!("the backend closed the connection: {why}"))
        }
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
    }
}

pub(super) fn told(error: &tungstenite::Error) -> String {
    if let tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, max_size }) = error {
        return format!("a frame of {size} bytes is larger than the limit of {max_size}");
    }
    error.to_string()
}

fn undecodable(Panicked: Panicked) -> String {
    "the gateway failed on a frame".to_owned()
}

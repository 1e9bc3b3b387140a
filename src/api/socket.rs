//! A WebSocket on which somebody listens: what happens goes out as ComfyUI's own socket would say it, and little comes in. A client
//! that does not read, or does not answer, loses its connection.

use super::caller::Caller;
use super::listening::{KEY_GONE, Pass, asked, last_event, too_many};
use super::{Api, ApiError};
use crate::relay::{Facts, Heard, Listener, NodeName, Tellable, Told, image_frame};
use actix_web::http::Method;
use actix_web::http::header::UPGRADE;
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Closed, Session};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How often a client is asked whether it is there, and how long it may say nothing.
const PING: Duration = Duration::from_secs(15);
const SILENCE: Duration = Duration::from_mins(1);

/// How long a client may take to read one message.
const PATIENCE: Duration = Duration::from_secs(20);

/// The largest message that a client may send, in bytes.
const LARGEST: usize = 64 << 10;

/// What goes out.
pub(super) enum Said {
    /// Text, which is JSON.
    Text(String),
    /// A frame of ComfyUI's.
    Binary(Bytes),
}

/// Hears of all jobs that the caller may see.
pub(super) async fn of_all(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    query: web::Query<HashMap<String, String>>,
) -> Result<HttpResponse, ApiError> {
    let known = ["events", "previews", "prompt_id", "workflow", "tenant", "last_event_id", "clientId"];
    let mut filter = asked(&query, &known, None)?;
    filter.tenant = caller.only(query.get("tenant").map(String::as_str))?;
    let upgraded = upgrade(&request, payload)?;
    let (missed, listener) = api.relay.listen(filter, last_event(&request, &query)).map_err(too_many)?;
    let first = missed.iter().map(|told| said(told, false)).collect();
    Ok(upgraded.begin(api, &caller, listener, first, |told, with_metadata| [said(told, with_metadata)]))
}

/// Writes an event: a preview as ComfyUI's frame, with metadata where the client has asked for that.
fn said(told: &Told, with_metadata: bool) -> Said {
    let Facts::Preview { node, preview } = &told.facts else {
        let (kind, data) = (told.kind().as_str(), told.data());
        return Said::Text(format!(r#"{{"type":"{kind}","data":{data}}}"#));
    };
    let metadata = with_metadata.then(|| {
        let id = node.as_ref().map(|NodeName { id, .. }| id);
        let prompt = told.job.map(|job| job.to_string());
        json!({
            "node_id": id, "display_node_id": id, "real_node_id": id, "parent_node_id": null,
            "prompt_id": prompt, "image_type": preview.content_type,
        })
        .to_string()
    });
    Said::Binary(image_frame(&preview.content_type, &preview.bytes, metadata.as_deref()))
}

/// A connection that speaks WebSocket from now on.
pub(super) struct Upgraded {
    answer: HttpResponse,
    session: Session,
    messages: AggregatedMessageStream,
}

/// Turns a request into a WebSocket.
pub(super) fn upgrade(request: &HttpRequest, payload: web::Payload) -> Result<Upgraded, ApiError> {
    if *request.method() != Method::GET || !request.headers().contains_key(UPGRADE) {
        return Err(ApiError::upgrade_required());
    }
    let wrong = |error: actix_web::Error| ApiError::bad_request("invalid_upgrade", error.to_string());
    let (answer, session, messages) = actix_ws::handle(request, payload).map_err(wrong)?;
    let messages = messages.max_frame_size(LARGEST).aggregate_continuations().max_continuation_size(LARGEST);
    Ok(Upgraded { answer, session, messages })
}

impl Upgraded {
    /// Has everything said that is heard, and answers.
    pub(super) fn begin<T: Tellable + 'static, S: IntoIterator<Item = Said> + 'static>(
        self,
        api: web::Data<Api>,
        caller: &Caller,
        listener: Listener<T>,
        first: Vec<Said>,
        say: impl Fn(&T, bool) -> S + 'static,
    ) -> HttpResponse {
        let Self { answer, session, messages } = self;
        let talk = Talk { api, session, with_metadata: false, pass: Pass::of(caller) };
        // It lives as long as its connection, and on that connection's thread.
        actix_web::rt::spawn(talk.run(listener, messages, first, say));
        answer
    }
}

struct Talk {
    api: web::Data<Api>,
    session: Session,
    with_metadata: bool,
    pass: Pass,
}

/// Why a talk ends.
enum End {
    /// The client has gone, or does not read.
    Gone,
    /// We end it.
    Close(CloseReason),
}

impl Talk {
    async fn run<T: Tellable, S: IntoIterator<Item = Said>>(
        mut self,
        mut listener: Listener<T>,
        mut messages: AggregatedMessageStream,
        first: Vec<Said>,
        say: impl Fn(&T, bool) -> S,
    ) {
        let lifecycle = self.api.lifecycle.clone();
        let talking = async {
            for said in first {
                self.say(said).await?;
            }
            let clock = Arc::clone(&self.api.clock);
            let mut heard_at = clock.now();
            let mut alarm = clock.sleep_until(heard_at + PING);
            loop {
                let heard = tokio::select! {
                    heard = listener.next() => heard,
                    () = self.pass.over(&self.api) => Heard::CutOff(KEY_GONE),
                    message = messages.next() => {
                        heard_at = clock.now();
                        self.hear(message).await?;
                        continue;
                    }
                    () = &mut alarm => {
                        if clock.now().since(heard_at) >= SILENCE {
                            return Err(End::Close((CloseCode::Policy, "no ping was answered").into()));
                        }
                        alarm = clock.sleep_until(clock.now() + PING);
                        in_time(clock.sleep_until(clock.now() + PATIENCE), self.session.ping(b"")).await?;
                        continue;
                    }
                };
                match heard {
                    Heard::Event(told) => {
                        for said in say(&told, self.with_metadata) {
                            self.say(said).await?;
                        }
                    }
                    Heard::CutOff(reason) => {
                        let told = json!({ "type": "cut_off", "data": { "reason": reason } });
                        self.say(Said::Text(told.to_string())).await?;
                        let code = if reason == KEY_GONE { CloseCode::Policy } else { CloseCode::Again };
                        return Err(End::Close((code, reason).into()));
                    }
                    Heard::Over => return Err(End::Close(CloseCode::Normal.into())),
                }
            }
        };
        let end: Result<(), End> = lifecycle.contain("listener", talking).await.unwrap_or(Err(End::Gone));
        if let Err(End::Close(reason)) = end {
            // A client that has gone needs no goodbye.
            let _ = self.session.close(Some(reason)).await;
        }
    }

    async fn say(&mut self, said: Said) -> Result<(), End> {
        let clock = &self.api.clock;
        let limit = clock.sleep_until(clock.now() + PATIENCE);
        match said {
            Said::Text(text) => in_time(limit, self.session.text(text)).await,
            Said::Binary(bytes) => in_time(limit, self.session.binary(bytes)).await,
        }
    }

    /// Takes in what a client says: the handshake by which ComfyUI's clients ask for metadata, and what concerns the connection.
    async fn hear(&mut self, message: Option<Result<AggregatedMessage, actix_ws::ProtocolError>>) -> Result<(), End> {
        match message {
            Some(Ok(AggregatedMessage::Ping(bytes))) => {
                let clock = &self.api.clock;
                in_time(clock.sleep_until(clock.now() + PATIENCE), self.session.pong(&bytes)).await
            }
            Some(Ok(AggregatedMessage::Text(text))) => {
                if asks_for_metadata(&text) {
                    self.with_metadata = true;
                    let answer = json!({ "type": "feature_flags", "data": { "supports_preview_metadata": true } });
                    return self.say(Said::Text(answer.to_string())).await;
                }
                Ok(())
            }
            Some(Ok(AggregatedMessage::Binary(_) | AggregatedMessage::Pong(_))) => Ok(()),
            Some(Ok(AggregatedMessage::Close(_))) => Err(End::Close(CloseCode::Normal.into())),
            Some(Err(_)) => Err(End::Close(CloseCode::Protocol.into())),
            None => Err(End::Gone),
        }
    }
}

fn asks_for_metadata(text: &str) -> bool {
    let Ok(message) = serde_json::from_str::<Value>(text) else { return false };
    message["type"] == "feature_flags" && message["data"]["supports_preview_metadata"] == true
}

async fn in_time(limit: BoxFuture<'static, ()>, sending: impl Future<Output = Result<(), Closed>>) -> Result<(), End> {
    tokio::select! {
        sent = sending => sent.map_err(|Closed| End::Gone),
        () = limit => Err(End::Gone),
    }
}

//! A webhook receiver that keeps what comes and answers as it is told.

use super::eventually;
use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;
use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// One webhook as it came.
#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    pub(crate) id: String,
    pub(crate) attempt: String,
    pub(crate) timestamp: u64,
    pub(crate) signature: String,
    pub(crate) content_length: Option<usize>,
    pub(crate) raw: Vec<u8>,
    pub(crate) body: Value,
}

impl Webhook {
    pub(crate) fn prompt_id(&self) -> &str {
        self.body["prompt_id"].as_str().unwrap()
    }

    /// Says whether it tells of a job that goes on.
    pub(crate) fn is_event(&self) -> bool {
        self.body["status"] == "running"
    }

    /// The images as bytes.
    pub(crate) fn images(&self) -> Vec<Vec<u8>> {
        use base64::Engine;
        let images = self.body["images"].as_array().map(Vec::as_slice).unwrap_or_default();
        let decode = |image: &Value| base64::engine::general_purpose::STANDARD.decode(image.as_str().unwrap()).unwrap();
        images.iter().map(decode).collect()
    }
}

/// Receives webhooks on any free port of this machine.
pub(crate) struct Inbox {
    address: SocketAddr,
    webhooks: Mutex<mpsc::UnboundedReceiver<Webhook>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
    on_events: Arc<Mutex<OnEvent>>,
    server: ServerHandle,
}

/// What a receiver does with a webhook that does not tell of an end.
#[derive(Clone, Copy)]
pub(crate) enum OnEvent {
    /// Answers with this status.
    Answer(u16),
    /// Answers 204 after a while.
    Wait(Duration),
    /// Never answers.
    Hang,
}

#[derive(Clone)]
struct Slot {
    sender: mpsc::UnboundedSender<Webhook>,
    answers: Arc<Mutex<VecDeque<u16>>>,
    on_events: Arc<Mutex<OnEvent>>,
}

impl Inbox {
    pub(crate) fn open() -> Self {
        Self::open_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Listens at an address where a receiver was down before.
    pub(crate) fn open_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, webhooks) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(VecDeque::new()));
        let on_events = Arc::new(Mutex::new(OnEvent::Answer(204)));
        let slot = Slot { sender, answers: Arc::clone(&answers), on_events: Arc::clone(&on_events) };
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(slot.clone()))
                .app_data(web::PayloadConfig::new(256 << 20))
                .default_service(web::post().to(receive))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { address, webhooks: Mutex::new(webhooks), answers, on_events, server: handle }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers the next requests with these statuses, and all after them with 204.
    pub(crate) fn answer_with(&self, statuses: &[u16]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    /// Does this with every webhook that does not tell of an end.
    pub(crate) fn on_events(&self, what: OnEvent) {
        *self.on_events.lock().unwrap() = what;
    }

    /// All webhooks up to the next one that tells of an end.
    pub(crate) async fn until_end(&self) -> Vec<Webhook> {
        let mut all = Vec::new();
        while all.last().is_none_or(Webhook::is_event) {
            all.push(self.next().await);
        }
        all
    }

    /// The next webhook, waited for.
    pub(crate) async fn next(&self) -> Webhook {
        eventually("a webhook comes", async || self.try_next()).await
    }

    /// The next webhook, if it has come.
    pub(crate) fn try_next(&self) -> Option<Webhook> {
        self.webhooks.lock().unwrap().try_recv().ok()
    }

    /// What has come and was not asked for yet.
    pub(crate) fn rest(&self) -> Vec<Webhook> {
        std::iter::from_fn(|| self.try_next()).collect()
    }

    pub(crate) async fn close(self) {
        self.server.stop(false).await;
    }
}

async fn receive(request: HttpRequest, body: web::Bytes, slot: web::Data<Slot>) -> HttpResponse {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let webhook = Webhook {
        id: header("webhook-id"),
        attempt: header("x-gateway-attempt"),
        timestamp: header("webhook-timestamp").parse().unwrap_or(0),
        signature: header("webhook-signature"),
        content_length: header("content-length").parse().ok(),
        raw: body.to_vec(),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    let is_event = webhook.is_event();
    let on_event = *slot.on_events.lock().unwrap();
    slot.sender.send(webhook).ok();
    let status = match on_event {
        _ if !is_event => slot.answers.lock().unwrap().pop_front().unwrap_or(204),
        OnEvent::Answer(status) => status,
        OnEvent::Wait(time) => {
            actix_web::rt::time::sleep(time).await;
            204
        }
        OnEvent::Hang => std::future::pending().await,
    };
    HttpResponse::build(status.try_into().unwrap()).finish()
}

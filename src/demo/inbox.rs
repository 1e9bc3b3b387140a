//! A webhook receiver in thirty lines: takes every POST, answers 204, hands on what came.

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;
use std::net::TcpListener;
use tokio::sync::mpsc;

/// One webhook as it came.
pub(super) struct Webhook {
    pub(super) prompt_id: String,
    pub(super) id: String,
    pub(super) timestamp: String,
    pub(super) signature: String,
    pub(super) raw: web::Bytes,
    pub(super) body: Value,
}

/// Receives webhooks.
pub(super) struct Inbox {
    url: String,
    webhooks: mpsc::Receiver<Webhook>,
    server: ServerHandle,
}

impl Inbox {
    /// Listens on any free port of this machine.
    pub(super) fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let (sender, webhooks) = mpsc::channel(64);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(sender.clone()))
                .app_data(web::PayloadConfig::new(256 << 20))
                .route("/hook", web::post().to(receive))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)?
        .run();
        let handle = server.handle();
        crate::lifecycle::Lifecycle::new().spawn("inbox", async move {
            // The demo sees a receiver that failed by the webhooks that do not come.
            let _ = server.await;
        });
        Ok(Self { url, webhooks, server: handle })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) async fn next(&mut self) -> Option<Webhook> {
        self.webhooks.recv().await
    }

    pub(super) async fn close(self) {
        self.server.stop(false).await;
    }
}

async fn receive(request: HttpRequest, body: web::Bytes, webhooks: web::Data<mpsc::Sender<Webhook>>) -> HttpResponse {
    let Ok(value) = serde_json::from_slice::<Value>(&body) else { return HttpResponse::BadRequest().finish() };
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let prompt_id = value["prompt_id"].as_str().unwrap_or("").to_owned();
    let webhook = Webhook {
        prompt_id,
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        raw: body,
        body: value,
    };
    match webhooks.send(webhook).await {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

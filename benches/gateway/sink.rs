//! A webhook receiver that only notes when what has come, and how long it is.

use crate::roles::IMAGE_BYTES;
use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;
use std::net::{SocketAddr, TcpListener};
use std::time::Instant;
use tokio::sync::mpsc;

/// One webhook, received whole.
pub(crate) struct Arrival {
    /// The job, as the header names it; empty for a bare POST.
    pub(crate) job: String,
    pub(crate) at: Instant,
    pub(crate) body: Bytes,
}

impl Arrival {
    /// Says whether it tells of a success with its image.
    pub(crate) fn is_whole(&self) -> bool {
        let told = b"\"status\":\"success\"";
        let beginning = &self.body[..self.body.len().min(1024)];
        let end = &self.body[self.body.len().saturating_sub(4096)..];
        let tells = |part: &[u8]| part.windows(told.len()).any(|window| window == told);
        self.body.len() > IMAGE_BYTES / 3 * 4 && (tells(beginning) || tells(end))
    }
}

/// Receives webhooks.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    pub(crate) arrivals: mpsc::UnboundedReceiver<Arrival>,
    server: ServerHandle,
}

impl Sink {
    pub(crate) fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let (sender, arrivals) = mpsc::unbounded_channel();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(sender.clone()))
                .app_data(web::PayloadConfig::new(16 << 20))
                .route("/hook", web::post().to(receive))
        });
        let server = server.workers(1).disable_signals().listen(listener)?.run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self { address, arrivals, server: handle })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) async fn close(self) {
        self.server.stop(false).await;
    }
}

async fn receive(
    request: HttpRequest,
    body: Bytes,
    arrivals: web::Data<mpsc::UnboundedSender<Arrival>>,
) -> HttpResponse {
    let at = Instant::now();
    let job = request.headers().get("x-gateway-prompt-id").and_then(|id| id.to_str().ok()).unwrap_or("").to_owned();
    match arrivals.send(Arrival { job, at, body }) {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

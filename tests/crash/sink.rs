//! The role of the receiver: writes down each call, synced, before it answers; refuses some on purpose; now and then asks
//! the gateway for the job that it is just being told of.

use crate::now;
use crate::roles::input;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Every so many deliveries the first tries are refused, and every so many calls the gateway is asked. Of two calls in a
/// row only one is refused: a gate that was shut by a death is opened by the second webhook that is tried, at the latest.
const REFUSED_EVERY: u64 = 5;
const REFUSED_TRIES: u32 = 2;
const ASKED_EVERY: u64 = 4;

/// How long the gateway may take to answer; it may be dead.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// One call, as it is written down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    /// When it had come whole, in milliseconds since 1970.
    pub(crate) at: i64,
    /// The job that the body names.
    pub(crate) id: String,
    pub(crate) webhook_id: String,
    pub(crate) sha256: String,
    /// The end that the body tells of: `success`, or the code of a failure.
    pub(crate) status: String,
    /// The HTTP status that it was answered with.
    pub(crate) answer: u16,
    /// What `GET /jobs/{id}` said meanwhile.
    pub(crate) seen: Seen,
}

/// What the job looked like while its receiver was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Seen {
    /// Nobody asked, or nobody answered.
    Nothing,
    /// The very bytes of the webhook.
    Same,
    /// Something else.
    Other,
}

struct Receiver {
    gateway: String,
    refuses: bool,
    client: reqwest::Client,
    log: Mutex<File>,
    refusals: Mutex<Refusals>,
}

#[derive(Default)]
struct Refusals {
    /// How often each delivery was refused in this life.
    of: HashMap<String, u32>,
    /// The last call was refused.
    was_last: bool,
}

/// Receives until the input is closed. `refuses` lets it answer 500 to the first tries of some deliveries.
pub(crate) async fn receive(address: SocketAddr, log: &Path, gateway: &str, refuses: bool) -> anyhow::Result<()> {
    let receiver = web::Data::from(Arc::new(Receiver {
        gateway: gateway.to_owned(),
        refuses,
        client: reqwest::Client::builder().no_proxy().timeout(ANSWER_LIMIT).build()?,
        log: Mutex::new(File::options().create(true).append(true).open(log)?),
        refusals: Mutex::default(),
    }));
    let app = move || {
        App::new()
            .app_data(receiver.clone())
            .app_data(web::PayloadConfig::new(64 << 20))
            .route("/hook", web::post().to(take))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().bind(address)?.run();
    let handle = server.handle();
    println!("ready");
    actix_web::rt::spawn(async move {
        let mut input = input();
        while input.recv().await.is_some() {}
        handle.stop(true).await;
    });
    server.await.context("the receiver failed")
}

async fn take(request: HttpRequest, body: web::Bytes, receiver: web::Data<Receiver>) -> HttpResponse {
    let at = now();
    let Ok(told) = serde_json::from_slice::<Value>(&body) else { return HttpResponse::BadRequest().finish() };
    let text = |name: &str| told[name].as_str().unwrap_or("").to_owned();
    let webhook_id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or("").to_owned();
    let (id, sha256) = (text("prompt_id"), hex(&body));
    let status = if told["code"].is_null() { text("status") } else { text("code") };
    let lot = sha256.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let is_asked = lot.is_multiple_of(ASKED_EVERY);
    let seen = if is_asked { receiver.look(&id, &sha256).await } else { Seen::Nothing };
    let is_refused = receiver.refuses(&id, lot);
    let answer = if is_refused { 500 } else { 204 };
    let call = Call { at, id, webhook_id, sha256, status, answer, seen };
    match receiver.note(&call) {
        Ok(()) if is_refused => HttpResponse::InternalServerError().finish(),
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(error) => {
            eprintln!("the receiver cannot write: {error:#}");
            std::process::exit(1);
        }
    }
}

impl Receiver {
    async fn look(&self, id: &str, sha256: &str) -> Seen {
        let answer = async {
            let answer = self.client.get(format!("{}/jobs/{id}", self.gateway)).send().await.ok()?;
            Some((answer.status(), answer.bytes().await.ok()?))
        };
        match answer.await {
            None => Seen::Nothing,
            Some((status, body)) if status == 200 && hex(&body) == sha256 => Seen::Same,
            Some(_) => Seen::Other,
        }
    }

    fn refuses(&self, id: &str, lot: u64) -> bool {
        if !self.refuses {
            return false;
        }
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let times = refusals.of.get(id).copied().unwrap_or_default();
        let is_refused = lot.is_multiple_of(REFUSED_EVERY) && times < REFUSED_TRIES && !refusals.was_last;
        refusals.was_last = is_refused;
        if is_refused {
            refusals.of.insert(id.to_owned(), times + 1);
        }
        is_refused
    }

    fn note(&self, call: &Call) -> anyhow::Result<()> {
        let line = serde_json::to_string(call)? + "\n";
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.write_all(line.as_bytes())?;
        Ok(log.sync_data()?)
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

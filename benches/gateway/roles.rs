//! What this program is when it is started as a child of itself: the bare handler, or the simulator. Each says its
//! address in its first line and ends when its input is closed.

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::bail;
use comfygate::sim::{Sim, SimOptions};
use serde_json::{Map, Value, json};
use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

/// How large the simulator's images are.
pub(crate) const IMAGE_BYTES: usize = 100_000;

/// How large they are for large bodies: 20 MB as base64.
pub(crate) const LARGE_IMAGE_BYTES: usize = 15_000_000;

/// Plays a role until the input is closed.
pub(crate) fn play(role: &str) -> anyhow::Result<()> {
    end_with_input();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match role {
        "serve-bare" => runtime.block_on(bare()),
        "serve-sim" => runtime.block_on(simulator(IMAGE_BYTES)),
        "serve-large-sim" => runtime.block_on(simulator(LARGE_IMAGE_BYTES)),
        _ => bail!("there is no role `{role}`"),
    }
}

/// The least that could answer `POST /generate`: parses the body, answers a UUID, keeps nothing.
async fn bare() -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?);
    let workers = std::thread::available_parallelism()?.get();
    let server = HttpServer::new(|| App::new().route("/generate", web::post().to(answer)));
    server.workers(workers).listen(listener)?.run().await?;
    Ok(())
}

async fn answer(body: web::Bytes) -> HttpResponse {
    match serde_json::from_slice::<Map<String, Value>>(&body) {
        Ok(_) => HttpResponse::Accepted().json(json!({ "prompt_id": uuid::Uuid::now_v7().to_string() })),
        Err(_) => HttpResponse::BadRequest().finish(),
    }
}

async fn simulator(noise_image_bytes: usize) -> anyhow::Result<()> {
    let options = SimOptions { step: Duration::ZERO, previews: false, noise_image_bytes, ..SimOptions::default() };
    let sim = Sim::start(options).await?;
    println!("{}", sim.addr());
    std::future::pending().await
}

fn end_with_input() {
    std::thread::spawn(|| {
        // Whatever ends the input, the parent is gone or wants no more.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

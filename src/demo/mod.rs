//! The whole journey in one process, for somebody who has never seen it: simulator, gateway, webhook receiver.
//!
//! Three requests are posted; one fails on purpose. Progress and each webhook are shown, the pictures are saved.

mod inbox;
mod show;

use crate::app::App;
use crate::clock::{Clock, SystemClock};
use crate::job::Tenant;
use crate::lifecycle::{Lifecycle, asked_to_stop};
use crate::secret::Secret;
use crate::settings::Settings;
use crate::signing::{Office, Shown, Verifier, verify};
use crate::sim::{Sim, SimOptions};
use crate::store::{SecretKind, SqliteStore, open_beside};
use crate::workflow::shipped;
use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use inbox::{Inbox, Webhook};
use serde_json::{Value, json};
use show::Screen;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long all of it may take before something must be wrong.
const PATIENCE: Duration = Duration::from_mins(1);

/// How old a webhook may be.
const TOLERANCE: Duration = Duration::from_mins(5);

/// How long a step of a simulated node takes: long enough to be seen, short enough not to bore.
const STEP: Duration = Duration::from_millis(40);

/// The models of the shipped workflows, which the simulator pretends to have, and one that it does not have.
const CHECKPOINTS: [&str; 2] = ["v1-5-pruned-emaonly-fp16.safetensors", "flux1-dev-fp8.safetensors"];
const MISSING_CHECKPOINT: &str = "dreams-v9.safetensors";

/// Shows the journey; pictures and data go below `out`. With `stay` it goes on serving until Ctrl-C.
pub async fn run(out: &Path, stay: bool) -> anyhow::Result<ExitCode> {
    let mut screen = Screen::new();
    let pictures = out.join("pictures");
    let mut settings = prepare(out, &pictures)?;

    let models = Some(CHECKPOINTS.map(str::to_owned).to_vec());
    let sim = Sim::start(SimOptions { step: STEP, models, ..SimOptions::default() }).await?;
    let mut inbox = Inbox::open()?;
    settings.backends.addresses = vec![sim.url().parse()?];
    let lifecycle = Lifecycle::new();
    let clock = SystemClock::start();
    let app = App::build(&settings, Arc::<SystemClock>::clone(&clock), lifecycle.clone()).await?;
    let check = Check { secret: secret_of(&settings.storage.folder, &clock).await?, clock };
    let gateway = format!("http://{}", app.address());
    screen.say(&format!("a simulated ComfyUI     {}", sim.url()))?;
    screen.say(&format!("comfygate               {gateway}"))?;
    screen.say(&format!("a webhook receiver      {}", inbox.url()))?;
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let until_told = async {
        // The other end is only dropped when the demo is over, which also means to stop.
        let _ = ended.await;
    };
    let serving = app.run(until_told);

    let showing = async {
        let shown =
            tokio::time::timeout(PATIENCE, show_all(&mut screen, &gateway, &mut inbox, &check, &pictures)).await;
        let result = shown.context("the demo did not end in time").and_then(|result| result);
        if result.is_ok() {
            screen.farewell(&gateway, inbox.url(), stay)?;
        }
        if stay && result.is_ok() {
            stay_on(&mut screen, &mut inbox, &check, &pictures).await?;
        }
        drop(end);
        result
    };
    let (_, result) = tokio::join!(serving, showing);
    inbox.close().await;
    sim.stop().await;
    result.map(|()| ExitCode::SUCCESS)
}

/// Believes no webhook unseen, as every receiver should.
struct Check {
    secret: Secret,
    clock: Arc<SystemClock>,
}

impl Check {
    fn check(&self, webhook: &Webhook) -> anyhow::Result<()> {
        let keys = [Verifier::Hmac(self.secret.expose().parse()?)];
        let shown = Shown { id: &webhook.id, timestamp: &webhook.timestamp, signature: &webhook.signature };
        verify(&keys, shown, &webhook.raw, self.clock.wall(), TOLERANCE).context("a webhook is not to be believed")
    }
}

/// Asks for the secret as `comfygate webhook secret show` does, beside the gateway that runs.
async fn secret_of(data: &Path, clock: &Arc<SystemClock>) -> anyhow::Result<Secret> {
    let store = open_beside(data)?;
    let beside = Arc::<SqliteStore>::clone(&store);
    let office = Office::new(beside, Arc::<SystemClock>::clone(clock), |bytes| rand::fill(bytes));
    let current = office.current(&Tenant::default(), None, SecretKind::Hmac).await?;
    store.close().await;
    Ok(current.secret)
}

fn prepare(out: &Path, pictures: &Path) -> anyhow::Result<Settings> {
    let (configs, templates) = (out.join("configs"), out.join("templates"));
    for folder in [pictures, &configs, &templates] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    for pair in shipped::PAIRS {
        std::fs::write(configs.join(format!("{}.yaml", pair.name)), pair.config)?;
        std::fs::write(templates.join(format!("{}.json", pair.name)), pair.template)?;
    }
    let mut settings = Settings::default();
    settings.server.address.set_port(0);
    settings.storage.folder = out.join("data");
    settings.workflows.configs = configs;
    settings.workflows.templates = templates;
    settings.shutdown.grace = Duration::from_secs(2);
    Ok(settings)
}

fn requests(webhook_url: &str) -> Vec<(&'static str, Value)> {
    let lighthouse = "a lighthouse above a sea of clouds, first light, long exposure";
    let garden = "a glass garden on a quiet moon";
    vec![
        (
            "two pictures, Stable Diffusion workflow",
            json!({ "workflow": "starter", "prompt": lighthouse, "image_count": 2, "width": 768, "height": 512,
                    "seed": 20_261, "steps": 12, "webhook_url": webhook_url, "metadata": { "order": 1 } }),
        ),
        (
            "one picture, Flux workflow, random seed",
            json!({ "workflow": "flux", "prompt": garden, "width": 640, "height": 640, "steps": 10,
                    "webhook_url": webhook_url, "metadata": { "order": 2 } }),
        ),
        (
            "a model that is not there: fails on purpose",
            json!({ "workflow": "starter", "prompt": lighthouse, "checkpoint": MISSING_CHECKPOINT,
                    "webhook_url": webhook_url, "metadata": { "order": 3 } }),
        ),
    ]
}

async fn show_all(
    screen: &mut Screen,
    gateway: &str,
    inbox: &mut Inbox,
    check: &Check,
    pictures: &Path,
) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    wait_until_ready(&client, gateway).await?;
    let requests = requests(inbox.url());
    let mut waiting = HashMap::new();
    for (title, body) in &requests {
        let answer = client.post(format!("{gateway}/generate")).json_body(body).send().await?;
        let status = answer.status();
        let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
        let Some(id) = answer["prompt_id"].as_str() else { bail!("POST /generate answered {status}: {answer}") };
        screen.posted(title, body, status.as_u16(), id)?;
        waiting.insert(id.to_owned(), *title);
    }
    let (mut succeeded, mut failed) = (0, 0);
    while !waiting.is_empty() {
        let webhook = tokio::select! {
            webhook = inbox.next() => webhook.context("the webhook receiver ended")?,
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                screen.progress(&fractions(&client, gateway, &waiting).await?)?;
                continue;
            }
        };
        let Some(title) = waiting.remove(&webhook.prompt_id) else { continue };
        check.check(&webhook)?;
        let saved = save(&webhook, pictures)?;
        screen.arrived(title, &webhook, &saved)?;
        if webhook.body["status"] == "success" { succeeded += 1 } else { failed += 1 }
    }
    ensure!(succeeded == 2 && failed == 1, "{succeeded} webhooks tell of success and {failed} of failure, not 2 and 1");
    Ok(())
}

/// Shows and saves what comes for requests of the viewer's own, until Ctrl-C.
async fn stay_on(screen: &mut Screen, inbox: &mut Inbox, check: &Check, pictures: &Path) -> anyhow::Result<()> {
    loop {
        let webhook = tokio::select! {
            () = asked_to_stop() => return Ok(()),
            webhook = inbox.next() => webhook.context("the webhook receiver ended")?,
        };
        check.check(&webhook)?;
        let saved = save(&webhook, pictures)?;
        screen.arrived("your request", &webhook, &saved)?;
    }
}

async fn wait_until_ready(client: &reqwest::Client, gateway: &str) -> anyhow::Result<()> {
    for _ in 0..200 {
        let answer = client.get(format!("{gateway}/ready")).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the gateway did not become ready")
}

async fn fractions(
    client: &reqwest::Client,
    gateway: &str,
    waiting: &HashMap<String, &'static str>,
) -> anyhow::Result<Vec<(&'static str, String, f64)>> {
    let mut fractions = Vec::new();
    for (id, title) in waiting {
        let answer = client.get(format!("{gateway}/jobs/{id}")).send().await?.bytes().await?;
        let job: Value = serde_json::from_slice(&answer)?;
        let fraction = job["progress"]["fraction"].as_f64().unwrap_or(0.0);
        fractions.push((*title, job["status"].as_str().unwrap_or("").to_owned(), fraction));
    }
    fractions.sort_by_key(|(title, ..)| *title);
    Ok(fractions)
}

fn save(webhook: &Webhook, pictures: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut saved = Vec::new();
    let images = webhook.body["images"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (place, image) in images.iter().enumerate() {
        let bytes = STANDARD.decode(image.as_str().unwrap_or_default()).context("an image is not base64")?;
        ensure!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "an image is not a PNG");
        let name =
            webhook.body["metadata"]["order"].as_u64().map_or(webhook.prompt_id.clone(), |order| order.to_string());
        let path = pictures.join(format!("{name}-{place}.png"));
        std::fs::write(&path, bytes)?;
        saved.push(path);
    }
    Ok(saved)
}

/// Sends JSON without the client's own JSON feature.
trait JsonBody {
    fn json_body(self, body: &Value) -> Self;
}

impl JsonBody for reqwest::RequestBuilder {
    fn json_body(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }
}

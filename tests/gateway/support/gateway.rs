//! The gateway under test: the real application on a free port, with its own data folder.

use super::{Inbox, PATIENCE, client, eventually};
use crate::own_folder::Folder;
use crate::proxy::Proxy;
use comfygate::app::App;
use comfygate::clock::{Clock, ManualClock, SystemClock, Timestamp};
use comfygate::egress::{Lookup, SystemLookup};
use comfygate::lifecycle::Lifecycle;
use comfygate::pool::Pool;
use comfygate::settings::{Rate, Settings};
use comfygate::sim::{Sim, SimOptions};
use comfygate::workflow::shipped;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// What a test changes before the gateway starts.
pub(crate) struct Setup {
    pub(crate) folder: Arc<Folder>,
    pub(crate) settings: Settings,
    pub(crate) sim: SimOptions,
    pub(crate) clock: Arc<dyn Clock>,
    /// Who finds the addresses of receivers.
    pub(crate) lookup: Arc<dyn Lookup>,
}

/// A gateway with a simulated ComfyUI.
pub(crate) struct TestGateway {
    pub(crate) sim: Sim,
    pub(crate) settings: Settings,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) pool: Arc<Pool>,
    folder: Arc<Folder>,
    clock: Arc<dyn Clock>,
    lookup: Arc<dyn Lookup>,
    address: SocketAddr,
    remote_addresses: Vec<SocketAddr>,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<bool>,
}

/// An HTTP answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or("").to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

impl Setup {
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        let mut settings = Settings::for_tests(folder.path().join("data"));
        settings.workflows.configs = folder.path().join("configs");
        settings.workflows.templates = folder.path().join("templates");
        // Who asks for the agent and when is what one room of tests is about.
        settings.backends.agent_every = None;
        settings.webhooks.schedule = vec![Duration::from_millis(50); 20];
        // What wrong keys are answered is what most tests are about, not how many of them are.
        settings.callers.guesses = Rate::per_minute(NonZeroU32::new(1_000_000).unwrap());
        for pair in shipped::PAIRS {
            write_pair(folder.path(), pair.name, pair.config, pair.template);
        }
        let canvas = shipped::PAIRS.iter().find(|pair| pair.name == "canvas").unwrap();
        for (name, outputs) in [("canvas-files", r#"outputs: ["4"]"#), ("canvas-both", r#"outputs: ["3", "4"]"#)] {
            let config = canvas.config.replace(r#"outputs: ["3"]"#, outputs);
            assert_ne!(config, canvas.config, "the shipped workflow declares other outputs now");
            write_pair(folder.path(), name, &config, canvas.template);
        }
        let sim = SimOptions { step: Duration::ZERO, ..SimOptions::default() };
        Self { folder: Arc::new(folder), settings, sim, clock: SystemClock::start(), lookup: Arc::new(SystemLookup) }
    }

    /// The same with a clock that the test moves.
    pub(crate) fn with_manual_clock() -> (Self, Arc<ManualClock>) {
        let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
        (Self { clock: Arc::<ManualClock>::clone(&clock), ..Self::new() }, clock)
    }

    /// Adds a workflow, or replaces one.
    pub(crate) fn with_workflow(self, name: &str, config: &str, template: &str) -> Self {
        write_pair(self.folder.path(), name, config, template);
        self
    }

    pub(crate) async fn start(self) -> TestGateway {
        self.start_behind(async |sim| sim.url()).await
    }

    /// Starts with more backends than the gateway's own simulator, and waits until it has a socket to `connected` of all.
    pub(crate) async fn start_beside(mut self, others: &[String], connected: usize) -> TestGateway {
        let sim = Sim::start(self.sim.clone()).await.unwrap();
        let all = std::iter::once(sim.url()).chain(others.iter().cloned());
        self.settings.backends.addresses = all.map(|address| address.parse().unwrap()).collect();
        let gateway = TestGateway::launch(sim, self.settings, self.folder, self.clock, self.lookup).await;
        gateway.until_connected(connected).await;
        gateway
    }

    /// Starts with the backends of the settings, of which none may be there.
    pub(crate) async fn start_alone(self) -> TestGateway {
        let sim = Sim::start(self.sim).await.unwrap();
        TestGateway::launch(sim, self.settings, self.folder, self.clock, self.lookup).await
    }

    /// Starts with a proxy between the gateway and the simulator.
    pub(crate) async fn start_behind_proxy(self) -> (TestGateway, Proxy) {
        let mut proxy = None;
        let gateway = self.start_behind(async |sim| proxy.insert(Proxy::before(sim.addr()).await).url()).await;
        (gateway, proxy.unwrap())
    }

    /// Starts with something between the gateway and the simulator; `front` returns its URL.
    pub(crate) async fn start_behind(self, front: impl AsyncFnOnce(&Sim) -> String) -> TestGateway {
        let sim = Sim::start(self.sim).await.unwrap();
        let mut settings = self.settings;
        settings.backends.addresses = vec![front(&sim).await.parse().unwrap()];
        let gateway = TestGateway::launch(sim, settings, self.folder, self.clock, self.lookup).await;
        gateway.until_ready().await;
        gateway
    }
}

impl TestGateway {
    /// A gateway as it is out of the box.
    pub(crate) async fn start() -> Self {
        Setup::new().start().await
    }

    async fn launch(
        sim: Sim,
        settings: Settings,
        folder: Arc<Folder>,
        clock: Arc<dyn Clock>,
        lookup: Arc<dyn Lookup>,
    ) -> Self {
        let lifecycle = Lifecycle::new();
        let app = eventually("the data folder is free", async || {
            // The HTTP workers of a gateway that was stopped just now drop its store a moment after it has ended.
            match App::build_with(&settings, Arc::clone(&clock), lifecycle.clone(), Arc::clone(&lookup)).await {
                Err(error) if error.to_string().contains("is in use") => None,
                built => Some(built.unwrap()),
            }
        })
        .await;
        let (address, pool) = (app.address(), Arc::clone(app.pool()));
        let remote_addresses = app.remote_addresses().to_vec();
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        actix_web::rt::spawn(async move {
            let is_well = app.run(async { stopped.await.unwrap_or(()) }).await;
            end.send(is_well).ok();
        });
        let mut usual = HeaderMap::new();
        if let Some(key) = settings.access.operators_key() {
            usual.insert("authorization", format!("Bearer {}", key.expose()).parse().unwrap());
        }
        let client = client().default_headers(usual).build().unwrap();
        let stop = Some(stop);
        Self { sim, settings, lifecycle, pool, folder, clock, lookup, address, remote_addresses, client, stop, ended }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the remote control listens besides.
    pub(crate) fn remote_addresses(&self) -> &[SocketAddr] {
        &self.remote_addresses
    }

    /// The folder of its data and its workflows.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(crate) async fn until_ready(&self) {
        eventually("the gateway is ready", async || (self.get("/ready").await.status == 200).then_some(())).await;
    }

    /// Waits until this many backends have a socket.
    pub(crate) async fn until_connected(&self, count: usize) {
        eventually(&format!("{count} backends are connected"), async || {
            let ready = self.get("/ready").await.json();
            let backends = ready["backends"].as_array().map(Vec::as_slice).unwrap_or_default();
            (backends.iter().filter(|backend| backend["connected"] == json!(true)).count() == count).then_some(())
        })
        .await;
    }

    /// Waits until it is known of this many backends what they have.
    pub(crate) async fn until_stock_is_known(&self, count: usize) {
        eventually(&format!("the stock of {count} backends is known"), async || {
            let checked = self.post("/workflows/canvas/check", &json!({ "prompt": "x" })).await.json();
            let checks = checked["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
            (checks.iter().filter(|check| !check["ok"].is_null()).count() == count).then_some(())
        })
        .await;
    }

    /// Waits until nothing waits and nothing runs.
    pub(crate) async fn until_idle(&self) {
        let idle = async || {
            let ready = self.get("/ready").await.json();
            (ready["backlog"]["queued"] == 0 && ready["backlog"]["running"] == 0).then_some(())
        };
        eventually("nothing waits and nothing runs", idle).await;
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.client.get(self.url(path));
        self.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.send(self.client.head(self.url(path))).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.client.post(self.url(path)).header("content-type", "application/json");
        self.send(request.body(body.to_string())).await
    }

    /// Posts what may not be JSON at all.
    pub(crate) async fn post_raw(&self, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        self.post_raw_to("/generate", headers, body).await
    }

    /// The same to another path.
    pub(crate) async fn post_raw_to(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let request = self.client.post(self.url(path)).body(body);
        self.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// Posts a form whose boundary is `edge`.
    pub(crate) async fn post_form(&self, path: &str, form: &[u8]) -> Answer {
        let request = self.client.post(self.url(path)).header("content-type", "multipart/form-data; boundary=edge");
        self.send(request.body(form.to_vec())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.client.delete(self.url(path))).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Posts a request that must be taken in; returns its id.
    pub(crate) async fn generate(&self, body: &Value) -> String {
        let answer = self.post("/generate", body).await;
        assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.bytes));
        answer.json()["prompt_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn job(&self, id: &str) -> Value {
        self.get(&format!("/jobs/{id}")).await.json()
    }

    /// Waits until a job has a status.
    pub(crate) async fn until(&self, id: &str, status: &str) -> Value {
        let look = async || Some(self.job(id).await).filter(|job| job["status"] == status);
        eventually(&format!("job {id} is {status}"), look).await
    }

    /// Stops the gateway as SIGTERM would, and starts another one on the same folder.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(async |_| {}).await
    }

    /// Restarts the gateway with another clock, as when the machine's was set in between.
    pub(crate) async fn restart_at(self, clock: Arc<dyn Clock>) -> Self {
        let lookup = Arc::clone(&self.lookup);
        let (sim, settings, folder, _) = self.shut_down().await;
        let gateway = Self::launch(sim, settings, folder, clock, lookup).await;
        gateway.until_ready().await;
        gateway
    }

    /// Restarts the gateway; while it is down, something happens on the backend.
    pub(crate) async fn restart_after(self, meanwhile: impl AsyncFnOnce(&Sim)) -> Self {
        let lookup = Arc::clone(&self.lookup);
        let (sim, settings, folder, clock) = self.shut_down().await;
        meanwhile(&sim).await;
        let gateway = Self::launch(sim, settings, folder, clock, lookup).await;
        gateway.until_ready().await;
        gateway
    }

    /// Restarts the gateway with other settings.
    pub(crate) async fn restart_with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let lookup = Arc::clone(&self.lookup);
        let (sim, mut settings, folder, clock) = self.shut_down().await;
        change(&mut settings);
        let gateway = Self::launch(sim, settings, folder, clock, lookup).await;
        gateway.until_ready().await;
        gateway
    }

    /// Ends everything, and fails the test where a part of the gateway has panicked or nobody was told of a job's end.
    pub(crate) async fn close(self) {
        let told = async || {
            let ready = self.get("/ready").await.json();
            (ready["backlog"]["deliveries"] == json!(0)).then_some(())
        };
        eventually("every end was told", told).await;
        let (sim, ..) = self.shut_down().await;
        sim.stop().await;
    }

    async fn shut_down(mut self) -> (Sim, Settings, Arc<Folder>, Arc<dyn Clock>) {
        drop(self.stop.take());
        let is_well = tokio::time::timeout(PATIENCE, &mut self.ended).await.expect("the gateway stops").unwrap();
        assert!(is_well, "a station failed");
        assert_eq!(self.lifecycle.panics(), 0, "a task panicked");
        (self.sim, self.settings, self.folder, self.clock)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, bytes: answer.bytes().await.unwrap().to_vec() }
    }
}

impl TestGateway {
    /// Posts one request and returns its webhook.
    pub(crate) async fn run_one(&self, inbox: &Inbox, body: &Value) -> super::Webhook {
        let id = self.generate(body).await;
        let webhook = inbox.next().await;
        assert_eq!(webhook.prompt_id(), id);
        webhook
    }
}

/// Moves the clock step by step until `look` finds something; time goes on fifty times as fast as outside.
pub(crate) async fn as_time_goes_by<T>(clock: &ManualClock, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            clock.advance(Duration::from_millis(500));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("did not happen: {what}"))
}

fn write_pair(folder: &Path, name: &str, config: &str, template: &str) {
    for (kind, ending, text) in [("configs", "yaml", config), ("templates", "json", template)] {
        std::fs::create_dir_all(folder.join(kind)).unwrap();
        std::fs::write(folder.join(kind).join(format!("{name}.{ending}")), text).unwrap();
    }
}

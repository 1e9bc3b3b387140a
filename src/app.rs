//! Builds every part from the settings and joins them; the only file that knows all parts.
//!
//! From top to bottom it is the journey of a job: store and workflows, backends with their sockets and trackers,
//! dispatch, notifier, and the HTTP server in front.

use crate::access::Keys;
use crate::api::{self, Api};
use crate::clearing;
use crate::clock::{Clock, Timestamp};
use crate::comfy::{self, Client, ComfyUrl, SocketOptions};
use crate::dispatch::{self, Backend};
use crate::egress::{self, Guard, SystemLookup};
use crate::intake::Intake;
use crate::job::{BodyRules, LinkKey, Tenant};
use crate::lifecycle::Lifecycle;
use crate::media::{Blobs, body_stream};
use crate::notifier;
use crate::settings::{Settings, WebhookSettings};
use crate::signing::{self, Keyring, Office};
use crate::store::{OwnSecrets, SqliteStore, Store};
use crate::throttle::Throttle;
use crate::tracker::{self, Desk, Tracker};
use crate::workflow::Catalog;
use actix_web::dev::ServerHandle;
use actix_web::{App as ActixApp, HttpServer, web};
use anyhow::Context;
use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How many events of a socket may wait for its tracker.
const EVENT_QUEUE: usize = 8192;

/// How long the head of a request may take to arrive, and its body.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// How long the last requests may take to be answered, and how much longer than told the end may take.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
const AFTER_GRACE: Duration = Duration::from_secs(5);

/// The gateway, built and serving.
pub struct App {
    address: SocketAddr,
    api: web::Data<Api>,
    server: ServerHandle,
    lifecycle: Lifecycle,
    /// The HTTP server's own, since it ends last.
    front: Lifecycle,
    grace: Duration,
}

/// The wake-ups between the stations. Losing one costs a poll, nothing else.
#[derive(Clone, Default)]
struct Bells {
    queue: Arc<Notify>,
    delivery: Arc<Notify>,
}

impl App {
    /// Opens the store, joins all parts and begins to serve.
    pub async fn build(settings: &Settings, clock: Arc<dyn Clock>, lifecycle: Lifecycle) -> anyhow::Result<Self> {
        Self::build_with(settings, clock, lifecycle, Arc::new(SystemLookup)).await
    }

    /// The same where the names of receivers are resolved by somebody else than the system.
    pub async fn build_with(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        lifecycle: Lifecycle,
        lookup: Arc<dyn egress::Lookup>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(settings.server.address)
            .with_context(|| format!("cannot listen on {}", settings.server.address))?;
        let address = listener.local_addr()?;
        let rules = egress::Rules::new(&settings.egress, address.ip().is_loopback());
        info!(mode = rules.mode(), "webhooks may go to the addresses of this mode");
        let guard = Guard::new(rules, lookup);

        let sqlite = SqliteStore::open(&settings.storage.folder)?;
        let store: Arc<dyn Store> = Arc::<SqliteStore>::clone(&sqlite);
        let bodies = body_rules(settings, address, sqlite.as_ref(), clock.now()).await?;
        let blobs = Arc::new(Blobs::open(&settings.storage.folder)?);
        sweep(&store, &blobs).await;
        pull_in(&store, clock.now()).await;
        let catalog = Arc::new(Catalog::load(&settings.workflows.configs, &settings.workflows.templates));
        report(&catalog, settings);
        let keyring = open_keyring(&sqlite, &clock, &settings.webhooks).await;
        let office_store = Arc::<SqliteStore>::clone(&sqlite);
        let office = Office::new(office_store, Arc::clone(&clock), |bytes| rand::fill(bytes));

        let bells = Bells::default();
        let announcer = notifier::Announcer::new(Arc::clone(&clock));
        let mut backends = Vec::new();
        for address in &settings.backends.addresses {
            let parts = (Arc::clone(&store), Arc::clone(&blobs), Arc::clone(&clock), announcer.clone());
            backends.push(open_backend(address, settings, parts, &bells, &bodies, &lifecycle)?);
        }
        let trackers = backends.iter().map(|backend| (backend.name.clone(), backend.tracker.clone())).collect();
        let desks = backends.iter().map(|backend| (backend.name.clone(), Arc::clone(&backend.desk))).collect();

        let counts = Arc::<SqliteStore>::clone(&sqlite);
        let throttle = Throttle::new(settings.callers.clone(), counts, Arc::clone(&clock)).await?;
        lifecycle.spawn_station("throttle", Arc::clone(&throttle).run(lifecycle.stop()));
        let look_every = settings.workflows.look_every;
        let watching = watch_folders(Arc::clone(&catalog), look_every, Arc::clone(&clock), lifecycle.clone());
        lifecycle.spawn_station("workflows", watching);
        lifecycle.spawn_station(
            "dispatch",
            dispatch::run(
                dispatch::Parts {
                    store: Arc::clone(&store),
                    catalog: Arc::clone(&catalog),
                    backends,
                    clock: Arc::clone(&clock),
                    lifecycle: lifecycle.clone(),
                    queue_bell: Arc::clone(&bells.queue),
                    delivery_bell: Arc::clone(&bells.delivery),
                    random: rand::random,
                    max_runs: settings.limits.max_runs,
                    per_tenant: NonZeroUsize::new(settings.limits.running_per_tenant),
                    bodies: Arc::clone(&bodies),
                },
                lifecycle.stop(),
            ),
        );
        let clearing = clearing::Parts {
            store: Arc::clone(&store),
            blobs: Arc::clone(&blobs),
            clock: Arc::clone(&clock),
            retention: settings.storage.retention,
        };
        lifecycle.spawn_station("clearing", clearing::run(clearing, lifecycle.stop()));
        let sent = Arc::clone(&blobs);
        let standing = Arc::new(notifier::Standing::default());
        lifecycle.spawn_station(
            "notifier",
            notifier::run(
                notifier::Parts {
                    store: Arc::clone(&store),
                    clock: Arc::clone(&clock),
                    lifecycle: lifecycle.clone(),
                    bell: Arc::clone(&bells.delivery),
                    announcer,
                    body: Arc::new(move |body| Box::pin(body_stream(Arc::clone(&sent), body.clone()))),
                    keyring: keyring.clone(),
                    settings: settings.webhooks.clone(),
                    guard: guard.clone(),
                    grace: settings.shutdown.grace,
                    random: Box::new(rand::random),
                    standing: Arc::clone(&standing),
                },
                lifecycle.stop(),
            ),
        );

        let operators_key = settings.access.operators_key();
        let keys = Arc::new(Keys::new(sqlite, Arc::clone(&clock), |bytes| rand::fill(bytes), operators_key));
        let keys_required = settings.access.require_keys(address);
        report_keys(&keys, keys_required, settings).await;
        lifecycle.spawn_station("keys", Arc::clone(&keys).run(lifecycle.stop()));

        let intake = Arc::new(Intake {
            store: Arc::clone(&store),
            catalog: Arc::clone(&catalog),
            clock: Arc::clone(&clock),
            queue_bell: bells.queue,
            delivery_bell: bells.delivery,
            trackers,
            default_workflow: settings.workflows.default.clone(),
            limits: settings.limits.usual,
            most: settings.limits.most,
            bodies: Arc::clone(&bodies),
            kept_revisions: Mutex::new(HashSet::new()),
            random: |bytes| rand::fill(bytes),
        });
        let api = web::Data::new(Api {
            intake,
            store,
            throttle,
            catalog,
            blobs,
            desks,
            keys,
            keys_required,
            keyring,
            office,
            targets: notifier::TargetRules { guard, https_only: settings.webhooks.https_only },
            clock,
            bodies,
            defaults: api::Defaults::of(&settings.outputs),
            max_body: usize::try_from(settings.server.max_body).unwrap_or(usize::MAX),
            body_limit: BODY_LIMIT,
            loopback_only: address.ip().is_loopback(),
            standing,
            write_check: api::WriteCheck::default(),
            allowed_hosts: settings.callers.allowed_hosts.clone(),
            allowed_origins: settings.callers.allowed_origins.clone(),
            draining: AtomicBool::new(false),
        });
        let front = Lifecycle::new();
        let crowd = api::Crowd::new(settings.server.connections_per_address);
        let server = serve(listener, &api, crowd, &front, lifecycle.stop())?;
        info!(%address, "listening");
        Ok(Self { address, api, server, lifecycle, front, grace: settings.shutdown.grace })
    }

    /// Returns where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` ends or a station has failed, then stops: nothing new is taken in, what is under way gets
    /// its grace, and until that is over callers are still answered. What is on backends goes on there and is taken up at
    /// the next start. Returns false where a station has failed; a panic that was contained is no failure of the whole.
    pub async fn run(self, stop: impl Future<Output = ()>) -> bool {
        let failing = self.lifecycle.stop();
        let is_asked = tokio::select! {
            () = stop => true,
            () = failing.cancelled() => false,
        };
        info!("stopping");
        self.api.drain();
        // The notifier takes the grace for its own attempts; a little more lets it put the rest back.
        if tokio::time::timeout(self.grace + AFTER_GRACE, self.lifecycle.end()).await.is_err() {
            warn!("not everything ended in time; what is left is taken up at the next start");
        }
        let answered = async {
            self.server.stop(true).await;
            self.front.end().await;
        };
        if tokio::time::timeout(LAST_ANSWERS + AFTER_GRACE, answered).await.is_err() {
            warn!("not every request was answered in time");
        }
        info!("stopped");
        let panics = self.lifecycle.panics();
        if panics > 0 {
            error!(panics, "units of the gateway panicked since the start and were contained: please report them");
        }
        is_asked && !self.lifecycle.has_failed() && !self.front.has_failed()
    }
}

/// Makes sure that there are secrets to sign with, so that whoever asks for them gets them before the first webhook.
async fn open_keyring(
    store: &Arc<SqliteStore>,
    clock: &Arc<dyn Clock>,
    settings: &WebhookSettings,
) -> Option<Arc<Keyring>> {
    if !settings.signing {
        warn!("webhooks are sent unsigned, as COMFYGATE_WEBHOOK_SIGNING=false says");
        return None;
    }
    let options = signing::Options { ed25519: settings.ed25519 };
    let store = Arc::<SqliteStore>::clone(store);
    let keyring = Keyring::new(store, Arc::clone(clock), |bytes| rand::fill(bytes), options);
    if let Err(error) = keyring.prepare(&Tenant::default()).await {
        warn!(%error, "the secret that signs webhooks cannot be made now; it is tried again with the first webhook");
    }
    Some(Arc::new(keyring))
}

/// Returns what final objects are written by. The key of their links is drawn at the first start.
async fn body_rules(
    settings: &Settings,
    address: SocketAddr,
    secrets: &dyn OwnSecrets,
    now: Timestamp,
) -> anyhow::Result<Arc<BodyRules>> {
    let fresh: [u8; LinkKey::BYTES] = rand::random();
    let key = secrets.own_secret("link", fresh.to_vec(), now).await.context("the key of links cannot be stored")?;
    let key = key.try_into().map_err(|_| anyhow::anyhow!("the key of links is damaged: it does not have 32 bytes"))?;
    Ok(Arc::new(BodyRules {
        link_lifetime: settings.link_lifetime(),
        inline_max: settings.outputs.inline_max,
        ..BodyRules::new(settings.server.link_base(address), LinkKey::new(key))
    }))
}

type Stores = (Arc<dyn Store>, Arc<Blobs>, Arc<dyn Clock>, notifier::Announcer);

fn open_backend(
    address: &url::Url,
    settings: &Settings,
    (store, blobs, clock, announcer): Stores,
    bells: &Bells,
    bodies: &Arc<BodyRules>,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Backend> {
    let url: ComfyUrl = address.as_str().parse()?;
    let client = Client::new(url.clone())?;
    let name = url.to_string();
    let desk = Arc::new(Desk::default());
    let reconnect = Arc::new(Notify::new());
    let (tracker, commands) = Tracker::channel();
    let (events, socket) = mpsc::channel(EVENT_QUEUE);
    let parts = tracker::Parts {
        backend: name.clone(),
        client: client.clone(),
        store,
        blobs,
        clock: Arc::clone(&clock),
        lifecycle: lifecycle.clone(),
        desk: Arc::clone(&desk),
        reconnect: Arc::clone(&reconnect),
        delivery_bell: Arc::clone(&bells.delivery),
        queue_bell: Arc::clone(&bells.queue),
        max_output: settings.limits.max_output,
        bodies: Arc::clone(bodies),
        announce: Arc::new(move |announcement| announcer.announce(announcement)),
    };
    lifecycle.spawn_station("tracker", tracker::run(parts, tracker.clone(), commands, socket, lifecycle.stop()));
    lifecycle.spawn_station(
        "socket",
        comfy::socket::run(url, SocketOptions::default(), events, reconnect, clock, lifecycle.stop()),
    );
    Ok(Backend { name, client, tracker, desk, depth: settings.backends.queue })
}

/// Begins to serve; should the server ever fail, `failing` tells all.
fn serve(
    listener: TcpListener,
    api: &web::Data<Api>,
    crowd: api::Crowd,
    front: &Lifecycle,
    failing: CancellationToken,
) -> anyhow::Result<ServerHandle> {
    let data = api.clone();
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let server = HttpServer::new(move || {
        ActixApp::new()
            .app_data(data.clone())
            .wrap(actix_web::middleware::from_fn(api::throttle))
            .wrap(actix_web::middleware::from_fn(api::identify))
            .wrap(actix_web::middleware::from_fn(api::guesses))
            .wrap(actix_web::middleware::from_fn(api::guard))
            .wrap(actix_web::middleware::from_fn(api::headers))
            .wrap(actix_web::middleware::from_fn(api::contain))
            .configure(api::routes)
    })
    .on_connect(move |connection, extensions| crowd.meet(connection, extensions))
    .workers(workers)
    .max_connections((api::most_connections() / workers).max(1))
    .disable_signals()
    .client_request_timeout(HEAD_LIMIT)
    .shutdown_timeout(LAST_ANSWERS.as_secs())
    .listen(listener)?
    .run();
    let handle = server.handle();
    front.spawn_station("http", async move {
        // However it ends, a panic included, a gateway that nobody can reach must not go on.
        let _failing = failing.drop_guard();
        if let Err(error) = server.await {
            error!(%error, "the HTTP server ended");
        }
    });
    Ok(handle)
}

fn report(catalog: &Catalog, settings: &Settings) {
    info!(workflows = catalog.names().join(", "), "workflows loaded");
    for problem in catalog.problems().values().flatten() {
        warn!(%problem, "a workflow was not loaded");
    }
    if catalog.workflow(&settings.workflows.default).is_none() {
        warn!(workflow = settings.workflows.default, "the default workflow is not there");
    }
}

/// Says what an operator should know of who may call.
async fn report_keys(keys: &Keys, required: bool, settings: &Settings) {
    if settings.server.allow_open && required {
        warn!("COMFYGATE_ALLOW_OPEN has no effect: callers need a key, unless COMFYGATE_KEYS is off");
    }
    match keys.is_there_any().await {
        Ok(false) if required => {
            let folder = settings.storage.folder.display();
            warn!(
                "callers need a key and there is none, so everybody is refused; \
                 make one with: comfygate keys create --name my-backend --data {folder}"
            );
        }
        Ok(_) => {}
        Err(error) => warn!(%error, "it is not known whether there are keys"),
    }
}

/// Removes the outputs that a crash has left without a job, and revisions that no job refers to. Nothing is removed where
/// it is not certain what is needed.
async fn sweep(store: &Arc<dyn Store>, blobs: &Arc<Blobs>) {
    match store.clear_revisions().await {
        Ok(0) => {}
        Ok(removed) => info!(removed, "removed revisions of workflows that no job refers to"),
        Err(error) => warn!(%error, "revisions of workflows that no job refers to stay"),
    }
    let needed = match store.needed_blobs().await {
        Ok(needed) => needed,
        Err(error) => return warn!(%error, "left-over outputs stay: it is not certain which are needed"),
    };
    let blobs = Arc::clone(blobs);
    match tokio::task::spawn_blocking(move || blobs.sweep(&needed)).await {
        Ok(Ok(0)) | Err(_) => {}
        Ok(Ok(removed)) => info!(removed, "removed outputs that no job needs"),
        Ok(Err(error)) => warn!(%error, "left-over outputs stay"),
    }
}

/// Times are stored as the wall clock says them; one that has gone back since must hold nothing up.
async fn pull_in(store: &Arc<dyn Store>, now: Timestamp) {
    match store.pull_in(now).await {
        Ok(0) => {}
        Ok(changed) => {
            warn!(changed, "the wall clock went back since the last stop; what waited longer for it is pulled in");
        }
        Err(error) => warn!(%error, "it is not certain that nothing waits for a time that is too far off"),
    }
}

/// Looks at the workflow folders now and then, and takes in what has changed.
async fn watch_folders(catalog: Arc<Catalog>, look_every: Duration, clock: Arc<dyn Clock>, lifecycle: Lifecycle) {
    let stop = lifecycle.stop();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep_until(clock.now() + look_every) => {}
        }
        let looked_at = Arc::clone(&catalog);
        let changed = tokio::task::spawn_blocking(move || looked_at.reload_if_changed()).await;
        if changed.unwrap_or(false) {
            info!(workflows = catalog.names().join(", "), "workflows reloaded");
            for problem in catalog.problems().values().flatten() {
                warn!(%problem, "a workflow was not loaded; its last good version stays");
            }
        }
    }
}

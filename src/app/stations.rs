//! The stations of a job, each begun with what it works with: backends with their sockets and trackers, dispatch, notifier,
//! clearing; and beside them who watches the workflows, the keys and the callers.

use super::ground::{Ground, own_key};
use super::{estimates, workflows};
use crate::access::{Keys, SessionKey};
use crate::clearing;
use crate::comfy::{self, Client, ComfyUrl, SocketOptions};
use crate::dispatch::{self, Outlooks};
use crate::health::{self, Change, Health};
use crate::inputs::Shelf;
use crate::intake::Intake;
use crate::inventory;
use crate::job::Tenant;
use crate::media::body_stream;
use crate::notifier::{self, Standing};
use crate::pool::{self, Backend, BackendEvent, BackendTap, Pool, Roster, Source};
use crate::signing::{self, Keyring};
use crate::throttle::Throttle;
use crate::tracker::{self, Desk, Tracker};
use crate::vitals::{self, Vitals};
use anyhow::Context;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How many events of a socket may wait for its tracker.
const EVENT_QUEUE: usize = 8192;

impl Ground {
    /// Connects to a backend, with a socket as `options` say, and follows what runs there under `name`.
    pub(super) fn open_backend(&self, name: String, url: ComfyUrl, options: SocketOptions) -> anyhow::Result<Backend> {
        let options = SocketOptions { frames_wanted: Arc::clone(&self.frames_wanted), ..options };
        let client = Client::by(url.clone(), options.route.clone())?;
        let client = client.with_upload_limit(self.settings.inputs.bring_timeout);
        let desk = Arc::new(Desk::default());
        let reconnect = Arc::new(Notify::new());
        let (tracker, commands) = Tracker::channel();
        let (events, socket) = mpsc::channel(EVENT_QUEUE);
        let (announcer, estimates) = (self.announcer.clone(), Arc::clone(&self.estimates));
        let parts = tracker::Parts {
            backend: name.clone(),
            client: client.clone(),
            store: Arc::clone(&self.store),
            blobs: Arc::clone(&self.blobs),
            clock: Arc::clone(&self.clock),
            lifecycle: self.lifecycle.clone(),
            desk: Arc::clone(&desk),
            reconnect: Arc::clone(&reconnect),
            delivery_bell: Arc::clone(&self.bells.delivery),
            queue_bell: Arc::clone(&self.bells.queue),
            max_output: self.settings.limits.max_output,
            bodies: Arc::clone(&self.bodies),
            vault: Arc::clone(&self.vault),
            announce: Arc::new(move |announcement| announcer.announce(announcement)),
            learn: Arc::new(move |ran| estimates.learn(ran)),
            tap: self.tap.clone(),
            accounts: self.accounts(),
        };
        let stop = self.lifecycle.stop().child_token();
        let stop_of_it = stop.clone();
        self.begin("tracker", tracker::run(parts, tracker.clone(), commands, socket, stop.clone()));
        self.begin("inventory", inventory::run(self.stocktaking(&name, &client, &desk), stop.clone()));
        let health = Arc::new(Health::new(self.clock.now()));
        let vitals = self.take_vitals(&name, &client, &desk, &health, &stop);
        let watch = self.watch_over(&name, &client, &desk, &health, options.gate.clone());
        self.begin("health", health::run(watch, stop.clone()));
        let clock = Arc::clone(&self.clock);
        self.begin("socket", comfy::socket::run(url, options, events, reconnect, clock, stop));
        let mut backend = Backend::new(name, client, tracker, desk);
        backend.ahead = self.settings.backends.queue.saturating_sub(1);
        backend.stop = stop_of_it;
        backend.vitals = vitals;
        backend.health = health;
        backend.life = self.lifecycle.clone();
        Ok(backend)
    }

    /// Adds and removes backends while the gateway runs.
    pub(super) async fn open_roster(&self, pool: &Arc<Pool>) -> anyhow::Result<Arc<Roster>> {
        let (ground, inventory, estimates) = (self.clone(), Arc::clone(&self.inventory), Arc::clone(&self.estimates));
        let parts = pool::Parts {
            pool: Arc::clone(pool),
            store: self.sqlite(),
            jobs: Arc::clone(&self.store),
            open: Arc::new(move |definition| {
                ground.open_defined(definition, Source::Added).map_err(|error| format!("{error:#}"))
            }),
            forget: Arc::new(move |backend| {
                inventory.forget(backend);
                estimates.forget(backend);
            }),
            clock: Arc::clone(&self.clock),
            lifecycle: self.lifecycle.clone(),
            queue_bell: Arc::clone(&self.bells.queue),
        };
        let roster = Roster::begin(parts).await.context("the backends that were added cannot be read")?;
        self.begin("roster", Arc::clone(&roster).run(self.lifecycle.stop()));
        Ok(roster)
    }

    /// Takes jobs in for these backends.
    pub(super) fn intake(&self, pool: &Arc<Pool>) -> Arc<Intake> {
        Arc::new(Intake {
            store: Arc::clone(&self.store),
            catalog: Arc::clone(&self.catalog),
            inputs: Arc::clone(&self.inputs),
            clock: Arc::clone(&self.clock),
            queue_bell: Arc::clone(&self.bells.queue),
            delivery_bell: Arc::clone(&self.bells.delivery),
            pool: Arc::clone(pool),
            default_workflow: self.settings.workflows.default.clone(),
            limits: self.settings.limits.usual,
            most: self.settings.limits.most,
            max_runs: self.settings.limits.max_runs,
            bodies: Arc::clone(&self.bodies),
            kept_revisions: Mutex::new(HashSet::new()),
            random: |bytes| rand::fill(bytes),
            vault: Arc::clone(&self.vault),
            tap: self.tap.clone(),
        })
    }

    fn stocktaking(&self, backend: &str, client: &Client, desk: &Desk) -> inventory::Parts {
        inventory::Parts {
            backend: backend.to_owned(),
            client: client.clone(),
            inventory: Arc::clone(&self.inventory),
            connected: desk.connections(),
            every: self.settings.backends.object_info_every,
            clock: Arc::clone(&self.clock),
        }
    }

    /// Asks the backend's metrics agent, where agents are asked, and looks how busy it is.
    fn take_vitals(
        &self,
        backend: &str,
        client: &Client,
        desk: &Arc<Desk>,
        health: &Arc<Health>,
        stop: &CancellationToken,
    ) -> Arc<Vitals> {
        let (vitals, health) = (Arc::<Vitals>::default(), Arc::clone(health));
        let every = self.settings.backends.agent_every;
        let watched = vitals::Watched {
            vitals: Arc::clone(&vitals),
            desk: Arc::clone(desk),
            stats: Arc::new(move || health.look().system.clone()),
            every,
            clock: Arc::clone(&self.clock),
        };
        self.begin("samples", vitals::sample(watched, stop.clone()));
        if let Some(every) = every {
            let parts = vitals::Parts {
                backend: backend.to_owned(),
                client: client.clone(),
                desk: Arc::clone(desk),
                vitals: Arc::clone(&vitals),
                every,
                clock: Arc::clone(&self.clock),
            };
            self.begin("vitals", vitals::run(parts, stop.clone()));
        }
        vitals
    }

    fn watch_over(
        &self,
        backend: &str,
        client: &Client,
        desk: &Arc<Desk>,
        health: &Arc<Health>,
        gate: Option<watch::Receiver<bool>>,
    ) -> health::Parts {
        let (pool, name) = (Arc::downgrade(&self.pool), backend.to_owned());
        health::Parts {
            backend: backend.to_owned(),
            client: client.clone(),
            desk: Arc::clone(desk),
            health: Arc::clone(health),
            every: self.settings.backends.health_every,
            limit: health::LIMIT,
            gate,
            clock: Arc::clone(&self.clock),
            queue_bell: Arc::clone(&self.bells.queue),
            tell: Arc::new(move |change, now| {
                let event = match change {
                    Change::Back => BackendEvent::Connected,
                    Change::Lost { reason } => BackendEvent::Lost { reason },
                };
                if let Some(pool) = pool.upgrade() {
                    pool.tell(&name, now, event);
                }
            }),
        }
    }

    /// Gives waiting jobs to the backends. Returns who answers how jobs wait.
    pub(super) fn dispatch(&self, pool: &Arc<Pool>) -> Arc<Outlooks> {
        let (fitness, estimates) = (Arc::clone(&self.fitness), Arc::clone(&self.estimates));
        let clock = Arc::clone(&self.clock);
        let outlooks = Arc::new(Outlooks::new(Arc::clone(pool), Arc::clone(&fitness), estimates, clock));
        let parts = dispatch::Parts {
            store: Arc::clone(&self.store),
            catalog: Arc::clone(&self.catalog),
            pool: Arc::clone(pool),
            fitness,
            fitness_store: self.sqlite(),
            inventory: Arc::clone(&self.judged_by),
            wait_for_backends: self.settings.backends.wait_for_others,
            estimates: Arc::clone(&self.estimates),
            outlooks: Arc::clone(&outlooks),
            shelf: Arc::new(Shelf::new(Arc::clone(&self.blobs), Arc::clone(&self.clock))),
            clock: Arc::clone(&self.clock),
            lifecycle: self.lifecycle.clone(),
            queue_bell: Arc::clone(&self.bells.queue),
            delivery_bell: Arc::clone(&self.bells.delivery),
            random: rand::random,
            max_runs: self.settings.limits.max_runs,
            per_tenant: NonZeroUsize::new(self.settings.limits.running_per_tenant),
            bodies: Arc::clone(&self.bodies),
            tap: self.tap.clone(),
            vault: Arc::clone(&self.vault),
        };
        self.begin("dispatch", dispatch::run(parts, self.lifecycle.stop()));
        self.keep_estimates(pool);
        outlooks
    }

    /// Keeps what is learnt of how long graphs run, and forgets backends that are gone.
    fn keep_estimates(&self, pool: &Pool) {
        let learnt = Arc::clone(&self.estimates);
        pool.listen(BackendTap::new(move |news| match news.event {
            BackendEvent::Removed => learnt.forget(&news.backend),
            // It may come back as a new process, which has loaded nothing.
            BackendEvent::Lost { .. } => learnt.cooled(&news.backend),
            BackendEvent::Added
            | BackendEvent::Draining
            | BackendEvent::Resumed
            | BackendEvent::Connected
            | BackendEvent::Blocked { .. }
            | BackendEvent::Unblocked { .. } => {}
        }));
        let (estimates, clock) = (Arc::clone(&self.estimates), Arc::clone(&self.clock));
        self.begin("estimates", estimates::keep(estimates, self.sqlite(), clock, self.lifecycle.stop()));
    }

    /// Tells callers how their jobs ended.
    pub(super) fn notify(&self, keyring: Option<Arc<Keyring>>, standing: &Arc<Standing>) {
        let blobs = Arc::clone(&self.blobs);
        let parts = notifier::Parts {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            lifecycle: self.lifecycle.clone(),
            bell: Arc::clone(&self.bells.delivery),
            announcer: self.announcer.clone(),
            body: Arc::new(move |body| Box::pin(body_stream(Arc::clone(&blobs), body.clone()))),
            keyring,
            settings: self.settings.webhooks.clone(),
            guard: self.guard.clone(),
            grace: self.settings.shutdown.grace,
            random: Box::new(rand::random),
            standing: Arc::clone(standing),
        };
        self.begin("notifier", notifier::run(parts, self.lifecycle.stop()));
    }

    /// Removes what is old.
    pub(super) fn clear(&self) {
        let parts = clearing::Parts {
            store: Arc::clone(&self.store),
            blobs: Arc::clone(&self.blobs),
            clock: Arc::clone(&self.clock),
            retention: self.settings.storage.retention,
        };
        self.begin("clearing", clearing::run(parts, self.lifecycle.stop()));
    }

    /// Takes in what changes in the workflow folders.
    pub(super) fn watch_workflows(&self) {
        let parts = workflows::Parts {
            catalog: Arc::clone(&self.catalog),
            inventory: Arc::clone(&self.inventory),
            look_every: self.settings.workflows.look_every,
            clock: Arc::clone(&self.clock),
        };
        self.begin("workflows", workflows::watch(parts, self.lifecycle.stop()));
    }

    /// Counts what callers ask for.
    pub(super) async fn open_throttle(&self) -> anyhow::Result<Arc<Throttle>> {
        let throttle = Throttle::new(self.settings.callers.clone(), self.sqlite(), Arc::clone(&self.clock)).await?;
        self.begin("throttle", Arc::clone(&throttle).run(self.lifecycle.stop()));
        Ok(throttle)
    }

    /// Knows callers by their keys; says what an operator should know of that.
    pub(super) async fn open_keys(&self, required: bool) -> anyhow::Result<Arc<Keys>> {
        let operators_key = self.settings.access.operators_key();
        let fill = |bytes: &mut [u8]| rand::fill(bytes);
        let keys = Keys::new(self.sqlite(), Arc::clone(&self.clock), fill, operators_key);
        let sessions = SessionKey::new(own_key(self.sqlite.as_ref(), "session", self.clock.now()).await?);
        let keys = Arc::new(keys.with_sessions(sessions));
        self.report_keys(&keys, required).await;
        self.begin("keys", Arc::clone(&keys).run(self.lifecycle.stop()));
        Ok(keys)
    }

    /// Makes sure that there are secrets to sign with, so that whoever asks for them gets them before the first webhook.
    pub(super) async fn open_keyring(&self) -> Option<Arc<Keyring>> {
        if !self.settings.webhooks.signing {
            warn!("webhooks are sent unsigned, as COMFYGATE_WEBHOOK_SIGNING=false says");
            return None;
        }
        let options = signing::Options { ed25519: self.settings.webhooks.ed25519 };
        let keyring = Keyring::new(self.sqlite(), Arc::clone(&self.clock), |bytes| rand::fill(bytes), options);
        if let Err(error) = keyring.prepare(&Tenant::default()).await {
            warn!(%error, "the secret that signs webhooks cannot be made now; it is tried again with the first webhook");
        }
        Some(Arc::new(keyring))
    }

    async fn report_keys(&self, keys: &Keys, required: bool) {
        if self.settings.server.allow_open && required {
            warn!("COMFYGATE_ALLOW_OPEN has no effect: callers need a key, unless COMFYGATE_KEYS is off");
        }
        match keys.is_there_any().await {
            Ok(false) if required => {
                let folder = self.settings.storage.folder.display();
                warn!(
                    "callers need a key and there is none, so everybody is refused; \
                     make one with: comfygate keys create --name my-backend --data {folder}"
                );
            }
            Ok(_) => {}
            Err(error) => warn!(%error, "it is not known whether there are keys"),
        }
    }

    /// Returns who hears what the runs of a backend have shown.
    fn accounts(&self) -> tracker::Accounts {
        let fitness = Arc::clone(&self.fitness);
        tracker::Accounts::new(move |account| fitness.account(&account))
    }

    pub(super) fn begin(&self, name: &'static str, station: impl Future<Output = ()> + Send + 'static) {
        self.lifecycle.spawn_station(name, station);
    }
}

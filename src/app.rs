//! Builds every part from the settings and joins them; the only room that knows all parts.
//!
//! The ground is laid first, then the stations of a job are begun in the order in which it passes them, and last the HTTP server
//! in front opens. [`Works`] are the stations alone, for whoever runs jobs without a server.

mod backends;
mod configured;
mod estimates;
mod front;
mod ground;
mod live;
mod remote;
mod stations;
mod workflows;
mod works;

pub use configured::{ConfiguredBackend, check_backends, configured_backends};
pub use works::{Server, Works};

use crate::api::{self, Api};
use crate::clock::Clock;
use crate::egress::{self, SystemLookup};
use crate::lifecycle::Lifecycle;
use crate::notifier::{Standing, TargetRules};
use crate::pool::Pool;
use crate::settings::Settings;
use crate::signing::Office;
use actix_web::dev::ServerHandle;
use actix_web::web;
use futures_util::future::join_all;
use ground::Ground;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tracing::{error, info, warn};

/// How long the head of a request may take to arrive, and its body.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// How long the last requests may take to be answered, and how much longer than told the end may take.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
const AFTER_GRACE: Duration = Duration::from_secs(5);

/// The gateway, built and serving.
pub struct App {
    address: SocketAddr,
    remote_addresses: Vec<SocketAddr>,
    api: web::Data<Api>,
    servers: Vec<ServerHandle>,
    lifecycle: Lifecycle,
    /// The HTTP server's own, since it ends last.
    front: Lifecycle,
    grace: Duration,
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
        let (own, remote) = remote::open_doors(settings)?;
        let address = own.address;
        let ground = Box::pin(Ground::lay(settings, clock, lifecycle.clone(), address, lookup)).await?;
        let api = web::Data::new(Box::pin(join(ground)).await?);
        let front = Lifecycle::new();
        let per_address = settings.server.connections_per_address;
        let mut servers = vec![front::serve(own, &api, per_address, &front, lifecycle.stop())?];
        info!(%address, "listening");
        let mut remote_addresses = Vec::new();
        for open in remote {
            let (address, entrance) = (open.address, open.door.entrance);
            servers.push(front::serve(open, &api, per_address, &front, lifecycle.stop())?);
            info!(%address, ?entrance, "the remote control has a port of its own");
            remote_addresses.push(address);
        }
        let grace = settings.shutdown.grace;
        Ok(Self { address, remote_addresses, api, servers, lifecycle, front, grace })
    }

    /// Returns where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns where the remote control listens besides: for its calls and for its listeners, each where it is set.
    pub fn remote_addresses(&self) -> &[SocketAddr] {
        &self.remote_addresses
    }

    /// Returns the backends.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.api.pool
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
            join_all(self.servers.iter().map(|server| server.stop(true))).await;
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

/// Begins the stations and joins them with what answers to callers.
async fn join(mut ground: Ground) -> anyhow::Result<Api> {
    let settings = Arc::clone(&ground.settings);
    let standing = Arc::new(Standing::default());
    let metrics = ground.count(&standing);
    let (relay, told) = ground.open_relay();
    let (backends, local) = match ground.open_local().await? {
        Some((backend, standing)) => (vec![backend], Some(standing)),
        None => (ground.open_backends(None)?, None),
    };
    let pool = ground.admit(backends);
    let roster = ground.open_roster(&pool).await?;
    let intake = ground.intake(&pool);
    let remote = ground.open_remote(&intake, &pool, &relay);
    let keyring = ground.open_keyring().await;
    let throttle = ground.open_throttle().await?;
    ground.watch_workflows();
    let outlooks = ground.dispatch(&pool);
    ground.tell(&relay, told, &outlooks);
    ground.notify(keyring.clone(), &standing);
    ground.clear();
    let keys_required = settings.access.require_keys(ground.address);
    let keys = ground.open_keys(remote::require_keys(&settings, ground.address)).await?;
    let office = Office::new(ground.sqlite(), Arc::clone(&ground.clock), |bytes| rand::fill(bytes));
    let started_at = ground.clock.now();
    let Ground {
        address, lifecycle, store, blobs, catalog, inventory, bodies, guard, clock, inputs, estimates, ..
    } = ground;
    Ok(Api {
        intake,
        inputs,
        store,
        throttle,
        catalog,
        verdicts: api::Verdicts::new(inventory),
        blobs,
        pool,
        outlooks,
        relay,
        roster,
        estimates,
        passage: api::Passage::default(),
        local,
        keys,
        keys_required,
        keyring,
        office,
        targets: TargetRules { guard, https_only: settings.webhooks.https_only },
        clock,
        bodies,
        raw_graphs: settings.workflows.raw_graphs,
        bench: api::Bench::for_graphs(),
        thumbnails: api::Thumbnails::new(settings.inputs.max_pixels),
        defaults: api::Defaults::of(&settings.outputs),
        max_body: usize::try_from(settings.server.max_body).unwrap_or(usize::MAX),
        body_limit: BODY_LIMIT,
        loopback_only: address.ip().is_loopback(),
        standing,
        metrics,
        remote,
        lifecycle,
        started_at,
        write_check: api::WriteCheck::default(),
        allowed_hosts: settings.callers.allowed_hosts.clone(),
        allowed_origins: settings.callers.allowed_origins.clone(),
        pages: api::OwnPages { are_served: settings.server.dashboard, origin: settings.server.origin() },
        draining: AtomicBool::new(false),
    })
}

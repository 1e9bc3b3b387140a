//! The stations of a job alone, without server, keys, webhooks and clearing: what `comfygate run` works with.

use super::ground::Ground;
use crate::clock::Clock;
use crate::comfy::Client;
use crate::dispatch::Outlooks;
use crate::egress::SystemLookup;
use crate::intake::Intake;
use crate::inventory::Inventory;
use crate::job::Tap;
use crate::lifecycle::Lifecycle;
use crate::media::Blobs;
use crate::pool::Backend;
use crate::settings::Settings;
use crate::store::Store;
use crate::tracker::Desk;
use std::sync::Arc;
use tokio::sync::watch;

/// The stations of a job, begun and joined.
pub struct Works {
    /// Takes jobs in, and wishes to cancel.
    pub intake: Arc<Intake>,
    /// Says how jobs wait.
    pub outlooks: Arc<Outlooks>,
    /// Has what became of them.
    pub store: Arc<dyn Store>,
    /// Has their outputs.
    pub blobs: Arc<Blobs>,
    /// What their nodes and models are.
    pub inventory: Arc<Inventory>,
    /// The ComfyUI servers.
    pub servers: Vec<Server>,
    lifecycle: Lifecycle,
}

/// One ComfyUI that the stations work with.
pub struct Server {
    /// Its name, which is its address.
    pub name: String,
    /// Its HTTP side.
    pub client: Client,
    /// What is known of it.
    pub desk: Arc<Desk>,
}

impl Works {
    /// Opens the store in the data folder of the settings and begins the stations; `tap` hears what they do, and `gate` says
    /// whether the servers are the ones that are meant: none is connected to before.
    pub async fn begin(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        tap: Tap,
        gate: Option<watch::Receiver<bool>>,
    ) -> anyhow::Result<Self> {
        let lifecycle = Lifecycle::new();
        let lookup = Arc::new(SystemLookup);
        // It works with the addresses that it is given, and with no pool.
        let mut settings = settings.clone();
        settings.backends.file = None;
        let mut ground = Ground::lay(&settings, clock, lifecycle.clone(), settings.server.address, lookup).await?;
        ground.tap = tap;
        let pool = ground.admit(ground.open_backends(gate.as_ref())?);
        let intake = ground.intake(&pool);
        let server = |backend: &Arc<Backend>| Server {
            name: backend.name.clone(),
            client: backend.client.clone(),
            desk: Arc::clone(&backend.desk),
        };
        let servers = pool.backends().iter().map(server).collect();
        // Whoever has runs checked does so beforehand, and whoever does not wants the server's own word.
        ground.judged_by = Arc::new(Inventory::open(&settings.storage.folder, [], Arc::clone(&ground.clock)));
        let outlooks = ground.dispatch(&pool);
        let Ground { store, blobs, inventory, .. } = ground;
        Ok(Self { intake, outlooks, store, blobs, inventory, servers, lifecycle })
    }

    /// Tells every station to stop and waits until all have.
    pub async fn end(&self) {
        self.lifecycle.end().await;
    }
}

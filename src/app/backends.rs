//! Which backends there are: those of the addresses, or the ComfyUI that is started here.

use super::ground::Ground;
use crate::comfy::ComfyUrl;
use crate::dispatch::Backend;
use crate::local::{LocalOptions, Parts, Standing, Supervisor};
use crate::settings::BackendSettings;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::{info, warn};

impl Ground<'_> {
    /// Connects to all backends that have an address.
    pub(super) fn open_backends(&self) -> anyhow::Result<Vec<Backend>> {
        let token = self.settings.backends.bearer();
        let open = |address: &url::Url| {
            if token.is_some() && !is_private(address) {
                warn!(backend = %address, "COMFYUI_TOKEN goes to this backend unencrypted; use https");
            }
            self.open_backend(address.as_str().parse::<ComfyUrl>()?, token)
        };
        self.settings.backends.addresses.iter().map(open).collect()
    }

    /// Begins the local ComfyUI, where one is wished for, and connects to it. Returns how it stands, too.
    pub(super) fn open_local(&self) -> anyhow::Result<Option<(Backend, watch::Receiver<Standing>)>> {
        let local = &self.settings.local;
        let Some(home) = local.home.as_ref().filter(|_| local.enabled) else { return Ok(None) };
        let supervisor = Supervisor::prepare(LocalOptions::of(home.clone(), local), &self.settings.storage.folder)?;
        let (url, standing) = (supervisor.url().clone(), supervisor.standing());
        if self.settings.backends.addresses != BackendSettings::default().addresses {
            info!(backend = %url, "COMFYUI_ADDRESS is not used: the ComfyUI that is started here is");
        }
        let backend = self.open_backend(url, None)?;
        self.keep_running(supervisor);
        Ok(Some((backend, standing)))
    }

    fn keep_running(&self, supervisor: Supervisor) {
        let parts = Parts {
            clock: Arc::clone(&self.clock),
            lifecycle: self.lifecycle.clone(),
            tell: Arc::new(|line| info!("{line}")),
        };
        self.lifecycle.spawn_station("local", supervisor.run(parts, rand::random));
    }
}

/// Says whether nobody on the way to an address can read along.
fn is_private(address: &url::Url) -> bool {
    let is_loopback = match address.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    address.scheme() == "https" || is_loopback
}

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
    /// Opens every backend. Returns how the local ComfyUI stands too, where there is one.
    pub(super) fn open_backends(&self) -> anyhow::Result<(Vec<Backend>, Option<watch::Receiver<Standing>>)> {
        if self.settings.local.enabled
            && let Some(home) = &self.settings.local.home
        {
            let options = LocalOptions::of(home.clone(), &self.settings.local);
            let supervisor = Supervisor::prepare(options, &self.settings.storage.folder)?;
            let (url, standing) = (supervisor.url().clone(), supervisor.standing());
            if self.settings.backends.addresses != BackendSettings::default().addresses {
                info!(backend = %url, "COMFYUI_ADDRESS is not used: the ComfyUI that is started here is");
            }
            let backend = self.open_backend(url, None)?;
            self.keep_running(supervisor);
            return Ok((vec![backend], Some(standing)));
        }
        let token = self.settings.backends.bearer();
        let open = |address: &url::Url| {
            if token.is_some() && !is_private(address) {
                warn!(backend = %address, "COMFYUI_TOKEN goes to this backend unencrypted; use https");
            }
            self.open_backend(address.as_str().parse::<ComfyUrl>()?, token)
        };
        let backends = self.settings.backends.addresses.iter().map(open);
        Ok((backends.collect::<anyhow::Result<Vec<_>>>()?, None))
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

//! Which backends there are: those of the addresses, or the ComfyUI that is started here.

use super::ground::Ground;
use crate::comfy::{ComfyUrl, Route, RouteError, RouteOptions, SocketOptions};
use crate::local::{self, LocalOptions, Parts, Standing, Supervisor};
use crate::pool::{Backend, Definition, Pool, Source, open_way};
use anyhow::Context;
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::watch;
use tracing::{info, warn};

impl Ground {
    /// Connects to all backends of the settings; to those that are an address while `gate` lets them in.
    pub(super) fn open_backends(&self, gate: Option<&watch::Receiver<bool>>) -> anyhow::Result<Vec<Backend>> {
        let options = RouteOptions::of(&self.settings.backends)?;
        let route = open_way(&options, Arc::clone(&self.clock)).map_err(|wrong| told(&wrong))?;
        let open = |address: &url::Url| {
            warn_of(&route, address);
            let url = address.as_str().parse::<ComfyUrl>()?;
            let socket = SocketOptions { gate: gate.cloned(), route: route.clone(), ..SocketOptions::default() };
            self.part().open_backend(url.to_string(), url, socket)
        };
        let defined = self.configured.defined.iter().map(|definition| self.open_defined(definition, Source::File));
        self.configured.addresses.iter().map(open).chain(defined).collect()
    }

    /// Connects to a backend that has a definition.
    pub(super) fn open_defined(&self, definition: &Definition, source: Source) -> anyhow::Result<Backend> {
        let Definition { name, url, tags, slots, ahead, route } = definition.clone();
        let failed = || format!("the backend `{}` cannot be begun", definition.name);
        let way = open_way(&route, Arc::clone(&self.clock)).map_err(|wrong| told(&wrong)).with_context(failed)?;
        warn_of(&way, url.url());
        let socket = SocketOptions { route: way, ..SocketOptions::default() };
        let mut backend = self.part().open_backend(name, url, socket).with_context(failed)?;
        backend.source = source;
        backend.route = match serde_json::to_value(&route)? {
            Value::Object(route) => route,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
        };
        backend.tags = tags;
        backend.slots = slots;
        backend.ahead = ahead.unwrap_or(backend.ahead);
        Ok(backend)
    }

    /// Begins the local ComfyUI, where one is wished for, and connects to it. Returns how it stands, too.
    pub(super) async fn open_local(&self) -> anyhow::Result<Option<(Backend, watch::Receiver<Standing>)>> {
        let local = &self.settings.local;
        let Some(home) = local.home.as_ref().filter(|_| local.enabled) else { return Ok(None) };
        let options = LocalOptions::of(home.clone(), local);
        let supervisor = Supervisor::prepare(options, &self.settings.storage.folder, self.clock.as_ref()).await?;
        let (url, standing) = (supervisor.url().clone(), supervisor.standing());
        if self.settings.backends.are_named.0 {
            info!(backend = %url, "COMFYUI_ADDRESS is not used: the ComfyUI that is started here is");
        }
        let socket = SocketOptions { gate: Some(supervisor.is_up()), ..SocketOptions::default() };
        let backend = self.part().open_backend(local::NAME.to_owned(), url, socket)?;
        self.keep_running(supervisor);
        Ok(Some((backend, standing)))
    }

    /// Takes backends into the pool, and returns it.
    pub(super) fn admit(&self, backends: impl IntoIterator<Item = Backend>) -> Arc<Pool> {
        for backend in backends {
            self.pool.add(Arc::new(backend));
        }
        Arc::clone(&self.pool)
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

fn told(wrong: &[RouteError]) -> anyhow::Error {
    anyhow::anyhow!("{}", wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// Says what an operator should know of the way to a backend.
fn warn_of(route: &Route, address: &url::Url) {
    for warning in warnings(route, address) {
        warn!(backend = %address, "{warning}");
    }
}

fn warnings(route: &Route, address: &url::Url) -> Vec<&'static str> {
    let mut warnings = Vec::new();
    if route.has_credentials() && route.has_proxy() && address.scheme() != "https" {
        warnings.push("what this backend is shown goes to its proxy unencrypted; use https");
    } else if route.has_credentials() && !is_private(address) {
        warnings.push("what this backend is shown goes there unencrypted; use https");
    }
    if route.is_unverified() && address.scheme() == "https" {
        warnings.push(
            "the certificate of this backend is not judged, so anybody on the way may read and change all; \
             take `insecure_skip_verify` away, and name its authority in `tls.ca_file`",
        );
    }
    warnings
}

/// Says whether nobody on the straight way to an address can read along.
fn is_private(address: &url::Url) -> bool {
    let is_loopback = match address.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    address.scheme() == "https" || is_loopback
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use serde_json::json;

    #[test]
    fn credentials_that_somebody_on_the_way_can_read_are_warned_of() {
        let bearer = json!({ "auth": { "bearer": "hunter2" } });
        let mut proxied = bearer.clone();
        proxied["proxy"] = json!("http://127.0.0.1:3128");
        let bare_proxy = json!({ "proxy": "http://proxy:3128" });
        for (definition, address, expected) in [
            (&bearer, "http://127.0.0.1:8188", None),
            (&bearer, "http://[::1]:8188", None),
            (&bearer, "http://localhost:8188", None),
            (&bearer, "https://gpu.example", None),
            (&bearer, "http://10.0.0.7:8188", Some("goes there unencrypted")),
            (&bearer, "http://localhost.example:8188", Some("goes there unencrypted")),
            (&proxied, "http://127.0.0.1:8188", Some("to its proxy unencrypted")),
            (&proxied, "http://gpu.example", Some("to its proxy unencrypted")),
            (&proxied, "https://gpu.example", None),
            (&bare_proxy, "http://gpu.example", None),
            (&json!({ "tls": { "insecure_skip_verify": true } }), "https://gpu.example", Some("is not judged")),
        ] {
            let options: RouteOptions = serde_json::from_value(definition.clone()).unwrap();
            let route = Route::build(&options, SystemClock::start(), &|_| None).unwrap();
            let told = warnings(&route, &address.parse().unwrap());
            assert_eq!(told.len(), usize::from(expected.is_some()), "{definition} {address}: {told:?}");
            assert!(expected.is_none_or(|part| told[0].contains(part)), "{told:?}");
        }
    }
}

//! Makes the remote control, and says by which doors its callers come in.

use super::ground::Ground;
use crate::api::{Door, Entrance};
use crate::egress::Rules;
use crate::intake::Intake;
use crate::pool::Pool;
use crate::relay::Relay;
use crate::remote::{Parts, PromptService, Remote};
use crate::settings::{EgressMode, EgressSettings, Settings};
use anyhow::Context;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// A port that is open, and what is behind it.
pub(super) struct Open {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) door: Door,
}

/// Opens the gateway's own port and those that the remote control has besides.
pub(super) fn open_doors(settings: &Settings) -> anyhow::Result<(Open, Vec<Open>)> {
    let (server, runner) = (&settings.server, &settings.runner);
    let own = open(settings, server.address, Entrance::Gateway)?;
    let remote = [(runner.address, Entrance::Remote), (runner.ws_address, Entrance::RemoteSocket)];
    let remote = remote.into_iter().filter_map(|(address, entrance)| Some(open(settings, address?, entrance)));
    Ok((own, remote.collect::<anyhow::Result<_>>()?))
}

/// Says whether callers need a key at any door; the gateway's own is at `bound`.
pub(super) fn require_keys(settings: &Settings, bound: SocketAddr) -> bool {
    let doors = [Some(bound), settings.runner.address, settings.runner.ws_address];
    doors.into_iter().flatten().any(|address| settings.access.require_keys(address))
}

fn open(settings: &Settings, address: SocketAddr, entrance: Entrance) -> anyhow::Result<Open> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    let loopback_only = address.ip().is_loopback();
    let door = Door { entrance, loopback_only, keys_required: settings.access.require_keys(address) };
    Ok(Open { listener, address, door })
}

impl Ground {
    /// Takes the workflow of the remote control into memory.
    pub(super) fn open_remote(&self, intake: &Arc<Intake>, pool: &Arc<Pool>, relay: &Relay) -> Arc<Remote> {
        let settings = &self.settings.runner;
        let workflow = settings.workflow.as_ref().unwrap_or(&self.settings.workflows.default);
        // The operator has set the address, so it may be in the house; what gives out credentials is called by nobody.
        let rules = EgressSettings { mode: EgressMode::Private, ..self.settings.egress.clone() };
        let guard = self.guard.by(Rules::new(&rules, true));
        let service = settings.prompt_url.clone();
        Remote::new(Parts {
            intake: Arc::clone(intake),
            store: Arc::clone(&self.store),
            pool: Arc::clone(pool),
            relay: relay.clone(),
            bodies: Arc::clone(&self.bodies),
            clock: Arc::clone(&self.clock),
            lifecycle: self.lifecycle.clone(),
            workflow: workflow.clone(),
            section: settings.section.clone(),
            service: service.map(|url| PromptService::new(url, settings.prompt_timeout, guard)),
        })
    }
}

//! A simulated ComfyUI on a real port: HTTP, WebSocket, a queue worked one prompt after another, real PNG files.
//!
//! It behaves like ComfyUI 0.3.64 as far as a client can see, and goes wrong on demand ([`Fault`]). It shares no code
//! with the gateway's own side of the wire, so that one is a test of the other.

mod classes;
mod coerce;
mod dice;
mod engine;
mod files;
mod frames;
mod graph;
mod http;
mod hub;
mod json;
mod json_reader;
mod labour;
mod landscape;
mod lettering;
mod mask;
mod mosaic;
mod nodes;
mod palette;
mod picture;
mod prompts;
mod routes;
mod run;
mod script;
mod server;
mod stored;
mod upload;
mod validate;
mod voice;
mod witness;
mod world;

pub use script::{Fault, Refusal, When};
pub use witness::{Moment, SimRun, Witness};

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use classes::Classes;
use world::World;

/// How long [`Sim::wait_for`] waits before it gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a simulated server is set up.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Where it listens; port 0 chooses a free one.
    pub addr: SocketAddr,
    /// How long a node works: a sampler this long per step, any other node this long at all.
    pub step: Duration,
    /// Samplers show a preview after each step.
    pub previews: bool,
    /// Images are not drawn but plain, and filled with noise up to at least this many bytes; 0 draws them.
    pub noise_image_bytes: usize,
    /// The model files that there are, for every kind of loader; `None` accepts every name.
    pub models: Option<Vec<String>>,
    /// More node classes, in the shape of an `/object_info` answer.
    pub classes: Option<String>,
    /// What `GET /orchestrator/metrics` answers, as the metrics agent does; `None` where it is not installed.
    pub agent: Option<String>,
    /// Hears of each prompt that is worked.
    pub witness: Option<Witness>,
}

/// A simulated server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Sim {
    addr: SocketAddr,
    world: Arc<World>,
}

/// An image that the simulator made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SimImage {
    /// The prompt.
    pub prompt: String,
    /// The node that saved, previewed or sent it.
    pub node: String,
    /// Its place in the batch.
    pub index: u32,
    /// The file, as `/view` or the socket delivers it.
    pub bytes: Bytes,
}

/// A request that the simulator was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SimRequest {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The body, if it was no longer than 64 KiB.
    pub body: Bytes,
}

impl SimRequest {
    /// Says whether it brought a graph.
    pub fn is_prompt(&self) -> bool {
        self.method == "POST" && self.path == "/prompt"
    }
}

/// Why a simulator did not start, or did not do what was waited for.
#[derive(Debug, Error)]
pub enum SimError {
    /// The address is taken or not ours.
    #[error("cannot listen on {addr}: {source}; choose another address")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// `SimOptions::classes` is not the JSON of an `/object_info` answer.
    #[error("the extra node classes are not JSON in the shape of /object_info; copy them from a server's answer")]
    Classes,
    /// What [`Sim::wait_for`] waited for did not happen.
    #[error("what was waited for did not happen within {} s", PATIENCE.as_secs())]
    TimedOut,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            step: Duration::ZERO,
            previews: true,
            noise_image_bytes: 0,
            models: None,
            classes: None,
            agent: None,
            witness: None,
        }
    }
}

impl Sim {
    /// Starts a server.
    pub async fn start(options: SimOptions) -> Result<Self, SimError> {
        let classes = Classes::load(options.classes.as_deref(), options.models.as_deref()).ok_or(SimError::Classes)?;
        let mut world = World::new(classes, options.step, options.previews, options.noise_image_bytes);
        world.witness = options.witness;
        let world = Arc::new(world);
        world.change(|state| state.agent = options.agent);
        let listen = |source| SimError::Listen { addr: options.addr, source };
        let addr = server::open(&world, options.addr).await.map_err(listen)?;
        Ok(Self { addr, world })
    }

    /// Returns the address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns its address as a base URL without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Ends every connection and waits until all of it has stopped.
    pub async fn stop(self) {
        self.world.lifecycle.end().await;
    }

    /// Arms a fault for its next occasion; faults without an occasion happen at once.
    pub fn inject(&self, fault: Fault) {
        self.inject_when(fault, When::Next);
    }

    /// Arms a fault.
    pub fn inject_when(&self, fault: Fault, when: When) {
        if let Fault::Restart { at: None, forget, down_for } = fault {
            self.world.restart(forget, down_for);
        } else if let Fault::RefuseConnections(down_for) = fault {
            self.world.refuse_connections(down_for);
        } else if fault == Fault::Stall {
            self.world.stall();
        } else {
            self.world.change(|state| state.script.arm(fault, when));
        }
    }

    /// Disarms every fault that has not struck yet.
    pub fn clear_faults(&self) {
        self.world.change(|state| state.script.clear());
    }

    /// Lets everything go on that hangs.
    pub fn release(&self) {
        self.world.release();
    }

    /// Lets the metrics agent answer something else from now on, or be gone.
    pub fn set_agent(&self, answer: Option<String>) {
        self.world.change(|state| state.agent = answer);
    }

    /// Deletes every output and temporary file, as somebody at the server's disk could.
    pub fn delete_files(&self) {
        self.world.change(|state| state.files.wipe_results());
    }

    /// Deletes every file of the input folder.
    pub fn delete_inputs(&self) {
        self.world.change(|state| state.files.wipe_inputs());
    }

    /// Returns the files of the input folder by their names, such as `folder/a.png`, in the order in which they came.
    pub fn inputs(&self) -> Vec<(String, Bytes)> {
        self.world.look(|state| state.files.inputs())
    }

    /// Returns how often each prompt was begun, over all restarts.
    pub fn executions(&self) -> BTreeMap<String, usize> {
        self.world.look(|state| state.executions.clone())
    }

    /// Returns the latest images in the order of their making, at most 1000.
    pub fn images(&self) -> Vec<SimImage> {
        self.world.look(|state| state.images.iter().cloned().collect())
    }

    /// Returns the latest requests in the order of their arrival, at most 1000.
    pub fn requests(&self) -> Vec<SimRequest> {
        self.world.look(|state| state.requests.iter().cloned().collect())
    }

    /// Returns how many `WebSocket`s are open.
    pub fn connections(&self) -> usize {
        self.world.look(|state| state.hub.open_sockets())
    }

    /// Returns how many prompts wait or run.
    pub fn queued(&self) -> usize {
        self.world.look(|state| state.engine.remaining())
    }

    /// Returns how many prompts and requests hang until they are released.
    pub fn hanging(&self) -> usize {
        self.world.look(|state| state.hanging)
    }

    /// Returns whether the history has an entry for a prompt.
    pub fn remembers(&self, prompt: &str) -> bool {
        self.world.look(|state| !state.engine.history_of(prompt).fields().is_empty())
    }

    /// Waits until a fact holds, at most 10 s.
    pub async fn wait_for(&self, mut fact: impl FnMut(&Self) -> bool) -> Result<(), SimError> {
        let mut changes = self.world.changes();
        let seen = async {
            while !fact(self) {
                if changes.changed().await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.map_err(|_| SimError::TimedOut)
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.world.lifecycle.stop().cancel();
    }
}

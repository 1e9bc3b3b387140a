//! comfygate: a webhook-delivery asynchronous generation gateway in front of ComfyUI.
//!
//! The rooms in the order in which a job passes them; `docs/ARCHITECTURE.md` has the picture.
//! [`api`] and [`intake`] take it in with the images that it works on ([`inputs`]), the [`store`] keeps it, [`dispatch`] gives it to a backend through [`comfy`], the
//! [`tracker`] follows it, [`media`] keeps its outputs, the [`notifier`] tells its caller with the signatures of
//! [`signing`], and [`clearing`] removes it when it is old; [`throttle`] says how much callers may ask for.
//!
//! [`app`] joins them, [`cli`] is the command line, [`runner`] runs a workflow without a server, [`local`] is a ComfyUI that
//! the gateway starts itself, [`dashboard`] the page that it shows in a browser, [`fsck`] checks a data folder, [`sim`] is a ComfyUI without models, [`demo`] all of it in one
//! process.
//!
//! The [`workflow`] catalogue stands on [`graph`]s and on the [`definitions`] of their nodes, which a [`check`] holds
//! against each other and an [`inventory`] keeps for each server; what somebody saved as a drawing is [`convert`]ed.
//! Beneath all lie the words of a [`job`], the guard of what goes out ([`egress`]),
//! [`settings`], [`telemetry`], [`clock`], [`lifecycle`], [`secret`], the
//! [`vault`] of callers' keys and the points of [`crash`].
//!
//! # As a library
//!
//! A [`Workflow`] is a graph in ComfyUI's API format that is being edited; a [`PromptBuilder`] gives its inputs and outputs
//! names of their own. Both need no server and no gateway: they read JSON and end in what goes to `POST /prompt`.
//!
//! ```
//! use comfygate::Workflow;
//!
//! # let text = include_str!("../templates/starter.json");
//! # // let text = std::fs::read_to_string("workflow.json")?;
//! let mut workflow = Workflow::from_json(text)?;
//! workflow
//!     .set("6.text", "a lighthouse in the fog")?                 // a path: node and input
//!     .set_by_title("Sampler", "steps", 30)?                     // the title that ComfyUI shows
//!     .inputs("5", [("width", 768), ("height", 512)])?           // several inputs of a node
//!     .set("3.seed", -1)?                                        // to be drawn
//!     .output("images:10")?;                                     // a name for what node 10 makes
//! let seeds = workflow.draw_seeds(rand::random).clone();
//! let built = workflow.build()?;
//!
//! println!("node 3 has the seed {}", seeds["3"]);
//! println!("{}", serde_json::json!({ "prompt": built.graph }));
//! # Ok::<_, comfygate::graph::PromptError>(())
//! ```

pub mod access;
pub mod api;
pub mod app;
pub mod check;
pub mod clearing;
pub mod cli;
pub mod clock;
pub mod comfy;
pub mod convert;
pub mod crash;
pub mod dashboard;
pub mod definitions;
pub mod demo;
pub mod dispatch;
pub mod egress;
pub mod fsck;
pub mod graph;
pub mod health;
pub mod hex;
pub mod inputs;
pub mod intake;
pub mod inventory;
pub mod job;
pub mod lenient;
pub mod lifecycle;
pub mod local;
pub mod media;
pub mod metrics;
pub mod names;
pub mod notifier;
pub mod pool;
pub mod relay;
pub mod remote;
pub mod runner;
pub mod secret;
pub mod settings;
pub mod signing;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod throttle;
pub mod tracker;
pub mod vault;
pub mod vitals;
pub mod workflow;

pub use graph::{PromptBuilder, Workflow};

//! comfygate: a webhook-delivery asynchronous generation gateway in front of ComfyUI.
//!
//! The rooms in the order in which a job passes them; `docs/ARCHITECTURE.md` has the picture.
//! [`api`] and [`intake`] take it in, with the images that it works on ([`inputs`]), the [`store`] keeps it, [`dispatch`] gives it to a backend through [`comfy`], the
//! [`tracker`] follows it, [`media`] keeps its outputs, the [`notifier`] tells its caller with the signatures of [`signing`], and [`clearing`]
//! removes it when it is old; [`throttle`] says how much callers may ask for. [`app`] joins them, [`cli`]
//! is the command line, [`fsck`] checks a data folder, [`sim`] a ComfyUI without models, [`demo`] all of it in one process. Beneath them lie the words
//! of a [`job`], the [`workflow`] catalogue over [`graph`]s and the [`definitions`] of their nodes, the guard of what goes out ([`egress`]), [`settings`], [`telemetry`], [`clock`], [`lifecycle`], [`secret`] and the
//! points of [`crash`].

pub mod access;
pub mod api;
pub mod app;
pub mod clearing;
pub mod cli;
pub mod clock;
pub mod comfy;
pub mod crash;
pub mod definitions;
pub mod demo;
pub mod dispatch;
pub mod egress;
pub mod fsck;
pub mod graph;
pub mod inputs;
pub mod intake;
pub mod job;
pub mod lenient;
pub mod lifecycle;
pub mod media;
pub mod names;
pub mod notifier;
pub mod secret;
pub mod settings;
pub mod signing;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod throttle;
pub mod tracker;
pub mod workflow;

//! Runs of workflows without a gateway in front: from a file and parameters by human names to outputs in a folder.
//!
//! A [`Subject`] is loaded, a [`Plan`] makes [`Order`]s of it, an [`Executor`] runs them, [`run_all`] sees to it that all are
//! run, saved and told. What runs them on a ComfyUI are the gateway's own stations over a folder that is gone afterwards.

mod checking;
mod comfy;
mod drive;
mod error;
mod executor;
mod frames;
mod human;
mod load;
mod mailbox;
mod making;
mod order;
mod plan;
mod prompts;
mod saving;
mod scratch;
mod value;

pub use checking::check_order;
pub use comfy::ComfyExecutor;
pub use drive::{Ended, Options, Saved, Summary, Told, What, eta, run_all};
pub use error::{
    ConnectorError, ExecutionError, Fault, OutputError, RunError, ServerNotReady, SubmissionError, ValidationError,
};
pub use executor::{Artifact, Context, End, Executor, Executors, Maker, News, Ticket};
pub use frames::FrameRange;
pub use load::{Loader, find_image, params_of};
pub use order::Order;
pub use plan::{Found, Plan, Subject, Wishes};
pub use saving::Folder;
pub use value::Given;

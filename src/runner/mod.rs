//! Runs of workflows without a gateway in front: from a file and parameters by human names to outputs in a folder.
//!
//! A [`Subject`] is loaded, a [`Plan`] makes [`Order`]s of it, [`rehearse`] checks them, an [`Executor`] runs them, [`run_all`]
//! sees to it that all are run, saved and told. What runs them on a ComfyUI are the gateway's own stations over a folder that is gone afterwards.

mod answers;
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
mod own;
mod placed;
mod plan;
mod prompts;
mod rehearsal;
mod saving;
mod scratch;
mod told;
mod value;

pub use checking::check_order;
pub use comfy::ComfyExecutor;
pub use drive::{Options, run_all};
pub use error::{
    ConnectorError, ExecutionError, Fault, OutputError, RunError, ServerNotReady, SubmissionError, UnfitError,
    ValidationError,
};
pub use executor::{Artifact, Context, End, Executor, Executors, Known, Maker, News, Ticket};
pub use frames::FrameRange;
pub use load::{Loaded, Loader, find_image, params_of};
pub use order::Order;
pub use plan::{Found, Plan, Subject, Wishes};
pub use rehearsal::rehearse;
pub use saving::Folder;
pub use told::{Ended, Saved, Summary, Told, What, eta};
pub use value::Given;

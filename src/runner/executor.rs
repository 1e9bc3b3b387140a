//! What runs orders: the interface, and a table of executors by name. Whoever has a render farm registers an executor of
//! their own; the ones for ComfyUI are in `comfy.rs`.

use super::RunError;
use super::order::Order;
use crate::definitions::Definitions;
use crate::job::{Advance, Output};
use crate::names;
use crate::settings::Settings;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Runs orders somewhere. The calls come in this order: `prepare` once, then for each order `submit`, `poll` until its last
/// news, `collect`; `cancel` at any time between; `close` once at the end.
///
/// ```
/// use comfygate::runner::{Artifact, End, Executor, News, Order, RunError, Ticket};
///
/// /// Draws nothing and says that all is well.
/// struct Farm;
///
/// #[async_trait::async_trait]
/// impl Executor for Farm {
///     async fn submit(&self, order: &Order) -> Result<Ticket, RunError> {
///         Ok(Ticket::new(format!("farm-{}", order.number)))
///     }
///     async fn poll(&self, _: &Ticket) -> Result<Vec<News>, RunError> {
///         Ok(vec![News::Started, News::Ended(End::Succeeded)])
///     }
///     async fn cancel(&self, _: &Ticket) -> Result<(), RunError> {
///         Ok(())
///     }
///     async fn collect(&self, _: &Ticket) -> Result<Vec<Artifact>, RunError> {
///         Ok(Vec::new())
///     }
/// }
///
/// let mut executors = comfygate::runner::Executors::usual();
/// executors.register("farm", |_| Box::pin(async { Ok(Box::new(Farm) as Box<dyn Executor>) }));
/// assert!(executors.names().any(|name| name == "farm"));
/// ```
#[async_trait]
pub trait Executor: Send + Sync {
    /// Makes ready, and waits until orders can be taken.
    async fn prepare(&self) -> Result<(), RunError> {
        Ok(())
    }

    /// Returns the node classes that are known where orders run, for types and checks before anything is sent; none where
    /// nobody can tell. It is asked once.
    async fn known(&self) -> Result<Option<Known>, RunError> {
        Ok(None)
    }

    /// Returns how many orders may be given to it before the first has ended.
    fn at_once(&self) -> usize {
        4
    }

    /// Takes an order.
    async fn submit(&self, order: &Order) -> Result<Ticket, RunError>;

    /// Returns what has happened since it was asked last, in its order; waits until there is something, or for a while. The
    /// last news is [`News::Ended`]. An error is an end too; the order is then cancelled, in case that its server comes back.
    async fn poll(&self, ticket: &Ticket) -> Result<Vec<News>, RunError>;

    /// Stops an order, and nobody else's. Its end is told by `poll`.
    async fn cancel(&self, ticket: &Ticket) -> Result<(), RunError>;

    /// Returns what an order that has ended produced, in the order of the result; of a failed one what there is.
    async fn collect(&self, ticket: &Ticket) -> Result<Vec<Artifact>, RunError>;

    /// Lets go of everything. Orders that were taken and have not ended are stopped, as far as that can be done in a few
    /// seconds.
    async fn close(&self) {}
}

/// What is known of the nodes where orders run.
#[derive(Clone, PartialEq, Debug)]
pub struct Known {
    /// Their classes.
    pub definitions: Definitions,
    /// Whose they are, such as the server's address.
    pub origin: String,
}

/// An order that was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The executor's name for it.
    pub id: String,
    /// The seeds that the executor drew, by the parameter's name.
    pub seeds: BTreeMap<String, u64>,
}

impl Ticket {
    /// Makes a ticket of an order without seeds of the executor's own.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), seeds: BTreeMap::new() }
    }
}

/// What happened to an order.
#[derive(Clone, PartialEq, Debug)]
pub enum News {
    /// A server has it in its queue, under this name.
    Submitted {
        /// The server's name for it, ComfyUI's prompt id.
        prompt: String,
    },
    /// It has begun.
    Started,
    /// These nodes are not run again: their results are known.
    Cached(Vec<String>),
    /// It is this far.
    Progress(Advance),
    /// An output is there, and can be collected at the end.
    Output(Output),
    /// It is tried again.
    Again {
        /// Why.
        reason: String,
    },
    /// It has ended.
    Ended(End),
}

/// How an order ended.
#[derive(Clone, PartialEq, Debug)]
pub enum End {
    /// With all its outputs.
    Succeeded,
    /// With an error.
    Failed(RunError),
    /// By the wish of whoever gave it.
    Cancelled,
}

/// One thing that an order produced.
#[derive(Clone, PartialEq, Debug)]
pub struct Artifact {
    /// The node that made it, its place, its type, its size and its SHA-256.
    pub output: Output,
    /// A file with the bytes, which stays until the executor is closed.
    pub file: PathBuf,
}

/// Where and how orders shall run.
#[derive(Clone)]
pub struct Context {
    /// The ComfyUI servers, the workflow folders, the limits.
    pub settings: Settings,
    /// How long a server may take to be ready.
    pub patience: Duration,
    /// Gives up what is being made ready.
    pub stop: CancellationToken,
    /// Is told how far that is.
    pub tell: Arc<dyn Fn(&str) + Send + Sync>,
}

/// Makes an executor.
pub type Maker = Box<dyn Fn(Context) -> BoxFuture<'static, Result<Box<dyn Executor>, RunError>> + Send + Sync>;

/// The executors that there are, by name.
pub struct Executors {
    makers: BTreeMap<String, Maker>,
}

impl Executors {
    /// Makes an empty table.
    pub fn none() -> Self {
        Self { makers: BTreeMap::new() }
    }

    /// Makes the table of those that come with the library: `remote`, the ComfyUI servers of the settings, and `local`, one that
    /// is started for the runs and ended after them.
    pub fn usual() -> Self {
        let mut executors = Self::none();
        executors.register("remote", |context| {
            Box::pin(async move {
                let executor = super::ComfyExecutor::start(context).await?;
                Ok(Box::new(executor) as Box<dyn Executor>)
            })
        });
        executors.register("local", |context| {
            Box::pin(async move {
                let executor = super::ComfyExecutor::start_local(context).await?;
                Ok(Box::new(executor) as Box<dyn Executor>)
            })
        });
        executors
    }

    /// Adds an executor, or puts it in the place of the one of that name.
    pub fn register(
        &mut self,
        name: impl Into<String>,
        maker: impl Fn(Context) -> BoxFuture<'static, Result<Box<dyn Executor>, RunError>> + Send + Sync + 'static,
    ) {
        self.makers.insert(name.into(), Box::new(maker));
    }

    /// Returns the names.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.makers.keys().map(String::as_str)
    }

    /// Makes the executor of this name.
    pub async fn make(&self, name: &str, context: Context) -> Result<Box<dyn Executor>, RunError> {
        if let Some(maker) = self.makers.get(name) {
            return maker(context).await;
        }
        let message = format!("there is no executor `{}`{}", names::shown(name), names::hint(name, self.names()));
        Err(super::ValidationError::one("unknown_executor", name, message).into())
    }
}

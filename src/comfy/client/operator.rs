//! What an operator asks of a server and tells it, besides what jobs need. Answers are texts as the server wrote them, bounded in
//! size; what is in them is judged by whoever shows them.

use super::{Client, ClientError};
use serde_json::json;

/// The largest of them that is read; a history has a whole graph for each prompt.
const LIST: u64 = 8 << 20;
const HISTORY: u64 = 32 << 20;

/// A question that is passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question<'a> {
    /// Version, memory and devices.
    SystemStats,
    /// What the server can do.
    Features,
    /// The folders of models.
    ModelFolders,
    /// The files in one of them.
    Models(&'a str),
    /// The names of the embeddings.
    Embeddings,
    /// The definition of a node class.
    Node(&'a str),
    /// The last prompts that ended.
    History {
        /// How many at most.
        limit: u64,
        /// From which on, counted from the oldest; none for the newest.
        offset: Option<u64>,
    },
    /// One prompt that ended.
    HistoryOf(&'a str),
    /// The last lines that the server wrote.
    Logs,
}

impl<'a> Question<'a> {
    /// Returns the path, without a slash before it, in its segments.
    pub fn path(self) -> Vec<&'a str> {
        match self {
            Self::SystemStats => vec!["system_stats"],
            Self::Features => vec!["features"],
            Self::ModelFolders => vec!["models"],
            Self::Models(folder) => vec!["models", folder],
            Self::Embeddings => vec!["embeddings"],
            Self::Node(class) => vec!["object_info", class],
            Self::History { .. } => vec!["history"],
            Self::HistoryOf(prompt) => vec!["history", prompt],
            Self::Logs => vec!["internal", "logs", "raw"],
        }
    }

    fn query(self) -> Vec<(&'static str, u64)> {
        match self {
            Self::History { limit, offset } => {
                std::iter::once(("max_items", limit)).chain(offset.map(|offset| ("offset", offset))).collect()
            }
            Self::SystemStats
            | Self::Features
            | Self::ModelFolders
            | Self::Models(_)
            | Self::Embeddings
            | Self::Node(_)
            | Self::HistoryOf(_)
            | Self::Logs => Vec::new(),
        }
    }

    fn limit(self) -> u64 {
        match self {
            Self::History { .. } | Self::HistoryOf(_) => HISTORY,
            Self::SystemStats
            | Self::Features
            | Self::ModelFolders
            | Self::Models(_)
            | Self::Embeddings
            | Self::Node(_)
            | Self::Logs => LIST,
        }
    }
}

impl Client {
    /// Asks, and returns the answer as it is. [`ClientError::NotFound`] where the server does not know the path.
    pub async fn ask(&self, question: Question<'_>) -> Result<String, ClientError> {
        self.read_part(&question.path(), &question.query(), question.limit()).await
    }

    /// Lets the server unload its models and empty its caches, once it runs nothing; each only where it is wished.
    pub async fn free(&self, unload_models: bool, free_memory: bool) -> Result<(), ClientError> {
        self.tell("free", &json!({ "unload_models": unload_models, "free_memory": free_memory })).await
    }
}

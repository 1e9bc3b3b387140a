//! What happens to backends, for those who log, count and show it.

use crate::clock::Timestamp;
use crate::job::StructureHash;
use std::fmt;
use std::sync::Arc;

/// What happened to a backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BackendEvent {
    /// It was taken in.
    Added,
    /// It was let go.
    Removed,
    /// It gets no more jobs.
    Draining,
    /// It gets jobs again.
    Resumed,
    /// Its socket stands.
    Connected,
    /// Its socket is gone.
    Lost {
        /// Why.
        reason: String,
    },
    /// It is not given what it would fail, for a while.
    Blocked {
        /// Only graphs of this structure; none for all.
        graph: Option<StructureHash>,
        /// Why.
        reason: String,
        /// When it is tried again.
        until: Timestamp,
    },
    /// It is given it again.
    Unblocked {
        /// Only graphs of this structure; none for all.
        graph: Option<StructureHash>,
    },
}

impl BackendEvent {
    /// Returns the word for it in logs and events.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Added => "backend_added",
            Self::Removed => "backend_removed",
            Self::Draining => "backend_draining",
            Self::Resumed => "backend_resumed",
            Self::Connected => "backend_connected",
            Self::Lost { .. } => "backend_lost",
            Self::Blocked { .. } => "backend_blocked",
            Self::Unblocked { .. } => "backend_unblocked",
        }
    }
}

/// Something that happened, and to which backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackendNews {
    /// The backend's name.
    pub backend: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: BackendEvent,
}

/// Who hears of it. A listener must not wait.
#[derive(Clone)]
pub struct BackendTap(Arc<dyn Fn(&BackendNews) + Send + Sync>);

impl BackendTap {
    /// Lets `listener` hear of everything.
    pub fn new(listener: impl Fn(&BackendNews) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Tells what happened.
    pub(super) fn tell(&self, news: &BackendNews) {
        (self.0)(news);
    }
}

impl fmt::Debug for BackendTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendTap").finish_non_exhaustive()
    }
}

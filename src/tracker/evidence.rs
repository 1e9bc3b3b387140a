//! What a backend's queue and history say of a prompt, asked in that order.
//!
//! The order matters: a prompt that ends between the two questions is found by the second one. Asked the other way
//! round it would be in neither.

use crate::comfy::{HistoryEntry, Queue};
use crate::job::PromptId;

/// What is known of a prompt after a look.
#[derive(Clone, PartialEq, Debug)]
pub enum Evidence {
    /// It waits in the queue; `others_first`: something else runs or is before it.
    Pending { others_first: bool },
    /// It runs.
    Running,
    /// It ended.
    Ended(HistoryEntry),
    /// It is in neither: deleted, evicted, or the server restarted.
    Absent,
    /// The backend refuses connections.
    Unreachable,
    /// The backend does not answer.
    Hung,
}

/// Says what the queue alone proves; nothing where only the history can tell.
pub(super) fn from_queue(queue: &Queue, prompt: &PromptId) -> Option<Evidence> {
    if queue.running.iter().any(|id| id == prompt.as_str()) {
        return Some(Evidence::Running);
    }
    let place = queue.pending.iter().position(|id| id == prompt.as_str())?;
    Some(Evidence::Pending { others_first: place > 0 || !queue.running.is_empty() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_says_running_pending_or_nothing() {
        let queue = Queue { running: vec!["a".into()], pending: vec!["b".into(), "c".into()] };
        let idle = Queue { running: vec![], pending: vec!["b".into()] };
        let ask = |queue: &Queue, id: &str| from_queue(queue, &PromptId(id.into()));
        assert_eq!(ask(&queue, "a"), Some(Evidence::Running));
        assert_eq!(ask(&queue, "b"), Some(Evidence::Pending { others_first: true }));
        assert_eq!(ask(&idle, "b"), Some(Evidence::Pending { others_first: false }));
        assert_eq!(ask(&queue, "d"), None);
    }
}

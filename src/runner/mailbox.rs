//! What happened to one order and was not told yet. Whoever puts something in never waits; of progress only the newest
//! stays, so a slow reader costs no memory.

use super::executor::News;
use crate::job::Advance;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// How much may wait. What comes more often than that is progress, of which only the newest counts.
const MOST: usize = 4096;

/// The news of one order.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<News>,
    /// The progress that was put in last, read or not.
    progress: Option<Advance>,
}

impl Mailbox {
    /// Puts news in. Progress takes the place of progress of the same node that nobody has read, and is dropped where it says
    /// nothing new.
    pub(super) fn put(&self, news: News) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let News::Progress(advance) = &news {
                if state.progress.as_ref() == Some(advance) {
                    return;
                }
                state.progress = Some(advance.clone());
            }
            if state.waiting.back().is_some_and(|newest| replaces(&news, newest)) {
                state.waiting.pop_back();
            }
            if state.waiting.len() < MOST {
                state.waiting.push_back(news);
            }
        }
        self.bell.notify_one();
    }

    /// Takes out all that is there.
    pub(super) fn take(&self) -> Vec<News> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).waiting.drain(..).collect()
    }

    /// Wakes the reader.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Ends when something was put in since the last time.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }
}

fn replaces(news: &News, older: &News) -> bool {
    let (News::Progress(news), News::Progress(older)) = (news, older) else { return false };
    news.node.as_ref().map(|node| &node.id) == older.node.as_ref().map(|node| &node.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::NodeAdvance;

    fn at(node: &str, value: f64) -> News {
        let node = Some(NodeAdvance { id: node.to_owned(), bar: Some((value, 20.0)) });
        News::Progress(Advance { fraction: value / 20.0, node })
    }

    #[test]
    fn of_progress_that_nobody_read_only_the_newest_of_each_node_stays() {
        let mailbox = Mailbox::default();
        for news in [News::Started, at("3", 1.0), at("3", 2.0), at("3", 3.0), at("8", 4.0), at("8", 4.0)] {
            mailbox.put(news);
        }
        assert_eq!(mailbox.take(), [News::Started, at("3", 3.0), at("8", 4.0)]);
        mailbox.put(at("8", 4.0));
        assert_eq!(mailbox.take(), [], "it was told already");
    }

    #[test]
    fn what_nobody_reads_has_an_end() {
        let mailbox = Mailbox::default();
        for number in 0..2 * MOST {
            mailbox.put(at(&number.to_string(), 1.0));
        }
        assert_eq!(mailbox.take().len(), MOST);
    }
}

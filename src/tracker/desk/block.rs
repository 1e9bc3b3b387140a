//! Blocks: a backend is left alone, and whoever listens hears when that begins and when it ends.

use super::{Desk, Rest, State};
use crate::clock::Timestamp;

/// The backend is given no prompts for a while, or only one now and then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Why.
    pub reason: String,
    /// When it is tried again; none where it must show by itself that it is well.
    pub until: Option<Timestamp>,
}

/// Who hears of blocks that begin, and of those that end (none). A listener must not wait.
pub(super) type BlockListener = Box<dyn Fn(Option<Block>) + Send + Sync>;

impl State {
    fn is_blocked(&self) -> bool {
        self.rest.is_some() || self.idle.is_some() || !self.stuck.is_empty()
    }

    fn block(&self) -> Option<Block> {
        let of = |rest: &Rest| Block { reason: rest.reason.clone(), until: Some(rest.until) };
        let stuck = || {
            Some(Block {
                reason: format!("accepts prompts and runs none: {} was stopped and still runs", self.stuck.first()?),
                until: None,
            })
        };
        self.rest.as_ref().map(of).or_else(stuck).or_else(|| self.idle.as_ref().map(of))
    }
}

impl Desk {
    /// Lets `listener` hear of blocks of this backend, and of one that there is already. Returns false where somebody
    /// hears of them; then nothing is changed.
    pub fn on_block(&self, listener: impl Fn(Option<Block>) + Send + Sync + 'static) -> bool {
        let is_first = self.on_block.set(Box::new(listener)).is_ok();
        let block = self.lock().block();
        if let (true, Some(block), Some(listener)) = (is_first, block, self.on_block.get()) {
            listener(Some(block));
        }
        is_first
    }

    /// Changes what is known, and tells of a block that begins or ends with it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let was_blocked = state.is_blocked();
        let changed = change(&mut state);
        let news = (state.is_blocked() != was_blocked).then(|| state.block());
        drop(state);
        if let (Some(news), Some(listener)) = (news, self.on_block.get()) {
            listener(news);
        }
        changed
    }
}

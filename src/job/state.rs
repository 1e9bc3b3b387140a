//! The states of a job, which moves are legal, and the ways in which it can end.

use super::{Failure, FailureCode, Output};

/// How far a job is. Final states never change: the first end wins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum JobState {
    /// Accepted and waiting for a backend.
    Queued,
    /// Meant for, or waiting on, a backend.
    Submitted,
    /// The backend executes it, or its outputs are being collected.
    Running,
    /// Ended with its outputs.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended because the caller asked for it.
    Cancelled,
}

impl JobState {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Submitted, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Says whether nothing can follow.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Submitted | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }

    /// Returns the word used in answers, filters and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Submitted => "submitted",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// How a job ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// With these outputs, in the order in which the webhook lists them.
    Succeeded(Vec<Output>),
    /// With an error; outputs finished before it are kept.
    Failed(Failure, Vec<Output>),
    /// By the caller's wish.
    Cancelled,
}

impl Outcome {
    /// Returns the final state that this outcome leads to.
    pub fn state(&self) -> JobState {
        match self {
            Self::Succeeded(_) => JobState::Succeeded,
            Self::Failed(..) => JobState::Failed,
            Self::Cancelled => JobState::Cancelled,
        }
    }

    /// Returns why it failed; none where it did not.
    pub fn code(&self) -> Option<FailureCode> {
        match self {
            Self::Failed(failure, _) => Some(failure.code),
            Self::Succeeded(_) | Self::Cancelled => None,
        }
    }

    /// Returns the outputs that are kept.
    pub fn outputs(&self) -> &[Output] {
        match self {
            Self::Succeeded(outputs) | Self::Failed(_, outputs) => outputs,
            Self::Cancelled => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_reads_back_from_its_word() {
        for state in JobState::ALL {
            assert_eq!(JobState::parse(state.as_str()), Some(state));
        }
        assert_eq!(JobState::parse("done"), None);
    }
}

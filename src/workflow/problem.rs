//! What is wrong with a workflow's files, said so that a person can mend it: file, line, node, input, reason.

use std::fmt;

/// One thing that is wrong with one file of a workflow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The file, as the operator knows it.
    pub file: String,
    /// The line in it, from 1, where one is known.
    pub line: Option<usize>,
    /// The node that it is about.
    pub node: Option<String>,
    /// The input of that node.
    pub input: Option<String>,
    /// What is wrong and how to mend it, in one line.
    pub reason: String,
    /// What it waits for, where it is perhaps none once a backend has told its node definitions.
    pub waits: Option<Waits>,
}

/// What the node definitions of a backend do for a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    /// Its template is converted with them.
    Conversion,
    /// They tell the type of a parameter, where none is written.
    Types,
}

impl Problem {
    /// Makes a problem of a whole file.
    pub fn of_file(file: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, node: None, input: None, reason: reason.into(), waits: None }
    }

    /// Returns the problem with what it waits for.
    #[must_use]
    pub(super) fn waiting(mut self, waits: Option<Waits>) -> Self {
        self.waits = waits;
        self
    }

    /// Returns the problem with the line that it stands on.
    #[must_use]
    pub fn at(mut self, line: Option<usize>) -> Self {
        self.line = line;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.reason),
            None => write!(f, "{}: {}", self.file, self.reason),
        }
    }
}

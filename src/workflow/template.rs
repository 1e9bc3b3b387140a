//! Reads the template of a pair: its graph, and where in the file its nodes stand.

use super::pair::MAX_TEMPLATE;
use super::places::{Duplicate, Places};
use super::problem::Problem;
use crate::definitions::Definitions;
use crate::graph::{Graph, GraphError};
use crate::names::shown;

/// The most problems of one file that are told.
const MAX_PROBLEMS: usize = 20;

/// A template that was read.
#[derive(Debug)]
pub(super) struct Read {
    /// The graph, as ComfyUI executes it.
    pub(super) graph: Graph,
    /// Where its nodes and inputs stand; empty for a file in UI format, whose lines are not those of the graph.
    pub(super) places: Places,
    /// The graph as text where the file is not that text.
    pub(super) converted: Option<String>,
    /// What is in the file and is not executed.
    pub(super) left_out: Vec<LeftOut>,
    /// What was odd and could be read.
    pub(super) warnings: Vec<String>,
}

/// A node that people see in the editor and that is not in the graph: muted, bypassed, or a note.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LeftOut {
    /// Its id.
    pub(super) id: String,
    /// Its title.
    pub(super) title: Option<String>,
    /// Its class.
    pub(super) class: String,
}

/// Reads the text of a template, or says what is wrong with it.
pub(super) fn read(text: &str, file: &str, _definitions: &Definitions) -> Result<Read, Vec<Problem>> {
    if text.len() > MAX_TEMPLATE {
        let reason = format!("the file has {} bytes, at most {MAX_TEMPLATE} are read", text.len());
        return Err(vec![Problem::of_file(file, reason)]);
    }
    if text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}').is_empty() {
        return Err(vec![Problem::of_file(file, "the file is empty; it must hold a graph")]);
    }
    let graph = Graph::parse(text);
    if let Err(error @ GraphError::NotJson { .. }) = &graph {
        return Err(vec![Problem::of_file(file, error.to_string()).at(error.line())]);
    }
    let places = Places::find(text.trim_start_matches('\u{feff}')).map_err(|twice| {
        twice.into_iter().take(MAX_PROBLEMS).map(|twice| written_twice(file, &twice)).collect::<Vec<_>>()
    })?;
    match graph {
        Ok(graph) => Ok(Read { graph, places, converted: None, left_out: Vec::new(), warnings: Vec::new() }),
        Err(error) => {
            let node = error.node().map(str::to_owned);
            let line = node.as_deref().and_then(|node| places.node(node));
            Err(vec![Problem { node, ..Problem::of_file(file, error.to_string()).at(line) }])
        }
    }
}

fn written_twice(file: &str, twice: &Duplicate) -> Problem {
    let path: Vec<String> = twice.path.iter().map(|key| shown(key)).collect();
    let reason = format!("`{}` is written twice, first on line {}: keep one", path.join("."), twice.first_line);
    Problem { node: twice.path.first().cloned(), ..Problem::of_file(file, reason).at(Some(twice.line)) }
}

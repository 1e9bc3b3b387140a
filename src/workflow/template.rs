//! Reads the template of a pair: its graph, and where in the file its nodes stand. One in UI format is converted, where the
//! nodes of a backend are known.

use super::pair::MAX_TEMPLATE;
use super::places::{Duplicate, Places};
use super::problem::{Problem, Waits};
use crate::convert::{Converted, Format, Saved};
use crate::definitions::Definitions;
use crate::graph::{Graph, GraphError};
use crate::lenient::unmarked;
use crate::names::shown;
use serde_json::Value;

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

/// A node that people see in the editor and that is not in the graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LeftOut {
    /// Its id.
    pub(super) id: String,
    /// Its title.
    pub(super) title: Option<String>,
    /// Its class.
    pub(super) class: String,
    /// The nodes that are executed in its place, where it is a subgraph.
    pub(super) parts: Vec<String>,
}

/// Reads the text of a template, or says what is wrong with it.
pub(super) fn read(text: &str, file: &str, definitions: &Definitions) -> Result<Read, Vec<Problem>> {
    if text.len() > MAX_TEMPLATE {
        let reason = format!("the file has {} bytes, at most {MAX_TEMPLATE} are read", text.len());
        return Err(vec![Problem::of_file(file, reason)]);
    }
    if text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}').is_empty() {
        return Err(vec![Problem::of_file(file, "the file is empty; it must hold a graph")]);
    }
    let graph = match crate::convert::read(text) {
        Ok(Format::Saved(saved)) => return converted(&saved, file, definitions).map_err(|problem| vec![problem]),
        Err(error @ GraphError::NotJson { .. }) => {
            return Err(vec![Problem::of_file(file, error.to_string()).at(error.line())]);
        }
        Ok(Format::Executed(graph)) => Ok(graph),
        Err(error) => Err(error),
    };
    let places = places(text, file)?;
    match graph {
        Ok(graph) => Ok(Read { graph, places, converted: None, left_out: Vec::new(), warnings: Vec::new() }),
        Err(error) => {
            let node = error.node().map(str::to_owned);
            let line = node.as_deref().and_then(|node| places.node(node));
            Err(vec![Problem { node, ..Problem::of_file(file, error.to_string()).at(line) }])
        }
    }
}

/// Says what is written twice in the text of a graph, of which readers would silently keep the last.
pub fn duplicates(text: &str, file: &str) -> Vec<Problem> {
    places(text, file).err().unwrap_or_default()
}

/// Says what is written twice first in a member of an object, which is a graph; the text must be valid JSON.
pub fn duplicate_within(member: &str, text: &str) -> Option<String> {
    let all = Places::find(text).err()?;
    all.iter().find(|twice| twice.path.first().is_some_and(|key| key == member)).map(told_twice)
}

fn places(text: &str, file: &str) -> Result<Places, Vec<Problem>> {
    let twice =
        |twice: Vec<Duplicate>| twice.iter().take(MAX_PROBLEMS).map(|twice| written_twice(file, twice)).collect();
    Places::find(unmarked(text)).map_err(twice)
}

fn converted(saved: &Saved, file: &str, definitions: &Definitions) -> Result<Read, Problem> {
    if definitions.is_empty() {
        let reason = "this is a workflow as ComfyUI saves it (UI format): it waits for the node definitions of a backend, with which \
                      it is converted; a file of Workflow > Export (API) needs none";
        return Err(Problem::of_file(file, reason).waiting(Some(Waits::Conversion)));
    }
    let Converted { graph, warnings } = saved.convert(definitions).map_err(|error| {
        let node = error.node().map(str::to_owned);
        Problem { node, ..Problem::of_file(file, error.to_string()) }
    })?;
    // Not through a `Value`, which would put the nodes in another order.
    let text = serde_json::to_string(&graph).map_err(|error| Problem::of_file(file, error.to_string()))?;
    // What is stored with a job must be as good as a file that was exported.
    if graph.nodes().next().is_none() {
        let reason = "nothing in this workflow is executed: all its nodes are muted, bypassed or notes";
        return Err(Problem::of_file(file, reason));
    }
    if text.len() > MAX_TEMPLATE {
        let reason = format!("what is executed of it has {} bytes, at most {MAX_TEMPLATE} are taken", text.len());
        return Err(Problem::of_file(file, reason));
    }
    let left_out = left_out(saved.as_value(), &graph);
    Ok(Read { graph, places: Places::default(), converted: Some(text), left_out, warnings })
}

/// Lists what stands in the file under a name of its own and is not in the graph under it.
fn left_out(saved: &Value, graph: &Graph) -> Vec<LeftOut> {
    let text = |node: &Value, name| node.get(name).and_then(Value::as_str).map(str::to_owned);
    let one = |node: &Value| {
        let id = node.get("id")?;
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let (title, class) = (text(node, "title"), text(node, "type").unwrap_or_default());
        let inside = format!("{id}:");
        let parts = graph.nodes().filter(|(other, _)| other.starts_with(&inside)).map(|(other, _)| other.to_owned());
        graph.node(&id).is_none().then(|| LeftOut { parts: parts.collect(), id, title, class })
    };
    saved.get("nodes").and_then(Value::as_array).into_iter().flatten().filter_map(one).collect()
}

fn written_twice(file: &str, twice: &Duplicate) -> Problem {
    Problem { node: twice.path.first().cloned(), ..Problem::of_file(file, told_twice(twice)).at(Some(twice.line)) }
}

fn told_twice(twice: &Duplicate) -> String {
    let path: Vec<String> = twice.path.iter().map(|key| shown(key)).collect();
    format!("`{}` is written twice, first on line {}: keep one", path.join("."), twice.first_line)
}

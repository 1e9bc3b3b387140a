//! A graph held against the node definitions of a server, before anything is sent to it: everything that is wrong, at
//! once, in ComfyUI's own words, with the nearest thing that would be right. Calls nobody, and changes no graph.
//!
//! What is checked and what is accepted follows `POST /prompt` of ComfyUI 0.3.64. Some things only the server knows, such
//! as what a class's own `VALIDATE_INPUTS` says or which files lie in its input folder: where the definitions do not tell,
//! nothing is said, or a warning.

mod class;
mod link;
mod model;
mod need;
mod node;
mod problem;
mod value;

pub use problem::{Kind, Problem, Severity};

use crate::definitions::Definitions;
use crate::graph::Graph;
use need::{Need, Standing};
use problem::Problems;

/// Returns all that is wrong with a graph, and all that is strange, in the order of its nodes; what is wrong with the whole
/// comes first. At most a thousand things are told. The definitions are those of one server, and must not be empty.
pub fn check(graph: &Graph, definitions: &Definitions) -> Vec<Problem> {
    let need = Need::of(graph, definitions);
    let mut problems = Problems::default();
    if need.is_nothing() {
        problems.add(no_outputs());
    }
    if let Some(circle) = need.circle() {
        problems.add(cycle(graph, circle));
    }
    for (id, node) in graph.nodes() {
        let place = node::Place { graph, definitions, id, node };
        let Some(class) = definitions.node(&node.class_type) else {
            let unknown = class::unknown(&place, &mut problems.nearest);
            problems.add(unknown);
            continue;
        };
        match need.of_node(id) {
            Standing::Unused => problems.add(place.problem(
                Kind::UnusedNode,
                "no output needs this node, so ComfyUI neither checks nor runs it".to_owned(),
                "connect it to a node that needs it, or remove it",
            )),
            Standing::Checked => place.check(class, &mut |problem| problems.add(problem)),
            // ComfyUI does not look at a node before it runs that hangs on inputs alone that its class does not declare.
            Standing::Run => place.check(class, &mut |problem| problems.add(problem.into_warning())),
        }
    }
    problems.told()
}

/// Says whether there is an error among the problems: ComfyUI would refuse the graph, or a part of it.
pub fn is_good(problems: &[Problem]) -> bool {
    problems.iter().all(|problem| problem.severity == Severity::Warning)
}

fn no_outputs() -> Problem {
    Problem::new(
        Kind::PromptNoOutputs,
        "no node of the graph is an output, so there is nothing to run for".to_owned(),
        "add a node that saves or shows something, such as SaveImage",
    )
}

fn cycle(graph: &Graph, circle: &[String]) -> Problem {
    let first = circle.first().map(String::as_str).unwrap_or_default();
    let mut steps: Vec<String> = circle.iter().take(10).map(|id| format!("`{}`", crate::names::shown(id))).collect();
    if circle.len() > steps.len() {
        steps.push("...".to_owned());
    }
    let message = format!("the nodes {} need each other in a circle: `{first}` waits for itself", steps.join(", "));
    let problem = Problem::new(Kind::DependencyCycle, message, "remove one of the links between them");
    match graph.node(first) {
        Some(node) => problem.at(first, node),
        None => problem,
    }
}

#[cfg(test)]
mod tests;

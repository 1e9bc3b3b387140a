//! Holds a graph against what a server says of its nodes, before anything is sent. Pure.

use super::error::{Fault, RunError, ValidationError};
use super::order::Order;
use crate::check::{Kind, Problem, Severity, check};
use crate::definitions::Definitions;

/// Checks the graph of an order. Returns what is strange and no obstacle; what is wrong is an error.
pub fn check_order(order: &Order, definitions: &Definitions) -> Result<Vec<String>, RunError> {
    let problems = check(&order.graph()?, definitions);
    let (wrong, strange): (Vec<Problem>, Vec<Problem>) = problems
        .into_iter()
        .filter(|problem| !is_of_picture(order, problem))
        .partition(|problem| problem.severity == Severity::Error && !is_untold(problem, definitions));
    if !wrong.is_empty() {
        let fault = |problem: Problem| {
            let place = [problem.node.as_deref(), problem.input.as_deref()].into_iter().flatten().collect::<Vec<_>>();
            Fault::new(problem.kind.as_str(), place.join("."), problem.to_string())
        };
        return Err(ValidationError { faults: wrong.into_iter().map(fault).collect() }.into());
    }
    Ok(strange.iter().map(ToString::to_string).collect())
}

/// A server that tells no choices of an input may know them all the same: it is asked.
fn is_untold(problem: &Problem, definitions: &Definitions) -> bool {
    let class = problem.class_type.as_deref().and_then(|class| definitions.node(class));
    let choices = class.zip(problem.input.as_deref()).and_then(|(class, input)| class.choices(input));
    problem.kind == Kind::ValueNotInList && choices.is_some_and(<[_]>::is_empty)
}

/// A picture of this machine is not on the server yet.
fn is_of_picture(order: &Order, problem: &Problem) -> bool {
    let targets = order.images.keys().filter_map(|name| order.pair.parameter(name)).flat_map(|it| &it.targets);
    let (node, input) = (problem.node.as_deref(), problem.input.as_deref());
    targets.into_iter().any(|target| node == Some(&target.node) && input == Some(&target.input))
}

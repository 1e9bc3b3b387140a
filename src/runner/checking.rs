//! Holds a graph against what a server says of its nodes, before anything is sent. Pure.

use super::error::{Fault, RunError, ValidationError};
use super::order::Order;
use crate::check::{Problem, Severity, check};
use crate::definitions::Definitions;

/// Checks the graph of an order. Returns what is strange and no obstacle; what is wrong is an error.
pub fn check_order(order: &Order, definitions: &Definitions) -> Result<Vec<String>, RunError> {
    let problems = check(&order.graph()?, definitions);
    let (wrong, strange): (Vec<Problem>, Vec<Problem>) = problems
        .into_iter()
        .filter(|problem| !is_of_picture(order, problem))
        .partition(|problem| problem.severity == Severity::Error);
    if !wrong.is_empty() {
        let fault = |problem: Problem| {
            let place = [problem.node.as_deref(), problem.input.as_deref()].into_iter().flatten().collect::<Vec<_>>();
            Fault::new(problem.kind.as_str(), place.join("."), problem.to_string())
        };
        return Err(ValidationError { faults: wrong.into_iter().map(fault).collect() }.into());
    }
    Ok(strange.iter().map(ToString::to_string).collect())
}

/// A picture of this machine is not on the server yet.
fn is_of_picture(order: &Order, problem: &Problem) -> bool {
    let targets = order.images.keys().filter_map(|name| order.pair.parameter(name)).flat_map(|it| &it.targets);
    let (node, input) = (problem.node.as_deref(), problem.input.as_deref());
    targets.into_iter().any(|target| node == Some(&target.node) && input == Some(&target.input))
}

//! Holds the graph of an order against what a server says of its nodes, before anything is sent. Pure.

use super::error::{RunError, UnfitError};
use super::executor::Known;
use super::order::Order;
use crate::check::{Problem, check, is_good};

/// Checks the graph of an order. Returns what is strange and no obstacle; what is wrong is an error, and has that too.
pub fn check_order(order: &Order, known: &Known) -> Result<Vec<Problem>, RunError> {
    let mut problems = check(&order.graph()?, &known.definitions);
    problems.retain(|problem| !is_of_picture(order, problem));
    if is_good(&problems) {
        return Ok(problems);
    }
    Err(UnfitError { workflow: order.name.clone(), origin: known.origin.clone(), problems }.into())
}

/// A picture of this machine is not on the server yet.
fn is_of_picture(order: &Order, problem: &Problem) -> bool {
    let targets = order.images.keys().filter_map(|name| order.pair.parameter(name)).flat_map(|it| &it.targets);
    let (node, input) = (problem.node.as_deref(), problem.input.as_deref());
    targets.into_iter().any(|target| node == Some(&target.node) && input == Some(&target.input))
}

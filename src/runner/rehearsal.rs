//! Goes through a plan before the first order runs, so that what is wrong with any of them is told while nothing was sent.
//! Between two orders others have their turn, so whoever wants to stop it is heard.

use super::checking::check_order;
use super::error::{RunError, ValidationError};
use super::executor::Known;
use super::making::NO_SUCH_FILE;
use super::plan::{Found, Plan};
use tokio_util::sync::CancellationToken;

/// How many strange things are told of all orders together.
const MOST_NOTES: usize = 100;

/// Makes the first `most` orders of a plan and holds each against the nodes of a server, where these are known. Returns what
/// is strange and no obstacle, each thing once. The first order with a fault ends it.
pub async fn rehearse(
    plan: &mut Plan,
    most: usize,
    find: &(dyn Fn(&str) -> Found + Sync),
    known: Option<&Known>,
    stop: &CancellationToken,
) -> Result<Vec<String>, RunError> {
    let mut notes: Vec<String> = Vec::new();
    for place in 0..plan.count().min(most) {
        tokio::task::yield_now().await;
        if stop.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        let order = plan.try_order(place, find).map_err(|error| of_run(error, plan, place))?;
        let Some(known) = known else { continue };
        for strange in check_order(&order, known)? {
            let note = strange.to_string();
            if notes.len() < MOST_NOTES && !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    Ok(notes)
}

/// Names the run that has the faults, unless it is the first, whose faults are most often those of all, or a file is named.
fn of_run(mut error: ValidationError, plan: &Plan, place: usize) -> ValidationError {
    for fault in error.faults.iter_mut().filter(|fault| place > 0 && fault.code != NO_SUCH_FILE) {
        fault.message = format!("run `{}`: {}", plan.name_of(place), fault.message);
    }
    error
}

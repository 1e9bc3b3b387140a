//! What the stations answer, in the runner's own words. Pure.

use super::error::{Fault, RunError, SubmissionError, ValidationError};
use super::executor::Ticket;
use crate::intake::IntakeError;
use crate::job::{FailedNode, Failure, FailureCode, Segment};
use crate::store::{Finished, StoreError};
use serde::Deserialize;

pub(super) fn unknown_ticket(ticket: &Ticket) -> RunError {
    SubmissionError { message: format!("there is no run `{}`", ticket.id), node: None }.into()
}

pub(super) fn stored(error: &StoreError) -> RunError {
    SubmissionError { message: error.to_string(), node: None }.into()
}

pub(super) fn refused(error: IntakeError) -> RunError {
    match error {
        IntakeError::Params(wrong) => {
            let faults = wrong.into_iter().map(|fault| Fault::new(fault.code, fault.parameter, fault.message));
            ValidationError { faults: faults.collect() }.into()
        }
        IntakeError::UnknownWorkflow { .. }
        | IntakeError::Build(_)
        | IntakeError::Inputs(_)
        | IntakeError::Graph(_)
        | IntakeError::TooManyKeys
        | IntakeError::Store(_) => SubmissionError { message: error.to_string(), node: None }.into(),
    }
}

/// The words of a final object that tell of a failure.
#[derive(Deserialize)]
struct Told {
    code: FailureCode,
    error: String,
    #[serde(default)]
    node: Option<FailedNode>,
}

/// Reads the failure back out of the final object, which is where it is stored.
pub(super) fn failure(finished: &Finished) -> Failure {
    let text = finished.body.segments.iter().find_map(|segment| match segment {
        Segment::Text(text) => Some(text),
        Segment::Base64(..) => None,
    });
    let told = text.and_then(|text| serde_json::from_str::<Told>(text).ok());
    told.map_or_else(unknown_failure, |told| Failure { code: told.code, message: told.error, node: told.node })
}

pub(super) fn unknown_failure() -> Failure {
    Failure::new(FailureCode::Internal, "the run failed, and why is not stored")
}

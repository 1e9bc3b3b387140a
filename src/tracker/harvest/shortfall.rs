//! In which words a caller hears that an output is missing, and whose fault that is.

use super::Slot;
use crate::job::{Failure, FailureCode, Output, OutputKind};
use crate::tracker::machine::Plan;

pub(super) fn missing(plan: &Plan, outputs: &[Output]) -> Option<Failure> {
    let images = outputs.iter().filter(|output| output.kind() == OutputKind::Image).count();
    let expected = plan.expected_images.unwrap_or(0) as usize;
    let empty_node = plan.declared.iter().flatten().find(|node| outputs.iter().all(|output| output.node_id != **node));
    let message = if images < expected {
        format!("prompt failed validation: expected {expected} images, got {images}. finish_signal: true")
    } else if let Some(node) = empty_node {
        format!("the run succeeded, but node `{node}` gave no output")
    } else if outputs.is_empty() {
        "the run succeeded, but gave no output".to_owned()
    } else {
        return None;
    };
    Some(Failure::new(FailureCode::OutputMissing, message))
}

pub(super) fn too_large(slot: &Slot, limit: u64) -> Failure {
    let message = format!("output {} of node `{}` is larger than {limit} bytes", slot.index, slot.node);
    Failure::new(FailureCode::OutputTooLarge, message)
}

pub(super) fn gone(slot: &Slot) -> Failure {
    let name = slot.file.as_ref().map_or("", |file| file.filename.as_str());
    let message = format!("file `{name}` of node `{}` is gone from the backend", slot.node);
    Failure::new(FailureCode::OutputMissing, message)
}

pub(super) fn unavailable(slot: &Slot, reason: &str) -> Failure {
    let message = format!("output {} of node `{}` could not be fetched: {reason}", slot.index, slot.node);
    Failure::new(FailureCode::BackendLost, message)
}

pub(super) fn not_stored(slot: &Slot) -> Failure {
    let message = format!("the gateway failed while it stored output {} of node `{}`", slot.index, slot.node);
    Failure::new(FailureCode::Internal, message)
}

//! The key for partner nodes that a job is submitted with.

use crate::job::{Failure, FailureCode, Job};
use crate::secret::Secret;
use crate::vault::{Lost, Vault};

/// Returns the job's key, its own or the operator's. A job whose own is lost must not run with another or without one.
pub(super) fn partner_key(vault: &Vault, job: &Job) -> Result<Option<Secret>, Failure> {
    vault.key_of(job.id, job.request.key_ticket).map_err(|Lost| {
        let message = "the api_key_comfy_org of the request is lost: it was in memory only, and the gateway was restarted \
                       before the job ran; send the request again";
        Failure::new(FailureCode::ApiKeyLost, message)
    })
}

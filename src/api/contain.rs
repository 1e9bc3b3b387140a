//! A panic in a handler ends that request and nothing else: it is answered like any other fault of the gateway's own.

use super::ApiError;
use crate::lifecycle::panic_text;
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use tracing::error;

/// Answers 500 where the request's handling panics.
pub(crate) async fn contain<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let handled = AssertUnwindSafe(next.call(request)).catch_unwind().await;
    handled.unwrap_or_else(|panic| {
        error!(panic = panic_text(panic.as_ref()), "a request's handling panicked: please report this");
        Err(ApiError::internal().into())
    })
}

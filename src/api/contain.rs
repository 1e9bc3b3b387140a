//! A panic in a handler ends that request and nothing else: it is answered like any other fault of the gateway's own.

use super::{Api, ApiError};
use crate::lifecycle::Panicked;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, web};

/// Answers 500 where the request's handling panics.
pub(crate) async fn contain<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let lifecycle = request.app_data::<web::Data<Api>>().map(|api| api.lifecycle.clone()).unwrap_or_default();
    let handled = lifecycle.contain("request", next.call(request)).await;
    handled.unwrap_or_else(|Panicked| Err(ApiError::internal().into()))
}

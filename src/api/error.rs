//! The one error that handlers answer with: status, stable code, and a sentence that names the thing and the value.

use super::headers::complete;
use crate::inputs::Refused;
use crate::intake::IntakeError;
use crate::job::Scope;
use crate::store::StoreError;
use crate::throttle::Refusal;
use crate::workflow::{ParamError, RawError};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt;
use tracing::error;

/// An answer that is not what the caller hoped for.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Option<Value>,
    header: Option<(&'static str, Cow<'static, str>)>,
}

/// The code of a refusal, as it is found in the answer's extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code(pub(super) &'static str);

impl ApiError {
    /// A fault of the request: 400 with `code`.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 404 for something else than a path or a job.
    pub fn not_there(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// 405 with `allow`.
    pub fn method_not_allowed(allowed: &str) -> Self {
        let message = format!("this method is not allowed here; allowed: {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
            .with_header("allow", allowed.to_owned())
    }

    /// 409.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// 401, the same for everybody: it does not say what was wrong with a key, nor whether there is one.
    pub fn unauthorized() -> Self {
        let message = "this needs a good API key: send it as `authorization: Bearer <key>`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
            .with_header("www-authenticate", r#"Bearer realm="comfygate""#)
    }

    /// 403 for a good key that is not allowed to do this.
    pub fn scope_missing(needed: Scope) -> Self {
        let message = format!("the key is good, but this needs one with the scope `{}`", needed.as_str());
        Self::forbidden("scope_missing", message)
    }

    /// 403.
    pub fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        let message = format!(
            "the request body is larger than {limit} bytes; send images through POST /uploads, or raise COMFYGATE_MAX_BODY"
        );
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message).with_header("connection", "close")
    }

    /// 413 for an image, or for all of a form.
    pub fn upload_too_large(limit: u64) -> Self {
        let message = format!("more than {limit} bytes are not taken; COMFYGATE_MAX_UPLOAD is the limit of one image");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "image_too_large", message).with_header("connection", "close")
    }

    /// 415.
    pub fn unsupported(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, code, message)
    }

    /// 408; the connection is closed, since the rest of the body may still come.
    pub fn body_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request body did not arrive in time")
            .with_header("connection", "close")
    }

    /// 429: the caller's address has too many connections.
    pub fn too_many_connections() -> Self {
        let message = "too many connections are open from your address";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_connections", message).with_header("retry-after", "5")
    }

    /// 503 with `retry-after`.
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message).with_header("retry-after", "5")
    }

    /// 501: a backend cannot do it.
    pub fn not_implemented(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, code, message)
    }

    /// 502: a backend gave no answer, or none that can be passed on.
    pub fn bad_gateway(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, code, message)
    }

    /// 504: a backend did not answer in time.
    pub fn gateway_timeout(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, code, message)
    }

    /// 426: this is spoken to by WebSocket.
    pub fn upgrade_required() -> Self {
        let message = "this is a WebSocket: connect with ws:// or wss://";
        Self::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message).with_header("upgrade", "websocket")
    }

    /// 429 with `retry-after` in seconds.
    pub fn too_many(code: &'static str, message: impl Into<String>, retry_after: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, message).with_header("retry-after", retry_after.to_string())
    }

    /// 500: a fault of the gateway's own.
    pub fn internal() -> Self {
        let message = "the gateway failed on this request; its log says more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// Returns the stable word for it.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// Returns what is counted of it.
    pub(super) fn counted(&self) -> Code {
        Code(self.code)
    }

    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: None, header: None }
    }

    fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// The same error with more for programs under `details`.
    pub(super) fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    fn params(errors: &[ParamError]) -> Self {
        let code = errors.first().map_or("invalid_type", |error| error.code);
        let message = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let details = errors
            .iter()
            .map(|error| json!({"parameter": error.parameter, "code": error.code, "message": error.message}))
            .collect();
        let mut answer = Self::bad_request(code, message);
        answer.details = Some(json!({ "parameters": Value::Array(details) }));
        answer
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut body = json!({ "error": self.message, "code": self.code });
        if let Some(details) = &self.details {
            body["details"] = details.clone();
        }
        let mut answer = HttpResponse::build(self.status);
        if let Some((name, value)) = &self.header {
            answer.insert_header((*name, value.as_ref()));
        }
        // For whoever counts refusals.
        answer.extensions_mut().insert(Code(self.code));
        let mut answer = answer.json(body);
        // Here too, since an error that no handler made passes nobody who would add them.
        complete(answer.headers_mut());
        answer
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy { .. } => Self::unavailable("storage_busy", error.to_string()),
            StoreError::Unavailable(_) => {
                error!(%error, "the store is not available");
                Self::unavailable("storage_unavailable", "the gateway cannot store jobs at the moment")
            }
            StoreError::KeyReused(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", error.to_string())
            }
            StoreError::UploadsFull { .. } => Self::too_many("uploads_full", error.to_string(), 600),
            StoreError::IdInUse(_) => Self::conflict("id_in_use", error.to_string()),
            StoreError::Panicked(_) => Self::internal(),
            StoreError::Damaged(_) => {
                error!(%error, "the store is damaged");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the gateway's store is damaged")
            }
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let (message, wait) = (refusal.to_string(), refusal.retry_after());
        match refusal {
            Refusal::Requests { .. } | Refusal::Guesses { .. } => Self::too_many("rate_limited", message, wait),
            Refusal::TenantQueue { .. } => Self::too_many("too_many_queued", message, wait),
            Refusal::Day { .. } => Self::too_many("quota_exceeded", message, wait),
            Refusal::Queue { .. } => Self::unavailable("queue_full", message),
        }
    }
}

impl From<IntakeError> for ApiError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::UnknownWorkflow { .. } => Self::bad_request("unknown_workflow", error.to_string()),
            IntakeError::Params(errors) | IntakeError::Inputs(Refused::Params(errors)) => Self::params(&errors),
            IntakeError::Build(_) => Self::bad_request("validation", error.to_string()),
            IntakeError::Inputs(Refused::Busy) => Self::unavailable("uploads_busy", error.to_string()),
            IntakeError::Inputs(Refused::Blob(error)) => StoreError::Unavailable(error.to_string()).into(),
            IntakeError::TooManyKeys => Self::unavailable("queue_full", error.to_string()),
            IntakeError::Graph(error) => (*error).into(),
            IntakeError::Inputs(Refused::Store(error)) | IntakeError::Store(error) => error.into(),
        }
    }
}

impl From<RawError> for ApiError {
    fn from(error: RawError) -> Self {
        match error {
            RawError::NoDefinitions => Self::unavailable("nodes_unknown", error.to_string()),
            RawError::Convert(_) => Self::bad_request("cannot_convert", error.to_string()),
            RawError::Output(_) => Self::bad_request("invalid_outputs", error.to_string()),
            RawError::Graph(_) | RawError::TooManyNodes(_) | RawError::TooDeep { .. } | RawError::Unusable(_) => {
                Self::bad_request("invalid_graph", error.to_string())
            }
        }
    }
}

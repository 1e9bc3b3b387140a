//! The dashboard at `/` and its files below `/dashboard/`: for everybody, since they tell nothing; what they show they ask for
//! as any caller does.

use super::jobs::names;
use super::{Api, ApiError};
use crate::dashboard::{PAGE, asset};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use actix_web::{HttpRequest, HttpResponse, web};

/// What the page may do in a browser: run, load and call what comes from here, and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     media-src 'self' blob:; font-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; \
     frame-ancestors 'none'";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// The pages of the gateway's own.
#[derive(Debug)]
pub struct OwnPages {
    /// The dashboard is there for browsers.
    pub are_served: bool,
    /// The origin that they have, where the settings say the gateway's URL.
    pub origin: Option<String>,
}

/// Answers with the page.
pub(super) async fn page(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    serve(&api, &request, PAGE)
}

/// Answers with one of the files that the page loads.
pub(super) async fn file(
    api: web::Data<Api>,
    request: HttpRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    serve(&api, &request, &path)
}

fn serve(api: &Api, request: &HttpRequest, path: &str) -> Result<HttpResponse, ApiError> {
    if !api.pages.are_served {
        return Err(ApiError::not_found("there is no dashboard here, as COMFYGATE_DASHBOARD=false says"));
    }
    let unknown = || ApiError::not_found(format!("the dashboard has no file `{}`", path.escape_debug()));
    let asset = asset(path).ok_or_else(unknown)?;
    let is_known = names(request.headers().get(IF_NONE_MATCH), &asset.tag);
    let mut answer = HttpResponse::build(if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    // Kept, and asked for with its tag each time: after an update nobody has a page of two versions.
    answer.insert_header((ETAG, asset.tag)).insert_header((CACHE_CONTROL, "no-cache"));
    if asset.content_type.starts_with("text/html") {
        answer.insert_header((CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY)));
        answer.insert_header((OPENER_POLICY, "same-origin"));
    }
    if is_known {
        return Ok(answer.finish());
    }
    Ok(answer.insert_header((CONTENT_TYPE, asset.content_type)).body(asset.bytes))
}

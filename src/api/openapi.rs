//! The description of this API for programs: `docs/openapi.json`, as it was when the program was built.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;

/// The document.
const DOCUMENT: &str = include_str!("../../docs/openapi.json");

/// Answers with the document.
pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").insert_header((CACHE_CONTROL, "no-cache")).body(DOCUMENT)
}

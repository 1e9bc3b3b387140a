//! The relay of the remote control: every event of ComfyUI to any number of listeners, texts and images, as ComfyUI itself sends
//! them; and besides, that a run is complete, and which requests the remote control gets.

use super::caller::Caller;
use super::listening::too_many;
use super::socket::{Said, upgrade};
use super::{Api, ApiError};
use crate::job::RawFrame;
use crate::relay::{Framed, legacy_preview};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

/// What ComfyUI says of a run that went well.
const SUCCESS: &str = "execution_success";

/// Hears ComfyUI's events: those about jobs that the caller may see.
pub(super) async fn listen(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let tenant = caller.only(None)?;
    let upgraded = upgrade(&request, payload)?;
    let listener = api.relay.frames(tenant).map_err(too_many)?;
    Ok(upgraded.begin(api, &caller, listener, Vec::new(), said))
}

/// Says a frame as it came. Images go to each client in the form that it has asked for, as ComfyUI does it.
fn said(framed: &Framed, with_metadata: bool) -> Vec<Said> {
    match &framed.frame {
        RawFrame::Binary(bytes) if with_metadata => vec![Said::Binary(bytes.clone())],
        RawFrame::Binary(bytes) => vec![Said::Binary(legacy_preview(bytes))],
        RawFrame::Text(bytes) => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let complete = completed(&text).map(Said::Text);
            std::iter::once(Said::Text(text)).chain(complete).collect()
        }
    }
}

/// Returns what follows the end of a run that went well.
fn completed(text: &str) -> Option<String> {
    if !text.contains(SUCCESS) {
        return None;
    }
    let event: Value = crate::lenient::parse(text).ok()?;
    let prompt = event.get("data")?.get("prompt_id").filter(|_| event["type"] == SUCCESS)?;
    Some(json!({ "type": "execution_complete", "data": { "prompt_id": prompt } }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_that_went_well_is_complete() {
        let success = r#"{"type": "execution_success", "data": {"prompt_id": "a", "timestamp": 1}}"#;
        assert_eq!(completed(success).as_deref(), Some(r#"{"data":{"prompt_id":"a"},"type":"execution_complete"}"#));
        for other in [
            r#"{"type": "execution_error", "data": {"prompt_id": "a"}}"#,
            r#"{"type": "executed", "data": {"prompt_id": "a", "output": {"text": ["execution_success"]}}}"#,
            r#"{"type": "execution_success"}"#,
            "execution_success",
        ] {
            assert_eq!(completed(other), None, "{other}");
        }
    }
}

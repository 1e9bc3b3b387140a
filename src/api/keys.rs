//! `/keys`: an operator makes keys, lists them and takes them back.

use super::body::{invalid_type, optional_text, parse_object, read, tenant};
use super::{Api, ApiError};
use crate::access::NewKey;
use crate::clock::Timestamp;
use crate::job::{KeyId, KeyLimits, Scope, Scopes};
use crate::store::ApiKey;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The longest name of a key's owner, in characters.
const LONGEST_NAME: usize = 100;

/// Lists all keys, the oldest first, without what they are.
pub(super) async fn list(api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let keys: Vec<Value> = api.keys.list().await?.iter().map(|key| Value::Object(key_view(key))).collect();
    Ok(HttpResponse::Ok().json(json!({ "keys": keys })))
}

/// Makes a key; the answer is the only place where it stands.
pub(super) async fn create(
    api: web::Data<Api>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = read(&api, &request, payload).await?;
    let (secret, key) = api.keys.create(new_key(parse_object(&body)?)?).await?;
    tracing::info!(made = %key.id, tenant = %key.tenant, scopes = %key.scopes, "a key was made");
    let mut view = key_view(&key);
    view.insert("key".into(), json!(secret.expose()));
    let place = format!("/keys/{}", key.id);
    Ok(HttpResponse::Created().insert_header((LOCATION, place)).insert_header((CACHE_CONTROL, "no-store")).json(view))
}

/// Takes a key back. It stays in the list.
pub(super) async fn revoke(api: web::Data<Api>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let unknown = || ApiError::not_found("there is no key with this id");
    let id: KeyId = id.parse().map_err(|_| unknown())?;
    let key = api.keys.revoke(&id).await?.ok_or_else(unknown)?;
    tracing::info!(revoked = %key.id, tenant = %key.tenant, "a key was taken back");
    Ok(HttpResponse::Ok().json(key_view(&key)))
}

/// Shows a key as lists do, on the command line too: never its hash.
pub fn key_view(key: &ApiKey) -> Map<String, Value> {
    let mut view = Map::new();
    view.insert("id".into(), json!(key.id.as_str()));
    view.insert("name".into(), json!(key.name));
    view.insert("tenant".into(), json!(key.tenant.name()));
    view.insert("scopes".into(), json!(key.scopes.words().collect::<Vec<_>>()));
    view.insert("limits".into(), json!(key.limits));
    view.insert("created_at".into(), json!(key.created_at.rfc3339()));
    for (name, time) in
        [("expires_at", key.expires_at), ("last_used_at", key.last_used_at), ("revoked_at", key.revoked_at)]
    {
        view.insert(name.into(), json!(time.map(Timestamp::rfc3339)));
    }
    view
}

fn new_key(mut fields: Map<String, Value>) -> Result<NewKey, ApiError> {
    let name = optional_text(&mut fields, "name")?.ok_or_else(|| {
        ApiError::bad_request("missing_field", "name is missing: say whose the key shall be, such as shop-backend")
    })?;
    check_name(&name).map_err(|reason| ApiError::bad_request("not_allowed", format!("name: {reason}")))?;
    let tenant = tenant(&mut fields)?;
    let scopes = scopes(fields.remove("scopes"))?;
    let life = optional_text(&mut fields, "expires_in")?.map(|text| life(&text)).transpose()?;
    let limits = limits(fields.remove("limits"))?;
    if let Some(name) = fields.keys().next() {
        let name = name.escape_debug();
        let message = format!("there is no field `{name}`; there are name, tenant, scopes, expires_in, limits");
        return Err(ApiError::bad_request("unknown_field", message));
    }
    Ok(NewKey { name, tenant, scopes, limits, life })
}

/// Says what is wrong with the name of a key's owner; for the command line too.
pub fn check_name(name: &str) -> Result<(), String> {
    let length = name.chars().count();
    if name.trim().is_empty() || length > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(format!("`{}` is not 1 to {LONGEST_NAME} characters without controls", name.escape_debug()));
    }
    Ok(())
}

/// What a key allows that says nothing else.
pub fn usual_scopes() -> Scopes {
    Scopes::from_iter([Scope::Submit, Scope::Read])
}

fn scopes(value: Option<Value>) -> Result<Scopes, ApiError> {
    let wrong = |value: &Value| invalid_type("scopes", "a list of words such as [\"submit\", \"read\"]", value);
    let words = match value {
        None | Some(Value::Null) => return Ok(usual_scopes()),
        Some(Value::Array(words)) => words,
        Some(other) => return Err(wrong(&other)),
    };
    let words: Vec<&str> =
        words.iter().map(|word| word.as_str().ok_or_else(|| wrong(word))).collect::<Result<_, _>>()?;
    words.join(",").parse().map_err(|error| ApiError::bad_request("not_allowed", format!("scopes: {error}")))
}

fn life(text: &str) -> Result<Duration, ApiError> {
    humantime::parse_duration(text).ok().filter(|life| !life.is_zero()).ok_or_else(|| {
        let message = format!("expires_in: `{}` is not a duration such as 90days", text.escape_debug());
        ApiError::bad_request("invalid_type", message)
    })
}

fn limits(value: Option<Value>) -> Result<KeyLimits, ApiError> {
    let fields = match value {
        None | Some(Value::Null) => return Ok(KeyLimits::default()),
        Some(Value::Object(fields)) => fields,
        Some(other) => return Err(invalid_type("limits", "an object", &other)),
    };
    let mut limits = KeyLimits::default();
    for (name, value) in fields {
        let place = match name.as_str() {
            "per_minute" => &mut limits.per_minute,
            "burst" => &mut limits.burst,
            "max_queued" => &mut limits.max_queued,
            "per_day" => &mut limits.per_day,
            _ => {
                let name = name.escape_debug();
                let message = format!("limits: there is no `{name}`; there are per_minute, burst, max_queued, per_day");
                return Err(ApiError::bad_request("unknown_field", message));
            }
        };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
        *place = Some(number.ok_or_else(|| {
            ApiError::bad_request("out_of_range", format!("limits.{name}: `{value}` is outside 1..={}", u32::MAX))
        })?);
    }
    Ok(limits)
}

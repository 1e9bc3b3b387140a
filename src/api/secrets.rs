//! `/webhook/secrets`: an operator lists the secrets that sign webhooks and rotates them. `/.well-known/jwks.json`: everybody
//! gets the public keys.

use super::body::{optional_text, parse_object, read, tenant};
use super::{Api, ApiError};
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::signing::{Change, KeyringError, OfficeError, PrivateKey, USUAL_KEEP};
use crate::store::{SecretKind, SigningSecret};
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

/// Lists all secrets that sign, without what they are.
pub(super) async fn list(api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let now = api.clock.wall();
    let secrets: Vec<Value> = api.office.list().await?.iter().map(|row| Value::Object(secret_view(row, now))).collect();
    Ok(HttpResponse::Ok().json(json!({ "secrets": secrets })))
}

/// Puts a new secret in the place of the current one. The answer has it; nothing else on HTTP does.
pub(super) async fn rotate(
    api: web::Data<Api>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = read(&api, &request, payload).await?;
    let change = change(parse_object(&body)?)?;
    let new = api.office.rotate(change).await?;
    if let Some(keyring) = &api.keyring {
        keyring.forget();
    }
    tracing::info!(id = new.id, tenant = %new.tenant, host = new.host, "a webhook secret was rotated");
    let mut view = secret_view(&new, api.clock.wall());
    if new.kind == SecretKind::Hmac {
        view.insert("secret".into(), json!(new.secret.expose()));
    }
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(view))
}

/// Answers with the public keys that sign now, as a JSON Web Key Set.
pub(super) async fn jwks(api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let mut keys = Vec::new();
    if let Some(keyring) = &api.keyring {
        for (id, key) in keyring.public_keys().await?.iter() {
            let x = key.to_jwk_x();
            keys.push(json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": id, "x": x }));
        }
    }
    // Short, so that a receiver that asks again after an unknown signature gets the new key.
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "public, max-age=60")).json(json!({ "keys": keys })))
}

/// Shows a secret as lists do, on the command line too: never what it is, and of a pair its public half.
pub fn secret_view(row: &SigningSecret, now: Timestamp) -> Map<String, Value> {
    let mut view = Map::new();
    view.insert("id".into(), json!(row.id));
    view.insert("tenant".into(), json!(row.tenant.name()));
    view.insert("host".into(), if row.host.is_empty() { Value::Null } else { json!(row.host) });
    view.insert("kind".into(), json!(row.kind.as_str()));
    view.insert("created_at".into(), json!(row.created_at.rfc3339()));
    view.insert("age_s".into(), json!(now.since(row.created_at).as_secs()));
    view.insert("signs_until".into(), json!(row.expires_at.map(Timestamp::rfc3339)));
    if row.kind == SecretKind::Ed25519
        && let Ok(pair) = row.secret.expose().parse::<PrivateKey>()
    {
        view.insert("public_key".into(), json!(pair.public().to_string()));
    }
    view
}

fn change(mut fields: Map<String, Value>) -> Result<Change, ApiError> {
    let not_allowed =
        |name: &str, error: &dyn std::fmt::Display| ApiError::bad_request("not_allowed", format!("{name}: {error}"));
    let tenant = tenant(&mut fields)?;
    let host =
        optional_text(&mut fields, "host")?.map(|text| text.parse().map_err(|error| not_allowed("host", &error)));
    let kind = match optional_text(&mut fields, "kind")? {
        None => SecretKind::Hmac,
        Some(word) => {
            let unknown = || not_allowed("kind", &format!("`{}` is neither hmac nor ed25519", word.escape_debug()));
            SecretKind::parse(&word).ok_or_else(unknown)?
        }
    };
    let secret = optional_text(&mut fields, "secret")?.map(Secret::new);
    let keep = match optional_text(&mut fields, "keep")? {
        None => USUAL_KEEP,
        Some(text) => humantime::parse_duration(&text).map_err(|_| {
            let message = format!("keep: `{}` is not a duration such as 24h or 0s", text.escape_debug());
            ApiError::bad_request("invalid_type", message)
        })?,
    };
    if let Some(name) = fields.keys().next() {
        let message =
            format!("there is no field `{}`; there are tenant, host, kind, secret, keep", name.escape_debug());
        return Err(ApiError::bad_request("unknown_field", message));
    }
    Ok(Change { tenant, host: host.transpose()?, kind, secret, keep })
}

impl From<OfficeError> for ApiError {
    fn from(error: OfficeError) -> Self {
        let message = error.to_string();
        match error {
            OfficeError::Secret(_) | OfficeError::PairForHost => Self::bad_request("not_allowed", message),
            OfficeError::NoSecretOfItsOwn(_) => Self::not_found(message),
            OfficeError::HasSecret(_) | OfficeError::SameSecret => Self::conflict("secret_in_use", message),
            OfficeError::Store(error) => error.into(),
        }
    }
}

impl From<KeyringError> for ApiError {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Store(error) => error.into(),
            KeyringError::Damaged { .. } | KeyringError::Body(_) => {
                tracing::error!(%error, "the public keys cannot be shown");
                Self::internal()
            }
        }
    }
}

//! What of an answer is our own secret, said back to us: hidden before anybody reads it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use url::form_urlencoded;

/// What stands for a secret.
const MASK: &str = "***";
/// What is shorter than this is no secret, and stands in texts by chance.
const SHORTEST: usize = 4;

/// Returns a text without the values of these headers and what is secret in them, in the spellings in which servers repeat it.
pub(super) fn hidden<'a>(text: &str, shown: impl IntoIterator<Item = &'a HeaderValue>) -> String {
    let mut spellings: Vec<String> = shown.into_iter().flat_map(secrets).flat_map(|secret| spelt(&secret)).collect();
    // The whole before its parts.
    spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
    spellings.dedup();
    let hide = |text: String, spelling: &String| text.replace(spelling.as_str(), MASK);
    spellings.iter().filter(|spelling| spelling.len() >= SHORTEST).fold(text.to_owned(), hide)
}

/// Returns the value of a header, and what of it stands behind its scheme, such as a token, or a password.
fn secrets(value: &HeaderValue) -> Vec<String> {
    let whole = value.to_str().unwrap_or_default().to_owned();
    let mut all = Vec::new();
    if let Some((scheme, credentials)) = whole.split_once(' ') {
        all.push(credentials.to_owned());
        let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(credentials).ok()).flatten();
        let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        all.extend(pair.and_then(|pair| pair.split_once(':').map(|(_, password)| password.to_owned())));
    }
    all.push(whole);
    all
}

/// Returns a secret as it stands, as it stands in JSON, and as it stands in a form or a query.
fn spelt(secret: &str) -> [String; 3] {
    let quoted = serde_json::to_string(secret).unwrap_or_default();
    let in_json = quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned();
    [secret.to_owned(), in_json, form_urlencoded::byte_serialize(secret.as_bytes()).collect()]
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Peer, answer, route};
    use super::*;
    use crate::comfy::{Client, SubmitError};
    use serde_json::json;

    #[tokio::test]
    async fn a_backend_that_says_our_secrets_back_is_repeated_without_them() {
        for auth in [
            json!({"basic": {"user": "user", "password": "hunter2/\"+"}}),
            json!({"bearer": "tok/hunter2"}),
            json!({"headers": {"X-Api-Key": "hunter2", "Authorization": "Key hunter2-too"}}),
        ] {
            for status in [401, 500, 502] {
                let peer = Peer::start(move |head| answer(status, &said_back(head))).await;
                let client = Client::by(peer.url(), route(&json!({ "auth": auth })).unwrap()).unwrap();
                for told in told_by(&client).await {
                    assert!(told.contains("***") && told.contains(" to you"), "{told}");
                    assert!(!told.contains("hunter2") && !told.contains("dXNlcjpodW50ZXIyLy"), "{told}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_refusal_that_says_our_secrets_back_is_repeated_without_them() {
        let said = |head: &str| json!({ "error": { "type": "no", "message": said_back(head) } }).to_string();
        let peer = Peer::start(move |head| answer(400, &said(head))).await;
        let route = route(&json!({ "auth": { "bearer": "tok/hunter2" } })).unwrap();
        let client = Client::by(peer.url(), route).unwrap();
        let told = told_by(&client).await;
        assert_eq!(told.len(), 4);
        for told in told {
            assert!(told.contains("***") && told.contains(" to you") && !told.contains("hunter2"), "{told}");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_says_our_secrets_back_is_repeated_without_them() {
        let peer = Peer::start(|head| answer(502, &said_back(head))).await;
        let address = format!("http://user:hunter2%2F%22+@{}", peer.address);
        let client =
            Client::by("http://gpu.example:8188".parse().unwrap(), route(&json!({ "proxy": address })).unwrap());
        for told in told_by(&client.unwrap()).await {
            assert!(told.contains("***") && told.contains(" to you"), "{told}");
            assert!(!told.contains("hunter2") && !told.contains("dXNlcjpodW50ZXIyLy"), "{told}");
        }
    }

    #[test]
    fn nothing_else_is_hidden() {
        let values: Vec<HeaderValue> = ["Bearer abc", "abc", "a", ""].map(HeaderValue::from_static).into();
        assert_eq!(hidden("abc is no secret, a \"b\" neither", &values), "abc is no secret, a \"b\" neither");
        assert_eq!(hidden("not Bearer abc", &values), "not ***");
        assert_eq!(hidden("anything", &[]), "anything");
    }

    /// What a server says that repeats what it was shown, as it stands and in other spellings, the password of Basic among it.
    fn said_back(head: &str) -> String {
        let is_secret =
            |line: &&str| ["authorization:", "x-api-key:"].iter().any(|name| line.to_lowercase().contains(name));
        let shown: Vec<&str> = head.lines().filter(is_secret).collect();
        let is_basic = head.contains("Basic ");
        let password = if is_basic { "user:hunter2/\"+ hunter2/\\\"+ hunter2%2F%22%2B" } else { "" };
        format!("{} {password} to you", shown.join(" "))
    }

    /// What is told of calls of all kinds.
    async fn told_by(client: &Client) -> Vec<String> {
        let mut told = vec![
            client.probe().await.unwrap_err().to_string(),
            client.agent_metrics().await.unwrap_err().to_string(),
            client.free(true, true).await.unwrap_err().to_string(),
        ];
        match client.submit(&json!({}), "c", "p").await.unwrap_err() {
            SubmitError::Unreachable(_) => {}
            SubmitError::Refused(refusal) => told.push(format!("{refusal:?}")),
            error @ (SubmitError::Ambiguous(_) | SubmitError::Unanswered(_)) => told.push(error.to_string()),
        }
        told
    }
}

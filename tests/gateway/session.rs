//! Sessions of browsers: a cookie for a key that was shown, which is worth what its key is worth, and nothing to other pages.

use crate::keys::{OPERATOR, ask, make, with_keys};
use crate::support::{Answer, Setup, TestGateway, canvas, client};
use comfygate::settings::KeyMode;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

#[actix_web::test]
async fn a_browser_that_has_shown_a_key_is_let_in_by_its_cookie_until_it_signs_out() {
    let gateway = with_keys().start().await;
    let (_, key) = make(&gateway, "shop", &["read", "submit"]).await;
    let nobody = json!({
        "keys_required": true, "signed_in": false, "tenant": null, "scopes": [], "operator": false
    });
    assert_eq!(ask(&gateway, "", "GET", "/session", &Value::Null).await.json(), nobody);
    let opened = ask(&gateway, &key, "POST", "/session", &Value::Null).await;
    assert_eq!((opened.status, opened.bytes.len()), (204, 0));
    let line = opened.header("set-cookie");
    let (cookie, attributes) = line.split_once("; ").unwrap();
    assert_eq!(attributes, "Max-Age=43200; Path=/; HttpOnly; SameSite=Strict");
    let secret = key.rsplit('_').next().unwrap();
    assert!(cookie.starts_with("comfygate_session=") && !line.contains(secret), "{line}");

    let told = by_cookie(&gateway, "GET", "/session", cookie, &[]).await.json();
    let expected = json!({
        "keys_required": true, "signed_in": true, "tenant": "shop", "scopes": ["submit", "read"], "operator": false
    });
    assert_eq!(told, expected);
    assert_eq!(by_cookie(&gateway, "GET", "/jobs", cookie, &[]).await.status, 200);
    // What the key may not, the session may not.
    let refused = by_cookie(&gateway, "GET", "/backends", cookie, &[]).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "scope_missing"));
    // It is the tenant's own.
    let own = vec![("origin", gateway.url(""))];
    let made = by_cookie(&gateway, "POST", "/generate", cookie, &own).await;
    assert_eq!(made.status, 202, "{}", made.json());
    assert_eq!(by_cookie(&gateway, "GET", "/jobs", cookie, &[]).await.json()["jobs"].as_array().unwrap().len(), 1);
    let (_, other) = make(&gateway, "other", &["read"]).await;
    assert_eq!(ask(&gateway, &other, "GET", "/jobs", &Value::Null).await.json()["jobs"], json!([]));

    let ended = by_cookie(&gateway, "DELETE", "/session", cookie, &own).await;
    assert_eq!(ended.status, 204);
    assert_eq!(ended.header("set-cookie"), "comfygate_session=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict");
    gateway.until_idle().await;
    gateway.close().await;
}

#[actix_web::test]
async fn no_session_is_opened_without_a_good_key_in_a_header() {
    for mode in [KeyMode::Required, KeyMode::Off] {
        let mut setup = with_keys();
        setup.settings.access.keys = mode;
        let gateway = setup.start().await;
        let (_, key) = make(&gateway, "shop", &["metrics"]).await;
        for shown in ["", "wrong"] {
            let answer = ask(&gateway, shown, "POST", "/session", &Value::Null).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{shown}");
            assert_eq!(answer.header("set-cookie"), "");
        }
        // Whatever the key allows; and a session does not make itself longer.
        let cookie = cookie_for(&gateway, &key).await;
        let again = by_cookie(&gateway, "POST", "/session", &cookie, &[("origin", gateway.url(""))]).await;
        assert_eq!((again.status, again.header("set-cookie")), (401, ""));
        gateway.close().await;
    }
}

#[actix_web::test]
async fn a_session_ends_with_its_key_and_outlives_a_restart() {
    let gateway = with_keys().start().await;
    let (id, key) = make(&gateway, "shop", &["read"]).await;
    let cookie = cookie_for(&gateway, &key).await;
    let operators = cookie_for(&gateway, OPERATOR).await;
    let gateway = gateway.restart().await;
    assert_eq!(by_cookie(&gateway, "GET", "/jobs", &cookie, &[]).await.status, 200);
    let told = by_cookie(&gateway, "GET", "/session", &operators, &[]).await.json();
    assert_eq!((&told["operator"], &told["tenant"]), (&json!(true), &json!("default")));
    assert_eq!(by_cookie(&gateway, "GET", "/keys", &operators, &[]).await.status, 200);

    assert_eq!(ask(&gateway, OPERATOR, "DELETE", &format!("/keys/{id}"), &Value::Null).await.status, 200);
    assert_eq!(by_cookie(&gateway, "GET", "/jobs", &cookie, &[]).await.status, 401);
    // Another key in the settings: the sessions of the one before are over.
    let gateway = gateway
        .restart_with(|settings| {
            settings.access.admin_key = Some(comfygate::secret::Secret::new("another-key-of-the-operator-0123456789"));
        })
        .await;
    assert_eq!(by_cookie(&gateway, "GET", "/jobs", &operators, &[]).await.status, 401);
    gateway.close().await;
}

#[actix_web::test]
async fn a_session_is_over_after_twelve_hours_and_with_an_expired_key() {
    let (mut setup, clock) = Setup::with_manual_clock();
    setup.settings.access = with_keys().settings.access;
    // Nothing runs here, so nothing minds that time leaps.
    let gateway = setup.start().await;
    let short = json!({ "name": "short", "scopes": ["read"], "expires_in": "1h" });
    let short = gateway.post("/keys", &short).await.json()["key"].as_str().unwrap().to_owned();
    let (short, operators) = (cookie_for(&gateway, &short).await, cookie_for(&gateway, OPERATOR).await);
    assert_eq!(by_cookie(&gateway, "GET", "/jobs", &short, &[]).await.status, 200);
    clock.advance(Duration::from_hours(1));
    assert_eq!(by_cookie(&gateway, "GET", "/jobs", &short, &[]).await.status, 401);
    clock.advance(Duration::from_hours(11) - Duration::from_secs(2));
    assert_eq!(by_cookie(&gateway, "GET", "/jobs", &operators, &[]).await.status, 200);
    clock.advance(Duration::from_secs(2));
    assert_eq!(by_cookie(&gateway, "GET", "/jobs", &operators, &[]).await.status, 401);
    gateway.close().await;
}

#[actix_web::test]
async fn a_cookie_with_anything_changed_is_none() {
    for (mode, status) in [(KeyMode::Required, 401), (KeyMode::Off, 200)] {
        let mut setup = with_keys();
        setup.settings.access.keys = mode;
        let gateway = setup.start().await;
        let (id, key) = make(&gateway, "shop", &["read"]).await;
        let (other, _) = make(&gateway, "other", &["admin"]).await;
        let cookie = cookie_for(&gateway, &key).await;
        let (head, signature) = cookie.rsplit_once('.').unwrap();
        let (_, expires) = head.rsplit_once('.').unwrap();
        for bad in [
            cookie.replace(&id, &other),
            cookie.replace(&id, "settings"),
            cookie.replace(expires, "99999999999"),
            format!("{head}.{}", signature.chars().rev().collect::<String>()),
            head.to_owned(),
            format!("{cookie}; comfygate_session=x"),
            format!("comfygate_session={key}"),
            format!("comfygate_session={}", "k".repeat(5000)),
            "comfygate_session=".to_owned(),
        ] {
            let answer = by_cookie(&gateway, "GET", "/jobs", &bad, &[]).await;
            assert_eq!(answer.status, status, "{bad}");
            let told = by_cookie(&gateway, "GET", "/session", &bad, &[]).await.json();
            assert_eq!(told["signed_in"], json!(false), "{bad}");
        }
        assert_eq!(by_cookie(&gateway, "GET", "/session", &cookie, &[]).await.json()["signed_in"], json!(true));
        gateway.close().await;
    }
}

#[actix_web::test]
async fn with_the_cookie_alone_only_a_page_of_the_gateway_changes_anything() {
    let mut setup = with_keys();
    // Listed pages may use keys; that does not make them the gateway's own.
    setup.settings.callers.allowed_origins = vec!["https://app.example".to_owned()];
    setup.settings.server.public_url = Some("https://gate.example/comfy".to_owned());
    let gateway = setup.start().await;
    let cookie = cookie_for(&gateway, OPERATOR).await;
    let own = gateway.url("");
    for (headers, may) in [
        (vec![], false),
        (vec![("origin", "https://evil.example".to_owned())], false),
        (vec![("origin", "http://127.0.0.1:9".to_owned())], false),
        (vec![("origin", "null".to_owned())], false),
        (vec![("origin", "https://app.example".to_owned())], false),
        (vec![("origin", own.clone()), ("sec-fetch-site", "same-site".to_owned())], false),
        (vec![("sec-fetch-site", "cross-site".to_owned())], false),
        (vec![("origin", own.clone())], true),
        (vec![("origin", "https://gate.example".to_owned())], true),
        (vec![("sec-fetch-site", "same-origin".to_owned())], true),
    ] {
        let answer = by_cookie(&gateway, "POST", "/queue/pause", &cookie, &headers).await;
        let expected = if may { (200, "") } else { (403, "origin_not_allowed") };
        assert_eq!((answer.status, answer.code().as_str()), expected, "{headers:?}");
        let paused = by_cookie(&gateway, "GET", "/queue", &cookie, &headers).await;
        assert_eq!((paused.status, &paused.json()["paused"]), (200, &json!(may)), "{headers:?}");
        ask(&gateway, OPERATOR, "POST", "/queue/resume", &Value::Null).await;
    }
    // A socket tells what it says to any page, so it is no mere question.
    let upgrade = [("upgrade", "websocket".to_owned()), ("origin", "http://127.0.0.1:9".to_owned())];
    assert_eq!(by_cookie(&gateway, "GET", "/jobs", &cookie, &upgrade).await.code(), "origin_not_allowed");
    // A key in a header is no cookie, and goes before it.
    let bearer = [("authorization", format!("Bearer {OPERATOR}"))];
    assert_eq!(by_cookie(&gateway, "POST", "/queue/resume", &cookie, &bearer).await.status, 200);
    let wrong = [("authorization", "Bearer wrong".to_owned()), ("origin", own)];
    assert_eq!(by_cookie(&gateway, "POST", "/queue/resume", &cookie, &wrong).await.status, 401);
    gateway.close().await;
}

#[actix_web::test]
async fn behind_tls_the_cookie_is_for_tls_alone() {
    let mut setup = with_keys();
    setup.settings.server.public_url = Some("https://gate.example".to_owned());
    let gateway = setup.start().await;
    for (origin, is_secure) in
        [(None, true), (Some("https://gate.example".to_owned()), true), (Some(gateway.url("")), false)]
    {
        let mut headers = vec![("authorization", format!("Bearer {OPERATOR}"))];
        headers.extend(origin.clone().map(|origin| ("origin", origin)));
        let opened = by_cookie(&gateway, "POST", "/session", "a=b", &headers).await;
        assert_eq!(opened.status, 204);
        assert_eq!(opened.header("set-cookie").ends_with("; Secure"), is_secure, "{origin:?}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn where_no_keys_are_asked_for_everybody_is_told_that_they_may_do_everything() {
    let gateway = TestGateway::start().await;
    let expected = json!({
        "keys_required": false, "signed_in": false, "tenant": "default",
        "scopes": ["submit", "read", "metrics", "admin"], "operator": true
    });
    assert_eq!(gateway.get("/session").await.json(), expected);
    gateway.close().await;
}

/// Opens a session and returns the cookie as a browser sends it.
async fn cookie_for(gateway: &TestGateway, key: &str) -> String {
    let opened = ask(gateway, key, "POST", "/session", &Value::Null).await;
    assert_eq!(opened.status, 204);
    opened.header("set-cookie").split_once(';').unwrap().0.to_owned()
}

/// Sends a request as a browser does, without a key. A new job is that of a picture.
async fn by_cookie(
    gateway: &TestGateway,
    method: &str,
    path: &str,
    cookie: &str,
    headers: &[(&str, String)],
) -> Answer {
    let request = client().build().unwrap().request(Method::from_bytes(method.as_bytes()).unwrap(), gateway.url(path));
    let mut request = request.header("cookie", cookie);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    if path == "/generate" {
        request = request.header("content-type", "application/json").body(canvas("").to_string());
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, bytes: answer.bytes().await.unwrap().to_vec() }
}

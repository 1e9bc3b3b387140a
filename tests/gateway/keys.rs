//! Who is let in: keys over real sockets, with a gateway that asks for them and one that does not.

use crate::support::{Answer, Inbox, PATIENCE, Setup, TestGateway, canvas, client};
use comfygate::api::{Needs, calls};
use comfygate::job::Scope;
use comfygate::secret::Secret;
use comfygate::settings::KeyMode;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The operator's key of these tests.
pub(crate) const OPERATOR: &str = "8f2c1e7a9b3d4f60a1c2e3d4b5f60718";

/// A gateway that asks for keys, and knows the operator's.
pub(crate) fn with_keys() -> Setup {
    let mut setup = Setup::new();
    setup.settings.access.keys = KeyMode::Required;
    setup.settings.access.admin_key = Some(Secret::new(OPERATOR));
    setup
}

/// Has the operator make a key; returns its id and the key.
pub(crate) async fn make(gateway: &TestGateway, tenant: &str, scopes: &[&str]) -> (String, String) {
    let answer = gateway.post("/keys", &json!({ "name": "a test", "tenant": tenant, "scopes": scopes })).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
    (text("id"), text("key"))
}

/// Sends a request with this key, or with none at all.
pub(crate) async fn ask(gateway: &TestGateway, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    let client = client().build().unwrap();
    let mut request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), gateway.url(path));
    if !key.is_empty() {
        request = request.bearer_auth(key);
    }
    if !body.is_null() {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, bytes: answer.bytes().await.unwrap().to_vec() }
}

/// A path of the route table with something in its holes.
pub(crate) fn filled(path: &str, id: &str) -> String {
    path.replace("{id}", id)
        .replace("{d}", &format!("msg_{}", id.replace('-', "")))
        .replace("{n}", "0")
        .replace("{name}", "canvas")
}

const NOBODYS: &str = "01a1fd34-54c0-7915-a1d8-17a2ff775af0";

#[actix_web::test]
async fn whoever_shows_no_good_key_gets_the_same_answer_to_the_byte() {
    let gateway = with_keys().start().await;
    let (id, good) = make(&gateway, "shop", &["submit", "read", "admin"]).await;
    let (revoked_id, revoked) = make(&gateway, "shop", &["submit", "read", "admin"]).await;
    assert_eq!(ask(&gateway, OPERATOR, "DELETE", &format!("/keys/{revoked_id}"), &Value::Null).await.status, 200);
    let short = json!({ "name": "short", "scopes": ["admin"], "expires_in": "1ms" });
    let expired = gateway.post("/keys", &short).await.json()["key"].as_str().unwrap().to_owned();
    let last = good.chars().last().unwrap();
    let wrong = format!("{}{}", good.strip_suffix(last).unwrap(), if last == 'a' { 'b' } else { 'a' });
    let unknown = good.replace(&id, "aaaaaaaaaaaa");
    let shown: [(&str, String); 14] = [
        ("none", String::new()),
        ("unknown", bearer(&unknown)),
        ("wrong", bearer(&wrong)),
        ("revoked", bearer(&revoked)),
        ("expired", bearer(&expired)),
        ("no key at all", bearer("hunter2")),
        ("the id alone", bearer(&id)),
        ("half of the operator's", bearer(OPERATOR.split_at(16).0)),
        ("empty", "authorization: Bearer\r\n".into()),
        ("empty with a space", "authorization: Bearer \r\n".into()),
        ("of another kind", format!("authorization: Basic {good}\r\n")),
        ("two that differ", format!("{}x-api-key: {wrong}\r\n", bearer(&good))),
        ("in the other header", format!("x-api-key: {wrong}\r\n")),
        ("100 kB", bearer(&"k".repeat(100_000))),
    ];
    for call in ["GET /jobs", "POST /generate", "DELETE /keys/aaaaaaaaaaaa", "GET /nothing", "PUT /jobs"] {
        let (method, path) = call.split_once(' ').unwrap();
        let expected = raw(&gateway, method, path, "").await;
        assert!(expected.starts_with("HTTP/1.1 401 "), "{call}: {expected}");
        assert!(expected.contains("\r\nwww-authenticate: Bearer realm=\"comfygate\"\r\n"), "{expected}");
        assert!(expected.contains(r#""code":"unauthorized""#), "{expected}");
        for (what, headers) in &shown {
            assert_eq!(raw(&gateway, method, path, headers).await, expected, "{call}: {what}");
        }
        for query in [format!("?key={good}"), format!("?api_key={good}"), format!("?access_token={good}")] {
            assert_eq!(raw(&gateway, method, &format!("{path}{query}"), "").await, expected, "{call}: {query}");
        }
    }
    for good in [
        bearer(&good),
        bearer(OPERATOR),
        format!("x-api-key: {good}\r\n"),
        format!("{}x-api-key: {good}\r\n", bearer(&good)),
    ] {
        let answer = raw(&gateway, "GET", "/jobs", &good).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_refused_request_is_answered_before_its_body_is_read() {
    let gateway = with_keys().start().await;
    let head = format!(
        "POST /generate HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n",
        gateway.address()
    );
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut begin)).await.unwrap().unwrap();
    assert_eq!(&begin, b"HTTP/1.1 401");
    gateway.close().await;
}

#[actix_web::test]
async fn every_call_needs_what_the_route_table_says() {
    let gateway = with_keys().start().await;
    let mut keys = Vec::new();
    for scope in Scope::ALL {
        keys.push((scope, make(&gateway, "shop", &[scope.as_str()]).await.1));
    }
    let mut count = 0;
    for (method, path, needs) in calls() {
        // What any key may do, and nobody without one, is tried where it is told.
        if needs == Needs::Key {
            continue;
        }
        count += 1;
        // A stream of all events does not end.
        let method = if path == "/events" { "HEAD" } else { method };
        let path = filled(path, NOBODYS);
        let without = ask(&gateway, "", method, &path, &Value::Null).await;
        let needed = match needs {
            Needs::Nothing | Needs::NoKey | Needs::Key => None,
            Needs::Scope(scope) | Needs::ScopeOrLink(scope) | Needs::KeyWith(scope) => Some(scope),
        };
        assert_eq!(without.status == 401, needed.is_some(), "{method} {path}: {}", without.status);
        let never = ask(&gateway, "", "PUT", &path, &Value::Null).await;
        let expected = if needed.is_some() { 401 } else { 405 };
        assert_eq!(never.status, expected, "PUT {path}");
        for (scope, key) in &keys {
            let answer = ask(&gateway, key, method, &path, &Value::Null).await;
            let may = needed.is_none_or(|needed| *scope == needed || *scope == Scope::Admin);
            assert_eq!(answer.status == 403, !may, "{method} {path} with {scope:?}: {}", answer.status);
            assert_ne!(answer.status, 401, "{method} {path} with {scope:?}");
            if let Some(needed) = needed.filter(|_| !may && method != "HEAD") {
                let body = answer.json();
                assert_eq!(body["code"], "scope_missing");
                assert!(body["error"].as_str().unwrap().contains(&format!("`{}`", needed.as_str())), "{body}");
            }
        }
    }
    assert!(count >= 14, "{count}");
    let paths: BTreeSet<_> = calls().filter(|(.., needs)| *needs == Needs::Nothing).map(|(_, path, _)| path).collect();
    let open = BTreeSet::from([
        "/",
        "/.well-known/jwks.json",
        "/dashboard/{path}",
        "/health",
        "/openapi.json",
        "/runner/health",
    ]);
    assert_eq!(paths, open, "a call is open: was that meant?");
    gateway.close().await;
}

#[actix_web::test]
async fn on_loopback_no_key_is_asked_for_and_one_that_is_shown_is_checked() {
    for mode in [KeyMode::Auto, KeyMode::Off] {
        let mut setup = with_keys();
        setup.settings.access.keys = mode;
        let gateway = setup.start().await;
        let none = &Value::Null;
        assert_eq!(ask(&gateway, "", "GET", "/jobs", none).await.status, 200);
        assert_eq!(ask(&gateway, "", "POST", "/generate", &canvas("")).await.status, 202);
        assert_eq!(ask(&gateway, "wrong", "GET", "/jobs", none).await.status, 401);
        assert_eq!(ask(&gateway, "wrong", "GET", "/ready", none).await.status, 401);
        assert_eq!(ask(&gateway, "wrong", "GET", "/health", none).await.status, 200);
        let (_, reader) = make(&gateway, "shop", &["read"]).await;
        assert_eq!(ask(&gateway, &reader, "POST", "/generate", &canvas("")).await.status, 403);
        assert_eq!(ask(&gateway, &reader, "GET", "/jobs", none).await.json()["jobs"], json!([]));
        // What outlives this gateway is made with a key only.
        for (method, path) in [("GET", "/keys"), ("POST", "/keys"), ("DELETE", "/keys/aaaaaaaaaaaa")] {
            assert_eq!(ask(&gateway, "", method, path, none).await.status, 401, "{method} {path}");
        }
        gateway.close().await;
    }
}

#[actix_web::test]
async fn a_signed_link_needs_no_key_and_opens_nothing_else() {
    let gateway = with_keys().start().await;
    let inbox = Inbox::open();
    let mut body = canvas(&inbox.url());
    body["delivery"] = json!("links");
    let webhook = gateway.run_one(&inbox, &body).await;
    let link = webhook.body["outputs"][0]["url"].as_str().unwrap().to_owned();
    let link = link.strip_prefix(&gateway.url("")).unwrap();
    let (path, query) = link.split_once('?').unwrap();
    let job = path.split_once("/outputs").unwrap().0;
    let (_, reader) = make(&gateway, "shop", &["read"]).await;
    for (key, path, status) in [
        ("", link, 200),
        (reader.as_str(), link, 200),
        // The link is enough, whatever a client that fetches it sends besides.
        ("wrong", link, 200),
        ("", path, 401),
        (reader.as_str(), path, 404),
        ("", &format!("{path}?exp=1&sig=x"), 403),
        ("", &format!("{job}?{query}"), 401),
        ("", &format!("{job}/deliveries?{query}"), 401),
    ] {
        let answer = ask(&gateway, key, "GET", path, &Value::Null).await;
        assert_eq!(answer.status, status, "{path}");
    }
    assert_eq!(ask(&gateway, "", "HEAD", link, &Value::Null).await.status, 200);
    gateway.close().await;
}

#[actix_web::test]
async fn an_address_that_others_reach_asks_for_keys_by_itself() {
    let mut setup = with_keys();
    setup.settings.access.keys = KeyMode::Auto;
    setup.settings.server.address = "0.0.0.0:0".parse().unwrap();
    let gateway = setup.start().await;
    let none = &Value::Null;
    assert_eq!(ask(&gateway, "", "GET", "/jobs", none).await.status, 401);
    assert_eq!(ask(&gateway, OPERATOR, "GET", "/jobs", none).await.status, 200);
    assert_eq!(ask(&gateway, "", "GET", "/health", none).await.json(), json!({ "status": "ok" }));
    assert_eq!(ask(&gateway, "", "GET", "/ready", none).await.json(), json!({ "status": "ready" }));
    gateway.close().await;
}

#[actix_web::test]
async fn readiness_tells_each_what_is_theirs() {
    let gateway = with_keys().start().await;
    let names = async |key: &str| {
        let answer = ask(&gateway, key, "GET", "/ready", &Value::Null).await;
        assert_eq!(answer.status, 200);
        answer.json().as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("").await, "status");
    assert_eq!(names(&make(&gateway, "shop", &["submit"]).await.1).await, "status");
    let reader = names(&make(&gateway, "shop", &["read"]).await.1).await;
    assert_eq!(reader, "default_workflow draining status workflows");
    let operator = names(OPERATOR).await;
    for name in ["backends", "backlog", "workflow_problems"] {
        assert!(operator.contains(name), "{operator}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn an_operator_makes_lists_and_revokes_keys_and_the_key_stands_nowhere() {
    let gateway = with_keys().start().await;
    let wish = json!({
        "name": "the shop's backend", "tenant": "shop", "scopes": ["read", "submit"], "expires_in": "90days",
        "limits": { "per_minute": 60, "burst": 5, "max_queued": 10, "per_day": 1000 }
    });
    let made = gateway.post("/keys", &wish).await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"));
    let made = made.json();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert!(key.starts_with(&format!("cg_{id}_")) && key.len() == 59, "{key}");
    assert_eq!(made["scopes"], json!(["submit", "read"]));
    assert_eq!(made["limits"], wish["limits"]);

    assert_eq!(ask(&gateway, key, "GET", "/jobs", &Value::Null).await.status, 200);
    let listed = gateway.get("/keys").await;
    let text = String::from_utf8(listed.bytes.clone()).unwrap();
    let secret = key.rsplit('_').next().unwrap();
    let hash = format!("{:x}", sha2_of(key));
    assert!(text.contains(id) && !text.contains(secret) && !text.contains(&hash) && !text.contains("hash"), "{text}");
    let entry = &listed.json()["keys"][0];
    assert_eq!((&entry["name"], &entry["tenant"], &entry["revoked_at"]), (&wish["name"], &json!("shop"), &Value::Null));
    let data = gateway.settings.storage.folder.clone();
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", path.display());
        }
    }

    let gone = ask(&gateway, OPERATOR, "DELETE", &format!("/keys/{id}"), &Value::Null).await;
    assert!(gone.status == 200 && gone.json()["revoked_at"].is_string(), "{}", gone.json());
    assert_eq!(ask(&gateway, key, "GET", "/jobs", &Value::Null).await.status, 401);
    for unknown in ["aaaaaaaaaaaa", "settings", "x", key] {
        let answer = ask(&gateway, OPERATOR, "DELETE", &format!("/keys/{unknown}"), &Value::Null).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{unknown}");
        assert!(!String::from_utf8(answer.bytes).unwrap().contains(secret));
    }
    gateway.close().await;
}

#[actix_web::test]
async fn what_cannot_be_a_key_is_not_made() {
    let gateway = with_keys().start().await;
    for (body, code) in [
        (json!({}), "missing_field"),
        (json!({ "name": "" }), "not_allowed"),
        (json!({ "name": "a\u{1b}[2J" }), "not_allowed"),
        (json!({ "name": "a".repeat(101) }), "not_allowed"),
        (json!({ "name": 7 }), "invalid_type"),
        (json!({ "name": "a", "tenant": "A B" }), "not_allowed"),
        (json!({ "name": "a", "tenant": "" }), "not_allowed"),
        (json!({ "name": "a", "scopes": ["write"] }), "not_allowed"),
        (json!({ "name": "a", "scopes": [] }), "not_allowed"),
        (json!({ "name": "a", "scopes": "read" }), "invalid_type"),
        (json!({ "name": "a", "scopes": [7] }), "invalid_type"),
        (json!({ "name": "a", "expires_in": "soon" }), "invalid_type"),
        (json!({ "name": "a", "expires_in": "0s" }), "invalid_type"),
        (json!({ "name": "a", "limits": { "per_minute": 0 } }), "out_of_range"),
        (json!({ "name": "a", "limits": { "per_minute": 4_294_967_296_u64 } }), "out_of_range"),
        (json!({ "name": "a", "limits": { "per_hour": 1 } }), "unknown_field"),
        (json!({ "name": "a", "limits": 5 }), "invalid_type"),
        (json!({ "name": "a", "hash": "x" }), "unknown_field"),
    ] {
        let answer = gateway.post("/keys", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{body}: {}", answer.json());
    }
    assert_eq!(gateway.get("/keys").await.json()["keys"], json!([]));
    gateway.close().await;
}

fn sha2_of(text: &str) -> u128 {
    use sha2::Digest;
    let hash: [u8; 32] = sha2::Sha256::digest(text).into();
    u128::from_be_bytes(hash[..16].try_into().unwrap())
}

fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}

/// Sends a head with these lines more, and returns the whole answer without its date, its headers sorted.
async fn raw(gateway: &TestGateway, method: &str, path: &str, headers: &str) -> String {
    let host = gateway.address();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n");
    let exchange = async {
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    // The server writes its headers in an order of chance.
    let mut lines: Vec<_> = head.split("\r\n").filter(|line| !line.starts_with("date: ")).collect();
    lines[1..].sort_unstable();
    format!("{}\r\n\r\n{body}", lines.join("\r\n"))
}

//! The dashboard as a browser gets it: the page and its files, with the headers that say what it may do.

use crate::keys::{ask, with_keys};
use crate::support::{PATIENCE, TestGateway};
use serde_json::{Value, json};
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     media-src 'self' blob:; font-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; \
     frame-ancestors 'none'";

#[actix_web::test]
async fn the_page_is_for_everybody_and_may_only_do_what_comes_from_here() {
    let gateway = with_keys().start().await;
    let page = std::fs::read(folder().join("index.html")).unwrap();
    for (key, path) in [("", "/"), ("", "/dashboard/index.html"), ("a wrong key", "/")] {
        let answer = ask(&gateway, key, "GET", path, &Value::Null).await;
        assert_eq!((answer.status, &answer.bytes), (200, &page), "{path}");
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("content-security-policy", POLICY),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-site"),
            ("cache-control", "no-cache"),
            // Whoever loads the page is not counted, whatever key is required elsewhere.
            ("ratelimit", ""),
        ] {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
    }
    let post = ask(&gateway, "", "POST", "/", &json!({})).await;
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD"));
    gateway.close().await;
}

#[actix_web::test]
async fn a_browser_that_has_the_page_gets_it_no_second_time() {
    let gateway = TestGateway::start().await;
    let whole = gateway.get("/").await;
    let tag = whole.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.len() == 66, "{tag}");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let answer = gateway.get_with("/", &[("if-none-match", &known)]).await;
        assert_eq!((answer.status, answer.bytes.len(), answer.header("etag")), (304, 0, tag.as_str()), "{known}");
        assert_eq!((answer.header("cache-control"), answer.header("content-security-policy")), ("no-cache", POLICY));
    }
    assert_eq!(gateway.get_with("/", &[("if-none-match", "\"x\"")]).await.status, 200);
    let head = gateway.head("/").await;
    assert_eq!((head.status, head.header("etag"), head.bytes.len()), (200, tag.as_str(), 0));
    assert_eq!(head.header("content-length"), whole.bytes.len().to_string());
    gateway.close().await;
}

#[actix_web::test]
async fn every_file_of_the_folder_is_served_as_what_it_is() {
    let gateway = with_keys().start().await;
    let mut folders = vec![folder()];
    let mut count = 0;
    while let Some(folder_now) = folders.pop() {
        for entry in std::fs::read_dir(folder_now).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            count += 1;
            let name = path.strip_prefix(folder()).unwrap().to_str().unwrap().to_owned();
            let answer = ask(&gateway, "", "GET", &format!("/dashboard/{name}"), &Value::Null).await;
            assert_eq!((answer.status, answer.bytes), (200, std::fs::read(&path).unwrap()), "{name}");
            let kind = match path.extension().and_then(|ending| ending.to_str()).unwrap_or("") {
                "html" => "text/html; charset=utf-8",
                "js" | "mjs" => "text/javascript; charset=utf-8",
                "css" => "text/css; charset=utf-8",
                "svg" => "image/svg+xml",
                _ => continue,
            };
            assert_eq!(answer.headers["content-type"], kind, "{name}");
        }
    }
    assert!(count > 0);
    gateway.close().await;
}

#[actix_web::test]
async fn no_path_leads_out_of_the_folder() {
    let gateway = with_keys().start().await;
    for path in [
        "/dashboard/",
        "/dashboard/nothing.mjs",
        "/dashboard/../Cargo.toml",
        "/dashboard/../../etc/passwd",
        "/dashboard/%2e%2e/Cargo.toml",
        "/dashboard/..%2fCargo.toml",
        "/dashboard/%2e%2e%2fCargo.toml",
        "/dashboard/..%5cCargo.toml",
        "/dashboard//etc/passwd",
        "/dashboard/%2fetc%2fpasswd",
        "/dashboard/index.html%00",
        "/dashboard/index.html/",
        "/dashboard/.gitignore",
    ] {
        let answer = raw(&gateway, path).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        assert_eq!(serde_json::from_str::<Value>(body).unwrap()["code"], "not_found", "{path}");
    }
    // As ever: what is not there is told to those with a key.
    assert!(raw(&gateway, "/dashboards").await.starts_with("HTTP/1.1 401 "));
    gateway.close().await;
}

#[actix_web::test]
async fn a_gateway_without_a_dashboard_says_so() {
    let mut setup = with_keys();
    setup.settings.server.dashboard = false;
    let gateway = setup.start().await;
    for path in ["/", "/dashboard/index.html", "/dashboard/nothing"] {
        let answer = ask(&gateway, "", "GET", path, &Value::Null).await;
        let told = json!({
            "code": "not_found", "error": "there is no dashboard here, as COMFYGATE_DASHBOARD=false says"
        });
        assert_eq!((answer.status, answer.json()), (404, told), "{path}");
    }
    assert_eq!(ask(&gateway, "", "GET", "/health", &Value::Null).await.status, 200);
    gateway.close().await;
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard")
}

/// Asks for a path as it is written: a client would tidy it up.
async fn raw(gateway: &TestGateway, path: &str) -> String {
    let host = gateway.address();
    let exchange = async {
        let mut stream = TcpStream::connect(host).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap()
}

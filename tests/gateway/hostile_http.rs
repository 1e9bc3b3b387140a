//! Requests that are wrong before their JSON is read: sizes, encodings, half requests, foreign hosts and origins.

use crate::support::{Inbox, Setup, TestGateway, canvas};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const JSON: (&str, &str) = ("content-type", "application/json");

#[actix_web::test]
async fn a_body_above_the_limit_is_refused_before_it_is_read() {
    let gateway = TestGateway::start().await;
    let head = format!(
        "POST /generate HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 2000000\r\n\r\n",
        gateway.address()
    );
    let answer = exchange(&gateway, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("body_too_large"), "{answer}");
    gateway.close().await;
}

#[actix_web::test]
async fn a_chunked_body_above_the_limit_is_refused() {
    let gateway = TestGateway::start().await;
    let chunks = (0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 * 1024]));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let answer = gateway.post_raw(&[JSON], body).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    gateway.close().await;
}

#[actix_web::test]
async fn a_compressed_body_is_refused_and_never_inflated() {
    let gateway = TestGateway::start().await;
    let answer = gateway.post_raw(&[JSON, ("content-encoding", "gzip")], vec![0x1f, 0x8b, 8, 0]).await;
    assert_eq!((answer.status, answer.code().as_str()), (415, "unsupported_encoding"));
    gateway.close().await;
}

#[actix_web::test]
async fn a_body_that_is_not_declared_as_json_is_refused() {
    let gateway = TestGateway::start().await;
    for headers in [&[("content-type", "text/plain")][..], &[("content-type", "application/jsonx")], &[]] {
        let answer = gateway.post_raw(headers, "{}").await;
        assert_eq!((answer.status, answer.code().as_str()), (415, "unsupported_media_type"), "{headers:?}");
    }
    let answer = gateway.post_raw(&[("content-type", "application/json; charset=utf-8")], "{}").await;
    assert_eq!(answer.status, 400);
    gateway.close().await;
}

#[actix_web::test]
async fn half_a_head_and_half_a_body_are_timed_out() {
    let gateway = TestGateway::start().await;
    let half_head = format!("POST /generate HTTP/1.1\r\nhost: {}\r\ncontent-ty", gateway.address());
    let half_body = format!(
        "POST /generate HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{{\"pro",
        gateway.address()
    );
    let (head, body) = tokio::join!(exchange(&gateway, half_head.as_bytes()), exchange(&gateway, half_body.as_bytes()));
    assert!(head.starts_with("HTTP/1.1 408"), "{head}");
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    assert!(body.contains("request_timeout"), "{body}");
    gateway.close().await;
}

#[actix_web::test]
async fn contradicting_heads_are_refused() {
    let gateway = TestGateway::start().await;
    let host = format!("host: {}\r\n", gateway.address());
    let cases = [
        format!("{host}content-length: 2\r\ncontent-length: 3\r\n"),
        format!("{host}content-length: 2\r\ntransfer-encoding: chunked\r\n"),
        format!("{host}content-length: -1\r\n"),
        format!("{host}content-length: +5\r\n"),
        format!("{host}content-length: 0x10\r\n"),
        "content-length: 2\r\n".to_owned(),
        format!("{host}{host}content-length: 2\r\n"),
    ];
    for headers in cases {
        let request = format!(
            "POST /generate HTTP/1.1\r\n{headers}content-type: application/json\r\nconnection: close\r\n\r\n{{}}"
        );
        let answer = exchange(&gateway, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{headers:?} was answered with {answer}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_wrong_method_is_told_the_right_one() {
    let gateway = TestGateway::start().await;
    let answer = gateway.get("/generate").await;
    assert_eq!((answer.status, answer.header("allow"), answer.code().as_str()), (405, "POST", "method_not_allowed"));
    for path in ["/health", "/ready", "/jobs"] {
        let head = exchange(
            &gateway,
            format!("HEAD {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", gateway.address()).as_bytes(),
        )
        .await;
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    }
    let answer = gateway.post("/jobs", &Value::Null).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
    gateway.close().await;
}

#[actix_web::test]
async fn a_path_that_names_no_job_is_not_found() {
    let gateway = TestGateway::start().await;
    let unknown = "/jobs/01900000-0000-7000-8000-000000000000";
    for path in ["/jobs/%00", "/jobs/%ff", "/jobs/..%2f..%2fetc", "/nothing", unknown] {
        let answer = gateway.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
    let answer = gateway.post(&format!("{unknown}/cancel"), &Value::Null).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    gateway.close().await;
}

#[actix_web::test]
async fn another_sites_page_cannot_reach_a_loopback_gateway() {
    let gateway = TestGateway::start().await;
    let body = canvas("").to_string();
    let answer = gateway.post_raw(&[JSON, ("origin", "https://evil.example")], body.clone()).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "origin_not_allowed"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let answer = gateway.post_raw(&[JSON, ("host", "evil.example")], body).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "host_not_allowed"));
    gateway.close().await;
}

#[actix_web::test]
async fn a_head_that_is_too_large_is_refused() {
    let gateway = TestGateway::start().await;
    let head = |more: &str| format!("GET /health HTTP/1.1\r\nhost: {}\r\n{more}\r\n", gateway.address());
    let long = head(&format!("x: {}\r\n", "x".repeat(200_000)));
    let many = head(&"x: y\r\n".repeat(200));
    for (request, status) in [(long, "HTTP/1.1 431"), (many, "HTTP/1.1 431"), (head("x: y\r\n"), "HTTP/1.1 200")] {
        let answer = exchange(&gateway, request.as_bytes()).await;
        assert!(answer.starts_with(status), "{} bytes: {answer}", request.len());
    }
    gateway.close().await;
}

#[actix_web::test]
async fn every_answer_tells_browsers_to_make_nothing_of_it() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    let job = format!("/jobs/{}", webhook.prompt_id());
    let output = format!("{job}/outputs/0");
    let etag = gateway.get(&output).await.header("etag").to_owned();
    let mut answers = vec![
        (200, gateway.get("/health").await),
        (200, gateway.get("/ready").await),
        (200, gateway.get("/openapi.json").await),
        (200, gateway.get("/jobs").await),
        (200, gateway.get(&job).await),
        (200, gateway.get(&output).await),
        (206, gateway.get_with(&output, &[("range", "bytes=0-9")]).await),
        (304, gateway.get_with(&output, &[("if-none-match", &etag)]).await),
        (416, gateway.get_with(&output, &[("range", "bytes=99999999-")]).await),
        (202, gateway.post("/generate", &canvas("")).await),
        (400, gateway.post_raw(&[JSON], "{").await),
        (401, gateway.get_with("/jobs", &[("authorization", "Bearer x")]).await),
        (403, gateway.get_with("/jobs", &[("host", "evil.example")]).await),
        (404, gateway.get("/nowhere").await),
        (405, gateway.get("/generate").await),
        (415, gateway.post_raw(&[], "{}").await),
    ];
    let large = vec![b' '; 2 << 20];
    answers.push((413, gateway.post_raw(&[JSON, ("content-length", "2097152")], large).await));
    for (status, answer) in answers {
        assert_eq!(answer.status, status, "{}", answer.json());
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-site"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
            ("content-encoding", ""),
            ("access-control-allow-origin", ""),
        ] {
            assert_eq!(answer.header(name), value, "{name} of a {status}: {:?}", answer.headers);
        }
        assert!(["no-store", "private, no-cache", "no-cache"].contains(&answer.header("cache-control")), "{status}");
    }
    assert_eq!(gateway.get(&output).await.header("cache-control"), "private, no-cache");
    assert_eq!(gateway.get(&job).await.header("cache-control"), "no-store");
    gateway.close().await;
}

#[actix_web::test]
async fn a_listed_page_may_use_the_gateway_and_no_other() {
    let mut setup = Setup::new();
    setup.settings.callers.allowed_origins = vec!["https://app.example".into()];
    let gateway = setup.start().await;
    let (page, other) = (("origin", "https://app.example"), ("origin", "https://evil.example"));
    let body = canvas("").to_string();
    let answer = gateway.post_raw(&[JSON, page], body.clone()).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (202, "https://app.example"));
    assert_eq!(answer.header("vary"), "origin");
    assert!(answer.header("access-control-expose-headers").contains("location"));
    let answer = gateway.get_with("/jobs/x", &[page]).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (404, "https://app.example"));
    let answer = gateway.post_raw(&[JSON, other], body).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, ""));
    let ask = async |origin: &str| {
        let request = format!(
            "OPTIONS /generate HTTP/1.1\r\nhost: {}\r\norigin: {origin}\r\naccess-control-request-method: POST\r\n\
             access-control-request-headers: content-type, authorization\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            gateway.address()
        );
        exchange(&gateway, request.as_bytes()).await
    };
    let answer = ask(page.1).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert!(answer.contains("access-control-allow-methods: GET, HEAD, POST, DELETE\r\n"), "{answer}");
    assert!(answer.contains("access-control-allow-headers: authorization, content-type"), "{answer}");
    assert!(answer.contains("access-control-allow-origin: https://app.example\r\n"), "{answer}");
    let answer = ask(other.1).await;
    assert!(answer.starts_with("HTTP/1.1 405") && !answer.contains("access-control"), "{answer}");
    gateway.close().await;
}

#[actix_web::test]
async fn a_gateway_may_have_names_of_its_own() {
    let mut setup = Setup::new();
    setup.settings.callers.allowed_hosts = vec!["gate.example".into()];
    let gateway = setup.start().await;
    for (host, status) in
        [("gate.example", 200), ("gate.example:8083", 200), ("localhost", 200), ("evil.example", 403), ("", 403)]
    {
        assert_eq!(gateway.get_with("/jobs", &[("host", host)]).await.status, status, "{host}");
    }
    gateway.close().await;
}

/// Sends bytes and returns all that comes back until the gateway ends the connection or has sent a whole answer.
async fn exchange(gateway: &TestGateway, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        loop {
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            answer.extend_from_slice(&buffer[..read]);
            if read == 0 || is_whole(&answer) {
                break;
            }
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, reading).await.expect("an answer or an end");
    String::from_utf8_lossy(&answer).into_owned()
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

//! Each way of being shown something, on HTTP and on the socket, against a server that notes what it hears; and definitions that
//! cannot be meant.

use super::*;
use crate::clock::{ManualClock, SystemClock, Timestamp};
use crate::comfy::{Client, ClientError, ComfyUrl, SocketEvent, SocketOptions, socket};
use crate::lifecycle::Lifecycle;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

const IDLE: &str = r#"{"exec_info": {"queue_remaining": 4}}"#;

#[tokio::test]
async fn each_kind_is_shown_on_http_and_on_the_socket_and_no_origin_ever() {
    let bearer = "authorization: bearer hunter2";
    for (auth, expected) in [
        (json!("none"), vec![]),
        (
            json!({"basic": {"user": "us er", "password": "hun:ter2"}}),
            vec!["authorization: basic dXMgZXI6aHVuOnRlcjI="],
        ),
        (json!({"bearer": "hunter2"}), vec![bearer]),
        (
            json!({"headers": {"X-Api-Key": "hunter2", "CF-Access": "a b"}}),
            vec!["x-api-key: hunter2", "cf-access: a b"],
        ),
        (json!({"headers": {"Authorization": "Key hunter2"}}), vec!["authorization: key hunter2"]),
    ] {
        let peer = Peer::start(|_| answer(200, IDLE)).await;
        let route = route(&json!({ "auth": auth })).unwrap();
        let shown = format!("{route:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("dXMg"), "{shown}");
        assert_eq!(route.has_credentials(), !expected.is_empty());
        let client = Client::by(peer.url(), route.clone()).unwrap();
        assert_eq!(client.probe().await, Ok(4));
        assert_eq!(client.agent_metrics().await.as_deref(), Ok(IDLE));
        let shown = format!("{client:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("dXMg"), "{shown}");
        let reason = no_socket(&peer.url(), route).await;
        assert!(reason.contains("200"), "{reason}");
        let heads = peer.heard();
        assert_eq!(heads.len(), 3, "{heads:?}");
        for head in heads.iter().map(|head| head.to_lowercase()) {
            for line in &expected {
                assert!(head.contains(&format!("{}\r\n", line.to_lowercase())), "{line} {head}");
            }
            assert!(!head.contains("\r\norigin:") && !head.contains("\r\nreferer:"), "{head}");
            assert_eq!(
                head.matches("authorization:").count(),
                usize::from(expected.concat().contains("authorization:"))
            );
        }
    }
}

#[tokio::test]
async fn what_a_backend_does_not_take_says_which_part_to_mend() {
    for (auth, expected) in [
        (json!("none"), "gets none; set COMFYUI_TOKEN"),
        (json!({"basic": {"user": "u", "password": "p"}}), "`auth.basic`"),
        (json!({"bearer": "t"}), "is COMFYUI_TOKEN, or `auth.bearer`"),
        (json!({"headers": {"X-Key": "k"}}), "`auth.headers`"),
    ] {
        let peer = Peer::start(|_| answer(401, "")).await;
        let reason = no_socket(&peer.url(), route(&json!({ "auth": auth })).unwrap()).await;
        assert!(reason.contains("401") && reason.contains(expected), "{reason}");
    }
}

#[test]
fn a_definition_that_cannot_be_meant_is_refused_with_the_part_and_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let garbage = file("garbage", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let nothing = file("nothing", "no PEM at all\n");
    let not_one = file("not_one", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let huge = file("huge", &"x".repeat(5 << 20));
    let oauth =
        |url: &str| json!({"auth": {"oauth": {"token_url": url, "client_id": "c", "client_secret": "hunter2"}}});
    let behind = |mut definition: Value| {
        definition["proxy"] = json!("http://127.0.0.1:1");
        definition
    };
    let headers = |name: &str| json!({"auth": {"headers": {name: "hunter2"}}});
    for (definition, part, expected) in [
        (json!({"auth": {"basic": {"user": "a:b", "password": "hunter2"}}}), "auth.basic.user", "no colon"),
        (json!({"auth": {"bearer": "hunter2\r\nX-Other: 1"}}), "auth.bearer", "visible ASCII"),
        (json!({"auth": {"bearer": "hunter2\u{e4}"}}), "auth.bearer", "visible ASCII"),
        (json!({"auth": {"bearer": "hunter2".repeat(2000)}}), "auth.bearer", "longer than 8192"),
        (json!({"auth": {"headers": {}}}), "auth.headers", "0 headers"),
        (json!({"auth": {"headers": {"X-A": "hunter2", "x-a": "hunter2"}}}), "auth.headers", "twice"),
        (headers("Host"), "auth.headers", "`Host` is not for a definition"),
        (headers("Connection"), "auth.headers", "belongs to the connection"),
        (headers("Transfer-Encoding"), "auth.headers", "belongs to the connection"),
        (headers("content-LENGTH"), "auth.headers", "belongs to the connection"),
        (headers("Upgrade"), "auth.headers", "belongs to the connection"),
        (headers("Sec-WebSocket-Protocol"), "auth.headers", "belongs to the connection"),
        (headers("Proxy-Authorization"), "auth.headers", "belongs to the connection"),
        (headers("Origin"), "auth.headers", "belongs to the connection"),
        (headers("a b"), "auth.headers", "not a header's name"),
        (headers("a\nb"), "auth.headers", "`a\\nb` is not a header's name"),
        (json!({"auth": {"headers": {"X-A": "hunter2\n"}}}), "auth.headers", "`X-A` is not made of visible"),
        (oauth("http://id.example/token"), "auth.oauth.token_url", "unencrypted; use https://"),
        (oauth("http://127.0.0.1.example/token"), "auth.oauth.token_url", "unencrypted; use https://"),
        (oauth("ftp://id.example/token"), "auth.oauth.token_url", "neither https://"),
        (oauth("https://u:hunter2@id.example/token"), "auth.oauth.token_url", "holds a user or password"),
        (oauth("hunter2"), "auth.oauth.token_url", "not an address"),
        (behind(oauth("http://127.0.0.1:1/token")), "auth.oauth.token_url", "would go to the proxy unencrypted"),
        (
            json!({"proxy": "https://u:hunter2@proxy:1"}),
            "proxy",
            "it is https://, and only http:// proxies are supported",
        ),
        (json!({"proxy": "socks5://u:hunter2@proxy:1"}), "proxy", "it is socks5://, and only http://"),
        (json!({"proxy": "hunter2:x"}), "proxy", "it is of another kind, and only http://"),
        (json!({"proxy": "proxy"}), "proxy", "not an address"),
        (json!({"proxy": "http://u:hunter2@proxy:1/path"}), "proxy", "goes on behind the port"),
        (json!({"tls": {"ca_file": "/nowhere/ca.pem"}}), "tls.ca_file", "`/nowhere/ca.pem` cannot be read"),
        (json!({"tls": {"ca_file": nothing}}), "tls.ca_file", "holds no certificate in PEM"),
        (json!({"tls": {"ca_file": garbage}}), "tls.ca_file", "holds no certificate in PEM"),
        (json!({"tls": {"ca_file": not_one}}), "tls.ca_file", "holds what is no authority"),
        (json!({"tls": {"ca_file": huge}}), "tls.ca_file", "longer than"),
        (json!({"tls": {"cert_file": nothing}}), "tls.key_file", "a certificate goes with its key"),
        (json!({"tls": {"key_file": nothing}}), "tls.cert_file", "a key goes with its certificate"),
        (json!({"tls": {"server_name": "a b"}}), "tls.server_name", "neither a name nor an address"),
        (
            json!({"tls": {"server_name": "a", "insecure_skip_verify": true}}),
            "tls.server_name",
            "take one of the two away",
        ),
    ] {
        let error = route(&definition).unwrap_err();
        assert_eq!(error.part, part, "{error}");
        let told = error.to_string();
        assert!(told.contains(expected) && !told.contains("hunter2"), "{told}");
    }
    for url in ["http://localhost:1/t", "http://127.0.0.1:1/t", "http://[::1]:1/t", "https://id.example/t"] {
        assert!(route(&oauth(url)).is_ok(), "{url}");
    }
    assert!(route(&behind(oauth("https://id.example/t"))).is_ok());
}

#[test]
fn a_token_of_the_settings_and_a_file_are_one_route_unless_both_say_what_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("route.yaml");
    let mut settings = BackendSettings { route_file: Some(path.clone()), ..BackendSettings::default() };
    let of = |settings: &BackendSettings| Route::of(settings, ManualClock::at(Timestamp::from_millis(0)));
    std::fs::write(&path, "proxy: http://proxy:3128\n").unwrap();
    assert!(!of(&settings).unwrap().has_credentials());
    settings.token = Some(Secret::new("hunter2"));
    let route = of(&settings).unwrap();
    assert!(route.has_credentials() && format!("{route:?}").contains("http://proxy:3128"), "{route:?}");
    std::fs::write(&path, "auth: {bearer: other}\n").unwrap();
    assert!(of(&settings).unwrap_err().to_string().contains("take one away"));
    std::fs::write(&path, "auth: hunter2\n").unwrap();
    let error = of(&settings).unwrap_err().to_string();
    assert!(error.contains("route.yaml") && error.contains("not `none`") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_tunnel_that_is_refused_or_answered_with_garbage_gives_the_reason() {
    let endless = "x".repeat(100 << 10);
    let target: Url = "ws://gpu.example:8188/ws".parse().unwrap();
    for (said, expected) in [
        ("HTTP/1.1 407 No\r\nX: y\r\n\r\n", "asks for other credentials (status 407)"),
        ("HTTP/1.0 503 No\r\n\r\n", "does not connect to gpu.example:8188: status 503"),
        ("SSH-2.0-x\r\n\r\n", "is no HTTP proxy"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "is no HTTP proxy"),
        ("HTTP/1.1 \u{e4}\r\n\r\n", "is no HTTP proxy"),
        ("\r\n\r\n", "is no HTTP proxy"),
        ("HTTP/1.1 200 OK\r\n", "ended the connection without an answer"),
        (endless.as_str(), "longer than 16384 bytes"),
    ] {
        let said = said.to_owned();
        let peer = Peer::start(move |_| said.clone()).await;
        let address = format!("http://u:p%40ss@{}", peer.address);
        let route = route(&json!({ "proxy": address })).unwrap();
        let reason = route.connect(&target).await.unwrap_err();
        assert!(reason.contains(expected) && reason.contains(&peer.address) && !reason.contains("p@ss"), "{reason}");
        let head = peer.heard().concat();
        assert!(head.starts_with("CONNECT gpu.example:8188 HTTP/1.1\r\nHost: gpu.example:8188\r\n"), "{head}");
        assert!(head.contains("\r\nProxy-Authorization: Basic dTpwQHNz\r\n"), "{head}");
    }
}

#[tokio::test]
async fn a_proxy_that_never_answers_costs_the_limit_of_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let route = route(&json!({ "proxy": proxy })).unwrap();
    let url: ComfyUrl = "http://gpu.example:8188".parse().unwrap();
    let options = SocketOptions { connect_limit: Duration::from_millis(100), route, ..SocketOptions::default() };
    assert_eq!(why_no_socket(&url, options, SystemClock::start()).await, "the connection did not stand in time");
}

#[tokio::test]
async fn what_a_proxy_refuses_on_http_is_not_taken_for_the_backend() {
    let peer = Peer::start(|_| answer(407, "who are you?")).await;
    let route = route(&json!({ "proxy": format!("http://u:hunter2@{}", peer.address) })).unwrap();
    let printed = format!("{route:?}");
    let client = Client::by("http://gpu.example:8188".parse().unwrap(), route).unwrap();
    let Err(ClientError::Unreachable(reason)) = client.probe().await else { panic!("an answer") };
    assert!(reason.contains("status 407"), "{reason}");
    let reason = client.submit(&json!({}), "c", "p").await.unwrap_err().to_string();
    assert!(reason.contains("was not sent") && reason.contains("status 407"), "{reason}");
    let printed = format!("{printed} {client:?}");
    assert!(!printed.contains("hunter2") && !printed.contains("dTpodW50ZXIy"), "{printed}");
    assert!(peer.heard().iter().all(|head| head.contains("roxy-authorization: Basic dTpodW50ZXIy\r\n")));
    assert!(peer.heard().concat().starts_with("GET http://gpu.example:8188/prompt HTTP/1.1\r\n"));
}

/// Makes what a definition says.
pub(super) fn route(definition: &Value) -> Result<Route, RouteError> {
    let options: RouteOptions = serde_json::from_value(definition.clone()).unwrap();
    Route::build(&options, ManualClock::at(Timestamp::from_millis(0)), &|_| None)
}

/// Returns why the first attempt to open a socket failed.
pub(super) async fn no_socket(url: &ComfyUrl, route: Route) -> String {
    let options = SocketOptions { route, ..SocketOptions::default() };
    why_no_socket(url, options, ManualClock::at(Timestamp::from_millis(0))).await
}

async fn why_no_socket(url: &ComfyUrl, options: SocketOptions, clock: Arc<dyn Clock>) -> String {
    let (out, mut told) = mpsc::channel(16);
    let lifecycle = Lifecycle::new();
    let keep = socket::run(url.clone(), options, out, Arc::new(Notify::new()), clock, lifecycle.stop());
    lifecycle.spawn("socket", keep);
    let event = tokio::time::timeout(Duration::from_mins(1), told.recv()).await.unwrap().unwrap();
    lifecycle.end().await;
    let SocketEvent::Unreachable { reason } = event else { panic!("{event:?}") };
    reason
}

/// Writes an answer after which the connection ends.
pub(super) fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

/// A server that notes each request, answers it as the test says, and ends the connection.
pub(super) struct Peer {
    pub(super) address: String,
    heard: Arc<Mutex<Vec<String>>>,
    lifecycle: Lifecycle,
}

impl Peer {
    pub(super) async fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let peer = Self { address, heard: Arc::default(), lifecycle: Lifecycle::new() };
        let (heard, stop, lifecycle) = (Arc::clone(&peer.heard), peer.lifecycle.stop(), peer.lifecycle.clone());
        let answer = Arc::new(answer);
        peer.lifecycle.spawn("peer", async move {
            let accept = async {
                while let Ok((connection, _)) = listener.accept().await {
                    let (heard, answer) = (Arc::clone(&heard), Arc::clone(&answer));
                    lifecycle.spawn("connection", async move { one(connection, &heard, answer.as_ref()).await });
                }
            };
            tokio::select! { () = accept => {}, () = stop.cancelled() => {} }
        });
        peer
    }

    pub(super) fn url(&self) -> ComfyUrl {
        format!("http://{}", self.address).parse().unwrap()
    }

    /// What it heard so far, request by request.
    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.lifecycle.stop().cancel();
    }
}

async fn one(mut connection: TcpStream, heard: &Mutex<Vec<String>>, answer: &(dyn Fn(&str) -> String + Send + Sync)) {
    let mut request = Vec::new();
    let text = loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:").map(str::to_owned));
            if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
                break text;
            }
        }
        if connection.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let said = answer(&text);
    heard.lock().unwrap().push(text);
    // Whoever has heard enough may be gone before the end.
    let _ = connection.write_all(said.as_bytes()).await;
    let _ = connection.shutdown().await;
}

//! Servers from which images are fetched, good ones and others, and what becomes of what they answer.

use crate::input_images::{photo, png, with_photos};
use crate::keys::{ask, make, with_keys};
use crate::support::{Setup, eventually};
use comfygate::egress::Lookup;
use comfygate::settings::EgressMode;
use futures_util::future::BoxFuture;
use serde_json::json;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A server that answers every request in the same way.
pub(crate) struct Host {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Host {
    /// Answers with these bytes.
    pub(crate) async fn serving(bytes: Vec<u8>) -> Self {
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len()).into_bytes();
        answer.extend(bytes);
        Self::answering(answer, Then::Close).await
    }

    /// Answers with these bytes, this much later than it was asked.
    async fn serving_late(bytes: &[u8], after: Duration) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len()).into_bytes();
        Self::answering([head, bytes.to_vec()].concat(), Then::Late(after)).await
    }

    #[expect(clippy::disallowed_methods, reason = "a test puts a host of its own behind a URL")]
    async fn answering(answer: Vec<u8>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(answer_one(stream, answer.clone(), then));
            }
        });
        Self { address, asked, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    pub(crate) async fn close(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// What a host does once it has answered.
#[derive(Clone, Copy)]
enum Then {
    Close,
    /// Sends the last bytes again and again.
    GoOn,
    /// Keeps the connection and says nothing more.
    Wait,
    /// Closes too, and has answered only after this time.
    Late(Duration),
}

async fn answer_one(mut stream: TcpStream, answer: Vec<u8>, then: Then) {
    let mut head = vec![0; 4096];
    let _ = stream.read(&mut head).await;
    if let Then::Late(after) = then {
        tokio::time::sleep(after).await;
    }
    if stream.write_all(&answer).await.is_err() {
        return;
    }
    match then {
        Then::Close | Then::Late(_) => {}
        Then::GoOn => while stream.write_all(&[7; 4096]).await.is_ok() {},
        Then::Wait => drop(stream.read_to_end(&mut Vec::new()).await),
    }
}

#[actix_web::test]
async fn a_host_that_answers_with_something_else_costs_little_and_leaves_nothing() {
    let mut setup = with_photos(Setup::new());
    setup.settings.inputs.max_upload = 100_000;
    setup.settings.inputs.fetch_timeout = Duration::from_secs(3);
    let blobs = setup.settings.storage.folder.join("blobs");
    let gateway = setup.start().await;
    let ok = |more: &str| format!("HTTP/1.1 200 OK\r\n{more}\r\n").into_bytes();
    let loopback = Host::serving(png(8, 8, 1)).await;
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", loopback.url("/x"));
    let page = [ok("content-type: image/png\r\ncontent-length: 6\r\n"), b"<html>".to_vec()].concat();
    let cut = [ok("content-length: 500\r\n"), png(8, 8, 1)].concat();
    for (answer, then, code, says) in [
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(), Then::Close, "image_fetch_failed", "404"),
        (redirect.into_bytes(), Then::Close, "image_fetch_failed", "redirect"),
        (page, Then::Close, "invalid_image", "HTML"),
        (ok("content-length: 100001\r\n"), Then::Close, "image_too_large", "100000"),
        ([ok(""), png(8, 8, 1)].concat(), Then::GoOn, "image_too_large", "100000"),
        (cut, Then::Close, "image_fetch_failed", "broke"),
        (ok("content-length: 500\r\n"), Then::Wait, "image_fetch_failed", "too long"),
        (Vec::new(), Then::Wait, "image_fetch_failed", "too long"),
        (b"hello\r\n".to_vec(), Then::Close, "image_fetch_failed", "HTTP"),
        (ok("content-encoding: gzip\r\ncontent-length: 0\r\n"), Then::Close, "image_fetch_failed", "content-encoding"),
    ] {
        let host = Host::answering(answer, then).await;
        let answer = gateway.post("/generate", &photo(json!(host.url("/secret-path?token=secret-query")))).await;
        let told = answer.json();
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{told}");
        assert!(told["error"].as_str().unwrap().contains(says), "{told}");
        assert!(!told.to_string().contains("secret") && !told.to_string().contains("127.0.0.1"), "{told}");
        host.close().await;
    }
    assert_eq!(loopback.asked(), 0, "a redirect was followed");
    loopback.close().await;
    assert!(std::fs::read_dir(blobs.join("tmp")).unwrap().next().is_none());
    assert_eq!(gateway.get("/jobs").await.json()["jobs"], json!([]));
    gateway.close().await;
}

#[actix_web::test]
async fn an_address_that_is_not_to_be_called_is_not_called_for_an_image_either() {
    let mut setup = with_photos(Setup::new());
    setup.settings.egress.mode = EgressMode::Public;
    setup.lookup = Arc::new(ThisMachine);
    let gateway = setup.start().await;
    let host = Host::serving(png(8, 8, 1)).await;
    let port = host.address.port();
    for (url, code) in [
        (host.url("/a.png"), "blocked_address"),
        (format!("http://0x7f.1:{port}/a.png"), "blocked_address"),
        (format!("http://localhost:{port}/a.png"), "blocked_host"),
        ("http://169.254.169.254/latest".to_owned(), "blocked_address"),
        ("http://user:pass@example.com/a.png".to_owned(), "userinfo_not_allowed"),
        (format!("http://images.example:{port}/a.png"), "blocked_address"),
        ("http://".to_owned(), "invalid_url"),
    ] {
        for given in [json!(url), json!({ "url": url })] {
            let answer = gateway.post("/generate", &photo(given)).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, code), "{url}: {}", answer.json());
        }
    }
    let ftp = gateway.post("/generate", &photo(json!({ "url": "ftp://example.com/a.png" }))).await;
    assert_eq!(ftp.code(), "unsupported_scheme");
    let image = crate::input_images::base64(&png(8, 8, 1));
    let mask = gateway.post("/generate", &photo(json!({ "data": image, "mask": host.url("/m.png") }))).await;
    assert_eq!(mask.code(), "blocked_address");
    assert_eq!(host.asked(), 0);
    host.close().await;
    gateway.close().await;
}

#[actix_web::test]
async fn only_so_many_images_are_fetched_at_once_for_one_tenant() {
    let mut setup = with_photos(Setup::new());
    setup.settings.inputs.fetch_timeout = Duration::from_secs(50);
    let gateway = setup.start().await;
    let host = Host::answering(Vec::new(), Then::Wait).await;
    let body = photo(json!(host.url("/a.png")));
    let sixteen = futures_util::future::join_all((0..16).map(|_| gateway.post("/generate", &body)));
    let one_more = async {
        eventually("all sixteen have asked", async || (host.asked() == 16).then_some(())).await;
        let answer = gateway.post("/generate", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "uploads_busy"), "{}", answer.json());
        assert!(!answer.header("retry-after").is_empty());
    };
    tokio::select! {
        _ = sixteen => panic!("nobody has answered them"),
        () = one_more => {}
    }
    // Whoever goes away gives the places back.
    let good = Host::serving(png(8, 8, 1)).await;
    eventually("there is room again", async || {
        let answer = gateway.post("/generate", &photo(json!(good.url("/a.png")))).await;
        (answer.status == 202).then_some(())
    })
    .await;
    gateway.until_idle().await;
    host.close().await;
    good.close().await;
    gateway.close().await;
}

#[actix_web::test]
async fn two_tenants_whose_hosts_hang_leave_places_to_a_third() {
    let mut setup = with_photos(with_keys());
    setup.settings.inputs.fetch_timeout = Duration::from_secs(50);
    let gateway = setup.start().await;
    let mut keys = Vec::new();
    for name in ["a", "b", "c"] {
        keys.push(make(&gateway, name, &["submit"]).await.1);
    }
    let host = Host::answering(Vec::new(), Then::Wait).await;
    let good = Host::serving(png(8, 8, 1)).await;
    let hanging = photo(json!(host.url("/a.png")));
    let all = futures_util::future::join_all((0..16).flat_map(|_| &keys[..2]).map(|key| async {
        // Those that find no place are refused at once.
        let answer = ask(&gateway, key, "POST", "/generate", &hanging).await;
        assert_eq!(answer.code(), "uploads_busy", "{}", answer.json());
        std::future::pending::<()>().await;
    }));
    let third = async {
        eventually("they have what they may have", async || (host.asked() == 28).then_some(())).await;
        let answer = ask(&gateway, &keys[2], "POST", "/generate", &photo(json!(good.url("/a.png")))).await;
        assert_eq!(answer.status, 202, "{}", answer.json());
    };
    tokio::select! {
        _ = all => panic!("nobody has answered them"),
        () = third => {}
    }
    gateway.until_idle().await;
    host.close().await;
    good.close().await;
    gateway.close().await;
}

/// A workflow with sixteen images, and a request that has each of them at a host.
fn sixteen(setup: Setup, host: &Host) -> (Setup, serde_json::Value) {
    let mut template = json!({ "99": { "class_type": "SaveImageWebsocket", "inputs": { "images": ["1", 0] } } });
    let mut config = "node_mappings:\n".to_owned();
    let mut images = json!({});
    for number in 1..=16 {
        template[number.to_string()] = json!({ "class_type": "LoadImage", "inputs": { "image": "example.png" } });
        writeln!(config, "  photo_{number}: {{ node_id: \"{number}\", property: image, type: image }}").unwrap();
        images[format!("photo_{number}")] = json!(host.url(&format!("/{number}.png")));
    }
    let setup = setup.with_workflow("album", &config, &template.to_string());
    (setup, json!({ "workflow": "album", "images": images }))
}

#[actix_web::test]
async fn the_images_of_a_request_are_fetched_at_the_same_time_and_within_one_limit() {
    let late = Host::serving_late(&png(8, 8, 1), Duration::from_millis(900)).await;
    let (mut setup, body) = sixteen(Setup::new(), &late);
    setup.settings.inputs.fetch_timeout = Duration::from_secs(3);
    let gateway = setup.start().await;
    // One after the other they would take more than the six seconds that they have together.
    let answer = gateway.post("/generate", &body).await;
    assert_eq!((answer.status, late.asked()), (202, 16), "{}", answer.json());
    gateway.until_idle().await;
    // Four at a time, in time each, and not all of them.
    let gateway = gateway.restart_with(|settings| settings.inputs.fetch_timeout = Duration::from_millis(1500)).await;
    let answer = gateway.post("/generate", &body).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "image_fetch_failed"), "{}", answer.json());
    let told = answer.json()["error"].as_str().unwrap().to_owned();
    for part in ["together may take 3s", "COMFYGATE_FETCH_TIMEOUT", "parameter `photo_"] {
        assert!(told.contains(part), "{told}");
    }
    late.close().await;
    gateway.close().await;
}

#[actix_web::test]
async fn a_request_that_gets_fewer_places_than_it_wants_and_is_late_is_told_to_come_again() {
    let late = Host::serving_late(&png(8, 8, 1), Duration::from_millis(900)).await;
    let hanging = Host::answering(Vec::new(), Then::Wait).await;
    let (mut setup, body) = sixteen(with_photos(Setup::new()), &late);
    setup.settings.inputs.fetch_timeout = Duration::from_millis(2500);
    let gateway = setup.start().await;
    let photo = photo(json!(hanging.url("/a.png")));
    let others = futures_util::future::join_all((0..15).map(|_| gateway.post("/generate", &photo)));
    let one_more = async {
        eventually("fifteen of sixteen places are taken", async || (hanging.asked() == 15).then_some(())).await;
        let answer = gateway.post("/generate", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "uploads_busy"), "{}", answer.json());
        assert!(!answer.header("retry-after").is_empty());
    };
    futures_util::future::join(others, one_more).await;
    late.close().await;
    hanging.close().await;
    gateway.close().await;
}

/// A resolver by which every name leads to this machine.
struct ThisMachine;

impl Lookup for ThisMachine {
    fn lookup(&self, _name: &str) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

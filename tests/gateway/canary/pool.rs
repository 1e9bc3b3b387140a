//! Credentials of backends that an operator adds: kept in the database, shown to nobody, and not repeated where the backend says
//! them back.

use super::{Hunt, Operator, Way, end, get, post};
use crate::routes::way::TokenEndpoint;
use crate::support::{Program, eventually};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Adds a backend of each kind, has it called in many ways, and searches what comes of that.
pub(super) async fn add_backends_that_say_it_back(hunt: &Hunt, folder: &Path, format: &str, sim: &str) {
    let endpoint = TokenEndpoint::giving(hunt.text("accesstoken"), true).await;
    let oauth = json!({"token_url": endpoint.url(), "client_id": "c", "client_secret": hunt.text("poolclientsecret")});
    let auths = [
        json!({"basic": {"user": "u", "password": hunt.text("poolpassword")}}),
        json!({"bearer": hunt.text("poolbearer")}),
        json!({"headers": {"X-Key": hunt.text("poolheader")}}),
        json!({ "oauth": oauth }),
        json!("none"),
    ];
    let key = hunt.text("adminkey");
    let program = serve(folder, format, sim, &key).await;
    for (number, auth) in auths.iter().enumerate() {
        let echo = Echo::start().await;
        let name = format!("gpu-{number}");
        let mut definition = json!({"name": name, "url": format!("http://{}", echo.address), "auth": auth});
        if auth == "none" {
            definition["url"] = json!("http://gpu.example:8188");
            definition["proxy"] = json!(format!("http://u:{}@{}", hunt.text("poolproxy"), echo.address));
        }
        let (status, added) = hunt.ask(Operator, &program, &key, post("/backends", &definition, &[])).await;
        assert_eq!(status, 201, "{added}");
        let place = format!("/backends/{name}");
        for path in ["stats", "queue", "history", "models", "logs", "health"] {
            hunt.ask(Operator, &program, &key, get(&format!("{place}/{path}"))).await;
        }
        let (_, told) = hunt.ask(Operator, &program, &key, post(&format!("{place}/free"), &json!({}), &[])).await;
        assert!(told.to_string().contains("said back: ***"), "{told}");
        eventually("it is told why it is not connected", async || {
            hunt.ask(Operator, &program, &key, get("/ready")).await;
            let (_, backend) = hunt.ask(Operator, &program, &key, get(&place)).await;
            backend["error"].is_string().then_some(())
        })
        .await;
        hunt.keep(Way, "a backend that says it back", echo.heads.lock().unwrap().concat());
    }
    hunt.keep(Way, "the endpoint", endpoint.heads().concat());
    wrong(hunt, &program, &key).await;
    for path in ["/backends", "/metrics"] {
        hunt.ask(Operator, &program, &key, get(path)).await;
    }
    hunt.command(folder, &[], &["backends", "list", "--json", "--data", "pool"]);
    end(hunt, program).await;
    super::files(hunt, &folder.join("pool"));
}

/// Definitions that are refused, each with a secret in a wrong place: the field is told, and the secret is not.
async fn wrong(hunt: &Hunt, program: &Program, key: &str) {
    let (secret, proxy) = (hunt.text("poolheader"), hunt.text("poolproxy"));
    let definitions: [(&str, Value); 7] = [
        ("auth", json!({"auth": secret})),
        ("auth", json!({"auth": {"basic": secret}})),
        ("auth", json!({"auth": {"headers": {"Host": secret}}})),
        ("auth", json!({"auth": {"bearer": format!("{secret}\u{e4}")}})),
        ("tls", json!({"tls": secret})),
        ("tls", json!({"tls": {"insecure_skip_verify": secret}})),
        ("proxy", json!({"proxy": format!("socks5://u:{proxy}@127.0.0.1:9")})),
    ];
    for (field, mut wrong) in definitions {
        wrong["url"] = json!("https://gpu.example");
        let (status, told) = hunt.ask(Operator, program, key, post("/backends", &wrong, &[])).await;
        assert_eq!((status, &told["details"]["fields"][0]["field"]), (400, &json!(field)), "{told}");
    }
}

async fn serve(folder: &Path, format: &str, sim: &str, key: &str) -> Program {
    let data = folder.join("pool").display().to_string();
    let words = ["env", "COMFYGATE_LOG=trace", "COMFYGATE_KEYS=required", "COMFYGATE_RATE=100000/m"].map(str::to_owned);
    let more = [
        format!("COMFYGATE_LOG_FORMAT={format}"),
        format!("COMFYGATE_DATA={data}"),
        format!("COMFYGATE_ADMIN_KEY={key}"),
    ];
    let words: Vec<&str> = words.iter().chain(&more).map(String::as_str).collect();
    Program::serve_behind(&words, folder, sim, &[]).await
}

/// A server, or a proxy, that fails and says back what it was shown.
struct Echo {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let echo = Self { address: listener.local_addr().unwrap(), heads: Arc::default() };
        let heads = Arc::clone(&echo.heads);
        actix_web::rt::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                actix_web::rt::spawn(say_back(connection, Arc::clone(&heads)));
            }
        });
        echo
    }
}

async fn say_back(mut connection: TcpStream, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if connection.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let shown = head.lines().filter_map(|line| line.split_once(": "));
    let shown = shown.filter(|(name, _)| name.to_lowercase().ends_with("authorization") || *name == "x-key");
    let body = format!("said back: {}", shown.map(|(_, value)| value).collect::<Vec<_>>().join(" "));
    heads.lock().unwrap().push(head);
    let said = format!(
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(said.as_bytes()).await.ok();
    connection.shutdown().await.ok();
}

//! The secrets of the way to a backend: each kind of them is shown through a proxy, is refused and is then let in; and definitions
//! with them are wrong in one way or the other.

use super::{Hunt, Operator, Way, end, get};
use crate::routes::way::{Door, HttpProxy, TokenEndpoint};
use crate::support::{Program, eventually};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Starts a gateway for each kind, with a data folder and a log of its own.
pub(super) async fn reach_it_in_each_way(hunt: &Hunt, folder: &Path, format: &str, sim: SocketAddr) {
    let endpoint = TokenEndpoint::giving(hunt.text("accesstoken"), true).await;
    let proxy = HttpProxy::start("u", &hunt.text("proxypassword")).await;
    let oauth = json!({"token_url": endpoint.url(), "client_id": "c", "client_secret": hunt.text("clientsecret")});
    let auths = [
        json!({"basic": {"user": "u", "password": hunt.text("basicpassword")}}),
        json!({"headers": {"X-Key": hunt.text("headervalue")}}),
        json!({"oauth": oauth}),
    ];
    let definition = folder.join("route.json");
    for auth in &auths {
        let lets_in = Arc::new(AtomicBool::new(false));
        let judged = Arc::clone(&lets_in);
        let door = Door::before(sim, move |_| judged.load(Ordering::Relaxed)).await;
        let through = format!("http://u:{}@{}", hunt.text("proxypassword"), proxy.address);
        // A client's secret goes through no proxy to an endpoint without TLS.
        let proxy = auth.get("oauth").is_none().then_some(through);
        std::fs::write(&definition, json!({"auth": auth, "proxy": proxy}).to_string()).unwrap();
        let program = serve(folder, format, &door, &definition).await;
        let is = async |expected: &str| {
            let (status, ready) = hunt.ask(Operator, &program, "", get("/ready")).await;
            let error = ready["backends"][0]["error"].as_str().unwrap_or_default();
            (status.to_string() == expected || error.contains(expected)).then_some(())
        };
        eventually("it is refused", async || is("401").await).await;
        lets_in.store(true, Ordering::Relaxed);
        eventually("it is let in", async || is("200").await).await;
        end(hunt, program).await;
        hunt.keep(Way, "the door", door.heads().concat());
    }
    hunt.keep(Way, "the proxy", proxy.heads().concat());
    hunt.keep(Way, "the endpoint", endpoint.heads().concat());
    wrong(hunt, folder, &definition);
    std::fs::remove_file(&definition).unwrap();
    super::files(hunt, &folder.join("ways"));
}

async fn serve(folder: &Path, format: &str, door: &Door, definition: &Path) -> Program {
    let data = folder.join("ways").display().to_string();
    let words = ["env", "COMFYGATE_LOG=trace", "COMFYGATE_KEYS=off"].map(str::to_owned);
    let more = [
        format!("COMFYGATE_LOG_FORMAT={format}"),
        format!("COMFYGATE_DATA={data}"),
        format!("COMFYUI_ROUTE_FILE={}", definition.display()),
    ];
    let words: Vec<&str> = words.iter().chain(&more).map(String::as_str).collect();
    Program::serve_behind(&words, folder, &door.url(), &[]).await
}

/// Definitions that are refused, by a command that reads them.
fn wrong(hunt: &Hunt, folder: &Path, definition: &Path) {
    let (secret, proxy) = (hunt.text("headervalue"), hunt.text("proxypassword"));
    let definitions: [Value; 8] = [
        json!(secret),
        json!({"auth": secret}),
        json!({"auth": {"bearer": format!("{secret}\u{e4}")}}),
        json!({"auth": {"basic": format!("u:{secret}")}}),
        json!({"auth": {"headers": {"Host": secret}}}),
        json!({"auth": {"headers": {"X-Key": format!("{secret}\n")}}}),
        json!({"proxy": format!("socks5://u:{proxy}@127.0.0.1:9")}),
        json!({"auth": {"oauth": {"token_url": "http://id.example/t", "client_id": "c", "client_secret": secret}}}),
    ];
    for wrong in definitions {
        std::fs::write(definition, wrong.to_string()).unwrap();
        let environment = [("COMFYUI_ROUTE_FILE", definition.display().to_string())];
        let pair = folder.join("templates/canvas.json").display().to_string();
        let told = hunt.command(folder, &environment, &["validate", "-w", &pair, "--backend", "http://127.0.0.1:9"]);
        assert!(told.contains("route.json") || told.contains("auth") || told.contains("proxy"), "{told}");
    }
}

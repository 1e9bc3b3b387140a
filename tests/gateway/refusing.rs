//! Backends that have a socket and do not take prompts: they are asked how they are, less and less often, and say why.

use crate::support::{Inbox, Setup, TestGateway, canvas, eventually};
use comfygate::sim::{Fault, Refusal, When};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[actix_web::test]
async fn a_proxy_that_lets_only_the_socket_through_is_not_stormed() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    let front = async |sim: &comfygate::sim::Sim| format!("http://{}", forbidding_proxy(sim.addr(), kept).await);
    let gateway = Setup::new().start_behind(front).await;
    let id = gateway.generate(&canvas("")).await;
    let count = |what: &str| -> Vec<Instant> {
        let asked = asked.lock().unwrap();
        asked.iter().filter(|(request, _)| request == what).map(|(_, at)| *at).collect()
    };
    // One of them is asked by who watches over it, as soon as its socket stands, which may be a moment after the first.
    let times = eventually("the backend is asked five times", async || {
        let times = count("GET /prompt");
        (times.len() >= 5).then_some(times)
    })
    .await;
    let took = times[4].duration_since(times[0]);
    assert!(took > Duration::from_millis(1500), "five questions within {took:?}");
    assert_eq!(count("POST /prompt").len(), 1, "no job is offered before the backend answers");
    let ready = gateway.get("/ready").await.json();
    assert!(ready["backends"][0]["error"].as_str().is_some_and(|error| error.contains("403")), "{ready}");
    assert_eq!(gateway.post(&format!("/jobs/{id}/cancel"), &json!(null)).await.status, 202);
    gateway.until(&id, "failure").await;
    gateway.close().await;
}

#[actix_web::test]
async fn a_server_that_crashes_on_every_submission_is_named_in_the_failure() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject_when(Fault::Refuse(Refusal::Crash), When::Every);
    let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    assert_eq!(webhook.body["code"], "backend_lost");
    let error = webhook.body["error"].as_str().unwrap();
    assert!(error.contains("did not take the prompt") && error.contains("500"), "{error}");
    gateway.sim.clear_faults();
    assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success");
    gateway.close().await;
}

/// Passes sockets on, and answers 403 to every other request; notes what each was, and when it came.
#[expect(clippy::disallowed_methods, reason = "a test measures how often it is asked, and needs a task of its own")]
async fn forbidding_proxy(behind: SocketAddr, asked: Arc<Mutex<Vec<(String, Instant)>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            let asked = Arc::clone(&asked);
            tokio::spawn(async move {
                let mut head = vec![0; 64 * 1024];
                let read = caller.read(&mut head).await.unwrap_or(0);
                if head.starts_with(b"GET /ws") {
                    let mut server = TcpStream::connect(behind).await.unwrap();
                    server.write_all(&head[..read]).await.unwrap();
                    tokio::io::copy_bidirectional(&mut caller, &mut server).await.ok();
                    return;
                }
                let words = String::from_utf8_lossy(&head[..read]);
                let request: Vec<&str> = words.split_whitespace().take(2).collect();
                asked.lock().unwrap().push((request.join(" "), Instant::now()));
                let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                caller.write_all(answer).await.ok();
                // Read to the end, so that the answer is not lost to a reset.
                while caller.read(&mut head).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    address
}

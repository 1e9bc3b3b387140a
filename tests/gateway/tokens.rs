//! A ComfyUI behind something that asks for a bearer token: whatever is said to it shows the token, and nothing else does.

use crate::support::{Inbox, Setup, canvas_files, eventually};
use comfygate::secret::Secret;
use comfygate::sim::{Sim, SimOptions};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TOKEN: &str = "tkn-0123456789abcdef";

/// A door before a server: it notes all that goes in, and closes where a connection begins without the token.
struct Door {
    address: SocketAddr,
    went_in: Arc<Mutex<Vec<u8>>>,
}

impl Door {
    async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Self { address: listener.local_addr().unwrap(), went_in: Arc::default() };
        let noted = Arc::clone(&door.went_in);
        actix_web::rt::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                actix_web::rt::spawn(pass(client, server, Arc::clone(&noted)));
            }
        });
        door
    }

    /// How many requests went in, and how many of them with the token.
    fn counts(&self) -> (usize, usize) {
        let text = String::from_utf8_lossy(&self.went_in.lock().unwrap()).to_lowercase();
        let header = format!("authorization: bearer {TOKEN}\r\n");
        (text.matches(" http/1.1\r\n").count(), text.matches(&header).count())
    }

    fn saw(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.went_in.lock().unwrap()).contains(text)
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, noted: Arc<Mutex<Vec<u8>>>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if client.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let is_good = String::from_utf8_lossy(&head).to_lowercase().contains(&format!("bearer {TOKEN}\r\n"));
    noted.lock().unwrap().extend_from_slice(&head);
    if !is_good {
        let _ = client.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        return;
    }
    let mut server = TcpStream::connect(server).await.unwrap();
    server.write_all(&head).await.unwrap();
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
    let inwards = async {
        let mut piece = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from_client.read(&mut piece).await {
            noted.lock().unwrap().extend_from_slice(&piece[..length]);
            to_server.write_all(&piece[..length]).await.unwrap();
        }
    };
    tokio::select! {
        () = inwards => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

#[actix_web::test]
async fn every_call_and_the_socket_show_the_token() {
    let mut setup = Setup::new();
    setup.settings.backends.token = Some(Secret::new(TOKEN));
    setup.settings.backends.agent_every = Some(Duration::from_secs(15));
    setup.sim.agent = Some(r#"{"cpu_percent": 12.5}"#.to_owned());
    let (mut door, inbox) = (None, Inbox::open());
    let gateway = setup
        .start_behind(async |sim| {
            let door = door.insert(Door::before(sim.addr()).await);
            format!("http://{}", door.address)
        })
        .await;
    let door = door.unwrap();
    let webhook = gateway.run_one(&inbox, &canvas_files(&inbox.url())).await;
    assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
    gateway.until_idle().await;
    for call in ["GET /ws?clientId=", "POST /prompt", "GET /view?", "GET /object_info", "GET /orchestrator/metrics"] {
        eventually(call, async || door.saw(call).then_some(())).await;
    }
    eventually("the agent is let in", async || {
        let backends = gateway.get("/backends").await.json();
        (backends["backends"][0]["agent"]["cpu_percent"] == 12.5).then_some(())
    })
    .await;
    let (requests, with_token) = door.counts();
    assert!(requests >= 4);
    assert_eq!(requests, with_token);
    // The receiver of the webhook is another host.
    let received = String::from_utf8_lossy(&webhook.raw).into_owned();
    assert!(!received.contains(TOKEN), "{received}");
    gateway.close().await;
}

#[actix_web::test]
async fn a_wrong_token_is_told_and_not_repeated() {
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let door = Door::before(sim.addr()).await;
    let mut setup = Setup::new();
    setup.settings.backends.token = Some(Secret::new("another-token"));
    let gateway = setup.start_beside(&[format!("http://{}", door.address)], 1).await;
    let refused = async || {
        let ready = gateway.get("/ready").await.json();
        let error = ready["backends"][1]["error"].as_str()?.to_owned();
        assert!(!ready.to_string().contains("another-token"), "{ready}");
        error.contains("401").then_some(error)
    };
    let error = eventually("the refusal is told", refused).await;
    assert!(error.contains("COMFYUI_TOKEN"), "{error}");
    gateway.close().await;
    sim.stop().await;
}

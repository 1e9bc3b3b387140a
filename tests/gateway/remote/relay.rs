//! The relay: every event of ComfyUI, texts and images, to every client; and the program that hears it.

use super::{run, with_workflow};
use crate::support::{PATIENCE, Setup, TestGateway, eventually, stderr, stdout};
use comfygate::sim::Fault;
use futures_util::future::{join, join_all};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// S0-14: on its own port, whatever the path, and under `/runner/ws`, any number of clients each get every event, text and binary,
/// as ComfyUI sends it; one that leaves is forgotten.
#[actix_web::test]
async fn every_client_gets_every_event_and_one_that_leaves_is_forgotten() {
    let gateway = with_relay("starter").await;
    let own = gateway.remote_addresses()[0];
    let urls = [format!("ws://{own}/"), format!("ws://{own}/ws"), format!("ws://{own}/any?x=1"), ws(&gateway)];
    let mut clients = join_all(urls.iter().map(|url| Client::connect(url))).await;
    Client::connect(&ws(&gateway)).await.leave().await;
    until_listening(&gateway, urls.len()).await;
    let run = run(&gateway);
    let hearing = join_all(clients.iter_mut().map(Client::until_complete));
    let (told, heard) = join(run, hearing).await;
    let id = told["prompt_id"].as_str().unwrap();
    for said in &heard {
        let kinds = kinds(said);
        assert_eq!(kinds[0], "execution_start", "{kinds:?}");
        assert!(kinds.contains(&"picture") && kinds.contains(&"progress_state"), "{kinds:?}");
        let of_run = said.iter().filter_map(Said::prompt);
        assert!(of_run.clone().count() > 20 && of_run.clone().all(|prompt| prompt == id));
        let pictures = said.iter().filter(|said| matches!(said, Said::Picture(_))).count();
        assert!(pictures > 1, "previews and the picture itself, {pictures} in all");
        // A client that is behind for a moment misses pictures, and no text.
        let texts =
            |kinds: Vec<&str>| kinds.into_iter().filter(|kind| *kind != "picture").collect::<Vec<_>>().join(" ");
        assert_eq!(texts(kinds), texts(self::kinds(&heard[0])));
    }
    drop(clients);
    until_listening(&gateway, 0).await;
    gateway.close().await;
}

/// S0-14, S0-19: a client that does not read is cut off, and neither a run nor another client waits for it.
#[actix_web::test]
async fn a_client_that_does_not_read_is_cut_off_and_nobody_waits_for_it() {
    let mut setup = Setup::new();
    setup.settings.runner.workflow = Some("canvas".into());
    // More than fits between two ends of a connection.
    setup.sim.noise_image_bytes = 24 << 20;
    let gateway = setup.start().await;
    let _deaf = Client::connect(&ws(&gateway)).await;
    let mut client = Client::connect(&ws(&gateway)).await;
    let (told, heard) = join(run(&gateway), client.until_complete()).await;
    let picture = heard.iter().find_map(|said| if let Said::Picture(bytes) = said { Some(bytes.len()) } else { None });
    assert_eq!(picture.map(|bytes| json!(bytes - 8)), Some(told["outputs"][0]["bytes"].clone()));
    let was_cut = async || {
        let metrics = String::from_utf8(gateway.get("/metrics").await.bytes).unwrap();
        metrics.lines().any(|line| line == "comfygate_listeners_cut_off_total 1").then_some(())
    };
    // What is not read waits, but only so much of it.
    for _ in 0..300 {
        gateway.get("/runner/status").await;
        client.until("runner_request").await;
    }
    eventually("the one that does not read is cut off", was_cut).await;
    gateway.get("/runner/status").await;
    client.until("runner_request").await;
    drop(client);
    gateway.close().await;
}

/// S0-15: the text events, with what is in each.
#[actix_web::test]
async fn text_events_have_what_comfyui_says_and_the_end_is_told() {
    let gateway = with_relay("canvas-files").await;
    let mut client = Client::connect(&ws(&gateway)).await;
    let (told, said) = join(run(&gateway), client.until_complete()).await;
    let data = |kind: &str| said.iter().filter(|said| said.kind() == kind).map(Said::data).collect::<Vec<_>>();
    let id = &told["prompt_id"];
    assert_eq!((data("execution_start").len(), &data("execution_start")[0]["prompt_id"]), (1, id));
    assert!(data("executing").iter().any(|data| data["node"] == "4"));
    assert!(data("progress").iter().all(|data| data["value"].is_number() && data["max"].is_number()));
    assert!(!data("progress").is_empty());
    let executed = data("executed");
    assert_eq!((executed.len(), &executed[0]["node"]), (1, &json!("4")));
    assert_eq!(executed[0]["output"]["images"][0]["filename"], told["image_filename"]);
    let last: Vec<&str> = said.iter().rev().take(2).map(Said::kind).collect();
    assert_eq!(last, ["execution_complete", "execution_success"]);
    assert_eq!(data("execution_complete"), [json!({ "prompt_id": id })]);

    gateway.sim.inject(Fault::FailNode {
        // It is never cached.
        node: "3".into(),
        exception_type: "ValueError".into(),
        message: "no size".into(),
    });
    let (failed, error) = join(gateway.get("/runner/queue"), client.until("execution_error")).await;
    assert_eq!(failed.status, 422);
    let data = error.last().unwrap().data();
    assert_eq!((&data["exception_message"], &data["node_id"]), (&json!("no size\n"), &json!("3")));
    gateway.close().await;
}

/// S0-16: a binary message is eight bytes, two big-endian numbers, and a PNG or JPEG; with metadata for whoever asks as ComfyUI's
/// own clients do.
#[actix_web::test]
async fn previews_have_comfyuis_head_of_eight_bytes() {
    let gateway = with_relay("starter").await;
    let mut plain = Client::connect(&ws(&gateway)).await;
    let mut asking = Client::connect(&ws(&gateway)).await;
    asking.say(r#"{"type":"feature_flags","data":{"supports_preview_metadata":true}}"#).await;
    assert_eq!(asking.until("feature_flags").await.last().unwrap().data()["supports_preview_metadata"], json!(true));
    let (_, (plain, with)) = join(run(&gateway), join(plain.until_complete(), asking.until_complete())).await;
    let pictures = |said: &[Said]| -> Vec<Vec<u8>> {
        said.iter()
            .filter_map(|said| if let Said::Picture(bytes) = said { Some(bytes.clone()) } else { None })
            .collect()
    };
    let (plain, with) = (pictures(&plain), pictures(&with));
    assert_eq!(plain.len(), with.len());
    for (plain, with) in plain.iter().zip(&with) {
        let is_png = plain[8..].starts_with(b"\x89PNG");
        assert!(is_png || plain[8..].starts_with(b"\xff\xd8\xff"), "neither PNG nor JPEG");
        assert_eq!(plain[..8], [0, 0, 0, 1, 0, 0, 0, if is_png { 2 } else { 1 }]);
        assert_eq!(with[..4], [0, 0, 0, 4]);
        assert!(with.ends_with(&plain[8..]), "the picture is the same");
    }
    gateway.close().await;
}

/// S0-18: requests are told over the relay, without their bodies, so that other services can follow.
#[actix_web::test]
async fn requests_are_told_over_the_relay_without_their_bodies() {
    let mut setup = Setup::new();
    setup.settings.runner.workflow = Some("canvas".into());
    setup.settings.runner.address = Some("127.0.0.1:0".parse().unwrap());
    let gateway = setup.start().await;
    let mut client = Client::connect(&ws(&gateway)).await;
    let at_door = format!("http://{}/status", gateway.remote_addresses()[0]);
    let requests = async {
        gateway.post("/runner/update/text", &json!({ "node_id": 5, "text": "my secret" })).await;
        crate::support::client().build().unwrap().get(&at_door).send().await.unwrap();
        gateway.post("/runner/interrupt", &Value::Null).await;
    };
    let hearing = async {
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.extend(client.until("runner_request").await.pop());
        }
        heard
    };
    let ((), heard) = join(requests, hearing).await;
    let told: Vec<(Value, Value)> =
        heard.iter().map(|said| (said.data()["method"].clone(), said.data()["path"].clone())).collect();
    let expected = [("POST", "/runner/update/text"), ("GET", "/status"), ("POST", "/runner/interrupt")];
    assert_eq!(told, expected.map(|(method, path)| (json!(method), json!(path))));
    for said in &heard {
        assert!(said.data()["at"].as_str().is_some_and(|at| at.ends_with('Z')));
        assert_eq!(said.data().as_object().unwrap().len(), 3);
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_tenant_hears_of_its_own_runs_and_requests_and_nobody_of_any_without_a_key() {
    let mut setup = Setup::new();
    setup.settings.runner.workflow = Some("canvas".into());
    setup.settings.access.keys = comfygate::settings::KeyMode::Required;
    setup.settings.access.admin_key = Some(comfygate::secret::Secret::new("0123456789abcdefghijklmnopqrstuv"));
    let gateway = setup.start().await;
    let mut clients = Vec::new();
    for tenant in ["one", "other"] {
        let wish = json!({ "name": tenant, "tenant": tenant, "scopes": ["submit", "read"] });
        let key = gateway.post("/keys", &wish).await.json()["key"].as_str().unwrap().to_owned();
        clients.push((Client::connect_with(&ws(&gateway), Some(&key)).await, format!("Bearer {key}")));
    }
    assert!(tokio_tungstenite::connect_async(ws(&gateway)).await.is_err(), "without a key");
    let (mut other, key_of_other) = clients.pop().unwrap();
    let (_one, key_of_one) = clients.pop().unwrap();
    let of_one = gateway.get_with("/runner/queue", &[("authorization", &key_of_one)]).await.json();
    let headers = [("authorization", key_of_other.as_str())];
    let ask = gateway.get_with("/runner/queue", &headers);
    let (of_other, heard) = join(ask, other.until_complete()).await;
    let of_other = of_other.json();
    let text: String = heard.iter().filter_map(Said::text).collect();
    assert!(text.contains(of_other["prompt_id"].as_str().unwrap()));
    assert!(!text.contains(of_one["prompt_id"].as_str().unwrap()));
    assert_eq!(text.matches("runner_request").count(), 1);
    gateway.close().await;
}

/// S0-20: a client that only receives: each event on a line, pictures as files, and an end after so many.
#[actix_web::test]
async fn the_listening_program_writes_events_and_keeps_pictures() {
    let gateway = with_relay("starter").await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("ws://{}/", gateway.remote_addresses()[0]);
    let listen = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
        command.args(["listen", "--url", &url, "--count", "40", "--previews", "pictures"]).args(more);
        command.current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let words = listen(&[]);
    let raw = listen(&["--json"]);
    until_listening(&gateway, 2).await;
    run(&gateway).await;
    let ended = |program: std::process::Child| async {
        tokio::task::spawn_blocking(move || program.wait_with_output().unwrap()).await.unwrap()
    };
    let (words, raw) = join(ended(words), ended(raw)).await;
    assert!(words.status.success() && raw.status.success(), "{}{}", stderr(&words), stderr(&raw));
    let lines = stdout(&words);
    assert_eq!(lines.lines().count(), 40);
    assert!(lines.contains("request: GET /runner/queue\n"), "{lines}");
    assert!(lines.contains(": starts\n") && lines.contains(": node 3: 1 of 20\n"), "{lines}");
    assert!(lines.contains("picture: jpg, ") && lines.contains("kept as pictures/"), "{lines}");
    let raw = stdout(&raw);
    assert!(raw.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{raw}");
    let pictures: Vec<_> = std::fs::read_dir(folder.path().join("pictures")).unwrap().collect();
    assert!(pictures.len() >= 4, "{}", pictures.len());
    for picture in pictures {
        let bytes = std::fs::read(picture.unwrap().path()).unwrap();
        assert!(bytes.starts_with(b"\xff\xd8\xff") || bytes.starts_with(b"\x89PNG"));
    }
    gateway.close().await;
}

#[actix_web::test]
async fn the_listening_program_connects_again_and_gives_up_at_last() {
    let mut setup = Setup::new();
    setup.settings.runner.workflow = Some("canvas".into());
    // The same port before and after; the first that is heard is that the gateway stops.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    setup.settings.runner.ws_address = Some(address);
    let gateway = setup.start().await;
    let url = format!("ws://{address}/");
    let program = Command::new(env!("CARGO_BIN_EXE_comfygate"))
        .args(["listen", "--url", &url, "--count", "4", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until_listening(&gateway, 1).await;
    let gateway = gateway.restart().await;
    until_listening(&gateway, 1).await;
    run(&gateway).await;
    let heard = tokio::task::spawn_blocking(move || program.wait_with_output().unwrap()).await.unwrap();
    assert!(heard.status.success(), "{}", stderr(&heard));
    assert!(stderr(&heard).contains("trying again in 500ms"), "{}", stderr(&heard));
    gateway.close().await;

    let nobody = Command::new(env!("CARGO_BIN_EXE_comfygate"))
        .args(["listen", "--url", "ws://127.0.0.1:9/", "--tries", "1"])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(stderr(&nobody).contains("nobody can be heard at ws://127.0.0.1:9/"), "{}", stderr(&nobody));
}

/// S0-20: the walk of docs/RUNNER.md: health, text, image, queue, interrupt.
#[actix_web::test]
async fn the_walk_from_health_to_interrupt_goes_well() {
    let gateway = with_workflow("starter").await;
    assert_eq!(gateway.get("/runner/health").await.bytes, b"running");
    let text = gateway.post("/runner/update/text", &json!({ "node_id": 6, "text": "a hill" })).await;
    assert_eq!(text.json()["message"], "`text` of node `6` (CLIPTextEncode) is set");
    let image = gateway.post("/runner/update/image", &json!({ "node_id": 6, "filename": "photo.png" })).await;
    assert_eq!(image.code(), "no_such_input", "this workflow loads no image");
    assert_eq!(run(&gateway).await["outputs"].as_array().map(Vec::len), Some(1));
    let interrupt = gateway.post_raw_to("/runner/interrupt", &[], "").await;
    assert_eq!(interrupt.json()["message"], "0 running and 0 waiting were stopped");
    gateway.close().await;
}

async fn with_relay(workflow: &str) -> TestGateway {
    let mut setup = Setup::new();
    setup.settings.runner.workflow = Some(workflow.to_owned());
    setup.settings.runner.ws_address = Some("127.0.0.1:0".parse().unwrap());
    setup.start().await
}

fn ws(gateway: &TestGateway) -> String {
    gateway.url("/runner/ws").replacen("http", "ws", 1)
}

/// What was heard of a run.
fn kinds(said: &[Said]) -> Vec<&str> {
    said.iter().map(Said::kind).filter(|kind| !["status", "runner_request"].contains(kind)).collect()
}

/// Waits until so many listen.
async fn until_listening(gateway: &TestGateway, count: usize) {
    let listening = async || {
        let metrics = String::from_utf8(gateway.get("/metrics").await.bytes).unwrap();
        metrics.lines().any(|line| line == format!("comfygate_listeners {count}.0")).then_some(())
    };
    eventually(&format!("{count} listen"), listening).await;
}

/// Something that a client heard.
#[derive(Debug)]
enum Said {
    Text(String, Value),
    Picture(Vec<u8>),
}

impl Said {
    fn kind(&self) -> &str {
        match self {
            Self::Text(_, event) => event["type"].as_str().unwrap_or_default(),
            Self::Picture(_) => "picture",
        }
    }

    fn data(&self) -> Value {
        match self {
            Self::Text(_, event) => event["data"].clone(),
            Self::Picture(_) => Value::Null,
        }
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text, _) = self { Some(text) } else { None }
    }

    fn prompt(&self) -> Option<&str> {
        if let Self::Text(_, event) = self { event["data"]["prompt_id"].as_str() } else { None }
    }
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(url: &str) -> Self {
        Self::connect_with(url, None).await
    }

    async fn connect_with(url: &str, key: Option<&str>) -> Self {
        use tokio_tungstenite::tungstenite::client::IntoClientRequest;
        let mut request = url.into_client_request().unwrap();
        if let Some(key) = key {
            request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        }
        let largest = Some(64 << 20);
        let config = WebSocketConfig::default().max_frame_size(largest).max_message_size(largest);
        Self(tokio_tungstenite::connect_async_with_config(request, Some(config), false).await.unwrap().0)
    }

    async fn leave(mut self) {
        self.0.close(None).await.unwrap();
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn until_complete(&mut self) -> Vec<Said> {
        self.until("execution_complete").await
    }

    /// Hears everything up to the first event of a kind.
    async fn until(&mut self, kind: &str) -> Vec<Said> {
        let mut heard = Vec::new();
        let hearing = async {
            loop {
                match self.0.next().await.unwrap().unwrap() {
                    Message::Text(text) => {
                        let event = serde_json::from_str(&text).unwrap();
                        heard.push(Said::Text(text.to_string(), event));
                    }
                    Message::Binary(bytes) => heard.push(Said::Picture(bytes.to_vec())),
                    Message::Ping(_) | Message::Pong(_) | Message::Frame(_) | Message::Close(_) => continue,
                }
                if heard.last().unwrap().kind() == kind {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, hearing).await.unwrap_or_else(|_| panic!("{kind} was not heard"));
        heard
    }
}

//! What an operator asks of one ComfyUI and tells it through the gateway, and what becomes of answers that are none.

use crate::keys::{OPERATOR, ask, make, with_keys};
use crate::support::{Answer, Inbox, PATIENCE, Setup, TestGateway, canvas, canvas_files, eventually};
use comfygate::sim::Fault;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

#[actix_web::test]
async fn an_operator_reads_what_a_backend_is_and_has() {
    let gateway = TestGateway::start().await;
    let read = async |path: &str| {
        let answer = gateway.get(&of(&gateway.sim.url(), path)).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{path}: {}", answer.json());
        answer.json()
    };
    let stats = read("stats").await;
    assert_eq!((&stats["system"]["comfyui_version"], &stats["devices"][0]["name"]), (&json!("0.3.64"), &json!("cpu")));
    assert_eq!(read("features").await["supports_preview_metadata"], true);
    assert_eq!(read("models").await, json!(["checkpoints", "diffusion_models", "vae"]));
    assert!(read("models/checkpoints").await.is_array());
    assert_eq!(read("embeddings").await, json!([]));
    let sampler = read("nodes/KSampler").await;
    assert!(sampler["input"]["required"]["sampler_name"][0].as_array().unwrap().contains(&json!("euler")), "{sampler}");
    assert_eq!(read("logs").await["lines"][1], json!({"at": "2026-05-09T07:35:25.492923", "text": "Starting server"}));
    for path in ["models/nope", "nodes/Nope", "history/nope"] {
        let answer = gateway.get(&of(&gateway.sim.url(), path)).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}: {}", answer.json());
    }
    let answer = gateway.get("/backends/nobody/stats").await;
    assert_eq!(
        (answer.status, answer.json()["error"].as_str().unwrap()),
        (404, "there is no backend `nobody`; GET /backends lists them all")
    );
    gateway.close().await;
}

#[actix_web::test]
async fn an_operator_reads_the_queue_and_the_history_of_a_backend_in_parts() {
    let gateway = TestGateway::start().await;
    let (inbox, url) = (Inbox::open(), gateway.sim.url());
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(gateway.run_one(&inbox, &canvas_files(&inbox.url())).await.prompt_id().to_owned());
    }
    // The entries of jobs that are told are removed there, so those of others are left.
    for stranger in ["s1", "s2", "s3"] {
        submit_as(&gateway.sim.url(), stranger).await;
    }
    gateway
        .sim
        .wait_for(|sim| sim.queued() == 0 && ["s1", "s2", "s3"].iter().all(|it| sim.remembers(it)))
        .await
        .unwrap();
    let keys = async |path: &str| {
        let answer = gateway.get(&of(&url, path)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
        answer.json().as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys("history?limit=2").await, ["s2", "s3"]);
    let all = keys("history").await;
    let place = all.iter().position(|it| it == "s1").unwrap();
    assert_eq!(keys(&format!("history?limit=1&offset={place}")).await, ["s1"]);
    let entry = gateway.get(&of(&url, "history/s2")).await.json();
    assert_eq!((&entry["status"]["completed"], &entry["prompt"][3]), (&json!(true), &json!({})), "{entry}");
    for (path, code) in [
        ("history?limit=0", "out_of_range"),
        ("history?limit=201", "out_of_range"),
        ("history?limit=x", "out_of_range"),
        ("history?offset=-1", "out_of_range"),
        ("history?max_items=3", "unknown_field"),
        ("history/..%2Fqueue", "not_allowed"),
        ("models/a%5Cb", "not_allowed"),
    ] {
        let answer = gateway.get(&of(&url, path)).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{path}: {}", answer.json());
    }

    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&id, "running").await;
    submit_as(&url, "s4").await;
    let queue = gateway.get(&of(&url, "queue")).await.json();
    let (ours, other) = (json!([{"prompt_id": id, "job": id}]), json!([{"prompt_id": "s4", "job": null}]));
    assert_eq!(queue, json!({"running": ours, "pending": other}));
    gateway.sim.release();
    gateway.close().await;
}

#[actix_web::test]
async fn an_operator_frees_the_memory_of_one_backend() {
    let gateway = with_keys().start().await;
    let free = of(&gateway.sim.url(), "free");
    let told = || {
        let told = gateway.sim.requests().into_iter().filter(|it| it.method == "POST" && it.path == "/free");
        told.map(|it| serde_json::from_slice::<Value>(&it.body).unwrap()).collect::<Vec<_>>()
    };
    let both = gateway.post(&free, &json!({})).await;
    assert_eq!((both.status, both.json()), (202, json!({"unload_models": true, "free_memory": true})));
    let one = gateway.post(&free, &json!({"free_memory": false})).await;
    assert_eq!(one.json(), json!({"unload_models": true, "free_memory": false}));
    let expected =
        [json!({"unload_models": true, "free_memory": true}), json!({"unload_models": true, "free_memory": false})];
    assert_eq!(told(), expected);
    for (body, code) in [
        (json!({"unload_models": "true"}), "invalid_type"),
        (json!({"free_memory": 1}), "invalid_type"),
        (json!({"free_memory": null}), "invalid_type"),
        (json!({"everything": true}), "unknown_field"),
        (json!({"unload_models": false, "free_memory": false}), "not_allowed"),
        (json!([true]), "invalid_json"),
    ] {
        let answer = gateway.post(&free, &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{body}: {}", answer.json());
    }
    assert_eq!(told().len(), 2, "what was refused was sent");
    let (_, submits) = make(&gateway, "shop", &["submit", "read"]).await;
    for (key, status) in [("", 401), (submits.as_str(), 403), (OPERATOR, 202)] {
        assert_eq!(ask(&gateway, key, "POST", &free, &json!({})).await.status, status, "{key}");
        let stats = ask(&gateway, key, "GET", &of(&gateway.sim.url(), "stats"), &Value::Null).await;
        assert_eq!(stats.status, if status == 202 { 200 } else { status }, "{key}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn an_operator_interrupts_the_prompt_that_runs_and_no_other() {
    let gateway = with_keys().start().await;
    let (inbox, interrupt) = (Inbox::open(), of(&gateway.sim.url(), "interrupt"));
    gateway.sim.inject(Fault::Slow(std::time::Duration::from_millis(300)));
    let id = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&id, "running").await;
    submit_as(&gateway.sim.url(), "waits").await;
    let sent = || gateway.sim.requests().iter().filter(|it| it.path == "/interrupt").count();
    for other in ["waits", "nobody"] {
        let answer = gateway.post(&interrupt, &json!({"prompt_id": other})).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"prompt_id": other, "was_running": false})));
    }
    for body in [json!({}), json!({"prompt_id": ""}), json!({"prompt_id": null}), json!({"prompt_id": ["x"]})] {
        assert_eq!(gateway.post(&interrupt, &body).await.status, 400, "{body}");
    }
    assert_eq!(sent(), 0, "an interrupt was sent that could hit somebody else");
    let answer = gateway.post(&interrupt, &json!({"prompt_id": id})).await;
    assert_eq!(answer.json(), json!({"prompt_id": id, "was_running": true}));
    let webhook = inbox.next().await;
    assert_eq!(
        (&webhook.body["status"], &webhook.body["code"]),
        (&json!("failure"), &json!("interrupted")),
        "{}",
        webhook.body
    );
    gateway.sim.wait_for(|sim| sim.remembers("waits")).await.unwrap();
    assert_eq!(sent(), 1);
    gateway.close().await;
}

#[actix_web::test]
async fn a_backend_that_is_older_broken_or_hostile_is_told_as_such_and_passes_nothing_on() {
    let key = "comfyui-0123456789abcdef";
    let history = json!({"p": {"prompt": [1, "p", {"1": {}}, {"api_key_comfy_org": key}, [], {"auth_token_comfy_org": key}], "outputs": {}},
        "q": {"prompt": {"api_key_comfy_org": key}}});
    let log = json!({"entries": [{"t": "x", "m": format!("HF_TOKEN={key}\n")}, 5]});
    let cases = [
        ("stats", "404 Not Found", String::new(), 501, "not_supported_by_backend"),
        ("models/loras", "404 Not Found", String::new(), 501, "not_supported_by_backend"),
        ("embeddings", "405 Method Not Allowed", String::new(), 501, "not_supported_by_backend"),
        ("features", "500 Internal Server Error", "trouble at /home/u/ComfyUI/x.py".to_owned(), 502, "backend_refused"),
        ("features", "401 Unauthorized", String::new(), 502, "backend_refused"),
        ("features", "302 Found", String::new(), 502, "backend_refused"),
        ("features", "200 OK", "<html>".to_owned(), 502, "backend_refused"),
        ("logs", "200 OK", "[]".to_owned(), 502, "backend_refused"),
        ("stats", "200 OK", format!("\"{}\"", "x".repeat(9 << 20)), 502, "backend_refused"),
        ("queue", "200 OK", "{}".to_owned(), 502, "backend_refused"),
        ("stats", "200 OK", r#"{"a": NaN}"#.to_owned(), 200, ""),
        ("history", "200 OK", history.to_string(), 200, ""),
        ("logs", "200 OK", log.to_string(), 200, ""),
    ];
    for (path, status, body, expected, code) in cases {
        let (gateway, url) = before(move || Some((status, body.clone()))).await;
        let answer = gateway.get(&of(&url, path)).await;
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert_eq!((answer.status, answer.code().as_str()), (expected, code), "{path} {status}: {text}");
        assert!(!text.contains(key) && !text.contains("/home/u"), "{path}: {text}");
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "{path}: {text}");
        if expected == 501 {
            let asked = if path == "stats" { "/system_stats" } else { path.split('/').next().unwrap() };
            assert!(text.contains(asked), "{path}: {text}");
        }
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let mut setup = Setup::new();
    setup.settings.backends.addresses = vec![url.parse().unwrap()];
    let gateway = setup.start_alone().await;
    let answer = gateway.get(&of(&url, "stats")).await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "backend_unreachable"), "{}", answer.json());
}

#[actix_web::test]
async fn answers_that_never_come_take_no_more_than_their_places() {
    let answers_now = Arc::new(AtomicBool::new(false));
    let does = Arc::clone(&answers_now);
    let (gateway, url) = before(move || does.load(Ordering::Acquire).then(|| ("200 OK", "{}".to_owned()))).await;
    let path = of(&url, "stats");
    let asked = (0..6).map(|_| gateway.get(&path));
    let answers: Vec<Answer> = futures_util::future::join_all(asked).await;
    let count = |code: &str, status: u16| answers.iter().filter(|it| it.code() == code && it.status == status).count();
    assert_eq!((count("backend_unreachable", 504), count("backend_calls_busy", 503)), (4, 2), "{answers:?}");
    answers_now.store(true, Ordering::Release);
    let again = (0..4).map(|_| gateway.get(&path));
    let answers: Vec<Answer> = futures_util::future::join_all(again).await;
    assert!(answers.iter().all(|it| it.status == 200), "there are places again: {answers:?}");
}

#[actix_web::test]
async fn an_answer_has_its_place_until_it_is_read() {
    let body = format!("\"{}\"", "x".repeat(8_000_000));
    let (gateway, url) = before(move || Some(("200 OK", body.clone()))).await;
    let path = of(&url, "stats");
    let mut readers = Vec::new();
    for _ in 0..4 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut reader = socket.connect(gateway.address()).await.unwrap();
        let ask = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", gateway.address());
        reader.write_all(ask.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        let read = tokio::time::timeout(PATIENCE, reader.read_exact(&mut head)).await.unwrap();
        assert_eq!((read.unwrap(), &head[..]), (12, &b"HTTP/1.1 200"[..]));
        readers.push(reader);
    }
    let busy = gateway.get(&path).await;
    assert_eq!((busy.status, busy.code().as_str()), (503, "backend_calls_busy"));
    // One is read to its end, and one is given up.
    let mut left = Vec::new();
    let mut reader = readers.pop().unwrap();
    tokio::time::timeout(PATIENCE, reader.read_to_end(&mut left)).await.unwrap().unwrap();
    assert!(left.ends_with(b"xx\""), "the answer is whole");
    let next = eventually("there is a place again", async || {
        let answer = gateway.get(&path).await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert_eq!((next.status, next.bytes.len()), (200, 8_000_002));
    drop(readers);
    eventually("all places are there again", async || {
        let answers: Vec<Answer> = futures_util::future::join_all((0..4).map(|_| gateway.get(&path))).await;
        answers.iter().all(|it| it.status == 200).then_some(())
    })
    .await;
}

/// A gateway whose only backend gives every request what `answer` returns, a status and a body; none at all where it is none,
/// save on the way to a socket.
async fn before(answer: impl Fn() -> Option<(&'static str, String)> + Send + Sync + 'static) -> (TestGateway, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    actix_web::rt::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            actix_web::rt::spawn(async move {
                let mut head = vec![0; 64 * 1024];
                let read = caller.read(&mut head).await.unwrap_or(0);
                let answer = match answer() {
                    None if head.get(..read).unwrap().starts_with(b"GET /ws") => Some(("404 Not Found", String::new())),
                    answer => answer,
                };
                let Some((status, body)) = answer else { return std::future::pending().await };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nlocation: /x\r\nconnection: close\r\n\r\n{body}"
                );
                caller.write_all(answer.as_bytes()).await.ok();
            });
        }
    });
    let mut setup = Setup::new();
    setup.settings.backends.addresses = vec![url.parse().unwrap()];
    (setup.start_alone().await, url)
}

/// The path of something that belongs to a backend.
fn of(url: &str, rest: &str) -> String {
    format!("/backends/{}/{rest}", encoded(url))
}

/// A backend's name as a path has it.
pub(crate) fn encoded(url: &str) -> String {
    url.replace(':', "%3A").replace('/', "%2F")
}

async fn submit_as(url: &str, prompt: &str) {
    let graph = json!({"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 5}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}});
    let body = json!({"prompt": graph, "prompt_id": prompt, "client_id": "a stranger", "extra_data": {"client_id": "a stranger"}});
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(format!("{url}/prompt")).body(body.to_string()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

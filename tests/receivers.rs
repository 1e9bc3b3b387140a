//! The receivers in the documentation really run, take what the notifier really sends, and refuse what is wrong.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this whole program is a test")]

#[path = "support/own_folder.rs"]
mod own_folder;

use bytes::Bytes;
use comfygate::clock::{Clock, SystemClock};
use comfygate::egress::{Guard, Rules, SystemLookup};
use comfygate::job::{
    Advance, Announcement, Audience, BlobId, BodyRules, FailedNode, Failure, FailureCode, Job, JobId, JobState, Limits,
    LinkKey, News, NodeAdvance, NodeTime, Outcome, Output, Profile, Request, Segment, Tenant, WebhookEvent, freeze,
    freeze_run,
};
use comfygate::lifecycle::Lifecycle;
use comfygate::media::{Blobs, body_stream};
use comfygate::notifier::{self, Parts};
use comfygate::settings::{EgressSettings, WebhookSettings};
use comfygate::signing::{Keyring, Office, Options};
use comfygate::store::{Attempt, DeliveryState, Ending, NewJob, SecretKind, SqliteStore, Store};
use futures_util::TryStreamExt;
use own_folder::Folder;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// How long anything may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the receivers are told to take at most.
const MAX_BYTES: usize = 100_000;

#[tokio::test]
async fn the_python_receiver_keeps_what_is_sent_once_and_refuses_what_is_wrong() {
    hold_to_its_word("python3", "receiver.py").await;
}

#[tokio::test]
async fn the_node_receiver_keeps_what_is_sent_once_and_refuses_what_is_wrong() {
    hold_to_its_word("node", "receiver.mjs").await;
}

#[test]
fn the_receivers_do_not_start_without_a_secret_that_protects() {
    for (interpreter, script) in [("python3", "receiver.py"), ("node", "receiver.mjs")] {
        for secret in ["", " ", "whsec_", "whsec_AAAA", &format!("whsec_{} whsec_AAAA", "QUJD".repeat(10))] {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/receivers").join(script);
            let folder = tempfile::tempdir().unwrap();
            let mut command = Command::new(interpreter);
            command.arg(&script).args(["--port", "0", "--folder"]).arg(folder.path()).env("WEBHOOK_SECRET", secret);
            let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            assert!(!child.wait().unwrap().success(), "{interpreter} starts with `{secret}`");
            assert!(said.contains("WEBHOOK_SECRET is missing or too short"), "{interpreter}, `{secret}`: {said}");
        }
    }
}

#[test]
fn the_documented_bodies_have_the_fields_that_are_sent() {
    let document = include_str!("../docs/WEBHOOKS.md");
    let examples: Vec<Value> = document
        .split("```json")
        .skip(1)
        .map(|rest| serde_json::from_str(rest.split("```").next().unwrap()).unwrap())
        .collect();
    let [success, failure, events @ ..] = examples.as_slice() else { panic!("there are {} examples", examples.len()) };
    let output = |index| Output {
        node_id: "9".into(),
        index,
        content_type: "image/png".into(),
        filename: Some("ComfyUI_00001_.png".into()),
        bytes: 20,
        sha256: BlobId("ab".repeat(32)),
        metadata_stripped: None,
        origin: None,
    };
    let mut failed = Failure::new(FailureCode::NodeError, "it failed");
    failed.node = Some(FailedNode { id: "31".into(), class: "KSampler".into(), message: "it failed".into() });
    let succeeded = Outcome::Succeeded(vec![output(0), output(1)]);
    let cases = [(success, succeeded, Some(profile())), (failure, Outcome::Failed(failed, vec![]), None)];
    for (example, outcome, profile) in cases {
        let now = SystemClock::start().now();
        let rules = BodyRules::new("http://127.0.0.1:8083", LinkKey::new([7; 32]));
        let sent = freeze_run(&job(), &outcome, profile.as_ref(), now, &rules);
        let text: String = sent
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::Text(text) => text.as_str(),
                Segment::Base64(..) => "iVBORw0KGgo=",
            })
            .collect();
        assert_eq!(shape(&serde_json::from_str(&text).unwrap()), shape(example));
    }
    let mut told = job();
    told.request.webhook_events = WebhookEvent::ALL.into();
    let audience = Audience::of(&told, 1).unwrap();
    let node = NodeAdvance { id: "3".into(), bar: Some((8.0, 20.0)) };
    let advance = Advance { fraction: 0.5, node: Some(node) };
    let output = Output { filename: None, ..output(0) };
    let all = [News::Started, News::Progress(advance), News::Output(output)];
    assert_eq!(events.len(), all.len());
    for (example, news) in events.iter().zip(all) {
        let body = Announcement { audience: Arc::clone(&audience), at: SystemClock::start().now(), news }.body();
        let [Segment::Text(text)] = body.segments.as_slice() else { panic!("an event has holes") };
        assert_eq!(shape(&serde_json::from_str(text).unwrap()), shape(example));
    }
    for code in FailureCode::ALL {
        assert!(document.contains(&format!("\n| `{}` | ", code.as_str())), "{} is not documented", code.as_str());
    }
}

/// How a run went of which all was heard.
fn profile() -> Profile {
    let (class, title) = (Some("KSampler".to_owned()), Some("Sampler".to_owned()));
    Profile {
        backend: "one".into(),
        run: 1,
        queued_ms: 180,
        waited_ms: Some(12),
        run_ms: 8207,
        nodes_executed: 6,
        nodes_cached: 1,
        partial: false,
        is_from_history: false,
        nodes: vec![NodeTime { id: "31".into(), class, title, at_ms: 1, ms: 7391 }],
    }
}

async fn hold_to_its_word(interpreter: &str, script: &str) {
    let sender = Sender::new().await;
    let receiver = Running::start(interpreter, script, &sender.secret).await;

    let images = [png(2), png(3)];
    let success = sender.deliver(&receiver.url, 1, &images).await;
    assert_eq!(success.answer, (Some(200), DeliveryState::Delivered, r#"{"answer": "received"}"#.replace(' ', "")));
    let kept = receiver.kept(&success.webhook_id);
    assert_eq!(kept.names(), ["0.png", "1.png", "result.json"]);
    assert_eq!([kept.bytes("0.png"), kept.bytes("1.png")], images);
    let result: Value = serde_json::from_slice(&kept.bytes("result.json")).unwrap();
    assert_eq!((&result["status"], &result["seed"], &result["images"]), (&json!("success"), &json!(1), &Value::Null));

    let failure = sender.deliver(&receiver.url, 2, &[]).await;
    assert_eq!((failure.answer.0, failure.answer.1), (Some(200), DeliveryState::Delivered));
    assert_eq!(receiver.kept(&failure.webhook_id).names(), ["result.json"]);

    // An event is taken and not kept; one of another job is refused.
    let id = success.webhook_id.strip_prefix("msg_").unwrap();
    let own = uuid::Uuid::parse_str(id).unwrap();
    for (prompt, status) in [(own, 200), (uuid::Uuid::nil(), 400)] {
        let event = json!({ "type": "generation.started", "status": "running", "prompt_id": prompt.to_string() });
        let event = event.to_string().into_bytes();
        let told = Delivered { webhook_id: format!("{}_started_1", success.webhook_id), ..success.clone() };
        assert_eq!(receiver.post(&told.headers(&event), &event).await, status, "{interpreter}");
    }
    assert_eq!(receiver.folders(), 2);

    // A repetition is answered as a success and changes nothing, nor does one that comes while the first is kept.
    std::fs::write(kept.0.join("0.png"), b"marked").unwrap();
    assert_eq!(receiver.post(&success.headers(&success.body), &success.body).await, 200);
    assert_eq!(kept.bytes("0.png"), b"marked");
    std::fs::remove_dir_all(&kept.0).unwrap();
    let (headers, body) = (success.headers(&success.body), success.body.as_slice());
    let at_once = futures_util::future::join_all((0..8).map(|_| receiver.post(&headers, body))).await;
    assert_eq!(at_once, [200; 8]);
    assert_eq!(kept.bytes("0.png"), images[0]);
    assert_eq!(receiver.folders(), 2);

    std::fs::remove_dir_all(&kept.0).unwrap();
    for (name, status, headers, body) in broken(&success) {
        assert_eq!(receiver.post(&headers, &body).await, status, "{interpreter}: {name}");
    }
    for (name, status, head) in [
        ("another method", 405, "GET /webhook HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("another path", 404, "POST /other HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"),
        ("no length", 411, "POST /webhook HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ] {
        assert_eq!(receiver.send(head.as_bytes()).await, status, "{interpreter}: {name}");
    }
    assert_eq!(receiver.folders(), 1, "{interpreter}: something that was refused was kept");
    assert_eq!(
        receiver.post(&success.headers(&success.body), &success.body).await,
        200,
        "{interpreter}: it still serves"
    );
    assert_eq!(receiver.folders(), 2);
}

type Broken = (&'static str, u16, Vec<(String, String)>, Vec<u8>);

fn broken(good: &Delivered) -> Vec<Broken> {
    let with = |name: &str, value: &str| {
        let mut headers = good.headers(&good.body);
        headers.retain(|(found, _)| found != name);
        if !value.is_empty() {
            headers.push((name.into(), value.into()));
        }
        headers
    };
    let now = SystemClock::start().now().millis() / 1000;
    let signature = sign(&good.secret, &good.webhook_id, now, &good.body);
    let strangers = sign(&format!("whsec_{}", "QUJD".repeat(10)), &good.webhook_id, now, &good.body);
    let mut cases = Vec::new();
    let other_job = Delivered { webhook_id: format!("msg_{}", "0".repeat(32)), ..good.clone() };
    cases.push(("the id of another job", 400, other_job.headers(&good.body), good.body.clone()));
    let changed: Vec<u8> = good.body.iter().map(|&byte| if byte == b'1' { b'2' } else { byte }).collect();
    cases.push(("a body that was changed", 401, good.headers(&good.body), changed));
    for (name, status, headers) in [
        ("no content type", 415, with("content-type", "")),
        ("another content type", 415, with("content-type", "text/plain")),
        ("no id", 400, with("webhook-id", "")),
        ("an id that would be a path", 400, with("webhook-id", "msg_../../../../../../../../etc/x")),
        ("no timestamp", 400, with("webhook-timestamp", "")),
        ("a timestamp that is no number", 400, with("webhook-timestamp", "1e9")),
        ("an old timestamp", 400, with("webhook-timestamp", &(now - 400).to_string())),
        ("a timestamp to come", 400, with("webhook-timestamp", &(now + 400).to_string())),
        ("the timestamp of another attempt", 401, with("webhook-timestamp", &(now - 100).to_string())),
        ("the id of another webhook", 401, with("webhook-id", &format!("msg_{}", "a".repeat(32)))),
        ("no signature", 401, with("webhook-signature", "")),
        ("a signature that is empty", 401, with("webhook-signature", "v1,")),
        ("a signature that is none", 401, with("webhook-signature", "v1,é v1 , v1,, ")),
        ("a signature of another version", 401, with("webhook-signature", &signature.replace("v1,", "v2,"))),
        ("a signature with another secret", 401, with("webhook-signature", &strangers)),
    ] {
        cases.push((name, status, headers, good.body.clone()));
    }
    let other_image = json!(base64(&png(9)));
    let edits: [Edit<'_>; 10] = [
        ("an unknown status", &|body| body["status"] = json!("maybe")),
        ("no prompt id", &|body| body["prompt_id"] = json!(null)),
        ("images that are no list", &|body| body["images"] = json!("x")),
        ("an image that is no text", &|body| body["images"][0] = json!(7)),
        ("an image that is not base64", &|body| body["images"][0] = json!("%%%%")),
        ("an image that is none", &|body| body["images"][0] = json!(base64(b"plain text, no image"))),
        ("an image that outputs do not know", &|body| body["images"][0] = other_image.clone()),
        ("an image too many", &|body| body["images"].as_array_mut().unwrap().push(other_image.clone())),
        ("outputs that are no list", &|body| body["outputs"] = json!({})),
        ("a failure with images", &|body| body["status"] = json!("failure")),
    ];
    for (name, edit) in edits {
        let mut body: Value = serde_json::from_slice(&good.body).unwrap();
        edit(&mut body);
        let body = body.to_string().into_bytes();
        cases.push((name, 400, good.headers(&body), body));
    }
    for (name, status, body) in [
        ("nothing", 400, Vec::new()),
        ("no object", 400, b"[]".to_vec()),
        ("half a body", 400, good.body.iter().copied().take(good.body.len() / 2).collect()),
        ("what is no UTF-8", 400, b"{\"status\":\"\xff\"}".to_vec()),
        ("a constant that is not JSON", 400, b"{\"status\":NaN}".to_vec()),
        ("a very deep body", 400, "[".repeat(90_000).into_bytes()),
        ("too much", 413, vec![b' '; MAX_BYTES + 1]),
    ] {
        cases.push((name, status, good.headers(&body), body));
    }
    cases
}

/// Spoils a good body.
type Edit<'a> = (&'static str, &'a dyn Fn(&mut Value));

/// A receiver in a process of its own, which ends with this.
struct Running {
    child: Child,
    url: String,
    address: String,
    folder: TempDir,
}

impl Running {
    async fn start(interpreter: &str, script: &str, secret: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/receivers").join(script);
        let started = Command::new(interpreter)
            .arg(&script)
            .args(["--port", "0", "--max-bytes", &MAX_BYTES.to_string(), "--folder"])
            .arg(folder.path())
            .env("WEBHOOK_SECRET", format!("whsec_{} {secret}", "QUJE".repeat(10)))
            .stdout(Stdio::piped())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("`{interpreter}` is not on PATH: install it, the receivers in docs/receivers are tested with it")
            }
            Err(error) => panic!("`{interpreter}` cannot be started: {error}"),
        };
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut running = Self { child, url: String::new(), address: String::new(), folder };
        let first_line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            output.read_line(&mut line).map(|_| line)
        });
        let line = tokio::time::timeout(PATIENCE, first_line).await.unwrap().unwrap().unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{interpreter} said `{line}`"));
        running.address = url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
        url.clone_into(&mut running.url);
        running
    }

    /// Posts a body and returns the status.
    async fn post(&self, headers: &[(String, String)], body: &[u8]) -> u16 {
        use std::fmt::Write;
        let mut head =
            format!("POST /webhook HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n", self.address, body.len());
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head.push_str("\r\n");
        self.send(&[head.as_bytes(), body].concat()).await
    }

    /// Sends a request as it is and returns the status.
    async fn send(&self, request: &[u8]) -> u16 {
        let exchange = async {
            let mut stream = TcpStream::connect(&self.address).await.unwrap();
            stream.write_all(request).await.unwrap();
            let mut answer = Vec::new();
            while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
                assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the connection ended without an answer");
            }
            let line = String::from_utf8(answer).unwrap();
            line.split(' ').nth(1).unwrap().parse().unwrap()
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap()
    }

    fn kept(&self, webhook_id: &str) -> Kept {
        Kept(self.folder.path().join(webhook_id))
    }

    /// Counts everything in the folder, what was begun and not ended included.
    fn folders(&self) -> usize {
        std::fs::read_dir(self.folder.path()).unwrap().count()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder of one webhook.
struct Kept(PathBuf);

impl Kept {
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }
}

/// A webhook that the notifier has delivered.
#[derive(Clone)]
struct Delivered {
    webhook_id: String,
    secret: String,
    body: Vec<u8>,
    answer: (Option<u16>, DeliveryState, String),
}

impl Delivered {
    /// Returns the headers of another attempt now, with this body.
    fn headers(&self, body: &[u8]) -> Vec<(String, String)> {
        let now = SystemClock::start().now().millis() / 1000;
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("webhook-id", self.webhook_id.clone()),
            ("webhook-timestamp", now.to_string()),
            ("webhook-signature", sign(&self.secret, &self.webhook_id, now, body)),
        ];
        headers.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

/// A store with a notifier.
struct Sender {
    store: Arc<SqliteStore>,
    blobs: Arc<Blobs>,
    clock: Arc<SystemClock>,
    bell: Arc<Notify>,
    /// What its webhooks are signed with.
    secret: String,
    _folder: Folder,
}

impl Sender {
    async fn new() -> Self {
        let folder = Folder::new();
        let (store, clock) = (SqliteStore::open(folder.path()).unwrap(), SystemClock::start());
        let office = Office::new(Arc::clone(&store) as _, Arc::clone(&clock) as _, |bytes| rand::fill(bytes));
        let current = office.current(&Tenant::default(), None, SecretKind::Hmac).await.unwrap();
        let options = Options { ed25519: false };
        let keyring =
            Keyring::new(Arc::clone(&store) as _, Arc::clone(&clock) as _, |bytes| rand::fill(bytes), options);
        let sender = Self {
            store,
            blobs: Arc::new(Blobs::open(folder.path()).unwrap()),
            clock,
            bell: Arc::default(),
            secret: current.secret.expose().to_owned(),
            _folder: folder,
        };
        let lifecycle = Lifecycle::new();
        let blobs = Arc::clone(&sender.blobs);
        let parts = Parts {
            store: Arc::clone(&sender.store) as Arc<dyn Store>,
            clock: Arc::clone(&sender.clock) as Arc<dyn Clock>,
            lifecycle: lifecycle.clone(),
            bell: Arc::clone(&sender.bell),
            announcer: notifier::Announcer::new(Arc::clone(&sender.clock) as Arc<dyn Clock>),
            body: Arc::new(move |body| Box::pin(body_stream(Arc::clone(&blobs), body.clone()))),
            keyring: Some(Arc::new(keyring)),
            settings: WebhookSettings::default(),
            guard: Guard::new(Rules::new(&EgressSettings::default(), true), Arc::new(SystemLookup)),
            grace: Duration::ZERO,
            random: Box::new(|| 0.5),
            standing: Arc::default(),
        };
        lifecycle.spawn_station("notifier", notifier::run(parts, lifecycle.stop()));
        sender
    }

    /// Ends a job with these images, or as failed where there are none, and waits for the first attempt.
    async fn deliver(&self, url: &str, number: u8, images: &[Vec<u8>]) -> Delivered {
        let now = self.clock.now();
        let id = JobId::new(now, [number; 10]);
        self.store
            .accept(NewJob {
                id,
                tenant: Tenant::default(),
                request: request(url),
                created_at: now,
                idempotency: None,
                own_revision: None,
            })
            .await
            .unwrap();
        let job = self.store.job(id).await.unwrap().unwrap();
        let outcome = self.outcome(images).await;
        let body = freeze(&job, &outcome, now, &BodyRules::new("http://127.0.0.1:8083", LinkKey::new([7; 32])));
        let pieces: Vec<Bytes> = body_stream(Arc::clone(&self.blobs), body.clone()).try_collect().await.unwrap();
        assert!(
            self.store
                .finish(Ending { job: id, run: None, outcome, body, profile: None, ended_at: now })
                .await
                .unwrap()
        );
        self.bell.notify_one();
        let (state, attempt) = tokio::time::timeout(PATIENCE, self.first_attempt(&job)).await.unwrap();
        let answer = (attempt.status, state, attempt.snippet.replace(' ', ""));
        Delivered { webhook_id: id.webhook_id(), secret: self.secret.clone(), body: pieces.concat(), answer }
    }

    async fn outcome(&self, images: &[Vec<u8>]) -> Outcome {
        if images.is_empty() {
            return Outcome::Failed(Failure::new(FailureCode::TimeoutRun, "it ran for too long"), vec![]);
        }
        let mut outputs = Vec::new();
        for (index, image) in (0..).zip(images) {
            let (sha256, bytes) = self.blobs.put(image.clone().into()).await.unwrap();
            let content_type = "image/png".into();
            outputs.push(Output {
                node_id: "9".into(),
                index,
                content_type,
                filename: None,
                bytes,
                sha256,
                metadata_stripped: None,
                origin: None,
            });
        }
        Outcome::Succeeded(outputs)
    }

    async fn first_attempt(&self, job: &Job) -> (DeliveryState, Attempt) {
        loop {
            let (delivery, mut attempts) = self.store.delivery(job.id).await.unwrap().unwrap();
            if let Some(first) = attempts.pop() {
                return (delivery.state, first);
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Replaces every value by its kind.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("boolean"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("text"),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
    }
}

fn job() -> Job {
    let now = SystemClock::start().now();
    Job {
        id: JobId::new(now, [1; 10]),
        tenant: Tenant::default(),
        request: request("http://127.0.0.1:8090/webhook"),
        state: JobState::Running,
        run: None,
        cancel_requested: false,
        created_at: now,
        submitted_at: None,
        started_at: None,
        ended_at: None,
    }
}

fn request(url: &str) -> Request {
    let limit = Duration::from_mins(1);
    Request {
        seed: Some(1),
        expected_images: Some(2),
        webhook_url: Some(url.into()),
        metadata: Some(json!({"order": 7})),
        ..Request::plain("canvas", "r", Limits { queue: limit, start: limit, silence: limit, run: limit })
    }
}

/// Draws a grey square.
fn png(side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&vec![128; (side * side) as usize]).unwrap();
    writer.finish().unwrap();
    bytes
}

/// Signs as the specification says, without the code that is tested.
fn sign(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> String {
    use base64::Engine;
    use hmac::{Hmac, KeyInit, Mac};
    let key = base64::engine::general_purpose::STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
    let mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap().chain_update(format!("{id}.{timestamp}.").as_bytes());
    format!("v1,{}", base64(&mac.chain_update(body).finalize().into_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

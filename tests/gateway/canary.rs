//! What is never shown: a string that is like no other goes through every input, and afterwards everything that the gateway
//! has put out is searched for each of them. The table says where each may be found, and where it must.

mod pool;
mod ways;

use crate::image_hosts::Host;
use crate::input_images::{photo, png, with_photos};
use crate::support::{Program, Setup, client, eventually};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use comfygate::sim::{Fault, Refusal, Sim, SimOptions};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where something may be found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    /// Standard output and standard error of the gateway, at the level `trace`.
    Log,
    /// Answers to callers without a key, with a wrong one, or with another tenant's.
    Strangers,
    /// Answers to the caller who sent it.
    Owner,
    /// Answers to the operator.
    Operator,
    /// What the commands write.
    Commands,
    /// What receivers get.
    Receiver,
    /// What ComfyUI knows.
    Backend,
    /// What stands before `ComfyUI` hears.
    Way,
    /// The database.
    Database,
    /// Stored outputs: `ComfyUI` writes the graph into its files.
    Outputs,
    /// Any other file of the data folder, and the names of all.
    Files,
}

use Place::{Backend, Commands, Database, Files, Log, Operator, Outputs, Owner, Receiver, Strangers, Way};

/// Every canary: its name, where it must be found, so that it surely went in, and where else it may be.
const TABLE: &[(&str, &[Place], &[Place])] = &[
    // ComfyUI writes the graph into its files, so whoever gets the image gets these too.
    ("prompt", &[Database, Backend], &[Outputs, Owner, Receiver, Operator]),
    ("template", &[Database, Backend], &[Outputs, Owner, Receiver, Operator]),
    ("metadata", &[Owner, Receiver, Database], &[Operator]),
    ("idempotency", &[Database], &[Owner]),
    ("path", &[Owner, Receiver, Database, Commands], &[Operator]),
    ("query", &[Receiver, Database], &[]),
    ("userinfo", &[], &[]),
    ("bearer", &[], &[]),
    ("basic", &[], &[]),
    ("header", &[], &[]),
    ("keyquery", &[], &[]),
    ("cookie", &[], &[]),
    ("ownerkey", &[], &[]),
    ("otherkey", &[], &[]),
    ("adminkey", &[], &[]),
    ("answer", &[Owner, Database, Commands], &[Operator]),
    ("answerheader", &[], &[]),
    ("nodeerror", &[Owner, Receiver, Database, Backend], &[Operator]),
    ("refusal", &[Owner, Receiver, Database], &[Operator]),
    ("filename", &[Owner, Receiver, Database, Backend], &[Operator, Outputs]),
    ("badpair", &[Log, Operator, Commands], &[]),
    ("garbage", &[], &[Owner]),
    ("field", &[], &[Owner]),
    ("filter", &[], &[Owner]),
    ("place", &[], &[Owner]),
    ("address", &[], &[]),
    ("shortkey", &[], &[]),
    ("signing", &[Database], &[]),
    ("linkkey", &[Database], &[]),
    ("linksignature", &[Owner, Receiver, Database], &[Operator]),
    // Of an image that a job works on: its address and its bytes.
    ("imagequery", &[], &[]),
    ("imagebytes", &[Outputs], &[Backend]),
    // The beginning of every PNG, in base64 and as it stands.
    ("partnerkey", &[Backend], &[]),
    ("token", &[], &[]),
    // What whoever stands before ComfyUI is shown.
    ("basicpassword", &[Way], &[]),
    ("headervalue", &[Way], &[]),
    ("proxypassword", &[Way], &[]),
    ("clientsecret", &[Way], &[]),
    ("accesstoken", &[Way], &[]),
    // The same of backends that an operator adds: they are kept.
    ("poolpassword", &[Way, Database], &[]),
    ("poolbearer", &[Way, Database], &[]),
    ("poolheader", &[Way, Database], &[]),
    ("poolclientsecret", &[Way, Database], &[]),
    ("poolproxy", &[Way, Database], &[]),
    ("operatorskey", &[Backend], &[]),
    ("image", &[Owner, Receiver, Outputs], &[Operator, Backend]),
];

#[actix_web::test]
async fn nothing_secret_is_found_where_it_does_not_belong_with_a_log_for_eyes() {
    search_everything("human").await;
}

#[actix_web::test]
async fn nothing_secret_is_found_where_it_does_not_belong_with_a_log_as_json() {
    search_everything("json").await;
}

/// The strings, and all that was put out.
struct Hunt {
    canaries: Mutex<Vec<(&'static str, Vec<u8>)>>,
    found: Mutex<Vec<(Place, String, Vec<u8>)>>,
    client: reqwest::Client,
}

impl Hunt {
    fn new() -> Self {
        let fresh = |name: &str| format!("Cnry{name}{}", uuid::Uuid::new_v4().simple()).into_bytes();
        Self {
            canaries: Mutex::new(TABLE.iter().map(|(name, _, _)| (*name, fresh(name))).collect()),
            found: Mutex::default(),
            client: client().build().unwrap(),
        }
    }

    /// The string that goes in under this name.
    fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let canaries = self.canaries.lock().unwrap();
        canaries.iter().find(|(other, _)| *other == name).unwrap().1.clone()
    }

    /// Takes what the gateway drew itself.
    fn set(&self, name: &str, value: impl Into<Vec<u8>>) {
        self.canaries.lock().unwrap().iter_mut().find(|(other, _)| *other == name).unwrap().1 = value.into();
    }

    fn keep(&self, place: Place, what: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.found.lock().unwrap().push((place, what.into(), bytes.into()));
    }

    /// Sends a request and keeps its answer, headers included.
    async fn ask(&self, place: Place, program: &Program, key: &str, request: Request<'_>) -> (u16, Value) {
        let Request { method, path, headers, body } = request;
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut sent = self.client.request(method, program.url(path));
        if !key.is_empty() {
            sent = sent.bearer_auth(key);
        }
        for (name, value) in headers {
            sent = sent.header(*name, value);
        }
        if !body.is_empty() {
            sent = sent.header("content-type", "application/json").body(body);
        }
        let answer = sent.send().await.unwrap();
        let status = answer.status().as_u16();
        let mut told = format!("{:?}\n", answer.headers()).into_bytes();
        let bytes = answer.bytes().await.unwrap();
        told.extend_from_slice(&bytes);
        self.keep(place, format!("the answer {status} to {path}"), told);
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn generate(&self, program: &Program, key: &str, body: &Value, headers: &[(&str, String)]) -> String {
        let (status, answer) = self.ask(Owner, program, key, post("/generate", body, headers)).await;
        assert_eq!(status, 202, "{answer}");
        answer["prompt_id"].as_str().unwrap().to_owned()
    }

    /// Runs a command and keeps what it writes.
    fn command(&self, folder: &Path, environment: &[(&str, String)], words: &[&str]) -> String {
        let output = run(folder, environment, words);
        self.keep(Commands, words.join(" "), output.clone());
        output
    }

    /// Fails with every canary in a place where it may not be, and with every one that is not where it must be.
    fn judge(&self) {
        let found: Vec<(Place, String, String)> =
            self.found.lock().unwrap().drain(..).map(|(place, what, bytes)| (place, what, plain(&bytes))).collect();
        let mut wrong = Vec::new();
        for (name, must, may) in TABLE {
            let spellings: Vec<String> = spellings(&self.bytes(name)).iter().map(|spelling| plain(spelling)).collect();
            let mut seen = BTreeSet::new();
            for (place, what, text) in &found {
                let hit = spellings.iter().find_map(|spelling| text.split_once(spelling.as_str()));
                let Some((before, after)) = hit else { continue };
                seen.insert(*place);
                if !must.contains(place) && !may.contains(place) {
                    let before: String = before.chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect();
                    let after: String = after.chars().take(100).collect();
                    wrong.push(format!("`{name}` is in {place:?}, {what}: ...{before}#{after}..."));
                }
            }
            for place in must.iter().filter(|place| !seen.contains(place)) {
                wrong.push(format!("`{name}` is not in {place:?}: it did not go in, or it is lost"));
            }
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n\n"));
    }
}

/// A request to the gateway.
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    headers: &'a [(&'a str, String)],
    body: Vec<u8>,
}

fn get(path: &str) -> Request<'_> {
    Request { method: "GET", path, headers: &[], body: Vec::new() }
}

fn post<'a>(path: &'a str, body: &Value, headers: &'a [(&'a str, String)]) -> Request<'a> {
    Request { method: "POST", path, headers, body: body.to_string().into_bytes() }
}

#[expect(clippy::too_many_lines, reason = "it is one story, told once from beginning to end")]
async fn search_everything(format: &str) {
    let hunt = Hunt::new();
    let setup = workflows(&hunt);
    let folder = setup.folder.path();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let receiver = receive(hunt.text("answer"), hunt.text("answerheader"));
    let hook = format!("http://{}/{}/hook?token={}", receiver.address, hunt.text("path"), hunt.text("query"));

    let keys = [("owner", "shop"), ("other", "rival")].map(|(name, tenant)| {
        // What makes a key must show it, this once.
        let made = run(folder, &[], &["keys", "create", "--name", name, "--tenant", tenant, "--json"]);
        let made: Value = serde_json::from_str(&made).unwrap_or_else(|error| panic!("{error}: {made}"));
        made["key"].as_str().unwrap().to_owned()
    });
    let [owner, other] = &keys;
    let admin = hunt.text("adminkey");
    for (name, key) in [("ownerkey", owner), ("otherkey", other)] {
        hunt.set(name, key.rsplit('_').next().unwrap());
    }
    hunt.set("image", b"iVBORw0KGgo".as_slice());

    let environment = [
        ("COMFYGATE_LOG", "trace".to_owned()),
        ("COMFYGATE_LOG_FORMAT", format.to_owned()),
        ("COMFYGATE_KEYS", "required".to_owned()),
        ("COMFYGATE_ADMIN_KEY", admin.clone()),
        ("COMFYGATE_RATE", "100000/m".to_owned()),
        ("COMFYUI_TOKEN", hunt.text("token")),
        ("COMFY_ORG_API_KEY", hunt.text("operatorskey")),
        ("COMFYGATE_WEBHOOK_SCHEDULE", "50ms,50ms,50ms,50ms,50ms".to_owned()),
    ];
    let serve = async |fault: &str| {
        let mut words = vec!["env".to_owned()];
        words.extend(environment.iter().map(|(name, value)| format!("{name}={value}")));
        if !fault.is_empty() {
            words.push(format!("COMFYGATE_CRASH_AT={fault}"));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let program = Program::serve_behind(&words, folder, &sim.url(), &[]).await;
        eventually("it is ready", async || {
            let answer = hunt.client.get(program.url("/ready")).send().await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
        program
    };
    let program = serve("").await;

    // Jobs that end well, after an attempt that the receiver refuses; with events, and as links.
    let mut request = json!({
        "workflow": "canvas", "prompt": hunt.text("prompt"), "width": 64, "height": 64, "webhook_url": hook,
        "metadata": { "note": hunt.text("metadata") }, "webhook_events": ["started", "progress", "output"],
    });
    let idempotency = [("idempotency-key", hunt.text("idempotency"))];
    receiver.refuse(1);
    let id = hunt.generate(&program, owner, &request, &idempotency).await;
    until_told(&hunt, &program, owner, &id).await;
    hunt.generate(&program, owner, &request, &idempotency).await;
    let mut changed = request.clone();
    changed["width"] = json!(128);
    let (status, _) = hunt.ask(Owner, &program, owner, post("/generate", &changed, &idempotency)).await;
    assert_eq!(status, 422);
    request["delivery"] = json!("links");
    request["workflow"] = json!("canvas-files");
    let linked = hunt.generate(&program, owner, &request, &[]).await;
    let job = until_told(&hunt, &program, owner, &linked).await;
    let link = job["outputs"][0]["url"].as_str().unwrap().to_owned();
    let signature = link.split("sig=").nth(1).unwrap().to_owned();
    let path = link.split(program.address()).nth(1).unwrap();
    let followed = hunt.client.get(program.url(path)).send().await.unwrap();
    assert_eq!(followed.status(), 200);
    hunt.keep(Owner, "what a link leads to", followed.bytes().await.unwrap());
    hunt.set("linksignature", signature.clone());
    let forged = path.replace(&signature, &signature.chars().rev().collect::<String>());
    hunt.ask(Strangers, &program, "", get(&forged)).await;
    request["delivery"] = json!("inline");

    // A job that works on an image, and one whose image cannot be fetched.
    let host = Host::serving([png(8, 8, 1), hunt.bytes("imagebytes")].concat()).await;
    let query = format!("/a.png?token={}", hunt.text("imagequery"));
    let fetched = hunt.generate(&program, owner, &photo(json!(host.url(&query))), &[]).await;
    eventually("it has ended", async || {
        let (_, job) = hunt.ask(Owner, &program, owner, get(&format!("/jobs/{fetched}"))).await;
        (job["status"] == "success").then_some(())
    })
    .await;
    let gone = host.url(&query);
    host.close().await;
    let (status, _) = hunt.ask(Owner, &program, owner, post("/generate", &photo(json!(gone)), &[])).await;
    assert_eq!(status, 400);

    // Jobs that end badly, in ComfyUI's own words.
    sim.inject(Fault::FailNode {
        node: "4".into(),
        message: hunt.text("nodeerror"),
        exception_type: "ValueError".into(),
    });
    // What ran before would not run again.
    request["color"] = json!(5);
    let failed = hunt.generate(&program, owner, &request, &[]).await;
    until_told(&hunt, &program, owner, &failed).await;
    request["workflow"] = json!("canvas");
    let refusal = json!({
        "error": { "type": "prompt_outputs_failed_validation", "message": hunt.text("refusal"), "details": "", "extra_info": {} },
        "node_errors": {},
    });
    sim.inject(Fault::Refuse(Refusal::Invalid(refusal.to_string())));
    let refused = hunt.generate(&program, owner, &request, &[]).await;
    until_told(&hunt, &program, owner, &refused).await;
    sim.inject(Fault::Refuse(Refusal::Crash));
    let retried = hunt.generate(&program, owner, &request, &[]).await;
    until_told(&hunt, &program, owner, &retried).await;

    // Keys for partner nodes, which a node repeats when it fails, and which are there to be read in ComfyUI's queue.
    request["workflow"] = json!("canvas-files");
    for (color, key) in [(6, hunt.text("partnerkey")), (7, hunt.text("operatorskey"))] {
        request["color"] = json!(color);
        let message = format!("{key} is not good");
        sim.inject(Fault::FailNode { node: "4".into(), message, exception_type: "ValueError".into() });
        let mut with_key = request.clone();
        if color == 6 {
            with_key["api_key_comfy_org"] = json!(key);
        }
        let failed = hunt.generate(&program, owner, &with_key, &[("idempotency-key", format!("color-{color}"))]).await;
        assert_eq!(until_told(&hunt, &program, owner, &failed).await["code"], "node_error");
    }
    request["workflow"] = json!("canvas");

    // Jobs that are cancelled and jobs that meet a restart.
    sim.inject(Fault::Hang { at: "executing".into() });
    let cancelled = hunt.generate(&program, owner, &request, &[]).await;
    let waiting = hunt.generate(&program, owner, &request, &[]).await;
    sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    for id in [&cancelled, &waiting] {
        hunt.ask(Owner, &program, owner, post(&format!("/jobs/{id}/cancel"), &json!({}), &[])).await;
        hunt.ask(Owner, &program, owner, get(&format!("/jobs/{id}"))).await;
    }
    sim.release();
    until_told(&hunt, &program, owner, &cancelled).await;

    refusals(&hunt, &program, owner, &request).await;
    strangers(&hunt, &program, other, &id, &linked, &failed).await;
    for path in ["/jobs".to_owned(), "/deliveries".into(), format!("/jobs/{failed}/deliveries"), format!("/jobs/{id}")]
    {
        hunt.ask(Owner, &program, owner, get(&path)).await;
        hunt.ask(Operator, &program, &admin, get(&path)).await;
    }
    for path in ["/ready", "/keys", "/health", "/metrics"] {
        hunt.ask(Operator, &program, &admin, get(path)).await;
    }
    hunt.ask(Owner, &program, owner, get("/ready")).await;
    let replay = format!("/jobs/{id}/deliveries/msg_{}/replay", id.replace('-', ""));
    hunt.ask(Owner, &program, owner, post(&replay, &json!({}), &[])).await;
    let url = program.url("");
    let key = [("COMFYGATE_KEY", owner.clone())];
    for words in
        [&["list"][..], &["list", "--json"], &["show", &id], &["show", &failed, "--json"], &["replay", &failed]]
    {
        hunt.command(folder, &key, &[&["deliveries"], words, &["--url", &url]].concat());
    }
    hunt.command(folder, &[("COMFYGATE_KEY", hunt.text("bearer"))], &["deliveries", "list", "--url", &url]);

    // The gateway stops in the middle of a run, panics at many points in its next lives, and stops for good.
    sim.inject(Fault::Hang { at: "executing".into() });
    let restarted = hunt.generate(&program, owner, &request, &[]).await;
    sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    let mut with_key = request.clone();
    with_key["api_key_comfy_org"] = json!(hunt.text("partnerkey"));
    for _ in 0..2 {
        hunt.generate(&program, owner, &with_key, &[]).await;
    }
    sim.wait_for(|sim| sim.queued() >= 2).await.unwrap();
    let queue = hunt.client.get(format!("{}/queue", sim.url())).send().await.unwrap();
    hunt.keep(Backend, "the queue", queue.bytes().await.unwrap());
    end(&hunt, program).await;
    sim.release();
    for fault in [
        "panic:received",
        "panic:writing:3",
        "panic:stepping:4",
        "panic:leased",
        "panic:answered",
        "panic:ending",
        "panic:claimed",
    ] {
        let program = serve(fault).await;
        if let Some(restarted) = Some(&restarted).filter(|_| fault == "panic:received") {
            until_told(&hunt, &program, owner, restarted).await;
        }
        for _ in 0..2 {
            hunt.ask(Owner, &program, owner, post("/generate", &request, &[])).await;
        }
        eventually("it is idle", async || {
            let (_, ready) = hunt.ask(Operator, &program, &admin, get("/ready")).await;
            ["queued", "running", "deliveries"].iter().all(|name| ready["backlog"][name] == 0).then_some(())
        })
        .await;
        assert!(program.log().contains("panicked"), "{fault}: nothing panicked");
        end(&hunt, program).await;
    }

    commands(&hunt, folder);
    ways::reach_it_in_each_way(&hunt, folder, format, sim.addr()).await;
    pool::add_backends_that_say_it_back(&hunt, folder, format, &sim.url()).await;
    let history = hunt.client.get(format!("{}/history", sim.url())).send().await.unwrap();
    hunt.keep(Backend, "the history", history.bytes().await.unwrap());
    for (what, bytes) in receiver.received() {
        hunt.keep(Receiver, what, bytes);
    }
    secrets_of_the_database(&hunt, &folder.join("data"));
    files(&hunt, &folder.join("data"));
    sim.stop().await;
    hunt.judge();
}

/// A pair whose template holds a text and a file name, and one that cannot be loaded.
fn workflows(hunt: &Hunt) -> Setup {
    let setup = Setup::new();
    let read = |kind: &str, ending: &str| {
        std::fs::read_to_string(setup.folder.path().join(kind).join(format!("canvas-files.{ending}"))).unwrap()
    };
    let config = read("configs", "yaml");
    let mut template: Value = serde_json::from_str(&read("templates", "json")).unwrap();
    template["2"]["_meta"]["title"] = json!(hunt.text("template"));
    template["4"]["inputs"]["filename_prefix"] = json!(hunt.text("filename"));
    let template = template.to_string();
    let bad =
        format!("node_mappings:\n  prompt: {{ node_id: \"6\", property: text, type: {} }}\n", hunt.text("badpair"));
    let setup = setup.with_workflow("canvas-files", &config, &template).with_workflow("bad", &bad, &template);
    with_photos(setup)
}

/// Requests that are refused, each with something in it that only its sender may read.
async fn refusals(hunt: &Hunt, program: &Program, owner: &str, good: &Value) {
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let credentials = format!("http://user:{}@127.0.0.1:9/", hunt.text("userinfo"));
    let broken = format!("http://{}:{}@[::bad/", hunt.text("userinfo"), hunt.text("userinfo"));
    for body in [
        with("webhook_url", json!(credentials)),
        with("webhook_url", json!(broken)),
        with("webhook_url", json!(format!("http://169.254.169.254/?token={}", hunt.text("query")))),
        with("prompt", json!([hunt.text("prompt"), 0])),
        with("width", json!(hunt.text("field"))),
        with("unknown", json!(hunt.text("field"))),
        with("seed", json!(hunt.text("field"))),
        with("webhook_events", json!([hunt.text("field")])),
        with("api_key_comfy_org", json!(format!("{}\n", hunt.text("partnerkey")))),
        with("api_key_comfy_org", json!([hunt.text("partnerkey")])),
        with("api_key_comfyorg", json!(hunt.text("field"))),
    ] {
        let (status, answer) = hunt.ask(Owner, program, owner, post("/generate", &body, &[])).await;
        assert_eq!(status, 400, "{answer}");
    }
    let garbage = format!("{{\"prompt\": \"{}", hunt.text("garbage")).into_bytes();
    let request = Request { method: "POST", path: "/generate", headers: &[], body: garbage };
    assert_eq!(hunt.ask(Owner, program, owner, request).await.0, 400);
    let filter = format!("/jobs?status={0}", hunt.text("filter"));
    assert_eq!(hunt.ask(Owner, program, owner, get(&filter)).await.0, 400);
    for path in [format!("/{}", hunt.text("place")), format!("/jobs/{}", hunt.text("place"))] {
        assert_eq!(hunt.ask(Owner, program, owner, get(&path)).await.0, 404);
    }
}

/// Callers who are nobody's, or somebody else's, look at everything that there is.
async fn strangers(hunt: &Hunt, program: &Program, other: &str, id: &str, linked: &str, failed: &str) {
    let shown: [&[(&str, String)]; 6] = [
        &[],
        &[("authorization", format!("Bearer {}", hunt.text("bearer")))],
        &[("authorization", format!("Basic {}", STANDARD.encode(format!("user:{}", hunt.text("basic")))))],
        &[("x-api-key", hunt.text("header"))],
        &[("cookie", format!("session={}", hunt.text("cookie")))],
        &[("proxy-authorization", format!("Bearer {}", hunt.text("bearer")))],
    ];
    let mut paths: Vec<String> =
        ["/health", "/ready", "/jobs", "/deliveries", "/nothing", "/keys", "/metrics"].map(str::to_owned).into();
    for id in [id, linked, failed] {
        paths.push(format!("/jobs/{id}"));
        paths.push(format!("/jobs/{id}/outputs/0"));
        paths.push(format!("/jobs/{id}/deliveries"));
    }
    for path in &paths {
        for headers in shown {
            let request = Request { method: "GET", path, headers, body: Vec::new() };
            hunt.ask(Strangers, program, "", request).await;
        }
        hunt.ask(Strangers, program, other, get(path)).await;
    }
    for name in ["key", "api_key", "access_token"] {
        let path = format!("/jobs?{name}={}", hunt.text("keyquery"));
        // Whoever shows many wrong keys is held off for a while.
        let (status, _) = hunt.ask(Strangers, program, "", get(&path)).await;
        assert!([401, 429].contains(&status), "{status}");
        hunt.ask(Strangers, program, other, get(&format!("/ready?{name}={}", hunt.text("keyquery")))).await;
    }
    let cancel = format!("/jobs/{id}/cancel");
    hunt.ask(Strangers, program, other, post(&cancel, &json!({}), &[])).await;
    let replay = json!({ "state": "delivered", "since": "2020-01-01T00:00:00Z" });
    hunt.ask(Strangers, program, other, post("/deliveries/replay", &replay, &[])).await;
}

/// The commands, with good settings and with wrong ones.
fn commands(hunt: &Hunt, folder: &Path) {
    let secrets = [("COMFYGATE_ADMIN_KEY", hunt.text("adminkey")), ("COMFYGATE_KEY", hunt.text("bearer"))];
    for words in [
        &["settings"][..],
        &["check"],
        &["fsck"],
        &["fsck", "--json"],
        &["keys", "list"],
        &["keys", "list", "--json"],
        &["webhook", "secret", "list"],
    ] {
        hunt.command(folder, &secrets, words);
    }
    let address = hunt.text("address");
    let wrong = [
        ("COMFYUI_ADDRESS", format!("http://user:{address}@127.0.0.1:9")),
        ("COMFYUI_ADDRESS", format!("http://{address}@127.0.0.1:9/?x")),
        ("COMFYUI_ADDRESS", format!("http://127.0.0.1:9/?token={address}")),
        ("COMFYUI_ADDRESS", format!("http://user:{address}@[::bad")),
        ("COMFYUI_ADDRESS", format!("ftp://user:{address}@127.0.0.1/")),
        ("COMFYGATE_PUBLIC_URL", format!("http://user:{address}@127.0.0.1/")),
        ("COMFYGATE_PUBLIC_URL", format!("http://127.0.0.1/?token={address}")),
        ("COMFYGATE_ADMIN_KEY", format!("{} ", hunt.text("shortkey").get(..20).unwrap())),
        ("COMFYGATE_ADMIN_KEY", format!("{}\u{e4}", hunt.text("shortkey"))),
        ("COMFYGATE_KEY", format!("{}\u{7}", hunt.text("shortkey"))),
        ("COMFYUI_TOKEN", format!("{}\u{e4}", hunt.text("token"))),
        ("COMFY_ORG_API_KEY", format!("{} x", hunt.text("operatorskey"))),
        ("COMFYGATE_ADMIN_KEY_FILE", format!("/nowhere/{}", uuid::Uuid::new_v4())),
    ];
    for (name, value) in wrong {
        for words in [&["check"][..], &["serve", "--address", "127.0.0.1:0"]] {
            let output = hunt.command(folder, &[(name, value.clone())], words);
            assert!(output.contains(name), "{name}={value} was taken: {output}");
        }
        if value.is_ascii() {
            let assignment = format!("{name}={value}");
            hunt.command(folder, &[], &["check", "--set", &assignment]);
            std::fs::write(folder.join("wrong.env"), format!("{assignment}\n")).unwrap();
            hunt.command(folder, &[], &["check", "--env-file", "wrong.env"]);
        }
    }
}

/// The gateway draws some secrets itself; they are in its database, and nowhere else.
fn secrets_of_the_database(hunt: &Hunt, data: &Path) {
    let database = rusqlite::Connection::open(data.join("comfygate.db")).unwrap();
    // All that was written must be in the one file.
    database.pragma_update(None, "wal_checkpoint", "TRUNCATE").ok();
    let one = |sql: &str| database.query_row(sql, [], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    hunt.set("signing", one("SELECT secret FROM signing_secret LIMIT 1"));
    hunt.set("linkkey", one("SELECT secret FROM own_secret WHERE name = 'link'"));
}

fn files(hunt: &Hunt, data: &Path) {
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(data).unwrap().to_string_lossy().into_owned();
            hunt.keep(Files, "a name", name.clone());
            if path.is_dir() {
                folders.push(path);
            } else {
                let place = match name.as_str() {
                    name if name.starts_with("comfygate.db") => Database,
                    name if name.starts_with("blobs") => Outputs,
                    _ => Files,
                };
                hunt.keep(place, name, std::fs::read(&path).unwrap());
            }
        }
    }
}

/// Waits until a job's end was told, and returns the job.
async fn until_told(hunt: &Hunt, program: &Program, key: &str, id: &str) -> Value {
    eventually("the end was told", async || {
        let (_, log) = hunt.ask(Owner, program, key, get(&format!("/jobs/{id}/deliveries"))).await;
        (log["deliveries"][0]["state"] == "delivered").then_some(())
    })
    .await;
    hunt.ask(Owner, program, key, get(&format!("/jobs/{id}"))).await.1
}

async fn end(hunt: &Hunt, program: Program) {
    program.terminate();
    let log = Arc::clone(&program.log);
    assert!(program.ended().await.success());
    hunt.keep(Log, "the log", log.lock().unwrap().clone());
}

/// What came to a receiver.
type Arrived = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A receiver that answers with canaries, and now and then with a failure.
struct HookReceiver {
    address: std::net::SocketAddr,
    refusals: Arc<Mutex<usize>>,
    received: Arrived,
}

impl HookReceiver {
    fn refuse(&self, times: usize) {
        *self.refusals.lock().unwrap() = times;
    }

    fn received(&self) -> Vec<(String, Vec<u8>)> {
        self.received.lock().unwrap().clone()
    }
}

/// How many ends are still refused, what came, and what is answered: a body and a header.
type Shared = web::Data<(Arc<Mutex<usize>>, Arrived, String, String)>;

async fn answer(request: HttpRequest, bytes: web::Bytes, shared: Shared) -> HttpResponse {
    let is_end = !bytes.windows(20).any(|part| part == br#""status":"running","#);
    let mut told = format!("{:?} {:?}\n", request.uri(), request.headers()).into_bytes();
    told.extend_from_slice(&bytes);
    shared.1.lock().unwrap().push(("a webhook".into(), told));
    let mut refusals = shared.0.lock().unwrap();
    let mut answer = if is_end && *refusals > 0 {
        *refusals -= 1;
        HttpResponse::InternalServerError()
    } else {
        HttpResponse::Ok()
    };
    answer.insert_header(("set-cookie", shared.3.clone())).insert_header(("x-told", shared.3.clone()));
    answer.body(shared.2.clone())
}

fn receive(body: String, header: String) -> HookReceiver {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let receiver =
        HookReceiver { address: listener.local_addr().unwrap(), refusals: Arc::default(), received: Arc::default() };
    let shared = web::Data::new((Arc::clone(&receiver.refusals), Arc::clone(&receiver.received), body, header));
    let server = HttpServer::new(move || {
        let limit = web::PayloadConfig::new(64 << 20);
        App::new().app_data(shared.clone()).app_data(limit).default_service(web::to(answer))
    })
    .workers(1)
    .disable_signals()
    .listen(listener)
    .unwrap()
    .run();
    actix_web::rt::spawn(server);
    receiver
}

/// How bytes look when somebody prints them: as they are, as Rust prints a list of bytes, in hex, in base64.
fn spellings(bytes: &[u8]) -> Vec<Vec<u8>> {
    let list = bytes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let mut all = vec![bytes.to_vec(), list.into_bytes(), hex.into_bytes()];
    // Whatever stands before it: three ways to begin, without the letters that its neighbours share.
    for before in 0..3 {
        let padded = [&vec![0; before], bytes].concat();
        let text = STANDARD.encode(&padded[..padded.len() - padded.len() % 3]);
        all.push(text.as_bytes()[if before == 0 { 0 } else { 4 }..].to_vec());
    }
    if bytes == b"iVBORw0KGgo" {
        all.truncate(1);
        all.push(b"\x89PNG\r\n".to_vec());
        all.push(b"x89PNG".to_vec());
        all.push(b"137, 80, 78, 71".to_vec());
    }
    all.into_iter().filter(|spelling| spelling.len() >= 6).collect()
}

/// Bytes as a text in which each is one character.
fn plain(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn run(folder: &Path, environment: &[(&str, String)], words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
    let output = command.args(words).current_dir(folder).envs(environment.iter().cloned()).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

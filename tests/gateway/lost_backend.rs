//! One of two backends dies or is cut off: no job is lost with it, few are held up by it, and none runs in two places
//! while both can be reached.

use crate::support::{Inbox, Setup, canvas, canvas_files, eventually};
use comfygate::clock::{Clock, ManualClock, Timestamp};
use comfygate::sim::{Fault, Sim, SimOptions, SimRequest, When};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How many jobs the breaker may let a dead backend hold up before it opens.
const MOST_HELD_UP: usize = 3;

#[actix_web::test]
async fn a_backend_that_dies_under_load_costs_no_job() {
    for (death, jobs) in [(Manner::Resets, 200), (Manner::Crashes, 50), (Manner::OnlySocket, 50)] {
        let sim = Sim::start(SimOptions::default()).await.unwrap();
        let door = Door::open(sim.addr()).await;
        let mut setup = Setup::new();
        setup.settings.backends.queue = 10;
        let gateway = setup.start_beside(&[door.url()], 2).await;
        let inbox = Inbox::open();
        // Slow enough where the breaker alone keeps jobs away that a second opening would be seen.
        let pace = Duration::from_millis(if death == Manner::OnlySocket { 10 } else { 1 });
        for sim in [&gateway.sim, &sim] {
            sim.inject_when(Fault::Slow(pace), When::Every);
        }
        let mut ids = Vec::new();
        for _ in 0..jobs {
            ids.push(gateway.generate(&impatient(&inbox)).await);
        }
        let mut told = BTreeMap::new();
        while told.len() < jobs / 5 {
            take(&inbox, &mut told).await;
        }
        door.become_(death);
        let before = door.posts();
        while told.len() < ids.len() {
            take(&inbox, &mut told).await;
        }
        assert!(ids.iter().all(|id| told[id] == "success"), "{death:?}: {told:?}");
        let tried = door.posts() - before;
        assert!(tried <= MOST_HELD_UP, "{death:?}: the dead backend was tried with {tried} jobs");
        assert!(!sim.executions().is_empty(), "{death:?}: it had no job before it died");
        door.become_(Manner::Passes);
        gateway.until_connected(2).await;
        gateway.close().await;
        assert!(inbox.rest().is_empty(), "{death:?}");
        sim.stop().await;
    }
}

#[actix_web::test]
async fn a_backend_that_takes_prompts_and_never_answers_holds_up_three_jobs_at_most() {
    let other = Sim::start(SimOptions::default()).await.unwrap();
    let mut setup = Setup::new();
    setup.settings.backends.queue = 50;
    let gateway = setup.start_beside(&[other.url()], 2).await;
    let inbox = Inbox::open();
    other.inject_when(Fault::HungHttp, When::Every);
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(gateway.generate(&canvas(&inbox.url())).await);
    }
    let mut told = BTreeMap::new();
    while told.len() < ids.len() - MOST_HELD_UP {
        take(&inbox, &mut told).await;
    }
    let posts = other.requests().iter().filter(|it| it.is_prompt()).count();
    assert!((1..=MOST_HELD_UP).contains(&posts), "{posts} jobs were given to it");
    other.clear_faults();
    other.release();
    while told.len() < ids.len() {
        take(&inbox, &mut told).await;
    }
    assert!(told.values().all(|status| status == "success"), "{told:?}");
    assert_eq!(runs(&gateway.sim) + runs(&other), ids.len(), "a job ran twice");
    gateway.close().await;
    other.stop().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn jobs_on_a_backend_that_is_gone_wait_for_it_a_moment_and_then_go_elsewhere() {
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    let setup = Setup { clock: Arc::<ManualClock>::clone(&clock), ..Setup::new() };
    let dies = Sim::start(SimOptions::default()).await.unwrap();
    let gateway = setup.start_beside(&[dies.url()], 2).await;
    let inbox = Inbox::open();
    // Both hold what they get.
    for sim in [&gateway.sim, &dies] {
        sim.inject(Fault::Hang { at: "executing".into() });
    }
    let ids = [gateway.generate(&canvas(&inbox.url())).await, gateway.generate(&canvas(&inbox.url())).await];
    for sim in [&gateway.sim, &dies] {
        sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    }
    for id in &ids {
        gateway.until(id, "running").await;
    }
    let lost = ids.iter().find(|id| dies.executions().contains_key(*id)).unwrap();
    dies.stop().await;
    gateway.until_connected(1).await;
    gateway.sim.release();
    let webhook = inbox.next().await;
    assert_ne!(webhook.prompt_id(), lost);
    let began = clock.now();
    let webhook = eventually("the lost job is told", async || {
        clock.advance(Duration::from_secs(2));
        let waited = clock.now().since(began);
        assert!(waited < Duration::from_mins(2), "it waited for as long as silence may be");
        if waited < Duration::from_secs(14) {
            assert_eq!(gateway.job(lost).await["status"], "running", "after {waited:?}");
        }
        inbox.try_next()
    })
    .await;
    assert_eq!((webhook.prompt_id(), &webhook.body["status"]), (lost.as_str(), &json!("success")));
    assert_eq!(runs(&gateway.sim), 2, "it ran on the backend that is left");
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn what_went_elsewhere_is_stopped_on_the_backend_that_comes_back() {
    for restarts in [false, true] {
        let sim = Sim::start(SimOptions::default()).await.unwrap();
        let door = Door::open(sim.addr()).await;
        let gateway = Setup::new().start_beside(&[door.url()], 2).await;
        let inbox = Inbox::open();
        gateway.sim.inject(Fault::Hang { at: "executing".into() });
        for at in ["executing", "executed", "execution_success"] {
            sim.inject(Fault::Hang { at: at.into() });
        }
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(gateway.generate(&impatient(&inbox)).await);
        }
        for sim in [&gateway.sim, &sim] {
            sim.wait_for(|sim| sim.hanging() == 1 && sim.queued() == 2).await.unwrap();
        }
        let on_other: Vec<String> = posted(&sim);
        submit_as_stranger(&sim).await;
        door.become_(Manner::Resets);
        gateway.sim.release();
        let mut told = BTreeMap::new();
        while told.len() < 4 {
            take(&inbox, &mut told).await;
        }
        assert!(ids.iter().all(|id| told[id] == "success"), "{told:?}");
        assert_eq!((sim.queued(), on_other.len()), (3, 2), "the backend that was cut off still has them");

        // The gateway comes back to it, with or without its memory.
        let gateway = if restarts { gateway.restart().await } else { gateway };
        door.become_(Manner::Passes);
        sim.wait_for(|sim| sim.queued() == 2).await.unwrap();
        // What hangs is deaf to it; let go before, it could end by itself.
        eventually("it is asked to stop what runs", async || was_interrupted(&sim).then_some(())).await;
        eventually("the prompt that runs is stopped", async || {
            sim.release();
            (sim.queued() == 0).then_some(())
        })
        .await;
        assert!(!sim.executions().contains_key(&on_other[1]), "what waited there was deleted and never ran");
        assert_eq!(sim.images().iter().filter(|image| image.prompt == "a-stranger").count(), 1);
        for id in &ids {
            assert_eq!(gateway.job(id).await["status"], "success");
        }
        gateway.close().await;
        sim.stop().await;
        assert!(inbox.rest().is_empty(), "what came late was told");
    }
}

#[actix_web::test]
async fn a_later_run_that_went_elsewhere_is_stopped_too() {
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let door = Door::open(sim.addr()).await;
    let gateway = Setup::new().start_beside(&[door.url()], 2).await;
    let inbox = Inbox::open();
    for sim in [&gateway.sim, &sim] {
        sim.inject(Fault::Hang { at: "executing".into() });
    }
    for at in ["executed", "execution_success"] {
        sim.inject(Fault::Hang { at: at.into() });
    }
    // Both backends are full, and somebody deletes what waits on the one that will be cut off.
    let mut told = BTreeMap::new();
    for _ in 0..4 {
        gateway.generate(&impatient(&inbox)).await;
    }
    for sim in [&gateway.sim, &sim] {
        sim.wait_for(|sim| sim.hanging() == 1 && sim.queued() == 2).await.unwrap();
    }
    delete_from_queue(&sim, &posted(&sim)[1]).await;
    let again = |sim: &Sim| posted(sim).len() == 3 && sim.queued() == 2;
    eventually("it is submitted again under another id", async || again(&sim).then_some(())).await;
    let second_run = posted(&sim)[2].clone();
    door.become_(Manner::Resets);
    gateway.sim.release();
    while told.len() < 4 {
        take(&inbox, &mut told).await;
    }
    assert!(!told.contains_key(&second_run), "a later run has an id of its own");
    door.become_(Manner::Passes);
    eventually("the later run is deleted", async || (sim.queued() == 1).then_some(())).await;
    assert!(!sim.executions().contains_key(&second_run));
    eventually("the prompt that runs is stopped", async || {
        sim.release();
        (sim.queued() == 0).then_some(())
    })
    .await;
    gateway.close().await;
    sim.stop().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn a_gateway_that_starts_while_a_backend_is_gone_runs_its_jobs_elsewhere() {
    let dies = Sim::start(SimOptions::default()).await.unwrap();
    let gateway = Setup::new().start_beside(&[dies.url()], 2).await;
    let inbox = Inbox::open();
    for sim in [&gateway.sim, &dies] {
        sim.inject(Fault::Hang { at: "executing".into() });
    }
    let ids = [(); 4].map(|()| impatient(&inbox));
    for body in &ids {
        gateway.generate(body).await;
    }
    for sim in [&gateway.sim, &dies] {
        sim.wait_for(|sim| sim.hanging() == 1 && sim.queued() == 2).await.unwrap();
    }
    let gateway = gateway
        .restart_after(async |sim| {
            dies.stop().await;
            sim.release();
        })
        .await;
    let mut told = BTreeMap::new();
    while told.len() < ids.len() {
        take(&inbox, &mut told).await;
    }
    assert_eq!(runs(&gateway.sim), 4, "what ran here already is not run again");
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn a_run_that_goes_on_while_its_backend_is_cut_off_for_a_moment_is_not_begun_again() {
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let door = Door::open(sim.addr()).await;
    let gateway = Setup::new().start_beside(&[door.url()], 2).await;
    let inbox = Inbox::open();
    for sim in [&gateway.sim, &sim] {
        sim.inject(Fault::Hang { at: "executing".into() });
    }
    let ids = [gateway.generate(&files(&inbox)).await, gateway.generate(&files(&inbox)).await];
    sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    door.become_(Manner::Resets);
    gateway.until_connected(1).await;
    gateway.sim.release();
    assert_eq!(inbox.next().await.body["status"], "success");
    sim.release();
    sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
    door.become_(Manner::Passes);
    assert_eq!(inbox.next().await.body["status"], "success");
    let all: BTreeMap<String, usize> = gateway.sim.executions().into_iter().chain(sim.executions()).collect();
    assert_eq!(all.into_iter().collect::<Vec<_>>(), sorted(&ids).map(|id| (id, 1)));
    gateway.close().await;
    sim.stop().await;
    assert!(inbox.rest().is_empty());
}

fn files(inbox: &Inbox) -> Value {
    canvas_files(&inbox.url())
}

/// A job that waits only a little for a backend that is silent.
fn impatient(inbox: &Inbox) -> Value {
    let mut body = canvas_files(&inbox.url());
    body["timeouts"] = json!({ "silence": "1s" });
    body
}

async fn take(inbox: &Inbox, told: &mut BTreeMap<String, String>) {
    let webhook = inbox.next().await;
    let status = webhook.body["status"].as_str().unwrap().to_owned();
    let twice = told.insert(webhook.prompt_id().to_owned(), status);
    assert!(twice.is_none(), "told twice: {}", webhook.body);
    assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
}

fn was_interrupted(sim: &Sim) -> bool {
    sim.requests().iter().any(|request| request.path == "/interrupt")
}

fn runs(sim: &Sim) -> usize {
    sim.executions().values().sum()
}

fn sorted(ids: &[String; 2]) -> [String; 2] {
    let mut ids = ids.clone();
    ids.sort();
    ids
}

/// The prompts that were posted, in their order.
fn posted(sim: &Sim) -> Vec<String> {
    let posts = sim.requests().into_iter().filter(SimRequest::is_prompt);
    let prompt = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["prompt_id"].as_str().unwrap().to_owned();
    posts.map(|it| prompt(&it.body)).collect()
}

async fn delete_from_queue(sim: &Sim, prompt: &str) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = json!({ "delete": [prompt] }).to_string();
    assert_eq!(client.post(format!("{}/queue", sim.url())).body(body).send().await.unwrap().status().as_u16(), 200);
}

async fn submit_as_stranger(sim: &Sim) {
    let graph = json!({"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 5}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}});
    let body = json!({"prompt": graph, "prompt_id": "a-stranger", "client_id": "a stranger"});
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(format!("{}/prompt", sim.url())).body(body.to_string()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

/// How a backend behaves, seen from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    /// As it is.
    Passes,
    /// Every connection ends at once.
    Resets,
    /// Every request is answered with 500, and there is no socket.
    Crashes,
    /// The socket lives, and every request is answered with 500.
    OnlySocket,
}

/// What stands between the gateway and a backend.
struct Door {
    address: SocketAddr,
    manner: watch::Sender<Manner>,
    posts: Arc<Mutex<usize>>,
}

impl Door {
    #[expect(clippy::disallowed_methods, reason = "a test puts something of its own between gateway and backend")]
    async fn open(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (manner, seen) = watch::channel(Manner::Passes);
        let posts = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&posts);
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                tokio::spawn(pass(caller, behind, seen.clone(), Arc::clone(&counted)));
            }
        });
        Self { address, manner, posts }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn become_(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// How many prompts were offered while it did not pass them on.
    fn posts(&self) -> usize {
        *self.posts.lock().unwrap()
    }
}

/// Says whether a connection is passed on: one that was opened before lives on while it would be.
fn passes(manner: Manner, is_socket: bool) -> bool {
    match manner {
        Manner::Passes => true,
        Manner::OnlySocket => is_socket,
        Manner::Resets | Manner::Crashes => false,
    }
}

async fn pass(
    mut caller: TcpStream,
    behind: SocketAddr,
    mut manner: watch::Receiver<Manner>,
    posts: Arc<Mutex<usize>>,
) {
    let mut head = vec![0; 64 * 1024];
    let now = *manner.borrow_and_update();
    if now == Manner::Resets {
        return;
    }
    let read = caller.read(&mut head).await.unwrap_or(0);
    let is_socket = head.starts_with(b"GET /ws");
    let is_post = head.starts_with(b"POST /prompt");
    if passes(now, is_socket) {
        let Ok(mut server) = TcpStream::connect(behind).await else { return };
        server.write_all(&head[..read]).await.ok();
        let stays = |manner| passes(manner, is_socket);
        let ended = async { while manner.changed().await.is_ok() && stays(*manner.borrow()) {} };
        tokio::select! {
            () = ended => {}
            _ = tokio::io::copy_bidirectional(&mut caller, &mut server) => {}
        }
        return;
    }
    if is_post {
        *posts.lock().unwrap() += 1;
    }
    let answer = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    caller.write_all(answer).await.ok();
    // Read to the end, so that the answer is not lost to a reset.
    while caller.read(&mut head).await.is_ok_and(|read| read > 0) {}
}

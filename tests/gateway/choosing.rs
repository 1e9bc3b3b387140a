//! Several backends behind one queue: which job goes where, what holds up whom, and what is said of those that wait.

use crate::backends::operated;
use crate::support::{Inbox, Setup, TestGateway, canvas, eventually};
use comfygate::app::Works;
use comfygate::clock::SystemClock;
use comfygate::dispatch::{WaitingCounts, Why};
use comfygate::intake::{Cancelled, Submission};
use comfygate::job::{Happening, JobId, Placement, Tap, Tapped};
use comfygate::sim::{Fault, Refusal, Sim, SimOptions, SimRequest, When};
use comfygate::workflow::shipped;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[actix_web::test]
async fn a_job_for_one_backend_goes_though_fifty_that_only_another_can_run_wait_before_it() {
    let sims = [slow(0).await, slow(0).await];
    sims[0].inject_when(Fault::Hang { at: "executing".into() }, When::Every);
    let scene = Scene::begin(&sims, 1).await;
    let names = scene.names();
    for _ in 0..50 {
        scene.submit("canvas", without(&names[1])).await;
    }
    eventually("the first one hangs", async || (sims[0].hanging() == 1).then_some(())).await;
    let free = scene.submit("canvas", without(&names[0])).await;
    scene.until_ended(&[free]).await;
    assert_eq!((sims[0].executions().len(), sims[1].executions().len()), (1, 1));
    let counts = WaitingCounts { no_backend_free: 49, in_flight: 1, ..WaitingCounts::default() };
    let counted = async || (scene.works.outlooks.counts() == counts).then_some(());
    eventually("49 wait for the other one", counted).await;
    scene.end(sims).await;
}

#[actix_web::test]
async fn of_two_backends_the_fast_one_gets_most() {
    let sims = [slow(320).await, slow(20).await];
    let scene = Scene::begin(&sims, 1).await;
    let mut jobs = Vec::new();
    for _ in 0..30 {
        jobs.push(scene.submit("canvas", Placement::default()).await);
    }
    scene.until_ended(&jobs).await;
    let runs = [0, 1].map(|place| sims[place].executions().len());
    assert_eq!(runs[0] + runs[1], 30);
    assert!(runs[0] > 0 && runs[1] >= 2 * runs[0], "slow and fast ran {runs:?}");
    scene.end(sims).await;
}

#[actix_web::test]
async fn two_workflows_that_alternate_settle_each_on_a_backend_of_its_own() {
    let sims = [slow(3).await, slow(3).await];
    // One more node that nobody needs makes it another graph that takes as long.
    let starter = shipped::PAIRS.iter().find(|pair| pair.name == "starter").unwrap();
    let mut template: Value = serde_json::from_str(starter.template).unwrap();
    let inputs = json!({ "width": 64, "height": 64, "batch_size": 1, "color": 1 });
    template["99"] = json!({ "class_type": "EmptyImage", "inputs": inputs });
    let setup = Setup::new().with_workflow("other", starter.config, &template.to_string());
    let scene = Scene::begin_with(setup, &sims, 1).await;
    scene.works.intake.pool.pause(true);
    let mut graphs = BTreeMap::new();
    for number in 0..60 {
        // Not one after the other in turns, so that it is no accident.
        let graph = ["starter", "other", "other", "starter"][number % 4];
        graphs.insert(scene.submit(graph, Placement::default()).await, graph);
    }
    scene.works.intake.pool.pause(false);
    scene.until_ended(&graphs.keys().copied().collect::<Vec<_>>()).await;
    let ran = |sim: &Sim| {
        let mut ran: BTreeMap<&str, usize> = BTreeMap::new();
        for prompt in sim.executions().into_keys() {
            *ran.entry(graphs[&prompt.parse().unwrap()]).or_default() += 1;
        }
        ran
    };
    let ran = sims.each_ref().map(ran);
    let mine = |place: usize, graph: &str| ran[place].get(graph).copied().unwrap_or(0);
    let settled = (mine(0, "starter") + mine(1, "other")).max(mine(1, "starter") + mine(0, "other"));
    // At the end, when nothing else waits, a backend takes what is there.
    assert!(settled >= 50, "{ran:?}");
    scene.end(sims).await;
}

#[actix_web::test]
async fn a_pause_holds_all_jobs_and_its_end_lets_them_go() {
    let sims = [slow(0).await];
    let scene = Scene::begin(&sims, 2).await;
    assert!(scene.works.intake.pool.pause(true));
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(scene.submit("canvas", Placement::default()).await);
    }
    let paused = WaitingCounts { paused: 3, ..WaitingCounts::default() };
    for _ in 0..3 {
        scene.works.intake.queue_bell.notify_one();
        eventually("all are held", async || (scene.works.outlooks.counts() == paused).then_some(())).await;
    }
    assert_eq!(scene.works.outlooks.outlook(jobs[1]).unwrap().why, Why::Paused);
    assert_eq!(posts(&sims[0]), 0);
    assert!(scene.works.intake.pool.pause(false));
    scene.until_ended(&jobs).await;
    scene.end(sims).await;
}

#[actix_web::test]
async fn a_job_goes_to_the_backend_that_it_prefers_and_never_to_one_that_it_excludes() {
    let sims = [slow(0).await, slow(0).await];
    let scene = Scene::begin(&sims, 2).await;
    let names = scene.names();
    for _ in 0..5 {
        let preferring = Placement { prefer: BTreeSet::from([names[1].clone()]), ..Placement::default() };
        let job = scene.submit("canvas", preferring).await;
        scene.until_ended(&[job]).await;
    }
    assert_eq!([0, 1].map(|place| posts(&sims[place])), [0, 5]);
    for _ in 0..5 {
        let job = scene.submit("canvas", without(&names[1])).await;
        scene.until_ended(&[job]).await;
    }
    assert_eq!([0, 1].map(|place| posts(&sims[place])), [5, 5]);
    scene.end(sims).await;
}

#[actix_web::test]
async fn a_waiting_job_tells_how_many_go_before_it_and_why_it_waits() {
    let sims = [slow(0).await, slow(0).await];
    sims[0].inject_when(Fault::Hang { at: "executing".into() }, When::Every);
    let scene = Scene::begin(&sims, 1).await;
    let names = scene.names();
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(scene.submit("canvas", without(&names[1])).await);
    }
    let outlook = |job| scene.works.outlooks.outlook(job);
    eventually("the last one waits", async || outlook(jobs[3]).filter(|outlook| outlook.ahead == 2)).await;
    assert_eq!(outlook(jobs[0]), None, "it does not wait any more");
    let first = outlook(jobs[1]).unwrap();
    assert_eq!((first.ahead, &first.why), (0, &Why::NoBackendFree));
    assert!(outlook(jobs[3]).unwrap().starts_at > first.starts_at && first.ends_at > first.starts_at);
    let nowhere = Placement { exclude: names.iter().cloned().collect(), ..Placement::default() };
    let nowhere = scene.submit("canvas", nowhere).await;
    assert_eq!(eventually("it waits", async || outlook(nowhere)).await.why, Why::NoBackendFits);
    // One that is cancelled is gone from the queue when it is to go.
    assert_eq!(scene.works.intake.cancel(jobs[1]).await.unwrap(), Cancelled::Now);
    let [stuck, other] = sims;
    assert_eq!(stuck.hanging(), 1);
    other.stop().await;
    let only_there = scene.submit("canvas", without(&names[0])).await;
    let down = async || outlook(only_there).filter(|outlook| outlook.why == Why::BackendDown);
    assert_eq!(eventually("its backend is gone", down).await.starts_at, None);
    scene.works.end().await;
    stuck.stop().await;
}

#[actix_web::test]
async fn what_a_backend_had_refused_runs_on_the_one_that_comes_in_its_place() {
    let mut setup = operated();
    let away = Sim::start(SimOptions::default()).await.unwrap();
    setup.settings.backends.addresses = vec![away.url().parse().unwrap()];
    away.stop().await;
    let gateway = setup.start_alone().await;
    let add = async || {
        let added = gateway.post("/backends", &json!({ "name": "gpu", "url": gateway.sim.url() })).await;
        (added.status == 201).then_some(())
    };
    let refusal = json!({ "error": { "type": "prompt_outputs_failed_validation", "message": "m", "details": "",
        "extra_info": {} }, "node_errors": { "3": { "class_type": "EmptyImage", "dependent_outputs": ["9"], "errors": [
        { "type": "value_not_in_list", "message": "Value not in list", "details": "color: 7 not in []",
          "extra_info": { "input_name": "color" } }] } } });
    gateway.sim.inject(Fault::Refuse(Refusal::Invalid(refusal.to_string())));
    add().await.unwrap();
    let inbox = Inbox::open();
    let job = gateway.generate(&canvas(&inbox.url())).await;
    // The other one may run it, and is not there.
    let waits_again = async || {
        let view = gateway.job(&job).await;
        let is_refused = gateway.sim.requests().iter().any(SimRequest::is_prompt);
        (is_refused && view["status"] == "queued").then_some(())
    };
    eventually("it waits for the other one", waits_again).await;
    assert_eq!(gateway.delete("/backends/gpu?now=true").await.status, 202);
    eventually("another may have the name", add).await;
    assert_eq!(inbox.next().await.body["status"], "success");
    gateway.close().await;
}

#[actix_web::test]
async fn a_request_says_where_it_may_run_and_how_often() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let backend = gateway.get("/ready").await.json();
    let refused = |fields: Value| {
        let mut body = canvas(&inbox.url());
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    for (fields, code) in [
        (json!({ "placement": { "avoid": [] } }), "unknown_field"),
        (json!({ "placement": [] }), "invalid_type"),
        (json!({ "max_runs": gateway.settings.limits.max_runs + 1 }), "out_of_range"),
        (json!({ "max_runs": 0 }), "out_of_range"),
    ] {
        let answer = gateway.post("/generate", &refused(fields.clone())).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{fields} {backend}");
    }
    gateway.sim.inject_when(Fault::Restart { at: Some("executing".into()), forget: true, down_for: DOWN }, When::Every);
    let told = gateway.run_one(&inbox, &refused(json!({ "max_runs": 1, "placement": { "prefer": ["x"] } }))).await;
    assert_eq!(told.body["code"], "backend_lost", "{}", told.body);
    assert_eq!(gateway.sim.executions().values().sum::<usize>(), 1);
    gateway.sim.clear_faults();
    let nowhere = gateway.generate(&refused(json!({ "placement": { "tags": ["no-such-tag"] } }))).await;
    let beside = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    assert_eq!(beside.body["status"], "success");
    assert_eq!(gateway.job(&nowhere).await["status"], "queued");
    gateway.close().await;
}

const DOWN: Duration = Duration::from_millis(30);

/// The stations over some simulators, and what was heard of jobs.
struct Scene {
    works: Works,
    ended: Arc<Mutex<BTreeSet<JobId>>>,
    _setup: Setup,
}

impl Scene {
    async fn begin(sims: &[Sim], depth: usize) -> Self {
        Self::begin_with(Setup::new(), sims, depth).await
    }

    async fn begin_with(setup: Setup, sims: &[Sim], depth: usize) -> Self {
        let mut settings = setup.settings.clone();
        settings.backends.addresses = sims.iter().map(|sim| sim.url().parse().unwrap()).collect();
        settings.backends.queue = depth;
        let ended: Arc<Mutex<BTreeSet<JobId>>> = Arc::default();
        let ear = Arc::clone(&ended);
        let tap = Tap::new(move |Tapped { job, what, .. }| {
            if matches!(what, Happening::Ended { .. }) {
                ear.lock().unwrap().insert(job);
            }
        });
        let works = Works::begin(&settings, SystemClock::start(), tap, None).await.unwrap();
        let all_connected = || works.servers.iter().all(|server| server.desk.is_connected());
        eventually("all are connected", async || all_connected().then_some(())).await;
        Self { works, ended, _setup: setup }
    }

    fn names(&self) -> Vec<String> {
        self.works.servers.iter().map(|server| server.name.clone()).collect()
    }

    async fn submit(&self, workflow: &str, placement: Placement) -> JobId {
        let params = json!({ "prompt": "x", "width": 64, "height": 64 }).as_object().unwrap().clone();
        let pair = self.works.intake.workflow(Some(workflow)).unwrap();
        let submission = Submission { params, placement, ..Submission::default() };
        self.works.intake.accept(&pair, submission).await.unwrap().id
    }

    async fn until_ended(&self, jobs: &[JobId]) {
        let all = || jobs.iter().all(|job| self.ended.lock().unwrap().contains(job));
        eventually("the jobs have ended", async || all().then_some(())).await;
    }

    async fn end<const COUNT: usize>(self, sims: [Sim; COUNT]) {
        self.works.end().await;
        for sim in sims {
            sim.stop().await;
        }
    }
}

/// A simulator whose nodes work so many milliseconds each.
async fn slow(millis: u64) -> Sim {
    Sim::start(SimOptions { step: Duration::from_millis(millis), ..SimOptions::default() }).await.unwrap()
}

fn without(name: &str) -> Placement {
    Placement { exclude: BTreeSet::from([name.to_owned()]), ..Placement::default() }
}

fn posts(sim: &Sim) -> usize {
    sim.requests().iter().filter(|request| request.is_prompt()).count()
}

//! What a backend is given after it failed, what it may be given once it has something else, and jobs that nobody can run.

use crate::exposition::Exposition;
use crate::support::{Inbox, Setup, TestGateway, as_time_goes_by, canvas, canvas_files, eventually, starter};
use comfygate::clock::{Clock, Timestamp};
use comfygate::sim::{Fault, Refusal, Sim, SimOptions, SimRequest, When};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

#[actix_web::test]
async fn a_backend_whose_memory_ran_out_gets_no_such_graph_for_a_minute_and_runs_others() {
    let other = Sim::start(SimOptions::default()).await.unwrap();
    let (setup, clock) = Setup::with_manual_clock();
    let gateway = setup.start_beside(&[other.url()], 2).await;
    let inbox = Inbox::open();
    // Whichever is given it first has too little memory for it, and the second has enough.
    for sim in [&gateway.sim, &other] {
        sim.inject(Fault::OutOfMemory { node: "SaveImageWebsocket".into() });
    }
    let began = clock.now();
    let first = gateway.generate(&canvas(&inbox.url())).await;
    let both = [&gateway.sim, &other];
    eventually("each has tried it", async || both.iter().all(|sim| runs(sim) == 1).then_some(())).await;
    gateway.until(&first, "queued").await;

    // Both are left alone with such graphs, and run others.
    for _ in 0..2 {
        let webhook = gateway.run_one(&inbox, &starter(&inbox.url())).await;
        assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
    }
    let blocked = async || {
        let told = Exposition::open(&String::from_utf8(gateway.get("/metrics").await.bytes).unwrap());
        told.rows("comfygate_backend_blocked_structures").map(|(_, count)| count).collect::<Vec<_>>()
    };
    assert_eq!(blocked().await, [1.0, 1.0]);
    assert_eq!((&gateway.job(&first).await["status"], runs(&gateway.sim) + runs(&other)), (&json!("queued"), 4));
    let webhook = as_time_goes_by(&clock, "one finds out", async || inbox.try_next()).await;
    assert_eq!((webhook.prompt_id(), &webhook.body["status"]), (first.as_str(), &json!("success")));
    assert!(clock.now().since(began) >= Duration::from_mins(1), "it was left alone for a minute");
    assert_eq!(runs(&gateway.sim) + runs(&other), 5);
    let one_is_left = async || (blocked().await.iter().sum::<f64>() < 1.5).then_some(());
    eventually("the one that found out is not blocked any more", one_is_left).await;
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn too_little_memory_on_one_backend_costs_a_job_nothing_where_another_has_more() {
    let other = Sim::start(SimOptions::default()).await.unwrap();
    let gateway = Setup::new().start_beside(&[other.url()], 2).await;
    let inbox = Inbox::open();
    gateway.sim.inject_when(Fault::OutOfMemory { node: "SaveImageWebsocket".into() }, When::Every);
    for _ in 0..5 {
        let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
        assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
    }
    assert!(runs(&gateway.sim) <= 1, "after it failed one, it was given no more");
    assert_eq!(runs(&other), 5);
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn alone_a_backend_whose_memory_ran_out_fails_the_job_and_gets_the_next() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::OutOfMemory { node: "SaveImageWebsocket".into() });
    assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["code"], "node_error");
    assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success");
    gateway.close().await;
}

#[actix_web::test]
async fn a_backend_that_alone_may_run_a_job_is_not_blocked_by_it() {
    let other = Sim::start(SimOptions::default()).await.unwrap();
    let (setup, _stands_still) = Setup::with_manual_clock();
    let gateway = setup.start_beside(&[other.url()], 2).await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::OutOfMemory { node: "SaveImageWebsocket".into() });
    let mut here = canvas(&inbox.url());
    here["placement"] = json!({ "exclude": [other.url()] });
    assert_eq!(gateway.run_one(&inbox, &here).await.body["code"], "node_error");
    assert_eq!(gateway.run_one(&inbox, &here).await.body["status"], "success", "it need not wait for a minute");
    assert_eq!((runs(&gateway.sim), runs(&other)), (2, 0));
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn a_tag_that_no_backend_has_ends_a_job_at_once_with_the_reason() {
    let other = Sim::start(SimOptions::default()).await.unwrap();
    let gateway = for_tags(Setup::new()).start_beside(&[other.url()], 2).await;
    let inbox = Inbox::open();
    let webhook = gateway.run_one(&inbox, &tagged(&inbox)).await;
    assert_eq!(webhook.body["code"], "validation", "{}", webhook.body);
    assert_eq!(webhook.body["error"], "no backend has the tag `flux`");
    assert_eq!(runs(&gateway.sim) + runs(&other), 0);
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn a_job_waits_for_a_backend_that_may_join_as_long_as_the_operator_says() {
    let (setup, clock) = Setup::with_manual_clock();
    let mut setup = for_tags(setup);
    setup.settings.backends.wait_for_others = Duration::from_secs(90);
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    let id = gateway.generate(&tagged(&inbox)).await;
    clock.advance(Duration::from_secs(85));
    let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    assert_eq!(webhook.body["status"], "success", "the other one holds up nobody");
    assert_eq!(gateway.job(&id).await["status"], "queued");
    let webhook = as_time_goes_by(&clock, "its time is over", async || inbox.try_next()).await;
    assert_eq!((webhook.prompt_id(), &webhook.body["code"]), (id.as_str(), &json!("validation")));
    gateway.close().await;
}

#[actix_web::test]
async fn a_job_that_each_backend_has_refused_waits_for_one_that_may_join_and_no_longer() {
    let (mut setup, clock) = Setup::with_manual_clock();
    setup.settings.backends.wait_for_others = Duration::from_secs(90);
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    // It is of this job alone, so nothing else tells that the backend cannot run it.
    let no_such_sampler = json!({"error": {"type": "prompt_outputs_failed_validation", "message": "m", "details": ""},
        "node_errors": {"1": {"class_type": "EmptyImage", "errors": [{"type": "value_not_in_list",
        "message": "Value not in list", "details": "sampler_name: 'x' not in []",
        "extra_info": {"input_name": "sampler_name"}}]}}});
    gateway.sim.inject(Fault::Refuse(Refusal::Invalid(no_such_sampler.to_string())));
    let id = gateway.generate(&canvas(&inbox.url())).await;
    gateway.sim.wait_for(|sim| sim.requests().iter().any(SimRequest::is_prompt)).await.unwrap();
    gateway.until(&id, "queued").await;
    clock.advance(Duration::from_secs(80));
    assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success");
    assert_eq!(gateway.job(&id).await["status"], "queued");
    let webhook = as_time_goes_by(&clock, "its time is over", async || inbox.try_next()).await;
    assert_eq!((webhook.prompt_id(), &webhook.body["code"]), (id.as_str(), &json!("validation")));
    assert!(webhook.body["error"].as_str().unwrap().contains("'x' not in []"), "{}", webhook.body);
    assert!(clock.now() < Timestamp::from_millis(1_800_000_000_000) + Duration::from_mins(3));
    gateway.close().await;
}

#[actix_web::test]
async fn a_backend_that_is_away_may_come_back_with_what_it_lacked() {
    let lacks = SimOptions { models: Some(vec!["another.safetensors".to_owned()]), ..SimOptions::default() };
    let other = Sim::start(lacks.clone()).await.unwrap();
    let mut setup = for_tags(Setup::new());
    setup.sim = lacks;
    let gateway = setup.start_beside(&[other.url()], 2).await;
    gateway.until_stock_is_known(2).await;
    let inbox = Inbox::open();
    // It is stopped to be given the model.
    let addr = other.addr();
    other.stop().await;
    gateway.until_connected(1).await;
    let id = gateway.generate(&starter(&inbox.url())).await;
    for _ in 0..3 {
        assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success");
    }
    let webhook = gateway.run_one(&inbox, &tagged(&inbox)).await;
    assert_eq!(webhook.body["error"], "no backend has the tag `flux`", "it does not come back with another tag");
    // What the last life knew of it is as old.
    let gateway = gateway.restart().await;
    gateway.until_connected(1).await;
    assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success");
    assert_eq!(gateway.job(&id).await["status"], "queued");
    let models = Some(vec!["v1-5-pruned-emaonly-fp16.safetensors".to_owned()]);
    let back = Sim::start(SimOptions { addr, models, ..SimOptions::default() }).await.unwrap();
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body["status"]), (id.as_str(), &json!("success")));
    assert_eq!(runs(&back), 1);
    gateway.close().await;
    back.stop().await;
}

#[actix_web::test]
async fn one_that_comes_back_without_it_ends_the_job_with_the_reason_of_each() {
    let lacks = SimOptions { models: Some(vec!["another.safetensors".to_owned()]), ..SimOptions::default() };
    let other = Sim::start(lacks.clone()).await.unwrap();
    let mut setup = Setup::new();
    setup.sim = lacks.clone();
    let gateway = setup.start_beside(&[other.url()], 2).await;
    gateway.until_stock_is_known(2).await;
    let inbox = Inbox::open();
    let addr = other.addr();
    other.stop().await;
    gateway.until_connected(1).await;
    let id = gateway.generate(&starter(&inbox.url())).await;
    assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success");
    assert_eq!(gateway.job(&id).await["status"], "queued");
    let back = Sim::start(SimOptions { addr, ..lacks }).await.unwrap();
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body["code"]), (id.as_str(), &json!("validation")));
    gateway.close().await;
    back.stop().await;
}

#[actix_web::test]
async fn backends_are_asked_what_they_have_once_a_minute_for_a_job_that_waits_for_another() {
    let (setup, clock) = Setup::with_manual_clock();
    let mut setup = setup;
    setup.sim.models = Some(vec!["another.safetensors".to_owned()]);
    setup.settings.backends.wait_for_others = Duration::from_hours(1);
    let gateway = setup.start().await;
    gateway.until_stock_is_known(1).await;
    let inbox = Inbox::open();
    let asked = || gateway.sim.requests().iter().filter(|request| request.path == "/object_info").count();
    let id = gateway.generate(&starter(&inbox.url())).await;
    let (before, began) = (asked(), clock.now());
    let later = || (clock.now().since(began) >= Duration::from_secs(170)).then_some(());
    as_time_goes_by(&clock, "minutes pass", async || later()).await;
    assert_eq!(gateway.job(&id).await["status"], "queued");
    assert!((2..=4).contains(&(asked() - before)), "it was asked {} times", asked() - before);
    gateway.close().await;
}

#[actix_web::test]
async fn a_job_without_hope_ends_at_once_however_many_kinds_of_jobs_wait_before_it() {
    let gateway = for_tags(Setup::new()).start().await;
    let inbox = Inbox::open();
    gateway.pool.pause(true);
    let mut waiting = Vec::new();
    for number in 0..1010 {
        let mut body = canvas("");
        body["placement"] = json!({ "prefer": [format!("b{number}")] });
        waiting.push(body);
    }
    for some in waiting.chunks(32) {
        join_all(some.iter().map(|body| gateway.generate(body))).await;
    }
    // As it is written, it comes last.
    let webhook = gateway.run_one(&inbox, &tagged(&inbox)).await;
    assert_eq!(webhook.body["error"], "no backend has the tag `flux`");
    gateway.close().await;
}

#[actix_web::test]
async fn a_backend_that_comes_back_with_the_model_gets_the_jobs_that_need_it() {
    let lacks = SimOptions { models: Some(vec!["another.safetensors".to_owned()]), ..SimOptions::default() };
    let other = Sim::start(lacks.clone()).await.unwrap();
    let mut setup = Setup::new();
    setup.sim = lacks;
    let gateway = setup.start_beside(&[other.url()], 2).await;
    gateway.until_stock_is_known(2).await;
    let inbox = Inbox::open();
    assert_eq!(gateway.run_one(&inbox, &starter(&inbox.url())).await.body["code"], "validation");
    let addr = other.addr();
    other.stop().await;
    gateway.until_connected(1).await;
    let models = Some(vec!["v1-5-pruned-emaonly-fp16.safetensors".to_owned()]);
    let back = Sim::start(SimOptions { addr, models, ..SimOptions::default() }).await.unwrap();
    let has_it = async || {
        let checked = gateway.post("/workflows/starter/check", &json!({ "prompt": "x" })).await.json();
        (checked["ok"] == true).then_some(())
    };
    eventually("it was asked what it has now", has_it).await;
    let webhook = gateway.run_one(&inbox, &starter(&inbox.url())).await;
    assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
    assert_eq!((runs(&gateway.sim), runs(&back)), (0, 1));
    gateway.close().await;
    back.stop().await;
}

#[actix_web::test]
async fn a_run_that_is_lost_is_dead_before_the_next_begins_where_its_backend_answers() {
    let other = Sim::start(SimOptions::default()).await.unwrap();
    let gateway = Setup::new().start_beside(&[other.url()], 2).await;
    let inbox = Inbox::open();
    let both = [&gateway.sim, &other];
    for sim in both {
        // The first run is taken without an answer, and slow enough to overlap with another.
        sim.inject(Fault::DropAfterAccept);
        sim.inject_when(Fault::Slow(Duration::from_millis(5)), When::Every);
    }
    for _ in 0..4 {
        gateway.generate(&canvas_files(&inbox.url())).await;
    }
    for _ in 0..4 {
        assert_eq!(inbox.next().await.body["status"], "success");
    }
    let all: Vec<(String, usize)> = both.into_iter().flat_map(Sim::executions).collect();
    assert_eq!(all.len(), 4, "no job ran twice: {all:?}");
    assert!(all.iter().all(|(_, count)| *count == 1), "{all:?}");
    gateway.close().await;
    other.stop().await;
}

/// With a workflow for backends of one tag.
fn for_tags(setup: Setup) -> Setup {
    let canvas = comfygate::workflow::shipped::PAIRS.iter().find(|pair| pair.name == "canvas").unwrap();
    setup.with_workflow("tagged", &format!("{}\nrequires:\n  tags: [flux]\n", canvas.config), canvas.template)
}

fn tagged(inbox: &Inbox) -> Value {
    let mut body = canvas(&inbox.url());
    body["workflow"] = json!("tagged");
    body
}

fn runs(sim: &Sim) -> usize {
    sim.executions().values().sum()
}

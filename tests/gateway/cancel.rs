//! The caller's wish to cancel, at every stage of a job.

use crate::support::{EVENTS, Inbox, Setup, TestGateway, canvas, canvas_files, eventually};
use comfygate::clock::{ManualClock, Timestamp};
use comfygate::sim::{Fault, Sim, SimOptions, SimRequest, When};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[actix_web::test]
async fn a_running_job_is_stopped_on_the_backend_and_told_as_cancelled() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Slow(Duration::from_millis(200)));
    let id = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&id, "running").await;
    let answer = gateway.post(&format!("/jobs/{id}/cancel"), &Value::Null).await;
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("cancelling")));
    let webhook = inbox.next().await;
    assert_eq!((&webhook.body["status"], &webhook.body["code"]), (&json!("failure"), &json!("cancelled")));
    gateway.sim.wait_for(|sim| sim.queued() == 0).await.unwrap();

    let again = gateway.post(&format!("/jobs/{id}/cancel"), &Value::Null).await;
    assert_eq!((again.status, again.code().as_str()), (409, "already_final"));
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn jobs_that_wait_are_cancelled_at_once_and_never_run() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(gateway.generate(&canvas(&inbox.url())).await);
    }
    gateway.sim.wait_for(|sim| sim.hanging() == 1 && sim.queued() == 2).await.unwrap();
    // The second waits on the backend, the others in the gateway.
    for id in &ids[1..] {
        assert_eq!(gateway.post(&format!("/jobs/{id}/cancel"), &Value::Null).await.status, 202);
    }
    for _ in &ids[1..] {
        let webhook = inbox.next().await;
        assert_eq!(webhook.body["code"], "cancelled");
        assert!(ids[1..].iter().any(|id| id == webhook.prompt_id()));
    }
    gateway.sim.release();
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body["status"]), (ids[0].as_str(), &json!("success")));
    assert_eq!(gateway.sim.executions().len(), 1, "what was cancelled never ran");
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn cancelling_one_job_leaves_other_peoples_prompts_alone() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject_when(Fault::Slow(Duration::from_millis(100)), When::Every);
    let first = gateway.generate(&canvas_files(&inbox.url())).await;
    let second = gateway.generate(&canvas_files(&inbox.url())).await;
    gateway.until(&first, "running").await;
    assert_eq!(gateway.post(&format!("/jobs/{second}/cancel"), &Value::Null).await.status, 202);
    let (one, other) = (inbox.next().await, inbox.next().await);
    let told: Vec<(&str, &Value)> =
        [&one, &other].map(|webhook| (webhook.prompt_id(), &webhook.body["status"])).to_vec();
    assert!(told.contains(&(first.as_str(), &json!("success"))), "{told:?}");
    assert!(told.contains(&(second.as_str(), &json!("failure"))), "{told:?}");
    assert_eq!(nameless(&gateway.sim), 0, "nothing is interrupted or cleared without naming a prompt");
    gateway.close().await;
}

#[actix_web::test]
async fn a_job_is_cancelled_once_at_whatever_event_the_wish_comes() {
    let moments = || std::iter::once("taken").chain(EVENTS).chain(["idle"]);
    for request in [canvas, canvas_files] {
        let gateway = TestGateway::start().await;
        let inbox = Inbox::open();
        let mut cancelled = 0;
        for (color, at) in (1_u32..).zip(moments()) {
            let mut body = request(&inbox.url());
            body["color"] = json!(color);
            gateway.sim.inject(Fault::Hang { at: at.into() });
            let id = gateway.generate(&body).await;
            // Not every run comes by every event.
            let is_over = |sim: &Sim| sim.queued() == 0 && sim.executions().contains_key(&id);
            let is_there = |sim: &Sim| sim.hanging() == 1 || is_over(sim);
            gateway.sim.wait_for(is_there).await.unwrap();
            let (hangs, before) = (gateway.sim.hanging() == 1, interrupts(&gateway.sim));
            let (one, other) = join(gateway.cancel(&id), gateway.cancel(&id)).await;
            if hangs && at != "idle" {
                // Before that it could go on and end well.
                gateway.sim.wait_for(|sim| interrupts(sim) > before).await.unwrap();
            }
            gateway.sim.release();
            let webhook = inbox.next().await;
            assert_eq!(webhook.prompt_id(), id, "{at}");
            let was_asked = one == 202 || other == 202;
            assert!(was_asked || webhook.body["status"] == "success", "{at}: {one} {other} {}", webhook.body);
            gateway.agrees(&id, &webhook.body).await;
            gateway.sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
            cancelled += u32::from(webhook.body["code"] == "cancelled");
            gateway.sim.clear_faults();
            gateway.sim.release();
        }
        assert!(cancelled >= 3, "only {cancelled} of the jobs were cancelled");
        gateway.close().await;
        assert!(inbox.rest().is_empty());
    }
}

#[actix_web::test]
async fn interrupts_that_are_lost_are_repeated() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::LoseInterrupts(2));
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&id, "running").await;
    assert_eq!(gateway.cancel(&id).await, 202);
    gateway.sim.wait_for(|sim| interrupts(sim) >= 3).await.unwrap();
    gateway.sim.release();
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body["code"]), (id.as_str(), &json!("cancelled")));
    gateway.sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn an_interrupt_that_came_too_early_for_comfyui_is_repeated() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    // Taken from the queue and not begun: too late to be deleted, too early to be interrupted.
    gateway.sim.inject(Fault::Hang { at: "taken".into() });
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&canvas(&inbox.url())).await;
    gateway.sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    assert_eq!(gateway.cancel(&id).await, 202);
    gateway.sim.wait_for(|sim| interrupts(sim) >= 1).await.unwrap();
    gateway.sim.release();
    gateway.sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    let before = interrupts(&gateway.sim);
    gateway.sim.wait_for(|sim| interrupts(sim) > before).await.unwrap();
    gateway.sim.release();
    assert_eq!(inbox.next().await.body["code"], "cancelled");
    gateway.sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
    gateway.close().await;
}

#[actix_web::test]
async fn a_job_is_cancelled_while_its_submission_is_under_way() {
    let faults = [
        Fault::SlowAnswer(Duration::from_millis(400)),
        Fault::DropAfterAccept,
        Fault::Refuse(comfygate::sim::Refusal::CrashButQueued),
        Fault::Refuse(comfygate::sim::Refusal::Crash),
    ];
    for fault in faults {
        let gateway = TestGateway::start().await;
        let inbox = Inbox::open();
        gateway.sim.inject(Fault::Hang { at: "executing".into() });
        gateway.sim.inject(fault.clone());
        let id = gateway.generate(&canvas(&inbox.url())).await;
        let posted = |sim: &Sim| sim.requests().iter().any(SimRequest::is_prompt);
        gateway.sim.wait_for(posted).await.unwrap();
        assert_eq!(gateway.cancel(&id).await, 202, "{fault:?}");
        let hung = gateway.sim.wait_for(|sim| interrupts(sim) >= 1 || sim.queued() == 0).await;
        assert!(hung.is_ok(), "{fault:?}: nobody tried to stop it");
        gateway.sim.release();
        let webhook = inbox.next().await;
        assert_eq!(webhook.body["code"], "cancelled", "{fault:?}: {}", webhook.body);
        gateway.sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
        assert!(gateway.sim.executions().values().sum::<usize>() <= 1, "{fault:?}");
        gateway.close().await;
        assert!(inbox.rest().is_empty(), "{fault:?}");
    }
}

#[actix_web::test]
async fn a_cancel_outlives_a_restart_of_the_gateway() {
    for at in ["taken", "executing", "execution_success"] {
        let gateway = TestGateway::start().await;
        let inbox = Inbox::open();
        gateway.sim.inject(Fault::Hang { at: at.into() });
        let ids = [gateway.generate(&canvas(&inbox.url())).await, gateway.generate(&canvas(&inbox.url())).await];
        gateway.sim.wait_for(|sim| sim.hanging() == 1 && sim.queued() == 2).await.unwrap();
        // The interrupt that the first gateway sends is lost.
        gateway.sim.inject_when(Fault::HungHttp, When::Every);
        for id in &ids {
            assert_eq!(gateway.cancel(id).await, 202, "{at}");
        }
        let gateway = gateway
            .restart_after(async |sim| {
                sim.clear_faults();
            })
            .await;
        gateway.sim.release();
        for _ in &ids {
            let webhook = inbox.next().await;
            let is_over = at == "execution_success" && webhook.prompt_id() == ids[0];
            let is_cancelled = webhook.body["code"] == "cancelled";
            assert!(is_cancelled || is_over || at == "taken", "{at}: {}", webhook.body);
            gateway.agrees(webhook.prompt_id(), &webhook.body).await;
        }
        gateway.sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
        assert!(!gateway.sim.executions().contains_key(&ids[1]), "{at}: what waited was deleted and never ran");
        gateway.close().await;
        assert!(inbox.rest().is_empty(), "{at}");
    }
}

#[actix_web::test]
async fn a_prompt_that_could_not_be_stopped_in_time_is_stopped_when_its_backend_answers_again() {
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    let gateway = Setup { clock: Arc::<ManualClock>::clone(&clock), ..Setup::new() }.start().await;
    let inbox = Inbox::open();
    for at in ["executing", "executed", "execution_success"] {
        gateway.sim.inject(Fault::Hang { at: at.into() });
    }
    let ids = [gateway.generate(&canvas_files(&inbox.url())).await, gateway.generate(&canvas(&inbox.url())).await];
    gateway.until(&ids[0], "running").await;
    gateway.sim.wait_for(|sim| sim.queued() == 2).await.unwrap();
    gateway.sim.inject_when(Fault::HungHttp, When::Every);
    for id in &ids {
        assert_eq!(gateway.cancel(id).await, 202);
    }
    for _ in &ids {
        let webhook = eventually("the end is told", async || {
            clock.advance(Duration::from_secs(2));
            inbox.try_next()
        })
        .await;
        assert_eq!(webhook.body["code"], "cancelled");
    }
    gateway.sim.clear_faults();
    // What hung is answered; the prompt that runs hangs again a little later.
    gateway.sim.release();
    eventually("the prompt that waits is deleted", async || {
        clock.advance(Duration::from_secs(1));
        (gateway.sim.queued() <= 1).then_some(())
    })
    .await;
    eventually("the prompt that runs is stopped", async || {
        clock.advance(Duration::from_secs(1));
        gateway.sim.release();
        (gateway.sim.queued() == 0).then_some(())
    })
    .await;
    assert!(!gateway.sim.executions().contains_key(&ids[1]), "what waited never ran");
    assert!(interrupts(&gateway.sim) > 0);
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

/// Many jobs on two backends, each with two wishes at a random moment, between prompts of other people.
#[actix_web::test]
async fn wishes_at_any_moment_end_each_job_once_and_touch_nobody_else() {
    let other = Sim::start(SimOptions::default()).await.unwrap();
    let gateway = Setup::new().start_beside(&[other.url()], 2).await;
    let inbox = Inbox::open();
    let sims = [&gateway.sim, &other];
    for sim in sims {
        sim.inject_when(Fault::Slow(Duration::from_millis(2)), When::Every);
    }
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    let mut dice = move |sides: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % sides
    };
    let (mut answers, mut strangers) = (BTreeMap::new(), 0);
    for round in 0..8 {
        let mut wishes = Vec::new();
        for place in 0..6 {
            let mut body = if dice(2) == 0 { canvas(&inbox.url()) } else { canvas_files(&inbox.url()) };
            body["color"] = json!(round * 6 + place + 1);
            let id = gateway.generate(&body).await;
            let waits = [dice(150), dice(150)].map(Duration::from_millis);
            let gateway = &gateway;
            wishes.push(async move {
                // One in each round has ended before, however slow the machine is.
                if place == 0 {
                    gateway.until(&id, "success").await;
                }
                let wish = async |wait| {
                    tokio::time::sleep(wait).await;
                    gateway.cancel(&id).await
                };
                let pair = join(wish(waits[0]), wish(waits[1])).await;
                (id.clone(), pair)
            });
        }
        for sim in sims {
            let graph = json!({"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1,
                "color": 1000 + round}}, "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0],
                "filename_prefix": "x"}}});
            let body = json!({"prompt": graph, "prompt_id": format!("stranger-{round}"), "client_id": "a stranger"});
            let sent = reqwest::Client::builder().no_proxy().build().unwrap();
            let answer = sent.post(format!("{}/prompt", sim.url())).body(body.to_string()).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{}", answer.text().await.unwrap());
            strangers += 1;
        }
        answers.extend(join_all(wishes).await);
    }
    let mut told = BTreeMap::new();
    while told.len() < answers.len() {
        let webhook = inbox.next().await;
        let twice = told.insert(webhook.prompt_id().to_owned(), webhook.body.clone());
        assert!(twice.is_none(), "told twice: {}", webhook.body);
    }
    let mut cancelled = 0;
    for (id, (one, other)) in &answers {
        let body = &told[id];
        gateway.agrees(id, body).await;
        let is_cancelled = body["code"] == "cancelled";
        assert!(is_cancelled || body["status"] == "success", "{body}");
        assert!([202, 409].contains(one) && [202, 409].contains(other), "{one} {other}");
        assert!(!is_cancelled || *one == 202 || *other == 202, "cancelled, and nobody was told so: {body}");
        cancelled += usize::from(is_cancelled);
    }
    assert!(cancelled > 5 && cancelled < answers.len(), "{cancelled} of {} were cancelled", answers.len());
    for sim in sims {
        sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
        let ran = sim.executions();
        assert!(ran.values().all(|count| *count == 1), "{ran:?}");
        let done = (0..8).filter(|round| sim.remembers(&format!("stranger-{round}"))).count();
        assert_eq!(done, 8, "another client's prompt was deleted");
        let saved = sim.images().iter().filter(|image| image.prompt.starts_with("stranger-")).count();
        assert_eq!(saved, 8, "another client's prompt was interrupted");
        strangers -= 8;
        assert_eq!(nameless(sim), 0, "nothing is interrupted or cleared without naming a prompt");
    }
    assert_eq!(strangers, 0);
    gateway.close().await;
    other.stop().await;
    assert!(inbox.rest().is_empty());
}

/// How often something was interrupted or cleared without naming a prompt.
fn nameless(sim: &Sim) -> usize {
    let is_nameless = |request: &SimRequest| {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        (request.path == "/interrupt" && body.get("prompt_id").is_none()) || body.get("clear").is_some()
    };
    sim.requests().iter().filter(|request| is_nameless(request)).count()
}

fn interrupts(sim: &Sim) -> usize {
    sim.requests().iter().filter(|request| request.path == "/interrupt").count()
}

impl TestGateway {
    /// Wishes a job cancelled, and returns the answer's status.
    async fn cancel(&self, id: &str) -> u16 {
        self.post(&format!("/jobs/{id}/cancel"), &Value::Null).await.status
    }

    /// Holds what is told when asked against what the webhook told.
    async fn agrees(&self, id: &str, webhook: &Value) {
        assert_eq!(&self.job(id).await, webhook);
    }
}

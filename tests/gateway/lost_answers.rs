//! `POST /prompt` goes wrong on its way there, on its way back, or somewhere in between: the job runs exactly once.

use crate::proxy::{At, Effect, On, Proxy, Way};
use crate::support::{Inbox, Setup, TestGateway, as_time_goes_by, canvas, canvas_files};
use comfygate::clock::ManualClock;
use serde_json::Value;
use std::time::Duration;

const SUBMISSION: On = On::Call("POST /prompt");

#[actix_web::test]
async fn a_submission_that_breaks_on_its_way_there_is_made_again() {
    for at in [At::Request(0), At::Request(20), At::Request(400)] {
        for effect in [Effect::Reset, Effect::Close] {
            runs_once(|proxy| proxy.arm(SUBMISSION, at, effect)).await;
        }
    }
}

#[actix_web::test]
async fn a_submission_whose_answer_is_lost_or_cut_is_not_made_again() {
    for at in [At::Answer(0), At::Answer(12), At::Answer(120)] {
        for effect in [Effect::Reset, Effect::Close] {
            runs_once(|proxy| proxy.arm(SUBMISSION, at, effect)).await;
        }
    }
}

#[actix_web::test]
async fn a_submission_that_breaks_again_and_again_goes_through_in_the_end() {
    runs_once(|proxy| proxy.arm_times(6, SUBMISSION, At::Request(0), Effect::Reset)).await;
    runs_once(|proxy| proxy.arm_times(6, SUBMISSION, At::Request(50), Effect::Reset)).await;
}

#[actix_web::test]
async fn an_answer_that_takes_longer_than_anybody_waits_is_not_waited_for_and_the_job_runs_once() {
    for effect in [Effect::Freeze(Way::ToClient), Effect::Swallow(Way::ToClient)] {
        runs_once(|proxy| proxy.arm(SUBMISSION, At::Answer(0), effect)).await;
        // Not one byte of the answer, and then nothing more of it.
        runs_once(|proxy| proxy.arm(SUBMISSION, At::Answer(100), effect)).await;
    }
}

#[actix_web::test]
async fn a_submission_that_went_nowhere_is_made_again() {
    runs_once(|proxy| proxy.arm(SUBMISSION, At::Request(0), Effect::Swallow(Way::Both))).await;
}

#[actix_web::test]
async fn a_submission_that_arrives_after_it_was_given_up_is_stopped() {
    let (setup, clock) = Setup::with_manual_clock();
    let (gateway, proxy) = setup.start_behind_proxy().await;
    let inbox = Inbox::open();
    gateway.sim.inject(comfygate::sim::Fault::Stall);
    proxy.arm(SUBMISSION, At::Request(0), Effect::Freeze(Way::ToServer));
    let id = gateway.generate(&canvas_files(&inbox.url())).await;
    proxy.until("it froze", |proxy| proxy.struck() == 1).await;
    as_time_goes_by(&clock, "another submission", async || (proxy.count("POST /prompt") == 2).then_some(())).await;
    gateway.sim.wait_for(|sim| sim.queued() == 1).await.unwrap();
    // The first one was only late.
    proxy.heal();
    gateway.sim.wait_for(|sim| sim.queued() == 2).await.unwrap();
    as_time_goes_by(&clock, "only one is left", async || (gateway.sim.queued() == 1).then_some(())).await;
    gateway.sim.release();
    let told = told(&clock, &inbox).await;
    assert_eq!((told["status"].as_str(), told["prompt_id"].as_str()), (Some("success"), Some(id.as_str())), "{told}");
    assert_eq!(executions(&gateway), 1);
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

/// Runs one job of each kind under a fault. Each is executed exactly once, succeeds, and is told once.
async fn runs_once(arm: impl Fn(&Proxy)) {
    for request in [canvas, canvas_files] {
        let (setup, clock) = Setup::with_manual_clock();
        let (gateway, proxy) = setup.start_behind_proxy().await;
        let inbox = Inbox::open();
        arm(&proxy);
        gateway.generate(&request(&inbox.url())).await;
        proxy.until("the fault strikes", |proxy| proxy.struck() > 0).await;
        let told = told(&clock, &inbox).await;
        assert_eq!(told["status"], "success", "{told}");
        assert_eq!(executions(&gateway), 1, "{:?}", proxy.calls());
        assert_eq!(proxy.client_ids().len(), 1, "the socket had nothing to do with it");
        // A stop would wait for a submission that nobody answers.
        proxy.strike(&SUBMISSION, Effect::Reset);
        gateway.close().await;
        assert!(inbox.rest().is_empty());
    }
}

async fn told(clock: &ManualClock, inbox: &Inbox) -> Value {
    let webhook = as_time_goes_by(clock, "the job is told", async || inbox.try_next()).await;
    // Whatever was late has come by now.
    clock.advance(Duration::from_secs(1));
    webhook.body
}

fn executions(gateway: &TestGateway) -> usize {
    gateway.sim.executions().values().sum()
}

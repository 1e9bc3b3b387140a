//! Receivers that hang, are dead or overloaded, and tenants that have many of them: what others notice of it.

use crate::support::{Receiver, Reply, Rig, url_of};
use comfygate::store::{DeliveryState, Store};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};

const OK: Reply = Reply::Status(200, "");

#[tokio::test]
async fn a_thousand_webhooks_to_a_host_that_hangs_hold_up_no_other_and_burn_no_attempt() {
    let rig = Rig::new();
    let mut hanging = Receiver::start([Reply::Silence]).await;
    let mut healthy = Receiver::start([OK]).await;
    let stuck = rig.ended_jobs_of("default", 1000, |_| hanging.url.clone()).await;
    rig.start();
    for _ in 0..4 {
        hanging.next().await;
    }
    for number in 1..=30 {
        let (job, _) = rig.ended_job(number, &healthy.url, &[b"image"]).await;
        healthy.next().await;
        rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
        // Each of them while every place of the other host is taken.
        assert!(hanging.is_quiet());
    }
    assert_eq!(hanging.connections(), 4);
    for job in stuck {
        let (delivery, attempts) = rig.store.delivery(job).await.unwrap().unwrap();
        assert_eq!((delivery.state, delivery.attempts, attempts.len()), (DeliveryState::Pending, 0, 0));
    }
}

#[tokio::test]
async fn a_tenant_whose_many_hosts_hang_does_not_hold_up_anothers_single_webhook() {
    let rig = Rig::new();
    let mut hanging = Vec::new();
    for _ in 0..20 {
        hanging.push(Receiver::start([Reply::Silence]).await);
    }
    let mut healthy = Receiver::start([OK]).await;
    // More than there are places in all, and each of them hangs.
    rig.ended_jobs_of("flood", 400, |number| hanging[number % 20].url.clone()).await;
    rig.start();
    for receiver in &mut hanging[..5] {
        receiver.next().await;
    }
    let (job, _) = rig.ended_job_of("shop", 1, &healthy.url, &[b"image"]).await;
    healthy.next().await;
    rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    let taken: usize = hanging.iter().map(Receiver::connections).sum();
    assert!((20..32).contains(&taken), "{taken} of 32 places");
}

#[tokio::test]
async fn a_dead_host_is_called_ten_times_and_then_probed_now_and_then() {
    let mut rig = Rig::new();
    rig.settings.per_host = 1;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let jobs = rig.ended_jobs_of("default", 30, |_| url_of(address)).await;
    rig.start();
    rig.until_attempts(&jobs, 10).await;
    rig.until_looked().await;
    assert_eq!(rig.attempts_of(&jobs).await, 10);
    for (probes, wait) in (1..).zip([30, 60, 120]) {
        rig.clock.advance(Duration::from_secs(wait - 1));
        rig.until_looked().await;
        assert_eq!(rig.attempts_of(&jobs).await, 10 + probes - 1, "before the probe");
        rig.clock.advance(Duration::from_secs(1));
        rig.until_attempts(&jobs, 10 + probes).await;
        rig.until_looked().await;
        assert_eq!(rig.attempts_of(&jobs).await, 10 + probes, "one probe");
    }
    // It comes back: the next probe finds it, and everything else follows.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    let mut receiver = Receiver::serve(socket.listen(64).unwrap(), vec![OK]);
    rig.clock.advance(Duration::from_mins(4));
    receiver.next().await;
    for job in &jobs {
        rig.until(*job, |delivery, _| {
            // What failed before has its own wait besides.
            rig.clock.advance(Duration::from_secs(1));
            delivery.state == DeliveryState::Delivered
        })
        .await;
    }
    // Ten, three probes, and the one that went through.
    for job in jobs.iter().skip(14) {
        let (delivery, attempts) = rig.store.delivery(*job).await.unwrap().unwrap();
        assert_eq!((delivery.attempts, attempts.len()), (1, 1), "the wait burned an attempt");
    }
}

#[tokio::test]
async fn what_waits_for_a_dead_host_until_its_deadline_is_undeliverable_and_says_so() {
    // The deadline may come while the notifier is in the middle of whatever it does.
    for pause in 0..8 {
        past_the_deadline_after(pause).await;
    }
}

async fn past_the_deadline_after(pause: u64) {
    let mut rig = Rig::new();
    rig.settings.schedule = vec![Duration::from_secs(1)];
    rig.settings.per_host = 1;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let jobs = rig.ended_jobs_of("default", 14, |_| url_of(address)).await;
    rig.start();
    rig.after_attempts(jobs[9], 1).await;
    rig.until_looked().await;
    let (delivery, _) = rig.store.delivery(jobs[13]).await.unwrap().unwrap();
    assert_eq!(delivery.attempts, 0);
    rig.ring();
    tokio::time::sleep(Duration::from_micros(pause * 50)).await;
    rig.clock.advance(Duration::from_hours(26));
    let mut codes = Vec::new();
    for job in &jobs[10..] {
        let (delivery, attempts) = rig
            .until(*job, |delivery, _| delivery.state == DeliveryState::Undeliverable || delivery.attempts > 0)
            .await;
        codes.push(attempts[0].code.clone().unwrap());
        assert_eq!(delivery.ended_at.is_some(), delivery.state == DeliveryState::Undeliverable);
    }
    // The gate let one through as a probe.
    assert_eq!(codes.iter().filter(|code| *code == "host_down").count(), 3, "{pause}: {codes:?}");
    assert_eq!(codes.iter().filter(|code| *code == "connect").count(), 1, "{pause}: {codes:?}");
}

#[tokio::test]
async fn an_overloaded_host_is_sent_half_as_many_at_once() {
    let rig = Rig::new();
    let mut receiver = Receiver::start([Reply::Status(504, ""), Reply::Silence]).await;
    let jobs = rig.ended_jobs_of("default", 50, |_| receiver.url.clone()).await;
    rig.start();
    for _ in 0..4 {
        receiver.next().await;
    }
    // One is answered, and three go on: more than the two places that are left.
    rig.until_attempts(&jobs, 1).await;
    rig.until_looked().await;
    assert!(receiver.is_quiet(), "a place that was halved away was filled");
}

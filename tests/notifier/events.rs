//! Events beside deliveries: what a slow receiver of events can delay, and what not.

use crate::support::{Receiver, Reply, Rig, soon, url_of};
use comfygate::clock::Clock;
use comfygate::job::{Advance, Announcement, Audience, JobId, News, Tenant, WebhookEvent};
use comfygate::store::DeliveryState;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;

const OK: Reply = Reply::Status(200, "");

/// The longest that one event may take.
const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn the_end_waits_until_the_event_under_way_is_answered() {
    let rig = Rig::started();
    let allowed = Arc::new(Notify::new());
    let mut receiver = Receiver::start([Reply::Held(Arc::clone(&allowed)), OK]).await;
    announce(&rig, 1, &receiver.url, News::Started);
    let event = receiver.next().await;
    assert!(event.header("webhook-id").unwrap().ends_with("_started_1"));
    assert_eq!(event.header("x-gateway-attempt"), Some("1"));
    assert!(event.header("webhook-timestamp").is_some());
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    // Another job's end goes to the same host meanwhile, so there was time enough for a mistake.
    let (other, _) = rig.ended_job(2, &receiver.url, &[]).await;
    assert_eq!(receiver.next().await.header("webhook-id").unwrap(), other.webhook_id());
    rig.until(other, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    assert!(receiver.is_quiet());
    allowed.notify_one();
    assert_eq!(receiver.next().await.header("webhook-id").unwrap(), job.webhook_id());
    rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn the_end_waits_for_an_event_that_nobody_answers_as_long_as_one_event_may_take() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([Reply::Silence, OK]).await;
    announce(&rig, 1, &receiver.url, News::Started);
    receiver.next().await;
    announce(&rig, 1, &receiver.url, progress(0.5));
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    let (other, _) = rig.ended_job(2, &receiver.url, &[]).await;
    assert_eq!(receiver.next().await.header("webhook-id").unwrap(), other.webhook_id());
    assert!(receiver.is_quiet());
    let asked = rig.clock.now();
    let told = async {
        loop {
            if let Some(told) = receiver.try_next() {
                return told;
            }
            rig.clock.advance(Duration::from_millis(50));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let end = soon("the end is told", told).await;
    assert_eq!(end.header("webhook-id").unwrap(), job.webhook_id());
    let waited = rig.clock.now().since(asked);
    assert!(waited >= Duration::from_secs(4), "the event was still under way after {waited:?}");
    assert!(waited <= LIMIT + Duration::from_secs(1), "the end waited for {waited:?}");
    let (_, attempts) = rig.after_attempts(job, 1).await;
    assert!(attempts[0].took < Duration::from_secs(1), "the wait is no part of the attempt");
}

#[tokio::test]
async fn events_that_hang_take_no_places_of_deliveries() {
    let rig = Rig::started();
    let mut hanging = vec![Reply::Silence; 2];
    hanging.push(OK);
    let mut receiver = Receiver::start(hanging).await;
    for number in 1..=40 {
        announce(&rig, number, &receiver.url, News::Started);
    }
    // Two are sent to one host and the rest wait.
    receiver.next().await;
    receiver.next().await;
    for number in 100..=120 {
        let (job, _) = rig.ended_job(number, &receiver.url, &[]).await;
        rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
        assert_eq!(receiver.next().await.header("webhook-id").unwrap(), job.webhook_id());
    }
    assert!(receiver.is_quiet());
    assert_eq!(rig.clock.now(), crate::support::START);
}

#[tokio::test]
async fn ends_that_wait_for_their_events_take_no_places_of_others() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([Reply::Silence, Reply::Silence, OK]).await;
    for number in 1..=20 {
        announce(&rig, number, &receiver.url, News::Started);
    }
    receiver.next().await;
    receiver.next().await;
    let mut waiting = Vec::new();
    for number in 1..=20 {
        waiting.push(rig.ended_job(number, &receiver.url, &[]).await.0);
    }
    for number in 100..=110 {
        let (job, _) = rig.ended_job(number, &receiver.url, &[]).await;
        assert_eq!(receiver.next().await.header("webhook-id").unwrap(), job.webhook_id());
    }
    assert!(receiver.is_quiet());
    rig.clock.advance(LIMIT);
    for job in waiting {
        rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    }
    for _ in 1..=20 {
        assert!(!receiver.next().await.header("webhook-id").unwrap().contains("_started"));
    }
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn a_stop_lets_go_of_ends_that_wait_for_their_events() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([Reply::Silence, OK]).await;
    announce(&rig, 1, &receiver.url, News::Started);
    receiver.next().await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    let (other, _) = rig.ended_job(2, &receiver.url, &[]).await;
    rig.until(other, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    receiver.next().await;
    let rig = rig.restart().await;
    rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    assert_eq!(receiver.next().await.header("webhook-id").unwrap(), job.webhook_id());
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn progress_comes_at_most_once_a_second_and_it_is_the_newest() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([OK]).await;
    announce(&rig, 1, &receiver.url, progress(0.0));
    receiver.next().await;
    for second in 1..=5_u32 {
        for part in 1..10_u32 {
            announce(&rig, 1, &receiver.url, progress(f64::from(second * 10 + part) / 100.0));
            assert!(receiver.is_quiet());
        }
        rig.clock.advance(Duration::from_secs(1));
        let told: serde_json::Value = serde_json::from_slice(&receiver.next().await.body).unwrap();
        assert_eq!(told["progress"]["fraction"], f64::from(second * 10 + 9) / 100.0);
        assert!(receiver.is_quiet());
    }
}

#[tokio::test]
async fn events_go_where_deliveries_may_go_and_nowhere_else() {
    let mut rig = Rig::new();
    rig.settings.https_only = true;
    rig.start();
    let mut receiver = Receiver::start([OK]).await;
    announce(&rig, 1, &receiver.url, News::Started);
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    rig.after_attempts(job, 1).await;
    assert!(receiver.is_quiet());
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_host_that_is_down_is_told_no_event_before_a_delivery_has_come_through() {
    let mut rig = Rig::new();
    rig.settings.per_host = 1;
    let mut witness = Receiver::start([OK]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let jobs = rig.ended_jobs_of("default", 11, |_| url_of(address)).await;
    rig.start();
    rig.until_attempts(&jobs, 10).await;
    rig.until_looked().await;
    assert_eq!(rig.attempts_of(&jobs).await, 10, "it is down");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    let mut receiver = Receiver::serve(socket.listen(64).unwrap(), vec![OK]);

    announce(&rig, 1, &receiver.url, News::Started);
    announce(&rig, 2, &witness.url, News::Started);
    witness.next().await;
    assert_eq!(receiver.connections(), 0);

    rig.clock.advance(Duration::from_secs(30));
    let probe = receiver.next().await;
    assert!(jobs.iter().any(|job| probe.header("webhook-id") == Some(job.webhook_id().as_str())));
    for job in &jobs {
        rig.until(*job, |delivery, _| {
            rig.clock.advance(Duration::from_secs(1));
            delivery.state == DeliveryState::Delivered
        })
        .await;
    }
    while receiver.try_next().is_some() {}
    announce(&rig, 1, &receiver.url, News::Started);
    assert!(receiver.next().await.header("webhook-id").unwrap().contains("_started_"));
}

#[tokio::test]
async fn a_host_that_asked_for_a_pause_is_told_no_event_until_it_is_over() {
    let rig = Rig::started();
    let mut witness = Receiver::start([OK]).await;
    let mut later_witness = Receiver::start([OK]).await;
    let mut receiver = Receiver::start([Reply::Status(429, "retry-after: 60\r\n"), OK]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    receiver.next().await;
    rig.after_attempts(job, 1).await;
    rig.until_looked().await;
    announce(&rig, 2, &receiver.url, News::Started);
    announce(&rig, 3, &witness.url, News::Started);
    witness.next().await;
    assert!(receiver.is_quiet());
    rig.clock.advance(Duration::from_secs(59));
    announce(&rig, 2, &receiver.url, progress(0.5));
    announce(&rig, 4, &later_witness.url, News::Started);
    later_witness.next().await;
    assert!(receiver.is_quiet());
    rig.clock.advance(Duration::from_secs(1));
    announce(&rig, 2, &receiver.url, progress(0.6));
    let told = soon("the event", async {
        loop {
            let told = receiver.next().await;
            if told.header("webhook-id") != Some(job.webhook_id().as_str()) {
                return told;
            }
        }
    });
    let told: serde_json::Value = serde_json::from_slice(&told.await.body).unwrap();
    assert_eq!(told["progress"]["fraction"], 0.6);
}

#[tokio::test]
async fn a_stop_breaks_events_off_and_ends_are_told_all_the_same() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([Reply::Silence, OK]).await;
    announce(&rig, 1, &receiver.url, News::Started);
    receiver.next().await;
    soon("the stop", rig.stopping()).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    let rig = rig.restart().await;
    rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    assert_eq!(receiver.next().await.header("webhook-id").unwrap(), job.webhook_id());
    assert_eq!(rig.panics(), 0);
}

pub(crate) fn announce(rig: &Rig, number: u8, url: &str, news: News) {
    let now = rig.clock.now();
    let audience = Audience {
        output_names: std::collections::BTreeMap::new(),
        job: JobId::new(crate::support::START, [number; 10]),
        tenant: Tenant::default(),
        run: 1,
        url: url.to_owned(),
        workflow: "canvas".into(),
        metadata: None,
        accepted_at: crate::support::START,
        events: WebhookEvent::ALL.into(),
    };
    rig.announcer.announce(Announcement { audience: Arc::new(audience), at: now, news });
}

fn progress(fraction: f64) -> News {
    News::Progress(Advance { fraction, node: None })
}

//! What was given up, answered or put off is sent again when somebody asks for it; every attempt is in the log.

use crate::support::{Receiver, Reply, Rig, START, soon};
use comfygate::clock::Clock;
use comfygate::job::JobId;
use comfygate::store::{DeliveryState, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const OK: Reply = Reply::Status(200, "");
const NO: Reply = Reply::Status(500, "");

#[tokio::test]
async fn what_was_given_up_is_sent_again_from_the_beginning_of_the_schedule_with_the_same_id_and_bytes() {
    let mut rig = Rig::new();
    rig.settings.schedule = vec![Duration::from_secs(1), Duration::from_secs(2)];
    rig.start();
    let mut receiver = Receiver::start([NO, NO, NO, NO, NO, OK]).await;
    let (job, expected) = rig.ended_job(1, &receiver.url, &[b"image"]).await;
    for (count, wait) in [(1, 1), (2, 2), (3, 2)] {
        assert_eq!(receiver.next().await.body, expected);
        rig.after_attempts(job, count).await;
        rig.clock.advance(Duration::from_secs(wait));
    }
    rig.until(job, |delivery, _| delivery.state == DeliveryState::Undeliverable).await;

    // The process ends between the answer to the replay and the next attempt.
    soon("the stop", rig.stopping()).await;
    rig.store.replay_delivery(job, rig.clock.now()).await.unwrap();
    let rig = rig.restart().await;
    for (number, wait) in [(4, 1), (5, 2), (6, 0)] {
        let request = receiver.next().await;
        assert_eq!(request.body, expected);
        assert_eq!(request.header("webhook-id"), Some(job.webhook_id().as_str()));
        assert_eq!(request.header("x-gateway-attempt"), Some(number.to_string().as_str()));
        let (delivery, _) = rig.after_attempts(job, number).await;
        if wait > 0 {
            assert_eq!(delivery.due_at, rig.clock.now() + Duration::from_secs(wait), "attempt {number}");
        }
        rig.clock.advance(Duration::from_secs(wait));
    }
    let (delivery, attempts) = rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    assert_eq!((delivery.attempts, delivery.replays, attempts.len()), (6, 1, 6));
    assert_eq!(delivery.ended_at, Some(rig.clock.now()));
}

#[tokio::test]
async fn a_replay_gets_as_many_attempts_as_the_schedule_has() {
    let mut rig = Rig::new();
    rig.settings.schedule = vec![Duration::from_secs(1)];
    rig.start();
    let mut receiver = Receiver::start([NO]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    for round in 1..=3 {
        for count in [2 * round - 1, 2 * round] {
            receiver.next().await;
            rig.after_attempts(job, count).await;
            rig.clock.advance(Duration::from_secs(1));
        }
        rig.until(job, |delivery, _| delivery.state == DeliveryState::Undeliverable).await;
        assert!(receiver.is_quiet());
        // Long after the deadline of the round before: each round has one of its own.
        rig.clock.advance(Duration::from_hours(1000));
        replay(&rig, job).await;
    }
}

#[tokio::test]
async fn one_that_is_under_way_is_not_sent_twice_at_once() {
    let rig = Rig::started();
    let allowed = Arc::new(Notify::new());
    let mut receiver = Receiver::start([Reply::Held(Arc::clone(&allowed)), OK]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    receiver.next().await;
    for _ in 0..3 {
        replay(&rig, job).await;
    }
    // Another one that arrives shows that the notifier has looked.
    let mut other = Receiver::start([OK]).await;
    let (second, _) = rig.ended_job(2, &other.url, &[]).await;
    other.next().await;
    rig.until(second, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    assert!(receiver.is_quiet());
    allowed.notify_one();
    let (delivery, _) = rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    assert_eq!((delivery.attempts, delivery.replays), (1, 0));
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn each_replay_is_one_more_attempt_and_no_more() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([OK]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    for number in 1..=9_u32 {
        assert_eq!(receiver.next().await.header("x-gateway-attempt"), Some(number.to_string().as_str()));
        // As soon as the end is stored; the notifier may not have heard of it yet.
        let (delivery, _) = rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
        assert_eq!((delivery.attempts, delivery.replays), (number, number - 1));
        assert!(receiver.is_quiet());
        replay(&rig, job).await;
    }
}

#[tokio::test]
async fn a_pending_one_is_tried_now_and_the_schedule_goes_on() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([NO, NO, NO]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    receiver.next().await;
    rig.after_attempts(job, 1).await;
    rig.clock.advance(Duration::from_secs(5));
    receiver.next().await;
    let (delivery, _) = rig.after_attempts(job, 2).await;
    assert_eq!(delivery.due_at, START + Duration::from_secs(5) + Duration::from_mins(5));
    replay(&rig, job).await;
    receiver.next().await;
    let (delivery, _) = rig.after_attempts(job, 3).await;
    assert_eq!((delivery.replays, delivery.due_at), (0, START + Duration::from_secs(5) + Duration::from_mins(30)));
}

#[tokio::test]
async fn a_receiver_that_is_always_busy_is_told_no_later_than_the_deadline() {
    let mut rig = Rig::new();
    rig.settings.schedule = vec![Duration::from_mins(10); 30];
    rig.start();
    let mut receiver = Receiver::start([Reply::Status(503, "retry-after: 99999999\r\n")]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    // 30 waits of ten minutes and a fifth more are six hours; one day besides.
    let deadline = START + Duration::from_hours(6) + Duration::from_hours(24);
    for (count, due_at) in [(1, START + Duration::from_hours(24)), (2, deadline)] {
        receiver.next().await;
        let (delivery, _) = rig.after_attempts(job, count).await;
        assert_eq!((delivery.state, delivery.due_at), (DeliveryState::Pending, due_at));
        rig.clock.advance(due_at.since(rig.clock.now()));
    }
    receiver.next().await;
    let (delivery, attempts) = rig.until(job, |delivery, _| delivery.state == DeliveryState::Undeliverable).await;
    assert_eq!((attempts.len(), delivery.ended_at), (3, Some(deadline)));
    assert_eq!(rig.store.next_due().await.unwrap(), None);
}

#[tokio::test]
async fn the_log_says_of_every_attempt_what_the_receiver_saw() {
    let rig = Rig::started();
    let long = format!("x{}", "é".repeat(700));
    let long_answer = format!("HTTP/1.1 500 No\r\ncontent-length: {}\r\n\r\n{long}", long.len());
    let mut receiver = Receiver::start([
        Reply::Raw(long_answer.into_bytes()),
        Reply::Status(503, "retry-after: 1000\r\n"),
        Reply::Silence,
        Reply::Raw(Vec::new()),
        Reply::Raw(
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 4\r\n\r\n\xff\x1b\0!".to_vec(),
        ),
        Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nthanks".to_vec()),
    ])
    .await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[b"image"]).await;
    let mut seen = Vec::new();
    for count in 1..=6 {
        let request = receiver.next().await;
        let second: i64 = request.header("webhook-timestamp").unwrap().parse().unwrap();
        seen.push((request.header("x-gateway-attempt").unwrap().to_owned(), second));
        if count == 3 {
            rig.clock.advance(Duration::from_secs(31));
        }
        let (delivery, _) = rig.after_attempts(job, count).await;
        rig.clock.advance(delivery.due_at.since(rig.clock.now()));
    }
    let (_, attempts) = rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    let logged: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt.number.to_string(), attempt.started_at.millis().div_euclid(1000)))
        .collect();
    assert_eq!(logged, seen);
    let of = |place: usize| {
        let attempt = &attempts[place];
        (attempt.status, attempt.code.as_deref(), attempt.took.as_secs(), attempt.snippet.as_str())
    };
    let kept = format!("x{}", "é".repeat(511));
    assert_eq!(of(0), (Some(500), Some("server_error"), 0, kept.as_str()));
    assert_eq!(of(1), (Some(503), Some("server_error"), 0, "ok"));
    assert_eq!(of(2), (None, Some("timeout"), 31, "no answer in time"));
    assert_eq!((of(3).0, of(3).1), (None, Some("connection_lost")));
    assert_eq!(of(4), (Some(302), Some("redirect"), 0, "\u{fffd}\u{fffd}\u{fffd}!"));
    assert_eq!(of(5), (Some(200), None, 0, "thanks"));
    let waits: Vec<_> = attempts.windows(2).map(|two| two[1].started_at.since(two[0].started_at).as_secs()).collect();
    assert_eq!(waits, [5, 1000, 31 + 1800, 7200, 18_000]);
}

async fn replay(rig: &Rig, job: JobId) {
    assert!(rig.store.replay_delivery(job, rig.clock.now()).await.unwrap().is_some());
    rig.ring();
}

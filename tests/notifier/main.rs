//! Webhooks over real sockets: what arrives, what is tried again, and what a bad receiver cannot do.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this whole program is a test")]

mod events;
mod isolation;
#[path = "../support/own_folder.rs"]
mod own_folder;
mod replays;
mod signatures;
mod support;
mod verifiers;

use comfygate::clock::Clock;
use comfygate::store::{DeliveryState, Store};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Received, Receiver, Reply, Rig, START, soon, url_of};
use tokio::net::TcpSocket;
use tokio::sync::Notify;

const OK: Reply = Reply::Status(200, "");

#[tokio::test]
async fn a_webhook_arrives_with_its_exact_bytes_and_headers() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([OK]).await;
    let image: Vec<u8> = (0..300_000_u32).map(|place| place.to_le_bytes()[0]).collect();
    let (job, expected) = rig.ended_job(1, &receiver.url, &[&image, b"second"]).await;

    let request = receiver.next().await;
    assert_eq!(request.line(), "POST /hook HTTP/1.1");
    assert_eq!(request.body, expected);
    assert_eq!(request.header("webhook-id"), Some(job.webhook_id().as_str()));
    assert_eq!(request.header("webhook-timestamp"), Some("1795000000"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("content-length"), Some(expected.len().to_string().as_str()));
    assert_eq!(request.header("user-agent"), Some(concat!("comfygate/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(request.header("x-gateway-attempt"), Some("1"));
    assert_eq!(request.header("x-gateway-prompt-id"), Some(job.to_string().as_str()));
    let names = [
        "accept",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
        "x-gateway-attempt",
        "x-gateway-prompt-id",
    ];
    assert_eq!(request.header_names(), names);

    let (delivery, attempts) = rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    assert_eq!(delivery.attempts, 1);
    assert_eq!((attempts[0].status, attempts[0].code.as_deref()), (Some(200), None));
    assert_eq!(attempts[0].snippet, "ok");
}

#[tokio::test]
async fn a_receiver_that_was_down_is_told_when_it_is_up() {
    let rig = Rig::started();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (job, expected) = rig.ended_job(1, &url_of(socket.local_addr().unwrap()), &[]).await;

    let (delivery, attempts) = rig.after_attempts(job, 1).await;
    assert_eq!((attempts[0].status, attempts[0].code.as_deref()), (None, Some("connect")));
    assert_eq!(delivery.due_at, START + Duration::from_secs(5));

    let mut receiver = Receiver::serve(socket.listen(16).unwrap(), vec![OK]);
    rig.clock.advance(Duration::from_secs(5));
    let request = receiver.next().await;
    assert_eq!(request.body, expected);
    assert_eq!(request.header("x-gateway-attempt"), Some("2"));
    rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
}

#[tokio::test]
async fn an_error_is_tried_again_with_the_same_id_and_bytes_and_a_new_time() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([Reply::Status(500, ""), Reply::Status(404, ""), OK]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[b"image"]).await;

    let first = receiver.next().await;
    rig.after_attempts(job, 1).await;
    rig.clock.advance(Duration::from_secs(5));
    let second = receiver.next().await;
    rig.after_attempts(job, 2).await;
    rig.clock.advance(Duration::from_mins(5));
    let third = receiver.next().await;
    let (_, attempts) = rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;

    let codes: Vec<_> = attempts.iter().map(|attempt| attempt.code.as_deref()).collect();
    assert_eq!(codes, [Some("server_error"), Some("client_error"), None]);
    let all = [first, second, third];
    assert!(all.iter().all(|request| request.body == all[0].body));
    let of = |name: &str| -> Vec<String> { all.iter().map(|one| one.header(name).unwrap().to_owned()).collect() };
    assert_eq!(of("webhook-id"), vec![job.webhook_id(); 3]);
    assert_eq!(of("webhook-timestamp"), ["1795000000", "1795000005", "1795000305"]);
    assert_eq!(of("x-gateway-attempt"), ["1", "2", "3"]);
}

#[tokio::test]
async fn the_last_attempt_ends_the_delivery() {
    let mut rig = Rig::new();
    rig.settings.schedule = vec![Duration::from_secs(1), Duration::from_secs(2)];
    rig.start();
    let mut receiver = Receiver::start([Reply::Status(500, "")]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    for count in 1..=3 {
        receiver.next().await;
        rig.after_attempts(job, count).await;
        rig.clock.advance(Duration::from_secs(2));
    }
    let (delivery, _) = rig.until(job, |delivery, _| delivery.state == DeliveryState::Undeliverable).await;
    assert_eq!(delivery.attempts, 3);
    assert_eq!(rig.store.next_due().await.unwrap(), None);
}

#[tokio::test]
async fn a_410_ends_the_delivery_at_once() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([Reply::Status(410, "")]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    receiver.next().await;
    let (_, attempts) = rig.until(job, |delivery, _| delivery.state == DeliveryState::Gone).await;
    assert_eq!((attempts.len(), attempts[0].code.as_deref()), (1, Some("gone")));
    assert_eq!(rig.store.next_due().await.unwrap(), None);
}

#[tokio::test]
async fn a_redirect_is_never_followed_and_is_tried_again() {
    let rig = Rig::started();
    let elsewhere = Receiver::start([OK]).await;
    for (number, status) in [301, 302, 303, 307, 308].into_iter().enumerate() {
        let head = format!("HTTP/1.1 {status} Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", elsewhere.url);
        let mut receiver = Receiver::start([Reply::Raw(head.into_bytes())]).await;
        let (job, _) = rig.ended_job(u8::try_from(number).unwrap(), &receiver.url, &[]).await;
        receiver.next().await;
        let (delivery, attempts) = rig.after_attempts(job, 1).await;
        assert_eq!((attempts[0].status, attempts[0].code.as_deref()), (Some(status), Some("redirect")));
        assert_eq!(delivery.state, DeliveryState::Pending);
        assert_eq!(delivery.due_at, START + Duration::from_secs(5));
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_receiver_that_never_answers_costs_the_limit_and_is_tried_again_after_a_minute() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([Reply::Silence, OK]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    receiver.next().await;
    rig.clock.advance(Duration::from_secs(31));
    let (delivery, attempts) = rig.after_attempts(job, 1).await;
    assert_eq!((attempts[0].status, attempts[0].code.as_deref()), (None, Some("timeout")));
    assert_eq!(attempts[0].took, Duration::from_secs(31));
    assert_eq!(delivery.due_at, START + Duration::from_secs(31 + 60));
    rig.clock.advance(Duration::from_mins(1));
    receiver.next().await;
    rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
}

#[tokio::test]
async fn of_an_endless_answer_only_the_beginning_is_read() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([Reply::Endless]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    receiver.next().await;
    let (_, attempts) = rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    assert_eq!(attempts[0].snippet, "x".repeat(1024));
    let cut = async {
        while receiver.cut_after.load(std::sync::atomic::Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of the connection", cut).await;
    let written = receiver.cut_after.load(std::sync::atomic::Ordering::SeqCst);
    // What the kernels' buffers hold is written, though nobody reads it.
    assert!(written < 32 << 20, "{written}");
}

#[tokio::test]
async fn the_status_counts_even_if_the_rest_of_the_answer_never_comes() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([Reply::Stalled]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    receiver.next().await;
    // The clock may move before the head has been read: then the wait for the rest begins later.
    let delivered = rig.until(job, |delivery, _| {
        rig.clock.advance(Duration::from_millis(10));
        delivery.state == DeliveryState::Delivered
    });
    let (_, attempts) = delivered.await;
    assert_eq!(attempts[0].status, Some(200));
}

#[tokio::test]
async fn a_retry_after_in_seconds_or_as_a_date_is_waited_for() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([
        Reply::Status(503, "retry-after: 1000\r\n"),
        Reply::Status(429, "retry-after: Tue, 01 Jan 2999 00:00:00 GMT\r\n"),
        OK,
    ])
    .await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    receiver.next().await;
    let (delivery, _) = rig.after_attempts(job, 1).await;
    assert_eq!(delivery.due_at, START + Duration::from_secs(1000));
    rig.clock.advance(Duration::from_secs(1000));
    receiver.next().await;
    let (delivery, _) = rig.after_attempts(job, 2).await;
    assert_eq!(delivery.due_at, START + Duration::from_secs(1000) + Duration::from_hours(24));
    rig.clock.advance(Duration::from_hours(24));
    receiver.next().await;
    rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
}

#[tokio::test]
async fn a_429_holds_up_all_that_goes_to_that_host_and_burns_no_attempt() {
    let mut rig = Rig::new();
    rig.settings.per_host = 1;
    rig.start();
    let mut receiver = Receiver::start([Reply::Status(429, "retry-after: 100\r\n"), OK]).await;
    let (first, _) = rig.ended_job(1, &receiver.url, &[]).await;
    receiver.next().await;
    rig.after_attempts(first, 1).await;
    let (second, _) = rig.ended_job(2, &receiver.url, &[]).await;
    // Another host shows that the notifier has looked.
    let mut other = Receiver::start([OK]).await;
    let (third, _) = rig.ended_job(3, &other.url, &[]).await;
    other.next().await;
    rig.until(third, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    assert!(receiver.is_quiet());
    rig.clock.advance(Duration::from_secs(100));
    receiver.next().await;
    let (_, attempts) = rig.until(second, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    assert_eq!(attempts.len(), 1);
}

#[tokio::test]
async fn a_webhook_survives_a_restart_between_attempts() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([Reply::Status(500, ""), OK]).await;
    let (job, expected) = rig.ended_job(1, &receiver.url, &[b"image"]).await;
    receiver.next().await;
    rig.after_attempts(job, 1).await;

    let rig = rig.restart().await;
    rig.clock.advance(Duration::from_secs(5));
    let request = receiver.next().await;
    assert_eq!(request.body, expected);
    assert_eq!(request.header("webhook-id"), Some(job.webhook_id().as_str()));
    assert_eq!(request.header("x-gateway-attempt"), Some("2"));
    rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
}

#[tokio::test]
async fn an_attempt_under_way_at_the_stop_may_end_within_the_grace() {
    let rig = Rig::started();
    let allowed = Arc::new(Notify::new());
    let mut receiver = Receiver::start([Reply::Held(Arc::clone(&allowed))]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    receiver.next().await;
    let stopping = rig.stopping();
    allowed.notify_one();
    soon("the stop", stopping).await;
    let (delivery, _) = rig.store.delivery(job).await.unwrap().unwrap();
    assert_eq!(delivery.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn an_attempt_beyond_the_grace_is_put_back_and_made_at_the_next_start() {
    let mut rig = Rig::new();
    rig.settings.per_host = 1;
    rig.start();
    let mut receiver = Receiver::start([Reply::Silence, OK]).await;
    let (first, _) = rig.ended_job(1, &receiver.url, &[]).await;
    let (second, _) = rig.ended_job(2, &receiver.url, &[]).await;
    receiver.next().await;
    rig.until_due("both to be leased", |due| due > START).await;
    let stopping = rig.stopping();
    rig.until_due("the delivery that waits to be put back", |due| due == START).await;
    rig.clock.advance(Duration::from_secs(10));
    soon("the stop", stopping).await;
    for job in [first, second] {
        let (delivery, attempts) = rig.store.delivery(job).await.unwrap().unwrap();
        assert_eq!((delivery.state, delivery.attempts, attempts.len()), (DeliveryState::Pending, 0, 0));
    }
    assert_eq!(rig.store.due_deliveries(START, Duration::ZERO, 9).await.unwrap().len(), 2, "the leases have ended");

    let rig = rig.restart().await;
    let again = [receiver.next().await, receiver.next().await];
    assert!(again.iter().all(|request| request.header("x-gateway-attempt") == Some("1")));
    for job in [first, second] {
        rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    }
}

#[tokio::test]
async fn a_slow_host_holds_up_nobody_else() {
    let rig = Rig::started();
    let mut slow = Receiver::start([Reply::Silence]).await;
    let mut fast = Receiver::start([OK]).await;
    for number in 0..100 {
        rig.ended_job(number, &slow.url, &[]).await;
    }
    for _ in 0..4 {
        slow.next().await;
    }
    for number in 100..120 {
        let (job, _) = rig.ended_job(number, &fast.url, &[]).await;
        fast.next().await;
        rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    }
    assert!(slow.is_quiet());
    assert_eq!(slow.connections(), 4);
}

#[tokio::test]
async fn many_webhooks_to_one_host_all_arrive_once() {
    let rig = Rig::started();
    let mut receiver = Receiver::start([OK]).await;
    let mut jobs = Vec::new();
    for number in 0..200 {
        jobs.push(rig.ended_job(number, &receiver.url, &[b"image"]).await.0);
    }
    let mut ids = Vec::new();
    for _ in &jobs {
        ids.push(receiver.next().await.header("webhook-id").unwrap().to_owned());
    }
    for job in &jobs {
        rig.until(*job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    }
    assert!(receiver.is_quiet());
    ids.sort();
    let mut wanted: Vec<_> = jobs.iter().map(comfygate::job::JobId::webhook_id).collect();
    wanted.sort();
    assert_eq!(ids, wanted);
    assert!(receiver.connections() <= 4 * 2, "connections are used again: {}", receiver.connections());
}

#[tokio::test]
async fn answers_that_are_none_are_told_apart_and_tried_again() {
    let rig = Rig::started();
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(200));
    let long_headers = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(1 << 20));
    let cases: [(&[u8], &str); 6] = [
        (b"", "connection_lost"),
        (b"HTTP/1.1 200", "connection_lost"),
        (b"banana\r\n\r\n", "bad_response"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "bad_response"),
        (many_headers.as_bytes(), "bad_response"),
        (long_headers.as_bytes(), "bad_response"),
    ];
    for (number, (bytes, code)) in (0..).zip(cases) {
        let mut receiver = Receiver::start([Reply::Raw(bytes.to_vec())]).await;
        let (job, _) = rig.ended_job(number, &receiver.url, &[]).await;
        receiver.next().await;
        let (delivery, attempts) = rig.after_attempts(job, 1).await;
        assert_eq!(attempts[0].code.as_deref(), Some(code), "{}", attempts[0].snippet);
        assert_eq!(delivery.state, DeliveryState::Pending);
    }
}

#[tokio::test]
async fn a_body_whose_image_is_lost_is_never_sent_as_whole() {
    let rig = Rig::new();
    let mut receiver = Receiver::start([OK]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[b"image"]).await;
    let (delivery, _) = rig.store.delivery(job).await.unwrap().unwrap();
    rig.remove_blobs(&delivery.body);
    rig.start();
    let (delivery, attempts) = rig.after_attempts(job, 1).await;
    assert_eq!(attempts[0].code.as_deref(), Some("body_unreadable"), "{}", attempts[0].snippet);
    assert_eq!(delivery.state, DeliveryState::Pending);
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn what_the_settings_forbid_is_not_connected_to() {
    let mut rig = Rig::new();
    rig.settings.https_only = true;
    rig.start();
    let receiver = Receiver::start([OK]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    let (_, attempts) = rig.after_attempts(job, 1).await;
    assert_eq!(attempts[0].code.as_deref(), Some("https_required"));
    let (job, _) = rig.ended_job(2, "https://169.254.169.254/", &[]).await;
    let (_, attempts) = rig.after_attempts(job, 1).await;
    assert_eq!(attempts[0].code.as_deref(), Some("blocked_address"));
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn plain_http_behind_an_https_url_is_a_tls_failure() {
    let rig = Rig::started();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let (job, _) = rig.ended_job(1, &url, &[]).await;
    let (mut stream, _) = soon("a connection", listener.accept()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let (_, attempts) = rig.after_attempts(job, 1).await;
    assert_eq!(attempts[0].code.as_deref(), Some("tls"), "{}", attempts[0].snippet);
}

#[tokio::test]
async fn a_panic_in_one_delivery_ends_that_attempt_only_and_it_is_tried_again_on_the_schedule() {
    let rig = Rig::new();
    let mut receiver = Receiver::start([OK]).await;
    let (unlucky, _) = rig.ended_job(1, &receiver.url, &[b"image"]).await;
    let blobs = Arc::clone(&rig.blobs);
    let panics_left = std::sync::atomic::AtomicI32::new(2);
    rig.start_with(move |body| {
        if body.blobs().next().is_some() {
            let left = panics_left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            assert!(left <= 0, "on purpose");
        }
        Box::pin(comfygate::media::body_stream(Arc::clone(&blobs), body.clone()))
    });
    let (lucky, _) = rig.ended_job(2, &receiver.url, &[]).await;
    receiver.next().await;
    rig.until(lucky, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    for (count, wait) in [(1, Duration::from_secs(5)), (2, Duration::from_mins(5))] {
        let (delivery, attempts) = rig.after_attempts(unlucky, count).await;
        assert_eq!(attempts[count - 1].code.as_deref(), Some("internal"));
        assert_eq!((delivery.state, delivery.due_at), (DeliveryState::Pending, rig.clock.now() + wait));
        rig.clock.advance(wait);
    }
    assert_eq!(receiver.next().await.header("x-gateway-attempt"), Some("3"));
    rig.until(unlucky, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    assert_eq!(rig.panics(), 2);
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn a_delivery_that_always_panics_is_given_up_like_any_other() {
    let mut rig = Rig::new();
    rig.settings.schedule = vec![Duration::from_secs(1); 2];
    let (job, _) = rig.ended_job(1, "http://127.0.0.1:1/", &[]).await;
    rig.start_with(|_| panic!("on purpose"));
    for count in 1..=3 {
        rig.after_attempts(job, count).await;
        rig.clock.advance(Duration::from_secs(1));
    }
    rig.until(job, |delivery, _| delivery.state == DeliveryState::Undeliverable).await;
    assert_eq!(rig.panics(), 3);
}

#[tokio::test]
async fn the_log_has_the_jobs_id_and_nothing_of_the_url_but_the_host() {
    let log = Log::default();
    let writer = log.clone();
    let everything = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::TRACE);
    // For the whole process: what the other tests log is in it too, so the ids of the jobs here must be only theirs.
    tracing::subscriber::set_global_default(everything.with_writer(move || writer.clone()).finish()).unwrap();

    let rig = Rig::started();
    let secret = "echo: canary-answer\r\n";
    let mut receiver = Receiver::start([Reply::Status(500, secret), OK]).await;
    let url = format!("{}/canary-path?token=canary-query", receiver.url);
    let (job, _) = rig.ended_job(251, &url, &[b"canary-image"]).await;
    let first: Received = receiver.next().await;
    assert_eq!(first.line(), "POST /hook/canary-path?token=canary-query HTTP/1.1");
    let (_, attempts) = rig.after_attempts(job, 1).await;
    assert!(!attempts[0].snippet.contains("canary"));
    rig.clock.advance(Duration::from_secs(5));
    rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
    let (refused, _) = rig.ended_job(252, "http://127.0.0.1:1/?token=canary-refused", &[]).await;
    let (_, attempts) = rig.after_attempts(refused, 1).await;
    assert!(!attempts[0].snippet.contains("canary"), "{}", attempts[0].snippet);

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(&job.to_string())).collect();
    assert!(lines.iter().any(|line| line.contains("webhook delivered")), "{text}");
    assert!(lines.iter().any(|line| line.contains("webhook not delivered yet")), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

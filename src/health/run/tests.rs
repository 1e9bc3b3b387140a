//! The station against a server of a few lines that answers, or does not, as the test says.

use super::super::Standing;
use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::lifecycle::Lifecycle;
use std::sync::{Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// How long anything may take before something must be wrong.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_server_that_takes_questions_and_never_answers_is_down_and_comes_back() {
    let rig = Rig::start().await;
    rig.until(|sight| sight.http.answered_at.is_some()).await;
    rig.answers.send_replace(false);
    let sight = rig.until(|sight| sight.standing == Standing::Down).await;
    assert!(sight.http.misses >= 3 && sight.queue_remaining.is_none(), "{sight:?}");
    let reason = rig.desk.trouble().unwrap();
    assert!(reason.contains("3 questions had no answer: the backend did not answer in time"), "{reason}");
    rig.answers.send_replace(true);
    rig.until(|sight| sight.standing == Standing::Connecting && sight.http.misses == 0).await;
    assert_eq!(rig.desk.trouble(), None);
    let told = rig.told.lock().unwrap().clone();
    assert!(matches!(told.as_slice(), [Change::Lost { .. }]), "it never had a socket, so it is not back: {told:?}");
    rig.end().await;
}

#[tokio::test]
async fn a_server_that_is_not_surely_ours_is_asked_nothing() {
    let rig = Rig::behind(Some(watch::Sender::new(false))).await;
    // What is asked elsewhere meanwhile shows that there was time enough.
    let other = Rig::start().await;
    other.until(|sight| sight.http.answered_at.is_some()).await;
    assert_eq!(rig.health.look().http.answered_at, None);
    rig.gate.as_ref().unwrap().send_replace(true);
    rig.until(|sight| sight.http.answered_at.is_some()).await;
    other.end().await;
    rig.end().await;
}

#[tokio::test]
async fn how_long_an_answer_takes_has_nothing_of_the_question_what_the_backend_is() {
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let rig = Rig::with(None, Arc::<ManualClock>::clone(&clock), Some(Arc::clone(&clock))).await;
    let sight = rig
        .until(|sight| {
            clock.advance(Duration::from_millis(10));
            sight.system.is_some()
        })
        .await;
    let took = sight.http.took_ms.unwrap();
    assert!(took < 3_600_000, "{took} ms, of which the other question took an hour");
    rig.end().await;
}

struct Rig {
    health: Arc<Health>,
    desk: Arc<Desk>,
    answers: Arc<watch::Sender<bool>>,
    gate: Option<watch::Sender<bool>>,
    told: Arc<Mutex<Vec<Change>>>,
    lifecycle: Lifecycle,
}

impl Rig {
    async fn start() -> Self {
        Self::behind(None).await
    }

    async fn behind(gate: Option<watch::Sender<bool>>) -> Self {
        Self::with(gate, SystemClock::start(), None).await
    }

    /// With a server that takes an hour of `slow` to say what it is.
    async fn with(gate: Option<watch::Sender<bool>>, clock: Arc<dyn Clock>, slow: Option<Arc<ManualClock>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (answers, lifecycle) = (Arc::new(watch::Sender::new(true)), Lifecycle::new());
        lifecycle.spawn("server", serve(listener, Arc::clone(&answers), slow, lifecycle.stop()));
        let health = Arc::new(Health::new(clock.now()));
        let (desk, told) = (Arc::new(Desk::default()), Arc::new(Mutex::new(Vec::new())));
        let heard = Arc::clone(&told);
        let parts = Parts {
            backend: "gpu".to_owned(),
            client: Client::new(url).unwrap(),
            desk: Arc::clone(&desk),
            health: Arc::clone(&health),
            every: Duration::from_millis(10),
            limit: Duration::from_millis(200),
            gate: gate.as_ref().map(watch::Sender::subscribe),
            clock,
            queue_bell: Arc::default(),
            tell: Arc::new(move |change, _| heard.lock().unwrap_or_else(PoisonError::into_inner).push(change)),
        };
        lifecycle.spawn_station("health", run(parts, lifecycle.stop()));
        Self { health, desk, answers, gate, told, lifecycle }
    }

    async fn until(&self, holds: impl Fn(&super::super::Sight) -> bool) -> Arc<super::super::Sight> {
        let found = async {
            loop {
                let sight = self.health.look();
                if holds(&sight) {
                    return sight;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{:?}", self.health.look()))
    }

    async fn end(self) {
        tokio::time::timeout(PATIENCE, self.lifecycle.end()).await.unwrap();
        assert!(!self.lifecycle.has_failed());
    }
}

/// Answers every question alike; while it does not answer, it takes them and is silent.
async fn serve(
    listener: TcpListener,
    answers: Arc<watch::Sender<bool>>,
    slow: Option<Arc<ManualClock>>,
    stop: CancellationToken,
) {
    let body = r#"{"exec_info": {"queue_remaining": 2}, "system": {"comfyui_version": "0.3.64"}}"#;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let mut silent = Vec::new();
    loop {
        let (mut connection, _) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted.unwrap(),
        };
        if !*answers.borrow() {
            silent.push(connection);
            continue;
        }
        let mut head = vec![0; 4096];
        let _ = connection.read(&mut head).await;
        if let Some(clock) = slow.as_ref().filter(|_| head.starts_with(b"GET /system_stats")) {
            clock.advance(Duration::from_hours(1));
        }
        let _ = connection.write_all(answer.as_bytes()).await;
    }
}

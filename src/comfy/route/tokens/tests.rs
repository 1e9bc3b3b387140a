//! Access tokens against an endpoint of a few lines, with a clock that only the test moves.

use super::super::tests::{Peer, answer, no_socket};
use super::super::{Route, RouteOptions};
use super::*;
use crate::clock::ManualClock;
use crate::comfy::{Client, ClientError, SubmitError};
use futures_util::future::join_all;
use serde_json::json;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const IDLE: &str = r#"{"exec_info": {"queue_remaining": 4}}"#;

#[tokio::test]
async fn one_token_serves_many_calls_and_a_fresh_one_comes_before_its_end() {
    let bench = Bench::start(|number| answer(200, &token(number, 3600))).await;
    for _ in 0..5 {
        assert_eq!(bench.client.probe().await, Ok(4));
    }
    assert_eq!(bench.asked().len(), 1);
    bench.clock.advance(Duration::from_secs(3539));
    assert_eq!(bench.client.probe().await, Ok(4));
    assert_eq!(bench.asked().len(), 1);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.client.probe().await, Ok(4));
    assert_eq!((bench.asked().len(), bench.last_shown().as_str()), (2, "Bearer token-1"));
}

#[tokio::test]
async fn fifty_callers_at_once_wait_for_one_token() {
    let bench = Bench::start(|number| answer(200, &token(number, 3600))).await;
    let calls = (0..50).map(|_| bench.client.probe());
    assert!(join_all(calls).await.iter().all(|answer| *answer == Ok(4)));
    assert_eq!(bench.asked().len(), 1);
    // And one of them for its end, too.
    bench.clock.advance(Duration::from_hours(1));
    let calls = (0..50).map(|_| bench.client.probe());
    assert!(join_all(calls).await.iter().all(|answer| *answer == Ok(4)));
    assert_eq!(bench.asked().len(), 2);
}

#[tokio::test]
async fn a_failed_endpoint_is_asked_once_for_all_who_wait_and_again_after_a_second() {
    let bench =
        Bench::start(|number| if number == 0 { answer(503, "") } else { answer(200, &token(number, 60)) }).await;
    let calls = (0..50).map(|_| bench.client.probe());
    for answer in join_all(calls).await {
        let Err(ClientError::Unreachable(reason)) = answer else { panic!("{answer:?}") };
        assert!(reason.contains("no access token from http://127.0.0.1") && reason.contains("status 503"), "{reason}");
    }
    assert_eq!((bench.asked().len(), bench.backend.heard().len()), (1, 0));
    bench.clock.advance(REST);
    assert_eq!(bench.client.probe().await, Ok(4));
    assert_eq!(bench.asked().len(), 2);
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_thrown_away_and_a_reading_call_tried_once_more() {
    let bench = Bench::start(|number| answer(200, &token(number, 3600))).await;
    bench.wants("token-1");
    assert_eq!(bench.client.probe().await, Ok(4));
    assert_eq!((bench.asked().len(), bench.backend.heard().len()), (2, 2));
    // A prompt is not sent twice, but the next one is let in.
    bench.clock.advance(REST);
    bench.wants("token-2");
    let refused = bench.client.submit(&json!({}), "c", "p").await;
    assert!(matches!(&refused, Err(SubmitError::Unreachable(reason)) if reason.contains("401")), "{refused:?}");
    assert_eq!(bench.backend.heard().len(), 3);
    assert_eq!(bench.client.probe().await, Ok(4));
    assert_eq!((bench.asked().len(), bench.backend.heard().len()), (3, 4));
    // Nor any other call that changes something.
    bench.clock.advance(REST);
    bench.wants("token-3");
    assert!(matches!(bench.client.free(true, true).await, Err(ClientError::Status { status: 401, .. })));
    bench.client.free(true, true).await.unwrap();
    assert_eq!((bench.asked().len(), bench.backend.heard().len()), (4, 6));
}

#[tokio::test]
async fn a_backend_that_takes_no_token_does_not_cost_one_for_each_call() {
    let bench = Bench::start(|number| answer(200, &token(number, 3600))).await;
    bench.wants("none of them");
    for _ in 0..20 {
        assert!(matches!(bench.client.probe().await, Err(ClientError::Status { status: 401, .. })));
    }
    assert_eq!(bench.asked().len(), 2);
    bench.clock.advance(REST);
    bench.client.probe().await.unwrap_err();
    assert_eq!(bench.asked().len(), 3);
}

#[tokio::test]
async fn the_socket_shows_the_token_of_the_calls_and_throws_it_away_when_it_is_not_taken() {
    let bench = Bench::start(|number| answer(200, &token(number, 3600))).await;
    assert_eq!(bench.client.probe().await, Ok(4));
    bench.wants("token-1");
    let reason = no_socket(&bench.backend.url(), bench.route.clone()).await;
    assert!(reason.contains("401") && reason.contains("auth.oauth.token_url"), "{reason}");
    assert_eq!((bench.asked().len(), bench.last_shown().as_str()), (1, "Bearer token-0"));
    no_socket(&bench.backend.url(), bench.route.clone()).await;
    assert_eq!((bench.asked().len(), bench.last_shown().as_str()), (2, "Bearer token-1"));
    assert!(bench.backend.heard().last().unwrap().starts_with("GET /ws?clientId="));
}

#[tokio::test]
async fn the_client_shows_itself_as_basic_authorization_or_in_the_body() {
    for (in_body, expected) in [
        (false, "grant_type=client_credentials&scope=a+b&audience=gpu%261"),
        (
            true,
            "grant_type=client_credentials&scope=a+b&audience=gpu%261&client_id=my+client%3A&client_secret=hunter2%2B%E4%BD%A0",
        ),
    ] {
        let bench = Bench::with(in_body, |number| answer(200, &token(number, 3600))).await;
        assert_eq!(bench.client.probe().await, Ok(4));
        let asked = bench.asked().concat();
        assert!(
            asked.starts_with("POST /token?x=y HTTP/1.1\r\n") && asked.ends_with(&format!("\r\n\r\n{expected}")),
            "{asked}"
        );
        assert!(asked.contains("content-type: application/x-www-form-urlencoded\r\n"), "{asked}");
        // base64 of `my+client%3A:hunter2%2B%E4%BD%A0`: each of the two is written as in a form first.
        let basic = "authorization: Basic bXkrY2xpZW50JTNBOmh1bnRlcjIlMkIlRTQlQkQlQTA=\r\n";
        assert_eq!(asked.contains(basic), !in_body, "{asked}");
        assert_eq!(asked.contains("authorization:"), !in_body, "{asked}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_token_is_told_without_what_stands_in_it() {
    let echo = r#"{"error": "hunter2", "error_description": "hunter2"}"#;
    let long = format!(r#"{{"access_token": "{}"}}"#, "x".repeat(9000));
    let huge = answer(200, &"x".repeat(70_000));
    let endless_head = format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(200_000));
    for (said, expected) in [
        (answer(401, r#"{"error": "invalid_client"}"#), "status 401 (invalid_client); check `client_id`"),
        (answer(400, echo), "status 400; check `client_id`"),
        (answer(302, ""), "it redirects"),
        (answer(500, "<html>hunter2"), "status 500"),
        (answer(200, "<html>hunter2"), "no access_token in JSON"),
        (answer(200, r#"{"access_token": 5}"#), "no access_token in JSON"),
        (answer(200, r#""hunter2""#), "no access_token in JSON"),
        (answer(200, r#"{"access_token": ""}"#), "cannot stand in a header"),
        (answer(200, r#"{"access_token": "hunter2\r\nX: y"}"#), "cannot stand in a header"),
        (answer(200, &long), "cannot stand in a header"),
        (answer(200, r#"{"access_token": "hunter2", "token_type": "mac"}"#), "not of the type Bearer"),
        (huge, "longer than 65536 bytes"),
        ("garbage\r\n\r\n".to_owned(), "invalid HTTP"),
        (endless_head, ""),
        (String::new(), ""),
    ] {
        let bench = Bench::start(move |_| said.clone()).await;
        let Err(ClientError::Unreachable(reason)) = bench.client.probe().await else { panic!("an answer: {expected}") };
        assert!(reason.contains(expected) && reason.chars().count() < 400, "{expected}: {reason}");
        assert!(!reason.contains("hunter2") && !reason.contains("x=y"), "{reason}");
        let Err(SubmitError::Unreachable(_)) = bench.client.submit(&json!({}), "c", "p").await else { panic!() };
        let reason = no_socket(&bench.backend.url(), bench.route.clone()).await;
        assert!(reason.contains("no access token") && !reason.contains("hunter2"), "{reason}");
        assert!(bench.backend.heard().is_empty());
        let printed = format!("{:?} {:?}", bench.client, bench.route);
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

#[tokio::test]
async fn an_access_token_that_comes_back_is_not_repeated() {
    let bench = Bench::start(|number| answer(200, &token(number, 3600))).await;
    bench.wants("none of them");
    let Err(ClientError::Status { body, .. }) = bench.client.probe().await else { panic!("let in") };
    assert_eq!(body, "*** or *** is not good");
}

#[test]
fn a_token_lives_as_told_within_bounds() {
    for (told, seconds) in [
        (json!(3600), 3540),
        (json!("3600"), 3540),
        (json!(3600.5), 3540),
        (json!(100), 50),
        (json!(0), 1),
        (json!(-5), 1),
        (json!(1e300), 86_340),
        (json!(u64::MAX), 86_340),
        (json!("nan"), 1),
        (json!("soon"), 240),
        (json!(null), 240),
        (json!([]), 240),
    ] {
        assert_eq!(life(Some(&told)).as_secs(), seconds, "{told}");
    }
    assert_eq!(life(None).as_secs(), 240);
}

fn token(number: usize, seconds: u64) -> String {
    json!({ "access_token": format!("token-{number}"), "token_type": "bearer", "expires_in": seconds }).to_string()
}

/// A token endpoint, a backend that may want a certain token, and a client between them.
struct Bench {
    clock: Arc<ManualClock>,
    endpoint: Peer,
    backend: Peer,
    wanted: Arc<StdMutex<Option<String>>>,
    route: Route,
    client: Client,
}

impl Bench {
    /// `say` answers the endpoint's requests by their number.
    async fn start(say: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        Self::with(false, say).await
    }

    async fn with(auth_in_body: bool, say: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
        let count = AtomicUsize::new(0);
        let endpoint = Peer::start(move |_| say(count.fetch_add(1, Ordering::Relaxed))).await;
        let wanted = Arc::<StdMutex<Option<String>>>::default();
        let wants = Arc::clone(&wanted);
        let backend = Peer::start(move |request| {
            let is_good =
                wants.lock().unwrap().as_ref().is_none_or(|wanted| request.contains(&format!("Bearer {wanted}\r\n")));
            if is_good { answer(200, IDLE) } else { answer(401, "Bearer token-0 or token-1 is not good") }
        })
        .await;
        let oauth = json!({"token_url": format!("http://{}/token?x=y", endpoint.address), "client_id": "my client:",
            "client_secret": "hunter2+\u{4f60}", "scope": "a b", "audience": "gpu&1", "auth_in_body": auth_in_body});
        let options: RouteOptions = serde_json::from_value(json!({ "auth": { "oauth": oauth } })).unwrap();
        let route = Route::build(&options, Arc::<ManualClock>::clone(&clock), &|_| None).unwrap();
        let client = Client::by(backend.url(), route.clone()).unwrap();
        Self { clock, endpoint, backend, wanted, route, client }
    }

    /// From now on the backend lets nothing else in.
    fn wants(&self, token: &str) {
        *self.wanted.lock().unwrap() = Some(token.to_owned());
    }

    fn asked(&self) -> Vec<String> {
        self.endpoint.heard()
    }

    /// What the backend was shown last.
    fn last_shown(&self) -> String {
        let heard = self.backend.heard().last().unwrap().clone();
        let line = heard.lines().find_map(|line| line.strip_prefix("authorization: ").map(str::to_owned));
        line.unwrap()
    }
}

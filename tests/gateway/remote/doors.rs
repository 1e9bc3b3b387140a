//! The ways in: under `/runner` of the gateway's own port, and at the root of a port of its own; with the same guards.

use crate::support::{Answer, Setup, TestGateway, client};
use comfygate::secret::Secret;
use comfygate::settings::KeyMode;
use reqwest::Method;
use serde_json::json;

const ADMIN: &str = "0123456789abcdefghijklmnopqrstuv";

/// S0-02: on a port of its own the calls stand at the root, and it is the same workflow.
#[actix_web::test]
async fn on_a_port_of_its_own_the_calls_stand_at_the_root() {
    let gateway = with_doors(|_| {}).await;
    let health = at_door(&gateway, Method::GET, "/health", &[], "").await;
    assert_eq!((health.status, health.bytes.as_slice()), (200, b"running".as_slice()));
    let edit = json!({ "node_id": 5, "text": "by its own door" }).to_string();
    let edited = at_door(&gateway, Method::POST, "/update/text", &[("content-type", "application/json")], &edit).await;
    assert_eq!((edited.status, &edited.json()["input"]), (200, &json!("value")));
    let run = at_door(&gateway, Method::GET, "/queue", &[], "").await;
    assert_eq!((run.status, &run.json()["STATUS"]), (200, &json!("success")), "{}", run.json());
    assert_eq!(super::last_graph(&gateway)["5"]["inputs"]["value"], "by its own door");
    assert_eq!(gateway.get("/runner/status").await.json()["edited"], json!(true));

    for (method, path, status) in [
        (Method::GET, "/jobs", 404),
        (Method::POST, "/generate", 404),
        (Method::GET, "/runner/queue", 404),
        (Method::GET, "/interrupt", 405),
        (Method::POST, "/interrupt", 200),
    ] {
        let answer = at_door(&gateway, method.clone(), path, &[], "").await;
        assert_eq!(answer.status, status, "{method} {path}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_run_is_not_begun_by_a_question_about_it_nor_by_a_page_of_another_site() {
    let gateway = with_doors(|_| {}).await;
    let head = at_door(&gateway, Method::HEAD, "/queue", &[], "").await;
    assert_eq!((head.status, head.header("allow")), (405, "GET, POST"));
    for headers in
        [[("origin", "https://evil.example")], [("sec-fetch-site", "cross-site")], [("host", "evil.example")]]
    {
        for (path, at) in [("/queue", gateway.remote_addresses()[0]), ("/runner/queue", gateway.address())] {
            let answer = ask(Method::GET, &format!("http://{at}{path}"), &headers, "").await;
            assert_eq!(answer.status, 403, "{headers:?} {path}");
        }
    }
    assert!(gateway.sim.executions().is_empty());
    gateway.close().await;
}

#[actix_web::test]
async fn keys_are_asked_for_at_every_door() {
    let gateway = with_doors(|setup| {
        setup.settings.access.keys = KeyMode::Required;
        setup.settings.access.admin_key = Some(Secret::new(ADMIN));
    })
    .await;
    let wish = json!({ "name": "reader", "scopes": ["read"] });
    let reader = gateway.post("/keys", &wish).await.json()["key"].as_str().unwrap().to_owned();
    let (admin, reader) = (format!("Bearer {ADMIN}"), format!("Bearer {reader}"));
    for (method, path, as_reader) in [
        (Method::GET, "/status", 200),
        (Method::GET, "/queue", 403),
        (Method::POST, "/interrupt", 403),
        (Method::POST, "/reset", 403),
        (Method::POST, "/update/text", 403),
        (Method::POST, "/generate/image", 403),
    ] {
        for base in [format!("http://{}", gateway.remote_addresses()[0]), gateway.url("/runner")] {
            let url = format!("{base}{path}");
            assert_eq!(ask(method.clone(), &url, &[], "").await.status, 401, "{url}");
            let with_key = ask(method.clone(), &url, &[("authorization", &reader)], "").await;
            assert_eq!(with_key.status, as_reader, "{url}");
        }
    }
    let run = at_door(&gateway, Method::GET, "/queue", &[("authorization", &admin)], "").await;
    assert_eq!(run.status, 200, "{}", run.json());
    assert_eq!(at_door(&gateway, Method::GET, "/health", &[], "").await.status, 200);
    gateway.close().await;
}

/// Who listens wider than the gateway itself needs keys there, and there alone.
#[actix_web::test]
async fn a_door_that_other_machines_reach_needs_keys_though_the_gateway_itself_needs_none() {
    let gateway = with_doors(|setup| setup.settings.runner.address = Some("0.0.0.0:0".parse().unwrap())).await;
    let port = gateway.remote_addresses()[0].port();
    let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
    assert_eq!(ask(Method::GET, &at("/queue"), &[], "").await.status, 401);
    assert_eq!(ask(Method::GET, &at("/health"), &[], "").await.status, 200);
    assert_eq!(gateway.get("/runner/status").await.status, 200);
    gateway.close().await;
}

/// S0-19: requests at every door are counted under the call that they mean.
#[actix_web::test]
async fn requests_at_every_door_are_counted_as_the_call_that_they_mean() {
    let gateway = with_doors(|_| {}).await;
    at_door(&gateway, Method::GET, "/status", &[], "").await;
    gateway.get("/runner/status").await;
    let metrics = String::from_utf8(gateway.get("/metrics").await.bytes).unwrap();
    let line = metrics
        .lines()
        .find(|line| line.contains("/runner/status") && line.contains("_count") | line.contains("_total"));
    assert!(line.is_some_and(|line| line.ends_with(" 2")), "{line:?}");
    gateway.close().await;
}

async fn with_doors(change: impl FnOnce(&mut Setup)) -> TestGateway {
    let mut setup = Setup::new();
    setup.settings.runner.workflow = Some("canvas".into());
    setup.settings.runner.address = Some("127.0.0.1:0".parse().unwrap());
    change(&mut setup);
    setup.start().await
}

async fn at_door(gateway: &TestGateway, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    ask(method, &format!("http://{}{path}", gateway.remote_addresses()[0]), headers, body).await
}

async fn ask(method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let request = client().build().unwrap().request(method, url).body(body.to_owned());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, bytes: answer.bytes().await.unwrap().to_vec() }
}

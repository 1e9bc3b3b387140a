//! Prompts that another service writes: what is forwarded, what is passed on, and what is said where it does not answer.

use crate::support::{Setup, TestGateway};
use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// S0-12: what a picture shall show goes to the service, and its prompts come back.
#[actix_web::test]
async fn a_description_is_forwarded_and_its_prompts_are_passed_on() {
    let prompts = json!({ "positive_prompt": "a hill at dusk", "negative_prompt": "text", "model": "llama" });
    let service = Service::open(200, prompts.to_string(), Duration::ZERO);
    let gateway = with_service(&service.url()).await;
    let answer = gateway.post("/runner/generate/image", &description()).await;
    assert_eq!((answer.status, answer.json()), (200, prompts));
    assert_eq!(*service.heard.lock().unwrap(), [description()]);
    gateway.close().await;
}

#[actix_web::test]
async fn a_description_that_lacks_a_part_is_refused_and_not_forwarded() {
    let service = Service::open(200, "{}".into(), Duration::ZERO);
    let gateway = with_service(&service.url()).await;
    let mut no_mood = description();
    no_mood["image_description"].as_object_mut().unwrap().remove("moodCue");
    let mut number = description();
    number["image_description"]["visualCue"] = json!(5);
    for (body, code) in [
        (json!({}), "missing_field"),
        (json!({ "image_description": "a hill" }), "invalid_type"),
        (no_mood, "missing_field"),
        (number, "invalid_type"),
    ] {
        let answer = gateway.post("/runner/generate/image", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{body}");
    }
    assert!(service.heard.lock().unwrap().is_empty());
    gateway.close().await;
}

/// S0-12, S0-19: each way in which there are no prompts has a status and says what to do.
#[actix_web::test]
async fn a_service_that_is_unset_gone_slow_or_wrong_is_told_as_such() {
    let gateway = TestGateway::start().await;
    let answer = gateway.post("/runner/generate/image", &description()).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "prompt_service_off"));
    assert!(answer.json()["error"].as_str().unwrap().contains("COMFYGATE_RUNNER_PROMPT_URL"));
    gateway.close().await;

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let redirect = Service::open(302, String::new(), Duration::ZERO);
    let wrong = Service::open(500, "out of \u{7}memory".into(), Duration::ZERO);
    let no_json = Service::open(200, "<html>".into(), Duration::ZERO);
    let no_prompts = Service::open(200, r#"{"negative_prompt": "x"}"#.into(), Duration::ZERO);
    let large = Service::open(200, format!(r#"{{"positive_prompt": "{}"}}"#, "x".repeat(1 << 20)), Duration::ZERO);
    let slow = Service::open(200, "{}".into(), Duration::from_mins(5));
    for (url, status, code, said) in [
        (format!("http://{free}/prompts"), 502, "prompt_service_unreachable", "no connection could be made"),
        (redirect.url(), 502, "prompt_service_refused", "redirects are not followed"),
        (wrong.url(), 502, "prompt_service_refused", "answered with status 500: out of \\u{7}memory"),
        (no_json.url(), 502, "prompt_service_refused", "not JSON: <html>"),
        (no_prompts.url(), 502, "prompt_service_refused", "`positive_prompt`"),
        (large.url(), 502, "prompt_service_refused", "more than 1048576 bytes"),
        (slow.url(), 504, "prompt_service_timeout", "within 500ms"),
        ("http://169.254.169.254/latest".into(), 502, "prompt_service_blocked", "COMFYGATE_RUNNER_PROMPT_URL leads to"),
    ] {
        let gateway = with_service(&url).await;
        let answer = gateway.post("/runner/generate/image", &description()).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{url}: {}", answer.json());
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(said), "{url}: {error}");
        gateway.close().await;
    }
}

fn description() -> Value {
    json!({ "image_description": { "description": "a hill", "visualCue": "wide", "moodCue": "calm" } })
}

async fn with_service(url: &str) -> TestGateway {
    let mut setup = Setup::new();
    setup.settings.runner.prompt_url = Some(url.parse().unwrap());
    setup.settings.runner.prompt_timeout = Duration::from_millis(500);
    setup.start().await
}

/// A service that answers everything alike.
struct Service {
    address: std::net::SocketAddr,
    heard: Arc<Mutex<Vec<Value>>>,
    server: actix_web::dev::ServerHandle,
}

impl Service {
    fn open(status: u16, body: String, after: Duration) -> Self {
        let heard = Arc::<Mutex<Vec<Value>>>::default();
        let notes = Arc::clone(&heard);
        let server = HttpServer::new(move || {
            let (notes, body) = (Arc::clone(&notes), body.clone());
            let answer = move |asked: web::Bytes| {
                notes.lock().unwrap().push(serde_json::from_slice(&asked).unwrap());
                let body = body.clone();
                async move {
                    actix_web::rt::time::sleep(after).await;
                    let status = actix_web::http::StatusCode::from_u16(status).unwrap();
                    HttpResponse::build(status).insert_header(("location", "http://127.0.0.1:9/")).body(body)
                }
            };
            App::new().app_data(web::PayloadConfig::new(1 << 20)).default_service(web::to(answer))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { address, heard, server: handle }
    }

    fn url(&self) -> String {
        format!("http://{}/prompts", self.address)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

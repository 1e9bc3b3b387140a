//! Ways to a backend that are too slow for an image: the job pays for it, and neither the backend nor other jobs do.

use crate::input_images::{base64, photo, png, uploads_to, with_photos};
use crate::proxy::{At, Effect, On, Proxy, Way};
use crate::support::{Inbox, Setup, canvas, eventually};
use comfygate::sim::{Sim, SimOptions};
use serde_json::{Value, json};
use std::time::Duration;

const UPLOAD: On = On::Call("POST /upload/image");

/// A workflow with images, and little time to bring them.
fn hurried() -> Setup {
    let mut setup = with_photos(Setup::new());
    setup.settings.inputs.bring_timeout = Duration::from_millis(300);
    setup
}

fn with_webhook(mut body: Value, inbox: &Inbox) -> Value {
    body["webhook_url"] = json!(inbox.url());
    body
}

#[actix_web::test]
async fn an_image_that_does_not_get_to_one_backend_is_brought_to_another() {
    let (far, near) = (Sim::start(options()).await.unwrap(), Sim::start(options()).await.unwrap());
    let proxy = Proxy::before(far.addr()).await;
    proxy.arm_every(UPLOAD, At::Request(20), Effect::Swallow(Way::ToServer));
    let mut setup = hurried();
    setup.settings.backends.addresses = [proxy.url(), near.url()].map(|url| url.parse().unwrap()).to_vec();
    let gateway = setup.start_alone().await;
    gateway.until_connected(2).await;
    let job = gateway.generate(&photo(json!({ "data": base64(&png(24, 24, 1)) }))).await;
    gateway.until(&job, "success").await;
    assert_eq!((proxy.struck(), near.inputs().len(), far.inputs().len()), (1, 1, 0));
    for backend in gateway.get("/ready").await.json()["backends"].as_array().unwrap() {
        assert_eq!(backend["error"], Value::Null, "nothing is held against it: {backend}");
    }
    gateway.close().await;
    far.stop().await;
    near.stop().await;
}

#[actix_web::test]
async fn an_image_that_gets_to_no_backend_fails_its_job_after_the_last_try_and_holds_up_no_other() {
    let (gateway, proxy) = hurried().start_behind_proxy().await;
    proxy.arm_every(UPLOAD, At::Request(20), Effect::Swallow(Way::ToServer));
    let (inbox, other) = (Inbox::open(), Inbox::open());
    gateway.generate(&with_webhook(photo(json!({ "data": base64(&png(24, 24, 1)) })), &inbox)).await;
    proxy.until("the image is on its way", |proxy| proxy.struck() == 1).await;
    assert_eq!(gateway.run_one(&other, &canvas(&other.url())).await.body["status"], "success");
    let told = inbox.next().await.body;
    assert_eq!((&told["status"], &told["code"]), (&json!("failure"), &json!("backend_lost")), "{told}");
    let error = told["error"].as_str().unwrap();
    for part in ["input images could not be brought", "`photo`", "bytes", "within 300ms"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(proxy.struck(), 3, "as often as COMFYGATE_MAX_RUNS says");
    assert_eq!(uploads_to(&gateway, "/prompt"), 1, "only the other job's was sent");
    assert_eq!(gateway.get("/ready").await.json()["backends"][0]["error"], Value::Null);
    gateway.close().await;
}

#[actix_web::test]
async fn a_backend_that_answers_nothing_while_an_image_is_brought_is_left_alone_and_costs_no_try() {
    let mut setup = hurried();
    setup.settings.limits.max_runs = 1;
    let (gateway, proxy) = setup.start_behind_proxy().await;
    proxy.arm_every(UPLOAD, At::Request(20), Effect::Swallow(Way::ToServer));
    proxy.arm_every(On::Call("GET /prompt"), At::Answer(0), Effect::Reset);
    let job = gateway.generate(&photo(json!({ "data": base64(&png(24, 24, 1)) }))).await;
    eventually("it is known not to be well", async || {
        let ready = gateway.get("/ready").await.json();
        ready["backends"][0]["error"].is_string().then_some(())
    })
    .await;
    proxy.heal();
    gateway.until(&job, "success").await;
    gateway.close().await;
}

fn options() -> SimOptions {
    SimOptions { step: Duration::ZERO, ..SimOptions::default() }
}

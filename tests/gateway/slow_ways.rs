//! Ways to a backend that are too slow for an image: the job pays for it, and neither the backend nor other jobs do.

use crate::input_images::{base64, photo, png, sha256, uploads_to, with_photos};
use crate::proxy::{At, Effect, On, Proxy, Way};
use crate::support::{Inbox, Setup, TestGateway, canvas, eventually};
use comfygate::sim::{Sim, SimOptions};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const UPLOAD: On = On::Call("POST /upload/image");

/// A workflow with images, and little time to bring them.
fn hurried() -> Setup {
    let mut setup = with_photos(Setup::new());
    setup.settings.inputs.bring_timeout = Duration::from_millis(300);
    setup
}

/// The image of job `grey`, each another.
fn image(grey: u8) -> Value {
    photo(json!({ "data": base64(&png(24, 24, grey)) }))
}

/// Says whether the first run of a job was sent to ComfyUI.
fn was_sent(gateway: &TestGateway, job: &str) -> bool {
    let requests = gateway.sim.requests();
    let prompts = requests.iter().filter(|request| request.is_prompt());
    let mut bodies = prompts.map(|request| serde_json::from_slice::<Value>(&request.body).unwrap());
    bodies.any(|body| body["prompt_id"] == job)
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

#[actix_web::test]
async fn a_job_that_is_cancelled_while_its_image_is_brought_ends_at_once_and_is_not_sent() {
    let (gateway, proxy) = with_photos(Setup::new()).start_behind_proxy().await;
    proxy.arm(UPLOAD, At::Request(20), Effect::Freeze(Way::ToServer));
    let mut body = image(1);
    body["api_key_comfy_org"] = json!("comfyui-0123456789abcdef");
    let job = gateway.generate(&body).await;
    proxy.until("the image is on its way", |proxy| proxy.struck() == 1).await;
    assert_eq!(gateway.post(&format!("/jobs/{job}/cancel"), &json!({})).await.status, 202);
    let asked = gateway.clock().now();
    assert_eq!(gateway.until(&job, "failure").await["code"], "cancelled");
    assert!(gateway.clock().now().since(asked) < Duration::from_secs(20), "nothing has to be waited for");
    proxy.heal();
    let after = gateway.generate(&image(2)).await;
    gateway.until(&after, "success").await;
    assert!(was_sent(&gateway, &after) && !was_sent(&gateway, &job));
    gateway.close().await;
}

#[actix_web::test]
async fn a_job_whose_time_is_over_while_its_image_is_brought_is_told_so_and_is_not_sent() {
    let (gateway, proxy) = with_photos(Setup::new()).start_behind_proxy().await;
    proxy.arm(UPLOAD, At::Request(20), Effect::Freeze(Way::ToServer));
    let mut body = image(1);
    body["timeouts"] = json!({ "queue": "1s" });
    let job = gateway.generate(&body).await;
    let told = gateway.until(&job, "failure").await;
    assert_eq!((proxy.struck(), &told["code"]), (1, &json!("timeout_queue")), "{told}");
    proxy.heal();
    let after = gateway.generate(&image(2)).await;
    gateway.until(&after, "success").await;
    assert!(was_sent(&gateway, &after) && !was_sent(&gateway, &job));
    let error = told["error"].as_str().unwrap();
    assert!(error.contains("input images were not there") && error.contains("1s"), "{error}");
    gateway.close().await;
}

#[actix_web::test]
async fn beside_images_that_are_long_on_their_way_jobs_without_any_go_on() {
    let mut setup = with_photos(Setup::new());
    setup.settings.backends.queue = 2;
    let (gateway, proxy) = setup.start_behind_proxy().await;
    proxy.arm_every(UPLOAD, At::Request(20), Effect::Freeze(Way::ToServer));
    let first = gateway.generate(&image(1)).await;
    let second = gateway.generate(&image(2)).await;
    proxy.until("an image is on its way", |proxy| proxy.struck() >= 1).await;
    let inbox = Inbox::open();
    for _ in 0..3 {
        assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success");
    }
    assert_eq!(proxy.struck(), 1, "one place is left to jobs without images");
    proxy.heal();
    for job in [first, second] {
        gateway.until(&job, "success").await;
    }
    gateway.close().await;
}

#[actix_web::test]
async fn an_image_that_our_own_disk_does_not_give_costs_its_job_a_run_and_no_backend() {
    for break_blob in [in_the_middle, at_the_start] {
        let setup = with_photos(Setup::new());
        let blobs = setup.settings.storage.folder.join("blobs");
        let (gateway, proxy) = setup.start_behind_proxy().await;
        proxy.refuse().await;
        proxy.strike(&On::WebSocket, Effect::Reset);
        gateway.until_connected(0).await;
        let job = gateway.generate(&image(1)).await;
        let name = sha256(&png(24, 24, 1));
        let (fan_out, rest) = name.split_at(2);
        break_blob(&blobs.join(fan_out).join(rest));
        proxy.accept().await;
        let told = gateway.until(&job, "failure").await;
        let error = told["error"].as_str().unwrap();
        assert_eq!(told["code"], "internal", "{told}");
        assert!(error.contains("`photo`") && error.contains("could not be read"), "{error}");
        assert_eq!(gateway.get("/ready").await.json()["backends"][0]["error"], Value::Null);
        assert!(!was_sent(&gateway, &job));
        gateway.close().await;
    }
}

/// A folder in the place of a file is opened, and gives no bytes.
fn in_the_middle(blob: &Path) {
    std::fs::remove_file(blob).unwrap();
    std::fs::create_dir(blob).unwrap();
}

/// Below a file nothing is opened.
fn at_the_start(blob: &Path) {
    let folder = blob.parent().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    std::fs::write(folder, "").unwrap();
}

fn options() -> SimOptions {
    SimOptions { step: Duration::ZERO, ..SimOptions::default() }
}

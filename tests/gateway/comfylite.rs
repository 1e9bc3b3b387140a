//! What a user of ComfyLite relies on, and what it did wrong, each as the right behaviour.

use crate::support::{Inbox, Setup, TestGateway, canvas, eventually, starter};
use comfygate::clock::{ManualClock, Timestamp};
use comfygate::sim::{Fault, When};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// ComfyLite's own kind of mapping: node and property, nothing else.
const MAPPING: &str = r#"
node_mappings:
  prompt:
    node_id: "6"
    property: text
  image_count:
    node_id: "5"
    property: batch_size
  width:
    node_id: "5"
    property: width
  height:
    node_id: "5"
    property: height
  seed:
    node_id: "3"
    property: seed
"#;

const TEMPLATE: &str = r#"{
  "3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 4, "cfg": 8, "sampler_name": "euler",
        "scheduler": "normal", "denoise": 1, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0],
        "latent_image": ["5", 0]}},
  "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.ckpt"}},
  "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
  "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
  "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
  "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
  "save": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["8", 0]}}
}"#;

async fn with_comfylites_files() -> TestGateway {
    let mut setup = Setup::new().with_workflow("mine", MAPPING, TEMPLATE);
    setup.settings.workflows.default = "mine".into();
    setup.start().await
}

#[actix_web::test]
async fn a_request_payload_and_answer_of_comfylite_work_unchanged() {
    let gateway = with_comfylites_files().await;
    let inbox = Inbox::open();
    let body = json!({ "prompt": "a castle in the clouds", "image_count": 2, "width": 640, "height": 448, "webhook_url": inbox.url() });
    let answer = gateway.post("/generate", &body).await;
    assert!((200..300).contains(&answer.status));
    let id = answer.json()["prompt_id"].as_str().unwrap().to_owned();
    let webhook = inbox.next().await;
    assert_eq!((&webhook.body["prompt_id"], &webhook.body["status"]), (&json!(id), &json!("success")));
    assert_eq!(webhook.images().len(), 2);
    assert!(webhook.images().iter().all(|image| size(image) == (640, 448)));
    gateway.close().await;
}

#[actix_web::test]
async fn defaults_are_one_image_of_450_by_450_with_a_random_seed() {
    let gateway = with_comfylites_files().await;
    let inbox = Inbox::open();
    for extra in [json!({}), json!({ "image_count": 0, "width": 0, "height": 0 })] {
        let mut body = json!({ "prompt": "a castle", "webhook_url": inbox.url() });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let webhook = gateway.run_one(&inbox, &body).await;
        assert_eq!(webhook.images().len(), 1);
        // Latent images come in steps of eight pixels.
        assert_eq!(size(&webhook.images()[0]), (448, 448));
        assert!(webhook.body["seed"].is_u64());
    }
    let sent: Vec<Value> =
        gateway.sim.requests().iter().filter_map(|request| serde_json::from_slice(&request.body).ok()).collect();
    let sizes: Vec<&Value> = sent.iter().filter_map(|body| body.pointer("/prompt/5/inputs/width")).collect();
    assert_eq!(sizes, [&json!(450), &json!(450)]);
    gateway.close().await;
}

#[actix_web::test]
async fn width_and_height_are_two_values() {
    let gateway = with_comfylites_files().await;
    let inbox = Inbox::open();
    let body = json!({ "prompt": "a castle", "width": 256, "height": 512, "webhook_url": inbox.url() });
    let webhook = gateway.run_one(&inbox, &body).await;
    assert_eq!(size(&webhook.images()[0]), (256, 512));
    gateway.close().await;
}

#[actix_web::test]
async fn malformed_json_is_400_and_not_an_empty_200() {
    let gateway = with_comfylites_files().await;
    let answer = gateway.post_raw(&[("content-type", "application/json")], "{\"prompt\": ").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_json"));
    gateway.close().await;
}

#[actix_web::test]
async fn fast_and_cached_prompts_are_not_missed() {
    let gateway = with_comfylites_files().await;
    let inbox = Inbox::open();
    let body = json!({ "prompt": "the same", "seed": 7, "width": 64, "height": 64, "webhook_url": inbox.url() });
    for _ in 0..5 {
        let webhook = gateway.run_one(&inbox, &body).await;
        assert_eq!(webhook.body["status"], "success");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn images_go_to_the_prompt_that_made_them() {
    let gateway = with_comfylites_files().await;
    let inbox = Inbox::open();
    let mut ids = Vec::new();
    for number in 0..6 {
        let body = json!({ "prompt": format!("picture {number}"), "seed": number, "width": 64, "height": 64, "webhook_url": inbox.url() });
        ids.push(gateway.generate(&body).await);
    }
    for _ in &ids {
        let webhook = inbox.next().await;
        let made = gateway.sim.images();
        let own = made.iter().find(|image| image.prompt == webhook.prompt_id() && image.node == "save").unwrap();
        assert_eq!(webhook.images(), [own.bytes.to_vec()]);
    }
    gateway.close().await;
}

#[actix_web::test]
async fn previews_are_not_images() {
    let mut setup = Setup::new();
    setup.sim.previews = true;
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    let mut body = starter(&inbox.url());
    body["steps"] = json!(8);
    let webhook = gateway.run_one(&inbox, &body).await;
    assert_eq!(webhook.images().len(), 1);
    assert_eq!(webhook.body["outputs"].as_array().unwrap().len(), 1);
    gateway.close().await;
}

#[actix_web::test]
async fn a_model_that_loads_for_longer_than_thirty_seconds_is_waited_for() {
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    let setup = Setup { clock: Arc::<ManualClock>::clone(&clock), ..Setup::new() };
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&starter(&inbox.url())).await;
    gateway.until(&id, "running").await;
    // Four minutes without a word: longer than the limit of silence, while the queue says that it runs.
    for _ in 0..24 {
        let asked = questions(&gateway);
        clock.advance(Duration::from_secs(10));
        eventually("the backend is asked", async || {
            clock.advance(Duration::from_millis(500));
            (questions(&gateway) > asked).then_some(())
        })
        .await;
    }
    gateway.sim.release();
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body["status"]), (id.as_str(), &json!("success")));
    gateway.close().await;
}

fn questions(gateway: &TestGateway) -> usize {
    gateway.sim.requests().iter().filter(|request| request.path == "/queue").count()
}

#[actix_web::test]
async fn a_dead_socket_is_replaced_and_not_read_for_ever() {
    let gateway = with_comfylites_files().await;
    for _ in 0..3 {
        gateway.sim.inject(Fault::Restart { at: None, forget: true, down_for: Duration::from_millis(100) });
        eventually("the gateway sees the loss", async || (gateway.sim.connections() == 0).then_some(())).await;
        gateway.sim.wait_for(|sim| sim.connections() == 1).await.unwrap();
    }
    gateway.until_ready().await;
    let inbox = Inbox::open();
    let body = json!({ "prompt": "after", "width": 64, "height": 64, "webhook_url": inbox.url() });
    assert_eq!(gateway.run_one(&inbox, &body).await.body["status"], "success");
    gateway.close().await;
}

#[actix_web::test]
async fn a_timeout_ends_its_own_job_and_no_other() {
    let gateway = with_comfylites_files().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let mut body = json!({ "prompt": "stuck", "width": 64, "height": 64, "webhook_url": inbox.url(), "timeouts": { "run": "300ms" } });
    let stuck = gateway.generate(&body).await;
    gateway.until(&stuck, "running").await;
    body["prompt"] = json!("behind it");
    body.as_object_mut().unwrap().remove("timeouts");
    let behind = gateway.generate(&body).await;
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body["code"]), (stuck.as_str(), &json!("timeout_run")));
    gateway.sim.release();
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body["status"]), (behind.as_str(), &json!("success")));
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn errors_and_interruptions_are_told_at_once() {
    let gateway = with_comfylites_files().await;
    let inbox = Inbox::open();
    let body = json!({ "prompt": "x", "width": 64, "height": 64, "webhook_url": inbox.url() });
    gateway.sim.inject(Fault::FailNode {
        node: "KSampler".into(),
        message: "no".into(),
        exception_type: "ValueError".into(),
    });
    let webhook = gateway.run_one(&inbox, &body).await;
    assert_eq!(
        (&webhook.body["status"], &webhook.body["images"], &webhook.body["code"]),
        (&json!("failure"), &Value::Null, &json!("node_error"))
    );
    gateway.sim.inject(Fault::Interrupt { node: "KSampler".into() });
    let mut body = body;
    body["prompt"] = json!("y");
    let webhook = gateway.run_one(&inbox, &body).await;
    assert_eq!(webhook.body["code"], "interrupted");
    gateway.close().await;
}

#[actix_web::test]
async fn unknown_events_and_short_frames_are_passed_over() {
    let gateway = with_comfylites_files().await;
    let inbox = Inbox::open();
    gateway.sim.inject_when(Fault::ForeignEvents, When::Every);
    let body = json!({ "prompt": "x", "width": 64, "height": 64, "webhook_url": inbox.url() });
    let webhook = gateway.run_one(&inbox, &body).await;
    let made = gateway.sim.images();
    let own: Vec<_> = made.iter().filter(|image| image.prompt == webhook.prompt_id() && image.node == "save").collect();
    assert_eq!(webhook.images(), [own[0].bytes.to_vec()], "the frames of others are not ours");
    gateway.sim.clear_faults();
    gateway.close().await;
}

#[actix_web::test]
async fn a_webhook_has_more_than_one_attempt() {
    let gateway = with_comfylites_files().await;
    let inbox = Inbox::open();
    inbox.answer_with(&[500, 500]);
    gateway.generate(&canvas(&inbox.url())).await;
    for _ in 0..3 {
        inbox.next().await;
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_workflow_name_never_becomes_a_path() {
    let gateway = with_comfylites_files().await;
    for name in ["../mine", "configs/mine", "/etc/passwd", "mine.yaml", "..", "mine\u{0}", "mine/"] {
        let answer = gateway.post("/generate", &json!({ "prompt": "x", "workflow": name })).await;
        let expected = if name.contains('\0') { "invalid_string" } else { "unknown_workflow" };
        assert_eq!((answer.status, answer.code().as_str()), (400, expected), "{name}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn too_few_images_are_told_in_comfylites_words() {
    let template = TEMPLATE.replace("SaveImageWebsocket", "PreviewImage");
    let config =
        MAPPING.replace("property: batch_size", "property: batch_size\n    max: 8") + "\noutputs: [\"save\"]\n";
    let gateway = Setup::new().with_workflow("previews", &config, &template).start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::NullOutputs);
    let body = json!({ "workflow": "previews", "prompt": "x", "image_count": 2, "width": 64, "height": 64, "webhook_url": inbox.url() });
    let webhook = gateway.run_one(&inbox, &body).await;
    assert_eq!(webhook.body["error"], "prompt failed validation: expected 2 images, got 0. finish_signal: true");
    gateway.close().await;
}

/// Reads width and height from a PNG's header.
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

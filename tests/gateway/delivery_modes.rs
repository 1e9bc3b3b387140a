//! In which form images reach the receiver: in the body, as links, as both; and what is not sent because it is too large.

use crate::support::{Inbox, Setup, TestGateway, Webhook, canvas};
use comfygate::job::DeliveryMode;
use serde_json::{Value, json};

#[actix_web::test]
async fn each_mode_has_its_body_and_the_job_is_the_same_bytes() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    for (mode, images, omitted) in [
        (Value::Null, 2, None),
        (json!("inline"), 2, None),
        (json!("both"), 2, None),
        (json!("links"), 0, Some(&json!(true))),
    ] {
        let mut body = canvas(&inbox.url());
        body["image_count"] = json!(2);
        body["delivery"] = mode.clone();
        let webhook = gateway.run_one(&inbox, &body).await;
        assert_eq!(webhook.body["images"].as_array().unwrap().len(), images, "{mode}");
        assert_eq!(webhook.body.get("inline_omitted"), omitted, "{mode}");
        assert_eq!((&webhook.body["status"], outputs(&webhook).len()), (&json!("success"), 2));
        for output in outputs(&webhook) {
            let image = gateway.get(path(&gateway, output)).await;
            assert_eq!((image.status, json!(image.bytes.len())), (200, output["bytes"].clone()));
        }
        assert_eq!(gateway.get(&format!("/jobs/{}", webhook.prompt_id())).await.bytes, webhook.raw);
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_webhook_with_links_is_small_however_large_its_images_are() {
    let mut setup = Setup::new();
    setup.sim.noise_image_bytes = 2 << 20;
    setup.settings.outputs.delivery = DeliveryMode::Links;
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    assert!(outputs(&webhook)[0]["bytes"].as_u64().unwrap() > 2 << 20);
    assert!(webhook.raw.len() < 2_000, "{}", webhook.raw.len());
    // A request may still wish for what the operator has not set.
    let mut body = canvas(&inbox.url());
    body["delivery"] = json!("inline");
    assert_eq!(gateway.run_one(&inbox, &body).await.images().len(), 1);
    gateway.close().await;
}

#[actix_web::test]
async fn a_replay_has_the_same_links() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut body = canvas(&inbox.url());
    body["delivery"] = json!("links");
    let first = gateway.run_one(&inbox, &body).await;
    let gateway = gateway.restart().await;
    let replay = format!("/jobs/{}/deliveries/{}/replay", first.prompt_id(), first.id);
    assert_eq!(gateway.post(&replay, &json!({})).await.status, 202);
    let second = inbox.next().await;
    assert_eq!((second.attempt.as_str(), &second.raw), ("2", &first.raw));
    gateway.close().await;
}

#[actix_web::test]
async fn a_body_at_the_limit_has_its_images_and_one_byte_less_leaves_them_out() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut body = canvas(&inbox.url());
    body["color"] = json!(7);
    let whole = gateway.run_one(&inbox, &body).await.raw.len() as u64;
    // The times and the profile in it may be longer or shorter the next time.
    let (most, least) = (whole + 300, whole - 300);
    let mut gateway = gateway.restart_with(|settings| settings.outputs.inline_max = most).await;
    for (color, mode) in [(8, "inline"), (9, "both")] {
        // Another colour, so that all nodes run again and the profile tells as much.
        body["color"] = json!(color);
        body["delivery"] = json!(mode);
        let webhook = gateway.run_one(&inbox, &body).await;
        assert_eq!((webhook.images().len(), webhook.body.get("inline_omitted")), (1, None), "{mode}");
    }
    gateway = gateway.restart_with(|settings| settings.outputs.inline_max = least).await;
    for (color, mode) in [(10, "inline"), (11, "both")] {
        body["color"] = json!(color);
        body["delivery"] = json!(mode);
        let webhook = gateway.run_one(&inbox, &body).await;
        assert_eq!((&webhook.body["images"], &webhook.body["inline_omitted"]), (&json!([]), &json!(true)), "{mode}");
        assert_eq!(gateway.get(path(&gateway, &outputs(&webhook)[0])).await.status, 200);
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_wrong_wish_is_refused_with_what_there_is() {
    let gateway = TestGateway::start().await;
    for (field, value, code, text) in [
        ("delivery", json!("link"), "not_allowed", "delivery: `link` is none of inline, links, both"),
        ("delivery", json!(["links"]), "invalid_type", "delivery must be a string"),
        ("strip_metadata", json!(1), "invalid_type", "strip_metadata must be true or false"),
        ("convert", json!("gif"), "not_allowed", "convert.format: `gif` is none of jpeg, webp"),
    ] {
        let mut body = canvas("");
        body[field] = value;
        let answer = gateway.post("/generate", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code));
        assert!(answer.json()["error"].as_str().unwrap().contains(text), "{}", answer.json());
    }
    gateway.close().await;
}

fn outputs(webhook: &Webhook) -> &[Value] {
    webhook.body["outputs"].as_array().unwrap()
}

fn path<'a>(gateway: &TestGateway, output: &'a Value) -> &'a str {
    output["url"].as_str().unwrap().strip_prefix(&gateway.url("")).unwrap()
}

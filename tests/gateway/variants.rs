//! One job as several graphs: the same parameters in several workflows, and it runs as the one that some backend can run.

use crate::input_images::uploads_to;
use crate::support::{Inbox, Setup, canvas};
use comfygate::sim::{Fault, Sim, SimOptions, SimRequest, When};
use serde_json::{Value, json};

/// Writes workflows that differ in the model they load, and one that has no such parameter as the others.
fn setup() -> Setup {
    let template = |model: &str, sampler: &str| {
        json!({
            "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": model}},
            "2": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
            "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["1", 1]}},
            "4": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 1, "cfg": 7.0, "sampler_name": sampler,
                "scheduler": "normal", "denoise": 1.0, "model": ["1", 0], "positive": ["3", 0], "negative": ["3", 0],
                "latent_image": ["2", 0]}},
            "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
            "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}},
        })
        .to_string()
    };
    let mapping = "node_mappings:\n  prompt: {node_id: '3', property: text}\n  seed: {node_id: '4', property: seed}\n";
    let other = "node_mappings:\n  prompt: {node_id: '3', property: text}\n";
    Setup::new()
        .with_workflow("large", mapping, &template("large.safetensors", "euler"))
        .with_workflow("small", mapping, &template("small.safetensors", "euler"))
        .with_workflow("seedless", other, &template("small.safetensors", "euler"))
        .with_workflow("odd", mapping, &template("small.safetensors", "unheard_of"))
        .with_workflow("odder", mapping, &template("small.safetensors", "never_heard_of"))
}

fn having(model: &str) -> SimOptions {
    SimOptions { models: Some(vec![model.to_owned()]), ..SimOptions::default() }
}

fn body(inbox: &Inbox, variants: &Value) -> Value {
    json!({ "workflow": "large", "variants": variants, "prompt": "a dog", "seed": 77, "webhook_url": inbox.url() })
}

#[actix_web::test]
async fn a_job_runs_as_the_variant_that_a_backend_can_run() {
    let small = Sim::start(having("small.safetensors")).await.unwrap();
    let mut setup = setup();
    setup.sim = having("another.safetensors");
    let gateway = setup.start_beside(&[small.url()], 2).await;
    let inbox = Inbox::open();
    let webhook = gateway.run_one(&inbox, &body(&inbox, &json!(["small"]))).await;
    assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
    assert_eq!(webhook.body["workflow"], "small", "the one that ran is told");
    assert_eq!(webhook.body["seed"], 77);
    let sent = small.requests().into_iter().find(SimRequest::is_prompt);
    let sent: Value = serde_json::from_slice(&sent.unwrap().body).unwrap();
    assert_eq!(sent["prompt"]["1"]["inputs"]["ckpt_name"], "small.safetensors");
    assert_eq!(sent["prompt"]["3"]["inputs"]["text"], "a dog");
    assert_eq!(sent["prompt"]["4"]["inputs"]["seed"], 77);
    gateway.close().await;
    small.stop().await;
}

#[actix_web::test]
async fn the_first_variant_runs_where_it_can() {
    let mut setup = setup();
    setup.sim = having("large.safetensors");
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    let webhook = gateway.run_one(&inbox, &body(&inbox, &json!(["small"]))).await;
    assert_eq!((&webhook.body["status"], &webhook.body["workflow"]), (&json!("success"), &json!("large")));
    gateway.close().await;
}

#[actix_web::test]
async fn what_a_backend_refuses_as_one_variant_it_runs_as_the_next() {
    let mut setup = setup();
    setup.sim = having("small.safetensors");
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    let odd = |variants: Value| {
        let mut body = body(&inbox, &variants);
        body["workflow"] = json!("odd");
        body
    };
    // Nothing tells before that it does not have such a sampler: it refuses the graph of this job.
    let webhook = gateway.run_one(&inbox, &odd(json!(["odder", "small"]))).await;
    assert_eq!((&webhook.body["status"], &webhook.body["workflow"]), (&json!("success"), &json!("small")));
    assert_eq!(uploads_to(&gateway, "/prompt"), 3);
    let webhook = gateway.run_one(&inbox, &odd(json!(["odder"]))).await;
    assert_eq!(webhook.body["status"], "failure", "{}", webhook.body);
    let message = webhook.body["error"].as_str().unwrap();
    assert!(message.contains("'unheard_of'") && message.contains("'never_heard_of'"), "{message}");
    assert_eq!(uploads_to(&gateway, "/prompt"), 5, "each is tried once");
    gateway.close().await;
}

#[actix_web::test]
async fn a_variant_whose_memory_ran_out_leaves_the_backend_to_the_next() {
    let mut setup = setup();
    setup.sim.models = Some(vec!["large.safetensors".to_owned(), "small.safetensors".to_owned()]);
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::OutOfMemory { node: "KSampler".into() });
    let webhook = gateway.run_one(&inbox, &body(&inbox, &json!(["small"]))).await;
    assert_eq!((&webhook.body["status"], &webhook.body["workflow"]), (&json!("success"), &json!("small")));
    // It was a try, and who has no other fails with the reason.
    gateway.sim.inject(Fault::OutOfMemory { node: "KSampler".into() });
    let mut once = body(&inbox, &json!(["small"]));
    (once["max_runs"], once["seed"]) = (json!(1), json!(78));
    assert_eq!(gateway.run_one(&inbox, &once).await.body["code"], "node_error");
    // Where each runs out, each is tried once.
    gateway.sim.inject_when(Fault::OutOfMemory { node: "KSampler".into() }, When::Every);
    let before = uploads_to(&gateway, "/prompt");
    let mut third = body(&inbox, &json!(["small"]));
    third["seed"] = json!(79);
    let webhook = gateway.run_one(&inbox, &third).await;
    assert_eq!((&webhook.body["code"], uploads_to(&gateway, "/prompt") - before), (&json!("node_error"), 2));
    gateway.close().await;
}

#[actix_web::test]
async fn a_waiting_job_keeps_its_variants_across_a_restart() {
    let mut setup = setup();
    setup.sim = having("small.safetensors");
    let away = Sim::start(SimOptions::default()).await.unwrap();
    setup.settings.backends.addresses = vec![away.url().parse().unwrap()];
    away.stop().await;
    let gateway = setup.start_alone().await;
    let inbox = Inbox::open();
    let id = gateway.generate(&body(&inbox, &json!(["small"]))).await;
    assert_eq!(gateway.job(&id).await["status"], "queued");
    let here = gateway.sim.url().parse().unwrap();
    let gateway = gateway.restart_with(|settings| settings.backends.addresses = vec![here]).await;
    let webhook = inbox.next().await;
    assert_eq!((&webhook.body["status"], &webhook.body["workflow"]), (&json!("success"), &json!("small")));
    gateway.close().await;
}

#[actix_web::test]
async fn each_variant_is_checked_and_the_fault_names_it() {
    let gateway = setup().start().await;
    let inbox = Inbox::open();
    for (variants, code, part) in [
        (json!(["seedless"]), "unknown_field", "variant `seedless`"),
        (json!(["nothing"]), "unknown_workflow", "`nothing`"),
        (json!("small"), "invalid_type", "variants"),
        (json!([7]), "invalid_type", "variants"),
        (json!(vec!["small"; 8]), "too_long", "at most 7"),
    ] {
        let answer = gateway.post("/generate", &body(&inbox, &variants)).await;
        assert_eq!((answer.status, answer.code()), (400, code.to_owned()), "{variants}: {}", answer.json());
        assert!(answer.json()["error"].as_str().unwrap().contains(part), "{variants}: {}", answer.json());
    }
    let plain = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    assert_eq!(plain.body["status"], "success");
    gateway.close().await;
}

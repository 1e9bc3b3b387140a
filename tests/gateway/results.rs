//! What a caller gets when a job has ended: the webhook, the same object by id, the bytes of each output.

use crate::support::{Inbox, Setup, TestGateway, canvas, canvas_files, eventually, starter};
use comfygate::sim::{SimOptions, SimRequest};
use serde_json::{Value, json};

#[actix_web::test]
async fn images_are_the_very_bytes_that_comfyui_made_through_both_save_nodes() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut body = canvas(&inbox.url());
    body["image_count"] = json!(3);
    for (workflow, nodes) in [("canvas", vec!["3"]), ("canvas-files", vec!["4"]), ("canvas-both", vec!["3", "4"])] {
        body["workflow"] = json!(workflow);
        // Another colour each time, so that each run makes its own images.
        body["color"] = json!(nodes.len() * 1000 + workflow.len());
        let webhook = gateway.run_one(&inbox, &body).await;
        let made = gateway.sim.images();
        let mut expected = Vec::new();
        for node in &nodes {
            let of_node = made.iter().filter(|image| image.prompt == webhook.prompt_id() && image.node == *node);
            expected.extend(of_node.map(|image| image.bytes.to_vec()));
        }
        assert_eq!(expected.len(), 3 * nodes.len());
        assert_eq!(webhook.images(), expected, "{workflow}");
    }
    assert!(inbox.rest().is_empty());
    gateway.close().await;
}

#[actix_web::test]
async fn a_webhook_has_comfylites_fields_and_the_additions() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut body = canvas(&inbox.url());
    body["metadata"] = json!({ "order": [1, "ä"] });
    let webhook = gateway.run_one(&inbox, &body).await;
    let id = webhook.prompt_id().to_owned();
    assert!(webhook.raw.starts_with(format!(r#"{{"status":"success","prompt_id":"{id}","images":["#).as_bytes()));
    assert_eq!(webhook.id, format!("msg_{}", id.replace('-', "")));
    assert_eq!(webhook.content_length, Some(webhook.raw.len()));
    assert_eq!(webhook.attempt, "1");
    let body = &webhook.body;
    assert_eq!(body["type"], "generation.success");
    assert_eq!(body["workflow"], "canvas");
    assert_eq!(body["metadata"], json!({ "order": [1, "ä"] }));
    assert!(body.get("error").is_none());
    let output = &body["outputs"][0];
    assert_eq!(
        (&output["node_id"], &output["index"], &output["content_type"]),
        (&json!("3"), &json!(0), &json!("image/png"))
    );
    assert_eq!(output["bytes"], json!(webhook.images()[0].len()));
    gateway.close().await;
}

#[actix_web::test]
async fn the_job_is_the_same_object_as_its_webhook_and_is_there_when_the_webhook_comes() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    for body in [canvas(&inbox.url()), canvas_files(&inbox.url())] {
        let webhook = gateway.run_one(&inbox, &body).await;
        let answer = gateway.get(&format!("/jobs/{}", webhook.prompt_id())).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.bytes, webhook.raw);
    }
    gateway.close().await;
}

#[actix_web::test]
async fn an_output_is_served_whole_or_in_parts() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    let url = webhook.body["outputs"][0]["url"].as_str().unwrap();
    let path = url.strip_prefix(&gateway.url("")).unwrap();
    let image = &webhook.images()[0];

    let whole = gateway.get(path).await;
    assert_eq!((whole.status, whole.header("content-type")), (200, "image/png"));
    assert_eq!(&whole.bytes, image);
    assert_eq!(whole.header("etag"), format!("\"{}\"", webhook.body["outputs"][0]["sha256"].as_str().unwrap()));
    assert_eq!(whole.header("x-content-type-options"), "nosniff");

    let part = gateway.get_with(path, &[("range", "bytes=1-3")]).await;
    assert_eq!((part.status, part.bytes.as_slice()), (206, b"PNG".as_slice()));
    let tag = whole.header("etag");
    for known in [tag.to_owned(), format!("\"other\", W/{tag}"), "*".to_owned()] {
        let answer = gateway.get_with(path, &[("if-none-match", &known)]).await;
        assert_eq!((answer.status, answer.bytes.len()), (304, 0), "{known}");
    }
    assert_eq!(gateway.get_with(path, &[("if-none-match", "\"other\"")]).await.status, 200);
    for missing in ["1", "x", "-1", "18446744073709551616"] {
        let answer = gateway.get(&format!("/jobs/{}/outputs/{missing}", webhook.prompt_id())).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{missing}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_seed_is_reported_with_all_its_bits_and_drawn_where_none_is_given() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut body = starter(&inbox.url());
    body["seed"] = json!(u64::MAX);
    let webhook = gateway.run_one(&inbox, &body).await;
    assert_eq!(webhook.body["seed"], json!(u64::MAX));
    let sent = gateway.sim.requests().into_iter().find(SimRequest::is_prompt);
    let sent: Value = serde_json::from_slice(&sent.unwrap().body).unwrap();
    let seeds: Vec<&Value> =
        sent["prompt"].as_object().unwrap().values().filter_map(|node| node["inputs"].get("seed")).collect();
    assert_eq!(seeds, [&json!(u64::MAX)]);

    for seed in [Value::Null, json!(-1)] {
        body["seed"] = seed;
        if body["seed"].is_null() {
            body.as_object_mut().unwrap().remove("seed");
        }
        let webhook = gateway.run_one(&inbox, &body).await;
        assert!(webhook.body["seed"].as_u64().is_some_and(|seed| seed != u64::MAX), "{}", webhook.body["seed"]);
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_missing_model_is_a_failure_that_names_it() {
    let sim = SimOptions { models: Some(vec!["other.safetensors".into()]), ..SimOptions::default() };
    let gateway = Setup { sim, ..Setup::new() }.start().await;
    let inbox = Inbox::open();
    let webhook = gateway.run_one(&inbox, &starter(&inbox.url())).await;
    assert_eq!((&webhook.body["status"], &webhook.body["images"]), (&json!("failure"), &Value::Null));
    assert_eq!(webhook.body["code"], "validation");
    let error = webhook.body["error"].as_str().unwrap();
    assert!(error.contains(".safetensors"), "{error}");
    assert_eq!(webhook.body["node"]["class"], "CheckpointLoaderSimple");
    gateway.close().await;
}

#[actix_web::test]
async fn jobs_are_listed_newest_first_and_page_by_page() {
    let gateway = TestGateway::start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(gateway.generate(&canvas("")).await);
    }
    for id in &ids {
        gateway.until(id, "success").await;
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut path = "/jobs?limit=2&status=succeeded&workflow=canvas".to_owned();
    for _ in 0..4 {
        let page = gateway.get(&path).await.json();
        seen.extend(page["jobs"].as_array().unwrap().iter().map(|job| job["prompt_id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/jobs?limit=2&status=succeeded&workflow=canvas&cursor={cursor}");
    }
    assert_eq!(seen, ids);
    for (query, code) in [
        ("status=done", "not_allowed"),
        ("limit=0", "out_of_range"),
        ("cursor=x", "invalid_cursor"),
        ("order=asc", "unknown_field"),
    ] {
        let answer = gateway.get(&format!("/jobs?{query}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code));
    }
    gateway.close().await;
}

#[actix_web::test]
async fn two_hundred_jobs_at_once_each_have_one_webhook() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let body = canvas(&inbox.url());
    let posts = (0..200).map(|_| gateway.generate(&body));
    let mut ids = futures_util::future::join_all(posts).await;
    let mut told = Vec::new();
    for _ in 0..ids.len() {
        let webhook = inbox.next().await;
        assert_eq!(webhook.body["status"], "success");
        told.push(webhook.prompt_id().to_owned());
    }
    ids.sort();
    told.sort();
    assert_eq!(told, ids);
    assert!(inbox.rest().is_empty());
    assert!(gateway.sim.executions().values().all(|count| *count == 1));
    gateway.close().await;
}

#[actix_web::test]
async fn a_running_job_shows_how_far_it_is() {
    let mut setup = Setup::new();
    setup.sim.step = std::time::Duration::from_millis(20);
    let gateway = setup.start().await;
    let id = gateway.generate(&starter("")).await;
    let look = async || {
        let job = gateway.job(&id).await;
        job["progress"]["fraction"].as_f64().filter(|fraction| *fraction > 0.0 && *fraction < 1.0)
    };
    eventually("progress is seen", look).await;
    gateway.until(&id, "success").await;
    gateway.close().await;
}

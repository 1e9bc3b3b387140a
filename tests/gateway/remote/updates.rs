//! Changes of the workflow in memory: texts, prompts and images, and what is refused.

use super::{last_graph, run, with_workflow};
use crate::support::{Setup, TestGateway};
use comfygate::remote::TEXT_FIELDS;
use serde_json::{Value, json};

/// S0-08: a text input of one node is changed in memory without running, and that is confirmed by a message.
#[actix_web::test]
async fn a_text_is_set_without_running_and_confirmed() {
    let gateway = with_workflow("starter").await;
    let answer = gateway.post("/runner/update/text", &json!({ "node_id": "6", "text": "a hill" })).await;
    assert_eq!(answer.status, 200);
    let expected = json!({
        "message": "`text` of node `6` (CLIPTextEncode) is set",
        "node_id": "6", "class_type": "CLIPTextEncode", "input": "text",
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(gateway.sim.executions().len(), 0, "nothing runs by that");
    assert_eq!(gateway.get("/jobs").await.json()["jobs"], json!([]));
    run(&gateway).await;
    let graph = last_graph(&gateway);
    assert_eq!(
        (&graph["6"]["inputs"]["text"], &graph["7"]["inputs"]["text"]),
        (&json!("a hill"), &json!("text, watermark, signature"))
    );
    gateway.close().await;
}

/// S0-08: the node must be there, and have a text input; the error names what was looked for and what is there.
#[actix_web::test]
async fn a_node_that_is_not_there_or_has_no_text_is_refused_by_name() {
    let gateway = with_workflow("starter").await;
    let refused = async |body: Value| {
        let answer = gateway.post("/runner/update/text", &body).await;
        (answer.status, answer.code(), answer.json())
    };
    let (status, code, told) = refused(json!({ "node_id": 99, "text": "x" })).await;
    assert_eq!((status, code.as_str()), (404, "unknown_node"));
    assert_eq!(told["error"], "the workflow `starter` has no node `99`; there are: 4, 5, 6, 7, 3, 8, 10");
    assert_eq!(
        told["details"]["nodes"][2],
        json!({ "node_id": "6", "class_type": "CLIPTextEncode", "title": "Prompt" })
    );
    let (status, code, told) = refused(json!({ "node_id": "5", "text": "x" })).await;
    assert_eq!((status, code.as_str()), (400, "no_such_input"));
    let error = told["error"].as_str().unwrap();
    assert!(error.starts_with("node `5` (EmptyLatentImage) has no text input: text, value, text_positive"), "{error}");
    assert_eq!(told["details"]["tried"], json!(TEXT_FIELDS));
    assert_eq!(told["details"]["inputs"][0], json!({ "input": "batch_size", "is": "an integer" }));
    for (body, code) in [
        (json!({ "text": "x" }), "missing_field"),
        (json!({ "node_id": 6 }), "missing_field"),
        (json!({ "node_id": [6], "text": "x" }), "invalid_type"),
        (json!({ "node_id": 6.5, "text": "x" }), "invalid_type"),
        (json!({ "node_id": 6, "text": ["7", 0] }), "invalid_type"),
        (json!({ "node_id": 6, "text": "x", "prompt": "y" }), "unknown_field"),
        (json!({ "node_id": 6, "text": "a\u{0}b" }), "invalid_string"),
        (json!([1]), "invalid_json"),
    ] {
        let (status, told, _) = refused(body.clone()).await;
        assert_eq!((status, told.as_str()), (400, code), "{body}");
    }
    assert_eq!(
        gateway.get("/runner/status").await.json()["edited"],
        json!(false),
        "what was refused has changed nothing"
    );
    gateway.close().await;
}

/// S0-09: the same for the field `prompt`, which comes first there.
#[actix_web::test]
async fn a_prompt_is_set_in_the_field_prompt_first() {
    let gateway = of_nodes(&json!({
        "6": { "class_type": "Any", "inputs": { "text": "t", "prompt": "p" } },
        "7": { "class_type": "Any", "inputs": { "text": "t" } },
    }))
    .await;
    let answer = gateway.post("/runner/update/prompt", &json!({ "node_id": 6, "prompt": "a hill" })).await;
    let message = json!("`prompt` of node `6` (Any) is set");
    assert_eq!((answer.status, &answer.json()["message"]), (200, &message));
    let answer = gateway.post("/runner/update/prompt", &json!({ "node_id": 7, "prompt": "a hill" })).await;
    assert_eq!(answer.json()["message"], "`text` of node `7` (Any) is set");
    let answer = gateway.post("/runner/update/prompt", &json!({ "node_id": 6, "text": "a hill" })).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "missing_field"));
    gateway.close().await;
}

/// S0-10: the text field is found by trying eleven names in order.
#[actix_web::test]
async fn the_eleven_fields_are_tried_in_their_order() {
    let order = [
        "text",
        "value",
        "text_positive",
        "text_negative",
        "prompt",
        "system",
        "style",
        "style_name",
        "key",
        "url",
        "model",
    ];
    let nodes: Value = (0..order.len())
        .map(|first| {
            let inputs: Value = order[first..].iter().map(|name| ((*name).to_owned(), json!("x"))).collect();
            (first.to_string(), json!({ "class_type": "Any", "inputs": inputs }))
        })
        .collect();
    let gateway = of_nodes(&nodes).await;
    for (first, field) in order.iter().enumerate() {
        let answer = gateway.post("/runner/update/text", &json!({ "node_id": first, "text": "y" })).await;
        assert_eq!(answer.json()["input"], *field, "{}", answer.json());
    }
    gateway.close().await;
}

#[actix_web::test]
async fn what_another_node_feeds_is_not_overwritten() {
    let gateway = of_nodes(&json!({
        "1": { "class_type": "Any", "inputs": { "value": "v" } },
        "2": { "class_type": "Any", "inputs": { "text": ["1", 0], "prompt": "p" } },
    }))
    .await;
    let answer = gateway.post("/runner/update/text", &json!({ "node_id": 2, "text": "y" })).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "linked_input"));
    assert_eq!(answer.json()["details"], json!({ "node_id": "2", "input": "text", "from": "1" }));
    gateway.close().await;
}

/// S0-11: the file of a `LoadImage` node is set, and must be in ComfyUI's input folder already.
#[actix_web::test]
async fn an_image_is_set_where_comfyui_has_the_file() {
    let gateway = with_image().await;
    put(&gateway, "photo.png").await;
    let answer = gateway.post("/runner/update/image", &json!({ "node_id": "1", "filename": "photo.png" })).await;
    let told = answer.json();
    let message = json!("`image` of node `1` (LoadImage) is set");
    assert_eq!((answer.status, &told["message"], &told["input"]), (200, &message, &json!("image")), "{told}");
    assert_eq!(told["backends"].as_array().map(Vec::len), Some(1));
    run(&gateway).await;
    assert_eq!(last_graph(&gateway)["1"]["inputs"]["image"], "photo.png");

    let answer = gateway.post("/runner/update/image", &json!({ "node_id": "1", "filename": "other.png" })).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "image_not_there"));
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("no ComfyUI has `other.png` in its input folder: put it there first"), "{error}");
    let answer = gateway.post("/runner/update/image", &json!({ "node_id": "2", "filename": "photo.png" })).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "no_such_input"));
    for name in ["", "../photo.png", "/etc/passwd", "photo.png [output]"] {
        let answer = gateway.post("/runner/update/image", &json!({ "node_id": "1", "filename": name })).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_filename"), "{name}");
    }
    run(&gateway).await;
    assert_eq!(last_graph(&gateway)["1"]["inputs"]["image"], "photo.png", "what was refused has changed nothing");
    gateway.close().await;
}

/// S0-11, S0-19: where no ComfyUI answers, that is what is said.
#[actix_web::test]
async fn an_image_is_not_set_where_no_comfyui_answers() {
    let mut setup = image_setup();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    setup.settings.backends.addresses = vec![format!("http://{nobody}/").parse().unwrap()];
    let gateway = setup.start_alone().await;
    let answer = gateway.post("/runner/update/image", &json!({ "node_id": "1", "filename": "photo.png" })).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "no_backend"));
    assert_eq!(answer.header("retry-after"), "5");
    gateway.close().await;
}

/// A gateway whose workflow has these nodes, which are never run.
async fn of_nodes(nodes: &Value) -> TestGateway {
    let mut setup = Setup::new().with_workflow("nodes", "node_mappings: {}\n", &nodes.to_string());
    setup.settings.runner.workflow = Some("nodes".into());
    setup.start().await
}

async fn with_image() -> TestGateway {
    image_setup().start().await
}

fn image_setup() -> Setup {
    let graph = json!({
        "1": { "class_type": "LoadImage", "inputs": { "image": "none.png" } },
        "2": { "class_type": "SaveImage", "inputs": { "images": ["1", 0], "filename_prefix": "x" } },
    });
    let mut setup = Setup::new().with_workflow("photo", "node_mappings: {}\n", &graph.to_string());
    setup.settings.runner.workflow = Some("photo".into());
    setup
}

/// Uploads a picture to ComfyUI itself.
async fn put(gateway: &TestGateway, name: &str) {
    let picture =
        std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images/dashboard/jobs.png")).unwrap();
    let part = reqwest::multipart::Part::bytes(picture).file_name(name.to_owned());
    let form = reqwest::multipart::Form::new().part("image", part);
    let client = crate::support::client().build().unwrap();
    let answer = client.post(format!("{}/upload/image", gateway.sim.url())).multipart(form).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

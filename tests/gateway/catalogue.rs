//! What clients are told of workflows: which there are, what they take, where they would run, and what is wrong with a
//! request before it is made.

use crate::keys::{OPERATOR, ask, make, with_keys};
use crate::support::{Answer, Setup, TestGateway, eventually};
use comfygate::sim::{Sim, SimOptions, SimRequest};
use serde_json::{Value, json};
use std::time::Duration;

const MODEL: &str = "v1-5-pruned-emaonly-fp16.safetensors";

fn with_models(models: &[&str]) -> Setup {
    let mut setup = Setup::new();
    setup.sim = SimOptions { models: Some(models.iter().map(|&model| model.to_owned()).collect()), ..setup.sim };
    setup
}

/// Waits until the gateway knows the nodes of all backends; returns what it says of a workflow.
async fn known(gateway: &TestGateway, name: &str) -> Value {
    eventually("the backend's nodes are known", async || {
        let workflow = gateway.get(&format!("/workflows/{name}")).await.json();
        workflow["checks"].as_array()?.iter().all(|check| !check["ok"].is_null()).then_some(workflow)
    })
    .await
}

fn kinds(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let place = |problem: &Value| {
        if problem["parameter"].is_null() { text(&problem["node"]) } else { text(&problem["parameter"]) }
    };
    answer["problems"].as_array().unwrap().iter().map(|problem| (place(problem), text(&problem["type"]))).collect()
}

#[actix_web::test]
async fn a_client_can_ask_whether_a_workflow_exists() {
    let gateway = TestGateway::start().await;
    let there = gateway.get("/workflows/starter").await;
    assert_eq!((there.status, there.json()["name"].as_str()), (200, Some("starter")));
    assert_eq!(gateway.head("/workflows/starter").await.status, 200);
    let absent = gateway.get("/workflows/startr").await;
    assert_eq!((absent.status, absent.code().as_str()), (404, "not_found"));
    assert_eq!(absent.json()["error"], "there is no workflow `startr`; did you mean `starter`?");
    assert_eq!(gateway.head("/workflows/startr").await.status, 404);
    assert_eq!(gateway.post("/workflows/startr/check", &json!({})).await.status, 404);
    gateway.close().await;
}

#[actix_web::test]
async fn all_workflows_are_listed_with_where_they_would_run_and_what_is_broken() {
    let setup = with_models(&[MODEL]).with_workflow("broken", "node_mappings: {", "{}");
    let gateway = setup.start().await;
    known(&gateway, "starter").await;
    let list = gateway.get("/workflows").await.json();
    let of = |name: &str| {
        let all = list["workflows"].as_array().unwrap();
        all.iter().find(|workflow| workflow["name"] == name).unwrap_or_else(|| panic!("no `{name}` in {list}")).clone()
    };
    let (starter, flux) = (of("starter"), of("flux"));
    assert_eq!((&starter["default"], &flux["default"]), (&json!(true), &json!(false)));
    assert!(starter["parameters"].as_array().unwrap().contains(&json!("steps")));
    assert_eq!(starter["revision"].as_str().unwrap().len(), 64);
    let check = |workflow: &Value| (workflow["checks"][0]["ok"].clone(), workflow["checks"][0]["errors"].clone());
    assert_eq!(check(&starter), (json!(true), json!(0)), "{starter}");
    assert_eq!(check(&flux), (json!(false), json!(1)), "the backend has not its model");
    assert_eq!(
        starter["checks"][0]["backend"].as_str(),
        gateway.get("/ready").await.json()["backends"][0]["name"].as_str()
    );
    assert_eq!(list["broken"][0]["name"], "broken");
    assert!(list["broken"][0]["problems"][0].as_str().unwrap().contains("broken.yaml"));
    gateway.close().await;
}

#[actix_web::test]
async fn the_schema_of_a_workflow_says_what_a_request_may_set() {
    let gateway = with_models(&[MODEL, "other.safetensors"]).start().await;
    known(&gateway, "starter").await;
    // The types are read again once the backend is known.
    let schema = eventually("the choices are there", async || {
        let schema = gateway.get("/workflows/starter").await.json()["schema"].clone();
        schema["properties"]["sampler"]["enum"].is_array().then_some(schema)
    })
    .await;
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!((&schema["type"], &schema["additionalProperties"]), (&json!("object"), &json!(false)));
    let property = |name: &str| schema["properties"][name].clone();
    assert_eq!((&property("prompt")["type"], &property("prompt")["format"]), (&json!("string"), &json!("textarea")));
    let steps = property("steps");
    assert_eq!((&steps["type"], &steps["minimum"], &steps["maximum"]), (&json!("integer"), &json!(1), &json!(150)));
    assert!(property("sampler")["enum"].as_array().unwrap().contains(&json!("euler")));
    assert_eq!(property("checkpoint")["enum"], json!([MODEL, "other.safetensors"]));
    assert_eq!((&property("seed")["format"], &property("seed")["minimum"]), (&json!("seed"), &json!(-1)));
    assert_eq!(property("width")["default"], 450);
    assert!(property("cfg")["step"].is_number(), "{schema}");
    gateway.close().await;
}

#[actix_web::test]
async fn an_answer_that_a_client_has_already_is_not_sent_again() {
    let gateway = TestGateway::start().await;
    known(&gateway, "canvas").await;
    for path in ["/workflows/canvas", "/workflows"] {
        let first = gateway.get(path).await;
        let tag = first.header("etag").to_owned();
        let again = gateway.get_with(path, &[("if-none-match", &tag)]).await;
        assert_eq!((again.status, again.bytes.len(), again.header("etag")), (304, 0, tag.as_str()), "{path}");
        assert_eq!(gateway.get_with(path, &[("if-none-match", "\"other\"")]).await.status, 200, "{path}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_dry_run_returns_the_finished_graph_and_stores_nothing() {
    let gateway = with_models(&[MODEL]).start().await;
    known(&gateway, "starter").await;
    let body = json!({ "prompt": "a hill", "seed": 7, "params": { "steps": 9 }, "metadata": { "order": 7 } });
    let answer = gateway.post("/workflows/starter/check", &body).await;
    assert_eq!(answer.status, 200);
    let told = answer.json();
    assert_eq!((&told["ok"], &told["problems"], &told["seed"]), (&json!(true), &json!([]), &json!(7)), "{told}");
    assert_eq!((&told["params"]["steps"], &told["params"]["prompt"]), (&json!(9), &json!("a hill")));
    let inputs: Vec<&Value> = told["graph"].as_object().unwrap().values().map(|node| &node["inputs"]).collect();
    assert!(inputs.iter().any(|inputs| inputs["steps"] == 9 && inputs["seed"] == 7));
    assert!(inputs.iter().any(|inputs| inputs["text"] == "a hill"));
    assert_eq!(gateway.get("/jobs").await.json()["jobs"], json!([]));
    assert!(!gateway.sim.requests().iter().any(SimRequest::is_prompt));
    gateway.close().await;
}

#[actix_web::test]
async fn a_dry_run_tells_every_fault_of_parameters_and_graph_at_once() {
    let gateway = with_models(&["other.safetensors"]).start().await;
    known(&gateway, "starter").await;
    let body =
        json!({ "prompt": " ", "promt": "y", "webhook_events": 5, "params": { "steps": 900, "sampler": "eulr" } });
    let told = gateway.post("/workflows/starter/check", &body).await.json();
    assert_eq!(told["ok"], false);
    let kinds = kinds(&told);
    let has = |place: &str, kind: &str| kinds.iter().any(|it| *it == (place.to_owned(), kind.to_owned()));
    assert!(has("-", "invalid_type"), "webhook_events: {kinds:?}");
    assert!(has("promt", "unknown_field") && has("steps", "out_of_range"), "{kinds:?}");
    let in_graph: Vec<&Value> =
        told["problems"].as_array().unwrap().iter().filter(|problem| problem["type"] == "value_not_in_list").collect();
    assert_eq!(in_graph.len(), 2, "the checkpoint and the sampler: {told}");
    assert!(in_graph.iter().any(|it| it["input"] == "sampler_name" && it["suggestion"] == "euler"), "{told}");
    assert!(in_graph.iter().all(|it| it["backends"].as_array().unwrap().len() == 1 && it["mend"].is_string()));
    gateway.close().await;
}

#[actix_web::test]
async fn what_a_backend_has_is_known_at_the_start_without_it() {
    let other = SimOptions { models: Some(vec![MODEL.to_owned()]), step: Duration::ZERO, ..SimOptions::default() };
    let other = Sim::start(other).await.unwrap();
    let gateway = with_models(&["other.safetensors"]).start_beside(&[other.url()], 2).await;
    let before = known(&gateway, "starter").await;
    assert_eq!((&before["checks"][0]["ok"], &before["checks"][1]["ok"]), (&json!(false), &json!(true)));
    other.stop().await;
    let gateway = gateway
        .restart_with(|settings| {
            // Nobody was ever there, so nothing is known of it.
            settings.backends.addresses.push("http://127.0.0.1:9".parse().unwrap());
        })
        .await;
    let workflow = gateway.get("/workflows/starter").await.json();
    assert_eq!(workflow["checks"][1], before["checks"][1]);
    assert_eq!((&workflow["checks"][2]["ok"], &workflow["checks"][2]["errors"]), (&json!(null), &json!(0)));
    gateway.close().await;
}

#[actix_web::test]
async fn a_backend_that_lacks_something_is_asked_again_before_that_is_said() {
    let (mut setup, clock) = Setup::with_manual_clock();
    setup.sim = SimOptions { models: Some(vec!["other.safetensors".to_owned()]), ..setup.sim };
    let gateway = setup.start().await;
    known(&gateway, "starter").await;
    let asked = || gateway.sim.requests().iter().filter(|request| request.path == "/object_info").count();
    assert_eq!(asked(), 1, "once, when its socket came up");
    let body = json!({ "prompt": "a hill" });
    let check = async || gateway.post("/workflows/starter/check", &body).await.json()["ok"].clone();
    assert_eq!((check().await, asked()), (json!(false), 1), "it was asked just now");
    clock.advance(Duration::from_secs(6));
    assert_eq!((check().await, asked()), (json!(false), 2));
    let good = json!({ "prompt": "a hill", "checkpoint": "other.safetensors" });
    clock.advance(Duration::from_secs(6));
    assert_eq!(gateway.post("/workflows/starter/check", &good).await.json()["ok"], true);
    assert_eq!(asked(), 2, "nothing was lacking");
    clock.advance(Duration::from_mins(5));
    eventually("it is asked every five minutes", async || (asked() == 3).then_some(())).await;
    gateway.close().await;
}

#[actix_web::test]
async fn a_model_that_comes_with_a_restart_of_the_backend_is_seen() {
    let options = |models: &[&str], addr| {
        let models = models.iter().map(|&model| model.to_owned()).collect();
        SimOptions { addr, models: Some(models), step: Duration::ZERO, ..SimOptions::default() }
    };
    let other = Sim::start(options(&["other.safetensors"], SimOptions::default().addr)).await.unwrap();
    let address = other.addr();
    let gateway = with_models(&[MODEL]).start_beside(&[other.url()], 2).await;
    assert_eq!(known(&gateway, "starter").await["checks"][1]["ok"], false);
    other.stop().await;
    let other = eventually("the port is free", async || Sim::start(options(&[MODEL], address)).await.ok()).await;
    eventually("the model is seen", async || {
        let workflow = gateway.get("/workflows/starter").await.json();
        (workflow["checks"][1]["ok"] == true).then_some(())
    })
    .await;
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn a_tenant_is_not_told_where_backends_are_nor_where_files_lie() {
    let gateway = with_keys().with_workflow("broken", "node_mappings: {", "{}").start().await;
    let (_, key) = make(&gateway, "a", &["submit", "read"]).await;
    let backend = gateway.sim.addr().to_string();
    known(&gateway, "starter").await;
    for (method, path) in [("GET", "/workflows"), ("GET", "/workflows/starter"), ("POST", "/workflows/starter/check")] {
        let body = if method == "POST" { json!({ "prompt": "x" }) } else { Value::Null };
        let theirs = ask(&gateway, &key, method, path, &body).await;
        let operators = ask(&gateway, OPERATOR, method, path, &body).await;
        let text = |answer: &Answer| String::from_utf8_lossy(&answer.bytes).into_owned();
        assert_eq!((theirs.status, operators.status), (200, 200), "{path}");
        assert!(text(&operators).contains(&backend), "{path}");
        assert!(
            !text(&theirs).contains(&backend) && !text(&theirs).contains("broken.yaml"),
            "{path}: {}",
            text(&theirs)
        );
        assert!(text(&theirs).contains("\"backend\":\"1\""), "{path}");
    }
    assert!(
        ask(&gateway, OPERATOR, "GET", "/workflows", &Value::Null).await.json()["broken"][0]["problems"].is_array()
    );
    let (_, reads) = make(&gateway, "a", &["read"]).await;
    assert_eq!(ask(&gateway, &reads, "POST", "/workflows/starter/check", &json!({})).await.code(), "scope_missing");
    let (_, submits) = make(&gateway, "a", &["submit"]).await;
    assert_eq!(ask(&gateway, &submits, "GET", "/workflows", &Value::Null).await.code(), "scope_missing");
    gateway.close().await;
}

/// A workflow as ComfyUI saves it: an empty image that is shown.
fn saved() -> Value {
    json!({
        "last_node_id": 2, "last_link_id": 1, "version": 0.4, "groups": [], "config": {}, "extra": {},
        "links": [[1, 1, 0, 2, 0, "IMAGE"]],
        "nodes": [
            { "id": 1, "type": "EmptyImage", "pos": [0, 0], "size": [200, 100], "flags": {}, "order": 0, "mode": 0,
              "inputs": [], "outputs": [{ "name": "IMAGE", "type": "IMAGE", "links": [1] }], "properties": {},
              "widgets_values": [64, 48, 1, 255] },
            { "id": 2, "type": "PreviewImage", "pos": [300, 0], "size": [200, 100], "flags": {}, "order": 1, "mode": 0,
              "inputs": [{ "name": "images", "type": "IMAGE", "link": 1 }], "outputs": [], "properties": {},
              "widgets_values": [] }
        ]
    })
}

#[actix_web::test]
async fn a_saved_workflow_becomes_a_graph() {
    let gateway = TestGateway::start().await;
    known(&gateway, "canvas").await;
    let answer = gateway.post("/convert", &saved()).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let graph = answer.json()["graph"].clone();
    assert_eq!((&graph["1"]["inputs"]["height"], &graph["2"]["inputs"]["images"]), (&json!(48), &json!(["1", 0])));
    assert_eq!(answer.json()["warnings"], json!([]));
    let again = gateway.post("/convert", &graph).await.json();
    assert_eq!(again["graph"], graph);
    assert!(again["warnings"][0].as_str().unwrap().contains("in API format already"));
    let backend = gateway.get("/ready").await.json()["backends"][0]["name"].as_str().unwrap().to_owned();
    assert_eq!(gateway.post(&format!("/convert?backend={backend}"), &saved()).await.json()["graph"], graph);
    let unknown = gateway.post("/convert?backend=elsewhere", &saved()).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (400, "not_allowed"));
    assert!(unknown.json()["error"].as_str().unwrap().contains(&backend));
    gateway.close().await;
}

/// A picture that carries a text, packed.
fn picture(name: &str, text: String) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.add_ztxt_chunk(name.to_owned(), text).unwrap();
    encoder.write_header().unwrap().write_image_data(&[1, 2, 3]).unwrap();
    bytes
}

#[actix_web::test]
async fn a_picture_gives_the_graph_that_it_carries_and_no_text_unfolds_past_the_limit_of_files() {
    let gateway = TestGateway::start().await;
    known(&gateway, "canvas").await;
    let is_png = [("content-type", "image/png")];
    let answer = gateway.post_raw_to("/convert", &is_png, picture("workflow", saved().to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let graph = answer.json()["graph"].clone();
    assert_eq!(graph["1"]["inputs"]["height"], 48);
    let answer = gateway.post_raw_to("/convert", &is_png, picture("prompt", graph.to_string())).await.json();
    assert_eq!(answer["graph"], graph);
    assert!(answer["warnings"][0].as_str().unwrap().contains("made the picture"), "{answer}");
    let fits = |more: usize| format!("{graph}{}", " ".repeat((8 << 20) - graph.to_string().len() + more));
    assert_eq!(gateway.post_raw_to("/convert", &is_png, picture("prompt", fits(0))).await.status, 200);
    let bomb = picture("prompt", fits(1));
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    let answer = gateway.post_raw_to("/convert", &is_png, bomb).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_json"));
    assert!(answer.json()["error"].as_str().unwrap().contains("more than 8388608 bytes"), "{}", answer.json());
    let jpeg = gateway.post_raw_to("/convert", &[("content-type", "image/jpeg")], "x").await;
    assert_eq!((jpeg.status, jpeg.code().as_str()), (415, "unsupported_media_type"));
    assert!(jpeg.json()["error"].as_str().unwrap().contains("application/json or image/png"));
    gateway.close().await;
}

#[actix_web::test]
async fn what_cannot_be_converted_is_told_with_its_node_and_how_to_mend_it() {
    let gateway = TestGateway::start().await;
    known(&gateway, "canvas").await;
    let mut strange = saved();
    strange["nodes"][0]["type"] = json!("EmptyImag");
    let answer = gateway.post("/convert", &strange).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "cannot_convert"));
    let told = answer.json();
    assert_eq!(told["details"], json!({ "reason": "unknown_class", "node": "1" }), "{told}");
    assert!(told["error"].as_str().unwrap().contains("EmptyImage"), "{told}");
    for (body, code) in
        [(json!([1]), "invalid_json"), (json!({}), "cannot_convert"), (json!({ "1": 5 }), "cannot_convert")]
    {
        let answer = gateway.post("/convert", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{body}");
    }
    let large = json!({ "nodes": [], "x": "y".repeat(9 << 20) });
    assert_eq!(gateway.post("/convert", &large).await.status, 413);
    // What is larger than a request may be is taken here, as a template may be.
    let fits = json!({ "1": { "class_type": "EmptyImage", "inputs": { "x": "y".repeat(2 << 20) } } });
    assert_eq!(gateway.post("/convert", &fits).await.status, 200);
    gateway.close().await;
}

#[actix_web::test]
async fn without_any_backend_nothing_is_converted_and_that_is_said() {
    let mut setup = Setup::new();
    setup.settings.backends.addresses = vec!["http://127.0.0.1:9".parse().unwrap()];
    let gateway = setup.start_alone().await;
    let answer = gateway.post("/convert", &saved()).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "nodes_unknown"));
    let told = gateway.post("/workflows/canvas/check", &json!({ "prompt": "x" })).await.json();
    assert_eq!((&told["ok"], &told["checks"][0]["ok"]), (&json!(true), &json!(null)), "nothing is known against it");
    gateway.close().await;
}

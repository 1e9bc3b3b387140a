//! The workflow in memory: where it comes from, which one it is, what its nodes are called, and when its template counts again.

use super::{last_graph, run, with_workflow};
use crate::support::{Setup, TestGateway, eventually, stderr, stdout};
use comfygate::settings::{FileChoice, Settings, Sources};
use comfygate::workflow::shipped;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

/// S0-01: an API-format workflow is loaded at the start and kept in memory; an edit changes what is in memory, and no file.
#[actix_web::test]
async fn the_workflow_is_in_memory_from_the_start_and_an_edit_changes_no_file() {
    let gateway = with_workflow("canvas").await;
    let template = gateway.folder().join("templates/canvas.json");
    let written = std::fs::read(&template).unwrap();
    let standing = gateway.get("/runner/status").await.json();
    assert_eq!(
        (&standing["state"], &standing["workflow"], &standing["edited"]),
        (&json!("idle"), &json!("canvas"), &json!(false))
    );
    run(&gateway).await;
    let shipped = shipped::PAIRS.iter().find(|pair| pair.name == "canvas").unwrap();
    assert_eq!(last_graph(&gateway), serde_json::from_str::<Value>(shipped.template).unwrap());

    let edit = gateway.post("/runner/update/text", &json!({ "node_id": "5", "text": "a hill" })).await;
    assert_eq!(edit.status, 200);
    assert_eq!(gateway.get("/runner/status").await.json()["edited"], json!(true));
    run(&gateway).await;
    assert_eq!(last_graph(&gateway)["5"]["inputs"]["value"], "a hill");
    assert_eq!(std::fs::read(&template).unwrap(), written);

    let reset = gateway.post("/runner/reset", &Value::Null).await;
    assert_eq!(reset.json()["message"], "the workflow `canvas` is as its template again");
    run(&gateway).await;
    assert_eq!(last_graph(&gateway)["5"]["inputs"]["value"], "a plain picture");
    gateway.close().await;
}

/// S0-02: one settings file names ComfyUI's address, the workflow, and the ports of calls and relay.
#[test]
fn one_file_sets_comfyuis_address_the_workflow_and_both_ports() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("comfygate.yaml");
    let text = "backends: {address: 'http://10.1.2.3:8188'}\nrunner:\n  workflow: canvas\n  address: 127.0.0.1:8189\n  ws_address: :8190\n";
    std::fs::write(&file, text).unwrap();
    let load = |env: Vec<(String, String)>| {
        let file = FileChoice::Required(file.clone());
        Settings::load(Sources { cli: BTreeMap::new(), env, dotenv: FileChoice::None, file })
    };
    let settings = load(Vec::new()).unwrap();
    assert_eq!(settings.backends.addresses[0].as_str(), "http://10.1.2.3:8188/");
    assert_eq!(settings.runner.workflow.as_deref(), Some("canvas"));
    assert_eq!(settings.runner.address, Some("127.0.0.1:8189".parse().unwrap()));
    assert_eq!(settings.runner.ws_address, Some("127.0.0.1:8190".parse().unwrap()));
    let env = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let taken = load(env("COMFYGATE_RUNNER_WS_ADDRESS", "127.0.0.1:8189")).unwrap_err().to_string();
    assert!(taken.contains("`COMFYGATE_RUNNER_WS_ADDRESS` and `COMFYGATE_RUNNER_ADDRESS` are both"), "{taken}");
    let mut open = env("COMFYGATE_RUNNER_ADDRESS", "0.0.0.0:8189");
    open.extend(env("COMFYGATE_KEYS", "off"));
    let open = load(open).unwrap_err().to_string();
    assert!(open.contains("`COMFYGATE_RUNNER_ADDRESS` is `0.0.0.0:8189`, which other machines can reach"), "{open}");
}

/// S0-03: node ids stand in the mapping and not in code: parameters and named sections give nodes names.
#[actix_web::test]
async fn nodes_have_names_in_the_mapping_and_in_its_sections() {
    let canvas = shipped::PAIRS.iter().find(|pair| pair.name == "canvas").unwrap();
    let sections = "node_mappings:\n  text_to_image: { positive: 5 }\n  img2img:\n    caption: { title: Prompt, property: value }\n";
    let config = canvas.config.replacen("node_mappings:\n", sections, 1);
    let mut setup = Setup::new().with_workflow("named", &config, canvas.template);
    setup.settings.runner.workflow = Some("named".into());
    setup.settings.runner.section = Some("text_to_image".into());
    let gateway = setup.start().await;
    for name in [
        json!("5"),
        json!(5),
        json!("positive"),
        json!("text_to_image.positive"),
        json!("img2img.caption"),
        json!("prompt"),
    ] {
        let answer = gateway.post("/runner/update/text", &json!({ "node_id": name, "text": "by name" })).await;
        let told = answer.json();
        assert_eq!((answer.status, &told["node_id"], &told["input"]), (200, &json!("5"), &json!("value")), "{told}");
    }
    let answer = gateway.post("/runner/update/text", &json!({ "node_id": "caption", "text": "x" })).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "unknown_node"), "only one section is the chosen one");
    let names = answer.json()["details"]["names"].to_string();
    assert!(names.contains("img2img.caption") && names.contains("text_to_image.positive"), "{names}");
    // The same workflow takes requests as before.
    assert_eq!(gateway.post("/generate", &json!({ "workflow": "named", "prompt": "x" })).await.status, 202);
    gateway.until_idle().await;
    gateway.close().await;
}

/// S0-04: several workflows, switched by a setting.
#[actix_web::test]
async fn which_workflow_it_is_is_a_setting() {
    let gateway = with_workflow("canvas").await;
    assert_eq!(gateway.get("/runner/status").await.json()["workflow"], "canvas");
    let gateway = gateway.restart_with(|settings| settings.runner.workflow = Some("canvas-files".into())).await;
    assert_eq!(gateway.get("/runner/status").await.json()["workflow"], "canvas-files");
    let gateway = gateway.restart_with(|settings| settings.runner.workflow = None).await;
    assert_eq!(
        gateway.get("/runner/status").await.json()["workflow"],
        "starter",
        "the default is that of all requests"
    );
    let gateway = gateway.restart_with(|settings| settings.runner.workflow = Some("nowhere".into())).await;
    let answer = gateway.get("/runner/queue").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "unknown_workflow"));
    gateway.close().await;
}

#[actix_web::test]
async fn a_changed_template_counts_at_once_where_nothing_was_changed_and_else_after_a_reset() {
    let gateway = with_workflow("canvas").await;
    let template = gateway.folder().join("templates/canvas.json");
    let change = |to: &str| {
        let text = std::fs::read_to_string(&template).unwrap();
        let mut graph: Value = serde_json::from_str(&text).unwrap();
        graph["5"]["inputs"]["value"] = json!(to);
        std::fs::write(&template, graph.to_string()).unwrap();
    };
    let revision = async || gateway.get("/runner/status").await.json()["revision"].clone();
    let before = revision().await;
    change("a new template");
    eventually("the new template is there", async || (revision().await != before).then_some(())).await;
    run(&gateway).await;
    assert_eq!(last_graph(&gateway)["5"]["inputs"]["value"], "a new template");

    gateway.post("/runner/update/text", &json!({ "node_id": 5, "text": "mine" })).await;
    let loaded = async || gateway.get("/workflows/canvas").await.json()["revision"].clone();
    let before = loaded().await;
    change("an even newer one");
    eventually("the even newer template is there", async || (loaded().await != before).then_some(())).await;
    run(&gateway).await;
    assert_eq!(last_graph(&gateway)["5"]["inputs"]["value"], "mine");
    gateway.post("/runner/reset", &Value::Null).await;
    run(&gateway).await;
    assert_eq!(last_graph(&gateway)["5"]["inputs"]["value"], "an even newer one");
    gateway.close().await;
}

#[actix_web::test]
async fn each_tenant_has_a_workflow_of_its_own() {
    let mut setup = Setup::new();
    setup.settings.runner.workflow = Some("canvas".into());
    let admin = "0123456789abcdefghijklmnopqrstuv";
    setup.settings.access.admin_key = Some(comfygate::secret::Secret::new(admin));
    let gateway = setup.start().await;
    let mut keys = Vec::new();
    for tenant in ["one", "other"] {
        let wish = json!({ "name": tenant, "tenant": tenant, "scopes": ["submit", "read"] });
        let made = gateway.post("/keys", &wish).await;
        keys.push(format!("Bearer {}", made.json()["key"].as_str().unwrap()));
    }
    let body = json!({ "node_id": 5, "text": "of one" }).to_string();
    let headers = [("content-type", "application/json"), ("authorization", keys[0].as_str())];
    let mut of_other = headers;
    of_other[1].1 = &keys[1];
    assert_eq!(gateway.post_raw_to("/runner/update/text", &headers, body).await.status, 200);
    let edited =
        async |key: &str| gateway.get_with("/runner/status", &[("authorization", key)]).await.json()["edited"].clone();
    assert_eq!((edited(&keys[0]).await, edited(&keys[1]).await), (json!(true), json!(false)));
    let told = gateway.get_with("/runner/queue", &of_other[1..]).await.json();
    assert_eq!(last_graph(&gateway)["5"]["inputs"]["value"], "a plain picture", "{told}");
    let job = format!("/jobs/{}", told["prompt_id"].as_str().unwrap());
    assert_eq!(gateway.get_with(&job, &headers[1..]).await.status, 404, "a run belongs to its tenant");
    gateway.close().await;
}

/// S0-05, and S0-19: at the start the log says which ComfyUI is reached, and which is not.
#[actix_web::test]
async fn the_start_tells_whether_comfyui_is_reached() {
    let gateway = TestGateway::start().await;
    for (comfyui, said) in [
        (gateway.sim.url(), "the remote control reaches ComfyUI"),
        ("http://127.0.0.1:9".to_owned(), "the remote control does not reach ComfyUI yet"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for kind in ["configs", "templates"] {
            std::os::unix::fs::symlink(gateway.folder().join(kind), folder.path().join(kind)).unwrap();
        }
        let program = crate::support::Program::serve(folder.path(), &comfyui, &[]).await;
        eventually(said, async || program.log().contains(said).then_some(())).await;
        assert!(program.log().contains("the remote control has its workflow in memory"), "{}", program.log());
        program.kill();
    }
    gateway.close().await;
}

#[test]
fn a_section_of_a_node_that_is_not_there_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["configs", "templates"] {
        std::fs::create_dir(folder.path().join(kind)).unwrap();
    }
    let canvas = shipped::PAIRS.iter().find(|pair| pair.name == "canvas").unwrap();
    std::fs::write(folder.path().join("configs/x.yaml"), "node_mappings:\n  a:\n    b: 99\n").unwrap();
    std::fs::write(folder.path().join("templates/x.json"), canvas.template).unwrap();
    let checked =
        Command::new(env!("CARGO_BIN_EXE_comfygate")).arg("check").current_dir(folder.path()).output().unwrap();
    let told = stdout(&checked) + &stderr(&checked);
    assert!(told.contains("configs/x.yaml:3: ") && told.contains("has no node `99`"), "{told}");

    std::fs::write(folder.path().join("configs/x.yaml"), "node_mappings:\n  a: { b: 5 }\n").unwrap();
    for (setting, said) in [
        ("runner_workflow=y", "COMFYGATE_RUNNER_WORKFLOW: there is no workflow `y`"),
        ("runner_section=c", "COMFYGATE_RUNNER_SECTION: the workflow `x` has no section `c`"),
        ("runner_section=a", "x: good"),
    ] {
        let mut check = Command::new(env!("CARGO_BIN_EXE_comfygate"));
        check.args(["check", "--workflow", "x", "--set", setting]).current_dir(folder.path());
        let checked = check.output().unwrap();
        assert!(stdout(&checked).contains(said), "{}{}", stdout(&checked), stderr(&checked));
        assert_eq!(checked.status.success(), setting == "runner_section=a");
    }
}

//! The file of backends, and `comfygate backends` and `comfygate queue` on the data folder of a running gateway.

use crate::backends::{encoded, executions, operated, sim, until_connected, until_gone, view};
use crate::support::{Inbox, Setup, canvas, eventually, stderr, stdout};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[actix_web::test]
async fn backends_of_a_file_run_jobs_under_their_names_and_are_not_removed() {
    let (one, other) = (sim().await, sim().await);
    let mut setup = operated();
    let text = format!(
        "- {{name: gpu-1, url: '{}', tags: [flux]}}\n- {{name: gpu-2, url: '{}', slots: 2, ahead: 0}}\n",
        one.url(),
        other.url()
    );
    setup.settings.backends.file = Some(written(&setup, &text));
    let gateway = setup.start_alone().await;
    for name in ["gpu-1", "gpu-2"] {
        until_connected(&gateway, name).await;
    }
    let all = gateway.get("/backends").await.json();
    assert_eq!(all["backends"].as_array().unwrap().len(), 2, "the default address is not among them");
    let first = &all["backends"][0];
    assert_eq!(json!([first["source"], first["tags"], first["ahead"]]), json!(["file", ["flux"], 1]));
    let refused = gateway.delete("/backends/gpu-1").await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "backend_is_configured"));
    assert_eq!(gateway.post("/backends/gpu-1/drain", &json!({})).await.status, 200);
    let inbox = Inbox::open();
    for _ in 0..2 {
        assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success");
    }
    assert_eq!((executions(&one), executions(&other)), (0, 2));
    let gateway = gateway.restart().await;
    assert_eq!(view(&gateway, "gpu-1").await["duty"], "draining");
    gateway.close().await;
    one.stop().await;
    other.stop().await;
}

#[actix_web::test]
async fn ways_that_cannot_be_gone_are_told_by_check_and_at_the_start_all_at_once() {
    let setup = Setup::new();
    let text = "- url: https://a\n  auth: {bearer: 'env:NO_SUCH_VARIABLE_AT_ALL'}\n  tls: {ca_file: /nowhere/ca.pem}\n\
                - url: https://b\n  auth: {headers: {Host: hunter2}}\n  proxy: socks5://u:hunter2@proxy\n\
                - url: http://c\n  auth:\n    oauth: {token_url: 'http://id.example/t', client_id: c, client_secret: hunter2}\n";
    let backends = written(&setup, text);
    let route = setup.folder.path().join("route.yaml");
    std::fs::write(&route, "auth: {headers: {Upgrade: hunter2}}\nproxy: https://u:hunter2@proxy\n").unwrap();
    let settings = [
        format!("COMFYGATE_BACKENDS_FILE={}", backends.display()),
        format!("COMFYUI_ROUTE_FILE={}", route.display()),
        "COMFYUI_ADDRESS=http://127.0.0.1:9".to_owned(),
    ];
    let set: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
    let folder = setup.folder.path().to_owned();
    let checked = run(&folder, &[&["check"][..], &set].concat()).await;
    let served = run(&folder, &[&["serve", "--address", "127.0.0.1:0"][..], &set].concat()).await;
    for (output, said) in [(&checked, stdout(&checked)), (&served, stderr(&served))] {
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        for (place, what) in [
            ("backends.yaml:2: ", "auth.bearer: the environment has no variable `NO_SUCH_VARIABLE_AT_ALL`"),
            ("backends.yaml:3: ", "tls.ca_file: `/nowhere/ca.pem` cannot be read"),
            ("backends.yaml:5: ", "auth.headers: `Host` is not for a definition"),
            ("backends.yaml:6: ", "proxy: it is socks5://"),
            ("backends.yaml:8: ", "auth.oauth.token_url: the client's secret"),
            ("route.yaml: ", "auth.headers: `Upgrade` is not for a definition"),
            ("route.yaml: ", "proxy: it is https://"),
        ] {
            let is_told = said.lines().any(|line| line.contains(place) && line.contains(what));
            assert!(is_told, "no {place}{what} in {said}");
        }
    }
}

#[actix_web::test]
async fn a_file_with_three_mistakes_tells_all_three_with_their_lines() {
    let setup = Setup::new();
    let file = written(&setup, "- url: ftp://gpu\n- url: http://a\n  slots: 0\n- url: http://b\n  colour: red\n");
    let setting = format!("COMFYGATE_BACKENDS_FILE={}", file.display());
    let folder = setup.folder.path().to_owned();
    let output = run(&folder, &["check", "--set", &setting]).await;
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let served = run(&folder, &["serve", "--address", "127.0.0.1:0", "--set", &setting]).await;
    assert_eq!(served.status.code(), Some(1));
    for said in [said, stderr(&served)] {
        for (line, what) in [(1, "http://"), (3, "from 1 to 64"), (5, "`colour`")] {
            let place = format!("backends.yaml:{line}: ");
            let told =
                said.lines().find(|told| told.contains(&place)).unwrap_or_else(|| panic!("no {place} in {said}"));
            assert!(told.contains(what), "{told}");
        }
    }
}

#[actix_web::test]
async fn what_is_said_on_the_command_line_takes_effect_in_a_running_gateway() {
    let gateway = operated().start().await;
    let (inbox, other) = (Inbox::open(), sim().await);
    let data = gateway.settings.storage.folder.clone();
    let said = command(&data, &["backends", "add", &other.url(), "--name", "gpu-2", "--tag", "flux"]).await;
    assert!(stdout(&said).contains("gpu-2 is added"), "{said:?}");
    assert_eq!(until_connected(&gateway, "gpu-2").await["tags"], json!(["flux"]));
    for wrong in [&["backends", "add", &other.url(), "--name", "gpu-3"][..], &["backends", "drain", "gpu-9"]] {
        assert_eq!(command(&data, wrong).await.status.code(), Some(1), "{wrong:?}");
    }
    let all: Value = serde_json::from_str(&stdout(&command(&data, &["backends", "list", "--json"]).await)).unwrap();
    let all = all["backends"].as_array().unwrap();
    let added = all.iter().find(|backend| backend["name"] == "gpu-2").unwrap();
    assert_eq!(json!([added["source"], added["duty"], added["url"]]), json!(["added", "serving", other.url()]));
    for (word, duty) in [("drain", "draining"), ("resume", "serving")] {
        assert!(command(&data, &["backends", word, "gpu-2"]).await.status.success());
        eventually(duty, async || (view(&gateway, "gpu-2").await["duty"] == *duty).then_some(())).await;
    }
    assert!(stdout(&command(&data, &["queue", "pause"]).await).starts_with("paused: 0 wait"));
    let paused = async |yes: bool| (gateway.get("/queue").await.json()["paused"] == json!(yes)).then_some(());
    eventually("it is paused", async || paused(true).await).await;
    let id = gateway.generate(&canvas(&inbox.url())).await;
    assert!(stdout(&command(&data, &["queue", "status"]).await).starts_with("paused: 1 wait"));
    assert!(stdout(&command(&data, &["queue", "resume"]).await).starts_with("open: "));
    assert_eq!(inbox.next().await.prompt_id(), id);
    assert!(command(&data, &["backends", "remove", "gpu-2", "--now"]).await.status.success());
    until_gone(&gateway, "gpu-2").await;
    assert_eq!(command(&data, &["backends", "remove", "gpu-2"]).await.status.code(), Some(1));
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn what_was_added_beside_no_gateway_is_there_when_one_begins() {
    let other = sim().await;
    let setup = operated();
    let data = setup.settings.storage.folder.clone();
    let file = written(&setup, &format!("- {{name: gpu/2, url: '{}'}}\n", other.url()));
    assert!(command(&data, &["backends", "add", "--from", file.to_str().unwrap()]).await.status.success());
    let gateway = setup.start().await;
    let view = until_connected(&gateway, "gpu/2").await;
    assert_eq!((&view["source"], encoded("gpu/2").as_str()), (&json!("added"), "gpu%2F2"));
    gateway.close().await;
    other.stop().await;
}

fn written(setup: &Setup, text: &str) -> PathBuf {
    let file = setup.folder.path().join("backends.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

async fn command(data: &Path, words: &[&str]) -> Output {
    let mut all = words.to_vec();
    let folder = data.parent().unwrap().to_owned();
    let data = data.to_str().unwrap().to_owned();
    all.extend(["--data", &data]);
    run(&folder, &all).await
}

async fn run(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
    command.current_dir(folder).args(words);
    actix_web::rt::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

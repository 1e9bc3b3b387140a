//! `comfygate serve --local`: a whole gateway whose ComfyUI is a process of its own, which dies, comes again, and ends with it.

use crate::local::{becomes_sim, home, ids, runs};
use crate::support::{Inbox, Program, Setup, canvas_files, eventually};
use comfygate::sim::{Sim, SimOptions};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Writes the id of the process, then becomes a simulator that takes its time.
fn slow_sim(step: &str) -> String {
    format!("echo $$ >> ids\n{}", becomes_sim().replace("0ms", step))
}

async fn serve(setup: &Setup, home: &TempDir, more: &[(&str, &str)]) -> Program {
    let home = home.path().to_str().unwrap();
    let usual = [("COMFYGATE_LOCAL", "true"), ("COMFYUI_HOME", home), ("COMFYUI_PYTHON", "sh")];
    let words: Vec<String> = usual.iter().chain(more).map(|(name, value)| format!("{name}={value}")).collect();
    let words: Vec<&str> = std::iter::once("env").chain(words.iter().map(String::as_str)).collect();
    Program::serve_behind(&words, setup.folder.path(), "http://127.0.0.1:9", &[]).await
}

async fn ready(program: &Program) -> Value {
    program.get("/ready").await.unwrap().1
}

async fn until_state(program: &Program, state: &str) -> Value {
    let look = async || Some(ready(program).await).filter(|ready| ready["local"]["state"] == state);
    eventually(&format!("the local ComfyUI is {state}"), look).await
}

async fn until_succeeded(program: &Program, id: &str) {
    let ended = async || {
        let (_, job) = program.get(&format!("/jobs/{id}")).await?;
        assert_ne!(job["status"], "failure", "{job}");
        (job["status"] == "success").then_some(())
    };
    eventually("the job has succeeded", ended).await;
}

async fn submit(program: &Program, inbox: &Inbox) -> String {
    let answer = program.post(&canvas_files(&inbox.url())).await.unwrap();
    assert_eq!(answer.status(), 202);
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    body["prompt_id"].as_str().unwrap().to_owned()
}

fn kill(id: &str) {
    assert!(Command::new("kill").args(["-KILL", id]).status().unwrap().success());
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The port at which ComfyUI is.
async fn port_of(program: &Program) -> u16 {
    let address = ready(program).await["local"]["address"].as_str().unwrap().to_owned();
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

async fn until_gone(id: &str) {
    eventually("ComfyUI has ended", async || (!runs(id)).then_some(())).await;
}

fn name_of(ready: &Value) -> String {
    assert_eq!(ready["backends"].as_array().unwrap().len(), 1, "{ready}");
    ready["backends"][0]["name"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn a_gateway_starts_its_own_comfyui_runs_a_job_and_ends_it() {
    let (setup, inbox) = (Setup::new(), Inbox::open());
    let home = home(&format!("env > environment\n{}", slow_sim("0ms")));
    let secrets = [
        ("COMFYGATE_ADMIN_KEY", "0123456789abcdefghijklmnopqrstuvwxyz"),
        ("COMFYUI_TOKEN", "a-token-for-others"),
        ("COMFY_ORG_API_KEY", "comfyui-operators-own"),
    ];
    let program = serve(&setup, &home, &secrets).await;
    let id = submit(&program, &inbox).await;
    until_succeeded(&program, &id).await;
    assert_eq!(inbox.next().await.body["status"], "success");
    let ready = until_state(&program, "running").await;
    assert_eq!((&ready["local"]["restarts"], &ready["local"]["error"]), (&json!(0), &Value::Null));
    assert_ne!(name_of(&ready), "http://127.0.0.1:9");
    let environment = std::fs::read_to_string(home.path().join("environment")).unwrap();
    assert!(environment.contains("COMFYGATE_LOCAL=true"), "{environment}");
    for (name, value) in secrets {
        assert!(!environment.contains(value), "ComfyUI was told {name}: {environment}");
    }
    let comfyui = ids(home.path(), 1).await.remove(0);
    assert!(runs(&comfyui));
    program.terminate();
    assert!(program.ended().await.success());
    assert!(!runs(&comfyui), "it outlives its gateway");
    assert!(setup.folder.path().join("data/comfyui.log").exists());
}

#[actix_web::test]
async fn a_job_survives_that_the_local_comfyui_dies_in_the_middle_of_it() {
    // Its first life would take for ever, so it surely dies before the job ends.
    let script = format!("if test -e ids; then step=0ms; else step=10m; fi\n{}", slow_sim("$step"));
    let (setup, inbox, home) = (Setup::new(), Inbox::open(), home(&script));
    let program = serve(&setup, &home, &[]).await;
    let id = submit(&program, &inbox).await;
    let is_running = async || {
        let (_, job) = program.get(&format!("/jobs/{id}")).await?;
        (job["status"] == "running").then_some(())
    };
    eventually("the job runs", is_running).await;
    let before = name_of(&until_state(&program, "running").await);
    kill(&ids(home.path(), 1).await[0]);
    until_succeeded(&program, &id).await;
    assert_eq!(inbox.next().await.body["status"], "success");
    let after = until_state(&program, "running").await;
    assert_eq!((name_of(&after), &after["local"]["restarts"]), (before, &json!(1)));
    assert!(after["local"]["error"].as_str().unwrap().contains("signal: 9"), "{after}");
    let log = program.log();
    assert!(log.contains("ComfyUI has ended and is started again"), "{log}");
    assert_eq!(ids(home.path(), 2).await.len(), 2);
}

#[actix_web::test]
async fn a_local_comfyui_that_does_not_start_is_tried_again_while_jobs_wait() {
    let (setup, inbox) = (Setup::new(), Inbox::open());
    let last = "Torch not compiled; https://models.example/a.bin?sig=hunter2 --api-token hunter2";
    let script = format!("test -e well || {{ echo '{last}' >&2; exit 7; }}\n{}", becomes_sim());
    let home = home(&script);
    let program = serve(&setup, &home, &[]).await;
    let id = submit(&program, &inbox).await;
    let waiting = async || {
        let ready = ready(&program).await;
        ready["local"]["restarts"].as_u64().filter(|restarts| *restarts > 0)?;
        ready["local"]["error"].as_str().map(str::to_owned)
    };
    let error = eventually("it was tried again", waiting).await;
    assert!(error.contains('7') && !error.contains("Torch"), "{error}");
    let log = program.log();
    assert!(log.contains("Torch not compiled; https://models.example/a.bin?*** --api-token ***"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    assert_eq!(program.get("/ready").await.unwrap().0, 503);
    std::fs::write(home.path().join("well"), "").unwrap();
    until_succeeded(&program, &id).await;
}

#[actix_web::test]
async fn a_local_comfyui_ends_with_a_gateway_that_is_killed_and_the_next_one_uses_the_same_port() {
    let (setup, home) = (Setup::new(), home(&slow_sim("0ms")));
    let program = serve(&setup, &home, &[]).await;
    until_state(&program, "running").await;
    let port = port_of(&program).await;
    let first = ids(home.path(), 1).await.remove(0);
    program.kill();
    until_gone(&first).await;
    let program = serve(&setup, &home, &[]).await;
    until_state(&program, "running").await;
    assert_eq!(port_of(&program).await, port);
    assert_ne!(ids(home.path(), 2).await[1], first);
}

#[actix_web::test]
async fn a_gateway_that_starts_right_after_a_kill_waits_for_the_port_of_the_comfyui_that_dies() {
    for said in [Some(free_port().to_string()), None] {
        // It does not hear that it is asked to end, and has the port until it is made to.
        let deaf = slow_sim("0ms").replace("exec ", "exec env --block-signal=TERM ");
        let (setup, home) = (Setup::new(), home(&deaf));
        let settings: Vec<(&str, &str)> = said.iter().map(|port| ("COMFY_PORT", port.as_str())).collect();
        let program = serve(&setup, &home, &settings).await;
        until_state(&program, "running").await;
        let (port, first) = (port_of(&program).await, ids(home.path(), 1).await.remove(0));
        program.kill();
        let program = serve(&setup, &home, &settings).await;
        let log = program.log();
        assert!(log.contains("waiting until the ComfyUI of the gateway before this one has ended"), "{log}");
        until_state(&program, "running").await;
        assert_eq!(port_of(&program).await, port);
        assert!(!runs(&first));
    }
}

#[actix_web::test]
async fn the_local_comfyui_keeps_its_name_whatever_its_port() {
    let (setup, home) = (Setup::new(), home(&slow_sim("0ms")));
    for _ in 0..2 {
        let port = free_port();
        let program = serve(&setup, &home, &[("COMFY_PORT", &port.to_string())]).await;
        let ready = until_state(&program, "running").await;
        assert_eq!(
            (name_of(&ready), &ready["local"]["address"]),
            ("local".into(), &json!(format!("http://127.0.0.1:{port}")))
        );
        program.terminate();
        assert!(program.ended().await.success());
    }
}

#[actix_web::test]
async fn no_job_goes_to_a_server_of_others_that_takes_the_port_of_a_comfyui_that_died() {
    let (setup, inbox, home) = (Setup::new(), Inbox::open(), home(&slow_sim("0ms")));
    let port = free_port();
    let program = serve(&setup, &home, &[("COMFY_PORT", &port.to_string())]).await;
    until_state(&program, "running").await;
    kill(&ids(home.path(), 1).await[0]);
    let options = SimOptions { addr: ([127, 0, 0, 1], port).into(), ..SimOptions::default() };
    let other = eventually("the port is free for others", async || Sim::start(options.clone()).await.ok()).await;
    let id = submit(&program, &inbox).await;
    let tried = async || {
        let ready = ready(&program).await;
        ready["local"]["restarts"].as_u64().filter(|restarts| *restarts >= 3)?;
        ready["local"]["error"].as_str().map(str::to_owned)
    };
    let error = eventually("it was tried again", tried).await;
    assert!(error.contains(&format!("port {port} is taken by another server (process")), "{error}");
    assert_eq!(other.connections(), 0);
    assert!(other.requests().iter().all(|request| request.method == "GET"), "{:?}", other.requests());
    other.stop().await;
    until_succeeded(&program, &id).await;
}

#[test]
fn what_the_local_comfyui_lacks_is_told_by_check() {
    let setup = Setup::new();
    let home = setup.folder.path().join("ComfyUI");
    let check = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
        command.arg("check").args(words).current_dir(setup.folder.path());
        for name in ["COMFYGATE_LOCAL", "COMFYUI_HOME", "COMFYUI_PYTHON"] {
            command.env_remove(name);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let words = ["--local", "--home", home.to_str().unwrap(), "--set", "COMFYUI_PYTHON=no-such-python"];
    let (code, text) = check(&words);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains(&format!("the local ComfyUI: there is no folder `{}`; COMFYUI_HOME", home.display())),
        "{text}"
    );
    let python = "the local ComfyUI: the Python `no-such-python` cannot be started: PATH leads to no such program; set COMFYUI_PYTHON";
    assert!(text.contains(python), "{text}");
    std::fs::create_dir(&home).unwrap();
    let (code, text) = check(&words);
    assert!(
        code == Some(1) && text.contains("has no main.py; COMFYUI_HOME must be") && text.contains(python),
        "{text}"
    );
    std::fs::write(home.join("main.py"), "").unwrap();
    std::fs::write(home.join("python"), "").unwrap();
    let python = format!("COMFYUI_PYTHON={}", home.join("python").display());
    let (code, text) = check(&["--local", "--home", home.to_str().unwrap(), "--set", &python]);
    assert!(code == Some(1) && text.contains("it is not executable"), "{text}");
    let (code, text) = check(&["--local", "--home", home.to_str().unwrap(), "--set", "COMFYUI_PYTHON=sh"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&format!("the local ComfyUI: good (sh in {})", home.display())), "{text}");
    let (code, text) = check(&[]);
    assert!(code == Some(0) && !text.contains("local ComfyUI"), "{text}");
}

#[actix_web::test]
async fn a_gateway_whose_own_comfyui_cannot_be_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("ComfyUI");
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
        command.args(["serve", "--address", "127.0.0.1:0"]).args(words).current_dir(folder.path());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let home_text = home.to_str().unwrap();
    let (code, text) = run(&["--local", "--home", home_text]);
    assert!(code == Some(1) && text.contains("there is no folder") && text.contains(home_text), "{code:?} {text}");
    std::fs::create_dir(&home).unwrap();
    let (code, text) = run(&["--local", "--home", home_text]);
    assert!(code == Some(1) && text.contains("has no main.py"), "{code:?} {text}");
    let (code, text) = run(&["--local"]);
    assert!(code == Some(1) && text.contains("COMFYUI_HOME"), "{code:?} {text}");
    let (code, text) = run(&["--home", home_text]);
    assert!(code == Some(2) && text.contains("--local"), "{code:?} {text}");
    assert!(!Path::new(&home).join("ids").exists());
}

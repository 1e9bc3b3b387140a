//! How runs end: failed, cancelled, lost, out of time.

use super::desk::{Desk, ended, objects, of, output, picture_desk, signal, stderr, stdout};
use crate::local;
use crate::support::eventually;
use comfygate::sim::{Fault, SimOptions, When};
use serde_json::{Value, json};
use std::time::Duration;

#[actix_web::test]
async fn a_run_that_fails_does_not_stop_the_others_unless_told_so() {
    let models = Some(vec!["m1".to_owned(), "m3".to_owned()]);
    let desk = Desk::with(SimOptions { models, ..SimOptions::default() }).await;
    let args =
        ["-w", "starter", "--frame-range", "1-3", "-p", "Checkpoint=m{frame}", "Steps=1", "width=64", "height=64"];
    // The server's own refusal is wanted.
    let (code, lines) = desk.run_json(&[&args[..], &["--no-check"]].concat()).await;
    assert_eq!(code, Some(1));
    let mut statuses: Vec<_> =
        of(&lines, "ended").iter().map(|it| (it["run"].as_u64(), it["status"].clone())).collect();
    statuses.sort_by_key(|(run, _)| *run);
    let expected = [(Some(1), json!("succeeded")), (Some(2), json!("failed")), (Some(3), json!("succeeded"))];
    assert_eq!(statuses, expected);
    let failed = of(&lines, "ended").into_iter().find(|ended| ended["run"] == 2).unwrap();
    assert_eq!((&failed["error"]["code"], &failed["error"]["node"]["id"]), (&json!("submission"), &json!("4")));
    assert!(failed["error"]["message"].as_str().unwrap().contains("m2"), "{failed}");
    let summary = of(&lines, "summary")[0];
    assert_eq!([&summary["runs"], &summary["succeeded"], &summary["failed"]], [&json!(3), &json!(2), &json!(1)]);

    let slow = Fault::Slow(Duration::from_millis(200));
    desk.sim.inject_when(slow, When::Every);
    let hasty = ["-w", "starter", "--batch", "20", "--fail-fast", "--no-check", "-p", "Checkpoint=m2"];
    let (code, lines) = desk.run_json(&hasty).await;
    let summary = of(&lines, "summary")[0];
    assert_eq!((code, &summary["runs"]), (Some(1), &json!(20)));
    assert!(summary["cancelled"].as_u64().unwrap() >= 16, "{summary}");
    desk.close().await;
}

#[actix_web::test]
async fn ctrl_c_cancels_what_was_begun_and_nothing_else() {
    let desk = Desk::with(SimOptions { step: Duration::from_millis(100), ..SimOptions::default() }).await;
    let graph: Value = serde_json::from_slice(&std::fs::read(desk.path("templates/canvas.json")).unwrap()).unwrap();
    let mut child = desk.spawn(&["-w", "templates/starter.json", "-p", "Steps=1000", "--batch", "6"]);
    desk.sim.wait_for(|sim| sim.executions().len() == 1 && sim.queued() == 2).await.unwrap();
    desk.post_as_another(&graph).await;

    signal(&child, "INT");
    let status = eventually("it ends", || std::future::ready(child.try_wait().unwrap())).await;
    assert_eq!(status.code(), Some(130));
    desk.sim.wait_for(|sim| sim.remembers("of-another") && sim.queued() == 0).await.unwrap();
    let begun = desk.sim.executions();
    assert_eq!(begun["of-another"], 1);
    assert_eq!(begun.len(), 2, "what waited was never begun: {begun:?}");
    assert!(!desk.path("output").read_dir().unwrap().any(|_| true), "nothing of it is kept");
    desk.close().await;
}

#[actix_web::test]
async fn a_lost_socket_and_a_restart_cost_nothing() {
    let desk = Desk::new().await;
    desk.sim.inject(Fault::CloseSocketAfter { event: "executing".into() });
    let files = ["-w", "canvas-files", "-p", "width=64", "height=64", "prompt=x"];
    let output = desk.run(&files).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let restart = Fault::Restart { at: Some("executing".into()), forget: true, down_for: Duration::from_millis(50) };
    desk.sim.inject(restart);
    let (code, lines) = desk.run_json(&files).await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert_eq!(of(&lines, "again").len(), 1, "{lines:?}");
    let ended = of(&lines, "ended")[0];
    assert_ne!(ended["prompt_id"], ended["id"], "the second run has another name on the server");
    assert_eq!(ended["prompt_id"], json!(desk.posted().last().unwrap().0));
    desk.close().await;
}

#[actix_web::test]
async fn a_limit_ends_a_run_that_takes_too_long() {
    let desk = Desk::with(SimOptions { step: Duration::from_millis(100), ..SimOptions::default() }).await;
    let (code, lines) =
        desk.run_json(&["-w", "templates/starter.json", "-p", "Steps=1000", "--timeout", "300ms"]).await;
    let ended = of(&lines, "ended")[0];
    assert_eq!((code, &ended["error"]["code"]), (Some(1), &json!("timeout_run")), "{ended}");
    desk.sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
    desk.close().await;
}

#[actix_web::test]
async fn a_local_comfyui_is_started_for_the_runs_and_ended_after_them() {
    let desk = Desk::new().await;
    let model = "--model v1-5-pruned-emaonly-fp16.safetensors";
    let home = local::home(&format!("echo $$ > pid; {} {model}", local::becomes_sim()));
    let mut command = desk.command(&["-w", "starter", "-p", "width=64", "height=64", "steps=1", "--mode", "local"]);
    command.env("COMFYUI_HOME", home.path()).env("COMFYUI_PYTHON", "sh");
    let told = output(command).await;
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    assert_eq!(stdout(&told), "output/starter-0001_1.png\n");
    let id = std::fs::read_to_string(home.path().join("pid")).unwrap();
    assert!(!local::runs(id.trim()), "it still runs");
    assert!(desk.sim.requests().is_empty());

    let none = output(desk.command(&["-w", "canvas", "--mode", "local", "--json"])).await;
    let line: Value = serde_json::from_str(&stdout(&none)).unwrap();
    assert_eq!((none.status.code(), &line["error"]["code"]), (Some(1), &json!("server_not_ready")));
    assert!(line["error"]["message"].as_str().unwrap().contains("COMFYUI_HOME"), "{line}");
    desk.close().await;
}

#[actix_web::test]
async fn a_picture_that_vanishes_after_the_check_fails_its_run_which_is_told() {
    for show in ["--json", "--quiet", "--timeout=1m"] {
        let frames: Vec<u64> = (1..=9).collect();
        let desk = picture_desk(&frames).await;
        let args = ["-w", "look.json", "--frame-range", "1-9", "-p", "Image=./in/shot_####.png", show];
        let child = desk.spawn_heard(&args);
        desk.sim.wait_for(|sim| !sim.executions().is_empty()).await.unwrap();
        std::fs::remove_file(desk.path("in/shot_0009.png")).unwrap();
        let told = ended(child).await;
        assert_eq!(told.status.code(), Some(1), "{told:?}");
        assert_eq!(desk.files("output").len(), 8);
        if show == "--json" {
            let lines = objects(&told);
            let of_run: Vec<&Value> = lines.iter().filter(|line| line["run"] == 9).collect();
            let [ended] = of_run.as_slice() else { panic!("one line tells of it: {of_run:?}") };
            assert_eq!((&ended["event"], &ended["name"]), (&json!("ended"), &json!("look-0009")));
            assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("validation")));
            assert_eq!(ended["error"]["details"][0]["code"], "no_such_file");
            let summary = of(&lines, "summary")[0];
            assert_eq!((&summary["succeeded"], &summary["failed"]), (&json!(8), &json!(1)));
        } else {
            let text = stderr(&told);
            assert!(text.contains("look-0009 failed after"), "{text}");
            assert!(text.contains("there is no file `./in/shot_0009.png`"), "{text}");
        }
        desk.close().await;
    }
}

#[actix_web::test]
async fn a_run_that_cannot_be_made_stops_the_others_with_fail_fast() {
    let frames: Vec<u64> = (1..=40).collect();
    let desk = picture_desk(&frames).await;
    let args = ["-w", "look.json", "--frame-range", "1-40", "-p", "Image=./in/shot_####.png", "--json", "--fail-fast"];
    let child = desk.spawn_heard(&args);
    desk.sim.wait_for(|sim| !sim.executions().is_empty()).await.unwrap();
    std::fs::remove_file(desk.path("in/shot_0010.png")).unwrap();
    let told = ended(child).await;
    let lines = objects(&told);
    let summary = of(&lines, "summary")[0];
    assert_eq!((told.status.code(), &summary["failed"]), (Some(1), &json!(1)), "{summary}");
    assert!(summary["cancelled"].as_u64().unwrap() >= 30, "{summary}");
    desk.close().await;
}

#[actix_web::test]
async fn ctrl_c_does_not_wait_long_for_a_server_that_is_gone() {
    let desk = Desk::with(SimOptions { step: Duration::from_millis(100), ..SimOptions::default() }).await;
    let child = desk.spawn_heard(&["-w", "templates/starter.json", "-p", "Steps=1000", "--json"]);
    desk.sim.wait_for(|sim| sim.executions().len() == 1).await.unwrap();
    desk.sim.inject(Fault::Restart { at: None, forget: true, down_for: Duration::from_mins(5) });
    signal(&child, "INT");
    // Three seconds for the server to come back, five to take back what was placed.
    let told = tokio::time::timeout(Duration::from_secs(16), ended(child)).await.expect("it ends soon");
    let lines = objects(&told);
    let end = of(&lines, "ended")[0];
    assert_eq!((told.status.code(), &end["error"]["code"]), (Some(130), &json!("connector")), "{end}");
    assert!(end["error"]["message"].as_str().unwrap().contains("it may still run there"), "{end}");
    desk.close().await;
}

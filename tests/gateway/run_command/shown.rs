//! What is shown meanwhile: JSON lines, plain lines, bars.

use super::desk::{Desk, of, output, stderr, stdout};
use comfygate::sim::SimOptions;
use serde_json::json;
use std::process::Command;
use std::time::Duration;

#[actix_web::test]
async fn json_lines_tell_every_step_by_names_that_do_not_change() {
    let models = Some(vec!["v1-5-pruned-emaonly-fp16.safetensors".to_owned()]);
    let step = Duration::from_millis(20);
    let desk = Desk::with(SimOptions { step, models, ..SimOptions::default() }).await;
    let args = ["-w", "templates/starter.json", "-p", "Steps=4", "Width=64", "Height=64", "Seed=5"];
    let (_, first) = desk.run_json(&args).await;
    let (code, lines) = desk.run_json(&[&args[..], &["Seed=6"]].concat()).await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(lines.iter().all(|line| line["timestamp"].is_string()));
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events[0], "accepted");
    assert_eq!(events[events.len() - 3..], ["output", "ended", "summary"]);
    for event in ["submitted", "started", "cached", "node", "progress"] {
        assert!(events.contains(&event), "{event}: {events:?}");
    }
    let of_run = lines.iter().filter(|line| line["event"] != "summary");
    assert!(of_run.clone().all(|line| line["run"] == 1 && line["name"] == "starter-0002" && line["id"].is_string()));
    assert_eq!(of(&first, "cached")[0]["nodes"], json!([]));
    assert_eq!(of(&lines, "cached")[0]["nodes"], json!(["4", "5", "6", "7"]), "only what hangs on the seed runs again");
    let sampler = json!({ "id": "3", "class": "KSampler", "title": "Sampler" });
    assert_eq!(of(&lines, "node")[0]["node"], sampler);
    let bars: Vec<_> = of(&lines, "progress").into_iter().filter(|line| line["node"] == "3").collect();
    assert!(bars.iter().any(|bar| bar["max"] == 4.0 && bar["value"].as_f64().unwrap() > 0.0), "{bars:?}");
    let fractions: Vec<f64> = of(&lines, "progress").iter().map(|line| line["fraction"].as_f64().unwrap()).collect();
    assert!(fractions.is_sorted() && fractions.last() == Some(&1.0), "{fractions:?}");
    let output = of(&lines, "output")[0];
    let bytes = desk.files("output").remove("starter-0002_1.png").unwrap();
    assert_eq!((&output["bytes"], &output["content_type"]), (&json!(bytes.len()), &json!("image/png")));
    let ended = of(&lines, "ended")[0];
    assert_eq!((&ended["status"], &ended["outputs"][0]["sha256"]), (&json!("succeeded"), &output["sha256"]));
    desk.close().await;
}

#[actix_web::test]
async fn where_nobody_looks_progress_is_a_few_plain_lines_and_none_with_quiet() {
    let desk = Desk::with(SimOptions { step: Duration::from_millis(10), ..SimOptions::default() }).await;
    let args = ["-w", "starter", "-p", "steps=150", "width=64", "height=64", "seed=5"];
    let output = desk.run(&args).await;
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:?}");
    let progress: Vec<&str> = text.lines().filter(|line| line.contains('%')).collect();
    // 150 steps take at least 1.5 seconds, and more where the machine is busy.
    assert!((2..=60).contains(&progress.len()), "{text}");
    assert!(progress.iter().any(|line| line.contains("KSampler \"Sampler\" ") && line.contains("/150, ")), "{text}");
    assert!(progress.iter().any(|line| line.ends_with("s left")), "{text}");
    assert!(text.contains("starter-0001: accepted, seed 5") && text.contains("starter-0001 succeeded in"), "{text}");
    let quiet = desk.run(&[&args[..], &["--quiet", "-p", "steps=2"]].concat()).await;
    assert_eq!((stdout(&quiet).as_str(), stderr(&quiet).as_str()), ("output/starter-0002_1.png\n", ""));
    desk.close().await;
}

#[cfg(target_os = "linux")]
#[actix_web::test]
async fn on_a_terminal_each_run_has_a_bar() {
    let desk = Desk::with(SimOptions { step: Duration::from_millis(10), ..SimOptions::default() }).await;
    let url = desk.sim.url();
    let words = format!(
        "'{}' run --url {url} -w starter -p steps=60 width=64 height=64 seed=5 --batch 2",
        env!("CARGO_BIN_EXE_comfygate")
    );
    let mut script = Command::new("script");
    script.args(["-qec", &words, "/dev/null"]).current_dir(desk.folder.path()).env("TMPDIR", desk.path("tmp"));
    let shown = output(script).await;
    let text = stdout(&shown);
    assert_eq!(shown.status.code(), Some(0), "{text}");
    assert!(text.contains("starter-0001 [") && text.contains("starter-0002 ["), "{text}");
    assert!(text.contains("##") && text.contains("KSampler") && text.contains("/60"), "{text}");
    assert!(text.contains("2 runs in") && text.contains("2 succeeded"), "{text}");
    desk.close().await;
}

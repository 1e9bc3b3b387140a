//! `comfygate run` as a process against the simulator: what it sends, what it keeps, what it says, how it ends.

use crate::local;
use crate::support::{PATIENCE, Setup, eventually};
use comfygate::sim::{Fault, Sim, SimOptions, When};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A folder with workflows in which the command is run, beside a simulator.
struct Desk {
    sim: Sim,
    folder: Arc<crate::own_folder::Folder>,
}

impl Desk {
    async fn new() -> Self {
        Self::with(SimOptions::default()).await
    }

    async fn with(options: SimOptions) -> Self {
        let folder = Setup::new().folder;
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        Self { sim: Sim::start(options).await.unwrap(), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        command(self.folder.path(), args)
    }

    /// Runs it against the simulator.
    async fn run(&self, args: &[&str]) -> Output {
        output(self.command(&[args, &["--url", &self.sim.url()]].concat())).await
    }

    /// Runs it and returns the objects of its lines.
    async fn run_json(&self, args: &[&str]) -> (Option<i32>, Vec<Value>) {
        let output = self.run(&[args, &["--json"]].concat()).await;
        let lines = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (output.status.code(), lines)
    }

    /// The graphs that were posted, by prompt id, in their order.
    fn posted(&self) -> Vec<(String, Value)> {
        let posts =
            self.sim.requests().into_iter().filter(|request| request.method == "POST" && request.path == "/prompt");
        let read = posts.map(|request| serde_json::from_slice::<Value>(&request.body).unwrap());
        read.map(|body| (body["prompt_id"].as_str().unwrap().to_owned(), body["prompt"].clone())).collect()
    }

    /// What is in a folder, by name.
    fn files(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.path(name)).unwrap().map(|entry| entry.unwrap());
        entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
    }

    /// Ends it; nothing may be left where the system has its temporary files.
    async fn close(self) {
        assert_eq!(self.files("tmp").keys().collect::<Vec<_>>(), Vec::<&String>::new());
        self.sim.stop().await;
    }
}

#[actix_web::test]
async fn outputs_are_byte_for_byte_what_the_server_made_and_nothing_is_overwritten() {
    let desk = Desk::new().await;
    for round in 1..=2 {
        let made_before = desk.sim.images().len();
        let output = desk.run(&["-w", "starter", "-p", "Steps=2", "width=64", "Height=64", "ImageCount=2"]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let names = [format!("starter-{round:04}_1.png"), format!("starter-{round:04}_2.png")];
        let paths: Vec<String> = names.iter().map(|name| format!("output/{name}")).collect();
        assert_eq!(stdout(&output).lines().collect::<Vec<_>>(), paths, "the paths and nothing else");
        let made = desk.sim.images().split_off(made_before);
        assert_eq!(made.len(), 2);
        let files = desk.files("output");
        for (name, made) in names.iter().zip(&made) {
            assert_eq!(files[name], made.bytes);
        }
        assert_eq!(files.len(), 2 * round);
    }
    let (prompt, _) = &desk.posted()[0];
    assert!(!desk.sim.remembers(prompt), "the history keeps graphs, which are not needed there any more");
    desk.close().await;
}

#[actix_web::test]
async fn a_picture_that_was_saved_is_run_again_by_the_graph_that_it_carries() {
    let desk = Desk::new().await;
    let first = desk.run(&["-w", "templates/canvas.json", "-p", "2.width=64", "Size.height=64", "--output", "4"]).await;
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let path = stdout(&first).trim().to_owned();
    let again = desk.run(&["-w", &path, "--output", "4"]).await;
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    let posted = desk.posted();
    assert_eq!((posted.len(), &posted[0].1), (2, &posted[1].1));
    for (name, bytes, reason) in [
        ("plain.png", &b"\x89PNG\r\n\x1a\n\0\0"[..], "it is a PNG that cannot be read"),
        ("page.json", b"<html>", "it is a web page, not JSON"),
        ("empty.json", b"", "it is empty; save the workflow again"),
        ("twice.json", br#"{"1": {"class_type": "A"}, "1": {"class_type": "A"}}"#, "`1` is written twice"),
    ] {
        std::fs::write(desk.path(name), bytes).unwrap();
        let told = desk.run(&["-w", name]).await;
        let said = stderr(&told);
        assert!(said.contains(reason) && said.contains(name), "{said}");
    }
    let told = desk.run(&["-w", "./templates"]).await;
    assert!(stderr(&told).contains("no such file"), "{told:?}");
    desk.close().await;
}

#[actix_web::test]
async fn files_of_save_nodes_are_fetched_and_named_after_the_output_that_was_wished() {
    let desk = Desk::new().await;
    let (code, lines) = desk
        .run_json(&[
            "-w",
            "templates/canvas.json",
            "-p",
            "2.width=64",
            "Size.height=64",
            "--output",
            "picture:4",
            "-o",
            "deep/out",
        ])
        .await;
    assert_eq!(code, Some(0), "{lines:?}");
    let made = desk.sim.images();
    let saved = made.iter().find(|image| image.node == "4").unwrap();
    assert_eq!(desk.files("deep/out"), BTreeMap::from([("canvas-0001_1.png".to_owned(), saved.bytes.to_vec())]));
    let output = of(&lines, "output")[0];
    assert_eq!((&output["alias"], &output["node"]), (&json!("picture"), &json!("4")));
    assert_eq!(output["path"], "deep/out/canvas-0001_1.png");
    let ended = of(&lines, "ended")[0];
    assert_eq!((&ended["prompt_id"], &ended["outputs"][0]["alias"]), (&json!(desk.posted()[0].0), &json!("picture")));
    desk.close().await;
}

#[actix_web::test]
async fn parameters_by_human_names_arrive_in_the_prompt() {
    let desk = Desk::new().await;
    std::fs::write(desk.path("more.json"), r#"{ "CFG": 3.5, "3.denoise": 0.5, "Steps": 99 }"#).unwrap();
    let words = ["Steps=3", "Seed=18446744073709551615", "PositivePrompt=a castle", "NegativePrompt=50"];
    let args = [&["-w", "templates/starter.json", "--params", "more.json", "-p"], &words[..]].concat();
    let more = ["-p", "Sampler=heun", "Width=64", "5.height=128", "-p", "Checkpoint.ckpt_name=other.safetensors"];
    let output = desk.run(&[&args[..], &more].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (_, graph) = &desk.posted()[0];
    let sampler = &graph["3"]["inputs"];
    assert_eq!((&sampler["steps"], &sampler["seed"]), (&json!(3), &json!(u64::MAX)), "-p goes before --params");
    assert_eq!((&sampler["cfg"], &sampler["denoise"]), (&json!(3.5), &json!(0.5)));
    assert_eq!(sampler["sampler_name"], "heun");
    assert_eq!((&graph["6"]["inputs"]["text"], &graph["7"]["inputs"]["text"]), (&json!("a castle"), &json!("50")));
    assert_eq!((&graph["5"]["inputs"]["width"], &graph["5"]["inputs"]["height"]), (&json!(64), &json!(128)));
    assert_eq!(graph["4"]["inputs"]["ckpt_name"], "other.safetensors");
    // All else stays as it was written.
    let template: Value = serde_json::from_slice(&std::fs::read(desk.path("templates/starter.json")).unwrap()).unwrap();
    assert_eq!(graph["3"]["inputs"]["scheduler"], template["3"]["inputs"]["scheduler"]);
    assert_eq!(graph["8"], template["8"]);
    desk.close().await;
}

#[actix_web::test]
async fn a_mapping_file_is_run_with_the_template_that_belongs_to_it() {
    let desk = Desk::new().await;
    let output = desk.run(&["-w", "configs/starter.yaml", "-p", "positive prompt=a hill", "Steps=2", "Batch=1"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (_, graph) = &desk.posted()[0];
    assert_eq!((&graph["6"]["inputs"]["text"], &graph["3"]["inputs"]["steps"]), (&json!("a hill"), &json!(2)));
    assert_eq!(graph["7"]["inputs"]["text"], "text, watermark, signature", "the mapping's default");
    desk.close().await;
}

#[actix_web::test]
async fn in_a_batch_a_given_seed_goes_up_by_one_and_another_is_drawn_each_time() {
    let desk = Desk::new().await;
    for workflow in ["starter", "templates/starter.json"] {
        let before = desk.posted().len();
        let args = ["-w", workflow, "--batch", "3", "-p", "Steps=1", "Width=64", "Height=64"];
        let (code, lines) = desk.run_json(&[&args[..], &["Seed=7"]].concat()).await;
        assert_eq!(code, Some(0), "{lines:?}");
        let (code, drawn) = desk.run_json(&args).await;
        assert_eq!(code, Some(0), "{drawn:?}");
        let posted: BTreeMap<String, Value> = desk.posted().split_off(before).into_iter().collect();
        // Two are under way at once, so they may reach the server in any order.
        let seed_of =
            |line: &&Value| posted[line["prompt_id"].as_str().unwrap()]["3"]["inputs"]["seed"].as_u64().unwrap();
        let seeds_of = |lines| by_run(of(lines, "submitted")).iter().map(seed_of).collect::<Vec<u64>>();
        let seeds = [seeds_of(&lines), seeds_of(&drawn)].concat();
        assert_eq!(seeds[..3], [7, 8, 9], "{workflow}");
        let mut others = seeds[3..].to_vec();
        others.sort_unstable();
        others.dedup();
        assert_eq!(others.len(), 3, "{workflow}: {others:?}");
        assert!(others.iter().all(|seed| *seed < 1 << 53 && *seed != 20261), "{workflow}: {others:?}");
        let accepted = [by_run(of(&lines, "accepted")), by_run(of(&drawn, "accepted"))].concat();
        for (accepted, seed) in accepted.iter().zip(&seeds) {
            let told: Vec<&Value> = accepted["seeds"].as_object().unwrap().values().collect();
            assert_eq!(told, [&json!(seed)], "the seed in force is told");
        }
    }
    desk.close().await;
}

#[actix_web::test]
async fn each_frame_of_a_range_stands_in_texts_and_in_the_names_of_outputs() {
    let desk = Desk::new().await;
    let args = [
        "-w",
        "templates/starter.json",
        "--frame-range",
        "8-12:2",
        "-p",
        "PositivePrompt=frame ####",
        "7.text={frame}",
    ];
    let output = desk.run(&[&args[..], &["Steps=1", "Width=64", "Height=64"]].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told =
        |graph: &Value| [&graph["6"], &graph["7"]].map(|node| node["inputs"]["text"].as_str().unwrap().to_owned());
    let mut texts: Vec<_> = desk.posted().iter().map(|(_, graph)| told(graph)).collect();
    texts.sort();
    assert_eq!(texts, [["frame 0008", "8"], ["frame 0010", "10"], ["frame 0012", "12"]]);
    let seeds: Vec<_> = desk.posted().iter().map(|(_, graph)| graph["3"]["inputs"]["seed"].clone()).collect();
    assert_eq!(seeds, [json!(20261), json!(20261), json!(20261)], "frames of one shot have one seed");
    let names: Vec<String> = desk.files("output").into_keys().collect();
    assert_eq!(names, ["starter-0008_1.png", "starter-0010_1.png", "starter-0012_1.png"]);

    let unused = desk.run(&["-w", "starter", "--frame-range", "1-3", "-p", "prompt=x"]).await;
    assert_eq!(unused.status.code(), Some(1));
    assert!(stderr(&unused).contains("write #### or {frame}"), "{unused:?}");
    desk.close().await;
}

#[actix_web::test]
async fn a_run_that_fails_does_not_stop_the_others_unless_told_so() {
    let models = Some(vec!["m1".to_owned(), "m3".to_owned()]);
    let desk = Desk::with(SimOptions { models, ..SimOptions::default() }).await;
    let args =
        ["-w", "starter", "--frame-range", "1-3", "-p", "Checkpoint=m{frame}", "Steps=1", "width=64", "height=64"];
    let (code, lines) = desk.run_json(&args).await;
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
    let hasty = ["-w", "starter", "--batch", "20", "--fail-fast", "-p", "Checkpoint=m2"];
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
    let others = json!({ "prompt": graph, "client_id": "other", "prompt_id": "of-another" });
    let post = reqwest::Client::builder().no_proxy().build().unwrap().post(format!("{}/prompt", desk.sim.url()));
    let answer = post.header("content-type", "application/json").body(others.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 200);

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
async fn a_server_that_is_not_there_is_told_and_nothing_waits_for_it() {
    let desk = Desk::new().await;
    let url = "http://127.0.0.1:1";
    let told = output(desk.command(&["-w", "starter", "--url", url, "--wait", "100ms", "--json"])).await;
    assert_eq!(told.status.code(), Some(1));
    let line: Value = serde_json::from_str(&stdout(&told)).unwrap();
    assert_eq!((&line["event"], &line["error"]["code"]), (&json!("error"), &json!("server_not_ready")));
    let message = line["error"]["message"].as_str().unwrap();
    assert!(message.contains(url) && message.contains("refused") && stderr(&told).contains(message), "{told:?}");
    desk.close().await;
}

#[actix_web::test]
async fn what_is_wrong_without_a_server_is_told_without_one_all_at_once() {
    let desk = Desk::new().await;
    let ask = async |args: &[&str]| {
        let output = output(desk.command(&[args, &["--url", "http://127.0.0.1:1"]].concat())).await;
        (output.status.code(), stderr(&output))
    };
    let wrong = ["-w", "templates/starter.json", "-p", "Stpes=3", "8.samples=1", "6.txt=x", "99.text=x", "Steps=many"];
    let (code, text) = ask(&wrong).await;
    assert_eq!(code, Some(1));
    for part in [
        "`Stpes`; did you mean `steps`?",
        "comes from node `3` by a link",
        "`6` (CLIPTextEncode) has no input `txt`; did you mean `text`?",
        "nothing called `99.text`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (code, text) = ask(&["-w", "templates/starter.json", "-p", "Steps=many"]).await;
    assert!(code == Some(1) && text.contains("`Steps` must be a number, not `many`"), "{text}");
    let (code, text) = ask(&["-w", "startr"]).await;
    assert!(code == Some(1) && text.contains("did you mean `starter`?"), "{text}");
    let (code, text) = ask(&["-w", "starter", "-p", "steps=900"]).await;
    assert!(code == Some(1) && text.contains("900 is outside 1..=150"), "{text}");
    for wrong in [&["-w", "starter", "-p", "steps"][..], &["-p", "steps=1"], &["-w", "x", "--frame-range", "9-1"]] {
        assert_eq!(ask(wrong).await.0, Some(2), "{wrong:?}");
    }
    desk.close().await;
}

#[actix_web::test]
async fn a_graph_that_the_server_cannot_run_is_refused_before_anything_is_sent() {
    let desk = Desk::new().await;
    let template = std::fs::read_to_string(desk.path("templates/starter.json")).unwrap();
    std::fs::write(desk.path("odd.json"), template.replace("VAEDecode\"", "VAEDecoder\"")).unwrap();
    let (code, lines) = desk.run_json(&["-w", "odd.json", "-p", "Steps=0"]).await;
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    let details = lines[0]["error"]["details"].as_array().unwrap();
    let codes = details.iter().map(|fault| (fault["code"].as_str().unwrap(), fault["subject"].as_str().unwrap()));
    let mut codes: Vec<_> = codes.collect();
    codes.sort_unstable();
    assert_eq!(codes, [("missing_node_type", "8"), ("value_smaller_than_min", "3.steps")], "{lines:?}");
    assert!(desk.posted().is_empty());

    let (code, lines) = desk.run_json(&["-w", "odd.json", "--no-check"]).await;
    let ended = of(&lines, "ended")[0];
    assert_eq!((code, &ended["error"]["code"]), (Some(1), &json!("submission")), "{ended}");
    assert_eq!(desk.posted().len(), 1, "the server was asked");
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
    let home = local::home(&format!("echo $$ > pid; {}", local::becomes_sim()));
    let mut command = desk.command(&["-w", "canvas", "-p", "width=64", "height=64", "prompt=x", "--mode", "local"]);
    command.env("COMFYUI_HOME", home.path()).env("COMFYUI_PYTHON", "sh");
    let told = output(command).await;
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    assert_eq!(stdout(&told), "output/canvas-0001_1.png\n");
    let id = std::fs::read_to_string(home.path().join("pid")).unwrap();
    assert!(!local::runs(id.trim()), "it still runs");
    assert!(desk.sim.requests().is_empty());

    let none = output(desk.command(&["-w", "canvas", "--mode", "local", "--json"])).await;
    let line: Value = serde_json::from_str(&stdout(&none)).unwrap();
    assert_eq!((none.status.code(), &line["error"]["code"]), (Some(1), &json!("server_not_ready")));
    assert!(line["error"]["message"].as_str().unwrap().contains("COMFYUI_HOME"), "{line}");
    desk.close().await;
}

impl Desk {
    /// Starts it and does not wait.
    fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(&[args, &["--url", &self.sim.url()]].concat());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
    command.arg("run").args(args).current_dir(folder).env("TMPDIR", folder.join("tmp")).stdin(Stdio::null());
    for name in ["COMFYUI_ADDRESS", "COMFYUI_HOME", "COMFYGATE_LOG"] {
        command.env_remove(name);
    }
    command
}

async fn output(mut command: Command) -> Output {
    let run = actix_web::rt::task::spawn_blocking(move || command.output().unwrap());
    tokio::time::timeout(PATIENCE, run).await.expect("the command ends").unwrap()
}

fn by_run(mut lines: Vec<&Value>) -> Vec<&Value> {
    lines.sort_by_key(|line| line["run"].as_u64());
    lines
}

fn of<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

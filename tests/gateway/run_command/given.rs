//! What is run: workflows, parameters, batches, frames, and what is kept of it.

use super::desk::{Desk, by_run, of, output, stderr, stdout};
use comfygate::sim::Fault;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

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
async fn a_run_that_is_over_before_its_submission_is_answered_is_told_as_submitted_all_the_same() {
    let desk = Desk::new().await;
    desk.sim.inject(Fault::SlowAnswer(Duration::from_secs(3)));
    let args = ["-w", "starter", "-p", "Steps=1", "Width=64", "Height=64"];
    let (code, lines) = desk.run_json(&args).await;
    assert_eq!(code, Some(0), "{lines:?}");
    let told = lines.iter().filter_map(|line| line["event"].as_str());
    let told: Vec<&str> = told.filter(|event| ["submitted", "started"].contains(event)).collect();
    assert_eq!(told, ["submitted", "started"]);
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
async fn a_workflow_as_comfyui_saves_it_is_converted_and_what_is_odd_about_it_is_told() {
    let desk = Desk::new().await;
    let saved = json!({
        "nodes": [
            { "id": 1, "type": "EmptyImage", "mode": 0, "order": 0, "inputs": [], "properties": {},
              "outputs": [{ "name": "IMAGE", "type": "IMAGE", "links": [1] }], "widgets_values": [64, 32, 1, 7] },
            { "id": 2, "type": "SaveImage", "mode": 0, "order": 1, "outputs": [], "properties": {},
              "inputs": [{ "name": "images", "type": "IMAGE", "link": 1 }], "widgets_values": ["day_%date:yy%"] },
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]],
        "version": 0.4,
    });
    std::fs::write(desk.path("saved.json"), saved.to_string()).unwrap();
    for more in [&[][..], &["--no-check"]] {
        let before = desk.posted().len();
        let told = desk.run(&[&["-w", "saved.json", "-p", "1.width=48"], more].concat()).await;
        assert_eq!(told.status.code(), Some(0), "{told:?}");
        let (_, graph) = &desk.posted()[before];
        let size = [&graph["1"]["inputs"]["width"], &graph["1"]["inputs"]["height"]];
        assert_eq!((size, &graph["2"]["inputs"]["images"]), ([&json!(48), &json!(32)], &json!(["1", 0])));
        assert_eq!(stderr(&told).matches("for which the server has no words").count(), 1, "{told:?}");
    }
    desk.close().await;
}

#[actix_web::test]
async fn what_is_taken_of_a_picture_is_told_once_however_large_its_pixels_are() {
    let desk = Desk::new().await;
    let first = desk.run(&["-w", "templates/canvas.json", "-p", "2.width=64", "Size.height=64", "--output", "4"]).await;
    let picture = stdout(&first).trim().to_owned();
    let file = std::fs::File::options().write(true).open(desk.path(&picture)).unwrap();
    // More than any limit for a file; on the disk there is nothing of it.
    file.set_len(300 << 20).unwrap();
    let note = format!("note: taken from `{picture}`: the graph that made the picture, which it carries");
    for more in [&[][..], &["--no-check"]] {
        let told = desk.run(&[&["-w", &picture, "--output", "4"], more].concat()).await;
        assert_eq!(told.status.code(), Some(0), "{told:?}");
        assert_eq!(stderr(&told).matches(&note).count(), 1, "{told:?}");
    }
    for args in [&["convert", &*picture][..], &["validate", "-w", &picture]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
        command.args(args).current_dir(desk.folder.path());
        let told = output(command).await;
        assert_eq!(told.status.code(), Some(0), "{told:?}");
        assert_eq!(stderr(&told).matches(&note).count(), 1, "{told:?}");
    }
    desk.close().await;
}

#[actix_web::test]
async fn a_workflow_whose_template_waits_for_the_servers_nodes_is_found_by_all_its_names() {
    let desk = Desk::new().await;
    let saved = |width: u64| {
        json!({
            "nodes": [
                { "id": 1, "type": "EmptyImage", "mode": 0, "order": 0, "inputs": [], "properties": {},
                  "outputs": [{ "name": "IMAGE", "type": "IMAGE", "links": [1] }], "widgets_values": [width, 32, 1, 7] },
                { "id": 2, "type": "SaveImage", "mode": 0, "order": 1, "outputs": [], "properties": {},
                  "inputs": [{ "name": "images", "type": "IMAGE", "link": 1 }], "widgets_values": ["x"] },
            ],
            "links": [[1, 1, 0, 2, 0, "IMAGE"]],
            "version": 0.4,
        })
    };
    let graph = json!({
        "1": { "class_type": "EmptyImage", "inputs": { "width": 16, "height": 32, "batch_size": 1, "color": 7 } },
        "2": { "class_type": "SaveImage", "inputs": { "images": ["1", 0], "filename_prefix": "x" } },
    });
    let mapping = "node_mappings:\n  height: { node_id: '1', property: height }\n";
    for (name, text) in [("drawn", saved(24)), ("two@1", graph), ("two@2", saved(48)), ("base", saved(40))] {
        std::fs::write(desk.path(&format!("templates/{name}.json")), text.to_string()).unwrap();
    }
    for (name, more) in
        [("drawn", "aliases: [d]\n"), ("two@1", ""), ("two@2", ""), ("sharing", "template: base.json\n")]
    {
        std::fs::write(desk.path(&format!("configs/{name}.yaml")), format!("{mapping}{more}")).unwrap();
    }
    for (name, width) in [("d", 24), ("two", 48), ("sharing", 40), ("two@1", 16)] {
        for more in [&[][..], &["--no-check"]] {
            let before = desk.posted().len();
            let told = desk.run(&[&["-w", name], more].concat()).await;
            assert_eq!(told.status.code(), Some(0), "{name}: {told:?}");
            assert_eq!(desk.posted()[before].1["1"]["inputs"]["width"], json!(width), "{name}");
        }
    }
    desk.close().await;
}

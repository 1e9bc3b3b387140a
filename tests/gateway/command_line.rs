//! `comfygate deliveries` against a running gateway: what it writes, what it does, and what its exit code says.

use crate::deliveries::{impatient, log_of, until};
use crate::support::{Inbox, TestGateway, canvas, stderr, stdout};
use serde_json::{Value, json};
use std::process::{Command, Output};

#[actix_web::test]
async fn the_command_line_lists_shows_and_replays() {
    let gateway = impatient().await;
    let inbox = Inbox::open();
    inbox.answer_with(&[500; 6]);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(gateway.generate(&canvas(&inbox.url())).await);
    }
    for id in &ids {
        until(&gateway, id, "undeliverable").await;
    }
    inbox.rest();
    let url = gateway.url("");
    let ask = async |args: &[&str]| {
        let args = [&["deliveries"], args, &["--url", &url]].concat();
        run(&args).await
    };

    let listed = ask(&["list", "--state", "undeliverable"]).await;
    let text = stdout(&listed);
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    assert!(text.starts_with("JOB  "), "{text}");
    assert!(ids.iter().all(|id| text.lines().any(|line| line.starts_with(id) && line.contains("  500  "))), "{text}");
    assert_eq!(stdout(&ask(&["list", "--limit", "2"]).await).lines().count(), 3);
    let as_json: Value = serde_json::from_str(&stdout(&ask(&["list", "--limit", "2", "--json"]).await)).unwrap();
    assert_eq!(as_json["deliveries"].as_array().unwrap().len(), 2);

    let webhook_id = format!("msg_{}", ids[0].replace('-', ""));
    for name in [&ids[0], &webhook_id] {
        let shown = stdout(&ask(&["show", name]).await);
        assert!(shown.contains(&webhook_id) && shown.contains("undeliverable since"), "{shown}");
        assert_eq!(shown.lines().filter(|line| line.contains("server_error")).count(), 2, "{shown}");
    }
    let shown: Value = serde_json::from_str(&stdout(&ask(&["show", &ids[0], "--json"]).await)).unwrap();
    assert_eq!(shown, log_of(&gateway, &ids[0]).await);

    let one = ask(&["replay", &ids[0]]).await;
    assert_eq!((one.status.code(), stdout(&one)), (Some(0), format!("{} was undeliverable and is due now\n", ids[0])));
    assert_eq!(inbox.next().await.prompt_id(), ids[0]);
    let rest = ask(&["replay", "--all", "--host", &inbox.address().to_string()]).await;
    assert_eq!((rest.status.code(), stdout(&rest)), (Some(0), "2 due now\n".into()));
    let mut told = [inbox.next().await.prompt_id().to_owned(), inbox.next().await.prompt_id().to_owned()];
    told.sort();
    assert_eq!(told, ids[1..]);
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn the_command_line_says_by_its_exit_code_what_went_wrong() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let id = gateway.generate(&canvas(&inbox.url())).await;
    inbox.next().await;
    until(&gateway, &id, "delivered").await;
    let url = gateway.url("");
    let unknown = "01a1fd34-54c0-7915-a1d8-17a2ff775af0";

    // One that cannot be sent again keeps none of the others back.
    let some = run(&["deliveries", "replay", unknown, &id, "--url", &url]).await;
    assert_eq!((some.status.code(), stdout(&some)), (Some(1), format!("{id} was delivered and is due now\n")));
    assert!(stderr(&some).contains(unknown), "{some:?}");
    inbox.next().await;
    let some = run(&["deliveries", "replay", unknown, "--url", &url, "--json"]).await;
    let answers: Value = serde_json::from_str(&stdout(&some)).unwrap();
    assert_eq!((some.status.code(), &answers["replays"][0]["code"]), (Some(1), &json!("not_found")));

    let refused = run(&["deliveries", "replay", "--all", "--state", "delivered", "--url", &url]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("since is missing"), "{refused:?}");
    let stranger = run(&["deliveries", "list", "--url", &inbox.url()]).await;
    assert_eq!(stranger.status.code(), Some(1));
    assert!(stderr(&stranger).contains("is no comfygate"), "{stranger:?}");
    for wrong in [
        &["deliveries", "replay"][..],
        &["deliveries", "replay", "x"],
        &["deliveries", "replay", &id, "--all"],
        &["deliveries", "replay", &id, "--host", "a"],
        &["deliveries", "list", "--state", "lost"],
        &["deliveries", "list", "--limit", "0"],
    ] {
        assert_eq!(run(wrong).await.status.code(), Some(2), "{wrong:?}");
    }
    gateway.close().await;
    let nobody = run(&["deliveries", "list", "--url", &url]).await;
    assert_eq!(nobody.status.code(), Some(3), "{nobody:?}");
    let text = stderr(&nobody);
    assert!(text.contains(&url) && text.contains("refused") && text.contains("--url"), "{text}");
}

#[actix_web::test]
async fn the_command_line_finds_the_gateway_by_the_settings() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let id = gateway.generate(&canvas(&inbox.url())).await;
    inbox.next().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), format!("COMFYGATE_ADDRESS={}\n", gateway.address())).unwrap();
    let folder = folder.path().to_owned();
    let listed = actix_web::rt::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
        command.args(["deliveries", "list"]).current_dir(folder).env_remove("COMFYGATE_ADDRESS").output().unwrap()
    });
    let listed = listed.await.unwrap();
    assert!(stdout(&listed).contains(&id), "{listed:?}");
    gateway.close().await;
}

async fn run(args: &[&str]) -> Output {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let run = move || Command::new(env!("CARGO_BIN_EXE_comfygate")).args(args).output().unwrap();
    actix_web::rt::task::spawn_blocking(run).await.unwrap()
}

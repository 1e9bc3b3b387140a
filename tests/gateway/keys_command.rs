//! `comfygate keys` on the data folder of a running gateway and of none, and keys on the command line of other commands.

use crate::keys::{OPERATOR, ask, with_keys};
use crate::support::{Inbox, Program, Setup, canvas, client, eventually, stderr, stdout};
use comfygate::settings::KeyMode;
use comfygate::sim::{Sim, SimOptions};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use tokio::time::Instant;

#[actix_web::test]
async fn a_key_made_beside_a_running_gateway_works_at_once_and_a_revoked_one_ends_within_seconds() {
    let gateway = with_keys().start().await;
    let data = gateway.settings.storage.folder.clone();
    let made = keys(
        &data,
        &[
            "create",
            "--name",
            "shop",
            "--tenant",
            "shop",
            "--scopes",
            "submit,read",
            "--expires",
            "90days",
            "--rate",
            "2/s",
            "--json",
        ],
    )
    .await;
    let made: Value = serde_json::from_str(&stdout(&made)).unwrap();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!((&made["tenant"], &made["limits"]), (&json!("shop"), &json!({ "per_minute": 120 })));
    let answer = ask(&gateway, key, "POST", "/generate", &canvas("")).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    let job = answer.json()["prompt_id"].as_str().unwrap().to_owned();
    assert_eq!(gateway.job(&job).await["tenant"], "shop");

    let secret = key.rsplit('_').next().unwrap();
    let used = async || {
        let listed = keys(&data, &["list", "--json"]).await;
        let listed: Value = serde_json::from_str(&stdout(&listed)).unwrap();
        assert_eq!(listed["keys"][0]["id"], *id);
        listed["keys"][0]["last_used_at"].is_string().then_some(())
    };
    eventually("its last use is noted", used).await;
    let text = stdout(&keys(&data, &["list"]).await);
    assert!(text.contains(id) && text.contains("good") && !text.contains(secret), "{text}");

    let begun = Instant::now();
    let revoked = keys(&data, &["revoke", id]).await;
    // A machine on which the command is slow may take longer for the rest too.
    let slowness = begun.elapsed() * 10;
    assert!(revoked.status.success(), "{revoked:?}");
    let since = Instant::now();
    let refused = async || (ask(&gateway, key, "GET", "/jobs", &Value::Null).await.status == 401).then_some(());
    eventually("it is refused", refused).await;
    assert!(since.elapsed() < Duration::from_secs(5) + slowness, "{:?}", since.elapsed());
    assert!(stdout(&keys(&data, &["list"]).await).contains("revoked"));
    gateway.until_idle().await;
    gateway.close().await;
}

#[actix_web::test]
async fn keys_are_made_while_jobs_are_taken_in_and_nothing_is_lost() {
    let gateway = with_keys().start().await;
    let data = gateway.settings.storage.folder.clone();
    let making = async {
        for number in 0..5 {
            let made = keys(&data, &["create", "--name", &format!("number {number}")]).await;
            assert!(made.status.success(), "{made:?}");
        }
    };
    let submitting = async {
        for _ in 0..60 {
            assert_eq!(gateway.post("/generate", &canvas("")).await.status, 202);
        }
    };
    tokio::join!(making, submitting);
    assert_eq!(gateway.get("/jobs?limit=200").await.json()["jobs"].as_array().unwrap().len(), 60);
    assert_eq!(gateway.get("/keys").await.json()["keys"].as_array().unwrap().len(), 5);
    gateway.until_idle().await;
    gateway.close().await;
}

#[actix_web::test]
async fn keys_are_made_where_no_gateway_has_been_yet() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert_eq!(stdout(&keys(&data, &["list"]).await).lines().count(), 1);
    let made = keys(&data, &["create", "--name", "first", "--scopes", "admin"]).await;
    let text = stdout(&made);
    let key = text.lines().find_map(|line| line.strip_prefix("key      ")).unwrap();
    assert!(key.starts_with("cg_") && text.contains("not shown again"), "{text}");
    let mut setup = Setup::new();
    setup.settings.access.keys = KeyMode::Required;
    setup.settings.storage.folder = data;
    let gateway = setup.start().await;
    assert_eq!(ask(&gateway, key, "GET", "/keys", &Value::Null).await.status, 200);
    assert_eq!(ask(&gateway, "", "GET", "/keys", &Value::Null).await.status, 401);
    // It asks for keys itself, so that its helpers would be refused.
    drop(gateway);
}

#[actix_web::test]
async fn a_slip_on_the_command_line_is_told_and_a_key_in_the_wrong_place_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let whole = "cg_abcdefghijkl_hunter2hunter2hunter2";
    for (args, code, told) in [
        (&["create"][..], 2, "--name"),
        (&["create", "--name", ""], 2, "without controls"),
        (&["create", "--name", "a", "--scopes", "write"], 2, "there is no scope `write`"),
        (&["create", "--name", "a", "--scopes", ""], 2, "a scope at least"),
        (&["create", "--name", "a", "--tenant", "A"], 2, "is not the name of a tenant"),
        (&["create", "--name", "a", "--rate", "60"], 2, "60/m or 2/s"),
        (&["create", "--name", "a", "--expires", "soon"], 2, "90days"),
        (&["revoke", "aaaaaaaaaaaa"], 1, "there is no key `aaaaaaaaaaaa`"),
    ] {
        let output = keys(data, args).await;
        let text = stderr(&output);
        assert!(output.status.code() == Some(code) && text.contains(told), "{args:?}: {output:?}");
    }
    assert_eq!(stdout(&keys(data, &["list"]).await).lines().count(), 1);
    let output = keys(data, &["revoke", whole]).await;
    assert_eq!(output.status.code(), Some(2));
}

#[actix_web::test]
async fn a_gateway_that_asks_for_keys_and_has_none_says_which_command_makes_one() {
    let folder = Setup::new().folder;
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let program = Program::serve(folder.path(), &sim.url(), &[("COMFYGATE_KEYS", "required")]).await;
    let log = program.log();
    let (_, command) = log.split_once("make one with: comfygate ").unwrap_or_else(|| panic!("{log}"));
    let command = command.lines().next().unwrap().to_owned();
    assert_eq!(program.get("/jobs").await.unwrap().0, 401);
    let words: Vec<String> = command.split_whitespace().map(str::to_owned).chain(["--json".to_owned()]).collect();
    let here = folder.path().to_owned();
    let made = run(move |comfygate| comfygate.args(words).current_dir(here)).await;
    let made: Value = serde_json::from_str(&stdout(&made)).unwrap();
    let client = client().build().unwrap();
    let key = made["key"].as_str().unwrap();
    let answer = client.get(program.url("/jobs")).bearer_auth(key).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    program.terminate();
    assert!(program.ended().await.success());
    let sim_and_key = [("COMFYGATE_KEYS", "required"), ("COMFYGATE_LOG", "trace")];
    log_has_no_key(folder.path(), &sim, &sim_and_key, key).await;
    sim.stop().await;
}

/// Starts the gateway with everything in its log, shows the key in all ways, right and wrong, and reads the log.
async fn log_has_no_key(folder: &Path, sim: &Sim, settings: &[(&str, &str)], key: &str) {
    let program = Program::serve(folder, &sim.url(), settings).await;
    assert!(!program.log().contains("make one with"));
    let client = client().build().unwrap();
    let wrong = format!("{}X", key.strip_suffix(key.chars().last().unwrap()).unwrap());
    for (name, value) in [
        ("authorization", format!("Bearer {key}")),
        ("x-api-key", key.to_owned()),
        ("authorization", format!("Bearer {wrong}")),
        ("authorization", format!("Basic {key}")),
    ] {
        for path in ["/jobs".to_owned(), "/ready".into(), format!("/jobs/{key}"), format!("/jobs?key={key}")] {
            client.get(program.url(&path)).header(name, &value).send().await.unwrap();
        }
    }
    let body = json!({ "workflow": "canvas", "prompt": "x" });
    let posted = client.post(program.url("/generate")).bearer_auth(key).header("content-type", "application/json");
    let posted = posted.body(body.to_string()).send().await.unwrap();
    assert_eq!(posted.status().as_u16(), 202);
    let noted = || std::future::ready(program.log().contains("requests with a key that is not good").then_some(()));
    eventually("refused requests are told of", noted).await;
    let log = program.log();
    let (id, secret) = key.strip_prefix("cg_").unwrap().split_once('_').unwrap();
    let lines = log.lines().filter(|line| line.contains("comfygate::")).collect::<Vec<_>>().join("\n");
    assert!(lines.contains(&format!("job taken in key={id} tenant=default job.id=")), "{lines}");
    let beginning: String = secret.chars().take(20).collect();
    let telling = log.lines().find(|line| line.contains(&beginning));
    assert_eq!(telling, None);
    program.terminate();
    assert!(program.ended().await.success());
}

#[actix_web::test]
async fn the_commands_that_ask_a_gateway_show_it_a_key() {
    let gateway = with_keys().start().await;
    let inbox = Inbox::open();
    let id = gateway.run_one(&inbox, &canvas(&inbox.url())).await.prompt_id().to_owned();
    let url = gateway.url("");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{OPERATOR}\n")).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let list = async |args: &[&str], env: Option<&str>| {
        let mut words: Vec<String> = ["deliveries", "list", "--url", &url].map(str::to_owned).to_vec();
        words.extend(args.iter().map(|arg| (*arg).to_owned()));
        let env = env.map(str::to_owned);
        run(move |comfygate| match env {
            Some(key) => comfygate.args(words).env("COMFYGATE_KEY", key),
            None => comfygate.args(words).env_remove("COMFYGATE_KEY"),
        })
        .await
    };
    for (args, env) in [
        (&["--key", OPERATOR][..], None),
        (&["--key-file", &file], None),
        (&[], Some(OPERATOR)),
        (&["--key", OPERATOR], Some("wrong")),
    ] {
        let listed = list(args, env).await;
        assert!(listed.status.success() && stdout(&listed).contains(&id), "{listed:?}");
    }
    for (args, env) in [(&[][..], None), (&["--key", "wrong-wrong"], None), (&[], Some("wrong-wrong"))] {
        let refused = list(args, env).await;
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let text = stderr(&refused);
        assert!(text.contains("unauthorized") && !text.contains("wrong-wrong"), "{text}");
    }
    assert_eq!(list(&["--key", "a", "--key-file", &file], None).await.status.code(), Some(2));
    gateway.close().await;
}

async fn keys(data: &Path, args: &[&str]) -> Output {
    let mut words: Vec<String> = ["keys"].iter().chain(args).map(|word| (*word).to_owned()).collect();
    words.extend(["--data".to_owned(), data.to_str().unwrap().to_owned()]);
    run(move |comfygate| comfygate.args(words)).await
}

async fn run(args: impl FnOnce(&mut Command) -> &mut Command + Send + 'static) -> Output {
    let run = move || args(&mut Command::new(env!("CARGO_BIN_EXE_comfygate"))).output().unwrap();
    actix_web::rt::task::spawn_blocking(run).await.unwrap()
}

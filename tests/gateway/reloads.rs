//! Workflows that are swapped under load: each request meets one version, whole, and a bad one none.

use crate::support::{Setup, TestGateway, canvas, eventually};
use comfygate::workflow::shipped;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const SWAPS: usize = 1000;

#[actix_web::test]
async fn a_thousand_swaps_under_load_and_every_request_is_of_one_version() {
    let mut setup = Setup::new();
    setup.settings.workflows.look_every = Duration::from_millis(1);
    let folder = setup.folder.path().to_owned();
    put(&folder, 0);
    let gateway = setup.start().await;
    let (is_over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let swapping = async {
        for number in 1..=SWAPS {
            put(&folder, number);
            // Now and then one is left alone until jobs have met it; that none is met by half is the test.
            if number.is_multiple_of(25) {
                eventually("the version is in force", async || is_in_force(&gateway, number).await.then_some(())).await;
                let before = rounds.load(Ordering::Relaxed);
                let met = async || (rounds.load(Ordering::Relaxed) >= before + 2).then_some(());
                eventually("jobs have met the version", met).await;
            } else {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let posting = async {
        let mut body = canvas("");
        body["workflow"] = json!("swapped");
        while !is_over.load(Ordering::Relaxed) {
            let posts = (0..4).map(|_| gateway.post("/generate", &body));
            for answer in futures_util::future::join_all(posts).await {
                assert_eq!(answer.status, 202, "{}", answer.json());
            }
            rounds.fetch_add(1, Ordering::Relaxed);
        }
    };
    futures_util::join!(swapping, posting);
    let versions = versions(&gateway);
    let different: BTreeSet<usize> = versions.iter().copied().collect();
    assert!(different.len() >= SWAPS / 25, "{} jobs met only {different:?}", versions.len());
    let last = async || {
        let id = gateway.generate(&json!({ "workflow": "swapped", "prompt": "x" })).await;
        (self::versions(&gateway).last() == Some(&SWAPS)).then_some(id)
    };
    eventually("the last version is in force", last).await;

    // A version that is bad keeps the last good one in force, and is told.
    let config = folder.join("configs/swapped.yaml");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, good.replace("property: color", "property: colour")).unwrap();
    let told = async || {
        let ready = gateway.get("/ready").await;
        assert_eq!(ready.status, 200);
        let problems = ready.json()["workflow_problems"].to_string();
        (problems.contains("swapped.yaml") && problems.contains("colour")).then_some(())
    };
    eventually("the bad version is told", told).await;
    // It goes before all that were posted, of which a slow machine has run a part only.
    let id = gateway.generate(&json!({ "workflow": "swapped", "prompt": "x", "priority": 100 })).await;
    assert_eq!(self::versions(&gateway).last(), Some(&SWAPS));
    gateway.until(&id, "success").await;
    gateway.close().await;
}

/// Says whether a request would meet this version now.
async fn is_in_force(gateway: &TestGateway, number: usize) -> bool {
    gateway.get("/workflows/swapped").await.json()["outputs"][0]["node"] == format!("{number}n3")
}

/// Writes a version of the pair whose two files name each other's nodes: one with the other of another version is bad.
fn put(folder: &Path, number: usize) {
    let pair = shipped::PAIRS.iter().find(|pair| pair.name == "canvas").unwrap();
    let (mut config, mut template) = (pair.config.to_owned(), pair.template.to_owned());
    for node in 1..=5 {
        config = config.replace(&format!("\"{node}\""), &format!("\"{number}n{node}\""));
        template = template.replace(&format!("\"{node}\""), &format!("\"{number}n{node}\""));
    }
    let config = config.replace("default: 3368601", &format!("default: {number}"));
    let files = [("configs/swapped.yaml", config), ("templates/swapped.json", template)];
    let turned = number % 4 < 2;
    for (name, text) in if turned {
        files
    } else {
        let [first, second] = files;
        [second, first]
    } {
        let path = folder.join(name);
        if number.is_multiple_of(2) {
            fs::write(path, text).unwrap();
        } else {
            let aside = folder.join(name.replace("swapped", ".swapped"));
            fs::write(&aside, text).unwrap();
            fs::rename(aside, path).unwrap();
        }
    }
}

/// Returns which version each job met, in the order of their acceptance; every trace of it must say the same.
fn versions(gateway: &TestGateway) -> Vec<usize> {
    let database = rusqlite::Connection::open(gateway.settings.storage.folder.join("comfygate.db")).unwrap();
    let mut jobs = database
        .prepare(
            "SELECT request, config, template FROM job JOIN job_request ON job_request.job = job.row
             JOIN revision ON revision.hash = request ->> '$.revision' ORDER BY job.row",
        )
        .unwrap();
    let texts = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?));
    let read = |(request, config, template): (String, String, String)| {
        let request: Value = serde_json::from_str(&request).unwrap();
        let number: usize = config.split("outputs: [\"").nth(1).unwrap().split('n').next().unwrap().parse().unwrap();
        assert!(template.contains(&format!("\"{number}n1\"")), "version {number} with {template}");
        let color = request["params"]["color"].to_string();
        assert_eq!(color.trim_matches('"'), number.to_string(), "the colour of another version");
        number
    };
    jobs.query_map((), texts).unwrap().map(|row| read(row.unwrap())).collect()
}

//! Far more requests than are let in: what is refused is told when to come back, what was taken in ends, and the memory stays.

use crate::support::{Inbox, Program, Setup, canvas};
use comfygate::sim::{Fault, Sim, SimOptions, When};
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long it lasts, and how many send as fast as they can.
const LASTS: Duration = Duration::from_secs(4);
const CLIENTS: usize = 32;

/// How much the memory may grow in that time; what one refusal would leave behind comes thousands of times.
const GROWTH: u64 = 32 << 20;

#[actix_web::test]
async fn far_more_than_is_let_in_is_refused_and_what_was_taken_in_ends() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    // So slow, and so few let in, that the queue is full soon and ten times as many come, on a slow machine too.
    sim.inject_when(Fault::Slow(Duration::from_millis(100)), When::Every);
    let inbox = Inbox::open();
    let limits = [("COMFYGATE_RATE", "5/s"), ("COMFYGATE_MAX_QUEUED", "5")];
    let program = Program::serve(setup.folder.path(), &sim.url(), &limits).await;
    let mut flood = Flood::default();
    flood.send(&program, &inbox, LASTS / 4).await;
    let before = resident(program.id());
    flood.send(&program, &inbox, LASTS).await;
    let after = resident(program.id());

    let kinds: BTreeSet<_> = flood.refusals.iter().map(|(status, code)| (*status, code.as_str())).collect();
    assert_eq!(kinds, BTreeSet::from([(429, "rate_limited"), (503, "queue_full")]));
    assert!(flood.refused >= 9 * flood.taken_in.len(), "that was not ten times as much as is let in");
    assert!(after < before + GROWTH, "{before} bytes before and {after} after");

    sim.clear_faults();
    program.until_idle().await;
    let told: BTreeSet<String> = inbox.rest().iter().map(|webhook| webhook.prompt_id().to_owned()).collect();
    assert_eq!(told, flood.taken_in, "what was taken in was told, and nothing else");
    program.terminate();
    assert!(program.ended().await.success());
    sim.stop().await;
}

/// What became of the requests.
#[derive(Default)]
struct Flood {
    taken_in: BTreeSet<String>,
    refusals: BTreeSet<(u16, String)>,
    refused: usize,
}

impl Flood {
    async fn send(&mut self, program: &Program, inbox: &Inbox, lasts: Duration) {
        let until = Instant::now() + lasts;
        let body = canvas(&inbox.url());
        let clients = (0..CLIENTS).map(async |_| {
            let mut seen = Self::default();
            while Instant::now() < until {
                let answer = program.post(&body).await.expect("every request is answered");
                let status = answer.status().as_u16();
                let wait = answer.headers().get("retry-after").cloned();
                let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
                if status == 202 {
                    seen.taken_in.insert(body["prompt_id"].as_str().unwrap().to_owned());
                    continue;
                }
                let wait: u64 = wait.expect("a refusal says when to come back").to_str().unwrap().parse().unwrap();
                assert!(wait >= 1);
                seen.refusals.insert((status, body["code"].as_str().unwrap().to_owned()));
                seen.refused += 1;
            }
            seen
        });
        for seen in join_all(clients).await {
            self.taken_in.extend(seen.taken_in);
            self.refusals.extend(seen.refusals);
            self.refused += seen.refused;
        }
    }
}

/// How much memory of a process is resident, in bytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

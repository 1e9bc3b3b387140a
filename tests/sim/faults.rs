//! Each fault does what its description says, and nothing worse.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use comfygate::sim::{Fault, Refusal, Sim, When};
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{Frame, PATIENCE, canvas, get, http, kinds, listen, post, start, submit};

/// The events of `canvas`, run alone: two images saved, two sent.
const WHOLE: &[&str] = &[
    "execution_start",
    "execution_cached",
    "progress_state",
    "executing",
    "progress_state",
    "progress_state",
    "executing",
    "executed",
    "progress_state",
    "progress_state",
    "executing",
    "progress_state",
    "image",
    "progress",
    "progress_state",
    "image",
    "progress",
    "progress_state",
    "execution_success",
    "idle",
];

/// Runs `canvas` as prompt `p` with a fault, and returns the kinds of events that client `a` gets.
async fn run(sim: &Sim, fault: Fault) -> Vec<String> {
    let mut socket = listen(sim).await;
    sim.inject(fault);
    submit(sim, "p", &canvas(1)).await;
    kinds(&socket.until_idle().await)
}

async fn last_message(sim: &Sim) -> serde_json::Value {
    let history = get(sim, "/history/p").await.json();
    history["p"]["status"]["messages"].as_array().unwrap().last().unwrap().clone()
}

#[tokio::test]
async fn without_a_fault_all_events_come() {
    let sim = start().await;
    sim.inject(Fault::Slow(Duration::ZERO));
    let mut socket = listen(&sim).await;
    submit(&sim, "p", &canvas(1)).await;
    assert_eq!(kinds(&socket.until_idle().await), WHOLE);
}

#[tokio::test]
async fn the_socket_can_be_closed_before_any_event_and_the_prompt_goes_on() {
    for event_index in 0..WHOLE.len() {
        let sim = start().await;
        let events = run(&sim, Fault::CloseSocketAt { event_index }).await;
        assert_eq!(events[..event_index], WHOLE[..event_index]);
        assert_eq!(events[event_index..], ["closed"]);
        sim.wait_for(|sim| sim.remembers("p") && sim.connections() == 0).await.unwrap();
    }
}

#[tokio::test]
async fn the_socket_can_be_closed_after_an_event() {
    let sim = start().await;
    assert_eq!(
        run(&sim, Fault::CloseSocketAfter { event: "execution_cached".into() }).await,
        [WHOLE[0], WHOLE[1], "closed"]
    );
    sim.wait_for(|sim| sim.remembers("p")).await.unwrap();
}

#[tokio::test]
async fn a_hanging_prompt_hears_no_interrupt_until_it_is_released() {
    let sim = start().await;
    let mut socket = listen(&sim).await;
    sim.inject(Fault::Hang { at: "executed".into() });
    submit(&sim, "p", &canvas(1)).await;
    sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    post(&sim, "/interrupt", &json!({ "prompt_id": "p" })).await;
    assert_eq!((sim.hanging(), sim.queued()), (1, 1));
    sim.release();
    let events = kinds(&socket.until_idle().await);
    assert_eq!(events[events.len() - 2], "execution_interrupted");
}

#[tokio::test]
async fn a_node_can_be_made_to_fail() {
    let sim = start().await;
    let fault = Fault::FailNode { node: "2".into(), message: "no luck".into(), exception_type: "ValueError".into() };
    let events = run(&sim, fault).await;
    assert_eq!(events[events.len() - 2..], ["execution_error", "idle"]);
    let message = last_message(&sim).await;
    assert_eq!((&message[0], &message[1]["node_id"]), (&json!("execution_error"), &json!("2")));
    assert_eq!(
        (&message[1]["exception_message"], &message[1]["exception_type"]),
        (&json!("no luck\n"), &json!("ValueError"))
    );
}

#[tokio::test]
async fn memory_can_run_out() {
    let sim = start().await;
    run(&sim, Fault::OutOfMemory { node: "SaveImage".into() }).await;
    let message = last_message(&sim).await;
    assert_eq!(message[1]["exception_type"], "torch.OutOfMemoryError");
    assert!(message[1]["exception_message"].as_str().unwrap().contains("ran out of memory on your GPU"));
}

#[tokio::test]
async fn somebody_else_can_interrupt() {
    let sim = start().await;
    let events = run(&sim, Fault::Interrupt { node: "3".into() }).await;
    assert_eq!(events[events.len() - 2..], ["execution_interrupted", "idle"]);
    assert_eq!(last_message(&sim).await[0], "execution_interrupted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_gets_the_port_while_the_server_is_down() {
    let sim = start().await;
    let address = sim.addr();
    let is_over = Arc::new(AtomicBool::new(false));
    let steal = || {
        let is_over = Arc::clone(&is_over);
        move || {
            let mut thefts = 0;
            while !is_over.load(Ordering::Relaxed) {
                // As a client does that asks for any port, it takes none that somebody has.
                let socket = TcpSocket::new_v4().unwrap();
                thefts += u32::from(socket.bind(address).is_ok());
            }
            thefts
        }
    };
    let thieves = [(); 2].map(|()| tokio::task::spawn_blocking(steal()));
    for _ in 0..200 {
        sim.inject(Fault::Restart { at: None, forget: false, down_for: Duration::from_millis(1) });
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for thief in thieves {
        assert_eq!(thief.await.unwrap(), 0);
    }
    let again = tokio::time::timeout(PATIENCE, async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    again.await.expect("it listens again");
    sim.stop().await;
}

#[tokio::test]
async fn a_forgetful_restart_loses_everything_but_the_port() {
    let sim = start().await;
    submit(&sim, "old", &canvas(2)).await;
    sim.wait_for(|sim| sim.remembers("old")).await.unwrap();
    let restart = Fault::Restart { at: Some("executed".into()), forget: true, down_for: Duration::ZERO };
    let events = run(&sim, restart).await;
    assert_eq!(events.last().map(String::as_str), Some("closed"));
    assert!(!events.contains(&"executed".to_owned()));
    sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
    assert_eq!(get(&sim, "/queue").await.json(), json!({ "queue_running": [], "queue_pending": [] }));
    assert_eq!(get(&sim, "/history").await.json(), json!({}));
    let mut socket = listen(&sim).await;
    assert_eq!(submit(&sim, "p", &canvas(1)).await.json()["number"], 0);
    assert_eq!(kinds(&socket.until_idle().await), WHOLE);
    assert_eq!(sim.executions()["p"], 2);
}

#[tokio::test]
async fn a_lost_network_keeps_queue_and_history() {
    let sim = start().await;
    let loss = Fault::Restart { at: Some("executed".into()), forget: false, down_for: Duration::ZERO };
    assert_eq!(run(&sim, loss).await.last().map(String::as_str), Some("closed"));
    sim.wait_for(|sim| sim.remembers("p")).await.unwrap();
}

#[tokio::test]
async fn connections_are_refused_for_a_while_and_the_port_is_kept() {
    let sim = start().await;
    let mut socket = listen(&sim).await;
    // Long enough that one of our calls surely comes in that time.
    sim.inject(Fault::RefuseConnections(Duration::from_secs(2)));
    let ask = || http().get(format!("{}/prompt", sim.url())).send();
    let refused = async {
        while ask().await.is_ok() {}
        while ask().await.is_err() {}
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    submit(&sim, "p", &canvas(1)).await;
    assert_eq!(kinds(&socket.until_idle().await), WHOLE, "the open socket has lived on");
}

#[tokio::test]
async fn a_stalled_worker_takes_nothing_from_the_queue_until_it_is_released() {
    let sim = start().await;
    let mut socket = listen(&sim).await;
    sim.inject(Fault::Stall);
    submit(&sim, "p", &canvas(1)).await;
    assert_eq!((sim.queued(), sim.executions().len()), (1, 0));
    sim.release();
    assert_eq!(kinds(&socket.until_idle().await), WHOLE);
}

#[tokio::test]
async fn submissions_can_be_refused_with_and_without_effect() {
    let sim = start().await;
    sim.inject(Fault::Refuse(Refusal::Crash));
    assert_eq!(submit(&sim, "p", &canvas(1)).await.status, 500);
    sim.inject(Fault::Refuse(Refusal::Invalid("{\"error\": 1}".into())));
    let answer = submit(&sim, "p", &canvas(1)).await;
    assert_eq!((answer.status, answer.json()), (400, json!({ "error": 1 })));
    assert!(sim.executions().is_empty());
    sim.inject(Fault::Refuse(Refusal::CrashButQueued));
    assert_eq!(submit(&sim, "p", &canvas(1)).await.status, 500);
    sim.wait_for(|sim| sim.remembers("p")).await.unwrap();
    assert_eq!(submit(&sim, "q", &canvas(1)).await.status, 200);
}

#[tokio::test]
async fn an_answer_can_be_lost_although_the_prompt_runs() {
    let sim = start().await;
    sim.inject(Fault::DropAfterAccept);
    let body = json!({ "prompt": canvas(1), "prompt_id": "p" }).to_string();
    assert!(http().post(format!("{}/prompt", sim.url())).body(body).send().await.is_err());
    sim.wait_for(|sim| sim.remembers("p")).await.unwrap();
    assert_eq!(sim.executions()["p"], 1);
}

#[tokio::test]
async fn a_slow_answer_comes_after_the_events() {
    let sim = start().await;
    sim.inject(Fault::SlowAnswer(Duration::from_millis(200)));
    let graph = canvas(1);
    let mut answer = std::pin::pin!(submit(&sim, "p", &graph));
    tokio::select! {
        _ = &mut answer => panic!("answered before the end"),
        ended = sim.wait_for(|sim| sim.remembers("p")) => ended.unwrap(),
    }
    assert_eq!(answer.await.status, 200);
}

#[tokio::test]
async fn every_event_can_come_twice() {
    let sim = start().await;
    let mut socket = listen(&sim).await;
    sim.inject(Fault::DuplicateEvents);
    submit(&sim, "p", &canvas(1)).await;
    let mut events = kinds(&socket.until_idle().await);
    events.extend(kinds(&socket.until_idle().await));
    let twice: Vec<&str> = WHOLE.iter().flat_map(|kind| [*kind, *kind]).collect();
    assert_eq!(events, twice);
}

#[tokio::test]
async fn foreign_and_broken_frames_can_come_in_between() {
    let sim = start().await;
    let mut socket = listen(&sim).await;
    sim.inject(Fault::ForeignEvents);
    submit(&sim, "p", &canvas(1)).await;
    let of_p = |message: &serde_json::Value| message["data"]["prompt_id"] == "p";
    let frames = socket
        .until(|message| of_p(message) && message["data"]["node"].is_null() && message["type"] == "executing")
        .await;
    let (mut ours, mut others) = (0, 0);
    for frame in &frames {
        match frame {
            Frame::Text(text) if serde_json::from_str(text).is_ok_and(|message| of_p(&message)) => ours += 1,
            Frame::Text(_) | Frame::Binary(_) => others += 1,
            Frame::Closed => panic!("the socket stays open"),
        }
    }
    assert_eq!(ours, WHOLE.len() - 2, "all but the two images");
    assert!(others > 10 * WHOLE.len());
}

#[tokio::test]
async fn the_end_and_the_images_can_be_kept_back() {
    let sim = start().await;
    let mut socket = listen(&sim).await;
    sim.inject(Fault::NoEnd);
    sim.inject(Fault::LoseFrames);
    submit(&sim, "p", &canvas(1)).await;
    let frames = socket.until(|message| message["data"]["status"]["exec_info"]["queue_remaining"] == 0).await;
    let kept: Vec<&str> = WHOLE[..WHOLE.len() - 2].iter().copied().filter(|kind| *kind != "image").collect();
    assert_eq!(kinds(&frames), kept);
    assert!(sim.remembers("p"));
    assert_eq!(sim.images().len(), 4);
}

#[tokio::test]
async fn a_silent_prompt_and_a_deaf_socket_hear_nothing_of_the_prompt() {
    for (fault, last) in [(Fault::Silent, "feature_flags"), (Fault::DeafSocket, "feature_flags")] {
        let sim = start().await;
        let mut other = crate::client::Socket::open(&sim, "/ws?clientId=b").await;
        let is_deaf = fault == Fault::DeafSocket;
        let mut socket = listen(&sim).await;
        sim.inject(fault);
        submit(&sim, "p", &canvas(1)).await;
        sim.wait_for(|sim| sim.remembers("p")).await.unwrap();
        other.until(|message| message["data"]["status"]["exec_info"]["queue_remaining"] == 0).await;
        assert_eq!(sim.connections(), 2);
        if is_deaf {
            sim.inject(Fault::Restart { at: None, forget: false, down_for: Duration::ZERO });
            let frames = socket.until(|_| false).await;
            assert_eq!(kinds(&frames), ["closed"]);
        } else {
            submit(&sim, "q", &canvas(2)).await;
            assert_eq!(kinds(&socket.until_idle().await), WHOLE, "only the first prompt was silent, not {last}");
        }
    }
}

#[tokio::test]
async fn outputs_can_be_null_or_no_numbers() {
    let sim = start().await;
    let mut socket = listen(&sim).await;
    sim.inject(Fault::NullOutputs);
    submit(&sim, "p", &canvas(1)).await;
    let executed = |message: &serde_json::Value| message["type"] == "executed";
    assert!(
        matches!(socket.until(executed).await.last(), Some(Frame::Text(text)) if text.contains("\"output\": null"))
    );
    socket.until_idle().await;
    assert_eq!(get(&sim, "/history/p").await.json()["p"]["outputs"]["2"]["images"], json!(null));
    sim.inject(Fault::NanInOutputs);
    submit(&sim, "q", &canvas(2)).await;
    sim.wait_for(|sim| sim.remembers("q")).await.unwrap();
    let history = get(&sim, "/history/q").await.body;
    assert!(String::from_utf8_lossy(&history).contains("\"score\": [NaN, Infinity]"));
}

#[tokio::test]
async fn image_files_can_be_cut_short_missing_or_huge() {
    let sim = start().await;
    for (id, color, fault) in [
        ("cut", 1, Fault::TruncatedImages),
        ("gone", 2, Fault::MissingFiles),
        ("huge", 3, Fault::OversizeFrame(3_000_000)),
    ] {
        sim.inject(fault);
        submit(&sim, id, &canvas(color)).await;
        sim.wait_for(|sim| sim.remembers(id)).await.unwrap();
    }
    let of = |id: &str| {
        sim.images().into_iter().filter(|image| image.prompt == id).map(|image| image.bytes).collect::<Vec<_>>()
    };
    assert!(of("cut").iter().all(|bytes| !bytes.ends_with(b"IEND\xae\x42\x60\x82")));
    assert!(of("gone").iter().all(|bytes| bytes.ends_with(b"IEND\xae\x42\x60\x82")));
    assert!(of("huge").iter().all(|bytes| bytes.len() > 3_000_000));
    let status = |name: &'static str| {
        let sim = &sim;
        async move { get(sim, &format!("/view?filename={name}")).await.status }
    };
    assert_eq!(
        (status("t_00001_.png").await, status("t_00003_.png").await, status("t_00005_.png").await),
        (200, 404, 200)
    );
}

#[tokio::test]
async fn an_error_can_follow_success() {
    let sim = start().await;
    let events = run(&sim, Fault::SuccessThenError).await;
    assert_eq!(events[events.len() - 3..], ["execution_success", "execution_error", "idle"]);
    assert_eq!(last_message(&sim).await[0], "execution_success");
}

#[tokio::test]
async fn history_can_come_late() {
    let sim = start().await;
    run(&sim, Fault::LateHistory(Duration::from_millis(200))).await;
    assert_eq!(get(&sim, "/history/p").await.json(), json!({}));
    assert_eq!(sim.queued(), 0);
    sim.wait_for(|sim| sim.remembers("p")).await.unwrap();
}

#[tokio::test]
async fn a_submission_can_be_half_accepted_or_deleted_by_others() {
    let sim = start().await;
    sim.inject(Fault::NodeErrorsPartial);
    let answer = submit(&sim, "p", &canvas(1)).await;
    assert_eq!(answer.json()["node_errors"]["3"]["dependent_outputs"], json!(["3"]));
    sim.wait_for(|sim| sim.remembers("p")).await.unwrap();
    assert!(sim.images().iter().all(|image| image.node == "2"));
    sim.inject(Fault::DeleteFromQueue);
    assert_eq!(submit(&sim, "gone", &canvas(2)).await.status, 200);
    submit(&sim, "next", &canvas(3)).await;
    sim.wait_for(|sim| sim.remembers("next")).await.unwrap();
    assert!(!sim.remembers("gone") && !sim.executions().contains_key("gone"));
}

#[tokio::test]
async fn a_request_can_hang() {
    let sim = start().await;
    sim.inject_when(Fault::HungHttp, When::After(1));
    assert_eq!(get(&sim, "/prompt").await.status, 200);
    let hanging = http().get(format!("{}/prompt", sim.url())).send();
    let (answer, ()) = tokio::join!(hanging, async {
        sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
        sim.release();
    });
    assert!(answer.is_err());
}

#[tokio::test]
async fn interrupts_can_be_ignored() {
    let sim = start().await;
    let mut socket = listen(&sim).await;
    sim.inject(Fault::IgnoreInterrupts);
    sim.inject(Fault::Hang { at: "execution_cached".into() });
    submit(&sim, "p", &canvas(1)).await;
    sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    post(&sim, "/interrupt", &json!({})).await;
    sim.release();
    assert_eq!(kinds(&socket.until_idle().await), WHOLE);
}

#[tokio::test]
async fn the_first_interrupts_can_be_lost() {
    let sim = start().await;
    let mut socket = listen(&sim).await;
    sim.inject(Fault::LoseInterrupts(2));
    sim.inject(Fault::Hang { at: "execution_cached".into() });
    submit(&sim, "p", &canvas(1)).await;
    sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    for _ in 0..3 {
        post(&sim, "/interrupt", &json!({"prompt_id": "p"})).await;
    }
    sim.release();
    assert!(kinds(&socket.until_idle().await).iter().any(|kind| kind == "execution_interrupted"));
}

#[tokio::test]
async fn an_interrupt_between_taken_and_started_is_lost() {
    let sim = start().await;
    let mut socket = listen(&sim).await;
    sim.inject(Fault::Hang { at: "taken".into() });
    submit(&sim, "p", &canvas(1)).await;
    sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    post(&sim, "/interrupt", &json!({"prompt_id": "p"})).await;
    sim.release();
    assert_eq!(kinds(&socket.until_idle().await), WHOLE);
}

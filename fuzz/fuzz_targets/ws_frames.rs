//! Frames of a ComfyUI's socket and answers of its history, in any order: none makes the decoder or the tracker's step
//! panic, a run ends once at most, and one that has not ended has a deadline.
//!
//! The input is a sequence of messages: one byte that says what it is, two for its length, then its bytes.

#![no_main]

use bytes::Bytes;
use comfygate::clock::Timestamp;
use comfygate::comfy::{decode_binary, decode_text, wire};
use comfygate::job::{BlobId, Failure, FailureCode, JobId, Limits, PromptId};
use comfygate::media::Kept;
use comfygate::tracker::{Attribution, Effect, Evidence, Input, Plan, Run, SlotId, SlotResult, SubmitResult, step};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use std::time::Duration;

const PROMPT: &str = "prompt-1";

fuzz_target!(|data: &[u8]| {
    let mut run = Run::about_to_submit(plan(), Timestamp::from_millis(0));
    let mut attribution = Attribution::default();
    let mut now = Timestamp::from_millis(0);
    let mut slots: Vec<SlotId> = Vec::new();
    let mut ends = 0;
    let mut rest = data;
    while let Some(([kind, low, high], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (message, after) = after.split_at(length);
        rest = after;
        let text = || String::from_utf8_lossy(message);
        let input = match kind % 15 {
            0 => Input::Event(attribution.of(decode_text(&text()))),
            1 => Input::Event(attribution.of(decode_binary(Bytes::copy_from_slice(message)))),
            2 => Input::SocketLost { another_ran: message.len() % 2 == 0 },
            3 => Input::SocketUp,
            4 => Input::Submitted(SubmitResult::Accepted(None)),
            5 => Input::Submitted(SubmitResult::Ambiguous("reset".into())),
            6 => Input::Evidence(Evidence::Running),
            7 => Input::Evidence(Evidence::Absent),
            8 => match wire::history(&text(), PROMPT).ok().flatten() {
                Some(entry) => Input::Evidence(Evidence::Ended(entry)),
                None => continue,
            },
            9 => {
                now = now + Duration::from_millis(u64::from(*low) * 1000 + u64::from(*high));
                Input::Tick
            }
            10 => match slots.pop() {
                Some(slot) => Input::Stored(slot, stored(message)),
                None => continue,
            },
            11 => Input::Cancel,
            12 => Input::Receiving,
            13 => Input::Submitted(SubmitResult::Unanswered("timeout".into())),
            _ => {
                let failure = Failure::new(FailureCode::Validation, "a model is not there");
                Input::Submitted(SubmitResult::Incompatible(failure))
            }
        };
        let was_done = run.is_done();
        let effects = step(&mut run, input, now);
        assert!(!was_done || effects.is_empty(), "a run that has ended does nothing");
        for effect in effects {
            match effect {
                Effect::Finish(_) | Effect::Requeue { .. } | Effect::Elsewhere { .. } => ends += 1,
                Effect::Collect(slot, _) => slots.push(slot),
                Effect::Started | Effect::LookUp | Effect::Reconnect | Effect::StopUpstream => {}
            }
        }
        assert_eq!(ends, u32::from(run.is_done()), "a run ends once");
        assert_eq!(run.next_deadline().is_none(), run.is_done(), "what has not ended has a deadline");
        assert!(run.progress().is_none_or(|progress| (0.0..=1.0).contains(&progress)));
    }
});

fn stored(message: &[u8]) -> SlotResult {
    match message.first() {
        Some(0) => SlotResult::NotFound,
        Some(1) => SlotResult::Unavailable("reset".into()),
        Some(2) => SlotResult::Failed,
        Some(_) | None => {
            SlotResult::Stored(Kept::as_it_came("image/png", 3, BlobId("0".repeat(64))))
        }
    }
}

fn plan() -> Plan {
    let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    Plan {
        job: JobId::from_bytes([1; 16]),
        number: 1,
        prompt: PromptId(PROMPT.into()),
        backend: "here".into(),
        refused: Vec::new(),
        variant: 0,
        elsewhere: true,
        alike: false,
        otherwise: false,
        usual: None,
        may_join: false,
        nodes: ["1", "2", "3", "9"].map(str::to_owned).into(),
        labels: Arc::default(),
        weights: Arc::default(),
        websocket_nodes: ["3".to_owned()].into(),
        declared: None,
        expected_images: Some(1),
        limits: Limits { queue: hour, start: minute, silence: minute, run: hour },
        queued_since: Timestamp::from_millis(0),
        may_retry: true,
    }
}

//! Frames and answers of a real server, damaged: no damage is a panic, and nothing is made up from half a frame.

use crate::recording::{Trace, traces};
use bytes::Bytes;
use comfygate::comfy::{Event, Refusal, decode_binary, decode_text, wire};
use comfygate::lenient;
use proptest::prelude::*;
use proptest::sample::Index;
use std::sync::LazyLock;

static TEXTS: LazyLock<Vec<&str>> = LazyLock::new(|| traces().iter().flat_map(Trace::text_frames).collect());
static BINARIES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| traces().iter().flat_map(Trace::binary_frames).collect());
static ANSWERS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let calls = [("GET", "/queue"), ("GET", "/system_stats"), ("POST", "/prompt")];
    let answers = calls.into_iter().flat_map(|(method, path)| {
        traces().iter().flat_map(move |trace| trace.statuses(method, path)).filter(|(status, _)| *status == 200)
    });
    let histories = traces().iter().flat_map(Trace::histories).map(|(_, body)| body);
    answers.map(|(_, body)| body).chain(histories).collect()
});

proptest! {
    #[test]
    fn a_text_frame_cut_short_is_noise(frame: Index, length: Index) {
        let frame: Vec<char> = frame.get(&TEXTS).chars().collect();
        let short: String = frame.iter().take(length.index(frame.len())).collect();
        let is_noise = matches!(decode_text(&short), Event::Noise { .. });
        prop_assert!(is_noise, "{}", short);
    }

    #[test]
    fn a_binary_frame_cut_short_says_nothing_that_was_not_in_it(frame: Index, length: Index) {
        let frame = frame.get(&BINARIES);
        let short = Bytes::from(frame.clone()).slice(..length.index(frame.len()));
        if let Event::Image(image) = decode_binary(short.clone()) {
            prop_assert!(short.ends_with(&image.bytes) && !image.bytes.is_empty());
        }
    }

    #[test]
    fn a_changed_byte_is_no_panic(frame: Index, at: Index, byte: u8) {
        let mut binary = frame.get(&BINARIES).clone();
        let position = at.index(binary.len().min(200));
        binary[position] = byte;
        let _ = decode_binary(Bytes::from(binary));

        let mut text = frame.get(&TEXTS).as_bytes().to_vec();
        let position = at.index(text.len());
        text[position] = byte;
        let _ = decode_text(&String::from_utf8_lossy(&text));

        let mut answer = frame.get(&ANSWERS).as_bytes().to_vec();
        let position = at.index(answer.len());
        answer[position] = byte;
        read_every_way(&String::from_utf8_lossy(&answer));
    }

    #[test]
    fn an_answer_cut_short_is_an_error(answer: Index, length: Index) {
        let answer: Vec<char> = answer.get(&ANSWERS).chars().collect();
        let short: String = answer.iter().take(length.index(answer.len())).collect();
        prop_assert!(lenient::parse(&short).is_err() && wire::queue(&short).is_err() && wire::accepted(&short).is_none());
        read_every_way(&short);
    }
}

fn read_every_way(body: &str) {
    let _ = (wire::queue(body), wire::history(body, "p"), wire::accepted(body), wire::queue_remaining(body));
    let _ = (wire::system_stats(body), Refusal::from_answer(400, body).to_failure());
}

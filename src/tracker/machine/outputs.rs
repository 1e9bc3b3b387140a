//! Which outputs make a result: their order, their number, and what counts as one.

use super::rig::{PROMPT, Rig, code, executed, file, frame, images, plan, stored, succeeded, websocket_plan};
use super::*;
use crate::comfy::event::{Event, ImageFrame, ImageOrigin};
use crate::tracker::harvest::SlotResult;
use bytes::Bytes;
use std::collections::BTreeSet;

#[test]
fn an_empty_success_names_what_was_expected() {
    let mut rig = Rig::running(plan());
    let effects = rig.event(succeeded());
    let Some(Effect::Finish(Outcome::Failed(failure, _))) = effects.first() else { panic!("{effects:?}") };
    assert_eq!(failure.code, FailureCode::OutputMissing);
    assert_eq!(failure.message, "prompt failed validation: expected 1 images, got 0. finish_signal: true");
}

#[test]
fn websocket_images_keep_their_order_and_come_once() {
    let mut rig = Rig::running(websocket_plan(2));
    let [bar, image] = frame(0.0);
    assert_eq!(rig.event(bar.clone()), []);
    assert_eq!(rig.event(image.clone()).len(), 1);
    assert_eq!(rig.event(bar), []);
    assert_eq!(rig.event(image), [], "the same frame again");
    for event in frame(1.0) {
        rig.event(event);
    }
    rig.event(succeeded());
    rig.take(stored(1));
    assert_eq!(images(&rig.take(stored(0))), Some(vec![("9".into(), 0), ("9".into(), 1)]));
}

#[test]
fn a_preview_is_not_a_result() {
    let mut rig = Rig::running(plan());
    for event in frame(0.0) {
        assert_eq!(rig.event(event), []);
    }
    assert_eq!(code(&rig.event(succeeded())), Some(FailureCode::OutputMissing));
}

#[test]
fn temporary_files_count_only_where_there_is_nothing_else() {
    let mut rig = Rig::running(plan());
    rig.event(executed("2", &[file("preview.png", "temp")]));
    rig.event(executed("9", &[file("a.png", "output")]));
    rig.event(succeeded());
    rig.take(stored(0));
    assert_eq!(images(&rig.take(stored(1))), Some(vec![("9".into(), 0)]));

    let mut rig = Rig::running(plan());
    rig.event(executed("2", &[file("preview.png", "temp")]));
    rig.event(succeeded());
    assert_eq!(images(&rig.take(stored(0))), Some(vec![("2".into(), 0)]));
}

#[test]
fn declared_outputs_decide_order_and_what_must_be_there() {
    let declared = Plan { declared: Some(vec!["9".into(), "2".into()]), expected_images: Some(2), ..plan() };
    let mut rig = Rig::running(declared.clone());
    rig.event(executed("2", &[file("b.png", "output")]));
    rig.event(executed("9", &[file("a.png", "output")]));
    rig.event(succeeded());
    rig.take(stored(0));
    assert_eq!(images(&rig.take(stored(1))), Some(vec![("9".into(), 0), ("2".into(), 0)]));

    let mut rig = Rig::running(Plan { expected_images: Some(1), ..declared });
    rig.event(executed("9", &[file("a.png", "output")]));
    rig.event(succeeded());
    assert_eq!(code(&rig.take(stored(0))), Some(FailureCode::OutputMissing));
}

#[test]
fn what_a_node_that_is_not_declared_gives_is_neither_fetched_nor_kept() {
    let websocket_nodes = BTreeSet::from(["2".to_owned()]);
    let mut rig = Rig::running(Plan { declared: Some(vec!["9".into()]), websocket_nodes, ..plan() });
    assert_eq!(rig.event(executed("1", &[file("b.png", "output")])), []);
    let origin = ImageOrigin { prompt: PROMPT.into(), node: "2".into(), display_node: "2".into() };
    let (content_type, bytes) = ("image/png".into(), Bytes::from_static(b"x"));
    assert_eq!(rig.event(Event::Image(ImageFrame { content_type, bytes, origin: Some(origin) })), []);
    assert_eq!(rig.event(executed("9", &[file("a.png", "output")])).len(), 1);
    rig.event(succeeded());
    assert_eq!(images(&rig.take(stored(0))), Some(vec![("9".into(), 0)]));
}

#[test]
fn an_output_above_the_limit_or_gone_fails_the_job_and_says_so() {
    for (result, expected) in [
        (SlotResult::TooLarge { limit: 5 }, FailureCode::OutputTooLarge),
        (SlotResult::NotFound, FailureCode::OutputMissing),
        (SlotResult::Unavailable("reset".into()), FailureCode::BackendLost),
        (SlotResult::Failed, FailureCode::Internal),
    ] {
        let mut rig = Rig::running(plan());
        rig.event(executed("9", &[file("a.png", "output")]));
        rig.event(succeeded());
        assert_eq!(code(&rig.take(Input::Stored(SlotId(0), result))), Some(expected));
    }
}

//! Runs whose socket, backend or prompt is lost: what is made good, and what another run must do.

use super::rig::{PROMPT, Rig, code, ended, file, frame, images, plan, requeued, stored, succeeded, websocket_plan};
use super::*;
use crate::comfy::event::Event;
use crate::comfy::{HistoryEnd, HistoryEntry, Timeline};
use crate::job::FailureCode;
use crate::tracker::evidence::Evidence;

#[test]
fn a_lost_socket_is_made_good_from_the_history() {
    let mut rig = Rig::running(plan());
    assert_eq!(rig.take(Input::SocketLost { another_ran: false }), []);
    assert_eq!(rig.take(Input::SocketUp), [Effect::LookUp]);
    let entry = ended(vec![("9", vec![file("a.png", "output")])], HistoryEnd::Succeeded);
    assert_eq!(rig.take(Input::Evidence(entry)).len(), 1);
    assert_eq!(images(&rig.take(stored(0))), Some(vec![("9".into(), 0)]));
}

#[test]
fn images_that_were_sent_while_nobody_listened_need_another_run() {
    let mut rig = Rig::running(websocket_plan(1));
    rig.take(Input::SocketLost { another_ran: false });
    rig.take(Input::SocketUp);
    let effects = rig.take(Input::Evidence(ended(vec![], HistoryEnd::Succeeded)));
    assert_eq!((code(&effects), requeued(&effects)), (Some(FailureCode::OutputMissing), Some(true)));
}

#[test]
fn history_never_overtakes_events_that_are_still_on_their_way() {
    let mut rig = Rig::running(websocket_plan(1));
    rig.after(15).take(Input::Tick);
    rig.event(Event::Executing { prompt: Some(PROMPT.into()), node: "9".into(), display_node: "9".into() });
    assert_eq!(rig.take(Input::Evidence(ended(vec![], HistoryEnd::Succeeded))), []);
    for event in frame(0.0).into_iter().chain(frame(1.0)) {
        rig.event(event);
    }
    rig.event(succeeded());
    rig.take(stored(0));
    assert!(images(&rig.take(stored(1))).is_some());
}

#[test]
fn a_deaf_socket_is_replaced() {
    let mut rig = Rig::running(plan());
    rig.after(15).take(Input::Tick);
    let effects = rig.take(Input::Evidence(ended(vec![("9", vec![file("a.png", "output")])], HistoryEnd::Succeeded)));
    assert!(effects.contains(&Effect::Reconnect), "{effects:?}");
    assert!(images(&rig.take(stored(0))).is_some());
}

#[test]
fn a_backend_that_forgot_the_prompt_leads_to_another_run() {
    let mut rig = Rig::running(plan());
    rig.take(Input::SocketLost { another_ran: false });
    rig.take(Input::SocketUp);
    assert_eq!(requeued(&rig.take(Input::Evidence(Evidence::Absent))), Some(true));
}

#[test]
fn a_prompt_that_its_backend_lost_while_it_ran_another_does_not_count() {
    let lost = |mut rig: Rig, another_ran| {
        rig.take(Input::SocketLost { another_ran });
        rig.take(Input::SocketUp);
        requeued(&rig.take(Input::Evidence(Evidence::Absent)))
    };
    let last_try = Plan { may_retry: false, ..plan() };
    assert_eq!(lost(Rig::accepted(last_try), true), Some(false));
    assert_eq!(lost(Rig::accepted(plan()), false), Some(true), "it may have begun, and nobody heard of it");
    assert_eq!(lost(Rig::running(plan()), true), Some(true), "it is what ran");
}

#[test]
fn what_began_after_the_socket_was_lost_is_to_blame_for_a_later_crash() {
    let mut rig = Rig::accepted(plan());
    rig.take(Input::SocketLost { another_ran: true });
    rig.take(Input::SocketUp);
    assert_eq!(rig.take(Input::Evidence(Evidence::Running)), [Effect::Started]);
    assert_eq!(requeued(&rig.take(Input::Evidence(Evidence::Absent))), Some(true));
}

#[test]
fn a_prompt_that_somebody_deletes_on_the_backend_counts() {
    let mut rig = Rig::accepted(plan());
    assert_eq!(rig.take(Input::Evidence(Evidence::Absent)), [], "its end may be on its way to us");
    rig.after(5);
    assert_eq!(requeued(&rig.take(Input::Evidence(Evidence::Absent))), Some(true));
}

#[test]
fn a_prompt_that_began_and_vanished_without_a_word_shows_that_the_socket_is_deaf() {
    let mut rig = Rig::running(plan());
    assert_eq!(rig.take(Input::Evidence(Evidence::Absent)), []);
    let effects = rig.after(5).take(Input::Evidence(Evidence::Absent));
    assert_eq!((effects.first(), requeued(&effects)), (Some(&Effect::Reconnect), Some(true)));
}

#[test]
fn a_socket_in_the_middle_of_a_large_image_is_not_deaf() {
    let mut rig = Rig::running(plan());
    let ended = || {
        Input::Evidence(Evidence::Ended(HistoryEntry {
            end: HistoryEnd::Succeeded,
            outputs: vec![],
            timeline: Timeline::default(),
        }))
    };
    for _ in 0..10 {
        rig.after(4).take(Input::Receiving);
        assert_eq!(rig.take(ended()), []);
    }
    assert!(rig.after(5).take(ended()).contains(&Effect::Reconnect));
}

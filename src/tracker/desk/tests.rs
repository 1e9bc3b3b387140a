//! A backend that is trusted, doubted and trusted again.

use super::*;

const NOW: Timestamp = Timestamp::from_millis(0);

fn desk() -> Desk {
    let desk = Desk::default();
    desk.connected(NOW);
    desk
}

#[test]
fn a_job_is_held_until_the_last_who_sees_to_it_has_ended() {
    let desk = Arc::new(Desk::default());
    let job = JobId::from_bytes([1; 16]);
    let (watched, ending) = (desk.hold(job), desk.hold(job));
    drop(watched);
    assert_eq!(desk.held(), [job].into());
    drop(ending);
    assert!(desk.held().is_empty());
}

#[test]
fn a_backend_that_runs_none_gets_one_prompt_now_and_then_until_it_runs_one() {
    let desk = desk();
    assert_eq!(desk.room(2, NOW), 2);
    for minutes in [1, 2, 4, 8, 16, 30, 30] {
        desk.runs_none("a free backend did not begin", NOW);
        let until = NOW + Duration::from_mins(minutes);
        let just_before = Timestamp::from_millis(until.millis() - 1);
        assert_eq!((desk.room(2, just_before), desk.room(2, until)), (0, 1), "{minutes}");
    }
    desk.took_prompt();
    assert!(desk.trouble().unwrap().starts_with("accepts prompts and runs none"), "taking one shows nothing");
    desk.connected(NOW);
    assert_eq!(desk.room(2, NOW), 1, "it may have been restarted");
    desk.runs_prompts();
    assert_eq!((desk.trouble(), desk.room(2, NOW)), (None, 2));
}

#[test]
fn a_backend_that_does_not_let_go_of_a_prompt_gets_none() {
    let desk = desk();
    let prompt = PromptId("p".into());
    desk.does_not_let_go(&prompt);
    assert_eq!(desk.room(2, NOW), 0);
    assert!(desk.trouble().unwrap().contains("p was stopped and still runs"));
    desk.has_let_go(&prompt);
    assert_eq!((desk.trouble(), desk.room(2, NOW)), (None, 2));
}

#[test]
fn a_backend_that_takes_no_prompts_rests_longer_each_time_until_it_takes_one() {
    let desk = desk();
    assert_eq!((desk.ask_at(), desk.trouble()), (None, None));
    let mut waits = Vec::new();
    for _ in 0..40 {
        desk.did_not_answer("status 403", NOW);
        waits.push(desk.ask_at().unwrap().millis());
    }
    assert_eq!(waits[..9], [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    assert_eq!(waits.last(), Some(&30_000));
    assert_eq!(desk.trouble().as_deref(), Some("status 403"));
    desk.took_prompt();
    assert_eq!((desk.ask_at(), desk.trouble()), (None, None));
}

#[test]
fn a_backend_that_rests_is_given_nothing_until_it_answers_and_then_one_prompt_at_a_time() {
    let desk = desk();
    assert_eq!((desk.room(2, NOW), desk.is_open(NOW)), (2, true));
    desk.did_not_answer("status 500", NOW);
    assert_eq!((desk.room(2, NOW), desk.is_open(NOW), desk.is_doubtful()), (0, false, true));
    desk.answers();
    assert_eq!((desk.room(2, NOW), desk.is_open(NOW), desk.ask_at()), (1, true, None));
    desk.loaded(Load { occupied: 1, unanswered: 1, placing: 0 });
    assert_eq!(desk.room(2, NOW), 0);
    desk.took_prompt();
    assert!(desk.loaded(Load { occupied: 1, unanswered: 0, placing: 0 }) || desk.room(2, NOW) == 1);
    assert_eq!((desk.room(2, NOW), desk.is_doubtful()), (1, false));
}

#[test]
fn however_much_a_backend_may_hold_few_prompts_are_on_their_way_at_once() {
    let desk = desk();
    assert_eq!(desk.room(1000, NOW), UNANSWERED);
    assert!(!desk.loaded(Load { occupied: 3, unanswered: 3, placing: 0 }));
    assert_eq!(desk.room(1000, NOW), 0);
    assert!(desk.loaded(Load { occupied: 3, unanswered: 2, placing: 0 }), "somebody waits for this");
    assert_eq!(desk.room(1000, NOW), 1);
    desk.disconnected("reset");
    assert_eq!((desk.room(1000, NOW), desk.is_open(NOW)), (0, false));
}

#[test]
fn runs_whose_images_are_on_their_way_leave_a_place_to_others() {
    let desk = desk();
    for (depth, most) in [(1, 1), (2, 1), (3, 2), (4, 3), (1000, 3)] {
        desk.loaded(Load::default());
        assert_eq!(desk.room_for_images(depth), most, "{depth}");
        desk.loaded(Load { occupied: most, placing: most, unanswered: 0 });
        assert_eq!(desk.room_for_images(depth), 0, "{depth}");
        assert_eq!(desk.room(depth, NOW), (depth - most).min(UNANSWERED), "{depth}");
    }
    assert!(desk.loaded(Load { occupied: 3, placing: 2, unanswered: 1 }), "somebody waits for this");
}

//! From acceptance to the end: what is durable, who gets a job, and that it ends once.

use crate::support::{HOOK, House, after, assignment, cancelled, failed, keyed, new_job, offer, succeeded};
use comfygate::job::{JobId, JobState, Outcome, ParamValue, PromptId};
use comfygate::store::{CancelWish, DeliveryState, Revision, Store, StoreError};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;

#[tokio::test]
async fn an_accepted_job_is_there_after_a_restart() {
    let house = House::new();
    let new = new_job(1);
    assert_eq!(house.store.accept(new.clone()).await.unwrap(), new.id);
    let house = house.reopened().await;
    let job = house.job(new.id).await;
    assert_eq!(job.request, new.request);
    assert_eq!((job.state, job.run, job.created_at), (JobState::Queued, None, new.created_at));
    assert_eq!((job.submitted_at, job.started_at, job.ended_at, job.cancel_requested), (None, None, None, false));
}

#[tokio::test]
async fn text_and_numbers_survive_with_all_their_bits() {
    let house = House::new();
    let mut new = new_job(1);
    let request = &mut new.request;
    request.workflow = "fl\u{0}ux 🦀".into();
    request.seed = Some(u64::MAX);
    request.priority = i32::MIN;
    request.metadata = Some(serde_json::json!({ "nul": "a\u{0}b", "big": u64::MAX, "small": i64::MIN, "f": 1e-300 }));
    request.params.extend([
        ("seed".to_owned(), ParamValue::Integer(u64::MAX.into())),
        ("low".to_owned(), ParamValue::Integer(i64::MIN.into())),
        ("cfg".to_owned(), ParamValue::Number(0.1 + 0.2)),
        ("on".to_owned(), ParamValue::Boolean(true)),
        ("text".to_owned(), ParamValue::Text("nul \u{0}, quote ' \" ;--, 👩‍👩‍👧 \u{202e} \u{ffff}".into())),
    ]);
    let new = keyed(new, "schlüssel\u{0}\u{1F511}", 1);
    house.store.accept(new.clone()).await.unwrap();
    let house = house.reopened().await;
    assert_eq!(house.job(new.id).await.request, new.request);
    assert_eq!(house.store.accept(new.clone()).await.unwrap(), new.id);
    let claimed = house.claim_one("gpü\u{0}-🦀", after(1)).await;
    assert_eq!(house.job(new.id).await.run, Some(claimed.run));
}

#[tokio::test]
async fn a_webhook_with_odd_text_reaches_the_delivery_unchanged() {
    let house = House::new();
    let mut new = new_job(1);
    let url = "https://app.example/ü?q=%00&e=🦀&quote=\"'\\";
    new.request.webhook_url = Some(url.into());
    house.store.accept(new.clone()).await.unwrap();
    assert!(house.store.finish(cancelled(new.id, None, after(5))).await.unwrap());
    assert_eq!(house.store.delivery(new.id).await.unwrap().unwrap().0.url, url);
}

#[tokio::test]
async fn the_same_key_gives_the_same_job_and_another_body_a_conflict() {
    let house = House::new();
    let first = keyed(new_job(1), "k", 1);
    assert_eq!(house.store.accept(first.clone()).await.unwrap(), first.id);
    assert_eq!(house.store.accept(keyed(new_job(2), "k", 1)).await.unwrap(), first.id);
    let house = house.reopened().await;
    assert_eq!(house.store.accept(keyed(new_job(3), "k", 1)).await.unwrap(), first.id);
    let other = house.store.accept(keyed(new_job(4), "k", 2)).await;
    assert!(matches!(other, Err(StoreError::KeyReused(key)) if key == "k"));
    for number in 2..=4 {
        assert_eq!(house.store.job(new_job(number).id).await.unwrap(), None);
    }
    assert_eq!(house.store.backlog().await.unwrap().queued, 1);
}

#[tokio::test]
async fn a_key_at_once_from_many_makes_one_job() {
    let house = House::new();
    let answers = join_all((1..=50).map(|number| house.store.accept(keyed(new_job(number), "k", 1)))).await;
    let ids: BTreeSet<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(house.store.backlog().await.unwrap().queued, 1);
}

#[tokio::test]
async fn a_key_is_free_again_after_its_time() {
    let house = House::new();
    house.store.accept(keyed(new_job(1), "k", 1)).await.unwrap();
    let mut later = new_job(2);
    later.created_at = new_job(1).created_at + Duration::from_hours(24);
    let later = keyed(later, "k", 2);
    assert_eq!(house.store.accept(later.clone()).await.unwrap(), later.id);
}

#[tokio::test]
async fn two_backends_that_claim_at_once_never_share_a_job() {
    let house = House::new();
    let accepted: BTreeSet<_> = join_all((0..200).map(|number| house.accept(number))).await.into_iter().collect();
    let ids: Vec<_> = accepted.iter().copied().collect();
    let all = |ids: &[JobId], backend: &str| {
        ids.iter().zip(offer(5)).map(|(id, fresh)| assignment(*id, backend, fresh)).collect()
    };
    // Both want the same jobs, and take turns in being the first.
    let turns = ids.chunks(5).enumerate().map(|(turn, ids)| (ids, if turn % 2 == 0 { ["a", "b"] } else { ["b", "a"] }));
    let claims = turns.flat_map(|(ids, names)| names.map(|name| house.store.claim(all(ids, name), after(300))));
    let claimed: Vec<_> = join_all(claims).await.into_iter().flat_map(Result::unwrap).collect();
    let claimed_ids: BTreeSet<_> = claimed.iter().map(|claimed| claimed.job.id).collect();
    assert_eq!(claimed.len(), 200);
    assert_eq!(claimed_ids, accepted);
    let backends: BTreeSet<_> = claimed.iter().map(|claimed| claimed.run.backend.as_str()).collect();
    assert_eq!(backends, BTreeSet::from(["a", "b"]));
    assert!(house.claim("a", 5, after(300)).await.is_empty());
}

#[tokio::test]
async fn jobs_are_claimed_by_priority_and_then_by_age() {
    let house = House::new();
    for (number, priority) in [(1, 0), (2, -5), (3, 9), (4, 0), (5, 9)] {
        let mut new = new_job(number);
        new.request.priority = priority;
        house.store.accept(new).await.unwrap();
    }
    let claimed = house.claim("gpu", 9, after(10)).await;
    let order: Vec<_> = claimed.iter().map(|claimed| claimed.job.id).collect();
    assert_eq!(order, [3, 5, 1, 4, 2].map(|number| new_job(number).id));
}

#[tokio::test]
async fn the_intent_of_a_claim_is_on_disk() {
    let house = House::new();
    let id = house.accept(1).await;
    let claimed = house.claim_one("gpu", after(5)).await;
    assert_eq!(claimed.run.prompt, PromptId::first(id));
    assert_eq!((claimed.run.number, claimed.tries, claimed.job.state), (1, 0, JobState::Submitted));
    assert_eq!(claimed.job.submitted_at, Some(after(5)));
    let killed = house.as_if_killed_now();
    assert_eq!(killed.store.on_backends().await.unwrap(), std::slice::from_ref(&claimed));
    assert_eq!(killed.job(id).await, claimed.job);
    assert!(house.store.started(id, 1, after(6)).await.unwrap());
    assert!(house.store.started(id, 1, after(7)).await.unwrap());
    let job = house.job(id).await;
    assert_eq!((job.state, job.started_at), (JobState::Running, Some(after(6))));
    assert_eq!(house.store.on_backends().await.unwrap()[0].job, job);
}

#[tokio::test]
async fn a_requeued_job_runs_again_under_a_fresh_prompt_and_late_words_of_the_old_run_are_dropped() {
    let house = House::new();
    let id = house.accept(1).await;
    house.claim_one("a", after(5)).await;
    assert!(house.store.requeue(id, 1, true, after(6)).await.unwrap());
    assert!(!house.store.requeue(id, 1, true, after(6)).await.unwrap());
    let job = house.job(id).await;
    assert_eq!((job.state, job.submitted_at, job.started_at), (JobState::Queued, None, None));
    let again = house.claim_one("b", after(7)).await;
    assert_eq!((again.run.number, again.tries, again.run.backend.as_str()), (2, 1, "b"));
    assert_eq!(again.run.prompt, offer(1)[0]);
    assert!(!house.store.started(id, 1, after(8)).await.unwrap());
    assert!(!house.store.requeue(id, 1, true, after(8)).await.unwrap());
    assert!(!house.store.finish(succeeded(id, Some(1), after(8))).await.unwrap());
    assert_eq!(house.job(id).await.state, JobState::Submitted);
    assert!(house.store.requeue(id, 2, false, after(9)).await.unwrap());
    let third = house.claim_one("a", after(10)).await;
    assert_eq!((third.run.number, third.tries), (3, 1));
}

#[tokio::test]
async fn a_waiting_job_that_is_to_be_cancelled_is_never_claimed() {
    let house = House::new();
    let id = house.accept(1).await;
    let wish = house.store.wish_cancel(id).await.unwrap();
    assert!(matches!(wish, CancelWish::Waiting(job) if job.id == id && job.cancel_requested));
    assert!(house.claim("gpu", 3, after(5)).await.is_empty());
    // A crash before the end is stored: the job is found again.
    let house = house.reopened().await;
    assert!(house.claim("gpu", 3, after(5)).await.is_empty());
    let overdue = house.store.overdue(after(5), 10).await.unwrap();
    assert_eq!(overdue.iter().map(|job| (job.id, job.cancel_requested)).collect::<Vec<_>>(), [(id, true)]);
    assert!(house.store.finish(cancelled(id, None, after(6))).await.unwrap());
    assert!(house.store.overdue(after(5), 10).await.unwrap().is_empty());
    let wish = house.store.wish_cancel(id).await.unwrap();
    assert_eq!(wish, CancelWish::AlreadyFinal(JobState::Cancelled));
}

#[tokio::test]
async fn a_job_on_a_backend_keeps_the_wish_to_cancel_it() {
    let house = House::new();
    let id = house.accept(1).await;
    house.claim_one("gpu", after(5)).await;
    let wish = house.store.wish_cancel(id).await.unwrap();
    assert!(matches!(wish, CancelWish::Running(job) if job.run.as_ref().unwrap().backend == "gpu"));
    let house = house.reopened().await;
    assert!(house.store.on_backends().await.unwrap()[0].job.cancel_requested);
    // Back in the queue the wish still holds.
    assert!(house.store.requeue(id, 1, true, after(6)).await.unwrap());
    assert!(house.claim("gpu", 1, after(7)).await.is_empty());
    assert_eq!(house.store.overdue(after(7), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_unknown_job_is_unknown_to_every_verb() {
    let house = House::new();
    let id = new_job(1).id;
    assert_eq!(house.store.job(id).await.unwrap(), None);
    assert_eq!(house.store.finished(id).await.unwrap(), None);
    assert_eq!(house.store.delivery(id).await.unwrap(), None);
    assert_eq!(house.store.wish_cancel(id).await.unwrap(), CancelWish::Unknown);
    assert!(!house.store.started(id, 1, after(1)).await.unwrap());
    assert!(!house.store.requeue(id, 1, true, after(1)).await.unwrap());
    assert!(!house.store.finish(succeeded(id, None, after(1))).await.unwrap());
    assert_eq!(house.store.finished(id).await.unwrap(), None);
}

#[tokio::test]
async fn the_first_end_wins_and_makes_the_only_delivery() {
    let house = House::new();
    let id = house.accept(1).await;
    house.claim_one("gpu", after(5)).await;
    let first = succeeded(id, Some(1), after(20));
    assert!(house.store.finish(first.clone()).await.unwrap());
    for late in [failed(id, Some(1), after(30)), cancelled(id, None, after(30)), succeeded(id, Some(2), after(30))] {
        assert!(!house.store.finish(late).await.unwrap());
    }
    assert!(!house.store.requeue(id, 1, true, after(30)).await.unwrap());
    assert!(!house.store.started(id, 1, after(30)).await.unwrap());
    let house = house.as_if_killed_now();
    let job = house.job(id).await;
    assert_eq!((job.state, job.ended_at), (JobState::Succeeded, Some(after(20))));
    let finished = house.store.finished(id).await.unwrap().unwrap();
    assert_eq!(finished.body, first.body);
    assert_eq!(finished.outputs, first.outcome.outputs());
    let (delivery, attempts) = house.store.delivery(id).await.unwrap().unwrap();
    assert_eq!((delivery.job, delivery.url.as_str(), delivery.body), (id, HOOK, first.body));
    assert_eq!((delivery.created_at, delivery.due_at), (after(20), after(20)));
    assert_eq!((delivery.state, delivery.attempts, attempts), (DeliveryState::Pending, 0, vec![]));
    assert_eq!(house.store.backlog().await.unwrap().deliveries, 1);
}

#[tokio::test]
async fn of_many_ends_at_once_exactly_one_counts() {
    let house = House::new();
    let id = house.accept(1).await;
    house.claim_one("gpu", after(5)).await;
    let ends = (0..30).map(|turn| match turn % 3 {
        0 => succeeded(id, Some(1), after(20 + turn)),
        1 => failed(id, Some(1), after(20 + turn)),
        _ => cancelled(id, Some(1), after(20 + turn)),
    });
    let answers = join_all(ends.map(|ending| house.store.finish(ending))).await;
    assert_eq!(answers.into_iter().filter(|answer| *answer.as_ref().unwrap()).count(), 1);
    assert_eq!(house.store.due_deliveries(after(99), Duration::from_secs(1), 99).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_end_while_waiting_does_not_end_a_job_that_was_claimed_meanwhile() {
    let house = House::new();
    let id = house.accept(1).await;
    house.claim_one("gpu", after(5)).await;
    assert!(!house.store.finish(failed(id, None, after(6))).await.unwrap());
    assert_eq!(house.job(id).await.state, JobState::Submitted);
    assert!(house.store.finish(succeeded(id, Some(1), after(7))).await.unwrap());
}

#[tokio::test]
async fn a_job_without_a_webhook_ends_without_a_delivery() {
    let house = House::new();
    let mut new = new_job(1);
    new.request.webhook_url = None;
    house.store.accept(new.clone()).await.unwrap();
    assert!(house.store.finish(failed(new.id, None, after(5))).await.unwrap());
    assert_eq!(house.store.delivery(new.id).await.unwrap(), None);
    assert!(house.store.due_deliveries(after(99), Duration::from_secs(1), 9).await.unwrap().is_empty());
    assert!(house.store.finished(new.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_failure_keeps_the_outputs_that_came_before_it() {
    let house = House::new();
    let id = house.accept(1).await;
    house.claim_one("gpu", after(5)).await;
    let outputs = succeeded(id, Some(1), after(6)).outcome.outputs().to_vec();
    let mut ending = failed(id, Some(1), after(6));
    if let Outcome::Failed(_, kept) = &mut ending.outcome {
        kept.extend(outputs.clone());
    }
    assert!(house.store.finish(ending).await.unwrap());
    assert_eq!(house.store.finished(id).await.unwrap().unwrap().outputs, outputs);
}

#[tokio::test]
async fn a_revision_is_kept_once_and_found_again() {
    let house = House::new();
    let revision = Revision { hash: "h".into(), name: "flux".into(), config: "a: 1".into(), template: "{}".into() };
    house.store.keep_revision(revision.clone()).await.unwrap();
    house.store.keep_revision(Revision { config: "other".into(), ..revision.clone() }).await.unwrap();
    let house = house.reopened().await;
    assert_eq!(house.store.revision("h").await.unwrap(), Some(revision));
    assert_eq!(house.store.revision("x").await.unwrap(), None);
}

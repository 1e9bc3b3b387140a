//! Backends that cannot run a job, and backends that lost it: who is given it next, and when nobody can be.

use crate::support::{House, after, cancelled, failed, new_job, succeeded};
use comfygate::job::{Job, JobId, JobState};
use comfygate::store::{FitnessStore, Refused, Store, Way};
use rusqlite::Connection;
use std::sync::Arc;

#[tokio::test]
async fn a_job_that_a_backend_cannot_run_is_never_given_to_it_again_and_costs_no_try() {
    let house = House::new();
    let id = house.accept(1).await;
    house.claim_one("a", after(5)).await;
    assert!(house.store.pass_on(id, 1, "no such model", None).await.unwrap());
    assert_eq!(house.job(id).await.state, JobState::Queued);
    let house = house.reopened().await;
    assert!(house.claim("a", 3, after(6)).await.is_empty());
    let again = house.claim_one("b", after(7)).await;
    assert_eq!((again.job.id, again.run.number, again.tries), (id, 2, 0));
    assert_eq!(again.refused, [refused("a", "no such model")]);
    assert_eq!(house.store.on_backends().await.unwrap(), [again]);
    // Back from a run that b lost, it still is nothing for a.
    assert!(house.store.requeue(id, 2, true, after(8)).await.unwrap());
    assert!(house.claim("a", 3, after(9)).await.is_empty());
    assert_eq!(house.claim_one("b", after(10)).await.tries, 1);
}

#[tokio::test]
async fn a_run_that_has_shown_that_a_backend_cannot_run_a_job_may_be_a_try() {
    let house = House::new();
    let id = house.accept(1).await;
    house.claim_one("a", after(5)).await;
    assert!(house.store.pass_on(id, 1, "memory ran out", Some(after(6))).await.unwrap());
    assert!(house.claim("a", 3, after(7)).await.is_empty());
    let again = house.claim_one("b", after(8)).await;
    assert_eq!((again.tries, again.refused.as_slice()), (1, &[refused("a", "memory ran out")][..]));
}

#[tokio::test]
async fn it_is_one_transaction_that_a_job_waits_again_and_who_cannot_run_it() {
    let house = House::new();
    let id = house.accept(1).await;
    house.claim_one("a", after(5)).await;
    assert!(house.store.pass_on(id, 1, "no", None).await.unwrap());
    let killed = house.as_if_killed_now();
    assert_eq!(killed.job(id).await.state, JobState::Queued);
    assert!(killed.claim("a", 1, after(6)).await.is_empty());
}

#[tokio::test]
async fn late_words_of_an_earlier_run_or_of_one_that_ended_make_no_backend_unfit() {
    let house = House::new();
    let id = house.accept(1).await;
    assert!(!house.store.pass_on(id, 1, "not claimed yet", None).await.unwrap());
    house.claim_one("a", after(5)).await;
    assert!(house.store.requeue(id, 1, true, after(6)).await.unwrap());
    let second = house.claim_one("a", after(7)).await;
    assert_eq!(second.run.number, 2);
    assert!(!house.store.pass_on(id, 1, "late", None).await.unwrap());
    assert!(house.store.finish(succeeded(id, Some(2), after(8))).await.unwrap());
    assert!(!house.store.pass_on(id, 2, "too late", None).await.unwrap());
    assert_eq!(house.job(id).await.state, JobState::Succeeded);
    let unfit: i64 = raw(&house).query_row("SELECT count(*) FROM unfit", (), |row| row.get(0)).unwrap();
    assert_eq!(unfit, 0);
}

#[tokio::test]
async fn jobs_that_wait_for_another_backend_hold_nobody_up() {
    let house = House::new();
    for number in 1..=40 {
        house.accept(number).await;
    }
    for claimed in house.claim("a", 30, after(50)).await {
        assert!(house.store.pass_on(claimed.job.id, 1, "no", None).await.unwrap());
    }
    let next = house.claim("a", 4, after(60)).await;
    let ids: Vec<JobId> = next.iter().map(|claimed| claimed.job.id).collect();
    assert_eq!(ids, [31, 32, 33, 34].map(|number| new_job(number).id));
    // For another backend they stand where they stood.
    assert_eq!(house.claim_one("b", after(61)).await.job.id, new_job(1).id);
}

/// Returns the waiting jobs that all of these have refused.
async fn stranded(house: &House, names: &[String], limit: u32) -> Vec<(Job, Vec<Refused>)> {
    let kind = house.store.waiting_kinds(None, 1).await.unwrap().kinds.remove(0);
    let able = names.iter().map(|name| Way::first(name)).collect();
    house.store.without_hope(kind, able, after(60_000), limit).await.unwrap()
}

#[tokio::test]
async fn only_what_every_backend_has_refused_is_stranded() {
    let house = House::new();
    let all = ["a".to_owned(), "b".to_owned()];
    for number in 1..=3 {
        house.accept(number).await;
    }
    let ids = [1, 2, 3].map(|number| new_job(number).id);
    for backend in ["a", "b"] {
        for claimed in house.claim(backend, 2, after(5)).await {
            let reason = format!("no, says {backend}");
            assert!(house.store.pass_on(claimed.job.id, claimed.run.number, &reason, None).await.unwrap());
        }
    }
    let both_refused = stranded(&house, &all, 10).await;
    let both = vec![refused("a", "no, says a"), refused("b", "no, says b")];
    let told: Vec<_> = both_refused.iter().map(|(job, refused)| (job.id, refused.clone())).collect();
    assert_eq!(told, [(ids[0], both.clone()), (ids[1], both)]);
    assert_eq!(stranded(&house, &all, 1).await.len(), 1);
    // With other backends than before there is hope, or none for more jobs.
    let with_c = [all.to_vec(), vec!["c".to_owned()]].concat();
    assert!(stranded(&house, &with_c, 10).await.is_empty());
    assert_eq!(stranded(&house, &all[..1], 10).await.len(), 2);
    // One that ended, and one that is to be cancelled, are not stranded.
    assert!(house.store.finish(failed(ids[0], None, after(9))).await.unwrap());
    house.store.wish_cancel(ids[1]).await.unwrap();
    assert!(stranded(&house, &all, 10).await.is_empty());
}

#[test]
fn of_ends_from_many_threads_one_counts_and_its_delivery_is_the_only_one() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for round in 1..=20_u16 {
        let house = House::new();
        let id = runtime.block_on(async {
            let id = house.accept(round).await;
            house.claim_one("a", after(5)).await;
            id
        });
        let wins: usize = std::thread::scope(|threads| {
            let end = |turn: u64| {
                let (store, handle) = (Arc::clone(&house.store), runtime.handle().clone());
                threads.spawn(move || {
                    let at = after(20 + turn);
                    let ending = match turn % 4 {
                        0 => succeeded(id, Some(1), at),
                        1 => failed(id, Some(1), at),
                        2 => cancelled(id, Some(1), at),
                        _ => return usize::from(handle.block_on(store.requeue(id, 1, true, at)).unwrap()),
                    };
                    usize::from(handle.block_on(store.finish(ending)).unwrap())
                })
            };
            let threads: Vec<_> = (0..8).map(end).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(wins, 1, "round {round}");
        runtime.block_on(async {
            let ended = house.job(id).await.state.is_final();
            assert_eq!(house.store.backlog().await.unwrap().deliveries, u64::from(ended), "round {round}");
            assert_eq!(house.store.finished(id).await.unwrap().is_some(), ended, "round {round}");
        });
    }
}

#[tokio::test]
async fn the_database_itself_refuses_to_change_a_job_that_has_ended() {
    let house = House::new();
    let id = house.ended(1).await;
    house.store.close().await;
    let database = raw(&house);
    for change in [
        "state = 'failed'",
        "state = 'queued', ended_at = NULL",
        "ended_at = ended_at + 1",
        "code = 'internal'",
        "error = 'x'",
        "run_number = run_number + 1",
        "backend = 'b'",
        "prompt_id = 'x'",
        "id = randomblob(16)",
    ] {
        let changed = database.execute(&format!("UPDATE job SET {change} WHERE id = ?1"), [id.as_bytes()]);
        let error = changed.expect_err(change).to_string();
        assert!(error.contains("a job that has ended never changes"), "{change}: {error}");
    }
    // Nor can it have two results or two deliveries.
    assert!(database.execute("INSERT INTO result SELECT job, body FROM result", ()).is_err());
    let twice = "INSERT INTO delivery (job, url, created_at, due_at) SELECT job, url, created_at, due_at FROM delivery";
    assert!(database.execute(twice, ()).is_err());
}

fn refused(backend: &str, reason: &str) -> Refused {
    Refused { way: Way::first(backend), reason: reason.into() }
}

fn raw(house: &House) -> Connection {
    let database = Connection::open(house.database()).unwrap();
    database.pragma_update(None, "foreign_keys", true).unwrap();
    database
}

//! Those who came to wait: read in pages, once each, with all that matters for where they may go; and claimed by name.

use crate::support::{House, after, assignment, new_job, offer};
use comfygate::job::{JobId, ParamValue, Params, Placement, PromptId, StructureHash, Variant};
use comfygate::store::{Assignment, Store, Waiting, Way};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};

#[tokio::test]
async fn every_job_that_came_to_wait_is_read_once_in_pages() {
    let house = House::new();
    for number in 1..=7 {
        house.accept(number).await;
    }
    let (mut mark, mut seen, mut pages) = (0, Vec::new(), 0);
    loop {
        let arrivals = house.store.arrivals(mark, 3).await.unwrap();
        mark = arrivals.mark;
        seen.extend(ids(&arrivals.jobs));
        pages += 1;
        if !arrivals.is_more {
            break;
        }
    }
    assert_eq!((pages, seen), (3, (1..=7).map(|number| new_job(number).id).collect::<Vec<_>>()));
    let nothing = house.store.arrivals(mark, 3).await.unwrap();
    assert_eq!((nothing.jobs, nothing.mark, nothing.is_more), (Vec::new(), mark, false));
    // One that waits again has come anew, and stands where it stood.
    house.claim("a", 7, after(10)).await;
    assert!(house.store.requeue(new_job(3).id, 1, true, after(11)).await.unwrap());
    assert!(house.store.pass_on(new_job(2).id, 1, "no", None).await.unwrap());
    house.accept(8).await;
    let again = house.store.arrivals(mark, 9).await.unwrap();
    assert_eq!(ids(&again.jobs), [3, 2, 8].map(|number| new_job(number).id));
    assert!(again.jobs[1].place < again.jobs[0].place && again.jobs[0].place < again.jobs[2].place);
    let told = |waiting: &Waiting| (waiting.left.clone(), waiting.unfit.clone());
    let a = || Some("a".to_owned());
    assert_eq!(
        again.jobs.iter().map(told).collect::<Vec<_>>(),
        [(a(), BTreeSet::new()), (a(), BTreeSet::from([Way::first("a")])), (None, BTreeSet::new()),]
    );
}

#[tokio::test]
async fn after_a_restart_all_that_wait_are_there_and_later_ones_come_after_them() {
    let house = House::new();
    for number in 1..=3 {
        house.accept(number).await;
    }
    house.claim("a", 3, after(5)).await;
    for number in [3, 1] {
        assert!(house.store.requeue(new_job(number).id, 1, true, after(6)).await.unwrap());
    }
    let house = house.reopened().await;
    let before = house.store.arrivals(0, 9).await.unwrap();
    assert_eq!(ids(&before.jobs), [3, 1].map(|number| new_job(number).id));
    house.accept(4).await;
    assert_eq!(ids(&house.store.arrivals(before.mark, 9).await.unwrap().jobs), [new_job(4).id]);
}

#[tokio::test]
async fn a_job_tells_where_it_may_go() {
    let house = House::new();
    let mut new = new_job(1);
    new.request.structure = StructureHash("ab12".into());
    new.request.priority = -7;
    new.tenant = "shop".parse().unwrap();
    let names = |name: &str| BTreeSet::from([name.to_owned()]);
    new.request.placement =
        Placement { tags: names("flux"), prefer: names("big"), exclude: names("old"), by_variant: Vec::new() };
    house.store.accept(new.clone()).await.unwrap();
    let waiting = house.waiting().await.remove(0);
    assert_eq!((waiting.job, &waiting.tenant, waiting.priority), (new.id, &new.tenant, -7));
    assert_eq!(waiting.structures, [StructureHash("ab12".into())]);
    assert_eq!((waiting.placement, waiting.with_images), (new.request.placement, false));
}

#[tokio::test]
async fn the_variant_that_was_chosen_is_kept_with_the_run() {
    let house = House::new();
    let mut new = new_job(1);
    let variant = |name: &str| Variant {
        workflow: name.into(),
        revision: format!("revision of {name}"),
        structure: StructureHash(name.into()),
        params: Params::from([("size".to_owned(), ParamValue::Integer(7))]),
        seed: Some(5),
        output_names: BTreeMap::new(),
        expected_images: Some(2),
    };
    new.request.structure = StructureHash("whole".into());
    new.request.variants = vec![variant("half"), variant("small")];
    house.store.accept(new.clone()).await.unwrap();
    let names = ["whole", "half", "small"].map(|name| StructureHash(name.into()));
    assert_eq!(house.waiting().await.remove(0).structures, names);
    let chosen = Assignment { variant: 2, ..assignment(new.id, "a", offer(1).remove(0)) };
    let claimed = house.store.claim(vec![chosen], after(5)).await.unwrap().remove(0);
    let request = &claimed.job.request;
    assert_eq!((request.workflow.as_str(), request.revision.as_str()), ("small", "revision of small"));
    assert_eq!((&request.params, request.seed, request.expected_images), (&variant("small").params, Some(5), Some(2)));
    assert_eq!(request.webhook_url, new.request.webhook_url, "what is no matter of the workflow stays");
    assert_eq!(house.store.on_backends().await.unwrap(), std::slice::from_ref(&claimed));
    house.store.requeue(new.id, 1, true, after(6)).await.unwrap();
    let again = Assignment { variant: 0, ..assignment(new.id, "b", offer(1).remove(0)) };
    let claimed = house.store.claim(vec![again], after(7)).await.unwrap().remove(0);
    assert_eq!(claimed.job.request, new.request, "the next run may be of another");
    assert!(house.store.pass_on(new.id, 2, "no such model", None).await.unwrap());
    let house = house.reopened().await;
    assert_eq!(house.waiting().await.remove(0).unfit, BTreeSet::from([Way::first("b")]), "as that variant alone");
    let second = Assignment { variant: 1, ..assignment(new.id, "b", offer(1).remove(0)) };
    let claimed = house.store.claim(vec![second], after(8)).await.unwrap().remove(0);
    assert_eq!((claimed.variant, claimed.structures.as_slice()), (1, names.as_slice()));
    assert_eq!(house.store.on_backends().await.unwrap(), [claimed]);
    assert!(house.store.pass_on(new.id, 3, "no such model either", None).await.unwrap());
    let refused = Way { variant: 1, ..Way::first("b") };
    assert_eq!(house.waiting().await.remove(0).unfit, BTreeSet::from([Way::first("b"), refused]));
}

#[tokio::test]
async fn only_jobs_that_still_wait_are_claimed_and_the_others_go_on() {
    let house = House::new();
    for number in 1..=4 {
        house.accept(number).await;
    }
    let all = |backend: &'static str| {
        (1..=5).map(|number| assignment(new_job(number).id, backend, PromptId::fresh([7; 16]))).collect::<Vec<_>>()
    };
    house.store.wish_cancel(new_job(2).id).await.unwrap();
    house.claim_one("a", after(5)).await;
    let claimed = house.store.claim(all("b"), after(6)).await.unwrap();
    assert_eq!(claimed.iter().map(|it| it.job.id).collect::<Vec<_>>(), [3, 4].map(|number| new_job(number).id));
    assert_eq!(house.job(new_job(1).id).await.run.unwrap().backend, "a");
    assert!(house.store.claim(all("c"), after(7)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_waiting_row_that_cannot_be_read_holds_up_no_other() {
    for damage in [
        "UPDATE job_request SET request = '{' WHERE job = (SELECT min(row) FROM job)",
        "UPDATE job SET placement = '[' WHERE row = (SELECT min(row) FROM job)",
    ] {
        let house = House::new();
        for number in 1..=3 {
            house.accept(number).await;
        }
        house.store.close().await;
        Connection::open(house.database()).unwrap().execute(damage, ()).unwrap();
        let house = house.reopened().await;
        let claimed = house.claim("a", 3, after(5)).await;
        let whole = [2, 3].map(|number| new_job(number).id);
        assert_eq!(claimed.iter().map(|it| it.job.id).collect::<Vec<_>>(), whole, "{damage}");
        // It still is there, and what is overdue besides it is found.
        assert_eq!(house.store.backlog().await.unwrap().queued, 1);
        assert!(house.store.requeue(whole[0], 1, false, after(6)).await.unwrap());
        let overdue = house.store.overdue(after(10_000_000), 9).await.unwrap();
        assert!(overdue.iter().any(|job| job.id == whole[0]), "{damage}");
    }
}

fn ids(waiting: &[Waiting]) -> Vec<JobId> {
    waiting.iter().map(|waiting| waiting.job).collect()
}

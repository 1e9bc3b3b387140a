//! What backends said of graphs outlives a restart, and the kinds of waiting jobs are told with whom each job has left.

use crate::support::{House, after, new_job};
use comfygate::job::{JobId, Placement, StructureHash};
use comfygate::store::{FitnessStore, Incapable, Kind, Store, Way};
use std::collections::BTreeSet;

#[tokio::test]
async fn what_a_backend_said_is_kept_until_it_holds_no_more() {
    let house = House::new();
    let (first, second) = (said("one", "a", 1), said("one", "b", 2));
    for said in [&first, &second, &said("two", "a", 3)] {
        house.store.keep_incapable(said.clone()).await.unwrap();
    }
    let again = Incapable { reason: "still not".into(), ..said("two", "a", 4) };
    house.store.keep_incapable(again.clone()).await.unwrap();
    let house = house.reopened().await;
    assert_eq!(house.store.incapable().await.unwrap(), [first.clone(), second, again.clone()]);
    house.store.forget_incapable(vec![(graph("one"), "b".into()), (graph("nobody's"), "a".into())]).await.unwrap();
    assert_eq!(house.store.incapable().await.unwrap(), [first, again]);
}

#[tokio::test]
async fn waiting_jobs_are_told_by_what_they_need_and_wish() {
    let house = House::new();
    let flux = Placement { tags: ["flux".to_owned()].into(), ..Placement::default() };
    let (first, _) = (wait(&house, 1, "one", &flux).await, wait(&house, 2, "one", &flux).await);
    let third = wait(&house, 3, "one", &Placement::default()).await;
    let kind = |placement: &Placement, example: JobId, number: u16| Kind {
        graphs: vec![graph("one")],
        placement: placement.clone(),
        example,
        since: new_job(number).created_at,
    };
    let all = house.store.waiting_kinds(None, 10).await.unwrap();
    assert_eq!((all.kinds.len(), &all.next), (2, &None));
    assert!(all.kinds.contains(&kind(&flux, first, 1)) && all.kinds.contains(&kind(&Placement::default(), third, 3)));
    house.claim_one("a", after(10)).await;
    house.claim_one("a", after(10)).await;
    let left = house.store.waiting_kinds(None, 10).await.unwrap();
    assert_eq!(left.kinds, [kind(&Placement::default(), third, 3)]);
}

#[tokio::test]
async fn the_kinds_of_waiting_jobs_are_told_page_by_page() {
    let house = House::new();
    let placements: Vec<Placement> =
        ["a", "b"].map(|tag| Placement { tags: [tag.to_owned()].into(), ..Placement::default() }).into();
    let mut examples = BTreeSet::new();
    for (number, structure) in (1..).zip(["one", "one", "two", "", ""]) {
        examples.insert(wait(&house, number, structure, &placements[usize::from(number % 2)]).await);
    }
    let (mut seen, mut mark, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = house.store.waiting_kinds(mark, 2).await.unwrap();
        seen.extend(page.kinds.iter().map(|kind| kind.example));
        (mark, pages) = (page.next, pages + 1);
        if mark.is_none() {
            break;
        }
    }
    assert_eq!((pages, seen.len(), seen.into_iter().collect::<BTreeSet<_>>()), (3, 5, examples));
}

#[tokio::test]
async fn without_hope_is_a_job_that_each_who_could_run_it_has_refused() {
    let house = House::new();
    let ids =
        [wait(&house, 1, "one", &Placement::default()).await, wait(&house, 2, "one", &Placement::default()).await];
    house.claim_one("a", after(10)).await;
    assert!(house.store.pass_on(ids[0], 1, "no x", None).await.unwrap());
    let kind = house.store.waiting_kinds(None, 1).await.unwrap().kinds.remove(0);
    let hopeless = async |able: &[&str], by: u64| {
        let able = able.iter().map(|name| Way::first(name)).collect();
        let found = house.store.without_hope(kind.clone(), able, after(by), 10).await.unwrap();
        found.into_iter().map(|(job, refused)| (job.id, refused.len())).collect::<Vec<_>>()
    };
    assert_eq!(hopeless(&["a"], 100).await, [(ids[0], 1)]);
    assert_eq!(hopeless(&["a", "b"], 100).await, []);
    assert_eq!(hopeless(&[], 100).await, [(ids[0], 1), (ids[1], 0)]);
    assert_eq!(hopeless(&[], 1).await, [(ids[0], 1)], "the other has not waited for so long");
    house.store.wish_cancel(ids[0]).await.unwrap();
    assert_eq!(hopeless(&["a"], 100).await, [], "it is about to be cancelled");
}

async fn wait(house: &House, number: u16, structure: &str, placement: &Placement) -> JobId {
    let mut new = new_job(number);
    new.request.structure = graph(structure);
    new.request.placement = placement.clone();
    house.store.accept(new).await.unwrap()
}

fn graph(name: &str) -> StructureHash {
    StructureHash(name.to_owned())
}

fn said(structure: &str, backend: &str, at: u64) -> Incapable {
    Incapable {
        graph: graph(structure),
        backend: backend.to_owned(),
        reason: "no such model".to_owned(),
        share: "ab".to_owned(),
        at: after(at),
    }
}

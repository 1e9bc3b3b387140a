//! What is learnt from runs, and what is forgotten.

use super::*;

fn graph(name: &str) -> StructureHash {
    StructureHash(name.to_owned())
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn runs_that_load_models_and_runs_that_find_them_are_told_apart() {
    let estimates = Estimates::default();
    let (a, b) = (graph("a"), graph("b"));
    estimates.ran(&a, "one", seconds(60), at(1));
    assert_eq!(estimates.read().run_time(&a, "one", true), Some(seconds(60)), "nothing else is known");
    estimates.ran(&a, "one", seconds(10), at(2));
    estimates.ran(&a, "one", seconds(20), at(3));
    assert_eq!(estimates.read().run_time(&a, "one", true), Some(seconds(13)));
    assert_eq!(estimates.read().run_time(&a, "one", false), Some(seconds(60)));
    assert_eq!(estimates.read().expected(&a, "one"), Some(seconds(13)));

    estimates.ran(&b, "one", seconds(5), at(4));
    assert_eq!(estimates.read().last_ran("one"), Some(&b));
    assert_eq!(estimates.read().expected(&a, "one"), Some(seconds(60)));
    estimates.touched(&a, "one");
    assert_eq!(estimates.read().expected(&a, "one"), Some(seconds(13)));
    estimates.cooled("one");
    assert_eq!((estimates.read().expected(&a, "one"), estimates.read().last_ran("one")), (Some(seconds(60)), None));
}

#[test]
fn where_a_graph_never_ran_it_is_expected_to_take_as_long_as_elsewhere() {
    let estimates = Estimates::default();
    assert_eq!((estimates.read().expected(&graph("a"), "one"), estimates.read().mean_of_all()), (None, None));
    estimates.ran(&graph("a"), "one", seconds(10), at(1));
    estimates.ran(&graph("a"), "two", seconds(30), at(1));
    assert_eq!(estimates.read().run_time(&graph("a"), "three", true), None);
    assert_eq!(estimates.read().expected(&graph("a"), "three"), Some(seconds(20)));
    assert_eq!(estimates.read().mean_of_all(), Some(seconds(11)));
}

#[test]
fn a_graph_that_is_not_known_is_not_learnt() {
    let estimates = Estimates::default();
    estimates.ran(&graph("a"), "one", seconds(1), at(1));
    estimates.ran(&graph(""), "one", seconds(100), at(2));
    assert_eq!(estimates.read().run_time(&graph(""), "one", true), None);
    assert!(!estimates.read().is_warm(&graph("a"), "one"), "something else was loaded");
    assert_eq!(estimates.take_changes().learnt.len(), 1);
}

#[test]
fn changes_are_told_once_and_again_where_they_were_not_kept() {
    let estimates = Estimates::default();
    estimates.ran(&graph("a"), "one", Duration::from_millis(1500), at(7));
    let changes = estimates.take_changes();
    let learnt = Estimate {
        structure: graph("a"),
        backend: "one".into(),
        cold_ms: Some(1500.0),
        warm_ms: None,
        runs: 1,
        at: at(7),
    };
    assert_eq!(changes, EstimateChanges { learnt: vec![learnt], forgotten: vec![] });
    assert!(estimates.take_changes().is_empty());
    estimates.not_kept(changes.clone());
    assert_eq!(estimates.take_changes(), changes);
    estimates.forget("one");
    assert_eq!(estimates.take_changes().forgotten, [(graph("a"), "one".to_owned())]);
    assert_eq!((estimates.read().run_time(&graph("a"), "one", true), estimates.read().last_ran("one")), (None, None));
}

#[test]
fn what_was_known_before_is_known_again() {
    let before = Estimates::default();
    before.ran(&graph("a"), "one", seconds(60), at(1));
    before.ran(&graph("b"), "one", seconds(5), at(2));
    before.ran(&graph("b"), "one", seconds(3), at(3));
    let after = Estimates::of(before.take_changes().learnt);
    assert_eq!(after.read().run_time(&graph("a"), "one", false), Some(seconds(60)));
    assert_eq!(after.read().expected(&graph("b"), "one"), Some(seconds(3)), "it ran last");
    assert!(after.read().mean_of_all().is_some_and(|mean| mean > seconds(3) && mean < seconds(60)));
    assert!(after.take_changes().is_empty());
}

#[test]
fn no_stored_number_is_taken_at_its_word() {
    for wrong in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
        let stored = Estimate {
            structure: graph("a"),
            backend: "one".into(),
            cold_ms: Some(wrong),
            warm_ms: None,
            runs: 1,
            at: at(1),
        };
        let estimates = Estimates::of([stored]);
        estimates.ran(&graph("a"), "one", Duration::MAX, at(2));
        assert!(estimates.read().run_time(&graph("a"), "one", true).is_some_and(|time| time <= LONGEST), "{wrong}");
    }
}

#[test]
fn the_oldest_are_forgotten_where_there_are_too_many() {
    let estimates = Estimates::default();
    let of = |number: i64| graph(&format!("{number:05}"));
    let most = i64::try_from(PAIRS).unwrap();
    for number in 0..=most {
        // The newest come first, then ever older ones, and the last of all is the newest.
        let time = if number == most { most * 2 } else { most - number };
        estimates.ran(&of(number), "one", seconds(1), at(time));
    }
    let known = |number: i64| estimates.read().run_time(&of(number), "one", true).is_some();
    assert!(known(0) && known(most), "the newest stay");
    assert!(!known(most - 1) && !known(most - 500), "the oldest go");
    let kept = (0..=most).filter(|number| known(*number)).count();
    assert_eq!(kept, PAIRS + 1 - PAIRS / 10);
    assert_eq!(estimates.take_changes().forgotten.len(), PAIRS / 10);
    assert_eq!(estimates.read().0.pairs, kept);
}

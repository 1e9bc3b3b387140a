//! How a run went, where not everything is heard of it, or is heard twice; and how far it says that it is.

use super::rig::{PROMPT, Rig, executed, file, plan, seconds, stored, succeeded};
use super::*;
use crate::comfy::event::{Event, NodeProgress};
use crate::comfy::{HistoryEnd, HistoryEntry, Timeline};
use crate::job::NodeLabel;
use crate::tracker::evidence::Evidence;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tells that nodes run, are this far, or are over.
fn states(nodes: &[(&str, f64, bool)]) -> Event {
    let state = |(node, value, finished): &(&str, f64, bool)| NodeProgress {
        node: (*node).to_owned(),
        display_node: (*node).to_owned(),
        value: *value,
        max: 1.0,
        finished: *finished,
    };
    Event::ProgressState { prompt: PROMPT.into(), nodes: nodes.iter().map(state).collect() }
}

fn executing(node: &str) -> Event {
    Event::Executing { prompt: Some(PROMPT.into()), node: node.into(), display_node: node.into() }
}

fn times(rig: &Rig) -> Vec<(String, u64)> {
    let profile = rig.run.profile(rig.now()).unwrap();
    profile.nodes.into_iter().map(|node| (node.id, node.ms)).collect()
}

fn time(node: &str, ms: u64) -> (String, u64) {
    (node.to_owned(), ms)
}

#[test]
fn a_run_tells_how_long_it_waited_and_ran() {
    let labels =
        BTreeMap::from([("2".to_owned(), NodeLabel { class: "KSampler".into(), title: Some("x".repeat(1000)) })]);
    let mut rig = Rig::accepted(Plan { labels: labels.into(), ..plan() });
    assert_eq!(rig.run.profile(rig.now()), None, "it has not begun");
    rig.after(3).event(Event::Started { prompt: PROMPT.into() });
    rig.event(Event::Cached { prompt: PROMPT.into(), nodes: vec!["1".into(), "5.0.0.1".into(), "77".into()] });
    rig.after(1).event(states(&[("2", 0.0, false)]));
    rig.after(7).event(states(&[("2", 0.0, true)]));
    rig.event(succeeded());
    // Fetching takes its time too.
    rig.after(60);
    let profile = rig.run.profile(rig.now()).unwrap();
    assert_eq!((profile.waited_ms, profile.run_ms, profile.partial), (Some(3_000), 8_000, false));
    assert_eq!((profile.nodes_executed, profile.nodes_cached), (1, 1), "only nodes of the graph count");
    let node = &profile.nodes[0];
    assert_eq!((node.id.as_str(), node.at_ms, node.ms), ("2", 1_000, 7_000));
    assert_eq!((node.class.as_deref(), node.title.as_ref().map(String::len)), (Some("KSampler"), Some(100)));
}

#[test]
fn what_is_said_twice_or_late_is_counted_once() {
    let mut rig = Rig::running(plan());
    rig.event(states(&[("1", 0.0, false)]));
    rig.event(states(&[("1", 0.0, false)]));
    rig.after(2).event(states(&[("1", 1.0, true)]));
    rig.after(1).event(executing("1"));
    rig.event(states(&[("1", 0.0, false)]));
    rig.after(4).event(states(&[("1", 1.0, true), ("unknown", 0.0, false), ("9", 1.0, true)]));
    assert_eq!(times(&rig), [time("1", 2_000)]);
    assert_eq!(rig.run.profile(rig.now()).unwrap().nodes_cached, 1, "`9` was taken from elsewhere without running");
    rig.event(succeeded());
    rig.after(9).event(states(&[("2", 0.0, false)]));
    assert_eq!(times(&rig), [time("1", 2_000)]);
}

#[test]
fn a_server_that_does_not_tell_states_runs_one_node_after_the_other() {
    let mut rig = Rig::running(plan());
    rig.event(executing("1"));
    rig.after(2).event(executing("2"));
    rig.after(3).event(executing("2"));
    rig.after(1).event(executing("9"));
    rig.after(5).event(succeeded());
    assert_eq!(times(&rig), [time("1", 2_000), time("2", 4_000), time("9", 5_000)]);
}

#[test]
fn what_a_node_is_expanded_into_counts_for_the_node_that_it_is_shown_as() {
    let (node, display_node) = ("hidden".to_owned(), "9".to_owned());
    let state =
        NodeProgress { node: node.clone(), display_node: display_node.clone(), value: 0.0, max: 1.0, finished: false };
    for event in [
        Event::Executing { prompt: Some(PROMPT.into()), node, display_node },
        Event::ProgressState { prompt: PROMPT.into(), nodes: vec![state] },
    ] {
        let mut rig = Rig::running(plan());
        rig.event(event);
        rig.after(3).event(succeeded());
        assert_eq!(times(&rig), [time("9", 3_000)]);
    }
}

#[test]
fn a_run_that_nobody_heard_to_its_end_took_as_long_as_the_history_says() {
    let timeline = Timeline { start_ms: Some(1_000_000), end_ms: Some(1_012_500), cached: vec!["1".into()] };
    let ended = |end| Evidence::Ended(HistoryEntry { end, outputs: Vec::new(), timeline: timeline.clone() });
    let mut rig = Rig::running(plan());
    rig.event(states(&[("2", 0.0, false)]));
    rig.after(4).take(Input::SocketLost { another_ran: false });
    rig.after(300).take(Input::SocketUp);
    rig.take(Input::Evidence(ended(HistoryEnd::Succeeded)));
    let profile = rig.run.profile(rig.now()).unwrap();
    assert_eq!((profile.run_ms, profile.partial, profile.is_telling()), (12_500, true, true));
    assert_eq!((times(&rig), profile.nodes_cached), (vec![time("2", 4_000)], 1));

    // One of an earlier life of the gateway.
    let mut run = Run::recovered(plan(), Some(seconds(100)), seconds(500));
    step(&mut run, Input::Tick, seconds(500));
    step(&mut run, Input::Evidence(ended(HistoryEnd::Interrupted)), seconds(501));
    let profile = run.profile(seconds(501)).unwrap();
    assert_eq!((profile.run_ms, profile.partial, profile.waited_ms), (12_500, true, None));
    assert!(!profile.is_telling(), "no node was heard of");

    // Where the history does not say it, the clock does.
    let silent = HistoryEntry { end: HistoryEnd::Unknown, outputs: Vec::new(), timeline: Timeline::default() };
    let mut rig = Rig::running(plan());
    rig.event(executing("1"));
    rig.take(Input::SocketLost { another_ran: false });
    rig.after(30).take(Input::Evidence(Evidence::Ended(silent)));
    let profile = rig.run.profile(rig.now()).unwrap();
    assert_eq!((profile.run_ms, profile.is_telling()), (30_000, false));
}

#[test]
fn a_run_that_was_heard_is_not_taken_from_a_history_that_is_read_for_other_reasons() {
    let mut rig = Rig::running(plan());
    rig.after(5).event(executed("9", &[file("a.png", "output")]));
    rig.event(succeeded());
    let timeline = Timeline { start_ms: Some(0), end_ms: Some(99_000), cached: Vec::new() };
    let entry = HistoryEntry { end: HistoryEnd::Succeeded, outputs: Vec::new(), timeline };
    rig.after(1).take(Input::Evidence(Evidence::Ended(entry)));
    assert!(!rig.run.is_done());
    rig.take(stored(0));
    let profile = rig.run.profile(rig.now()).unwrap();
    assert_eq!((profile.run_ms, profile.partial), (5_000, false));
}

#[test]
fn very_many_nodes_leave_the_slowest() {
    let nodes: Vec<String> = (0..600).map(|number| format!("{number:04}")).collect();
    let mut rig = Rig::running(Plan { nodes: nodes.iter().cloned().collect(), ..plan() });
    for (number, node) in nodes.iter().enumerate() {
        rig.event(executing(node));
        rig.after(if number == 300 { 50 } else { 1 });
    }
    rig.event(succeeded());
    let profile = rig.run.profile(rig.now()).unwrap();
    assert_eq!((profile.nodes.len(), profile.nodes_executed), (512, 600));
    assert!(profile.nodes.iter().any(|node| node.id == "0300" && node.ms == 50_000));
    assert_eq!(profile.brief()["slowest"][0]["id"], "0300");
}

#[test]
fn what_a_hostile_server_makes_up_is_not_kept() {
    let mut rig = Rig::running(plan());
    for number in 0..2_000 {
        let node = format!("1.{number}");
        rig.event(states(&[(&node, 0.0, false)]));
        rig.event(states(&[(&node, 1.0, true)]));
        rig.event(executing(&format!("made up {number}")));
    }
    assert!(rig.run.stopwatch.size() <= 1_100, "{}", rig.run.stopwatch.size());
    assert_eq!(times(&rig), [time("1", 0)]);
}

#[test]
fn progress_never_goes_back() {
    let bar = |value, max| Event::Progress { prompt: Some(PROMPT.into()), node: Some("2".into()), value, max };
    let mut rig = Rig::running(plan());
    let mut before = 0.0;
    let stories = [
        bar(9.0, 10.0),
        bar(1.0, 100.0),
        bar(f64::NAN, 1.0),
        bar(1.0, f64::INFINITY),
        bar(-5.0, 10.0),
        bar(10.0, 10.0),
    ];
    for event in stories {
        rig.event(event);
        let now = rig.run.progress().unwrap();
        assert!(now >= before && now <= 1.0, "{before} then {now}");
        before = now;
    }
    assert!(before > 0.3);
}

#[test]
fn what_a_node_is_expanded_into_does_not_count_as_further_nodes() {
    let mut rig = Rig::running(plan());
    rig.event(states(&[("1", 0.0, false), ("1.0.0.1", 1.0, true), ("1.0.0.2", 1.0, true), ("1.0.0.3", 1.0, true)]));
    let almost = rig.run.progress().unwrap();
    assert!(almost > 0.3 && almost < 1.0 / 3.0, "{almost}");
    rig.event(states(&[("1", 1.0, true)]));
    assert_eq!(rig.run.progress(), Some(1.0 / 3.0));
}

#[test]
fn nodes_count_by_how_long_they_usually_take_where_that_is_known() {
    let weights = BTreeMap::from([("1".to_owned(), 100.0), ("2".to_owned(), 800.0), ("9".to_owned(), 100.0)]);
    let weighed = Plan { weights: Arc::new(weights), ..plan() };
    let mut rig = Rig::running(weighed.clone());
    assert!(rig.run.is_weighed());
    rig.event(states(&[("1", 1.0, true), ("2", 0.5, false)]));
    assert_eq!(rig.run.progress(), Some(0.5));

    // What does not run is neither done nor to be done.
    let mut rig = Rig::running(weighed);
    rig.event(Event::Cached { prompt: PROMPT.into(), nodes: vec!["2".into()] });
    assert_eq!(rig.run.progress(), Some(0.0));
    rig.event(states(&[("1", 1.0, true)]));
    assert_eq!(rig.run.progress(), Some(0.5));

    let strange = Plan { weights: Arc::new(BTreeMap::from([("1".to_owned(), 100.0)])), ..plan() };
    assert!(!Rig::running(strange).run.is_weighed(), "most are not known");
}

//! What is so of events whatever happens: random inputs, and a few cases that say what is meant.

use super::*;
use crate::job::{Advance, Audience, BlobId, Output, Tenant, WebhookEvent};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

#[test]
fn events_of_a_job_go_one_after_another_and_the_newest_progress_wins() {
    let mut board = Board::default();
    board.take(of(1, News::Started), NOW);
    board.take(of(1, progress(0.1)), NOW);
    board.take(of(1, progress(0.2)), NOW);
    assert_eq!(board.next(NOW).unwrap().announcement.news, News::Started);
    assert!(board.next(NOW).is_none(), "one is under way");
    board.over(job(1), true, NOW);
    assert_eq!(board.next(NOW).unwrap().announcement.news, progress(0.2));
    board.over(job(1), true, NOW);
    assert!(board.next(NOW).is_none());
}

#[test]
fn progress_waits_for_its_second_and_outputs_do_not() {
    let mut board = Board::default();
    board.take(of(1, progress(0.1)), NOW);
    assert!(board.next(NOW).is_some());
    board.over(job(1), true, NOW);
    board.take(of(1, progress(0.2)), NOW);
    let later = NOW + EVERY;
    assert!(board.next(NOW).is_none());
    assert_eq!(board.wakes_at(), Some(later));
    board.take(of(1, output(0)), NOW);
    assert_eq!(board.next(NOW).unwrap().announcement.news, output(0));
    board.over(job(1), true, NOW);
    assert!(board.next(NOW + Duration::from_millis(999)).is_none());
    assert_eq!(board.next(later).unwrap().announcement.news, progress(0.2));
    assert_eq!(board.wakes_at(), None);
}

#[test]
fn an_end_waits_for_what_is_under_way_and_for_outputs_but_not_for_progress() {
    let mut board = Board::default();
    assert_eq!(board.settle(job(2), NOW), Settled::Yes, "nobody wants to hear of this job");
    board.take(of(1, News::Started), NOW);
    let due = board.next(NOW).unwrap();
    board.take(of(1, output(0)), NOW);
    board.take(of(1, progress(0.5)), NOW);
    let asked = NOW + Duration::from_secs(1);
    let end_at = asked + LIMIT;
    assert_eq!(board.settle(job(1), asked), Settled::NotBefore(end_at));
    assert!(due.until <= end_at);
    board.take(of(1, output(1)), asked);
    board.over(job(1), true, asked);
    assert_eq!(board.settle(job(1), asked), Settled::NotBefore(end_at));
    let due = board.next(asked + Duration::from_secs(2)).unwrap();
    assert_eq!((&due.announcement.news, due.until), (&output(0), end_at), "the end does not wait for longer");
    board.over(job(1), true, asked);
    assert_eq!(board.settle(job(1), asked), Settled::Yes);
    assert!(board.next(end_at).is_none());
}

#[test]
fn an_end_whose_outputs_find_no_place_does_not_wait_for_ever() {
    let mut board = Board::default();
    for number in 1..=3 {
        board.take(of(number, output(0)), NOW);
    }
    let under_way: Vec<JobId> = drain(&mut board, NOW);
    assert_eq!(under_way.len(), PER_HOST);
    let waiting = (1..=3).map(job).find(|job| !under_way.contains(job)).unwrap();
    assert_eq!(board.settle(waiting, NOW), Settled::NotBefore(NOW + LIMIT));
    assert_eq!(board.settle(waiting, NOW + LIMIT), Settled::Yes);
    board.over(under_way[0], true, NOW);
    board.over(under_way[1], true, NOW);
    assert!(board.next(NOW).is_none());
}

#[test]
fn a_host_that_does_not_take_events_is_told_none_for_a_while_and_others_are() {
    let mut board = Board::default();
    let mut now = NOW;
    for rest in [1, 2, 4, 8, 16, 32, 60, 60] {
        board.take(at_host(1, "slow", output(0)), now);
        assert!(board.next(now).is_some());
        board.take(at_host(2, "slow", output(0)), now);
        board.over(job(1), false, now);
        assert!(board.next(now).is_none(), "what waited for it is dropped");
        board.take(at_host(1, "slow", output(1)), now);
        board.take(at_host(3, "well", output(1)), now);
        assert_eq!(drain(&mut board, now), [job(3)]);
        board.over(job(3), true, now);
        let until = now + Duration::from_secs(rest);
        board.take(at_host(1, "slow", output(1)), Timestamp::from_millis(until.millis() - 1));
        assert!(board.next(until).is_none(), "{rest}");
        now = until;
    }
    board.take(at_host(1, "slow", output(1)), now);
    assert!(board.next(now).is_some());
    board.over(job(1), true, now);
    board.take(at_host(1, "slow", output(2)), now);
    assert!(board.next(now).is_some(), "it is well again");
}

#[test]
fn a_host_that_deliveries_leave_alone_is_told_nothing_and_another_tenants_is() {
    let mut board = Board::default();
    for number in 1..=4 {
        board.take(at_host(number, "down", output(0)), NOW);
    }
    board.take(at_host(5, "well", progress(0.1)), NOW);
    let under_way = drain(&mut board, NOW);
    assert_eq!(under_way.len(), 3, "two wait for the host that is about to go down");
    let until = NOW + EVERY;
    let gate = |host: &str, shut| ((Tenant::default(), Arc::from(format!("{host}:80"))), shut);
    board.shut([gate("down", Shut::Down), gate("busy", Shut::Until(until))].into(), NOW);
    for number in [3, 4].into_iter().filter(|number| !under_way.contains(&job(*number))) {
        assert_eq!(board.settle(job(number), NOW), Settled::Yes, "its end waits for nothing");
    }
    for id in under_way {
        board.over(id, true, NOW);
    }
    assert!(board.next(NOW).is_none(), "what waited is dropped");
    for (number, host) in [(6, "down"), (7, "busy"), (8, "well")] {
        board.take(at_host(number, host, News::Started), NOW);
    }
    let of_another = at_host(9, "down", News::Started);
    let audience = Audience { tenant: "shop".parse().unwrap(), ..(*of_another.audience).clone() };
    board.take(Announcement { audience: Arc::new(audience), ..of_another }, NOW);
    assert_eq!(drain(&mut board, NOW), [job(8), job(9)]);
    board.over(job(9), true, NOW);
    for (number, host) in [(10, "down"), (11, "busy")] {
        board.take(at_host(number, host, News::Started), until);
    }
    assert_eq!(drain(&mut board, until), [job(11)], "a pause ends by itself");
    board.shut(Gates::new(), until);
    board.take(at_host(10, "down", News::Started), until);
    assert_eq!(drain(&mut board, until), [job(10)]);
}

#[test]
fn a_host_has_two_places_and_all_together_have_few() {
    let mut board = Board::default();
    for number in 0..200 {
        board.take(at_host(number, &format!("host{}", number % 20), News::Started), NOW);
    }
    let begun = drain(&mut board, NOW);
    assert_eq!(begun.len(), TOTAL);
    let mut hosts: HashMap<u64, usize> = HashMap::new();
    for job in begun {
        *hosts.entry(u64::from_be_bytes(job.as_bytes()[8..].try_into().unwrap()) % 20).or_default() += 1;
    }
    assert!(hosts.values().all(|count| *count <= PER_HOST), "{hosts:?}");
}

#[test]
fn what_waits_is_bounded_for_a_job_a_host_and_in_all() {
    let mut board = Board::default();
    for number in 0..1000 {
        board.take(of(1, output(number)), NOW);
    }
    assert_eq!(board.jobs[&job(1)].facts.len(), FACTS);
    for number in 2..20_000 {
        board.take(of(number, output(0)), NOW);
        board.take(at_host(20_000 + number, &format!("host{number}"), News::Started), NOW);
    }
    assert_eq!(board.hosts[&Arc::from("host:80")].facts, FACTS_OF_HOST);
    assert!(board.jobs.len() <= JOBS && board.hosts.len() <= JOBS);
}

#[test]
fn what_was_closed_says_nothing_any_more() {
    let mut board = Board::default();
    board.take(of(1, News::Started), NOW);
    board.take(of(2, progress(0.1)), NOW);
    board.close();
    board.take(of(3, News::Started), NOW);
    assert!(board.next(NOW).is_none());
    assert_eq!((1..=3).map(|number| board.settle(job(number), NOW)).collect::<Vec<_>>(), [Settled::Yes; 3]);
}

#[derive(Clone, Debug)]
enum Act {
    Take(u64, News),
    Next,
    Over(usize, bool),
    Settle(u64),
    Shut(bool),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let news = prop_oneof![
        Just(News::Started),
        (0..100_u32).prop_map(|part| progress(f64::from(part) / 100.0)),
        (0..4_u32).prop_map(output)
    ];
    prop_oneof![
        6 => (0..6_u64, news).prop_map(|(job, news)| Act::Take(job, news)),
        6 => Just(Act::Next),
        4 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(which, was_taken)| Act::Over(which, was_taken)),
        1 => (0..6_u64).prop_map(Act::Settle),
        1 => any::<bool>().prop_map(Act::Shut),
        2 => (0..3000_u64).prop_map(Act::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happens_the_end_is_last_events_follow_one_another_and_progress_has_its_pace(
        acts in prop::collection::vec(act(), 1..300)
    ) {
        let (mut board, mut now) = (Board::default(), NOW);
        let mut under_way: Vec<(JobId, Timestamp)> = Vec::new();
        let mut last_progress: HashMap<JobId, Timestamp> = HashMap::new();
        let mut last_number: HashMap<JobId, u64> = HashMap::new();
        let mut asked: HashMap<JobId, Timestamp> = HashMap::new();
        let mut ended: HashSet<JobId> = HashSet::new();
        let mut is_shut = false;
        for act in acts {
            match act {
                Act::Take(number, news) => {
                    board.take(Announcement { at: now, ..at_host(number, &format!("h{}", number % 2), news) }, now);
                }
                Act::Next => if let Some(due) = board.next(now) {
                    let id = due.announcement.audience.job;
                    prop_assert!(!ended.contains(&id), "the end was told");
                    prop_assert!(!(is_shut && due.announcement.audience.url.contains("h1")), "the gate is shut");
                    prop_assert!(!under_way.iter().any(|(other, _)| *other == id), "two at once");
                    if let News::Progress(_) = due.announcement.news {
                        prop_assert!(!asked.contains_key(&id), "progress after the end was asked for");
                        let before = last_progress.insert(id, now);
                        prop_assert!(before.is_none_or(|before| now >= before + EVERY), "too soon");
                    }
                    let number: u64 = due.id.rsplit('_').next().unwrap().parse().unwrap();
                    if due.announcement.news != News::Started {
                        let before = last_number.insert(id, number);
                        prop_assert!(before.is_none_or(|before| number > before), "numbers grow");
                    }
                    let longest = asked.get(&id).map_or(now + LIMIT, |asked| (*asked + LIMIT).min(now + LIMIT));
                    prop_assert!(due.until <= longest);
                    under_way.push((id, due.until));
                    prop_assert!(under_way.len() <= 2 * PER_HOST);
                },
                Act::Over(which, was_taken) => if !under_way.is_empty() {
                    let (id, _) = under_way.swap_remove(which % under_way.len());
                    board.over(id, was_taken, now);
                },
                Act::Settle(number) => {
                    let id = job(number);
                    let since = *asked.entry(id).or_insert(now);
                    match board.settle(id, now) {
                        Settled::Yes => {
                            prop_assert!(!under_way.iter().any(|(other, _)| *other == id), "one is under way");
                            ended.insert(id);
                        }
                        Settled::NotBefore(at) => {
                            prop_assert!(at <= since + LIMIT);
                            let is_held = under_way.iter().any(|(other, _)| *other == id);
                            prop_assert!(is_held || now < since + LIMIT, "held up by nothing");
                        }
                    }
                }
                Act::Shut(is) => {
                    is_shut = is;
                    let gate = is.then(|| ((Tenant::default(), "h1:80".into()), Shut::Down));
                    board.shut(gate.into_iter().collect(), now);
                }
                Act::Pass(millis) => {
                    now = now + Duration::from_millis(millis);
                    // Each event is given up at its time.
                    let over: Vec<JobId> =
                        under_way.iter().filter(|(_, until)| *until <= now).map(|(id, _)| *id).collect();
                    under_way.retain(|(_, until)| *until > now);
                    for id in over {
                        board.over(id, false, now);
                    }
                }
            }
            let facts: usize = board.jobs.values().map(|entry| entry.facts.len()).sum();
            prop_assert_eq!(facts, board.hosts.values().map(|host| host.facts).sum::<usize>());
            prop_assert_eq!(board.under_way, under_way.len());
        }
        // Whatever still waits comes out: nothing is stuck.
        for (id, _) in std::mem::take(&mut under_way) {
            board.over(id, true, now);
        }
        loop {
            while let Some(due) = board.next(now) {
                board.over(due.announcement.audience.job, true, now);
            }
            let Some(at) = board.wakes_at() else { break };
            prop_assert!(at > now);
            now = at;
        }
        prop_assert!(board.jobs.values().all(Entry::is_idle));
    }
}

fn drain(board: &mut Board, now: Timestamp) -> Vec<JobId> {
    std::iter::from_fn(|| board.next(now)).map(|due| due.announcement.audience.job).collect()
}

fn job(number: u64) -> JobId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    JobId::from_bytes(bytes)
}

fn of(number: u64, news: News) -> Announcement {
    at_host(number, "host", news)
}

fn at_host(number: u64, host: &str, news: News) -> Announcement {
    let audience = Audience {
        output_names: std::collections::BTreeMap::new(),
        job: job(number),
        tenant: Tenant::default(),
        run: 1,
        url: format!("http://{host}/hook"),
        workflow: "canvas".into(),
        metadata: None,
        accepted_at: NOW,
        events: WebhookEvent::ALL.into(),
    };
    Announcement { audience: Arc::new(audience), at: NOW, news }
}

fn progress(fraction: f64) -> News {
    News::Progress(Advance { fraction, node: None })
}

fn output(index: u32) -> News {
    News::Output(Output {
        node_id: "9".into(),
        index,
        content_type: "image/png".into(),
        filename: None,
        bytes: 1,
        sha256: BlobId("ab".repeat(32)),
        metadata_stripped: None,
        origin: None,
    })
}

//! Facts of the lanes: who goes next, who waits, and what others notice of it.

use super::super::schedule::{Answer, Trouble};
use super::*;
use crate::job::{BlobId, FrozenBody, Segment};
use crate::store::DeliveryState;
use proptest::prelude::*;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

#[test]
fn a_host_gets_no_more_than_its_places_and_others_go_on() {
    let mut lanes = lanes_of(10, 2);
    for number in 0..100 {
        admit(&mut lanes, delivery(number, "http://slow/"));
    }
    admit(&mut lanes, delivery(200, "http://fast/"));
    let started = drain(&mut lanes);
    assert_eq!(started.len(), 3);
    assert!(started.contains(&job(200)));
}

#[test]
fn no_more_are_under_way_than_may_be_in_all() {
    let mut lanes = lanes_of(3, 2);
    for number in 0..10 {
        admit(&mut lanes, delivery(number, &format!("http://host{number}/")));
    }
    assert_eq!(drain(&mut lanes).len(), 3);
    assert!(lanes.is_full());
    end(&mut lanes, job(0), false);
    assert_eq!(drain(&mut lanes), [job(3)]);
}

#[test]
fn hosts_take_turns() {
    let mut lanes = lanes_of(4, 4);
    for (number, host) in (0..).zip(["a", "a", "a", "b", "b", "c"]) {
        admit(&mut lanes, delivery(number, &format!("http://{host}/")));
    }
    assert_eq!(drain(&mut lanes), [job(0), job(3), job(5), job(1)]);
}

#[test]
fn what_is_held_is_not_taken_twice_and_what_has_ended_may_come_again() {
    let mut lanes = lanes_of(4, 4);
    admit(&mut lanes, delivery(1, "http://a/"));
    admit(&mut lanes, delivery(1, "http://a/"));
    assert_eq!(drain(&mut lanes), [job(1)]);
    admit(&mut lanes, delivery(1, "http://a/"));
    assert_eq!(drain(&mut lanes), []);
    end(&mut lanes, job(1), false);
    admit(&mut lanes, delivery(1, "http://a/"));
    assert_eq!(drain(&mut lanes), [job(1)]);
    end(&mut lanes, job(1), true);
    admit(&mut lanes, delivery(1, "http://a/"));
    assert_eq!(drain(&mut lanes), []);
    assert_eq!(lanes.under_way(), 0);
}

#[test]
fn a_delivery_claimed_again_before_its_end_was_known_does_not_keep_that_lease() {
    let mut lanes = lanes_of(4, 4);
    admit(&mut lanes, delivery(1, "http://a/"));
    drain(&mut lanes);
    admit(&mut lanes, delivery(1, "http://a/"));
    assert_eq!(lanes.take_leased(NOW), []);
    end(&mut lanes, job(1), false);
    assert_eq!(lanes.take_leased(NOW), [job(1)]);
    assert_eq!(lanes.take_leased(NOW), []);
}

#[test]
fn a_dead_host_with_any_backlog_leaves_room_for_others() {
    let mut lanes = lanes_of(8, 1);
    let backlog = u128::try_from(ROOM + LANE_ROOM).unwrap();
    for number in 0..backlog {
        admit(&mut lanes, delivery(number, &format!("http://dead{}/", number % 9)));
    }
    lanes.most.total = 100;
    drain(&mut lanes);
    admit(&mut lanes, delivery(1_000_000, "http://dead0/"));
    admit(&mut lanes, delivery(1_000_001, "http://healthy/"));
    assert_eq!(drain(&mut lanes), [job(1_000_001)]);
    assert!(lanes.waiting <= ROOM + 100);
}

#[test]
fn what_found_no_room_is_given_back_when_there_is_some() {
    let mut lanes = lanes_of(1, 1);
    let count = u128::try_from(LANE_ROOM).unwrap();
    for number in 0..count + 3 {
        admit(&mut lanes, delivery(number, "http://a/"));
    }
    assert_eq!(lanes.take_leased(NOW), []);
    for number in 0..count {
        assert_eq!(drain(&mut lanes), [job(number)]);
        end(&mut lanes, job(number), false);
    }
    assert_eq!(lanes.take_leased(NOW), [job(count), job(count + 1), job(count + 2)]);
    assert_eq!(lanes.take_leased(NOW), []);
}

#[test]
fn a_paused_host_waits_and_the_others_do_not() {
    let later = NOW + Duration::from_secs(10);
    let mut lanes = lanes_of(4, 4);
    admit(&mut lanes, delivery(1, "http://busy/"));
    assert_eq!(drain(&mut lanes), [job(1)]);
    lanes.pause(job(1), later);
    end(&mut lanes, job(1), false);
    assert_eq!(lanes.resumes_at(NOW), None);
    admit(&mut lanes, delivery(2, "http://busy/"));
    admit(&mut lanes, delivery(3, "http://other/"));
    assert_eq!(drain(&mut lanes), [job(3)]);
    assert_eq!(lanes.resumes_at(NOW), Some(later));
    assert_eq!(lanes.next(later).map(|delivery| delivery.job), Some(job(2)));
}

#[test]
fn a_host_that_was_paused_and_is_not_called_again_is_forgotten() {
    let later = NOW + Duration::from_secs(10);
    let mut lanes = lanes_of(4, 4);
    admit(&mut lanes, delivery(1, "http://busy/"));
    drain(&mut lanes);
    lanes.pause(job(1), later);
    end(&mut lanes, job(1), false);
    lanes.take_leased(NOW);
    assert_eq!(lanes.owners.len(), 1);
    lanes.take_leased(later);
    assert_eq!(lanes.owners.len(), 0);
}

#[test]
fn at_the_end_all_that_waits_is_taken_out() {
    let mut lanes = lanes_of(1, 1);
    for number in 0..3 {
        admit(&mut lanes, delivery(number, "http://a/"));
    }
    drain(&mut lanes);
    assert_eq!(lanes.take_waiting(), [job(1), job(2)]);
    assert_eq!(lanes.under_way(), 1);
    assert!(lanes.next(NOW).is_none());
}

#[test]
fn a_tenant_with_a_hundred_hosts_does_not_hold_up_anothers_single_delivery() {
    let mut lanes = lanes_of(32, 4);
    for number in 0..10_000 {
        admit(&mut lanes, of("flood", delivery(number, &format!("http://host{}/", number % 100))));
    }
    // None of them ever ends.
    let taken = drain(&mut lanes).len();
    assert!((25..32).contains(&taken), "{taken} of 32 places");
    assert!(admit(&mut lanes, of("shop", delivery(20_000, "http://shop/"))));
    assert_eq!(drain(&mut lanes), [job(20_000)]);
    assert!(admit(&mut lanes, of("mill", delivery(20_001, "http://mill/"))));
    assert_eq!(drain(&mut lanes), [job(20_001)]);
}

#[test]
fn two_tenants_that_take_all_they_can_leave_a_place_for_a_third() {
    let mut lanes = lanes_of(64, 4);
    for tenant in 0..3_u128 {
        for number in 0..500 {
            let owner = format!("tenant{tenant}");
            admit(&mut lanes, of(&owner, delivery(tenant * 1000 + number, &format!("http://h{number}.{owner}/"))));
        }
        let begun = drain(&mut lanes);
        assert!(!begun.is_empty(), "tenant {tenant} found no place");
    }
}

#[test]
fn tenants_take_turns_whatever_they_have() {
    let mut lanes = lanes_of(8, 8);
    for number in 0..100 {
        admit(&mut lanes, of("flood", delivery(number, &format!("http://host{}/", number % 10))));
    }
    for number in 200..203 {
        admit(&mut lanes, of("shop", delivery(number, "http://shop/")));
    }
    assert_eq!(names(&mut lanes, 6), ["flood", "shop", "flood", "shop", "flood", "shop"]);
}

#[test]
fn at_a_host_that_tenants_share_they_alternate_even_if_one_has_others_besides() {
    let mut lanes = lanes_of(32, 1);
    for number in 0..300 {
        let host = if number % 3 == 0 { "shared".into() } else { format!("own{}", number % 50) };
        admit(&mut lanes, of("flood", delivery(number, &format!("http://{host}/"))));
    }
    for number in 1000..1050 {
        admit(&mut lanes, of("shop", delivery(number, "http://shared/")));
    }
    let mut at_shared = Vec::new();
    while at_shared.len() < 40 {
        let Some(next) = lanes.next(NOW) else {
            let ids: Vec<JobId> = lanes.under_way.keys().copied().collect();
            for id in ids {
                end(&mut lanes, id, false);
            }
            continue;
        };
        if next.url == "http://shared/" {
            at_shared.push(next.tenant.name().to_owned());
        }
    }
    assert!(at_shared.windows(2).all(|pair| pair[0] != pair[1]), "{at_shared:?}");
}

#[test]
fn a_tenant_whose_lane_is_shut_does_not_keep_others_from_a_host_they_share() {
    let mut lanes = lanes_of(32, 4);
    for number in 0..10 {
        admit(&mut lanes, of("flood", delivery(number, "http://shared/always-500")));
        drain(&mut lanes);
        fail(&mut lanes, job(number), NOW);
    }
    assert_eq!(hosts_down(&lanes), 1);
    for number in 10..20 {
        admit(&mut lanes, of("flood", delivery(number, "http://shared/always-500")));
    }
    for number in 30..34 {
        admit(&mut lanes, of("shop", delivery(number, "http://shared/")));
    }
    assert_eq!(drain(&mut lanes), [30, 31, 32, 33].map(job));
}

#[test]
fn what_a_flood_leaves_no_room_for_is_its_own() {
    let mut lanes = lanes_of(32, 4);
    for number in 0..20_000 {
        admit(&mut lanes, of("flood", delivery(number, &format!("http://host{}/", number % 100))));
    }
    assert!(lanes.waiting <= ROOM + 100);
    assert!(!admit(&mut lanes, of("flood", delivery(40_000, "http://host1/"))));
    for number in 30_000..30_010 {
        assert!(admit(&mut lanes, of("shop", delivery(number, "http://host1/"))));
    }
}

#[test]
fn texts_that_wait_take_a_bounded_memory() {
    let mut lanes = lanes_of(1, 1);
    let text = |number| {
        let segments = vec![Segment::Text("x".repeat(1 << 20))];
        Delivery { body: FrozenBody { segments }, ..delivery(number, "http://a/") }
    };
    let admitted = (0..200).filter(|number| admit(&mut lanes, text(*number))).count();
    assert!((16..=17).contains(&admitted), "{admitted}");
    assert!(lanes.waiting_bytes <= ROOM_BYTES);
}

#[test]
fn no_more_memory_is_taken_than_there_is_and_small_ones_pass_large_ones() {
    let mut lanes = Lanes::new(Most { total: 100, per_host: 100, memory: 5 << 20 });
    for number in 0..10 {
        admit(&mut lanes, large(number, "http://large/", 20 << 20));
    }
    let begun = drain(&mut lanes).len();
    assert!((2..=4).contains(&begun), "{begun} large ones at once");
    admit(&mut lanes, of("shop", delivery(100, "http://small/")));
    assert_eq!(drain(&mut lanes), [job(100)]);
    end(&mut lanes, job(0), false);
    assert_eq!(drain(&mut lanes).len(), 1);
}

#[test]
fn one_larger_than_all_the_memory_goes_alone_and_is_not_passed_for_ever() {
    let mut lanes = Lanes::new(Most { total: 100, per_host: 100, memory: 1 << 20 });
    let text = Segment::Text("x".repeat(2 << 20));
    let huge = Delivery { body: FrozenBody { segments: vec![text] }, ..delivery(5000, "http://huge/") };
    admit(&mut lanes, delivery(0, "http://small/"));
    assert_eq!(drain(&mut lanes), [job(0)]);
    assert!(admit(&mut lanes, huge));
    // Always another small one, begun before the last has ended: the memory is never free.
    let mut passed = 0;
    for number in 1..1000 {
        admit(&mut lanes, of("shop", delivery(number, "http://small/")));
        match lanes.next(NOW).map(|begun| begun.job) {
            Some(begun) if begun == job(5000) => break,
            Some(_) => passed += 1,
            None => {
                let ids: Vec<JobId> = lanes.under_way.keys().copied().collect();
                for id in ids {
                    end(&mut lanes, id, false);
                }
            }
        }
        if number > 2 && lanes.under_way.len() > 1 {
            let id = *lanes.under_way.keys().find(|id| **id != job(number)).unwrap();
            end(&mut lanes, id, false);
        }
    }
    assert!(lanes.under_way.contains_key(&job(5000)), "it was passed {passed} times");
    assert_eq!(lanes.under_way.len(), 1);
    assert_eq!(drain(&mut lanes), []);
    end(&mut lanes, job(5000), false);
    assert!(!drain(&mut lanes).is_empty());
}

#[test]
fn what_waits_for_a_host_that_is_down_goes_as_its_probe_or_after_it() {
    let mut lanes = down();
    for number in 100..103 {
        assert!(admit(&mut lanes, delivery(number, "http://dead/")));
    }
    assert_eq!(drain(&mut lanes), []);
    let probe_at = NOW + Duration::from_secs(30);
    assert_eq!(lanes.resumes_at(NOW), Some(probe_at));
    assert_eq!(lanes.next(probe_at).map(|probe| (probe.job, probe.attempts)), Some((job(100), 0)));
    assert!(lanes.next(probe_at).is_none());
    assert_eq!(lanes.resumes_at(probe_at), None);
    assert_eq!(fail(&mut lanes, job(100), probe_at), None);
    assert_eq!(lanes.resumes_at(probe_at), Some(probe_at + Duration::from_mins(1)));
    let later = probe_at + Duration::from_mins(1);
    assert_eq!(lanes.next(later).map(|probe| probe.job), Some(job(101)));
    end(&mut lanes, job(101), false);
    assert_eq!(hosts_down(&lanes), 0);
    assert_eq!(drain(&mut lanes), [job(102)]);
}

#[test]
fn what_waits_for_a_host_that_is_down_beyond_its_deadline_is_given_up() {
    let mut lanes = down();
    let deadline = NOW + Duration::from_secs(20);
    lanes.admit(delivery(100, "http://dead/"), deadline, NOW);
    lanes.admit(delivery(101, "http://dead/"), deadline + Duration::from_secs(1), NOW);
    assert!(lanes.take_hopeless(NOW + Duration::from_millis(19_999)).is_empty());
    let over = |lanes: &mut Lanes, at| lanes.take_hopeless(at).iter().map(|it| it.job).collect::<Vec<_>>();
    assert_eq!(over(&mut lanes, deadline), [job(100)]);
    assert_eq!(over(&mut lanes, deadline), []);
    // What comes back from the store after its deadline, too; but not what is being stored as given up.
    lanes.admit(delivery(100, "http://dead/"), deadline, deadline);
    lanes.admit(delivery(102, "http://dead/"), deadline, deadline);
    assert_eq!(over(&mut lanes, deadline), [job(102)]);
    lanes.settled(job(102));
    assert_eq!(over(&mut lanes, deadline + Duration::from_secs(1)), [job(101)]);
    assert_eq!((lanes.waiting, lanes.sites.len()), (0, 0));
}

#[test]
fn no_more_than_so_many_quiet_hosts_are_remembered_and_none_for_ever() {
    let mut lanes = lanes_of(1, 1);
    for number in 0..10_000_u128 {
        let now = NOW + Duration::from_millis(u64::try_from(number).unwrap());
        lanes.admit(delivery(number, &format!("http://host{number}/")), now + Duration::from_hours(1), now);
        assert!(lanes.next(now).is_some());
        fail(&mut lanes, job(number), now);
        if number % 500 == 0 {
            lanes.take_leased(now);
        }
    }
    let remembered = |lanes: &Lanes| lanes.owners.values().map(|owner| owner.lanes.len()).sum::<usize>();
    lanes.take_leased(NOW + Duration::from_secs(10));
    assert!((1000..=4096).contains(&remembered(&lanes)), "{}", remembered(&lanes));
    lanes.take_leased(NOW + Duration::from_hours(2));
    assert_eq!(remembered(&lanes), 0);
}

#[test]
fn which_hosts_are_left_alone_is_told_after_each_change_and_when_one_is_forgotten() {
    let mut lanes = down();
    let gate = |host: &str, shut| ((Tenant::default(), Host::from(host)), shut);
    assert_eq!(lanes.take_shut(NOW), Some([gate("dead:80", Shut::Down)].into()));
    assert_eq!(lanes.take_shut(NOW), None);
    admit(&mut lanes, delivery(200, "http://busy/"));
    assert!(lanes.next(NOW).is_some());
    let until = NOW + Duration::from_mins(1);
    lanes.pause(job(200), until);
    end(&mut lanes, job(200), false);
    let both = [gate("dead:80", Shut::Down), gate("busy:80", Shut::Until(until))];
    assert_eq!(lanes.take_shut(NOW), Some(both.into()));
    assert_eq!(lanes.take_shut(until), None, "a pause says itself when it is over");
    let later = NOW + Duration::from_hours(2);
    lanes.take_leased(later);
    assert_eq!(lanes.take_shut(later), Some(HashMap::new()));
}

fn hosts_down(lanes: &Lanes) -> usize {
    lanes.owners.values().flat_map(|owner| owner.lanes.values()).filter(|lane| lane.gate.is_down()).count()
}

/// Lanes with a host that is down.
fn down() -> Lanes {
    let mut lanes = lanes_of(32, 4);
    for number in 0..10 {
        admit(&mut lanes, delivery(number, "http://dead/"));
        assert_eq!(drain(&mut lanes), [job(number)]);
        let change = fail(&mut lanes, job(number), NOW);
        assert_eq!(change.is_some(), number == 9);
    }
    assert_eq!(hosts_down(&lanes), 1);
    lanes
}

proptest! {
    #[test]
    fn limits_hold_and_nothing_is_lost_or_doubled(
        total in 1..6_usize,
        per_host in 1..4_usize,
        steps in prop::collection::vec((0..40_u128, 0..4_u8, any::<bool>()), 0..200),
        memory in 1..3_000_000_u64,
    ) {
        let mut lanes = Lanes::new(Most { total, per_host, memory });
        let mut admitted = HashSet::new();
        let mut under_way: HashMap<JobId, String> = HashMap::new();
        let mut over = HashSet::new();
        for (number, host, is_admission) in steps {
            if is_admission {
                if !over.contains(&job(number)) {
                    let owner = if number % 3 == 0 { "shop" } else { "mill" };
                    let size = if number % 5 == 0 { 1 << 20 } else { 10 };
                    admit(&mut lanes, of(owner, large(number, &format!("http://host{}/", number % 4), size)));
                    admitted.insert(job(number));
                }
            } else if let Some(id) = under_way.iter().find(|(_, at)| **at == format!("host{host}:80")).map(|(id, _)| *id) {
                end(&mut lanes, id, false);
                under_way.remove(&id);
                over.insert(id);
            }
            while let Some(delivery) = lanes.next(NOW) {
                let twice = under_way.insert(delivery.job, lane_of(&delivery.url));
                prop_assert!(twice.is_none());
            }
            prop_assert!(under_way.len() <= total);
            for host in 0..4 {
                let to_host = under_way.values().filter(|at| **at == format!("host{host}:80")).count();
                prop_assert!(to_host <= per_host);
            }
        }
        loop {
            let ids: Vec<JobId> = under_way.drain().map(|(id, _)| id).collect();
            for id in ids {
                end(&mut lanes, id, false);
                over.insert(id);
            }
            let Some(delivery) = lanes.next(NOW) else { break };
            under_way.insert(delivery.job, String::new());
        }
        prop_assert_eq!(over, admitted);
        prop_assert_eq!(lanes.owners.len(), 0);
    }
}

fn drain(lanes: &mut Lanes) -> Vec<JobId> {
    std::iter::from_fn(|| lanes.next(NOW)).map(|delivery| delivery.job).collect()
}

fn lanes_of(total: usize, per_host: usize) -> Lanes {
    Lanes::new(Most { total, per_host, memory: 64 << 20 })
}

fn admit(lanes: &mut Lanes, delivery: Delivery) -> bool {
    lanes.admit(delivery, NOW + Duration::from_hours(100), NOW)
}

fn end(lanes: &mut Lanes, job: JobId, is_shunned: bool) {
    lanes.ended(job, is_shunned, Sign::of(&Answer::Status { status: 200, retry_after: None }), NOW);
}

fn fail(lanes: &mut Lanes, job: JobId, now: Timestamp) -> Option<Change> {
    lanes.ended(job, false, Sign::of(&Answer::Failed(Trouble::Connect)), now).map(|(_, change)| change)
}

fn of(tenant: &str, delivery: Delivery) -> Delivery {
    Delivery { tenant: tenant.parse().unwrap(), ..delivery }
}

fn large(number: u128, url: &str, bytes: u64) -> Delivery {
    let segments = vec![Segment::Base64(BlobId("ab".repeat(32)), bytes)];
    Delivery { body: FrozenBody { segments }, ..delivery(number, url) }
}

fn names(lanes: &mut Lanes, count: usize) -> Vec<String> {
    std::iter::from_fn(|| lanes.next(NOW)).take(count).map(|delivery| delivery.tenant.name().to_owned()).collect()
}

fn job(number: u128) -> JobId {
    JobId::from_bytes(number.to_be_bytes())
}

fn delivery(number: u128, url: &str) -> Delivery {
    Delivery {
        job: job(number),
        tenant: Tenant::default(),
        url: url.into(),
        body: FrozenBody { segments: vec![] },
        attempts: 0,
        attempts_before: 0,
        created_at: NOW,
        due_at: NOW,
        state: DeliveryState::Pending,
        replays: 0,
        replayed_at: None,
        ended_at: None,
    }
}

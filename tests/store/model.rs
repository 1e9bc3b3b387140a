//! Any sequence of verbs against a model in memory: no job is lost, no end is undone, one delivery for each end.

use crate::support::{HOOK, House, after, assignment, cancelled, failed, new_job, offer, request, succeeded};
use comfygate::clock::Timestamp;
use comfygate::job::{JobId, JobState, Outcome};
use comfygate::store::{
    Attempt, Backlog, CancelWish, DeliveryState, Ending, FitnessStore, Store, Verdict, Waiting, Way,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const LEASE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
enum Verb {
    Accept { webhook: bool, tenant: Owner, priority: i32 },
    Claim { first: u16, at_most: u8, backend: Name },
    Started { job: u16, run: Run },
    Requeue { job: u16, run: Run, counts: bool },
    PassOn { job: u16, run: Run },
    WishCancel { job: u16 },
    Finish { job: u16, run: Run, how: How },
    Deliver { at_most: u8, verdict: Sent },
    Replay { job: u16 },
    Restart,
}

/// A backend.
type Name = usize;

const NAMES: [&str; 2] = ["a", "b"];

/// A tenant; in the order of their names.
type Owner = usize;

const OWNERS: [&str; 3] = ["default", "mill", "shop"];

#[derive(Clone, Copy, Debug)]
enum Run {
    Current,
    Before,
    Waiting,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Success,
    Failure,
    Cancel,
}

#[derive(Clone, Copy, Debug)]
enum Sent {
    Arrived,
    Gone,
    Later,
    GivenUp,
    Lost,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(verbs in prop::collection::vec(verb(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let limit = Duration::from_mins(1);
            tokio::time::timeout(limit, play(verbs)).await.expect("a verb did not answer");
        });
    }
}

#[derive(Clone, Debug)]
struct Expected {
    state: JobState,
    owner: Owner,
    priority: i32,
    run: u32,
    tries: u32,
    last: Option<Name>,
    unfit: BTreeSet<Name>,
    cancel_requested: bool,
    webhook: bool,
    ending: Option<Ending>,
    delivery: Option<(DeliveryState, u32)>,
}

/// The model, and the store beside it.
struct Both {
    house: House,
    jobs: BTreeMap<JobId, Expected>,
    /// Moves on with every verb.
    now: u64,
    /// Up to where the arrivals were read, and who was among them.
    mark: i64,
    seen: BTreeMap<JobId, Waiting>,
}

async fn play(verbs: Vec<Verb>) {
    let mut both = Both { house: House::new(), jobs: BTreeMap::new(), now: 0, mark: 0, seen: BTreeMap::new() };
    for verb in verbs {
        both.now += 100;
        let is_restart = matches!(verb, Verb::Restart);
        both = both.perform(verb).await;
        if is_restart {
            (both.mark, both.seen) = (0, BTreeMap::new());
        }
        both.follow_arrivals().await;
        both.compare().await;
    }
    both.settle().await;
}

impl Both {
    async fn perform(mut self, verb: Verb) -> Self {
        match verb {
            Verb::Accept { webhook, tenant, priority } => self.accept(webhook, tenant, priority).await,
            Verb::Claim { first, at_most, backend } => self.claim(first, at_most, backend).await,
            Verb::Started { job, run } => {
                let Some((id, number)) = self.pick(job, run) else { return self };
                let on_backend = self.is_current(id, number);
                assert_eq!(self.house.store.started(id, number.unwrap_or(0), self.time()).await.unwrap(), on_backend);
                if on_backend {
                    self.expected(id).state = JobState::Running;
                }
            }
            Verb::Requeue { job, run, counts } => {
                let Some((id, number)) = self.pick(job, run) else { return self };
                let on_backend = self.is_current(id, number);
                let answer = self.house.store.requeue(id, number.unwrap_or(0), counts, self.time()).await.unwrap();
                assert_eq!(answer, on_backend);
                if on_backend {
                    let expected = self.expected(id);
                    expected.state = JobState::Queued;
                    expected.tries += u32::from(counts);
                }
            }
            Verb::PassOn { job, run } => {
                let Some((id, number)) = self.pick(job, run) else { return self };
                let on_backend = self.is_current(id, number);
                let answer = self.house.store.pass_on(id, number.unwrap_or(0), "no", None).await.unwrap();
                assert_eq!(answer, on_backend);
                if on_backend {
                    let expected = self.expected(id);
                    expected.state = JobState::Queued;
                    expected.unfit.extend(expected.last);
                }
            }
            Verb::WishCancel { job } => self.wish_cancel(job).await,
            Verb::Finish { job, run, how } => self.finish(job, run, how).await,
            Verb::Deliver { at_most, verdict } => self.deliver(at_most, verdict).await,
            Verb::Replay { job } => self.replay(job).await,
            Verb::Restart => self.house = self.house.reopened().await,
        }
        self
    }

    async fn accept(&mut self, webhook: bool, owner: Owner, priority: i32) {
        let mut new = new_job(u16::try_from(self.jobs.len()).unwrap());
        new.request = request(webhook.then_some(HOOK));
        new.request.priority = priority;
        new.tenant = OWNERS[owner].parse().unwrap();
        assert_eq!(self.house.store.accept(new.clone()).await.unwrap(), new.id);
        let expected = Expected {
            state: JobState::Queued,
            owner,
            priority,
            run: 0,
            tries: 0,
            last: None,
            unfit: BTreeSet::new(),
            cancel_requested: false,
            webhook,
            ending: None,
            delivery: None,
        };
        self.jobs.insert(new.id, expected);
    }

    /// Claims so many jobs, beginning with some one, whether they wait or not.
    async fn claim(&mut self, first: u16, at_most: u8, backend: Name) {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        let named: Vec<JobId> =
            ids.iter().cycle().skip(first.into()).take(ids.len().min(at_most.into())).copied().collect();
        let waits = |id: &JobId| self.jobs[id].state == JobState::Queued && !self.jobs[id].cancel_requested;
        let next: Vec<JobId> = named.iter().copied().filter(waits).collect();
        let assignments =
            named.iter().zip(offer(at_most)).map(|(id, fresh)| assignment(*id, NAMES[backend], fresh)).collect();
        let claimed = self.house.store.claim(assignments, self.time()).await.unwrap();
        assert_eq!(claimed.iter().map(|claimed| claimed.job.id).collect::<Vec<_>>(), next);
        for claimed in claimed {
            let expected = self.expected(claimed.job.id);
            expected.state = JobState::Submitted;
            expected.run += 1;
            expected.last = Some(backend);
            let unfit: Vec<&str> = expected.unfit.iter().map(|name| NAMES[*name]).collect();
            assert_eq!(claimed.refused.iter().map(|it| it.way.backend.as_str()).collect::<Vec<_>>(), unfit);
            assert_eq!((claimed.run.number, claimed.tries), (expected.run, expected.tries));
        }
    }

    /// Reads who came to wait since the last time, as dispatch does: who waits is known from that, at any time.
    async fn follow_arrivals(&mut self) {
        let arrivals = self.house.store.arrivals(self.mark, 1000).await.unwrap();
        assert!(arrivals.mark >= self.mark);
        self.mark = arrivals.mark;
        self.seen.extend(arrivals.jobs.into_iter().map(|waiting| (waiting.job, waiting)));
        let mut places = BTreeMap::new();
        for (id, expected) in &self.jobs {
            if expected.state != JobState::Queued || expected.cancel_requested {
                continue;
            }
            let waiting = &self.seen[id];
            assert_eq!((waiting.tenant.name(), waiting.priority), (OWNERS[expected.owner], expected.priority));
            assert_eq!(waiting.left.as_deref(), expected.last.map(|name| NAMES[name]));
            assert_eq!(waiting.unfit, expected.unfit.iter().map(|name| Way::first(NAMES[*name])).collect());
            places.insert(waiting.place, *id);
        }
        // The ids of the model are in the order of acceptance.
        assert!(places.values().is_sorted());
        let all = self.house.waiting().await;
        assert_eq!(all.len(), places.len());
        assert!(all.iter().all(|waiting| self.seen[&waiting.job] == *waiting));
    }

    async fn wish_cancel(&mut self, job: u16) {
        let Some((id, _)) = self.pick(job, Run::Waiting) else { return };
        let answer = self.house.store.wish_cancel(id).await.unwrap();
        let expected = self.expected(id);
        match expected.state {
            JobState::Queued => assert!(matches!(answer, CancelWish::Waiting(_))),
            JobState::Submitted | JobState::Running => assert!(matches!(answer, CancelWish::Running(_))),
            JobState::Succeeded | JobState::Failed | JobState::Cancelled => {
                assert_eq!(answer, CancelWish::AlreadyFinal(expected.state));
                return;
            }
        }
        expected.cancel_requested = true;
    }

    async fn finish(&mut self, job: u16, run: Run, how: How) {
        let Some((id, number)) = self.pick(job, run) else { return };
        let ending = match how {
            How::Success => succeeded(id, number, self.time()),
            How::Failure => failed(id, number, self.time()),
            How::Cancel => cancelled(id, number, self.time()),
        };
        let waits = self.expected(id).state == JobState::Queued;
        let ends = if number.is_none() { waits } else { self.is_current(id, number) };
        assert_eq!(self.house.store.finish(ending.clone()).await.unwrap(), ends);
        if ends {
            let expected = self.expected(id);
            expected.state = ending.outcome.state();
            expected.delivery = expected.webhook.then_some((DeliveryState::Pending, 0));
            expected.ending = Some(ending);
        }
    }

    async fn deliver(&mut self, at_most: u8, sent: Sent) {
        let leased = self.house.store.due_deliveries(self.time(), LEASE, at_most.into()).await.unwrap();
        for delivery in leased {
            let at = self.time();
            let (state, attempts) = self.expected(delivery.job).delivery.as_mut().expect("only ended jobs have one");
            assert_eq!((*state, delivery.attempts), (DeliveryState::Pending, *attempts));
            let (verdict, becomes) = match sent {
                Sent::Arrived => (Verdict::Delivered, DeliveryState::Delivered),
                Sent::Gone => (Verdict::Gone, DeliveryState::Gone),
                Sent::Later => (Verdict::RetryAt(at + Duration::from_millis(150)), DeliveryState::Pending),
                Sent::GivenUp => (Verdict::GiveUp, DeliveryState::Undeliverable),
                Sent::Lost => continue,
            };
            *state = becomes;
            *attempts += 1;
            let number = *attempts;
            let took = Duration::from_millis(1);
            let attempt = Attempt { number, started_at: at, took, status: None, code: None, snippet: String::new() };
            self.house.store.record_attempt(delivery.job, attempt, verdict).await.unwrap();
        }
    }

    async fn replay(&mut self, job: u16) {
        let Some((id, _)) = self.pick(job, Run::Waiting) else { return };
        let was = self.house.store.replay_delivery(id, self.time()).await.unwrap();
        let expected = self.expected(id).delivery.as_mut();
        assert_eq!(was, expected.as_ref().map(|(state, _)| *state));
        if let Some((state, _)) = expected {
            *state = DeliveryState::Pending;
        }
    }

    /// Takes every job to its end and every delivery to its receiver: nothing is left over, and nothing came twice.
    async fn settle(mut self) {
        self.now += 1_000_000;
        self.claim(0, u8::MAX, 0).await;
        for place in 0..u16::try_from(self.jobs.len()).unwrap() {
            self.finish(place, Run::Current, How::Success).await;
            self.finish(place, Run::Waiting, How::Cancel).await;
        }
        let due = |it: &&Expected| matches!(it.delivery, Some((DeliveryState::Pending, _)));
        let pending = self.jobs.values().filter(due).count();
        let leased = self.house.store.due_deliveries(self.time(), LEASE, 1000).await.unwrap();
        assert_eq!(leased.len(), pending);
        self.now += 1_000;
        self.deliver(u8::MAX, Sent::Arrived).await;
        self.compare().await;
        assert!(self.jobs.values().all(|it| it.state.is_final() && it.webhook == it.delivery.is_some()));
        assert_eq!(self.house.store.backlog().await.unwrap(), Backlog::default());
    }

    /// Holds every job of the model against the store, and their number against the store's own count.
    async fn compare(&self) {
        let store = &self.house.store;
        let (mut queued, mut running, mut deliveries) = (0, 0, 0);
        for (id, expected) in &self.jobs {
            let job = store.job(*id).await.unwrap().expect("no job is lost");
            assert_eq!((job.state, job.cancel_requested), (expected.state, expected.cancel_requested));
            assert_eq!(job.run.map_or(0, |run| run.number), expected.run);
            assert_eq!(job.ended_at, expected.ending.as_ref().map(|ending| ending.ended_at));
            let finished = store.finished(*id).await.unwrap();
            assert_eq!(finished.as_ref().map(|it| &it.body), expected.ending.as_ref().map(|ending| &ending.body));
            let outputs = expected.ending.as_ref().map(|ending| Outcome::outputs(&ending.outcome));
            assert_eq!(finished.as_ref().map(|it| &it.outputs[..]), outputs);
            let delivery = store.delivery(*id).await.unwrap();
            let log = delivery.as_ref().map(|(delivery, attempts)| (delivery.state, delivery.attempts, attempts.len()));
            assert_eq!(log, expected.delivery.map(|(state, count)| (state, count, count as usize)));
            queued += u64::from(expected.state == JobState::Queued);
            running += u64::from(matches!(expected.state, JobState::Submitted | JobState::Running));
            deliveries += u64::from(matches!(expected.delivery, Some((DeliveryState::Pending, _))));
        }
        let ways = NAMES.map(Way::first);
        let waits = |it: &&Expected| it.state == JobState::Queued && !it.cancel_requested;
        let stranded = self.jobs.values().filter(waits).filter(|it| it.unfit.len() == NAMES.len()).count();
        let mut found = 0;
        for kind in store.waiting_kinds(None, 10).await.unwrap().kinds {
            let by = Timestamp::from_millis(i64::MAX);
            found += store.without_hope(kind, ways.to_vec(), by, 1000).await.unwrap().len();
        }
        assert_eq!(found, stranded);
        let backlog = store.backlog().await.unwrap();
        assert_eq!((backlog.queued, backlog.running, backlog.deliveries), (queued, running, deliveries));
        assert_eq!(store.on_backends().await.unwrap().len() as u64, running);
        let by_tenant = store.on_backends_by_tenant().await.unwrap();
        assert_eq!(by_tenant.values().sum::<usize>() as u64, running);
        let to_cancel = self.jobs.values().filter(|it| it.state == JobState::Queued && it.cancel_requested).count();
        assert_eq!(store.overdue(self.time(), 1000).await.unwrap().len(), to_cancel);
    }

    /// Chooses one of the jobs, and the run number that a verb names.
    fn pick(&self, job: u16, run: Run) -> Option<(JobId, Option<u32>)> {
        let (id, expected) = self.jobs.iter().nth(usize::from(job).checked_rem(self.jobs.len())?)?;
        let number = match run {
            Run::Current => Some(expected.run),
            Run::Before => Some(expected.run.saturating_sub(1)),
            Run::Waiting => None,
        };
        Some((*id, number))
    }

    fn is_current(&self, id: JobId, run: Option<u32>) -> bool {
        let expected = &self.jobs[&id];
        matches!(expected.state, JobState::Submitted | JobState::Running) && run == Some(expected.run)
    }

    fn expected(&mut self, id: JobId) -> &mut Expected {
        self.jobs.get_mut(&id).expect("the model knows every job")
    }

    fn time(&self) -> Timestamp {
        after(self.now)
    }
}

fn verb() -> impl Strategy<Value = Verb> {
    let run = || prop_oneof![4 => Just(Run::Current), 1 => Just(Run::Before), 1 => Just(Run::Waiting)];
    let how = prop_oneof![Just(How::Success), Just(How::Failure), Just(How::Cancel)];
    let sent =
        prop_oneof![Just(Sent::Arrived), Just(Sent::Gone), Just(Sent::Later), Just(Sent::GivenUp), Just(Sent::Lost)];
    let job = 0_u16..8;
    prop_oneof![
        4 => (any::<bool>(), 0..OWNERS.len(), -1..2_i32)
            .prop_map(|(webhook, tenant, priority)| Verb::Accept { webhook, tenant, priority }),
        4 => (job.clone(), 0_u8..4, 0..NAMES.len())
            .prop_map(|(first, at_most, backend)| Verb::Claim { first, at_most, backend }),
        2 => (job.clone(), run()).prop_map(|(job, run)| Verb::PassOn { job, run }),
        3 => (job.clone(), run()).prop_map(|(job, run)| Verb::Started { job, run }),
        2 => (job.clone(), run(), any::<bool>()).prop_map(|(job, run, counts)| Verb::Requeue { job, run, counts }),
        1 => job.clone().prop_map(|job| Verb::WishCancel { job }),
        5 => (job, run(), how).prop_map(|(job, run, how)| Verb::Finish { job, run, how }),
        4 => (0_u8..4, sent).prop_map(|(at_most, verdict)| Verb::Deliver { at_most, verdict }),
        2 => (0_u16..8).prop_map(|job| Verb::Replay { job }),
        1 => Just(Verb::Restart),
    ]
}

//! Any sequence of verbs against a model in memory: no job is lost, no end is undone, one delivery for each end.

use crate::support::{HOOK, House, after, cancelled, failed, new_job, offer, request, succeeded};
use comfygate::clock::Timestamp;
use comfygate::job::{JobId, JobState, Outcome};
use comfygate::store::{Attempt, Backlog, CancelWish, DeliveryState, Ending, Store, Vacancy, Verdict};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

const LEASE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
enum Verb {
    Accept { webhook: bool, tenant: Owner, priority: i32 },
    Claim { at_most: u8, backend: Name, others: bool, per_tenant: usize },
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
    /// Whose job was claimed last.
    last_turn: Option<Owner>,
}

async fn play(verbs: Vec<Verb>) {
    let mut both = Both { house: House::new(), jobs: BTreeMap::new(), now: 0, last_turn: None };
    for verb in verbs {
        both.now += 100;
        both = both.perform(verb).await;
        both.compare().await;
    }
    both.settle().await;
}

impl Both {
    async fn perform(mut self, verb: Verb) -> Self {
        match verb {
            Verb::Accept { webhook, tenant, priority } => self.accept(webhook, tenant, priority).await,
            Verb::Claim { at_most, backend, others, per_tenant } => {
                self.claim(at_most, backend, others, per_tenant).await;
            }
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
                let answer = self.house.store.pass_on(id, number.unwrap_or(0), "no").await.unwrap();
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
            Verb::Restart => {
                self.house = self.house.reopened().await;
                self.last_turn = None;
            }
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

    async fn claim(&mut self, at_most: u8, backend: Name, others: bool, per_tenant: usize) {
        let next = self.next_claims(at_most, backend, others, per_tenant);
        let vacancy = Vacancy {
            backend: NAMES[backend].into(),
            others: if others { vec![NAMES[1 - backend].to_owned()] } else { Vec::new() },
            offered: offer(at_most),
            with_images: at_most.into(),
            per_tenant: NonZeroUsize::new(per_tenant),
        };
        let claimed = self.house.store.claim_beside(vacancy, self.time()).await.unwrap();
        assert_eq!(claimed.iter().map(|claimed| claimed.job.id).collect::<Vec<_>>(), next);
        for claimed in claimed {
            let expected = self.expected(claimed.job.id);
            expected.state = JobState::Submitted;
            expected.run += 1;
            expected.last = Some(backend);
            let unfit: Vec<&str> = expected.unfit.iter().map(|name| NAMES[*name]).collect();
            assert_eq!(claimed.refused.iter().map(|it| it.backend.as_str()).collect::<Vec<_>>(), unfit);
            assert_eq!((claimed.run.number, claimed.tries), (expected.run, expected.tries));
        }
    }

    /// Says what is to be claimed: of each tenant in turn the first job that may run here.
    fn next_claims(&mut self, at_most: u8, backend: Name, others: bool, per_tenant: usize) -> Vec<JobId> {
        let other = 1 - backend;
        let is_left = |it: &Expected| others && it.last == Some(backend) && !it.unfit.contains(&other);
        let waits = |it: &Expected| {
            it.state == JobState::Queued && !it.cancel_requested && !it.unfit.contains(&backend) && !is_left(it)
        };
        let mut queues = OWNERS.map(|_| Vec::new());
        let mut running = [0; OWNERS.len()];
        for (id, expected) in &self.jobs {
            if waits(expected) {
                queues[expected.owner].push((-expected.priority, *id));
            }
            running[expected.owner] += usize::from(matches!(expected.state, JobState::Submitted | JobState::Running));
        }
        for queue in &mut queues {
            queue.sort();
        }
        let mut next = Vec::new();
        for _ in 0..at_most {
            let first = self.last_turn.map_or(0, |last| last + 1);
            let mut ring = (0..OWNERS.len()).map(|step| (first + step) % OWNERS.len());
            let may = |owner: &Owner| !queues[*owner].is_empty() && (per_tenant == 0 || running[*owner] < per_tenant);
            let Some(owner) = ring.find(may) else { break };
            next.push(queues[owner].remove(0).1);
            running[owner] += 1;
            self.last_turn = Some(owner);
        }
        next
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
        self.claim(u8::MAX, 0, false, 0).await;
        self.claim(u8::MAX, 1, false, 0).await;
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
        let names = NAMES.map(str::to_owned);
        let waits = |it: &&Expected| it.state == JobState::Queued && !it.cancel_requested;
        let stranded = self.jobs.values().filter(waits).filter(|it| it.unfit.len() == NAMES.len()).count();
        assert_eq!(store.stranded(&names, 1000).await.unwrap().len(), stranded);
        let backlog = store.backlog().await.unwrap();
        assert_eq!((backlog.queued, backlog.running, backlog.deliveries), (queued, running, deliveries));
        assert_eq!(store.on_backends().await.unwrap().len() as u64, running);
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
        4 => (0_u8..4, 0..NAMES.len(), any::<bool>(), 0..4_usize)
            .prop_map(|(at_most, backend, others, per_tenant)| Verb::Claim { at_most, backend, others, per_tenant }),
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

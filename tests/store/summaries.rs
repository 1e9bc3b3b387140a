//! What is summed up of webhooks: those of the time that is asked for and of the tenant, and no more jobs than may be looked at.

use crate::support::{HOOK, House, START, after, failed, new_job, request, succeeded};
use comfygate::clock::Timestamp;
use comfygate::job::{JobId, Request, Tenant};
use comfygate::store::{Attempt, NewJob, Store, Summary, SummaryCounts, SummaryFilter, Verdict};
use std::time::Duration;

const HOUR: u64 = 3_600_000;

#[tokio::test]
async fn each_webhook_of_the_time_counts_as_it_stands_where_it_ended() {
    let house = House::new();
    // Numbers are milliseconds of acceptance; the jobs end later.
    let delivered = ended(&house, 1, "a", Some(HOOK), after(HOUR)).await;
    attempt(&house, delivered, 1, 900, after(HOUR), Verdict::RetryAt(after(HOUR))).await;
    attempt(&house, delivered, 2, 40, after(HOUR + 1), Verdict::Delivered).await;
    let gone = ended(&house, 2, "a", Some("http://other.example:8080/x"), after(HOUR)).await;
    attempt(&house, gone, 1, 5, after(2 * HOUR), Verdict::Gone).await;
    let given_up = ended(&house, 3, "b", Some(HOOK), after(HOUR)).await;
    attempt(&house, given_up, 1, 5, after(HOUR), Verdict::GiveUp).await;
    ended(&house, 4, "a", Some(HOOK), after(HOUR)).await;
    // Without a webhook, too early, and not ended.
    ended(&house, 5, "a", None, after(HOUR)).await;
    let early = ended(&house, 6, "a", Some(HOOK), after(10)).await;
    attempt(&house, early, 1, 5, after(10), Verdict::Delivered).await;
    accept(&house, 7, "a", Some(HOOK)).await;

    let all = summary(&house, None, 100).await;
    assert_eq!(all.counts, SummaryCounts { delivered: 1, gone: 1, undeliverable: 1, pending: 1 });
    assert!(!all.is_partial);
    let one = SummaryCounts { delivered: 1, ..SummaryCounts::default() };
    let hosts = [
        ("app.example".to_owned(), SummaryCounts { undeliverable: 1, pending: 1, ..one }),
        ("other.example:8080".to_owned(), SummaryCounts { gone: 1, ..SummaryCounts::default() }),
    ];
    assert_eq!(all.hosts, hosts);
    let of_a = summary(&house, Some("a"), 100).await;
    assert_eq!(of_a.counts, SummaryCounts { undeliverable: 0, ..all.counts });
    assert_eq!(summary(&house, Some("b"), 100).await.counts.ended(), 1);
    assert_eq!(summary(&house, Some("nobody"), 100).await.counts, SummaryCounts::default());

    let at = |time: Timestamp| all.steps.iter().rposition(|step| step.at <= time).unwrap();
    let (first, second) = (&all.steps[at(after(HOUR + 1))], &all.steps[at(after(2 * HOUR))]);
    assert_eq!((first.delivered, first.failed), (1, 1));
    let forty = Duration::from_millis(40);
    assert_eq!(first.latency, Some((forty, forty)), "of the call that arrived");
    assert_eq!((second.delivered, second.failed, second.latency), (0, 1, None));
    assert_eq!(all.steps.iter().map(|step| step.delivered + step.failed).sum::<u64>(), 3);
}

#[tokio::test]
async fn a_webhook_that_is_sent_again_is_pending_again() {
    let house = House::new();
    let job = ended(&house, 1, "a", Some(HOOK), after(HOUR)).await;
    attempt(&house, job, 1, 5, after(HOUR), Verdict::GiveUp).await;
    house.store.replay_delivery(job, after(HOUR + 5)).await.unwrap();
    let summary = summary(&house, None, 100).await;
    assert_eq!(summary.counts, SummaryCounts { pending: 1, ..SummaryCounts::default() });
    assert!(summary.steps.iter().all(|step| step.delivered + step.failed == 0));
}

#[tokio::test]
async fn no_more_jobs_are_looked_at_than_may_be_and_that_is_told() {
    let house = House::new();
    for number in 1..=9 {
        let job =
            ended(&house, number, if number == 1 { "b" } else { "a" }, Some(HOOK), after(HOUR + u64::from(number)))
                .await;
        let verdict = if number <= 4 { Verdict::GiveUp } else { Verdict::Delivered };
        attempt(&house, job, 1, 5, after(HOUR + 100), verdict).await;
    }
    for (tenant, limit, delivered, ended, is_partial) in [
        (None, 9, 5, 9, false),
        (None, 8, 5, 8, true),
        (None, 5, 5, 5, true),
        (None, 1, 1, 1, true),
        (Some("a"), 8, 5, 8, false),
        (Some("a"), 7, 5, 7, true),
        (Some("b"), 1, 0, 1, false),
    ] {
        let summary = summary(&house, tenant, limit).await;
        let found = (summary.counts.delivered, summary.counts.ended(), summary.is_partial);
        assert_eq!(found, (delivered, ended, is_partial), "{tenant:?} {limit}");
    }
    // What was looked at and left out ended too early to count.
    ended(&house, 20, "c", Some(HOOK), after(5)).await;
    ended(&house, 21, "c", Some(HOOK), after(HOUR)).await;
    let of_c = summary(&house, Some("c"), 1).await;
    assert_eq!((of_c.counts.pending, of_c.is_partial), (1, false));
}

async fn summary(house: &House, tenant: Option<&str>, limit: u32) -> Summary {
    let tenant = tenant.map(|name| name.parse::<Tenant>().unwrap());
    let (since, until) = (START + Duration::from_millis(HOUR / 2), after(3 * HOUR));
    house.store.summary(SummaryFilter { tenant, since, until, limit }).await.unwrap()
}

async fn accept(house: &House, number: u16, tenant: &str, webhook: Option<&str>) -> JobId {
    let request = Request { webhook_url: webhook.map(str::to_owned), ..request(webhook) };
    let new = NewJob { tenant: tenant.parse().unwrap(), request, ..new_job(number) };
    house.store.accept(new).await.unwrap()
}

async fn ended(house: &House, number: u16, tenant: &str, webhook: Option<&str>, at: Timestamp) -> JobId {
    let id = accept(house, number, tenant, webhook).await;
    let run = Some(house.claim_this(id, after(number.into())).await.run.number);
    let ending = if number.is_multiple_of(2) { failed(id, run, at) } else { succeeded(id, run, at) };
    assert!(house.store.finish(ending).await.unwrap());
    id
}

async fn attempt(house: &House, job: JobId, number: u32, millis: u64, at: Timestamp, verdict: Verdict) {
    house.store.due_deliveries(at, Duration::from_secs(1), 100).await.unwrap();
    let took = Duration::from_millis(millis);
    let attempt = Attempt { number, started_at: at, took, status: None, code: None, snippet: String::new() };
    house.store.record_attempt(job, attempt, verdict).await.unwrap();
}

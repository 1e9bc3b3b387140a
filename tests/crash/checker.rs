//! What must be true of a history. Pure: it is given everything that was written down, and names what is wrong with it.

pub(crate) mod tests;

use crate::history::{History, JobRow, Who};
use crate::loader::{Accepted, Cancel};
use crate::sink::{Call, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The receiver reads its clock a little after a call came, so a death in between is noted as if it had come before.
const CLOCK_MARGIN: i64 = 1000;

/// What can be wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Rule {
    /// A job that was answered with 202 is not in the database.
    Lost,
    /// A job is in the database that nobody got a 202 for, although every request was answered in the end.
    Unasked,
    /// A key has more than one job.
    OneJobForEachKey,
    /// A 202 was never told.
    Told,
    /// A job was told under more than one webhook id, or an id was used for more than one job.
    OneIdentity,
    /// A job was told with more than one body.
    OneBody,
    /// A job was told with more than one status, or another one than the database has.
    OneStatus,
    /// Somebody was told of a job that is not in the database.
    NothingInvented,
    /// A final state, a result and a delivery do not stand together.
    EndIsWhole,
    /// Something waits, runs or is to be delivered although nothing happens any more.
    NothingLeftOver,
    /// A job ended otherwise than it should, though nothing but deaths was in its way.
    RightEnd,
    /// A job has another number of pictures than it was to have.
    RightPictures,
    /// A caller was told that a job is cancelled, and it is not.
    Cancelled,
    /// A delivery was accepted again without a death that would explain it.
    NoRepeats,
    /// A delivery that has arrived has not one good attempt.
    RecordedOnce,
    /// A job was executed again although its pictures were to be had.
    ExecutedOnce,
    /// When its receiver was told, a job looked otherwise.
    SeenAsTold,
    /// A file belongs to no job, or is missing.
    Files,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Names everything that is wrong with a history.
pub(crate) fn violations(history: &History) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    let jobs: BTreeMap<&str, &JobRow> = history.jobs.iter().map(|job| (job.id.as_str(), job)).collect();
    let mut calls: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in &history.calls {
        calls.entry(&call.id).or_default().push(call);
    }
    acceptance(history, &jobs, &mut found);
    for Accepted { id, .. } in &history.accepted {
        let is_told = calls.get(id.as_str()).is_some_and(|calls| calls.iter().any(|call| is_good(call)));
        found.unless(is_told, Rule::Told, || format!("job {id} was answered with 202 and never told"));
    }
    telling(history, &jobs, &calls, &mut found);
    let unwanted = history.accepted.iter().filter(|accepted| accepted.cancel.is_some());
    let unwanted: BTreeSet<&str> = unwanted.map(|accepted| accepted.id.as_str()).collect();
    for job in &history.jobs {
        end(job, unwanted.contains(job.id.as_str()), &mut found);
    }
    for Accepted { id, .. } in history.accepted.iter().filter(|accepted| accepted.cancel == Some(Cancel::Done)) {
        let state = jobs.get(id.as_str()).map_or("cancelled", |job| &job.state);
        found.unless(state == "cancelled", Rule::Cancelled, || {
            format!("job {id} was said to be cancelled, and is {state}")
        });
    }
    execution(history, &mut found);
    files(history, &mut found);
    found.0.sort();
    found.0.dedup();
    found.0
}

struct Found(Vec<Violation>);

impl Found {
    fn unless(&mut self, is_right: bool, rule: Rule, what: impl FnOnce() -> String) {
        if !is_right {
            self.0.push(Violation { rule, what: what() });
        }
    }
}

fn acceptance(history: &History, jobs: &BTreeMap<&str, &JobRow>, found: &mut Found) {
    let mut by_key: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for Accepted { key, id, .. } in &history.accepted {
        found.unless(jobs.contains_key(id.as_str()), Rule::Lost, || {
            format!("job {id} was answered with 202 and is gone")
        });
        by_key.entry(key).or_default().insert(id);
        let stored = history.keys.get(key);
        found.unless(stored == Some(id), Rule::OneJobForEachKey, || {
            format!("key {key} was answered with job {id}; stored is {stored:?}")
        });
    }
    for (key, ids) in by_key {
        found.unless(ids.len() == 1, Rule::OneJobForEachKey, || format!("key {key} was answered with jobs {ids:?}"));
    }
    let accepted: BTreeSet<&str> = history.accepted.iter().map(|accepted| accepted.id.as_str()).collect();
    for id in jobs.keys() {
        found.unless(accepted.contains(id), Rule::Unasked, || format!("job {id} is stored, and nobody has its 202"));
    }
}

fn telling(history: &History, jobs: &BTreeMap<&str, &JobRow>, calls: &BTreeMap<&str, Vec<&Call>>, found: &mut Found) {
    let mut owners: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (id, calls) in calls {
        let job = jobs.get(id);
        found.unless(job.is_some(), Rule::NothingInvented, || format!("job {id} was told and is not stored"));
        let all = |of: fn(&Call) -> &str| calls.iter().map(|call| of(call)).collect::<BTreeSet<_>>();
        let (identities, bodies, states) =
            (all(|call| &call.webhook_id), all(|call| &call.sha256), all(|call| &call.status));
        found.unless(identities.len() == 1, Rule::OneIdentity, || format!("job {id} was told as {identities:?}"));
        found.unless(bodies.len() == 1, Rule::OneBody, || format!("job {id} was told with {} bodies", bodies.len()));
        let stored = job.map_or("", |job| told_as(job));
        let is_one = states.iter().all(|state| *state == stored) && states.len() == 1;
        found.unless(is_one || job.is_none(), Rule::OneStatus, || {
            format!("job {id} was told as {states:?}; stored is `{stored}`")
        });
        for identity in identities {
            owners.entry(identity).or_default().insert(id);
        }
        let others = calls.iter().filter(|call| call.seen == Seen::Other).count();
        found.unless(others == 0, Rule::SeenAsTold, || format!("job {id} looked otherwise while it was told"));
        repeats(id, calls, history, found);
    }
    for (identity, ids) in owners {
        found.unless(ids.len() == 1, Rule::OneIdentity, || format!("webhook id {identity} was used for jobs {ids:?}"));
    }
}

/// A receiver that has said yes hears of it again only if the gateway, or it itself, died before that was recorded.
fn repeats(id: &str, calls: &[&Call], history: &History, found: &mut Found) {
    let good: Vec<i64> = calls.iter().filter(|call| is_good(call)).map(|call| call.at).collect();
    for pair in good.windows(2) {
        let between = (pair[0] - CLOCK_MARGIN)..=pair[1];
        let died = |who| history.deaths.iter().any(|death| death.who == who && between.contains(&death.at));
        found.unless(died(Who::Gateway) || died(Who::Sink), Rule::NoRepeats, || {
            format!("job {id} was told at {} and again at {}, and nobody died in between", pair[0], pair[1])
        });
    }
    if let (Some(first), Some(last)) = (good.first(), good.last()) {
        let span = (first - CLOCK_MARGIN)..=*last;
        let deaths =
            history.deaths.iter().filter(|death| death.who != Who::Comfyui && span.contains(&death.at)).count();
        let repeats = good.len() - 1;
        found.unless(repeats <= deaths, Rule::NoRepeats, || format!("job {id}: {repeats} repeats and {deaths} deaths"));
    }
}

fn end(job: &JobRow, is_unwanted: bool, found: &mut Found) {
    let id = &job.id;
    let is_final = matches!(job.state.as_str(), "succeeded" | "failed" | "cancelled");
    let is_whole = [job.ended_at.is_some(), job.has_result, job.delivery.is_some()].iter().all(|has| *has == is_final);
    found.unless(is_whole, Rule::EndIsWhole, || {
        let JobRow { state, ended_at, has_result, delivery, .. } = job;
        format!("job {id} is {state}: ended at {ended_at:?}, result {has_result}, delivery {delivery:?}")
    });
    found.unless(is_final, Rule::NothingLeftOver, || format!("job {id} is still {}", job.state));
    let delivery = job.delivery.as_deref().unwrap_or("delivered");
    found.unless(delivery == "delivered", Rule::NothingLeftOver, || format!("the delivery of job {id} is {delivery}"));
    if delivery == "delivered" && is_whole && is_final {
        let good = job.good_attempts;
        found.unless(good == 1, Rule::RecordedOnce, || format!("job {id} arrived with {good} recorded good attempts"));
    }
    if is_final {
        let error = job.error.as_deref().unwrap_or("no error");
        let is_well = job.state == "succeeded";
        let is_right = match job.state.as_str() {
            "succeeded" => !job.must_fail(),
            "failed" => job.must_fail() && job.code.as_deref() == Some("node_error"),
            _ => is_unwanted,
        };
        found.unless(is_right, Rule::RightEnd, || {
            format!("job {id} of {} is {} after {} runs: {error}", job.workflow, job.state, job.runs)
        });
        found.unless(job.outputs == u32::from(is_well), Rule::RightPictures, || {
            format!("job {id} is {} and has {} pictures", job.state, job.outputs)
        });
    }
}

/// A prompt is executed at most once, whatever dies: each run has an id of its own. A job whose pictures are files is
/// executed at most once as long as ComfyUI lives; where it died while the job was there, another run is right. A job
/// whose pictures come over the socket may need another run whenever nobody listened.
fn execution(history: &History, found: &mut Found) {
    for (prompt, times) in &history.executions {
        found.unless(*times == 1, Rule::ExecutedOnce, || format!("prompt {prompt} was executed {times} times"));
    }
    let mut known = BTreeSet::new();
    for job in &history.jobs {
        // The first run's prompt has the job's id; of those between the first and the last nothing is kept.
        let prompts: BTreeSet<&str> = [job.id.as_str(), job.prompt.as_deref().unwrap_or(&job.id)].into();
        let times: usize = prompts.iter().filter_map(|prompt| history.executions.get(*prompt)).sum();
        known.extend(prompts);
        let life = job.created_at..=job.ended_at.unwrap_or(i64::MAX);
        let comfyui_died = |at: i64| life.contains(&at);
        let is_excused = !job.is_of_files()
            || history.deaths.iter().any(|death| death.who == Who::Comfyui && comfyui_died(death.at));
        found.unless(times <= 1 || is_excused, Rule::ExecutedOnce, || {
            format!("job {} was executed {times} times in {} runs", job.id, job.runs)
        });
    }
    let all_strict =
        history.jobs.iter().all(JobRow::is_of_files) && history.deaths.iter().all(|death| death.who != Who::Comfyui);
    for prompt in history.executions.keys().filter(|_| all_strict) {
        found.unless(known.contains(prompt.as_str()), Rule::ExecutedOnce, || {
            format!("prompt {prompt} was executed, and is neither the first nor the last run of a job")
        });
    }
}

fn files(history: &History, found: &mut Found) {
    for blob in history.blobs_on_disk.difference(&history.blobs_named) {
        found.unless(false, Rule::Files, || format!("blob {blob} belongs to no job"));
    }
    for blob in history.blobs_named.difference(&history.blobs_on_disk) {
        found.unless(false, Rule::Files, || format!("blob {blob} is missing"));
    }
    found.unless(history.drafts == 0, Rule::Files, || format!("{} drafts are left over", history.drafts));
}

fn is_good(call: &Call) -> bool {
    (200..300).contains(&call.answer)
}

/// How a webhook tells of a job's end.
fn told_as(job: &JobRow) -> &str {
    match job.state.as_str() {
        "succeeded" => "success",
        "failed" => job.code.as_deref().unwrap_or(""),
        state => state,
    }
}

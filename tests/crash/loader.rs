//! The role of the caller: posts as many jobs as it is allowed, writes each 202 down, synced, before it goes on, and
//! repeats what got no answer with the same key until there is one.

use crate::now;
use crate::roles::input;
use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How many jobs are posted at once.
const AT_ONCE: usize = 6;

/// Every so many jobs one is posted again although it was answered.
const REPEATED_EVERY: usize = 7;

/// Every so many jobs one is wanted no more as soon as it is accepted, and one is of a workflow that always fails.
const CANCELLED_EVERY: usize = 11;
const FAILING_EVERY: usize = 13;

/// How long one answer may take, how long it is waited for at all, and the pause between two tries.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(20);

/// One 202, as it is written down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) at: i64,
    pub(crate) key: String,
    pub(crate) id: String,
    /// What the caller was told of the wish to cancel it; none: there was no wish.
    pub(crate) cancel: Option<Cancel>,
}

/// What came of a wish to cancel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Cancel {
    /// No answer came, or the job had ended.
    Unheard,
    /// It is being stopped, and may end before that.
    Asked,
    /// It is cancelled.
    Done,
}

struct Loader {
    client: reqwest::Client,
    gateway: String,
    sink: String,
    workflows: Workflows,
    log: Mutex<File>,
    next: AtomicUsize,
}

/// Posts jobs. Each line of the input is the number of jobs that may be posted so far; its end is the end of them.
pub(crate) async fn load(gateway: &str, sink: &str, log: &Path, workflows: &str) -> anyhow::Result<()> {
    let loader = Loader {
        client: reqwest::Client::builder().no_proxy().timeout(ANSWER_LIMIT).build()?,
        gateway: gateway.to_owned(),
        sink: sink.to_owned(),
        workflows: Workflows::read(workflows)?,
        log: Mutex::new(File::options().create(true).append(true).open(log)?),
        next: AtomicUsize::new(0),
    };
    println!("ready");
    let (allow, allowed) = watch::channel((0, false));
    let listening = async {
        let mut lines = input();
        while let Some(line) = lines.recv().await {
            allow.send_replace((line.trim().parse().context("not a number of jobs")?, false));
        }
        allow.send_modify(|(_, is_over)| *is_over = true);
        anyhow::Ok(())
    };
    let posting = try_join_all((0..AT_ONCE).map(|_| loader.post_all(allowed.clone())));
    tokio::try_join!(listening, posting)?;
    Ok(())
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Workflows {
    /// Pictures as files alone.
    Files,
    /// Some as files and some over the socket.
    Both,
    /// Those of many backends: files, and half of them need a model.
    Farm,
}

impl Workflows {
    fn read(word: &str) -> anyhow::Result<Self> {
        match word {
            "files" => Ok(Self::Files),
            "both" => Ok(Self::Both),
            "farm" => Ok(Self::Farm),
            _ => bail!("there are no workflows `{word}`"),
        }
    }

    /// Returns the request for a job.
    fn body(self, number: usize, sink: &str) -> Value {
        if self == Self::Farm && !number.is_multiple_of(2) {
            return json!({
                "workflow": "starter", "prompt": format!("job {number}"), "width": 64, "height": 64, "seed": number,
                "steps": 2, "webhook_url": sink, "metadata": { "number": number },
            });
        }
        let workflow = match number {
            number if number % FAILING_EVERY == 5 && self != Self::Farm => "canvas-fails",
            number if self != Self::Both || number.is_multiple_of(2) => "canvas-files",
            _ => "canvas",
        };
        // A colour of its own gives each job a picture of its own.
        json!({
            "workflow": workflow, "prompt": format!("job {number}"), "width": 16, "height": 16, "color": number,
            "webhook_url": sink, "metadata": { "number": number },
        })
    }
}

impl Loader {
    async fn post_all(&self, mut allowed: watch::Receiver<(usize, bool)>) -> anyhow::Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let (most, _) = *allowed.wait_for(|(most, is_over)| number < *most || *is_over).await?;
            if number >= most {
                return Ok(());
            }
            self.post(number).await?;
            if number.is_multiple_of(REPEATED_EVERY) {
                self.post(number).await?;
            }
        }
    }

    /// Posts a job until there is an answer, and writes it down.
    async fn post(&self, number: usize) -> anyhow::Result<()> {
        let key = format!("job-{number}");
        let begun = Instant::now();
        let mut trouble = String::new();
        while begun.elapsed() < PATIENCE {
            match self.post_once(number, &key).await {
                Ok((202, body)) => {
                    let id = body["prompt_id"].as_str().context("a 202 without an id")?.to_owned();
                    self.note(&Accepted { at: now(), key: key.clone(), id: id.clone(), cancel: None })?;
                    if number % CANCELLED_EVERY == 3 && self.workflows != Workflows::Farm {
                        let cancel = Some(self.cancel(&id).await.unwrap_or(Cancel::Unheard));
                        self.note(&Accepted { at: now(), key, id, cancel })?;
                    }
                    return Ok(());
                }
                Ok((429 | 503, body)) => trouble = body.to_string(),
                Ok((status, body)) => bail!("{key} was answered with {status}: {body}"),
                Err(error) => trouble = format!("{error:#}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("{key} got no answer for {PATIENCE:?}: {trouble}")
    }

    async fn cancel(&self, id: &str) -> anyhow::Result<Cancel> {
        let answer = self.client.post(format!("{}/jobs/{id}/cancel", self.gateway)).send().await?;
        let body: Value = serde_json::from_slice(&answer.bytes().await?)?;
        Ok(match body["status"].as_str() {
            Some("cancelled") => Cancel::Done,
            Some("cancelling") => Cancel::Asked,
            Some(_) | None => Cancel::Unheard,
        })
    }

    async fn post_once(&self, number: usize, key: &str) -> anyhow::Result<(u16, Value)> {
        let body = self.workflows.body(number, &self.sink);
        let request = self.client.post(format!("{}/generate", self.gateway)).header("idempotency-key", key);
        let answer = request.header("content-type", "application/json").body(body.to_string()).send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap_or(Value::Null)))
    }

    fn note(&self, accepted: &Accepted) -> anyhow::Result<()> {
        let line = serde_json::to_string(accepted)? + "\n";
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.write_all(line.as_bytes())?;
        Ok(log.sync_data()?)
    }
}

//! Sees to it that every order of a plan is run, saved and told: so many at once as the executor takes, one failed order
//! does not stop the others, and whoever stops it all stops only what was begun here.

use super::error::{ConnectorError, RunError};
use super::executor::{End, Executor, News, Ticket};
use super::order::Order;
use super::plan::{Found, Plan};
use super::saving::Folder;
use crate::clock::{Clock, Timestamp};
use crate::job::Output;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a server may take to confirm that an order is cancelled.
const CANCEL_LIMIT: Duration = Duration::from_secs(20);

/// Below this fraction nobody can say how long the rest takes.
const LEAST_FRACTION: f64 = 0.05;

/// How orders are driven.
pub struct Options {
    /// Where outputs are written; none to leave them where they are.
    pub folder: Option<Folder>,
    /// Whether the first failure stops all others.
    pub fail_fast: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Something that happened to an order.
#[derive(Clone, Debug)]
pub struct Told {
    /// The order.
    pub order: Arc<Order>,
    /// How many orders there are.
    pub of: usize,
    /// The executor's name for it; none where it was not taken.
    pub id: Option<String>,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub what: What,
}

/// What happened to an order.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// The executor has taken it.
    Accepted,
    /// The executor says this of it; never its end.
    News(News),
    /// An output was written.
    Saved(Saved),
    /// It has ended, and all outputs are written.
    Ended(Ended),
}

/// An output that was written.
#[derive(Clone, PartialEq, Debug)]
pub struct Saved {
    /// What it is.
    pub output: Output,
    /// The name that was given to its node's outputs.
    pub alias: Option<String>,
    /// Where it is.
    pub path: PathBuf,
}

/// How an order ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Ended {
    /// Which order, from 1.
    pub number: usize,
    /// What it is called.
    pub name: String,
    /// The executor's name for it; none where it was not taken.
    pub id: Option<String>,
    /// The server's name for its last run, ComfyUI's prompt id.
    pub prompt: Option<String>,
    /// How it ended.
    pub end: End,
    /// What was written.
    pub saved: Vec<Saved>,
    /// How long it took, waiting included.
    pub took: Duration,
}

/// What became of all orders.
#[derive(Clone, PartialEq, Debug)]
pub struct Summary {
    /// Those that were begun, in the order of their numbers.
    pub ended: Vec<Ended>,
    /// How many were never begun.
    pub never_begun: usize,
    /// How long all took.
    pub took: Duration,
}

impl Summary {
    /// Returns how many ended well.
    pub fn succeeded(&self) -> usize {
        self.count(|end| *end == End::Succeeded)
    }

    /// Returns how many ended with an error.
    pub fn failed(&self) -> usize {
        self.count(|end| matches!(end, End::Failed(_)))
    }

    /// Returns how many were stopped on purpose, those that were never begun included.
    pub fn cancelled(&self) -> usize {
        self.count(|end| *end == End::Cancelled) + self.never_begun
    }

    fn count(&self, is_so: impl Fn(&End) -> bool) -> usize {
        self.ended.iter().filter(|ended| is_so(&ended.end)).count()
    }
}

/// Returns how long the rest may take; none where nobody can say.
pub fn eta(elapsed: Duration, fraction: f64) -> Option<Duration> {
    let can_tell = (LEAST_FRACTION..=1.0).contains(&fraction) && elapsed >= Duration::from_millis(500);
    can_tell.then(|| elapsed.mul_f64((1.0 - fraction) / fraction))
}

/// Runs every order of a plan that is good (see [`Plan::check`]). `listener` hears of everything and must not wait; `stop` cancels
/// what is under way and begins nothing more.
pub async fn run_all(
    executor: &dyn Executor,
    plan: &Plan,
    find: &(dyn Fn(&str) -> Found + Sync),
    options: &Options,
    listener: &(dyn Fn(&Told) + Sync),
    stop: &CancellationToken,
) -> Summary {
    let began = options.clock.now();
    // It stops with the whole, and by itself after a failure.
    let halt = stop.child_token();
    let handed_over = watch::Sender::new(0);
    let driver = Driver { executor, options, listener, halt: &halt, of: plan.count(), handed_over: &handed_over };
    let mut under_way = FuturesUnordered::new();
    let mut ended: Vec<Ended> = Vec::new();
    let mut next = 0;
    loop {
        while next < plan.count() && under_way.len() < executor.at_once().max(1) && !halt.is_cancelled() {
            match plan.order(next, find) {
                Ok(order) => under_way.push(driver.drive(Arc::new(order))),
                // A file has gone since the check.
                Err(error) => {
                    let (number, name) = (next + 1, format!("{}-{}", plan.name(), next + 1));
                    let (end, took) = (End::Failed(error.into()), Duration::ZERO);
                    ended.push(Ended { number, name, id: None, prompt: None, end, saved: Vec::new(), took });
                    driver.pass(number);
                }
            }
            next += 1;
        }
        let Some(one) = under_way.next().await else { break };
        if options.fail_fast && matches!(one.end, End::Failed(_)) {
            halt.cancel();
        }
        ended.push(one);
    }
    ended.sort_by_key(|ended| ended.number);
    Summary { ended, never_begun: plan.count() - next, took: options.clock.now().since(began) }
}

struct Driver<'a> {
    executor: &'a dyn Executor,
    options: &'a Options,
    listener: &'a (dyn Fn(&Told) + Sync),
    halt: &'a CancellationToken,
    of: usize,
    /// How many were handed to the executor: they are handed over in their order.
    handed_over: &'a watch::Sender<usize>,
}

impl Driver<'_> {
    /// Lets the next order follow.
    fn pass(&self, number: usize) {
        self.handed_over.send_modify(|last| *last = number.max(*last));
    }

    /// Runs one order to its end, whatever that is.
    async fn drive(&self, order: Arc<Order>) -> Ended {
        let began = self.options.clock.now();
        let mut ended = Ended {
            number: order.number,
            name: order.name.clone(),
            id: None,
            prompt: None,
            end: End::Cancelled,
            saved: Vec::new(),
            took: Duration::ZERO,
        };
        // It only ends where the sender is gone, and that is held here.
        let _ = self.handed_over.subscribe().wait_for(|last| last + 1 >= order.number).await;
        let submitted = self.executor.submit(&order).await;
        self.pass(order.number);
        match submitted {
            Ok(ticket) => {
                ended.id = Some(ticket.id.clone());
                self.tell(&order, &ended, What::Accepted);
                ended.end = self.follow(&order, &ticket, &mut ended).await;
                if let Err(error) = self.save(&order, &ticket, &mut ended).await
                    && ended.end == End::Succeeded
                {
                    ended.end = End::Failed(error);
                }
            }
            Err(error) => ended.end = End::Failed(error),
        }
        ended.took = self.options.clock.now().since(began);
        self.tell(&order, &ended, What::Ended(ended.clone()));
        ended
    }

    async fn follow(&self, order: &Arc<Order>, ticket: &Ticket, ended: &mut Ended) -> End {
        let mut cancelled_at = None;
        loop {
            let patience = async {
                match cancelled_at {
                    Some(at) => self.options.clock.sleep_until(at + CANCEL_LIMIT).await,
                    None => std::future::pending().await,
                }
            };
            let polled = tokio::select! {
                polled = self.executor.poll(ticket) => polled,
                () = self.halt.cancelled(), if cancelled_at.is_none() => {
                    cancelled_at = Some(self.options.clock.now());
                    if let Err(error) = self.executor.cancel(ticket).await {
                        return End::Failed(error);
                    }
                    continue;
                }
                () = patience => {
                    let message = "it was cancelled, but the server did not confirm it; it may still run there".to_owned();
                    return End::Failed(ConnectorError { message }.into());
                }
            };
            let news = match polled {
                Ok(news) => news,
                Err(error) => return End::Failed(error),
            };
            for news in news {
                match news {
                    News::Ended(end) => return end,
                    News::Submitted { prompt } => {
                        ended.prompt = Some(prompt.clone());
                        self.tell(order, ended, What::News(News::Submitted { prompt }));
                    }
                    news @ (News::Started
                    | News::Cached(_)
                    | News::Progress(_)
                    | News::Output(_)
                    | News::Again { .. }) => self.tell(order, ended, What::News(news)),
                }
            }
        }
    }

    /// Writes what there is, of a failed order too.
    async fn save(&self, order: &Arc<Order>, ticket: &Ticket, ended: &mut Ended) -> Result<(), RunError> {
        let artifacts = self.executor.collect(ticket).await?;
        for (place, artifact) in artifacts.iter().enumerate() {
            let path = match &self.options.folder {
                Some(folder) => folder.save(&order.name, place, artifacts.len(), artifact).await?,
                None => artifact.file.clone(),
            };
            let alias = order.aliases.get(&artifact.output.node_id).cloned();
            let saved = Saved { output: artifact.output.clone(), alias, path };
            self.tell(order, ended, What::Saved(saved.clone()));
            ended.saved.push(saved);
        }
        Ok(())
    }

    fn tell(&self, order: &Arc<Order>, ended: &Ended, what: What) {
        let (order, of, id, at) = (Arc::clone(order), self.of, ended.id.clone(), self.options.clock.now());
        (self.listener)(&Told { order, of, id, at, what });
    }
}

#[cfg(test)]
mod tests;

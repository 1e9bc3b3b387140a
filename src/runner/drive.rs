//! Sees to it that every order of a plan is run, saved and told: so many at once as the executor takes, one failed order
//! does not stop the others, and whoever stops it all stops only what was begun here.

use super::error::{ConnectorError, RunError, ValidationError};
use super::executor::{End, Executor, News, Ticket};
use super::order::Order;
use super::plan::{Found, Plan};
use super::saving::Folder;
use super::told::{Ended, Saved, Summary, Told, What};
use crate::clock::Clock;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a server may take to confirm that an order is cancelled.
const CANCEL_LIMIT: Duration = Duration::from_secs(20);

/// How long an executor may take to take a wish to cancel.
const WISH_LIMIT: Duration = Duration::from_secs(5);

/// How orders are driven.
pub struct Options {
    /// Where outputs are written; none to leave them where they are.
    pub folder: Option<Folder>,
    /// Whether the first failure stops all others.
    pub fail_fast: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Runs every order of a plan that is good (see [`super::rehearse`]). `listener` hears of everything and must not wait; `stop`
/// cancels what is under way and begins nothing more.
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
            let one = Ended::begun(next + 1, plan.name_of(next));
            under_way.push(driver.drive(one, plan.order(next, find)));
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
    /// Runs one order to its end, whatever that is. One that could not be made, such as one whose picture has gone since the
    /// check, has failed.
    async fn drive(&self, mut ended: Ended, made: Result<Order, ValidationError>) -> Ended {
        let began = self.options.clock.now();
        // It only ends where the sender is gone, and that is held here.
        let _ = self.handed_over.subscribe().wait_for(|last| last + 1 >= ended.number).await;
        let submitted = match &made {
            Ok(order) => self.executor.submit(order).await,
            Err(error) => Err(error.clone().into()),
        };
        self.handed_over.send_modify(|last| *last = ended.number.max(*last));
        match (made, submitted) {
            (Ok(order), Ok(ticket)) => {
                let order = Arc::new(order);
                ended.id = Some(ticket.id.clone());
                self.tell(&ended, What::Accepted(Arc::clone(&order)));
                ended.end = self.follow(&ticket, &mut ended).await;
                if let Err(error) = self.save(&order, &ticket, &mut ended).await
                    && ended.end == End::Succeeded
                {
                    ended.end = End::Failed(error);
                }
            }
            (Err(error), _) => ended.end = End::Failed(error.into()),
            (Ok(_), Err(error)) => ended.end = End::Failed(error),
        }
        ended.took = self.options.clock.now().since(began);
        self.tell(&ended, What::Ended(ended.clone()));
        ended
    }

    async fn follow(&self, ticket: &Ticket, ended: &mut Ended) -> End {
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
                    // Who does not answer in time is asked by `poll`, as long as there is patience.
                    if let Some(Err(error)) = self.cancel(ticket).await {
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
                Err(error) => {
                    self.let_go(ticket).await;
                    return End::Failed(error);
                }
            };
            for news in news {
                match news {
                    News::Ended(end) => return end,
                    News::Submitted { prompt } => {
                        ended.prompt = Some(prompt.clone());
                        self.tell(ended, What::News(News::Submitted { prompt }));
                    }
                    news @ (News::Started
                    | News::Cached(_)
                    | News::Progress(_)
                    | News::Output(_)
                    | News::Again { .. }) => self.tell(ended, What::News(news)),
                }
            }
        }
    }

    /// Has an order stopped whose fate is not known any more: nobody waits for it, and its server may come back.
    async fn let_go(&self, ticket: &Ticket) {
        // The order has failed already, and that is what is told.
        let _ = self.cancel(ticket).await;
    }

    /// Wishes that an order be stopped; none where the executor does not answer in time.
    async fn cancel(&self, ticket: &Ticket) -> Option<Result<(), RunError>> {
        let until = self.options.clock.now() + WISH_LIMIT;
        tokio::select! {
            answer = self.executor.cancel(ticket) => Some(answer),
            () = self.options.clock.sleep_until(until) => None,
        }
    }

    /// Writes what there is, of a failed order too.
    async fn save(&self, order: &Order, ticket: &Ticket, ended: &mut Ended) -> Result<(), RunError> {
        let artifacts = self.executor.collect(ticket).await?;
        for (place, artifact) in artifacts.iter().enumerate() {
            let path = match &self.options.folder {
                Some(folder) => folder.save(&order.name, place, artifacts.len(), artifact).await?,
                None => artifact.file.clone(),
            };
            let alias = order.aliases.get(&artifact.output.node_id).cloned();
            let saved = Saved { output: artifact.output.clone(), alias, path };
            self.tell(ended, What::Saved(saved.clone()));
            ended.saved.push(saved);
        }
        Ok(())
    }

    fn tell(&self, ended: &Ended, what: What) {
        let (number, name, id) = (ended.number, ended.name.clone(), ended.id.clone());
        (self.listener)(&Told { number, name, of: self.of, id, at: self.options.clock.now(), what });
    }
}

#[cfg(test)]
mod tests;

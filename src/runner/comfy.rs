//! Runs orders on ComfyUI: the gateway's own stations over a folder that is gone afterwards, so a run of the command line
//! is tracked, tried again and collected as one of the gateway's.

use super::answers::{failure, refused, stored, unknown_failure, unknown_ticket};
use super::error::{ConnectorError, RunError, ServerNotReady};
use super::executor::{Artifact, Context, End, Executor, Known, News, Ticket};
use super::mailbox::Mailbox;
use super::order::Order;
use super::own::{Own, Started, not_ready};
use super::placed::Placed;
use super::scratch::Scratch;
use crate::app::{Server, Works};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::intake::Submission;
use crate::job::{DeliveryMode, Happening, Job, JobId, JobState, Tap, Tapped, Timeouts};
use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the store is asked although nobody rang: it knows every end, and news may get lost.
const LOOK: Duration = Duration::from_secs(1);

/// How often a server that is not there yet is looked at.
const GLANCE: Duration = Duration::from_millis(25);

/// How long all servers may be away while runs wait for them. A restart takes less.
const AWAY: Duration = Duration::from_mins(2);

/// The same once a run was cancelled: nobody wants to wait any more.
const AWAY_AT_END: Duration = Duration::from_secs(3);

/// How old what is known of a server's nodes may be: it is asked when its socket comes up, and nothing older is there.
const FRESH: Duration = Duration::from_mins(10);

/// How often its answer is waited for: one with many custom nodes takes longer than one wait.
const WAITS: usize = 6;

/// How long a job may wait in the queue: others may have filled the server, and nobody but us waits for it.
const QUEUE: Duration = Duration::from_hours(7 * 24);

/// Runs orders on the ComfyUI servers of a context.
pub struct ComfyExecutor {
    works: Works,
    clock: Arc<dyn Clock>,
    patience: Duration,
    mail: Mail,
    placed: Arc<Placed>,
    away_since: Mutex<Option<Timestamp>>,
    /// The orders that were cancelled and are still asked after.
    cancelled: Mutex<BTreeSet<JobId>>,
    /// The server that was started for the runs.
    own: Option<Own>,
    /// Dropped last: the stations write there.
    _scratch: Scratch,
}

type Mail = Arc<Mutex<HashMap<JobId, Arc<Mailbox>>>>;

impl ComfyExecutor {
    /// Begins the stations, which connect to the servers meanwhile.
    pub async fn start(context: Context) -> Result<Self, RunError> {
        Self::begin(context, None).await
    }

    async fn begin(context: Context, own: Option<Started>) -> Result<Self, RunError> {
        let Context { mut settings, patience, .. } = context;
        let scratch = Scratch::make()?;
        settings.storage.folder = scratch.path().join("data");
        // Nobody would read it.
        settings.backends.agent_every = None;
        settings.limits.usual.queue = QUEUE;
        settings.limits.most.queue = settings.limits.most.queue.max(QUEUE);
        settings.limits.most.run = settings.limits.most.run.max(QUEUE);
        let mail = Mail::default();
        let clock: Arc<dyn Clock> = SystemClock::start();
        let placed = Arc::<Placed>::default();
        let (boxes, names) = (Arc::clone(&mail), Arc::clone(&placed));
        let tap = Tap::new(move |tapped| deliver(&boxes, &names, tapped));
        let addresses: Vec<&str> = settings.backends.addresses.iter().map(url::Url::as_str).collect();
        let gate = own.as_ref().map(Started::is_up);
        let works = Works::begin(&settings, Arc::clone(&clock), tap, gate)
            .await
            .map_err(|error| ServerNotReady { address: addresses.join(", "), reason: format!("{error:#}") })?;
        Ok(Self {
            works,
            clock,
            patience,
            mail,
            placed,
            away_since: Mutex::default(),
            cancelled: Mutex::default(),
            own: own.map(Started::look_after),
            _scratch: scratch,
        })
    }

    /// Starts a ComfyUI of our own, and the stations for it once it is ready.
    pub async fn start_local(mut context: Context) -> Result<Self, RunError> {
        let own = Started::start(&context).await?;
        let address = own.address();
        match address.parse() {
            Ok(url) => context.settings.backends.addresses = vec![url],
            Err(error) => return Err(not_ready(format!("{address}: {error}"))),
        }
        // What a server of others asks for is nobody else's to see.
        context.settings.backends.token = None;
        context.settings.backends.token_file = None;
        context.settings.backends.route_file = None;
        Self::begin(context, Some(own)).await
    }

    fn mailbox(&self, id: JobId) -> Arc<Mailbox> {
        Arc::clone(self.mail().entry(id).or_default())
    }

    fn mail(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Mailbox>>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> Option<&Server> {
        self.works.servers.iter().find(|server| server.desk.is_connected())
    }

    fn not_ready(&self) -> ServerNotReady {
        let trouble = |server: &Server| server.desk.trouble().unwrap_or_else(|| "it has not answered yet".to_owned());
        let several = self.works.servers.len() > 1;
        let each = |server: &Server| {
            if several { format!("{}: {}", server.name, trouble(server)) } else { trouble(server) }
        };
        let addresses: Vec<&str> = self.works.servers.iter().map(|server| server.name.as_str()).collect();
        let reasons: Vec<String> = self.works.servers.iter().map(each).collect();
        let mut reason = reasons.join("; ");
        if !reason.ends_with('?') {
            reason.push_str("; is ComfyUI running there?");
        }
        ServerNotReady { address: addresses.join(", "), reason }
    }

    fn cancelled(&self) -> MutexGuard<'_, BTreeSet<JobId>> {
        self.cancelled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the servers have been away for too long for an order, if they have, or that our own has ended.
    fn lost(&self, id: JobId) -> Option<ConnectorError> {
        if let Some(message) = self.own.as_ref().and_then(Own::end) {
            return Some(ConnectorError { message });
        }
        let mut away_since = self.away_since.lock().unwrap_or_else(PoisonError::into_inner);
        if self.ready().is_some() {
            *away_since = None;
            return None;
        }
        let now = self.clock.now();
        let since = *away_since.get_or_insert(now);
        let is_cancelled = self.cancelled().contains(&id);
        let most = if is_cancelled { AWAY_AT_END } else { AWAY };
        (now >= since + most).then(|| {
            let ServerNotReady { address, reason } = self.not_ready();
            let message = if is_cancelled {
                format!("it was cancelled, but {address} is away, and it may still run there: {reason}")
            } else {
                format!("{address} was lost, and is away for two minutes: {reason}")
            };
            ConnectorError { message }
        })
    }

    async fn own_ended(&self) {
        match &self.own {
            Some(own) => own.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until a server has told its nodes, or has answered something else.
    async fn ask(&self, server: &Server) {
        for _ in 0..WAITS {
            if self.works.inventory.of(&server.name).is_some() {
                return;
            }
            self.works.inventory.refresh(&server.name, FRESH).await;
        }
    }

    async fn ended(&self, job: &Job) -> Result<Option<End>, RunError> {
        if !job.state.is_final() {
            return Ok(None);
        }
        let finished = self.works.store.finished(job.id).await.map_err(|error| stored(&error))?;
        Ok(Some(match job.state {
            JobState::Succeeded => End::Succeeded,
            JobState::Cancelled => End::Cancelled,
            JobState::Queued | JobState::Submitted | JobState::Running | JobState::Failed => {
                End::Failed(finished.map_or_else(unknown_failure, |finished| failure(&finished)).into())
            }
        }))
    }
}

#[async_trait]
impl Executor for ComfyExecutor {
    async fn prepare(&self) -> Result<(), RunError> {
        let until = self.clock.now() + self.patience;
        while self.ready().is_none() {
            if let Some(reason) = self.own.as_ref().and_then(Own::end) {
                return Err(not_ready(reason));
            }
            let now = self.clock.now();
            if now >= until {
                return Err(self.not_ready().into());
            }
            self.clock.sleep_until(now + GLANCE).await;
        }
        Ok(())
    }

    async fn known(&self) -> Result<Option<Known>, RunError> {
        let connected = self.works.servers.iter().filter(|server| server.desk.is_connected());
        join_all(connected.map(|server| self.ask(server))).await;
        let inventory = &self.works.inventory;
        let (definitions, mut names) = (inventory.known(), inventory.backends());
        names.retain(|name| inventory.of(name).is_some());
        Ok((!definitions.is_empty()).then(|| Known { definitions, origin: names.join(", ") }))
    }

    fn at_once(&self) -> usize {
        // One that runs, one that waits behind it, and two that are ready: more would only wait here.
        self.works.servers.len() * 4
    }

    async fn submit(&self, order: &Order) -> Result<Ticket, RunError> {
        let mut params = order.params.clone();
        for (name, path) in &order.images {
            params.insert(name.clone(), Value::String(super::load::data_uri(path).await?));
        }
        let id = JobId::new(self.clock.now(), rand::random());
        let limit = order.limit.and_then(|limit| u64::try_from(limit.as_millis()).ok());
        let submission = Submission {
            id: Some(id),
            params,
            timeouts: Timeouts { run_ms: limit, ..Timeouts::default() },
            // Nobody sends the result anywhere, so it needs no images in it.
            delivery: DeliveryMode::Links,
            ..Submission::default()
        };
        // Before it is taken in, so that nothing is missed.
        self.mailbox(id);
        self.placed.add(id);
        match self.works.intake.accept(&order.pair, submission).await {
            Ok(accepted) => Ok(Ticket { id: accepted.id.to_string(), seeds: order.seeds.clone() }),
            Err(error) => {
                self.placed.forget(id);
                self.mail().remove(&id);
                Err(refused(error))
            }
        }
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Vec<News>, RunError> {
        let id = job_id(ticket)?;
        let mailbox = self.mailbox(id);
        loop {
            let news = mailbox.take();
            if !news.is_empty() {
                return Ok(news);
            }
            let job = self.works.store.job(id).await.map_err(|error| stored(&error))?;
            let job = job.ok_or_else(|| unknown_ticket(ticket))?;
            if let Some(end) = self.ended(&job).await? {
                self.placed.ended(id, &end);
                // What came in meanwhile happened before the end.
                let mut news = mailbox.take();
                news.push(News::Ended(end));
                return Ok(news);
            }
            if let Some(lost) = self.lost(id) {
                return Err(lost.into());
            }
            let look = self.clock.sleep_until(self.clock.now() + LOOK);
            tokio::select! {
                () = mailbox.rung() => {}
                () = look => {}
                () = self.own_ended() => {}
            }
        }
    }

    async fn cancel(&self, ticket: &Ticket) -> Result<(), RunError> {
        let id = job_id(ticket)?;
        self.cancelled().insert(id);
        self.works.intake.cancel(id).await.map(drop).map_err(|error| stored(&error))
    }

    async fn collect(&self, ticket: &Ticket) -> Result<Vec<Artifact>, RunError> {
        let id = job_id(ticket)?;
        self.mail().remove(&id);
        self.cancelled().remove(&id);
        let finished = self.works.store.finished(id).await.map_err(|error| stored(&error))?;
        let outputs = finished.map(|finished| finished.outputs).unwrap_or_default();
        let artifact = |output: crate::job::Output| Artifact { file: self.works.blobs.path(&output.sha256), output };
        Ok(outputs.into_iter().map(artifact).collect())
    }

    async fn close(&self) {
        self.works.end().await;
        if let Some(own) = &self.own {
            return own.stop().await;
        }
        // Nobody submits anything any more, and later runs are known by the store at least.
        for id in self.placed.jobs() {
            if let Ok(Some(Job { run: Some(run), .. })) = self.works.store.job(id).await {
                self.placed.also(id, run.prompt);
            }
        }
        self.placed.take_back(&self.works.servers, self.clock.as_ref()).await;
    }
}

/// Puts what the tap heard into the mailbox of its job. Never waits.
fn deliver(mail: &Mail, placed: &Placed, tapped: Tapped) {
    let Tapped { job, what, .. } = tapped;
    if let Happening::Submitted { prompt, .. } = &what {
        placed.also(job, prompt.clone());
    }
    let mailbox = mail.lock().unwrap_or_else(PoisonError::into_inner).get(&job).map(Arc::clone);
    let Some(mailbox) = mailbox else { return };
    match what {
        Happening::Submitted { prompt, .. } => mailbox.put(News::Submitted { prompt: prompt.0 }),
        Happening::Started => mailbox.put(News::Started),
        Happening::Cached(nodes) => mailbox.put(News::Cached(nodes)),
        Happening::Progress { advance, .. } => mailbox.put(News::Progress(advance)),
        Happening::Output { output, .. } => mailbox.put(News::Output(output)),
        Happening::Again { reason } => mailbox.put(News::Again { reason }),
        // The store says how.
        Happening::Ended { .. } => mailbox.ring(),
        Happening::Queued | Happening::Followed(_) | Happening::Node { .. } | Happening::Preview(_) => {}
    }
}

fn job_id(ticket: &Ticket) -> Result<JobId, RunError> {
    ticket.id.parse().map_err(|_| unknown_ticket(ticket))
}

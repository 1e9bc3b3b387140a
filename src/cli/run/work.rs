//! The work of `comfygate run`, from the file of a workflow to the summary of its runs: what is wrong is told as early as it
//! can be known, and before anything is sent.

use super::arguments::RunArgs;
use super::show::Show;
use crate::clock::Clock;
use crate::runner::{
    ConnectorError, Context, Executor, Executors, Folder, Given, Known, Loaded, Loader, Options, Plan, RunError,
    Summary, Told, Wishes, find_image, rehearse, run_all,
};
use crate::settings::Settings;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// How many runs are looked at before the server is asked. All are before the first is sent.
const EARLY: usize = 100;

/// What is worked with.
struct Desk<'a> {
    args: &'a RunArgs,
    settings: &'a Settings,
    params: Vec<(String, Given)>,
    folder: Folder,
    clock: &'a Arc<dyn Clock>,
    show: &'a Arc<dyn Show>,
    stop: &'a CancellationToken,
}

/// Does all of it. An error says why nothing was run.
pub(super) async fn work(
    args: &RunArgs,
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    show: &Arc<dyn Show>,
    stop: &CancellationToken,
) -> Result<Summary, RunError> {
    let began = clock.now();
    let (params, folder) = (args.params()?, Folder::open(&args.out)?);
    let desk = Desk { args, settings, params, folder, clock, show, stop };
    // What is wrong without any server is told without one.
    let early = desk.early().await;
    if let Err(error) = &early
        && !error.may_be_mended_by_definitions()
    {
        return Err(error.clone());
    }
    let orders = early.as_ref().ok().and_then(Option::as_ref).map(Plan::count);
    let teller = Arc::clone(show);
    let tell = Arc::new(move |text: &str| teller.note(text));
    let context = Context { settings: settings.clone(), patience: args.wait, stop: stop.clone(), tell };
    let executor = Executors::usual().make(args.mode(settings), context).await?;
    let result = desk.drive(executor.as_ref(), early).await;
    executor.close().await;
    match (result, orders) {
        (Err(RunError::Cancelled), Some(orders)) => Ok(Summary::nothing_begun(orders, clock.now().since(began))),
        (result, _) => result,
    }
}

impl Desk<'_> {
    /// Plans as far as that can be done without a server; none for what ComfyUI has saved.
    async fn early(&self) -> Result<Option<Plan>, RunError> {
        let Some((mut plan, _)) = self.plan(None)? else { return Ok(None) };
        rehearse(&mut plan, EARLY, &find_image, None, self.stop).await?;
        Ok(Some(plan))
    }

    async fn drive(&self, executor: &dyn Executor, early: Result<Option<Plan>, RunError>) -> Result<Summary, RunError> {
        if let Err(error) = self.unless_stopped(executor.prepare()).await {
            // Without a server it is all that can be told.
            return Err(early.err().filter(|_| !matches!(error, RunError::Cancelled)).unwrap_or(error));
        }
        // A drawing cannot be run without the nodes.
        let asks = !self.args.no_check || matches!(early, Ok(None));
        let known = if asks { self.unless_stopped(executor.known()).await? } else { None };
        let planned = match &known {
            Some(known) => self.plan(Some(known))?,
            // Nothing is odd about what was not converted.
            None => early?.map(|plan| (plan, Vec::new())),
        };
        let (mut plan, warnings) = planned.ok_or_else(|| self.untold())?;
        for warning in warnings {
            self.show.note(&warning);
        }
        if known.is_none() && asks {
            self.show.note("the server does not tell its nodes, so nothing was checked against them");
        }
        let checks = known.as_ref().filter(|_| !self.args.no_check);
        for strange in rehearse(&mut plan, usize::MAX, &find_image, checks, self.stop)
            .await
            .map_err(|error| self.named(error, plan.count()))?
        {
            self.show.note(&strange);
        }
        let (folder, clock) = (Some(self.folder.clone()), Arc::clone(self.clock));
        let options = Options { folder, fail_fast: self.args.fail_fast, clock };
        let listener = |told: &Told| self.show.told(told);
        Ok(run_all(executor, &plan, &find_image, &options, &listener, self.stop).await)
    }

    /// Finds out what shall be run, with what is known of the server's nodes, and what is odd about it; none where that does not
    /// suffice.
    fn plan(&self, known: Option<&Known>) -> Result<Option<(Plan, Vec<String>)>, RunError> {
        let definitions = known.map(|known| &known.definitions);
        let loader = Loader { workflows: &self.settings.workflows };
        let Some(Loaded { subject, warnings }) = loader.load(&self.args.workflow, definitions)? else {
            return Ok(None);
        };
        let wishes = Wishes {
            params: self.params.clone(),
            repeats: self.args.batch,
            frames: self.args.frame_range,
            outputs: self.args.output.clone(),
            limit: self.args.timeout,
            first: self.folder.next_number(subject.name())?,
        };
        let plan = Plan::new(subject, wishes, definitions.cloned().unwrap_or_default(), rand::random)?;
        Ok(Some((plan, warnings)))
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, RunError>>) -> Result<T, RunError> {
        tokio::select! {
            done = work => done,
            () = self.stop.cancelled() => Err(RunError::Cancelled),
        }
    }

    /// A single run is called as its workflow was.
    fn named(&self, error: RunError, runs: usize) -> RunError {
        let RunError::Unfit(mut unfit) = error else { return error };
        if runs == 1 {
            unfit.workflow.clone_from(&self.args.workflow);
        }
        unfit.into()
    }

    fn untold(&self) -> RunError {
        let message = format!(
            "`{}` is a workflow as ComfyUI saves it, and the server does not tell its nodes, without which it cannot be \
             converted",
            self.args.workflow
        );
        ConnectorError { message }.into()
    }
}

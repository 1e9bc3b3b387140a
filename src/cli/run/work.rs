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

/// A plan, and what is odd about its workflow.
type Planned = (Plan, Vec<String>);

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
    match desk.work().await {
        // Whatever was waited for, no run was begun.
        Err(RunError::Cancelled) => Ok(Summary::nothing_begun(args.runs(), clock.now().since(began))),
        result => result,
    }
}

impl Desk<'_> {
    async fn work(&self) -> Result<Summary, RunError> {
        // What is wrong without any server is told without one.
        let early = self.early().await;
        if let Err(error) = &early
            && !error.may_be_mended_by_definitions()
        {
            return Err(error.clone());
        }
        let teller = Arc::clone(self.show);
        let tell = Arc::new(move |text: &str| teller.note(text));
        let (settings, stop) = (self.settings.clone(), self.stop.clone());
        let context = Context { settings, patience: self.args.wait, stop, tell };
        let executor = Executors::usual().make(self.args.mode(self.settings), context).await?;
        let result = self.drive(executor.as_ref(), early).await;
        executor.close().await;
        result
    }

    /// Plans as far as that can be done without a server; none for what ComfyUI has saved.
    async fn early(&self) -> Result<Option<Planned>, RunError> {
        let Some((mut plan, warnings)) = self.plan(None)? else { return Ok(None) };
        rehearse(&mut plan, EARLY, &find_image, None, self.stop).await?;
        Ok(Some((plan, warnings)))
    }

    async fn drive(
        &self,
        executor: &dyn Executor,
        early: Result<Option<Planned>, RunError>,
    ) -> Result<Summary, RunError> {
        if let Err(error) = self.unless_stopped(executor.prepare()).await {
            // Without a server it is all that can be told.
            return Err(early.err().filter(|_| !matches!(error, RunError::Cancelled)).unwrap_or(error));
        }
        // A drawing cannot be run without the nodes.
        let asks = !self.args.no_check || matches!(early, Ok(None));
        let known = if asks { self.unless_stopped(executor.known()).await? } else { None };
        let planned = match &known {
            Some(known) => self.plan(Some(known))?,
            None => early?,
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
    fn plan(&self, known: Option<&Known>) -> Result<Option<Planned>, RunError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    struct Nobody;

    impl Show for Nobody {
        fn told(&self, _: &Told) {}
        fn note(&self, _: &str) {}
        fn stopping(&self) {}
        fn failed(&self, _: &RunError) {}
        fn summary(&self, _: &Summary) {}
    }

    #[tokio::test]
    async fn who_stops_before_anything_is_known_gets_the_summary_of_all_runs() {
        let folder = tempfile::tempdir().unwrap();
        let (graph, out) = (folder.path().join("graph.json"), folder.path().join("out"));
        std::fs::write(&graph, r#"{"1": {"class_type": "A", "inputs": {"text": "x"}}}"#).unwrap();
        let [graph, out] = [graph, out].map(|path| path.display().to_string());
        let words = ["-w", &graph, "-o", &out, "--frame-range", "1-4", "--batch", "3", "-p", "1.text=####"];
        let line = Line::parse_from(std::iter::once("run").chain(words));
        let (clock, show): (Arc<dyn Clock>, Arc<dyn Show>) = (SystemClock::start(), Arc::new(Nobody));
        let stop = CancellationToken::new();
        stop.cancel();
        let summary = work(&line.run, &Settings::default(), &clock, &show, &stop).await.unwrap();
        assert_eq!((summary.orders(), summary.cancelled()), (12, 12));
    }
}

//! `comfygate run`: a workflow from a file, with parameters by human names, run once or many times, its outputs in a folder.
//! The work is the runner's; what is shown meanwhile is in the files below.

mod arguments;
mod bars;
mod json;
mod lines;
mod show;
mod status;

pub(super) use arguments::RunArgs;

use super::SettingArgs;
use crate::clock::{Clock, SystemClock};
use crate::definitions::Definitions;
use crate::lifecycle::{StopSignal, StopSignals};
use crate::runner::{
    ConnectorError, Context, Executors, Folder, Loader, Options, Plan, RunError, Subject, Summary, Wishes, check_order,
    find_image, run_all,
};
use crate::settings::{LogSettings, Settings};
use crate::telemetry;
use show::Show;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often what is shown may change although nothing was heard.
const TICK: Duration = Duration::from_millis(250);

/// Runs the command.
pub(super) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let settings = args.settings(SettingArgs::default().load()?)?;
    telemetry::init(&quiet_log(&settings.logging));
    let clock: Arc<dyn Clock> = SystemClock::start();
    let show = show::choose(&args, Arc::clone(&clock));
    super::runtime()?.block_on(until_told(args, settings, clock, show))
}

/// Does the work until it is done, or somebody asks to stop; who asks twice waits for nothing.
async fn until_told(
    args: RunArgs,
    settings: Settings,
    clock: Arc<dyn Clock>,
    show: Arc<dyn Show>,
) -> anyhow::Result<ExitCode> {
    let mut signals = StopSignals::listen();
    let stop = CancellationToken::new();
    let mut work = Box::pin(work(&args, settings, &clock, &show, &stop));
    let mut asked: Option<StopSignal> = None;
    let result = loop {
        tokio::select! {
            result = &mut work => break result,
            signal = signals.next() => {
                if asked.is_some() {
                    std::process::exit(signal.exit_code().into());
                }
                asked = Some(signal);
                show.stopping();
                stop.cancel();
            }
            () = clock.sleep_until(clock.now() + TICK) => show.tick(),
        }
    };
    let code = match &result {
        Ok(summary) => {
            show.summary(summary);
            ExitCode::from(u8::from(summary.succeeded() < summary.ended.len() + summary.never_begun))
        }
        Err(error) => {
            show.failed(error);
            ExitCode::FAILURE
        }
    };
    Ok(asked.map_or(code, |signal| ExitCode::from(signal.exit_code())))
}

async fn work(
    args: &RunArgs,
    settings: Settings,
    clock: &Arc<dyn Clock>,
    show: &Arc<dyn Show>,
    stop: &CancellationToken,
) -> Result<Summary, RunError> {
    let folder = Folder::open(&args.out)?;
    let loader = Loader { workflows: &settings.workflows };
    let params = args.params()?;
    let wishes = |subject: &Subject| -> Result<Wishes, RunError> {
        Ok(Wishes {
            params: params.clone(),
            repeats: args.batch,
            frames: args.frame_range,
            outputs: args.output.clone(),
            limit: args.timeout,
            first: folder.next_number(subject.name())?,
        })
    };
    // What is wrong without any server is told without one.
    let early = match loader.load(&args.workflow, None)? {
        Some(subject) => {
            let plan = Plan::new(subject.clone(), wishes(&subject)?, Definitions::default(), rand::random)?;
            plan.check(&find_image)?;
            Some((subject, plan))
        }
        None => None,
    };

    let mode = args.mode(&settings);
    let teller = Arc::clone(show);
    let tell = Arc::new(move |text: &str| teller.note(text));
    let context = Context { settings: settings.clone(), patience: args.wait, stop: stop.clone(), tell };
    let executor = Executors::usual().make(mode, context).await?;
    let options = Options { folder: Some(folder.clone()), fail_fast: args.fail_fast, clock: Arc::clone(clock) };
    let listener = |told: &crate::runner::Told| show.told(told);
    let driving = async {
        tokio::select! {
            ready = executor.prepare() => ready?,
            () = stop.cancelled() => return Err(RunError::Cancelled),
        }
        let plan = match early {
            Some((Subject::Pair(_), plan)) => plan,
            Some((Subject::Graph { .. }, plan)) if args.no_check => plan,
            Some((Subject::Graph { .. }, _)) | None => {
                let definitions = executor.definitions().await?;
                let subject = loader.load(&args.workflow, definitions.as_ref())?.ok_or_else(|| ConnectorError {
                    message: format!(
                        "`{}` is a workflow as ComfyUI saves it, and the server does not tell its nodes, without which it \
                         cannot be converted",
                        args.workflow
                    ),
                })?;
                let known = definitions.clone().unwrap_or_default();
                let plan = Plan::new(subject.clone(), wishes(&subject)?, known, rand::random)?;
                plan.check(&find_image)?;
                match definitions {
                    None => show.note("the server does not tell its nodes, so the graph was not checked"),
                    Some(_) if args.no_check => {}
                    Some(definitions) => {
                        for strange in check_order(&plan.order(0, &find_image)?, &definitions)? {
                            show.note(&strange);
                        }
                    }
                }
                plan
            }
        };
        Ok(run_all(executor.as_ref(), &plan, &find_image, &options, &listener, stop).await)
    };
    let result = driving.await;
    executor.close().await;
    result
}

/// Between progress bars nobody wants lines of the log, unless they asked for them.
fn quiet_log(settings: &LogSettings) -> LogSettings {
    if *settings == LogSettings::default() {
        LogSettings { filter: "off".into(), ..settings.clone() }
    } else {
        settings.clone()
    }
}

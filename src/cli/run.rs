//! `comfygate run`: a workflow from a file, with parameters by human names, run once or many times, its outputs in a folder.
//! The work is the runner's; what is shown meanwhile is in the files below.

mod arguments;
mod bars;
mod json;
mod lines;
mod show;
mod status;
mod work;

pub(super) use arguments::RunArgs;

use super::SettingArgs;
use crate::clock::{Clock, SystemClock};
use crate::lifecycle::{StopSignal, StopSignals};
use crate::settings::{LogSettings, Settings};
use crate::telemetry;
use show::Show;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use work::work;

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
    let mut work = Box::pin(work(&args, &settings, &clock, &show, &stop));
    let mut asked: Option<StopSignal> = None;
    let result = loop {
        tokio::select! {
            // Who asks to stop is heard first.
            biased;
            signal = signals.next() => {
                if asked.is_some() {
                    std::process::exit(signal.exit_code().into());
                }
                asked = Some(signal);
                show.stopping();
                stop.cancel();
            }
            result = &mut work => break result,
            () = clock.sleep_until(clock.now() + TICK) => show.tick(),
        }
    };
    let code = match &result {
        Ok(summary) => {
            show.summary(summary);
            ExitCode::from(u8::from(summary.succeeded() < summary.orders()))
        }
        Err(error) => {
            show.failed(error);
            ExitCode::FAILURE
        }
    };
    Ok(asked.map_or(code, |signal| ExitCode::from(signal.exit_code())))
}

/// Between progress bars nobody wants lines of the log, unless they asked for them.
fn quiet_log(settings: &LogSettings) -> LogSettings {
    if *settings == LogSettings::default() {
        LogSettings { filter: "off".into(), ..settings.clone() }
    } else {
        settings.clone()
    }
}

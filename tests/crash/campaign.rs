//! One campaign: the gateway lives and dies on one data folder while jobs come in; in the last life everything is let
//! run out, and what was written down is checked.

use crate::checker::{Violation, violations};
use crate::gateway::{Backlog, Gateway};
use crate::history::{Death, History, Who};
use crate::now;
use crate::ports::Port;
use crate::roles::{FAILING, Role};
use anyhow::{Context, bail};
use comfygate::crash::Point;
use comfygate::workflow::shipped;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// After this long without any progress something must be wrong. The gate of a receiver that died may be shut for 30 seconds,
/// and for a minute more if the one webhook that is tried then is refused on purpose.
pub(crate) const STANDSTILL: Duration = Duration::from_mins(4);

/// How long the loader may take for what is left, and for each job.
const LOADING: Duration = Duration::from_mins(2);
const LOADING_EACH: Duration = Duration::from_millis(100);

/// How many violations of one rule are shown.
const SHOWN: usize = 4;

/// What is to happen.
pub(crate) struct Campaign {
    pub(crate) lives: Vec<Life>,
    pub(crate) jobs: usize,
    /// All jobs have their pictures fetched as files, none over the socket.
    pub(crate) files_only: bool,
    /// So many runs lose the pictures that they send over the socket.
    pub(crate) loses: usize,
    /// Says how far it is, now and then.
    pub(crate) is_loud: bool,
}

/// One life of the gateway, and who else dies in it.
pub(crate) struct Life {
    pub(crate) end: End,
    pub(crate) others: Vec<Upheaval>,
}

/// How a life ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// It is killed this long after its start.
    Killed(Duration),
    /// It dies when it passes a point for the n-th time, and that must happen.
    At(Point, u64),
    /// It dies there, or is killed when that takes too long.
    Perhaps(Point, u64, Duration),
}

/// Somebody else is killed, and comes back after a while.
pub(crate) struct Upheaval {
    pub(crate) who: Who,
    pub(crate) at: Duration,
    pub(crate) away: Duration,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) deaths: Vec<Death>,
    /// How many of the gateway's deaths were at a point.
    pub(crate) at_points: usize,
    pub(crate) jobs: usize,
    pub(crate) calls: usize,
    /// How many deliveries were accepted more than once.
    pub(crate) repeats: usize,
    pub(crate) executions: usize,
    pub(crate) took: Duration,
    pub(crate) violations: Vec<Violation>,
}

impl Report {
    pub(crate) fn died(&self, who: Who) -> usize {
        self.deaths.iter().filter(|death| death.who == who).count()
    }

    /// Fails where anything is wrong.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        if self.violations.is_empty() {
            return Ok(());
        }
        let mut text = format!("{} violations:", self.violations.len());
        for of_a_rule in self.violations.chunk_by(|one, next| one.rule == next.rule) {
            write!(text, "\n  {} x {:?}", of_a_rule.len(), of_a_rule[0].rule)?;
            for violation in of_a_rule.iter().take(SHOWN) {
                write!(text, "\n    {}", violation.what)?;
            }
        }
        bail!(text)
    }
}

impl Campaign {
    /// Runs it. Its folder is removed, unless something was wrong.
    pub(crate) fn run(&self) -> anyhow::Result<Report> {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        let path = folder.path().to_owned();
        let report = self.run_in(&path);
        if report.as_ref().is_ok_and(|report| report.violations.is_empty()) {
            return report;
        }
        // Whoever looks for the cause needs the logs and the database.
        let kept = folder.keep();
        report.with_context(|| format!("everything is kept in {}", kept.display()))
    }

    fn run_in(&self, folder: &Path) -> anyhow::Result<Report> {
        let begun = Instant::now();
        let mut stage = Stage::set(self, folder)?;
        for (number, life) in self.lives.iter().enumerate() {
            stage.allow(self.jobs * (number + 1) / self.lives.len())?;
            stage.live(life).with_context(|| format!("life {}", number + 1))?;
            stage.say_how_far(number + 1, begun);
        }
        let Stage { deaths, at_points, .. } = stage.run_out(begun)?;
        let history = History::read(folder, deaths.clone())?;
        let good = history.calls.iter().filter(|call| call.answer < 300).count();
        Ok(Report {
            deaths,
            at_points,
            jobs: history.jobs.len(),
            calls: history.calls.len(),
            repeats: good.saturating_sub(history.jobs.len()),
            executions: history.executions.values().sum(),
            took: begun.elapsed(),
            violations: violations(&history),
        })
    }
}

/// The processes and what they share.
struct Stage<'a> {
    campaign: &'a Campaign,
    folder: &'a Path,
    ports: [Port; 3],
    comfyui: Option<Role>,
    sink: Option<Role>,
    loader: Option<Role>,
    deaths: Vec<Death>,
    at_points: usize,
    said: Instant,
}

impl<'a> Stage<'a> {
    fn set(campaign: &'a Campaign, folder: &'a Path) -> anyhow::Result<Self> {
        write_workflows(folder)?;
        let ports = [Port::choose()?, Port::choose()?, Port::choose()?];
        let gateway = format!("http://{}", ports[0].address);
        let hook = format!("http://{}/hook", ports[2].address);
        let accepted = folder.join("accepted.log");
        let workflows = if campaign.files_only { "files" } else { "both" };
        let loader = Role::start("play-loader", &[&gateway, &hook, text(&accepted)?, workflows])?;
        let mut stage = Self {
            campaign,
            folder,
            ports,
            comfyui: None,
            sink: None,
            loader: Some(loader),
            deaths: Vec::new(),
            at_points: 0,
            said: Instant::now(),
        };
        stage.comfyui = Some(stage.start_comfyui(campaign.loses)?);
        stage.sink = Some(stage.start_sink()?);
        Ok(stage)
    }

    /// Lets the loader post so many jobs, counted from the beginning.
    fn allow(&mut self, jobs: usize) -> anyhow::Result<()> {
        self.loader.as_mut().map_or(Ok(()), |loader| loader.tell(&jobs.to_string()))
    }

    fn start_comfyui(&self, loses: usize) -> anyhow::Result<Role> {
        let log = self.folder.join("executed.log");
        Role::start("play-comfyui", &[&self.ports[1].address.to_string(), text(&log)?, &loses.to_string()])
    }

    fn start_sink(&self) -> anyhow::Result<Role> {
        let log = self.folder.join("calls.log");
        let gateway = format!("http://{}", self.ports[0].address);
        Role::start("play-sink", &[&self.ports[2].address.to_string(), text(&log)?, &gateway, "true"])
    }

    fn start_gateway(&self, order: Option<&str>) -> anyhow::Result<Gateway> {
        let schedule = vec!["250ms"; 100].join(",");
        let mut settings = vec![
            ("COMFYGATE_WORKFLOW", "canvas"),
            ("COMFYGATE_WEBHOOK_SCHEDULE", schedule.as_str()),
            ("COMFYGATE_QUEUE_TIMEOUT", "1day"),
        ];
        let others_die = self.campaign.lives.iter().any(|life| !life.others.is_empty());
        if others_die || self.campaign.loses > 0 {
            // A job may be tried again whenever ComfyUI fails it, however often that is here.
            settings.push(("COMFYGATE_MAX_RUNS", "100"));
        }
        Gateway::start(
            self.folder,
            self.ports[0].address,
            &format!("http://{}", self.ports[1].address),
            &settings,
            order,
        )
    }

    /// Lets the gateway live once, and die.
    fn live(&mut self, life: &Life) -> anyhow::Result<()> {
        let order = match life.end {
            End::Killed(_) => None,
            End::At(point, number) | End::Perhaps(point, number, _) => {
                Some(format!("kill:{}:{number}", point.as_str()))
            }
        };
        let begun = Instant::now();
        let gateway = self.start_gateway(order.as_deref())?;
        let mut changes: Vec<(Duration, Who, bool)> = Vec::new();
        for Upheaval { who, at, away } in &life.others {
            changes.extend([(*at, *who, false), (*at + *away, *who, true)]);
        }
        changes.sort_by_key(|(at, ..)| *at);
        let limit = match life.end {
            End::Killed(after) | End::Perhaps(_, _, after) => after,
            End::At(..) => Duration::MAX,
        };
        let (before, after): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(at, ..)| *at < limit);
        self.change(begun, &before)?;
        let is_at_point = match life.end {
            End::Killed(after) => {
                until(begun, after);
                gateway.kill().map(|()| false)
            }
            End::At(..) => gateway.dies().map(|()| true),
            End::Perhaps(_, _, after) => gateway.dies_within(after.saturating_sub(begun.elapsed())),
        }?;
        self.deaths.push(Death { who: Who::Gateway, at: now() });
        self.at_points += usize::from(is_at_point);
        self.change(begun, &after)
    }

    /// Lets others die and come back, each at its moment.
    fn change(&mut self, begun: Instant, changes: &[(Duration, Who, bool)]) -> anyhow::Result<()> {
        for (at, who, is_back) in changes {
            until(begun, *at);
            match (who, *is_back) {
                (Who::Gateway, _) => bail!("the gateway's deaths are the lives' own"),
                (Who::Comfyui, true) => self.comfyui = Some(self.start_comfyui(0)?),
                (Who::Sink, true) => self.sink = Some(self.start_sink()?),
                (Who::Comfyui, false) => self.comfyui.take().map_or(Ok(()), Role::kill)?,
                (Who::Sink, false) => self.sink.take().map_or(Ok(()), Role::kill)?,
            }
            if !is_back {
                self.deaths.push(Death { who: *who, at: now() });
            }
        }
        Ok(())
    }

    /// The last life: everything is told. Then the gateway is stopped, started once more to clear up, and stopped.
    fn run_out(mut self, begun: Instant) -> anyhow::Result<Self> {
        self.allow(self.campaign.jobs)?;
        let mut gateway = self.start_gateway(None)?;
        gateway.until_ready()?;
        let patience = LOADING + LOADING_EACH * u32::try_from(self.campaign.jobs)?;
        let lives = self.campaign.lives.len();
        if let Some(loader) = self.loader.take() {
            loader.finish(patience)?;
        }
        let mut last = (gateway.backlog(), Instant::now());
        while last.0 != Some(Backlog { queued: 0, running: 0, deliveries: 0 }) {
            std::thread::sleep(Duration::from_millis(20));
            self.say_how_far(lives, begun);
            let backlog = gateway.backlog();
            if backlog != last.0 {
                last = (backlog, Instant::now());
            } else if last.1.elapsed() > STANDSTILL {
                bail!("nothing moves any more: {backlog:?}\n{}", gateway.end_of_log());
            }
        }
        gateway.stop()?;
        let mut gateway = self.start_gateway(None)?;
        gateway.until_ready()?;
        gateway.stop()?;
        for role in [self.comfyui.take(), self.sink.take()].into_iter().flatten() {
            role.finish(STANDSTILL)?;
        }
        Ok(self)
    }

    fn say_how_far(&mut self, lives: usize, begun: Instant) {
        if !self.campaign.is_loud || self.said.elapsed() < Duration::from_secs(2) {
            return;
        }
        self.said = Instant::now();
        let count = |name: &str, word: &str| {
            let log = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            log.lines().filter(|line| line.contains(word)).count()
        };
        println!(
            "  {} of {} kills, {} answers 202, {} webhooks taken, {} s",
            lives,
            self.campaign.lives.len(),
            count("accepted.log", "\"id\""),
            count("calls.log", "\"answer\":204"),
            begun.elapsed().as_secs(),
        );
    }
}

/// Waits for a moment of a life; that it is any moment is what this is about.
fn until(begun: Instant, at: Duration) {
    std::thread::sleep(at.saturating_sub(begun.elapsed()));
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the folder's name is not text")
}

/// Writes the workflow whose picture comes over the socket, and the same with the picture as a file.
pub(crate) fn write_workflows(folder: &Path) -> anyhow::Result<()> {
    let canvas = shipped::PAIRS.iter().find(|pair| pair.name == "canvas").context("no workflow `canvas`")?;
    let files = canvas.config.replace(r#"outputs: ["3"]"#, r#"outputs: ["4"]"#);
    anyhow::ensure!(files != canvas.config, "the shipped workflow declares other outputs now");
    // The one that fails has another name for the node that scales.
    let renamed = |text: &str, old: &str, new: &str| text.replace(old, &new.replace("NAME", FAILING));
    let fails = renamed(&files, "node_id: \"2\"", "node_id: \"NAME\"");
    let raises = renamed(&renamed(canvas.template, "\"2\": {", "\"NAME\": {"), "[\"2\", 0]", "[\"NAME\", 0]");
    let pairs = [
        ("canvas", canvas.config, canvas.template),
        ("canvas-files", files.as_str(), canvas.template),
        ("canvas-fails", fails.as_str(), raises.as_str()),
    ];
    for (kind, ending) in [("configs", "yaml"), ("templates", "json")] {
        std::fs::create_dir_all(folder.join(kind))?;
        for (name, config, template) in &pairs {
            let content = if kind == "configs" { config } else { template };
            std::fs::write(folder.join(kind).join(format!("{name}.{ending}")), content)?;
        }
    }
    Ok(())
}

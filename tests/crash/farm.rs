//! Eight backends behind one gateway, each a process: two are well, the others are slow, killed, restarted, frozen, deaf, or
//! lack what half of the jobs need. No job may be lost, none may run twice where its first run could be reached, and the
//! living are to be kept busy.

mod gpu;
mod score;

pub(crate) use gpu::{ROLE, play};
pub(crate) use score::tests;

use crate::campaign::STANDSTILL;
use crate::checker::{Rule, Violation, violations};
use crate::gateway::{Backlog, Gateway};
use crate::history::{Death, History, Who, lines};
use crate::now;
use crate::ports::Port;
use crate::roles::{Role, runtime};
use anyhow::{Context, bail, ensure};
use comfygate::workflow::shipped;
use gpu::Note;
use score::{Record, doubles, rate, throughput};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a node works, in milliseconds, and on the slow one.
const STEP: u64 = 20;
const SLOW_STEP: u64 = 80;

/// How many prompts each backend is measured with before anything begins.
const MEASURED: u64 = 24;

/// How much of what the living could do must be done.
const LEAST: f64 = 0.9;

/// The backends, and what becomes of each.
const CAST: [&str; 8] = ["steady", "steadier", "slow", "killed", "restarted", "frozen", "deaf", "lacking"];

/// What happens when so many thousandths of the jobs have been told.
const ACTS: [(usize, Act); 13] = [
    (100, Act::Freeze("frozen")),
    (120, Act::Deafen("deaf")),
    (200, Act::Kill("restarted")),
    (230, Act::Start("restarted")),
    (300, Act::Kill("killed")),
    (350, Act::Deafen("deaf")),
    (400, Act::Kill("restarted")),
    (450, Act::Start("restarted")),
    (500, Act::Thaw("frozen")),
    (550, Act::Deafen("deaf")),
    (600, Act::Kill("restarted")),
    (620, Act::Start("restarted")),
    (700, Act::Deafen("deaf")),
];

#[derive(Clone, Copy, Debug)]
enum Act {
    Kill(&'static str),
    Start(&'static str),
    Freeze(&'static str),
    Thaw(&'static str),
    Deafen(&'static str),
}

/// What came of it.
pub(crate) struct Report {
    jobs: usize,
    took: f64,
    throughput: f64,
    records: Vec<Record>,
    from: i64,
    to: i64,
    violations: Vec<Violation>,
    doubles: Vec<String>,
}

impl Report {
    /// Fails where a job was lost, told twice, or run twice.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        let mut wrong: Vec<String> = self.violations.iter().map(ToString::to_string).collect();
        wrong.extend(self.doubles.iter().cloned());
        ensure!(wrong.is_empty(), "{} things are wrong, the first:\n  {}", wrong.len(), first(&wrong).join("\n  "));
        Ok(())
    }

    /// Fails where the living were not kept busy, too.
    pub(crate) fn full_verdict(&self) -> anyhow::Result<()> {
        self.verdict()?;
        let done = self.throughput;
        ensure!(done >= LEAST, "only {done:.3} of what the living could do was done, not {LEAST}");
        Ok(())
    }

    /// Describes what each backend did.
    pub(crate) fn table(&self) -> String {
        let mut text =
            String::from("| backend | lived s | jobs/s alone | could do | did |\n| --- | --- | --- | --- | --- |\n");
        for record in &self.records {
            let lived = record.lived(self.from, self.to);
            let (could, did) = (lived * record.rate, record.succeeded());
            let _ = writeln!(text, "| {} | {lived:.1} | {:.2} | {could:.0} | {did} |", record.name, record.rate);
        }
        let (jobs, took, done) = (self.jobs, self.took, self.throughput);
        let wrong = self.violations.len() + self.doubles.len();
        let _ =
            writeln!(text, "{jobs} jobs in {took:.1} s: {done:.3} of what the living could do, {wrong} things wrong");
        text
    }
}

/// Lets so many jobs run through it. Its folder is removed, unless something was wrong.
pub(crate) fn run(jobs: usize, is_loud: bool) -> anyhow::Result<Report> {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let path = folder.path().to_owned();
    let report = Farm::build(&path, jobs, is_loud).and_then(Farm::run);
    if report.as_ref().is_ok_and(|report| report.verdict().is_ok()) {
        return report;
    }
    let kept = folder.keep();
    eprintln!("everything is kept in {}", kept.display());
    report
}

/// The processes and what they share.
struct Farm<'a> {
    folder: &'a Path,
    jobs: usize,
    is_loud: bool,
    gateway: Port,
    receiver: Port,
    plots: Vec<Plot>,
    deaths: Vec<Death>,
}

/// One backend.
struct Plot {
    name: &'static str,
    port: Port,
    log: PathBuf,
    role: Option<Role>,
    rate: f64,
    /// Since when nobody can reach it.
    away_since: Option<i64>,
    away: Vec<(i64, i64)>,
}

impl<'a> Farm<'a> {
    /// Starts the backends, and measures what each can do alone.
    fn build(folder: &'a Path, jobs: usize, is_loud: bool) -> anyhow::Result<Self> {
        write_workflows(folder)?;
        let mut plots = Vec::new();
        for name in CAST {
            let log = folder.join(format!("{name}.log"));
            let mut plot =
                Plot { name, port: Port::choose()?, log, role: None, rate: 0.0, away_since: None, away: Vec::new() };
            plot.start()?;
            plots.push(plot);
        }
        // Each backend has a log of its own.
        std::fs::write(folder.join("executed.log"), "")?;
        let (gateway, receiver) = (Port::choose()?, Port::choose()?);
        let mut farm = Self { folder, jobs, is_loud, gateway, receiver, plots, deaths: Vec::new() };
        farm.measure()?;
        Ok(farm)
    }

    /// Sends each backend the same mixture of prompts straight, all backends at once.
    fn measure(&mut self) -> anyhow::Result<()> {
        runtime()?.block_on(async {
            let client = reqwest::Client::builder().no_proxy().build()?;
            for plot in &self.plots {
                for number in 0..MEASURED {
                    let graph = graph(if plot.name == "lacking" { 0 } else { number }, 90_000 + number)?;
                    let body = json!({ "prompt": graph, "client_id": "measure" }).to_string();
                    let call = client.post(format!("http://{}/prompt", plot.port.address)).body(body);
                    let answer = call.header("content-type", "application/json").send().await?;
                    ensure!(answer.status() == 200, "{}: {}", plot.name, answer.text().await?);
                }
            }
            anyhow::Ok(())
        })?;
        let begun = Instant::now();
        for plot in &mut self.plots {
            let done = || lines::<Note>(&plot.log).map(|notes| notes.len() as u64 >= 2 * MEASURED);
            while !done()? {
                ensure!(begun.elapsed() < STANDSTILL, "{} does not work", plot.name);
                std::thread::sleep(Duration::from_millis(20));
            }
            plot.rate = rate(&lines(&plot.log)?);
            std::fs::write(&plot.log, "")?;
        }
        Ok(())
    }

    fn run(mut self) -> anyhow::Result<Report> {
        let hook = format!("http://{}/hook", self.receiver.address);
        let gateway_url = format!("http://{}", self.gateway.address);
        let calls = self.folder.join("calls.log");
        let sink =
            Role::start("play-sink", &[&self.receiver.address.to_string(), text(&calls)?, &gateway_url, "false"])?;
        let mut gateway = self.start_gateway()?;
        gateway.until_ready()?;
        let accepted = self.folder.join("accepted.log");
        let mut loader = Role::start("play-loader", &[&gateway_url, &hook, text(&accepted)?, "farm"])?;
        loader.tell(&self.jobs.to_string())?;
        loader.close();
        self.watch(&gateway, &calls)?;
        loader.finish(STANDSTILL)?;
        gateway.stop()?;
        let mut gateway = self.start_gateway()?;
        gateway.until_ready()?;
        gateway.stop()?;
        sink.finish(STANDSTILL)?;
        self.report()
    }

    fn start_gateway(&self) -> anyhow::Result<Gateway> {
        let backends: Vec<String> = self.plots.iter().map(|plot| format!("http://{}", plot.port.address)).collect();
        let settings = [("COMFYGATE_WORKFLOW", "canvas-files")];
        Gateway::start(self.folder, self.gateway.address, &backends.join(","), &settings, None)
    }

    /// Lets everything happen at its time, until nothing is left to do.
    fn watch(&mut self, gateway: &Gateway, calls: &Path) -> anyhow::Result<()> {
        let mut acts = ACTS.iter().peekable();
        let mut last = (0, None, Instant::now());
        let mut said = Instant::now();
        loop {
            let told = std::fs::read_to_string(calls).unwrap_or_default().lines().count();
            while let Some((_, act)) = acts.next_if(|(at, _)| told * 1000 >= at * self.jobs) {
                self.act(*act)?;
            }
            let backlog = gateway.backlog();
            let is_over = backlog == Some(Backlog { queued: 0, running: 0, deliveries: 0 });
            if is_over && told >= self.jobs {
                return Ok(());
            }
            if (told, backlog) != (last.0, last.1) {
                last = (told, backlog, Instant::now());
            } else if last.2.elapsed() > STANDSTILL {
                bail!("nothing moves any more, {told} are told: {backlog:?}\n{}", gateway.end_of_log());
            }
            if self.is_loud && said.elapsed() > Duration::from_secs(5) {
                println!("  {told} of {} jobs told, {backlog:?}", self.jobs);
                said = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn act(&mut self, act: Act) -> anyhow::Result<()> {
        if self.is_loud {
            println!("  {act:?}");
        }
        let (Act::Kill(name) | Act::Start(name) | Act::Freeze(name) | Act::Thaw(name) | Act::Deafen(name)) = act;
        let plot = self.plots.iter_mut().find(|plot| plot.name == name).context("no such backend")?;
        match act {
            Act::Kill(_) => {
                plot.away_since = Some(now());
                plot.role.take().map_or(Ok(()), Role::kill)?;
                self.deaths.push(Death { who: Who::Comfyui, at: now() });
            }
            Act::Start(_) => {
                plot.start()?;
                plot.is_back();
            }
            Act::Freeze(_) => {
                plot.away_since = Some(now());
                gpu::freeze(plot.role.as_ref().context("it is dead")?, true)?;
                self.deaths.push(Death { who: Who::Comfyui, at: now() });
            }
            Act::Thaw(_) => {
                gpu::freeze(plot.role.as_ref().context("it is dead")?, false)?;
                plot.is_back();
            }
            Act::Deafen(_) => gpu::deafen(plot.role.as_mut().context("it is dead")?)?,
        }
        Ok(())
    }

    /// Reads what was written down, and what is to be said of it.
    fn report(self) -> anyhow::Result<Report> {
        let mut records = Vec::new();
        for plot in self.plots {
            let mut away = plot.away;
            away.extend(plot.away_since.map(|since| (since, i64::MAX)));
            if let Some(role) = plot.role {
                role.finish(STANDSTILL)?;
            }
            records.push(Record { name: plot.name, rate: plot.rate, notes: lines(&plot.log)?, away });
        }
        let mut history = History::read(self.folder, self.deaths)?;
        for note in records.iter().flat_map(|record| &record.notes).filter(|note| note.what == gpu::What::Begun) {
            *history.executions.entry(note.prompt.clone()).or_default() += 1;
        }
        let from = history.jobs.iter().map(|job| job.created_at).min().context("no jobs")?;
        let to = history.jobs.iter().filter_map(|job| job.ended_at).max().context("no job has ended")?;
        let succeeded = history.jobs.iter().filter(|job| job.state == "succeeded").count();
        let mut violations = violations(&history);
        if history.jobs.len() != self.jobs {
            let what = format!("{} jobs are stored, not {}", history.jobs.len(), self.jobs);
            violations.push(Violation { rule: Rule::Lost, what });
        }
        Ok(Report {
            jobs: self.jobs,
            took: f64::from(i32::try_from(to - from)?) / 1000.0,
            throughput: throughput(&records, succeeded, from, to),
            doubles: doubles(&records),
            records,
            from,
            to,
            violations,
        })
    }
}

impl Plot {
    fn start(&mut self) -> anyhow::Result<()> {
        let step = if self.name == "slow" { SLOW_STEP } else { STEP }.to_string();
        let lacks = (self.name == "lacking").to_string();
        let arguments = [&self.port.address.to_string(), text(&self.log)?, &step, &lacks];
        self.role = Some(Role::start(ROLE, &arguments)?);
        Ok(())
    }

    fn is_back(&mut self) {
        self.away.extend(self.away_since.take().map(|since| (since, now())));
    }
}

/// Returns the graph of a job: every other one needs a model.
fn graph(number: u64, name: u64) -> anyhow::Result<Value> {
    let is_starter = !number.is_multiple_of(2);
    let template = if is_starter { saving()? } else { pair("canvas")?.template.to_owned() };
    let mut graph: Value = serde_json::from_str(&template)?;
    if is_starter {
        graph["3"]["inputs"]["seed"] = json!(name);
        graph["3"]["inputs"]["steps"] = json!(2);
        graph["6"]["inputs"]["text"] = json!(format!("job {name}"));
        graph["5"]["inputs"]["width"] = json!(64);
        graph["5"]["inputs"]["height"] = json!(64);
    } else {
        graph["1"]["inputs"]["color"] = json!(name);
        graph["2"]["inputs"]["width"] = json!(16);
        graph["2"]["inputs"]["height"] = json!(16);
    }
    Ok(graph)
}

fn write_workflows(folder: &Path) -> anyhow::Result<()> {
    crate::campaign::write_workflows(folder)?;
    std::fs::write(folder.join("configs/starter.yaml"), pair("starter")?.config)?;
    Ok(std::fs::write(folder.join("templates/starter.json"), saving()?)?)
}

/// Returns the shipped workflow that needs a model, with its picture as a file: one that comes over the socket may be lost with
/// it, and then another run is right.
fn saving() -> anyhow::Result<String> {
    let (sends, saves) = (
        r#""SaveImageWebsocket",
    "inputs": {"#,
        r#""SaveImage",
    "inputs": { "filename_prefix": "farm","#,
    );
    let template = pair("starter")?.template;
    ensure!(template.contains(sends), "the shipped workflow has other outputs now");
    Ok(template.replace(sends, saves))
}

fn pair(name: &str) -> anyhow::Result<&'static shipped::Shipped> {
    shipped::PAIRS.iter().find(|pair| pair.name == name).with_context(|| format!("no workflow `{name}` is shipped"))
}

fn first(wrong: &[String]) -> &[String] {
    &wrong[..wrong.len().min(12)]
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the folder's name is not text")
}

//! The long form: every point, then kills at random moments in three settings; says how far it is, and ends with a table.

use crate::arguments::Plan;
use crate::campaign::{Campaign, Report};
use crate::cases::{Cast, Chance, at_point, random};
use crate::farm;
use crate::history::Who;
use comfygate::crash::Point;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a life may be.
const LONGEST: Duration = Duration::from_secs(2);

/// Runs it; fails where anything was lost, told twice without reason, or left over.
pub(crate) fn run(plan: Plan) -> ExitCode {
    let mut chance = plan.seed.map_or_else(Chance::of_now, Chance::of);
    println!("{} kills at random, {} jobs; to do the same again: --seed {}", plan.kills, plan.jobs, chance.seed);
    let begun = Instant::now();
    let mut rows = Vec::new();
    for point in Point::ALL {
        rows.push(play(&format!("at `{}`", point.as_str()), &at_point(point)));
    }
    let shares = [
        ("gateway, files", Cast::GatewayAndFiles, 35),
        ("gateway, files and socket", Cast::GatewayOnly, 35),
        ("gateway, ComfyUI, receiver", Cast::Everybody, 30),
    ];
    for (name, cast, percent) in shares {
        let of = |whole: usize| (whole * percent).div_ceil(100);
        let campaign = random(&mut chance, of(plan.kills), of(plan.jobs), cast, LONGEST);
        rows.push(play(name, &Campaign { is_loud: true, ..campaign }));
    }
    println!("\n{}", table(&rows));
    println!("{} s in all", begun.elapsed().as_secs());
    let is_well = rows.iter().all(|(_, outcome)| outcome.as_ref().is_ok_and(|report| report.violations.is_empty()));
    println!("{}", if is_well { "nothing was lost" } else { "SOMETHING IS WRONG" });
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

type Row = (String, anyhow::Result<Report>);

fn play(name: &str, campaign: &Campaign) -> Row {
    println!("{name}");
    let outcome = campaign.run();
    match &outcome {
        Ok(report) => {
            if let Err(error) = report.verdict() {
                println!("  {error:#}");
            }
        }
        Err(error) => println!("  {error:#}"),
    }
    (name.to_owned(), outcome)
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| what dies | gateway killed | of these at a point | ComfyUI | receiver | jobs | webhooks | repeats | executions | s | wrong |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let mut sums = [0; 8];
    let mut seconds = 0.0;
    let mut wrong = 0;
    for (name, outcome) in rows {
        let Ok(report) = outcome else {
            text += &["| ", name, " | | | | | | | | | | did not end |\n"].concat();
            continue;
        };
        let figures = [
            report.died(Who::Gateway),
            report.at_points,
            report.died(Who::Comfyui),
            report.died(Who::Sink),
            report.jobs,
            report.calls,
            report.repeats,
            report.executions,
        ];
        text += &line(name, figures, report.took.as_secs_f64(), report.violations.len());
        for (sum, figure) in sums.iter_mut().zip(figures) {
            *sum += figure;
        }
        seconds += report.took.as_secs_f64();
        wrong += report.violations.len();
    }
    text + &line("all", sums, seconds, wrong)
}

fn line(name: &str, figures: [usize; 8], seconds: f64, wrong: usize) -> String {
    let figures = figures.map(|figure| figure.to_string()).join(" | ");
    format!("| {name} | {figures} | {seconds:.1} | {wrong} |\n")
}

/// Runs the form with many backends; fails where anything was lost or run twice, or the living were not kept busy.
pub(crate) fn run_farm(jobs: usize) -> ExitCode {
    println!("{jobs} jobs on eight backends");
    let outcome = farm::run(jobs, true).and_then(|report| {
        println!("{}", report.table());
        report.full_verdict()
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

//! Runs the chosen tests, a few at once, and says how they went in the words of the usual harness.

use crate::arguments::Choice;
use crate::cases::{Case, all};
use comfygate::lifecycle::panic_text;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Runs them all; fails where one does.
pub(crate) fn run(choice: &Choice) -> ExitCode {
    let (chosen, left_out): (Vec<Case>, Vec<Case>) = all().into_iter().partition(|case| choice.takes(&case.name));
    println!("\nrunning {} tests", chosen.len());
    let begun = Instant::now();
    let failures = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(case) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let ended = outcome(case);
            println!("test {} ... {}", case.name, if ended.is_ok() { "ok" } else { "FAILED" });
            if let Err(why) = ended {
                failures.lock().unwrap_or_else(PoisonError::into_inner).push((case.name.clone(), why));
            }
        }
    };
    let usual = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    std::thread::scope(|scope| {
        for _ in 0..choice.threads.unwrap_or(usual).get() {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (name, why) in &failures {
        println!("\n---- {name} ----\n{why}");
    }
    println!(
        "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if failures.is_empty() { "ok" } else { "FAILED" },
        chosen.len() - failures.len(),
        failures.len(),
        left_out.len(),
        begun.elapsed().as_secs_f64(),
    );
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn outcome(case: &Case) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(|| (case.run)())) {
        Ok(ended) => ended.map_err(|error| format!("{error:#}")),
        Err(panic) => Err(panic_text(panic.as_ref()).to_owned()),
    }
}

//! What this program is asked for: `cargo test` hands every test program the same arguments, so those of the usual harness
//! are understood here too. Running and printing are left to others.

use std::num::NonZero;

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Wish {
    /// Say which tests there are.
    List,
    /// Run those that are chosen.
    Tests(Choice),
    /// Run the long form.
    Long(Plan),
    /// Run so many jobs on many backends.
    Farm(usize),
}

/// Which tests to run, and how many at once.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Choice {
    filters: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    /// Only tests that are usually left out are asked for; there are none here.
    ignored_only: bool,
    pub(crate) threads: Option<NonZero<usize>>,
}

/// How long the long form is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) kills: usize,
    pub(crate) jobs: usize,
    /// What the moments of death follow from; none: from the time.
    pub(crate) seed: Option<u64>,
}

impl Choice {
    /// Says whether a test is to be run.
    pub(crate) fn takes(&self, name: &str) -> bool {
        let fits = |wanted: &String| if self.exact { name == wanted } else { name.contains(wanted.as_str()) };
        !self.ignored_only
            && (self.filters.is_empty() || self.filters.iter().any(fits))
            && !self.skipped.iter().any(fits)
    }
}

/// Reads the arguments; `--kills`, `--jobs`, `--seed` or `--farm` ask for a long form, and only they.
pub(crate) fn read(arguments: &[String]) -> Result<Wish, String> {
    let mut choice = Choice::default();
    let (mut lists, mut is_farm) = (false, false);
    let (mut kills, mut jobs, mut seed) = (None, None, None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, given) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            Some(_) | None => (argument.as_str(), None),
        };
        let mut value = || given.clone().or_else(|| rest.next().cloned()).ok_or(format!("{name} wants a value"));
        match name {
            "--kills" => kills = Some(number(name, &value()?)?),
            "--jobs" => jobs = Some(number(name, &value()?)?),
            "--seed" => seed = Some(number(name, &value()?)?),
            "--list" => lists = true,
            "--farm" => is_farm = true,
            "--exact" => choice.exact = true,
            "--skip" => choice.skipped.push(value()?),
            // A run of measurements has nothing to run here.
            "--ignored" | "--bench" => choice.ignored_only = true,
            "--test-threads" => choice.threads = Some(number(name, &value()?)?),
            "--format" | "--color" | "--logfile" | "--shuffle-seed" | "-Z" => drop(value()?),
            "--nocapture"
            | "--no-capture"
            | "--show-output"
            | "--quiet"
            | "-q"
            | "--include-ignored"
            | "--test"
            | "--report-time"
            | "--ensure-time"
            | "--shuffle"
            | "--exclude-should-panic"
            | "--fail-fast" => {}
            _ if name.starts_with('-') => return Err(unknown(name)),
            _ => choice.filters.push(argument.clone()),
        }
    }
    if is_farm {
        return Ok(Wish::Farm(jobs.unwrap_or(5000)));
    }
    let is_long = kills.is_some() || jobs.is_some() || seed.is_some();
    Ok(match (lists, is_long) {
        (true, _) => Wish::List,
        (false, true) => Wish::Long(Plan { kills: kills.unwrap_or(200), jobs: jobs.unwrap_or(5000), seed }),
        (false, false) => Wish::Tests(choice),
    })
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} wants a whole number, not `{value}`"))
}

fn unknown(name: &str) -> String {
    format!(
        "there is no option `{name}`; there are --kills, --jobs, --seed and --farm for the long forms, and cargo test's own"
    )
}

/// The tests of this file.
pub(crate) mod tests {
    use super::{NonZero, Plan, Wish, read};

    pub(crate) fn what_cargo_test_hands_to_every_program_never_starts_the_long_form() {
        let words = "some_name --nocapture --exact -q --test-threads 3 --format=pretty --color always --skip other";
        let Wish::Tests(choice) = read(&split(words)).unwrap() else { panic!("{words}") };
        assert_eq!(choice.threads, NonZero::new(3));
        assert!(choice.takes("some_name") && !choice.takes("some_name_else") && !choice.takes("other"));
        let Wish::Tests(choice) = read(&split("kill --skip random")).unwrap() else { panic!() };
        assert!(choice.takes("a_kill") && !choice.takes("a_random_kill") && !choice.takes("a_death"));
        let Wish::Tests(choice) = read(&[]).unwrap() else { panic!() };
        assert!(choice.takes("anything"));
        let Wish::Tests(choice) = read(&split("--ignored")).unwrap() else { panic!() };
        assert!(!choice.takes("anything"));
        assert_eq!(read(&split("--list --format terse")).unwrap(), Wish::List);
    }

    pub(crate) fn the_long_form_has_options_of_its_own_and_wrong_ones_are_refused() {
        let plan = |kills, jobs, seed| Wish::Long(Plan { kills, jobs, seed });
        assert_eq!(read(&split("--kills 7 --jobs=9")).unwrap(), plan(7, 9, None));
        assert_eq!(read(&split("--kills=1 --seed 3")).unwrap(), plan(1, 5000, Some(3)));
        assert_eq!(read(&split("--farm --jobs 70")).unwrap(), Wish::Farm(70));
        for (words, complaint) in [
            ("--kills many", "--kills wants a whole number, not `many`"),
            ("--jobs", "--jobs wants a value"),
            ("--kils 3", "there is no option `--kils`"),
            ("--test-threads 0", "--test-threads wants a whole number"),
        ] {
            let error = read(&split(words)).unwrap_err();
            assert!(error.starts_with(complaint), "{words}: {error}");
        }
    }

    fn split(words: &str) -> Vec<String> {
        words.split(' ').map(str::to_owned).collect()
    }
}

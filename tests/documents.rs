//! Holds the pages to the code: links lead somewhere, commands and settings exist, every call and error code is told.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this whole program is a test")]

#[path = "documents/metrics.rs"]
mod metrics;
#[path = "documents/openapi.rs"]
mod openapi;

use clap::CommandFactory;
use comfygate::cli::Cli;
use comfygate::settings::{SETTINGS, Setting};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Names that look like settings and are told of as such, though they are none.
const NO_SETTINGS: [&str; 1] = ["COMFYGATE_ADRESS"];

/// Files whose string literals in front of `=>`, `,` or behind `code:` may be codes of answers.
const CODE_FILES: [&str; 36] = [
    "src/api/backends.rs",
    "src/api/backends_pass.rs",
    "src/api/bench.rs",
    "src/api/body.rs",
    "src/api/caller.rs",
    "src/api/convert.rs",
    "src/api/deliveries.rs",
    "src/api/error.rs",
    "src/api/fields.rs",
    "src/api/guard.rs",
    "src/api/jobs.rs",
    "src/api/keys.rs",
    "src/api/link.rs",
    "src/api/listening.rs",
    "src/api/passage.rs",
    "src/api/raw.rs",
    "src/api/remote.rs",
    "src/api/remote_runs.rs",
    "src/api/secrets.rs",
    "src/api/session.rs",
    "src/api/socket.rs",
    "src/api/submit.rs",
    "src/api/summary.rs",
    "src/api/thumbnail.rs",
    "src/api/uploads.rs",
    "src/api/wishes.rs",
    "src/egress/refusal.rs",
    "src/inputs/desk.rs",
    "src/inputs/fetch.rs",
    "src/inputs/kind.rs",
    "src/inputs/source.rs",
    "src/inputs/uploads.rs",
    "src/intake.rs",
    "src/notifier/target.rs",
    "src/workflow/parameter.rs",
    "src/workflow/resolve.rs",
];

#[test]
fn every_link_leads_to_a_file_and_to_a_heading() {
    let mut broken = Vec::new();
    let mut count = 0;
    for (page, text) in pages() {
        for link in links(&prose(&text)) {
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            let is_there = target.exists()
                && (anchor.is_empty() || anchors(&fs::read_to_string(&target).unwrap()).contains(anchor));
            if !is_there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(count > 30, "only {count} links were found");
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}

#[test]
fn every_picture_is_used_and_small() {
    let text: String = pages().into_values().collect();
    for entry in fs::read_dir(root().join("docs/images")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(text.contains(&format!("images/{name}")), "{name} is not used");
        assert!(entry.metadata().unwrap().len() <= 300_000, "{name} is too large");
    }
}

#[test]
fn every_command_and_flag_exists() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (page, text) in pages() {
        for command in commands(&text) {
            count += 1;
            if let Err(reason) = check_command(&command) {
                wrong.push(format!("{}: `{command}`: {reason}", page.display()));
            }
        }
    }
    assert!(count > 10, "only {count} commands were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_command_is_in_the_list_of_all() {
    let page = read("docs/CLI.md");
    let firsts =
        section(&page, "## All commands").lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let told: BTreeSet<&str> =
        firsts.flat_map(|(first, _)| first.split('`').step_by(2)).filter(|it| !it.is_empty()).collect();
    let cli = Cli::command();
    let there: BTreeSet<&str> =
        cli.get_subcommands().filter(|it| !it.is_hide_set()).map(clap::Command::get_name).collect();
    assert_eq!(told, there);
}

#[test]
fn a_command_that_does_not_exist_is_noticed() {
    for good in ["comfygate serve --workflow canvas", "comfygate demo --stay", "comfygate --version", "comfygate check"]
    {
        assert_eq!(check_command(good), Ok(()), "{good}");
    }
    for bad in
        ["comfygate serv", "comfygate serve --worklow canvas", "comfygate demo --out", "comfygate serve --set runs=1"]
    {
        assert!(check_command(bad).is_err(), "{bad}");
    }
}

#[test]
fn every_setting_exists() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (page, text) in pages() {
        for name in words(&text).filter(|word| is_setting_like(word)) {
            seen.insert(name.to_owned());
            if Setting::find(name).is_none() && !NO_SETTINGS.contains(&name) {
                wrong.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let untold: Vec<_> = SETTINGS.iter().filter(|setting| !seen.contains(setting.name)).map(|it| it.name).collect();
    assert!(untold.is_empty(), "settings that no page tells of: {untold:?}");
}

#[test]
fn every_route_has_its_section_and_its_line_with_what_it_needs() {
    let page = read("docs/API.md");
    let headings: Vec<String> = headings(&page);
    for (method, path, needs) in comfygate::api::calls() {
        let call = format!("{method} {path}");
        let is_told = headings.iter().any(|heading| heading.split(" and ").any(|part| part == call));
        assert!(is_told, "docs/API.md has no section for {call}");
        let line = page.lines().find(|line| line.starts_with(&format!("| [`{call}`]")));
        let told =
            line.and_then(|line| line.trim_end_matches(" |").rsplit(" | ").next()).map(|word| word.replace('`', ""));
        assert_eq!(told.as_deref(), Some(needs.word()), "docs/API.md does not say what {call} needs");
    }
}

#[test]
fn every_error_code_is_told_and_no_other() {
    let api = read("docs/API.md");
    let table = section(&api, "## Errors");
    let told: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(code, _)| code.to_owned())
        .collect();
    let found: BTreeSet<String> = CODE_FILES.iter().flat_map(|file| codes(&code_of(&read(file)))).collect();
    assert!(found.len() >= 30, "{found:?}");
    let difference: Vec<_> = told.symmetric_difference(&found).collect();
    assert!(difference.is_empty(), "told or found, but not both: {difference:?}");
}

#[test]
fn every_failure_code_is_told() {
    let webhooks = read("docs/WEBHOOKS.md");
    for code in comfygate::job::FailureCode::ALL {
        assert!(webhooks.contains(&format!("| `{}` |", code.as_str())), "{}", code.as_str());
    }
}

#[test]
fn every_promise_names_tests_that_exist() {
    let page = read("docs/RELIABILITY.md");
    assert!(every_row_names_tests(&page, "| R-") >= 45);
    names_tests_that_exist(&page, 50);
}

#[test]
fn every_promise_of_the_remote_control_names_tests_that_exist() {
    let page = read("docs/RUNNER.md");
    assert_eq!(every_row_names_tests(&page, "| S0-"), 20);
    names_tests_that_exist(&page, 30);
}

#[test]
fn every_kind_of_hostile_input_names_tests_that_exist() {
    let page = read("docs/SECURITY.md");
    let hostile = section(&page, "## Hostile input");
    let rows: String = hostile
        .lines()
        .filter(|line| !line.starts_with("| input |") && !line.starts_with("| --- "))
        .collect::<Vec<_>>()
        .join("\n");
    assert!(every_row_names_tests(&rows, "| ") >= 45);
    names_tests_that_exist(hostile, 50);
}

/// Returns how many lines begin so; each of them must name a test.
fn every_row_names_tests(page: &str, start: &str) -> usize {
    let rows = page.lines().filter(|line| line.starts_with(start));
    let untested: Vec<_> = rows.clone().filter(|line| !line.contains("`tests/") && !line.contains("`src/")).collect();
    assert!(untested.is_empty(), "{untested:#?}");
    rows.count()
}

/// Every test that a page names, as `file::name`, is in that file, under this name or one that begins with it; and there are more
/// than `least`.
fn names_tests_that_exist(page: &str, least: usize) {
    let spans: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    let named: Vec<_> = spans.iter().filter(|span| span.starts_with("tests/") || span.starts_with("src/")).collect();
    assert!(named.len() > least, "{named:?}");
    let is_there = |span: &str| {
        let (file, test) = span.split_once("::").unwrap_or((span, ""));
        let name = test.rsplit("::").next().unwrap();
        let path = root().join(file);
        path.exists() && (name.is_empty() || fs::read_to_string(path).unwrap().contains(name))
    };
    let wrong: Vec<_> = named.into_iter().filter(|span| !is_there(span)).collect();
    assert!(wrong.is_empty(), "tests that are not there: {wrong:#?}");
}

#[test]
fn examples_in_json_can_be_read() {
    for (page, text) in pages() {
        for block in blocks(&text, "json") {
            let is_json = serde_json::from_str::<serde_json::Value>(&block).is_ok();
            assert!(is_json, "{}: {block}", page.display());
        }
    }
}

fn check_command(command: &str) -> Result<(), String> {
    let matches = Cli::command().try_get_matches_from(shell_words(command));
    let matches = match matches {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let Some(("serve" | "check", arguments)) = matches.subcommand() else { return Ok(()) };
    let assignments = arguments.get_many::<(String, String)>("assignments").into_iter().flatten();
    for (name, _) in assignments {
        Setting::find(name).ok_or_else(|| format!("there is no setting `{name}`"))?;
    }
    Ok(())
}

/// Splits a line as a shell does where there are no quotes but `"`.
fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut in_quotes) = (vec![String::new()], false);
    for letter in line.chars() {
        match letter {
            '"' => in_quotes = !in_quotes,
            letter if letter.is_whitespace() && !in_quotes => words.push(String::new()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Finds commands in blocks of shell lines and in code spans: `comfygate ..`, or `cargo run [--release] -- ..`.
fn commands(text: &str) -> Vec<String> {
    let lines = blocks(text, "sh").into_iter().flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>());
    let spans = prose(text).split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    lines.chain(spans).filter_map(|line| command(&line)).collect()
}

fn command(line: &str) -> Option<String> {
    let line = line.split(" # ").next().unwrap().split(" > ").next().unwrap().trim();
    let starts = ["comfygate ", "target/release/comfygate ", "cargo run --release -- ", "cargo run -- "];
    let rest = starts.iter().find_map(|start| line.strip_prefix(start))?;
    Some(format!("comfygate {rest}"))
}

fn is_setting_like(word: &str) -> bool {
    let begins = |start: &&str| word.strip_prefix(start).is_some_and(|rest| !rest.is_empty());
    ["COMFYGATE_", "COMFYUI_", "COMFYLITE_"].iter().any(begins) || SETTINGS.iter().any(|setting| setting.name == word)
}

/// Returns the part of a source file that is not its tests.
fn code_of(source: &str) -> String {
    source.split("#[cfg(test)]").next().unwrap().to_owned()
}

/// Finds the literals that stand where a code stands: the first thing of a call or pair, or behind `code:`, `=>`, `new(..,`.
fn codes(source: &str) -> BTreeSet<String> {
    let headers = ["allow", "connection", "retry-after", "host", "idempotency-key", "upgrade"];
    let one_line: String = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let calls = [
        "bad_request(",
        "conflict(",
        "forbidden(",
        "unsupported(",
        "unavailable(",
        "not_implemented(",
        "bad_gateway(",
        "not_there(",
        "gateway_timeout(",
        "StatusCode::NOT_FOUND,",
        "too_many(",
    ]
    .into_iter()
    .chain([
        "StatusCode::UNAUTHORIZED,",
        "StatusCode::METHOD_NOT_ALLOWED,",
        "StatusCode::PAYLOAD_TOO_LARGE,",
        "StatusCode::REQUEST_TIMEOUT,",
        "StatusCode::UPGRADE_REQUIRED,",
    ])
    .chain([
        "StatusCode::UNPROCESSABLE_ENTITY,",
        "StatusCode::INTERNAL_SERVER_ERROR,",
        "Err((",
        "|| (",
        "Fault((",
        "-> Fault { (",
        "code: ",
    ])
    .chain(["error.code = ", "Self::Invalid(_) => ", "Self::Scheme(_) => ", "Self::Userinfo => "])
    .chain([
        "Self::Address(..) => ",
        "Self::Host(..) => ",
        "Self::HttpsRequired => ",
        "StatusCode::TOO_MANY_REQUESTS,",
    ]);
    let mut found = BTreeSet::new();
    for call in calls {
        for rest in one_line.split(call).skip(1) {
            let literal = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
            found.extend(literal.map(|(code, _)| code.to_owned()).filter(|code| is_code(code)));
        }
    }
    found.retain(|code| !headers.contains(&code.as_str()));
    found
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn pages() -> BTreeMap<PathBuf, String> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let markdown = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "md");
    let pages = docs.chain([root().join("README.md"), root().join("CHANGELOG.md")]).filter(markdown);
    pages.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// Returns the text without its fenced blocks.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect()
}

/// Returns the fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let blocks = text.split("\n```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).map(str::to_owned).collect()
}

fn links(prose: &str) -> Vec<String> {
    between(prose, "](", ")").collect()
}

fn between<'a>(text: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = String> + 'a {
    text.split(start).skip(1).filter_map(move |rest| rest.split_once(end)).map(|(inner, _)| inner.to_owned())
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !(letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_'))
}

/// Returns the headings without marks and backticks.
fn headings(text: &str) -> Vec<String> {
    let lines = prose(text);
    lines
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim().replace('`', ""))
        .collect()
}

/// Returns the anchors that a page's headings get: lower case, without signs, dashes for spaces.
fn anchors(text: &str) -> BTreeSet<String> {
    let anchor = |heading: String| -> String {
        let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings(text).into_iter().map(anchor).collect()
}

fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("{heading}\n")).unwrap_or_else(|| panic!("no section `{heading}`"));
    rest.split("\n## ").next().unwrap()
}

#[test]
fn the_readers_of_pages_read() {
    let text = "# A `b` & c\n[x](y.md#z)\n```sh\ncomfygate check # [no](link)\n```\nand `comfygate demo`, `cargo run -- sim`\n";
    assert_eq!(headings(text), ["A b & c"]);
    assert!(anchors(text).contains("a-b--c"));
    assert_eq!(links(&prose(text)), ["y.md#z"]);
    assert_eq!(commands(text), ["comfygate check", "comfygate demo", "comfygate sim"]);
    assert!(Path::new(&root()).join("Cargo.toml").exists());
}

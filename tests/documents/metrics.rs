//! Holds `docs/METRICS.md`, the dashboard and the alerts to the metrics that there are.

use super::{read, section};
use comfygate::metrics::{Kind, Listed, METRICS};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What Prometheus adds to each row, and what a bucket has.
const EVERYWHERE: [&str; 3] = ["job", "instance", "le"];
/// Names that are no metrics of the gateway: the one by which Prometheus says whether it reached it.
const NOT_OURS: [&str; 1] = ["up"];

#[test]
fn the_page_has_a_row_for_each_metric_as_it_is_and_no_other() {
    let page = read("docs/METRICS.md");
    let table = section(&page, "## All of them");
    let told: Vec<String> = table.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
    let row = |listed: &Listed| {
        let labels = listed.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        format!("| `{}` | {} | {labels} | {} |", listed.name, listed.kind.as_str(), listed.help)
    };
    assert_eq!(told, METRICS.iter().map(row).collect::<Vec<_>>());
    let labels: BTreeSet<&str> = METRICS.iter().flat_map(|listed| listed.labels).copied().collect();
    let firsts = section(&page, "## Labels").lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let told: BTreeSet<&str> = firsts.flat_map(|(first, _)| first.split('`').skip(1).step_by(2)).collect();
    assert_eq!(told, labels.into_iter().filter(|label| *label != "version").collect());
}

#[test]
fn names_and_labels_are_what_prometheus_takes_and_say_their_unit() {
    let mut names = BTreeSet::new();
    for listed in METRICS {
        let Listed { name, kind, labels, help } = listed;
        assert!(names.insert(name), "{name} is there twice");
        assert!(name.starts_with("comfygate_") || name.starts_with("process_"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        for other in ["_ms", "_millis", "_minutes", "_kb", "_mb", "_percent", "_bucket", "_sum", "_count"] {
            assert!(!name.contains(other), "{name}: seconds and bytes, and no suffix that Prometheus uses");
        }
        for label in *labels {
            assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}: {label}");
            assert!(
                !["tenant", "path", "url", "host", "job", "instance", "le", "key"].contains(label),
                "{name}: {label}"
            );
        }
        assert!(!help.contains(['\n', '\\', '|']) && !help.ends_with('.'), "{name}: {help}");
    }
}

#[test]
fn the_dashboard_asks_for_metrics_and_labels_that_there_are() {
    let dashboard: Value = serde_json::from_str(&read("docs/grafana/comfygate.json")).unwrap();
    let mut asked = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        for target in panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let expression = target["expr"].as_str().unwrap();
            let of = check(expression);
            let shown: BTreeSet<String> = braced(target["legendFormat"].as_str().unwrap());
            let known = grouped(expression).unwrap_or_else(|| labels_of(&of));
            assert!(shown.is_subset(&known), "{}: {shown:?} of {known:?}", panel["title"]);
            asked.extend(of);
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let Some(query) = variable["definition"].as_str() else { continue };
        let (expression, label) = query.strip_prefix("label_values(").unwrap().rsplit_once(", ").unwrap();
        let of = check(expression);
        asked.extend(&of);
        assert!(labels_of(&of).contains(label.trim_end_matches(')')), "{query}");
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        asked.extend(check(annotation["expr"].as_str().unwrap()));
    }
    let unused: Vec<_> = METRICS.iter().filter(|listed| !asked.contains(listed.name)).map(|it| it.name).collect();
    assert!(unused.len() <= 6, "the dashboard shows nothing of {unused:?}");
}

#[derive(Deserialize)]
struct Alerts {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(rename = "for", default)]
    after: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[test]
fn the_alerts_ask_for_metrics_and_labels_that_there_are() {
    let alerts: Alerts = serde_saphyr::from_str(&read("docs/grafana/alerts.yaml")).unwrap();
    let rules: Vec<Rule> = alerts.groups.into_iter().flat_map(|group| group.rules).collect();
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule.alert.as_str()).collect();
    assert!(names.len() == rules.len() && names.len() >= 5, "{names:?}");
    for rule in &rules {
        let of = check(&rule.expr);
        let known = grouped(&rule.expr).unwrap_or_else(|| labels_of(&of));
        for text in rule.annotations.values() {
            for used in text.split("$labels.").skip(1) {
                let label: String = used.chars().take_while(|letter| is_letter(*letter)).collect();
                assert!(known.contains(&label), "{}: {label}", rule.alert);
            }
        }
        assert!(rule.annotations.contains_key("summary") && rule.labels.contains_key("severity"), "{}", rule.alert);
        // Where there is no backend there is no row of one, and no sum of none.
        let is_of_all = rule.expr.contains("sum by (job, instance) (comfygate_backend_up) == 0");
        assert!(!is_of_all || of.contains("comfygate_backends"), "{}", rule.alert);
        assert!(rule.after.is_empty() || humantime_like(&rule.after), "{}: {}", rule.alert, rule.after);
    }
}

#[test]
fn a_query_for_what_is_not_there_is_noticed() {
    for bad in [
        "comfygate_nothing",
        "rate(comfygate_run_seconds[5m])",
        "comfygate_runs_total{tenant=\"a\"}",
        "comfygate_backend_up_bucket",
        "sum by (workflow) (comfygate_backend_up)",
        "comfygate_runs_totals{backend=~\".*\"}",
    ] {
        let noticed = std::panic::catch_unwind(|| check(bad)).is_err();
        assert!(noticed, "{bad}");
    }
    let good =
        r#"sum by (backend, le) (rate(comfygate_run_seconds_bucket{job=~"$job",backend=~"a,b}"}[$__rate_interval]))"#;
    assert_eq!(check(good), BTreeSet::from(["comfygate_run_seconds"]));
}

/// Holds an expression to the metrics, and returns which it asks for.
fn check(expression: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_alphabetic()) {
        let (_, here) = rest.split_at(start);
        let end = here.find(|letter: char| !is_letter(letter)).unwrap_or(here.len());
        let (name, behind) = here.split_at(end);
        rest = behind;
        let is_like_one = name.starts_with("comfygate") || name.starts_with("process_");
        if is_like_one {
            let listed = listed(name).unwrap_or_else(|| panic!("there is no {name}: {expression}"));
            found.insert(listed.name);
        }
        if let Some(inside) = behind.strip_prefix('{') {
            let (matchers, after) = matchers(inside);
            rest = after;
            let listed = listed(name).filter(|_| is_like_one);
            assert!(listed.is_some() || NOT_OURS.contains(&name), "{name}: {expression}");
            for label in matchers {
                let is_known = EVERYWHERE.contains(&label) || listed.is_some_and(|it| it.labels.contains(&label));
                assert!(is_known, "{name} has no label {label}: {expression}");
            }
        }
    }
    assert!(!found.is_empty() || NOT_OURS.iter().any(|name| expression.contains(name)), "{expression}");
    let known = labels_of(&found);
    assert!(grouped(expression).unwrap_or_default().is_subset(&known), "{expression}: there is {known:?}");
    found
}

/// Finds the metric that a name in a query is of. A histogram has rows of three names, and none of its own.
fn listed(name: &str) -> Option<&'static Listed> {
    METRICS.iter().find(|listed| match listed.kind {
        Kind::Histogram => ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(listed.name)),
        Kind::Counter | Kind::Gauge => name == listed.name,
    })
}

/// Returns the labels between braces, and what is behind them.
fn matchers(inside: &str) -> (Vec<&str>, &str) {
    let (mut labels, mut rest) = (Vec::new(), inside);
    while !rest.starts_with('}') {
        let (label, value) = rest.split_once('"').unwrap();
        labels.push(label.trim_start_matches(',').trim_end_matches(['=', '~', '!']).trim());
        let (_, behind) = value.split_once('"').unwrap();
        rest = behind;
    }
    (labels, rest)
}

/// Returns the labels that all `by (..)` of an expression have; none where there is none.
fn grouped(expression: &str) -> Option<BTreeSet<String>> {
    let mut all = expression.split(" by (").skip(1).peekable();
    all.peek()?;
    let lists = all.filter_map(|rest| rest.split_once(')')).flat_map(|(labels, _)| labels.split(','));
    Some(lists.map(|label| label.trim().to_owned()).collect())
}

fn labels_of(metrics: &BTreeSet<&'static str>) -> BTreeSet<String> {
    let listed = METRICS.iter().filter(|listed| metrics.contains(listed.name)).flat_map(|listed| listed.labels);
    listed.chain(&EVERYWHERE).map(|label| (*label).to_owned()).collect()
}

fn braced(legend: &str) -> BTreeSet<String> {
    legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(label, _)| label.to_owned()).collect()
}

fn is_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

fn humantime_like(text: &str) -> bool {
    text.strip_suffix(['s', 'm', 'h']).is_some_and(|number| number.parse::<u32>().is_ok())
}

//! Reads what `GET /metrics` answers as strictly as the formats are written down, and refuses everything else.

use std::collections::{BTreeMap, BTreeSet};

/// A row's name and labels.
pub(crate) type Series = (String, BTreeMap<String, String>);

/// All that was told.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    /// What each metric is, by its name as a query has it.
    pub(crate) kinds: BTreeMap<String, String>,
    /// What each metric says.
    pub(crate) help: BTreeMap<String, String>,
    pub(crate) values: BTreeMap<Series, f64>,
    /// In the order in which they stood.
    order: Vec<Series>,
}

impl Exposition {
    /// Reads an answer in `OpenMetrics` 1.0.0.
    pub(crate) fn open(text: &str) -> Self {
        let text = text.strip_suffix("# EOF\n").expect("the end is not marked");
        Self::read(text, true)
    }

    /// Reads an answer in Prometheus's text format 0.0.4.
    pub(crate) fn classic(text: &str) -> Self {
        Self::read(text, false)
    }

    /// Returns the value of the only row with this name and these labels, whatever others it has.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.rows(name).filter(|(of_row, _)| {
            labels.iter().all(|(label, value)| of_row.get(*label).is_some_and(|of_row| of_row == value))
        });
        let first = found.next().map(|(_, value)| value);
        assert!(found.next().is_none(), "several rows of {name} have {labels:?}");
        first
    }

    /// Returns all rows of a name.
    pub(crate) fn rows(&self, name: &str) -> impl Iterator<Item = (&BTreeMap<String, String>, f64)> {
        self.values.iter().filter(move |((of_row, _), _)| of_row == name).map(|((_, labels), value)| (labels, *value))
    }

    fn read(text: &str, is_open: bool) -> Self {
        assert!(text.ends_with('\n') && !text.contains('\r'), "lines end with a line feed");
        let mut read = Self::default();
        let (mut helped, mut family) = (None::<(String, String)>, None::<(String, String)>);
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(!help.is_empty(), "{line}");
                helped = Some((name.to_owned(), help.to_owned()));
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert!(is_name(name) && name.is_ascii(), "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let (of, help) = helped.take().expect("no help before the type");
                assert_eq!(of, name, "the help of another metric stands before {line}");
                let whole = if is_open && kind == "counter" { format!("{name}_total") } else { name.to_owned() };
                assert_eq!(kind == "counter", whole.ends_with("_total"), "{line}");
                assert!(read.kinds.insert(whole.clone(), kind.to_owned()).is_none(), "twice: {line}");
                read.help.insert(whole.clone(), help);
                family = Some((whole, kind.to_owned()));
            } else {
                assert!(!line.starts_with('#') && !line.is_empty(), "{line}");
                let (series, value) = row(line);
                let (name, kind) = family.as_ref().expect("a row before any type");
                let suffix = series.0.strip_prefix(name.as_str()).unwrap_or_else(|| panic!("{line} is not of {name}"));
                let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(suffixes.contains(&suffix), "{line} is not of {name}");
                assert!(kind == "gauge" || value >= 0.0, "{line}");
                assert!(read.values.insert(series.clone(), value).is_none(), "twice: {line}");
                read.order.push(series);
            }
        }
        assert!(helped.is_none(), "help without a metric: {helped:?}");
        read.check_histograms();
        read
    }

    /// Buckets stand in their order, never fall, and end with one for all.
    fn check_histograms(&self) {
        for name in self.kinds.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let mut last: BTreeMap<BTreeMap<String, String>, (f64, f64)> = BTreeMap::new();
            for series in self.order.iter().filter(|(of, _)| *of == format!("{name}_bucket")) {
                let mut labels = series.1.clone();
                let bound = number(&labels.remove("le").expect("a bucket without a bound"));
                let count = self.values[series];
                let (bound_before, count_before) = last.get(&labels).copied().unwrap_or((f64::NEG_INFINITY, 0.0));
                assert!(bound > bound_before && count >= count_before, "{series:?}");
                last.insert(labels, (bound, count));
            }
            let of = |suffix: &str| -> BTreeSet<_> {
                self.rows(&format!("{name}_{suffix}")).map(|(labels, _)| labels.clone()).collect()
            };
            let all: BTreeSet<_> = last.keys().cloned().collect();
            assert_eq!((&of("count"), &of("sum")), (&all, &all), "{name}");
            for (labels, (bound, count)) in last {
                assert!(bound.is_infinite(), "{name}{labels:?} has no bucket for all");
                assert_eq!(self.values[&(format!("{name}_count"), labels)].to_bits(), count.to_bits(), "{name}");
            }
        }
    }
}

fn row(line: &str) -> (Series, f64) {
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"").expect(line);
            assert!(is_name(label) && !label.contains(':') && !label.starts_with("__"), "{line}");
            let (value, after) = quoted(value).unwrap_or_else(|| panic!("{line}"));
            assert!(labels.insert(label.to_owned(), value).is_none(), "twice: {line}");
            if let Some(end) = after.strip_prefix('}') {
                rest = end;
                break;
            }
            rest = after.strip_prefix(',').expect(line);
        }
    }
    let value = rest.strip_prefix(' ').expect(line);
    ((name.to_owned(), labels), number(value))
}

/// Returns what stands up to the closing quote, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                same @ ('\\' | '"') => value.push(same),
                _ => return None,
            },
            letter => value.push(letter),
        }
    }
    None
}

fn number(text: &str) -> f64 {
    assert!(text == "+Inf" || text.bytes().all(|byte| byte.is_ascii_digit() || b".e-".contains(&byte)), "`{text}`");
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no number"))
}

fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    name.bytes().all(good) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

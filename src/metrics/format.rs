//! In which of the two text formats an answer is: `OpenMetrics`, or the older one of Prometheus where a client wishes for it; and
//! the way from the one to the other.
//!
//! Sources: "`OpenMetrics`, a cloud-native, highly scalable metrics protocol", 1.0.0; "Exposition formats" of Prometheus.

/// How metrics are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus.
    Classic,
}

/// How many entries of an `accept` header are looked at.
const MOST_WISHES: usize = 50;

impl Format {
    /// Returns the format for a client with this `accept` header: the older one only where it is wished for more.
    pub fn of(accept: &str) -> Self {
        let mut best = [0.0_f64; 2];
        for wish in accept.split(',').take(MOST_WISHES) {
            let mut parts = wish.split(';').map(str::trim);
            let format = match parts.next().map(str::to_ascii_lowercase).as_deref() {
                Some("application/openmetrics-text") => Self::OpenMetrics,
                Some("text/plain") => Self::Classic,
                Some(_) | None => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0_f64);
            best[format as usize] = weight.max(best[format as usize]);
        }
        if best[Self::Classic as usize] > best[Self::OpenMetrics as usize] { Self::Classic } else { Self::OpenMetrics }
    }

    /// Returns the `content-type` of an answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Writes in this format what is written as `OpenMetrics`.
    pub(super) fn written(self, text: String) -> String {
        match self {
            Self::OpenMetrics => text,
            Self::Classic => classic(&text),
        }
    }
}

/// A counter is called by the name of its rows there, and there is no mark of the end.
fn classic(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if let Some(told) = line.strip_prefix("# HELP ") {
            help = told.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|told| told.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take().filter(|(helped, _)| *helped == name) {
                written.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            written.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            written.extend([line, "\n"]);
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_is_for_those_who_wish_for_it_more() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for open in [
            "",
            "*/*",
            "application/openmetrics-text",
            prometheus,
            "text/html",
            "text/plain;q=0.5, application/openmetrics-text",
        ] {
            assert_eq!(Format::of(open), Format::OpenMetrics, "{open}");
        }
        for classic in ["text/plain", "TEXT/PLAIN; version=0.0.4", "text/plain;version=0.0.4;q=1,*/*;q=0.1"] {
            assert_eq!(Format::of(classic), Format::Classic, "{classic}");
        }
        assert_eq!(Format::of("text/plain;q=NaN, application/openmetrics-text;q=x"), Format::OpenMetrics);
        assert_eq!(Format::of(&"text/html,".repeat(100_000)), Format::OpenMetrics);
    }

    #[test]
    fn a_counter_has_its_whole_name_in_the_older_format_and_nothing_marks_the_end() {
        let open = "# HELP a_jobs Jobs\n# TYPE a_jobs counter\na_jobs_total 1\n# HELP b B b\n# TYPE b gauge\nb{c=\"# EOF\"} 2\n# EOF\n";
        let classic = "# HELP a_jobs_total Jobs\n# TYPE a_jobs_total counter\na_jobs_total 1\n# HELP b B b\n# TYPE b gauge\nb{c=\"# EOF\"} 2\n";
        assert_eq!(Format::Classic.written(open.to_owned()), classic);
        assert_eq!(Format::OpenMetrics.written(open.to_owned()), open);
    }
}

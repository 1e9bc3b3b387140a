//! Starts the log: lines for eyes or JSON, filtered, to standard error, each with the job that it is about.
//!
//! What is logged is left to the stations; none of them may log a secret, a prompt's text or a URL's query.

use crate::job::JobId;
use crate::settings::{LogFormat, LogSettings};
use std::io;
use tracing::{Level, Metadata, Span, info_span};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Starts the log for the whole process. Only the first call has an effect: the log of a process begins once.
pub fn init(settings: &LogSettings) {
    // An error says that somebody has started one already, which is what was asked for.
    let _: Result<(), TryInitError> = subscriber(settings, io::stderr).try_init();
}

/// Returns the span in which everything about one job happens, so that each line of the log carries its id.
pub fn job_span(id: JobId) -> Span {
    info_span!("job", id = %id)
}

fn subscriber<W>(settings: &LogSettings, writer: W) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // The settings have checked the filter; one made by hand that cannot be read means the usual.
    let filter = EnvFilter::try_new(filter(&settings.filter)).unwrap_or_else(|_| EnvFilter::new("info"));
    let named = named(&settings.filter);
    let filters = filter.and_then(filter_fn(move |metadata| is_no_frame(metadata) && is_heard(metadata, &named)));
    let lines = fmt::layer().with_writer(writer);
    match settings.format {
        LogFormat::Human => Box::new(tracing_subscriber::registry().with(filters).with(lines.with_ansi(false))),
        LogFormat::Json => {
            let json = lines.json().flatten_event(true).with_current_span(false).with_span_list(true);
            Box::new(tracing_subscriber::registry().with(filters).with(json))
        }
    }
}

/// The `WebSocket` library writes whole frames into its trace, and in them is what callers sent: never that.
fn is_no_frame(metadata: &Metadata<'_>) -> bool {
    *metadata.level() != Level::TRACE || !metadata.target().starts_with("tungstenite")
}

/// What other crates write below `info` may have in it whatever passes through them: it is heard only where the filter names
/// its crate.
fn is_heard(metadata: &Metadata<'_>, named: &[String]) -> bool {
    let from = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::INFO || from == env!("CARGO_CRATE_NAME") || named.iter().any(|name| name == from)
}

/// Returns the crates that a filter names.
fn named(filter: &str) -> Vec<String> {
    let name = |part: &str| part.trim().split(['=', ':', '[']).next().unwrap_or_default().to_owned();
    filter.split(',').map(name).collect()
}

/// The HTTP server's own lines say what ours say already; they are shown where the filter asks for them.
fn filter(wanted: &str) -> String {
    if wanted.contains("actix_server") { wanted.to_owned() } else { format!("{wanted},actix_server=warn") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex, PoisonError};
    use tracing::subscriber::with_default;

    #[test]
    fn starting_twice_is_no_error() {
        init(&LogSettings::default());
        init(&LogSettings { filter: "debug".into(), format: LogFormat::Json });
    }

    #[test]
    fn every_line_of_a_job_carries_its_id() {
        let id = JobId::from_bytes([7; 16]);
        let log =
            logged(LogFormat::Human, || job_span(id).in_scope(|| tracing::info!(backend = "gpu", "run finished")));
        assert!(log.contains(&format!("job{{id={id}}}")), "{log}");
        assert!(log.contains("backend=\"gpu\""), "{log}");

        let log = logged(LogFormat::Json, || job_span(id).in_scope(|| tracing::info!(backend = "gpu", "run finished")));
        let line: serde_json::Value = serde_json::from_str(log.trim()).unwrap();
        assert_eq!(line["spans"][0]["id"], id.to_string());
        assert_eq!((&line["backend"], &line["message"]), (&"gpu".into(), &"run finished".into()));
    }

    #[test]
    fn a_line_with_control_characters_stays_one_line() {
        let hostile = "\u{1b}[31mred\r\nforged line";
        let log = logged(LogFormat::Human, || tracing::info!(snippet = ?hostile, "answered"));
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(!log.contains('\u{1b}'), "{log}");
    }

    #[test]
    fn frames_are_not_logged_whatever_the_filter_says() {
        for filter in ["trace", "tungstenite=trace,info", "tungstenite::protocol=trace,info"] {
            let log = logged_with(filter, LogFormat::Human, || {
                tracing::trace!(target: "tungstenite::protocol", "Received message canary");
                tracing::error!("told");
            });
            assert!(log.contains("told") && !log.contains("canary"), "{filter}: {log}");
        }
    }

    #[test]
    fn other_crates_are_heard_below_info_only_where_they_are_named() {
        for (filter, is_heard) in
            [("trace", false), ("debug", false), ("hyper=trace,info", true), ("hyper::h1=debug", true)]
        {
            let log = logged_with(filter, LogFormat::Human, || {
                tracing::debug!(target: "hyper::h1", "authorization canary");
                tracing::error!(target: "hyper::h1", "told");
            });
            assert_eq!((log.contains("canary"), log.contains("told")), (is_heard, true), "{filter}: {log}");
        }
        let log = logged_with("trace", LogFormat::Human, || tracing::trace!("ours"));
        assert!(log.contains("ours"), "{log}");
    }

    #[test]
    fn the_filter_decides() {
        let log = logged(LogFormat::Human, || tracing::debug!("not this"));
        assert_eq!(log, "");
    }

    fn logged(format: LogFormat, work: impl FnOnce()) -> String {
        logged_with("info", format, work)
    }

    fn logged_with(filter: &str, format: LogFormat, work: impl FnOnce()) -> String {
        let log = Log::default();
        let writer = log.clone();
        let settings = LogSettings { filter: filter.into(), format };
        with_default(subscriber(&settings, move || writer.clone()), work);
        String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

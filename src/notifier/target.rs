//! Which URLs may be told of a job's end: what the guard lets through, and `https` alone where the settings demand it.

use crate::egress::{Guard, Refusal};
use url::Url;

/// Why a webhook's URL is not called.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TargetError {
    /// The guard of outgoing calls does not let it through.
    #[error("webhook_url {0}")]
    Refused(#[from] Refusal),
    /// It is not `https`, and the settings demand it.
    #[error("webhook_url is not https, and COMFYGATE_WEBHOOK_HTTPS_ONLY=true demands it")]
    HttpsRequired,
}

impl TargetError {
    /// Returns the stable word for answers and the log of attempts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::HttpsRequired => "https_required",
        }
    }
}

/// What is demanded of a webhook's URL.
#[derive(Clone)]
pub struct TargetRules {
    /// Where calls may go at all.
    pub guard: Guard,
    /// Only `https` will do.
    pub https_only: bool,
}

impl TargetRules {
    /// Reads a webhook's URL and says whether it may be called.
    pub fn check(&self, text: &str) -> Result<Url, TargetError> {
        let url = self.guard.check(text)?;
        if self.https_only && url.scheme() != "https" {
            return Err(TargetError::HttpsRequired);
        }
        Ok(url)
    }
}

/// Returns a URL as answers show it: without user, password, query and fragment, where secrets often are.
pub fn without_query(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return String::new() };
    url.set_query(None);
    url.set_fragment(None);
    // An error means that such a URL cannot have a user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// Returns the lane of a URL: its host and port.
pub(super) fn lane_of(text: &str) -> String {
    let Ok(url) = Url::parse(text) else { return String::new() };
    match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (_, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::{Rules, SystemLookup};
    use crate::settings::EgressSettings;
    use std::sync::Arc;

    #[test]
    fn https_is_demanded_only_where_the_settings_say_so() {
        let guard = Guard::new(Rules::new(&EgressSettings::default(), true), Arc::new(SystemLookup));
        let strict = TargetRules { guard: guard.clone(), https_only: true };
        assert_eq!(strict.check("http://example.com/").unwrap_err().code(), "https_required");
        assert_eq!(strict.check("https://169.254.169.254/").unwrap_err().code(), "blocked_address");
        assert!(strict.check("https://example.com/").is_ok());
        assert!(TargetRules { guard, https_only: false }.check("http://example.com/").is_ok());
    }

    #[test]
    fn a_url_is_shown_without_what_is_often_secret() {
        for (text, shown) in [
            ("http://example.com/hook?token=x#y", "http://example.com/hook"),
            ("https://u:p@example.com:8443/a/b?", "https://example.com:8443/a/b"),
            ("mailto:a@b?subject=x", "mailto:a@b"),
            ("no url?token=x", ""),
        ] {
            assert_eq!(without_query(text), shown);
        }
    }
}

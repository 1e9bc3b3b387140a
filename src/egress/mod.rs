//! The guard of every call whose URL came from a caller: what it may lead to, judged by the URL and again by what its
//! name resolves to for each connection. What is called, and what an answer means, is the business of others.

mod address;
mod refusal;
mod resolver;
mod rules;

pub use address::{Kind, kind};
pub use refusal::{Blocked, Refusal};
pub use resolver::{Lookup, LookupError, SystemLookup};
pub use rules::{Rules, never_called};

use std::sync::Arc;
use url::Url;

/// The rules, and a client that cannot go round them.
#[derive(Clone)]
pub struct Guard {
    rules: Arc<Rules>,
    lookup: Arc<dyn Lookup>,
}

impl Guard {
    /// Joins rules and the resolver of names.
    pub fn new(rules: Rules, lookup: Arc<dyn Lookup>) -> Self {
        Self { rules: Arc::new(rules), lookup }
    }

    /// Returns a guard with other rules that resolves names as this one does.
    #[must_use]
    pub fn by(&self, rules: Rules) -> Self {
        Self { rules: Arc::new(rules), lookup: Arc::clone(&self.lookup) }
    }

    /// Reads a URL and says whether it may be called. To be asked before *every* call: a client does not resolve an
    /// address that stands in the URL itself.
    pub fn check(&self, text: &str) -> Result<Url, Refusal> {
        self.rules.check(text)
    }

    /// Begins a client that connects only to what the rules allow: no proxy of the environment, which would connect in its
    /// stead, and no redirects, which nobody has checked.
    pub fn client(&self) -> reqwest::ClientBuilder {
        let resolver = resolver::Guarded { rules: Arc::clone(&self.rules), lookup: Arc::clone(&self.lookup) };
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .dns_resolver(resolver)
    }
}

//! Resolves names for calls, and gives away no address that the rules block, so that no connection can be made to one:
//! each new connection asks anew, and the judged addresses are the ones that are connected to.

use super::rules::Rules;
use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tracing::info;

/// Finds the addresses of a name.
pub trait Lookup: Send + Sync {
    /// Returns all addresses of a name, in the order in which they are to be tried.
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The resolver of this system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let name = name.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Why a name did not become addresses.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The resolver failed, or does not know the name.
    #[error("the name cannot be resolved: {0}")]
    Failed(io::Error),
    /// It knows the name, and no address of it.
    #[error("the name has no address")]
    Nothing,
    /// Every address of the name is one that is not called.
    #[error("the name leads to {0}")]
    Blocked(String),
}

impl LookupError {
    /// Finds what a call failed by, where that was the name. What an I/O error was made of is a cause too, though it does not
    /// call it so.
    pub fn of(error: &reqwest::Error) -> Option<&Self> {
        let first: &(dyn Error + 'static) = error;
        let mut causes = std::iter::successors(Some(first), |error| {
            let error: &(dyn Error + 'static) = *error;
            let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            inside.map(|inside| inside as &(dyn Error + 'static)).or_else(|| error.source())
        });
        causes.find_map(|cause| cause.downcast_ref())
    }
}

/// A resolver whose answers have been judged.
pub(super) struct Guarded {
    pub(super) rules: Arc<Rules>,
    pub(super) lookup: Arc<dyn Lookup>,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.lookup.lookup(name.as_str());
        let rules = Arc::clone(&self.rules);
        Box::pin(async move {
            let callable = callable(&rules, name.as_str(), found.await.map_err(LookupError::Failed)?)?;
            // Port 0 stands for the URL's own.
            let addresses: Addrs = Box::new(callable.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// Leaves out what is blocked. A name with other addresses is called at those: a host in two networks goes on working,
/// and one that mixes in what is not its own gains nothing, since nobody connects there.
fn callable(rules: &Rules, name: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, LookupError> {
    let mut blocked = None;
    let mut callable = Vec::with_capacity(found.len());
    for address in found {
        match rules.resolved(name, address) {
            Ok(()) => callable.push(address),
            Err(reason) => {
                info!(host = name, %address, "a name leads to an address that is not called");
                blocked.get_or_insert(reason);
            }
        }
    }
    match (callable.is_empty(), blocked) {
        (false, _) => Ok(callable),
        (true, Some(reason)) => Err(LookupError::Blocked(reason.advice(name))),
        (true, None) => Err(LookupError::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{EgressMode, EgressSettings};

    #[test]
    fn a_name_gives_only_addresses_that_may_be_called() {
        let given = callable(&public(), "a.example", addresses(&["169.254.169.254", "1.1.1.1", "::1", "2600::1"]));
        assert_eq!(given.unwrap(), addresses(&["1.1.1.1", "2600::1"]));
    }

    #[test]
    fn a_name_that_gives_only_other_addresses_is_blocked_and_its_address_not_told() {
        let blocked = callable(&public(), "db.example", addresses(&["10.1.2.3"])).unwrap_err();
        let LookupError::Blocked(reason) = &blocked else { panic!("{blocked}") };
        assert!(reason.contains("COMFYGATE_EGRESS_ALLOW_HOSTS=db.example"), "{reason}");
        assert!(!reason.contains("10.1.2.3"), "{reason}");
        assert!(matches!(callable(&public(), "a.example", Vec::new()), Err(LookupError::Nothing)));
    }

    fn public() -> Rules {
        Rules::new(&EgressSettings { mode: EgressMode::Public, ..EgressSettings::default() }, true)
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }
}

//! Why a call is not made, in words that name the setting which would let it through.

use core::net::IpAddr;
use std::fmt;

/// Why a URL is not called. Reads on behind the name of its field: "`webhook_url` leads to ..".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read as a URL that leads somewhere. The text is not repeated: it may carry a secret.
    #[error("is not a URL that can be called: {0}; write http(s)://host/path")]
    Invalid(String),
    /// It is neither `http` nor `https`.
    #[error("has the scheme `{0}`; only http and https are called")]
    Scheme(String),
    /// It carries a user or a password.
    #[error("carries a user or a password; put a token into the path or the query")]
    Userinfo,
    /// It leads to an address that is not called.
    #[error("leads to {0}, {1}{advice}", advice = Advice(.1.way, Some(.0), None))]
    Address(IpAddr, Blocked),
    /// It names a host that is not called.
    #[error("names the host `{0}`, {1}{advice}", advice = Advice(.1.way, None, Some(.0.as_str())))]
    Host(String, Blocked),
}

/// What is not called, and whether a setting would let it through. Says nothing of the address: who gave a name is not
/// told what it leads to within the house.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what}")]
pub struct Blocked {
    pub(super) what: &'static str,
    pub(super) way: Way,
}

/// What would let a call through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Nothing.
    None,
    /// The private mode, or an exception.
    Mode,
    /// Only an exception for the address.
    Allow,
    /// The private mode, or an exception for the host.
    Host,
}

impl Refusal {
    /// Returns the stable word for answers and the log of attempts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_url",
            Self::Scheme(_) => "unsupported_scheme",
            Self::Userinfo => "userinfo_not_allowed",
            Self::Address(..) => "blocked_address",
            Self::Host(..) => "blocked_host",
        }
    }

    pub(super) fn invalid(why: &str) -> Self {
        Self::Invalid(why.into())
    }
}

impl Blocked {
    /// Returns the same with what would let through the addresses of `name`.
    pub(super) fn advice(self, name: &str) -> String {
        format!("{self}{}", Advice(self.way, None, Some(name)))
    }
}

/// How to let it through: the way, the address, the name.
struct Advice<'a>(Way, Option<&'a IpAddr>, Option<&'a str>);

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.0 {
            Way::None => return f.write_str(", and is never called"),
            Way::Mode | Way::Host => "COMFYGATE_EGRESS=private or ",
            Way::Allow => "",
        };
        match (self.1, self.2) {
            (Some(address), _) => write!(f, "; {mode}COMFYGATE_EGRESS_ALLOW={address} would let it through"),
            (None, Some(name)) if self.0 != Way::Allow => {
                write!(f, "; {mode}COMFYGATE_EGRESS_ALLOW_HOSTS={name} would let it through")
            }
            (None, _) => write!(f, "; {mode}COMFYGATE_EGRESS_ALLOW would let it through"),
        }
    }
}

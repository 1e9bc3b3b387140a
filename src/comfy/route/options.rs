//! How one backend is reached, as it stands in a definition: written whole for whoever keeps it. How it is read is `reading`'s, what is
//! shown of it `shown`'s, what it comes to `route`'s.

mod reading;
mod shown;

use super::RouteError;
use crate::comfy::address::ComfyUrl;
use crate::secret::Secret;
use crate::settings::BackendSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shown::MASK;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The longest secret, in bytes.
const LONGEST_SECRET: u64 = 64 << 10;
/// The longest text of a definition, in bytes.
const LONGEST_TEXT: usize = 256 << 10;

/// How one backend is reached: what it is shown, through which proxy, and how its certificate is judged.
///
/// Read from JSON or YAML such as `{"auth": {"bearer": "env:GPU_TOKEN"}, "proxy": "http://proxy:3128", "tls": {"ca_file":
/// "/etc/gpu-ca.pem"}}`; every part may be left out. What `serde` writes shows secrets as `***`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RouteOptions {
    /// What the backend is shown with every call and every socket.
    #[serde(default, skip_serializing_if = "AuthOptions::is_none")]
    pub auth: AuthOptions,
    /// The HTTP proxy on the way there: `http://[user:password@]host[:port]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyText>,
    /// How its certificate is judged, and which one it is shown.
    #[serde(default, deserialize_with = "reading::tls", skip_serializing_if = "TlsOptions::is_usual")]
    pub tls: TlsOptions,
}

/// What a backend is shown: `"none"`, or an object with one of `basic`, `bearer`, `headers` and `oauth`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthOptions {
    /// Nothing.
    #[default]
    None,
    /// A user and a password: `{"basic": {"user": "u", "password": "env:PASSWORD"}}`.
    Basic(BasicOptions),
    /// A bearer token: `{"bearer": "file:/run/secrets/token"}`.
    Bearer(SecretText),
    /// Headers by their names: `{"headers": {"X-Api-Key": "env:KEY"}}`.
    Headers(BTreeMap<String, SecretText>),
    /// A bearer token that is asked for with a client's credentials (RFC 6749, 4.4).
    OAuth(OAuthOptions),
}

/// A user and a password.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BasicOptions {
    /// The user; it holds no colon.
    #[serde(deserialize_with = "reading::text")]
    pub user: String,
    /// The password.
    pub password: SecretText,
}

/// Where access tokens come from.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OAuthOptions {
    /// The token endpoint; `https`, or `http` on this machine.
    pub token_url: AddressText,
    /// The client's name there.
    #[serde(deserialize_with = "reading::text")]
    pub client_id: String,
    /// The client's secret there.
    pub client_secret: SecretText,
    /// The scopes that are asked for, with spaces between.
    #[serde(default, deserialize_with = "reading::text_if_any", skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Whom the token is for, where the endpoint asks for it.
    #[serde(default, deserialize_with = "reading::text_if_any", skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Whether the client's credentials go in the body, and not as Basic authorization (RFC 6749, 2.3.1).
    #[serde(default, deserialize_with = "reading::flag", skip_serializing_if = "is_false")]
    pub auth_in_body: bool,
}

/// How a backend's certificate is judged, and which one it is shown.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsOptions {
    /// A PEM file with authorities that are trusted besides the public ones.
    #[serde(default, deserialize_with = "reading::path_if_any", skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// A PEM file with our certificate, and those between it and its authority.
    #[serde(default, deserialize_with = "reading::path_if_any", skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// A PEM file with the key of our certificate.
    #[serde(default, deserialize_with = "reading::path_if_any", skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The name that stands in the backend's certificate, where that is not the one of its address.
    #[serde(default, deserialize_with = "reading::text_if_any", skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Whether any certificate will do, so that anybody on the way can read and change everything.
    #[serde(default, deserialize_with = "reading::flag", skip_serializing_if = "is_false")]
    pub insecure_skip_verify: bool,
}

/// A secret, or where it stands: `env:NAME`, `file:PATH`, and anything else is the secret itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretText {
    /// The secret itself.
    Given(Secret),
    /// The variable of the environment that holds it.
    Environment(String),
    /// The file whose only line it is.
    File(PathBuf),
}

/// An address whose query may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct AddressText(pub String);

/// The address of a proxy, which may hold a user and a password; like [`SecretText`], and shown without these.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(transparent)]
pub struct ProxyText(pub SecretText);

impl RouteOptions {
    /// Reads what the settings say of all backends that they name.
    pub fn of(settings: &BackendSettings) -> Result<Self, RouteError> {
        let mut options = settings.route_file.as_deref().map(Self::read).transpose()?.unwrap_or_default();
        match (settings.bearer(), &options.auth) {
            (None, _) => {}
            (Some(token), AuthOptions::None) => options.auth = AuthOptions::Bearer(SecretText::Given(token.clone())),
            (Some(_), _) => {
                let reason = "both COMFYUI_TOKEN and the file of COMFYUI_ROUTE_FILE say what is shown; take one away";
                return Err(RouteError::new("auth", reason));
            }
        }
        Ok(options)
    }

    /// Reads a file with nothing else in it.
    pub fn read(path: &Path) -> Result<Self, RouteError> {
        let at = |error: RouteError| {
            RouteError::new("COMFYUI_ROUTE_FILE", format!("`{}`: {}", path.display(), error.reason))
        };
        Self::parse(&file("COMFYUI_ROUTE_FILE", path, LONGEST_TEXT as u64)?).map_err(at)
    }

    /// Reads a definition that stands alone, as YAML or JSON. What is wrong is said without what stands there.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        if text.len() > LONGEST_TEXT {
            return Err(RouteError::new("definition", format!("it is longer than {LONGEST_TEXT} bytes")));
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| RouteError::new("definition", error.without_snippet().to_string()))
    }

    /// Returns the same with its secrets as they were given, for whoever keeps it where secrets may be.
    pub fn exposed(&self) -> Value {
        let mut whole = serde_json::to_value(self).unwrap_or_default();
        match &self.auth {
            AuthOptions::None => {}
            AuthOptions::Basic(basic) => {
                put(&mut whole, "/auth/basic/password", &basic.password);
            }
            AuthOptions::Bearer(token) => put(&mut whole, "/auth/bearer", token),
            AuthOptions::Headers(headers) => {
                let all = whole.pointer_mut("/auth/headers").and_then(Value::as_object_mut);
                for (name, shown) in all.into_iter().flatten() {
                    *shown = headers.get(name).map(SecretText::text).unwrap_or_default().into();
                }
            }
            AuthOptions::OAuth(oauth) => {
                put(&mut whole, "/auth/oauth/client_secret", &oauth.client_secret);
                if let Some(shown) = whole.pointer_mut("/auth/oauth/token_url") {
                    *shown = oauth.token_url.0.clone().into();
                }
            }
        }
        if let Some(ProxyText(proxy)) = &self.proxy {
            put(&mut whole, "/proxy", proxy);
        }
        whole
    }

    /// Says why what is said of TLS would not hold for an address, and how to mend it; none where it would.
    pub fn idle_tls(&self, url: &ComfyUrl) -> Option<String> {
        let mut tls = self.tls.clone();
        let mut hint = "";
        if matches!(self.auth, AuthOptions::OAuth(_)) {
            // The token endpoint is called with it.
            tls.ca_file = None;
            hint = "; for the endpoint of `auth.oauth`, leave `ca_file` alone there";
        }
        (!url.is_https() && !tls.is_usual()).then(|| {
            format!("`{url}` is not encrypted, so nothing of it would hold; write the address with https://, or take `tls` away{hint}")
        })
    }

    /// Returns each of its parts as if nothing else was said.
    pub(super) fn parts(&self) -> [Self; 3] {
        let nothing = Self::default;
        [
            Self { auth: self.auth.clone(), ..nothing() },
            Self { proxy: self.proxy.clone(), ..nothing() },
            Self { tls: self.tls.clone(), ..nothing() },
        ]
    }

    /// Returns the parts that are read from files and variables of this machine. Whoever may not know these may not write them
    /// into a definition either: what they hold is sent to the backend.
    pub fn read_here(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        let mut note = |part: &'static str, is_here: bool| found.extend(is_here.then_some(part));
        match &self.auth {
            AuthOptions::None => {}
            AuthOptions::Basic(basic) => note("auth.basic.password", basic.password.is_here()),
            AuthOptions::Bearer(token) => note("auth.bearer", token.is_here()),
            AuthOptions::Headers(headers) => note("auth.headers", headers.values().any(SecretText::is_here)),
            AuthOptions::OAuth(oauth) => note("auth.oauth.client_secret", oauth.client_secret.is_here()),
        }
        note("proxy", self.proxy.as_ref().is_some_and(|proxy| proxy.0.is_here()));
        note("tls.ca_file", self.tls.ca_file.is_some());
        note("tls.cert_file", self.tls.cert_file.is_some());
        note("tls.key_file", self.tls.key_file.is_some());
        found
    }
}

impl AuthOptions {
    fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl TlsOptions {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl SecretText {
    /// Returns the secret, from wherever it stands; `part` names it in an error.
    pub fn resolve(
        &self,
        part: &'static str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Secret, RouteError> {
        let secret = match self {
            Self::Given(secret) => secret.clone(),
            Self::Environment(name) => {
                let missing = || RouteError::new(part, format!("the environment has no variable `{name}`; set it"));
                Secret::new(environment(name).ok_or_else(missing)?)
            }
            Self::File(path) => {
                let text = file(part, path, LONGEST_SECRET)?;
                Secret::new(text.trim_end_matches(['\n', '\r']))
            }
        };
        if secret.expose().is_empty() { Err(RouteError::new(part, "it is empty")) } else { Ok(secret) }
    }

    fn of(text: &str) -> Result<Self, &'static str> {
        match text.split_once(':') {
            Some(("env", "")) => Err("`env:` names no variable; write it like env:GPU_TOKEN"),
            Some(("file", "")) => Err("`file:` names no file; write it like file:/run/secrets/token"),
            Some(("env", name)) => Ok(Self::Environment(name.to_owned())),
            Some(("file", path)) => Ok(Self::File(path.into())),
            _ if text.is_empty() => Err("it is empty; leave it out, or write the secret"),
            _ if text == MASK => Err("`***` stands for a secret that is not shown; write the secret itself"),
            _ => Ok(Self::Given(Secret::new(text))),
        }
    }

    fn is_here(&self) -> bool {
        !matches!(self, Self::Given(_))
    }

    /// Returns it as it was written.
    fn text(&self) -> String {
        match self {
            Self::Given(secret) => secret.expose().to_owned(),
            Self::Environment(name) => format!("env:{name}"),
            Self::File(path) => format!("file:{}", path.display()),
        }
    }
}

/// Reads a file of bounded size, as a text.
pub(super) fn file(part: &'static str, path: &Path, longest: u64) -> Result<String, RouteError> {
    let shown = path.display();
    let unread = |error: std::io::Error| RouteError::new(part, format!("`{shown}` cannot be read: {error}"));
    let mut text = String::new();
    std::fs::File::open(path).map_err(unread)?.take(longest + 1).read_to_string(&mut text).map_err(unread)?;
    if text.len() as u64 > longest {
        return Err(RouteError::new(part, format!("`{shown}` is longer than {longest} bytes")));
    }
    Ok(text)
}

fn put(whole: &mut Value, place: &str, secret: &SecretText) {
    if let Some(shown) = whole.pointer_mut(place) {
        *shown = secret.text().into();
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references over")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests;

//! Who signs: finds the secrets for a tenant and a receiver, makes those that are not there yet, and remembers them for a
//! few seconds.

use super::destination::destinations_of;
use super::office::new_secret;
use super::secret::{HmacKey, PrivateKey, PublicKey, SecretError};
use super::sign::{Keys, Pieces, sign};
use crate::clock::{Clock, Timestamp};
use crate::job::Tenant;
use crate::store::{SecretKind, SigningSecret, SigningStore, StoreError};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::Url;

/// How long what was read is believed: within this time the gateway sees what a command has changed.
const BELIEVED: Duration = Duration::from_secs(5);

/// How many tenants are remembered at most.
const MOST_TENANTS: usize = 1000;

/// Why a message cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The secrets cannot be read, or a new one cannot be stored.
    #[error("the secrets for signing cannot be read: {0}")]
    Store(#[from] StoreError),
    /// A stored secret is none.
    #[error("the stored secret `{id}` cannot sign: {reason}")]
    Damaged {
        /// Its public name.
        id: String,
        /// What is wrong with it.
        reason: SecretError,
    },
    /// The body cannot be read.
    #[error("the body cannot be read: {0}")]
    Body(#[from] io::Error),
}

/// How webhooks are signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// With Ed25519 too.
    pub ed25519: bool,
}

/// Finds the secrets that sign.
#[derive(Debug)]
pub struct Keyring {
    store: Arc<dyn SigningStore>,
    clock: Arc<dyn Clock>,
    random: fn(&mut [u8]),
    options: Options,
    rings: Mutex<HashMap<Tenant, Read<Ring>>>,
    public: Mutex<Option<Read<Public>>>,
}

/// Public keys, each with the id of its secret.
type Public = Vec<(String, PublicKey)>;

/// When it was read, and what.
type Read<T> = (Timestamp, Arc<T>);

impl Keyring {
    /// Makes one that knows nothing yet.
    pub fn new(store: Arc<dyn SigningStore>, clock: Arc<dyn Clock>, random: fn(&mut [u8]), options: Options) -> Self {
        Self { store, clock, random, options, rings: Mutex::default(), public: Mutex::default() }
    }

    /// Returns the value of `webhook-signature` for a message to `url`. `timestamp` is in seconds since 1970; `open` gives
    /// the pieces of the body, the same each time.
    pub async fn sign(
        &self,
        tenant: &Tenant,
        url: &Url,
        (id, timestamp): (&str, i64),
        open: impl Fn() -> Pieces,
    ) -> Result<String, KeyringError> {
        let keys = self.keys(tenant, url).await?;
        Ok(sign(&keys, id, timestamp, open).await?)
    }

    /// Returns the keys that sign what goes to `url`, the newest first. Stores new ones where there are none.
    pub async fn keys(&self, tenant: &Tenant, url: &Url) -> Result<Keys, KeyringError> {
        let destinations = destinations_of(url);
        let mut ring = self.ring(tenant).await?;
        let missing = ring.missing(&destinations, self.options);
        if !missing.is_empty() {
            self.add(tenant, &missing).await?;
            ring = self.read(tenant).await?;
        }
        // Other processes write the ends of secrets, so it is the wall clock that all of them share.
        Ok(ring.choose(&destinations, self.options, self.clock.wall()))
    }

    /// Makes sure that a tenant has secrets.
    pub async fn prepare(&self, tenant: &Tenant) -> Result<(), KeyringError> {
        self.store.clear_signing_secrets(self.clock.wall()).await?;
        let missing = self.read(tenant).await?.missing(&[], self.options);
        self.add(tenant, &missing).await
    }

    /// Returns the public keys of all tenants that sign now, each with the id of its secret. None where Ed25519 is off.
    pub async fn public_keys(&self) -> Result<Arc<Vec<(String, PublicKey)>>, KeyringError> {
        let now = self.clock.now();
        let known = self.public.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(read) = known.filter(|(at, _)| now.since(*at) < BELIEVED) {
            return Ok(read.1);
        }
        let mut found = Vec::new();
        if self.options.ed25519 {
            let wall = self.clock.wall();
            for row in self.store.signing_secrets(None).await? {
                if row.signs(wall)
                    && let Material::Ed25519(key) = Material::read(&row)?
                {
                    found.push((row.id, key.public()));
                }
            }
        }
        let what = Arc::new(found);
        *self.public.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&what)));
        Ok(what)
    }

    /// Forgets what was read, since it was changed by this process.
    pub fn forget(&self) {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.public.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    async fn add(&self, tenant: &Tenant, kinds: &[SecretKind]) -> Result<(), KeyringError> {
        for kind in kinds {
            // Somebody else may have been first: then that one's counts.
            self.store.add_signing_secret(new_secret(tenant, None, *kind, self.clock.wall(), self.random)).await?;
        }
        Ok(())
    }

    async fn ring(&self, tenant: &Tenant) -> Result<Arc<Ring>, KeyringError> {
        let now = self.clock.now();
        let known = self.rings.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned();
        match known.filter(|(at, _)| now.since(*at) < BELIEVED) {
            Some((_, ring)) => Ok(ring),
            None => self.read(tenant).await,
        }
    }

    async fn read(&self, tenant: &Tenant) -> Result<Arc<Ring>, KeyringError> {
        let at = self.clock.now();
        let rows = self.store.signing_secrets(Some(tenant.clone())).await?;
        let ring = Arc::new(Ring::read(&rows)?);
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        if rings.len() >= MOST_TENANTS {
            rings.retain(|_, (then, _)| at.since(*then) < BELIEVED);
        }
        if rings.len() >= MOST_TENANTS {
            rings.clear();
        }
        rings.insert(tenant.clone(), (at, Arc::clone(&ring)));
        Ok(ring)
    }
}

/// The secrets of a tenant, the newest first of each host and kind.
#[derive(Debug)]
struct Ring(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    host: String,
    expires_at: Option<Timestamp>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Hmac(HmacKey),
    Ed25519(Box<PrivateKey>),
}

impl Material {
    fn read(row: &SigningSecret) -> Result<Self, KeyringError> {
        let text = row.secret.expose();
        let read = match row.kind {
            SecretKind::Hmac => text.parse().map(Self::Hmac),
            SecretKind::Ed25519 => text.parse().map(|pair| Self::Ed25519(Box::new(pair))),
        };
        read.map_err(|reason| KeyringError::Damaged { id: row.id.clone(), reason })
    }
}

impl Ring {
    fn read(rows: &[SigningSecret]) -> Result<Self, KeyringError> {
        let entry = |row: &SigningSecret| {
            Ok(Entry { host: row.host.clone(), expires_at: row.expires_at, material: Material::read(row)? })
        };
        Ok(Self(rows.iter().map(entry).collect::<Result<_, KeyringError>>()?))
    }

    /// Returns the host whose secrets sign what goes to the first of `destinations` that has some; empty for the
    /// tenant's own.
    fn host<'a>(&self, destinations: &'a [String]) -> &'a str {
        let has_current =
            |host: &&String| self.0.iter().any(|entry| entry.host == **host && entry.expires_at.is_none());
        destinations.iter().find(has_current).map_or("", String::as_str)
    }

    /// Returns the kinds of which there is no current secret.
    fn missing(&self, destinations: &[String], options: Options) -> Vec<SecretKind> {
        let host = self.host(destinations);
        let is_current = |entry: &&Entry| entry.expires_at.is_none();
        let mut current = self.0.iter().filter(is_current);
        let has_hmac = current.clone().any(|entry| entry.host == host && matches!(entry.material, Material::Hmac(_)));
        let has_ed25519 = current.any(|entry| matches!(entry.material, Material::Ed25519(_)));
        let missing = [(SecretKind::Hmac, has_hmac), (SecretKind::Ed25519, has_ed25519 || !options.ed25519)];
        missing.into_iter().filter(|(_, has)| !has).map(|(kind, _)| kind).collect()
    }

    fn choose(&self, destinations: &[String], options: Options, now: Timestamp) -> Keys {
        let host = self.host(destinations);
        let mut keys = Keys::default();
        for entry in self.0.iter().filter(|entry| entry.expires_at.is_none_or(|end| now < end)) {
            match &entry.material {
                Material::Hmac(key) if entry.host == host => keys.hmac.push(key.clone()),
                Material::Ed25519(key) if options.ed25519 => keys.ed25519.push(PrivateKey::clone(key)),
                Material::Hmac(_) | Material::Ed25519(_) => {}
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests;

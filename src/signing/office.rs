//! What an operator can do to the secrets: look, rotate, give a host its own and take it away. Works on the store alone,
//! beside a running gateway or in it.

use super::destination::Destination;
use super::secret::{HmacKey, PrivateKey, SecretError};
use crate::clock::{Clock, Timestamp};
use crate::hex;
use crate::job::Tenant;
use crate::secret::Secret;
use crate::store::{Rotation, SecretKind, SigningSecret, SigningStore, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// How long a secret goes on signing after a new one has come, unless told otherwise.
pub const USUAL_KEEP: Duration = Duration::from_hours(24);

/// How many old secrets sign at most.
const MOST_OLD: u32 = 10;

/// Why an operator's wish was not done.
#[derive(Debug, thiserror::Error)]
pub enum OfficeError {
    /// The text that shall be the secret is none.
    #[error("that is no secret for this: {0}")]
    Secret(#[from] SecretError),
    /// The host has no secret of its own.
    #[error("`{0}` has no secret of its own; `comfygate webhook secret set --host {0}` gives it one")]
    NoSecretOfItsOwn(String),
    /// The host has one already.
    #[error("`{0}` has a secret of its own already; `comfygate webhook secret rotate --host {0}` replaces it")]
    HasSecret(String),
    /// The new secret is the current one.
    #[error("that secret is the current one already; nothing was changed")]
    SameSecret,
    /// Private keys are not for single hosts.
    #[error("the Ed25519 key signs for all hosts; leave the host away")]
    PairForHost,
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A new secret in the place of the current one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Whose.
    pub tenant: Tenant,
    /// Only for receivers there.
    pub host: Option<Destination>,
    /// Which of the two kinds.
    pub kind: SecretKind,
    /// The new one; without it, one is drawn.
    pub secret: Option<Secret>,
    /// How long the one before goes on signing; zero ends it at once.
    pub keep: Duration,
}

/// Changes secrets for an operator.
#[derive(Debug)]
pub struct Office {
    store: Arc<dyn SigningStore>,
    clock: Arc<dyn Clock>,
    random: fn(&mut [u8]),
}

impl Office {
    /// Makes one over a store.
    pub fn new(store: Arc<dyn SigningStore>, clock: Arc<dyn Clock>, random: fn(&mut [u8])) -> Self {
        Self { store, clock, random }
    }

    /// Returns the current secret; makes a tenant's own where there is none yet.
    pub async fn current(
        &self,
        tenant: &Tenant,
        host: Option<&Destination>,
        kind: SecretKind,
    ) -> Result<SigningSecret, OfficeError> {
        check_kind(host, kind)?;
        if host.is_none() {
            let new = new_secret(tenant, None, kind, self.clock.wall(), self.random);
            self.store.add_signing_secret(new).await?;
        }
        let name = host.map_or("", Destination::as_str);
        let all = self.store.signing_secrets(Some(tenant.clone())).await?;
        let is_current = |row: &SigningSecret| row.host == name && row.kind == kind && row.expires_at.is_none();
        all.into_iter().find(is_current).ok_or_else(|| OfficeError::NoSecretOfItsOwn(name.to_owned()))
    }

    /// Returns all secrets that sign, of all tenants, the newest first of each tenant, host and kind.
    pub async fn list(&self) -> Result<Vec<SigningSecret>, OfficeError> {
        let now = self.clock.wall();
        let all = self.store.signing_secrets(None).await?;
        Ok(all.into_iter().filter(|row| row.signs(now)).collect())
    }

    /// Puts a new secret in the place of the current one, which goes on signing for as long as told. Returns the new one.
    pub async fn rotate(&self, change: Change) -> Result<SigningSecret, OfficeError> {
        check_kind(change.host.as_ref(), change.kind)?;
        let now = self.clock.wall();
        let mut new = new_secret(&change.tenant, change.host.as_ref(), change.kind, now, self.random);
        if let Some(given) = &change.secret {
            new.secret = checked(given, change.kind)?;
        }
        match self.store.rotate_signing_secret(new.clone(), now + change.keep, MOST_OLD, now).await? {
            Rotation::Done => Ok(new),
            Rotation::NothingThere => Err(OfficeError::NoSecretOfItsOwn(new.host)),
            Rotation::SameSecret => Err(OfficeError::SameSecret),
        }
    }

    /// Gives a host its own secret, which signs at once and alone what goes there.
    pub async fn set(
        &self,
        tenant: &Tenant,
        host: &Destination,
        secret: Option<&Secret>,
    ) -> Result<SigningSecret, OfficeError> {
        let mut new = new_secret(tenant, Some(host), SecretKind::Hmac, self.clock.wall(), self.random);
        if let Some(given) = secret {
            new.secret = checked(given, SecretKind::Hmac)?;
        }
        let is_first = self.store.add_signing_secret(new.clone()).await?;
        if is_first { Ok(new) } else { Err(OfficeError::HasSecret(new.host)) }
    }

    /// Takes a host's own secrets away, the old ones too: the tenant's sign again.
    pub async fn remove(&self, tenant: &Tenant, host: &Destination) -> Result<(), OfficeError> {
        match self.store.remove_signing_secrets(tenant.clone(), host.as_str()).await? {
            0 => Err(OfficeError::NoSecretOfItsOwn(host.to_string())),
            _ => Ok(()),
        }
    }
}

/// Draws a secret.
pub(super) fn new_secret(
    tenant: &Tenant,
    host: Option<&Destination>,
    kind: SecretKind,
    now: Timestamp,
    random: fn(&mut [u8]),
) -> SigningSecret {
    let mut name = [0; 12];
    random(&mut name);
    let id = format!("sig_{}", hex::of(name));
    let secret = match kind {
        SecretKind::Hmac => HmacKey::generate(random).to_secret(),
        SecretKind::Ed25519 => PrivateKey::generate(random).to_secret(),
    };
    let host = host.map_or_else(String::new, Destination::to_string);
    SigningSecret { id, tenant: tenant.clone(), host, kind, secret, created_at: now, expires_at: None }
}

fn check_kind(host: Option<&Destination>, kind: SecretKind) -> Result<(), OfficeError> {
    if host.is_some() && kind == SecretKind::Ed25519 { Err(OfficeError::PairForHost) } else { Ok(()) }
}

/// Reads a secret that somebody gave, and writes it the one way in which it is stored.
fn checked(given: &Secret, kind: SecretKind) -> Result<Secret, SecretError> {
    match kind {
        SecretKind::Hmac => given.expose().parse::<HmacKey>().map(|key| key.to_secret()),
        SecretKind::Ed25519 => given.expose().parse::<PrivateKey>().map(|key| key.to_secret()),
    }
}

//! What is kept of the secrets that webhooks are signed with, and the verbs for it. What a secret looks like, and which of
//! them sign a message, is left to `signing`.

use super::StoreError;
use crate::clock::Timestamp;
use crate::job::Tenant;
use crate::secret::Secret;
use async_trait::async_trait;
use std::fmt;

/// What a secret signs with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SecretKind {
    /// HMAC-SHA256, with a secret that the receiver has too.
    Hmac,
    /// Ed25519, with a key of which the receiver has the public half.
    Ed25519,
}

impl SecretKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Hmac, Self::Ed25519];

    /// Returns the word used in answers and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hmac => "hmac",
            Self::Ed25519 => "ed25519",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A secret that signs webhooks. Of each tenant, host and kind one is the current one, and signs without an end; the others
/// are old ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SigningSecret {
    /// Its public name.
    pub id: String,
    /// Whose webhooks it signs.
    pub tenant: Tenant,
    /// Only for receivers there: a host, or a host and its port; empty for all receivers.
    pub host: String,
    /// What it signs with.
    pub kind: SecretKind,
    /// The secret as people write it.
    pub secret: Secret,
    /// When it was stored. Never the same for two of a tenant, host and kind.
    pub created_at: Timestamp,
    /// From when on it signs no more; none for the current one.
    pub expires_at: Option<Timestamp>,
}

impl SigningSecret {
    /// Says whether it still signs.
    pub fn signs(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// What became of a rotation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rotation {
    /// The new secret is the current one.
    Done,
    /// That host has no secret of its own, and nothing was stored.
    NothingThere,
    /// The new secret is the current one already, and nothing was stored.
    SameSecret,
}

/// Keeps the secrets that sign webhooks. Every verb is one transaction.
#[async_trait]
pub trait SigningStore: Send + Sync + fmt::Debug {
    /// Returns the secrets of a tenant, or of all, the newest first of each tenant, host and kind. Those that sign no more
    /// may be among them.
    async fn signing_secrets(&self, tenant: Option<Tenant>) -> Result<Vec<SigningSecret>, StoreError>;

    /// Stores a secret as the current one where its tenant, host and kind have none; says whether it did.
    async fn add_signing_secret(&self, new: SigningSecret) -> Result<bool, StoreError>;

    /// Makes `new` the current secret of its tenant, host and kind. The one before signs until `old_until`, and at most
    /// `most_old` old ones are kept. What signs no more at `now` is forgotten.
    async fn rotate_signing_secret(
        &self,
        new: SigningSecret,
        old_until: Timestamp,
        most_old: u32,
        now: Timestamp,
    ) -> Result<Rotation, StoreError>;

    /// Removes all secrets of a tenant's host, and says how many.
    async fn remove_signing_secrets(&self, tenant: Tenant, host: &str) -> Result<u64, StoreError>;

    /// Forgets the secrets that sign no more at `now`, and says how many.
    async fn clear_signing_secrets(&self, now: Timestamp) -> Result<u64, StoreError>;
}

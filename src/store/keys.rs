//! What is kept of API keys, and the verbs for it. Whether a key that somebody shows is good is left to `access`.

use super::StoreError;
use crate::clock::Timestamp;
use crate::job::{KeyId, KeyLimits, Scopes, Tenant};
use crate::secret::SecretHash;
use async_trait::async_trait;
use std::fmt;

/// A key as it is kept: everything but the key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// What it is called.
    pub id: KeyId,
    /// Whose jobs it makes and sees.
    pub tenant: Tenant,
    /// What its owner is called, for people.
    pub name: String,
    /// The SHA-256 of the whole key.
    pub hash: SecretHash,
    /// What it allows.
    pub scopes: Scopes,
    /// How much it allows.
    pub limits: KeyLimits,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused; none for never.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// When it was used last, give or take a minute.
    pub last_used_at: Option<Timestamp>,
}

impl ApiKey {
    /// Says whether it is neither taken back nor over.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// Keeps API keys. Every verb is one transaction.
#[async_trait]
pub trait KeyStore: Send + Sync + fmt::Debug {
    /// Stores a new key.
    async fn add_key(&self, key: ApiKey) -> Result<(), StoreError>;

    /// Returns a key, good or not.
    async fn key(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError>;

    /// Returns all keys, good or not, the oldest first.
    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError>;

    /// Takes a key back; one that was taken back before stays as it is. Returns it as it is then, or none where there is
    /// no such key.
    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<Option<ApiKey>, StoreError>;

    /// Notes when keys were used last. May be lost with the power.
    async fn note_used(&self, used: Vec<(KeyId, Timestamp)>) -> Result<(), StoreError>;
}

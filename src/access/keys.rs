//! Makes keys and takes them back, and finds out whose a shown one is. Good ones are remembered for a moment, so that a busy
//! caller costs no read of the store for each request; what is not good is never remembered.

use super::session::{Claim, SessionKey};
use super::token;
use crate::clock::{Clock, Timestamp};
use crate::job::{KeyId, KeyLimits, Scopes, Tenant};
use crate::secret::{Secret, SecretHash};
use crate::store::{ApiKey, KeyStore, StoreError};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long a good key is remembered: for so long one that was taken back on the command line may still be taken.
const REMEMBERED: Duration = Duration::from_secs(2);
/// How many good keys are remembered.
const MOST_REMEMBERED: usize = 4096;
/// What is longer is no key.
const LONGEST: usize = 256;
/// How often it is looked whether there is something to note, and how often it is noted for one key.
const LOOK: Duration = Duration::from_secs(5);
const NOTED_EVERY: Duration = Duration::from_mins(1);

/// What a good key allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The key.
    pub key: KeyId,
    /// Whose it is.
    pub tenant: Tenant,
    /// What it allows.
    pub scopes: Scopes,
    /// How much it allows.
    pub limits: KeyLimits,
}

/// A key to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewKey {
    /// What its owner is called, for people.
    pub name: String,
    /// Whose jobs it shall make and see.
    pub tenant: Tenant,
    /// What it shall allow.
    pub scopes: Scopes,
    /// How much.
    pub limits: KeyLimits,
    /// For how long; none for ever.
    pub life: Option<Duration>,
}

/// All keys: those in the store, and the one of the settings.
pub struct Keys {
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    random: fn(&mut [u8]),
    of_settings: Option<SecretHash>,
    sessions: Option<SessionKey>,
    remembered: Mutex<HashMap<KeyId, Remembered>>,
    used: Mutex<HashMap<KeyId, Used>>,
    refused: AtomicU64,
}

/// A key that was good a moment ago.
struct Remembered {
    key: ApiKey,
    until: Timestamp,
}

/// When a key was used last, and until when that is noted.
#[derive(Clone, Copy)]
struct Used {
    at: Timestamp,
    noted: Option<Timestamp>,
}

impl Keys {
    /// Takes the store of keys and the key of the settings, which is an operator's.
    pub fn new(
        store: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
        random: fn(&mut [u8]),
        of_settings: Option<&Secret>,
    ) -> Self {
        let of_settings = of_settings.map(|secret| SecretHash::of(secret.expose()));
        let (remembered, used) = (Mutex::default(), Mutex::default());
        let (sessions, refused) = (None, AtomicU64::new(0));
        Self { store, clock, random, of_settings, sessions, remembered, used, refused }
    }

    /// The same, with what signs sessions; without it there are none.
    #[must_use]
    pub fn with_sessions(self, key: SessionKey) -> Self {
        Self { sessions: Some(key), ..self }
    }

    /// Says what a shown text allows; none where it is no good key, for whatever reason. One that is unknown and one whose
    /// secret part is wrong cost the same: a hash, a comparison, a read of the store, a comparison.
    pub async fn check(&self, shown: &str) -> Result<Option<Grant>, StoreError> {
        let shown = if shown.len() <= LONGEST { shown } else { "" };
        let hash = SecretHash::of(shown);
        let of_settings = self.of_settings.unwrap_or(SecretHash::NOBODYS).matches(&hash);
        if of_settings {
            return Ok(Some(grant_of_settings()));
        }
        let id = token::id_of(shown).unwrap_or_else(|| KeyId::new([0; KeyId::LENGTH]));
        let now = self.clock.now();
        let remembered = self.remembered(&id, now);
        let mut grant = judge(remembered.as_ref(), &hash, now);
        if grant.is_none() {
            let stored = self.store.key(&id).await?;
            grant = judge(stored.as_ref(), &hash, now);
            if let (Some(_), Some(key)) = (&grant, stored) {
                self.remember(key, now);
            }
        }
        match &grant {
            Some(grant) => self.note_use(&grant.key, now),
            None => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(grant)
    }

    /// Returns the token of a session for whoever has shown this key; none where there are no sessions.
    pub fn open_session(&self, key: &KeyId) -> Option<Secret> {
        let binding = self.of_settings.filter(|_| *key == KeyId::of_settings());
        self.sessions.as_ref().map(|sessions| sessions.token(key, binding.as_ref(), self.clock.now()))
    }

    /// Says what the token of a session allows, which is what its key allows now; none where it is not good any more, or
    /// never was. Nothing is read for a token that was not signed here.
    pub async fn session(&self, token: &str) -> Result<Option<Grant>, StoreError> {
        let (Some(sessions), now) = (&self.sessions, self.clock.now()) else { return Ok(None) };
        let token = if token.len() <= LONGEST { token } else { "" };
        let key = match sessions.check(token, self.of_settings.as_ref(), now) {
            Claim::Good(key) => key,
            Claim::Over => return Ok(None),
            Claim::NotOurs => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
        };
        if key == KeyId::of_settings() {
            return Ok(self.of_settings.map(|_| grant_of_settings()));
        }
        let grant = self.good(&key, now).await?.as_ref().map(grant);
        if let Some(grant) = &grant {
            self.note_use(&grant.key, now);
        }
        Ok(grant)
    }

    /// Says whether a key is still good by which somebody was let in before.
    pub async fn is_good(&self, id: &KeyId) -> Result<bool, StoreError> {
        if *id == KeyId::of_settings() {
            return Ok(self.of_settings.is_some());
        }
        Ok(self.good(id, self.clock.now()).await?.is_some())
    }

    /// Makes a key and stores it. The text is returned here and nowhere else.
    pub async fn create(&self, new: NewKey) -> Result<(Secret, ApiKey), StoreError> {
        let mut chance = [0; token::CHANCE];
        (self.random)(&mut chance);
        let (id, secret) = token::make(&chance);
        let now = self.clock.now();
        let key = ApiKey {
            id,
            tenant: new.tenant,
            name: new.name,
            hash: SecretHash::of(secret.expose()),
            scopes: new.scopes,
            limits: new.limits,
            created_at: now,
            expires_at: new.life.map(|life| now + life),
            revoked_at: None,
            last_used_at: None,
        };
        self.store.add_key(key.clone()).await?;
        Ok((secret, key))
    }

    /// Returns all keys in the store, the oldest first.
    pub async fn list(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.store.keys().await
    }

    /// Takes a key back; here it is refused from now on. None where there is no such key.
    pub async fn revoke(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        let revoked = self.store.revoke_key(id, self.clock.now()).await?;
        lock(&self.remembered).remove(id);
        Ok(revoked)
    }

    /// Says whether anybody could come in with a key.
    pub async fn is_there_any(&self) -> Result<bool, StoreError> {
        let now = self.clock.now();
        Ok(self.of_settings.is_some() || self.store.keys().await?.iter().any(|key| key.is_good(now)))
    }

    /// Notes now and then which keys were used, and tells of refused ones, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut told_at = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.clock.sleep_until(self.clock.now() + LOOK) => {}
            }
            self.note_uses(NOTED_EVERY).await;
            let now = self.clock.now();
            if told_at.is_none_or(|told: Timestamp| now >= told + NOTED_EVERY) {
                let refused = self.refused.swap(0, Ordering::Relaxed);
                if refused > 0 {
                    warn!(requests = refused, "refused requests with a key that is not good");
                    told_at = Some(now);
                }
            }
        }
        self.note_uses(Duration::ZERO).await;
    }

    /// Returns a key of the store that is good.
    async fn good(&self, id: &KeyId, now: Timestamp) -> Result<Option<ApiKey>, StoreError> {
        let mut known = self.remembered(id, now);
        if known.is_none() {
            known = self.store.key(id).await?.filter(|key| key.is_good(now));
            if let Some(key) = &known {
                self.remember(key.clone(), now);
            }
        }
        Ok(known.filter(|key| key.is_good(now)))
    }

    fn remembered(&self, id: &KeyId, now: Timestamp) -> Option<ApiKey> {
        lock(&self.remembered).get(id).filter(|remembered| now < remembered.until).map(|found| found.key.clone())
    }

    fn remember(&self, key: ApiKey, now: Timestamp) {
        let mut remembered = lock(&self.remembered);
        if remembered.len() >= MOST_REMEMBERED {
            remembered.retain(|_, remembered| now < remembered.until);
        }
        if remembered.len() < MOST_REMEMBERED {
            remembered.insert(key.id.clone(), Remembered { key, until: now + REMEMBERED });
        }
    }

    fn note_use(&self, key: &KeyId, now: Timestamp) {
        let mut used = lock(&self.used);
        match used.get_mut(key) {
            Some(used) => used.at = now,
            None => {
                used.insert(key.clone(), Used { at: now, noted: None });
            }
        }
    }

    /// Stores when keys were used, each for which that was not done for so long.
    async fn note_uses(&self, every: Duration) {
        let is_due = |used: &Used| used.noted.is_none_or(|noted| used.at > noted && used.at >= noted + every);
        let due: Vec<(KeyId, Timestamp)> =
            lock(&self.used).iter().filter(|(_, used)| is_due(used)).map(|(id, used)| (id.clone(), used.at)).collect();
        if due.is_empty() {
            return;
        }
        if let Err(error) = self.store.note_used(due.clone()).await {
            return warn!(%error, "it is not noted which keys were used");
        }
        let mut used = lock(&self.used);
        for (id, at) in due {
            if let Some(used) = used.get_mut(&id) {
                used.noted = Some(at);
            }
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("remembered", &lock(&self.remembered).len()).finish_non_exhaustive()
    }
}

/// Says what a key allows to whoever showed a text with this hash. Does the same work whether there is a key or not.
fn judge(key: Option<&ApiKey>, hash: &SecretHash, now: Timestamp) -> Option<Grant> {
    let matches = key.map_or(SecretHash::NOBODYS, |key| key.hash).matches(hash);
    key.filter(|key| matches & key.is_good(now)).map(grant)
}

fn grant(key: &ApiKey) -> Grant {
    Grant { key: key.id.clone(), tenant: key.tenant.clone(), scopes: key.scopes, limits: key.limits }
}

fn grant_of_settings() -> Grant {
    let (key, tenant) = (KeyId::of_settings(), Tenant::default());
    Grant { key, tenant, scopes: Scopes::ALL, limits: KeyLimits::default() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

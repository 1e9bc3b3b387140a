//! Backends that were added and may not be there: taken in where they can be begun, told with the reason where they cannot, and
//! forgotten where they are to go and never came.

use super::{Parts, Roster};
use crate::pool::{BackendEvent, Definition, Duty};
use crate::secret::Secret;
use crate::store::{KeptBackend, StoreError};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use tracing::warn;

/// How much of a reason is kept, in characters.
const LONGEST_REASON: usize = 1000;

/// What was said of the backends while the gateway ran.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Said {
    /// The names of those that go, or are to go.
    pub leaving: HashSet<String>,
    /// Those that were added and are not in the pool, the oldest first.
    pub unopened: Vec<Unopened>,
}

/// A backend that was added and could not be begun, or will be in a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unopened {
    /// Its name.
    pub name: String,
    /// What it is; none where that cannot be read any more.
    pub definition: Option<Definition>,
    /// Whether it will be given jobs.
    pub duty: Duty,
    /// Why it cannot be begun; none where that was not tried yet.
    pub trouble: Option<String>,
}

impl Said {
    /// Returns the one of this name that is not in the pool.
    pub fn unopened(&self, name: &str) -> Option<&Unopened> {
        self.unopened.iter().find(|unopened| unopened.name == name)
    }
}

impl Roster {
    /// Returns what was said of the backends.
    pub async fn said(&self) -> Result<Said, StoreError> {
        let Parts { pool, store, .. } = &self.parts;
        let mut said = Said::default();
        for kept in store.kept_backends().await? {
            if kept.leaving.is_some() {
                said.leaving.insert(kept.name.clone());
            }
            if let Some(definition) = kept.definition.filter(|_| pool.get(&kept.name).is_none()) {
                let duty = if kept.is_draining { Duty::Draining } else { Duty::Serving };
                let (name, definition, trouble) = (kept.name, read_back(&definition).ok(), kept.trouble);
                said.unopened.push(Unopened { name, definition, duty, trouble });
            }
        }
        said.leaving.extend(self.going.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        Ok(said)
    }

    /// Takes a backend in that the store knows and the pool does not. Returns why that cannot be, where it cannot.
    pub(super) fn take_in(&self, kept: &KeptBackend) -> Option<String> {
        let definition = kept.definition.as_ref()?;
        let Parts { pool, open, .. } = &self.parts;
        if pool.get(&kept.name).is_some() {
            return None;
        }
        let opened = read_back(definition)
            .and_then(|definition| self.is_free(&definition).map(|()| definition).map_err(|error| error.to_string()))
            .and_then(|definition| open(&definition));
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match opened {
            Ok(backend) => {
                troubles.remove(&kept.name);
                drop(troubles);
                pool.add(Arc::new(backend));
                self.tell(&kept.name, BackendEvent::Added);
                None
            }
            Err(reason) => {
                let reason: String = reason.chars().take(LONGEST_REASON).collect();
                let told = troubles.insert(kept.name.clone(), reason.clone());
                if told.as_ref() != Some(&reason) {
                    warn!(backend = kept.name, reason, "a backend that was added cannot be begun");
                }
                Some(reason)
            }
        }
    }

    /// Forgets a backend that is to go and could not be begun. What earlier runs left there cannot be stopped; their jobs wait
    /// again.
    pub(super) async fn forget_unopened(&self, name: &str) -> Result<(), StoreError> {
        let Parts { jobs, store, .. } = &self.parts;
        let mut runs = jobs.on_backends().await?;
        runs.retain(|claimed| claimed.run.backend == name);
        for claimed in &runs {
            self.requeue(claimed).await?;
        }
        if !runs.is_empty() {
            let runs = runs.len();
            warn!(backend = name, runs, "jobs wait again, and it is not sure that their runs there have ended");
        }
        store.forget_backend(name).await?;
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.forget(name).await;
        self.tell(name, BackendEvent::Removed);
        Ok(())
    }
}

fn read_back(definition: &Secret) -> Result<Definition, String> {
    match serde_json::from_str(definition.expose()) {
        Ok(Value::Object(object)) => Definition::from_object(object).map_err(|mistakes| {
            let texts: Vec<String> = mistakes.into_iter().map(|mistake| mistake.text).collect();
            texts.join("; ")
        }),
        Ok(_) | Err(_) => Err("its definition in the store is no JSON object".to_owned()),
    }
}

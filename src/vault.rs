//! The keys that callers give for partner nodes, and the operator's own. They are in memory only: what is stored of a job is a
//! ticket, and whose ticket is not here any more has lost its key with the life of the gateway in which it was given.

use crate::job::{Failure, JobId, Outcome};
use crate::secret::Secret;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many keys are kept at once, all of them of jobs that have not ended.
const MOST: usize = 65_536;
/// Shorter keys are not looked for in texts: they would be found in innocent words.
const TELLING: usize = 8;

/// Keeps keys by job until the job has ended.
#[derive(Debug, Default)]
pub struct Vault {
    usual: Option<Secret>,
    held: Mutex<Held>,
}

/// There is no room for another key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

#[derive(Debug, Default)]
struct Held {
    /// Two requests that wish for the same id are two entries until one of them is refused.
    by_job: HashMap<JobId, Vec<(u64, Secret)>>,
    count: usize,
}

impl Vault {
    /// Makes an empty vault. `usual` is the key of jobs that bring none.
    pub fn new(usual: Option<Secret>) -> Self {
        Self { usual, held: Mutex::default() }
    }

    /// Keeps a key for a job under a ticket that nobody had before.
    pub fn put(&self, job: JobId, ticket: u64, key: Secret) -> Result<(), Full> {
        let mut held = self.lock();
        if held.count >= MOST {
            return Err(Full);
        }
        held.count += 1;
        held.by_job.entry(job).or_default().push((ticket, key));
        Ok(())
    }

    /// Forgets what was put for a request that did not become a job.
    pub fn take_back(&self, job: JobId, ticket: u64) {
        let mut held = self.lock();
        let Some(keys) = held.by_job.get_mut(&job) else { return };
        let before = keys.len();
        keys.retain(|(other, _)| *other != ticket);
        let (gone, is_empty) = (before - keys.len(), keys.is_empty());
        held.count -= gone;
        if is_empty {
            held.by_job.remove(&job);
        }
    }

    /// Forgets what was put for a job that has ended.
    pub fn forget(&self, job: JobId) {
        let mut held = self.lock();
        let gone = held.by_job.remove(&job).map_or(0, |keys| keys.len());
        held.count -= gone;
    }

    /// Returns the key of a job: its own where it has a ticket, or else the usual one, if there is one. An error means that
    /// it had one of its own and that it is lost.
    pub fn key_of(&self, job: JobId, ticket: Option<u64>) -> Result<Option<Secret>, Lost> {
        let Some(ticket) = ticket else { return Ok(self.usual.clone()) };
        let held = self.lock();
        let keys = held.by_job.get(&job).map(Vec::as_slice).unwrap_or_default();
        keys.iter().find(|(other, _)| *other == ticket).map(|(_, key)| Some(key.clone())).ok_or(Lost)
    }

    /// Returns an outcome whose texts do not repeat a key that the job may have had, should a node have said it.
    pub fn without_keys(&self, job: JobId, outcome: Outcome) -> Outcome {
        let Outcome::Failed(mut failure, outputs) = outcome else { return outcome };
        let held = self.lock();
        let own = held.by_job.get(&job).map(Vec::as_slice).unwrap_or_default();
        for key in own.iter().map(|(_, key)| key).chain(&self.usual) {
            hide(&mut failure, key);
        }
        Outcome::Failed(failure, outputs)
    }

    /// Returns how many keys are kept.
    pub fn len(&self) -> usize {
        self.lock().count
    }

    /// Says whether no key is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job's key is not here any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost;

fn hide(failure: &mut Failure, key: &Secret) {
    let key = key.expose();
    if key.len() < TELLING {
        return;
    }
    let node = failure.node.as_mut().map(|node| &mut node.message);
    for text in [Some(&mut failure.message), node].into_iter().flatten().filter(|text| text.contains(key)) {
        *text = text.replace(key, "***");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{FailedNode, FailureCode};

    fn job(number: u8) -> JobId {
        JobId::from_bytes([number; 16])
    }

    fn shown(key: Result<Option<Secret>, Lost>) -> Result<Option<String>, Lost> {
        key.map(|key| key.map(|key| key.expose().to_owned()))
    }

    #[test]
    fn a_key_is_given_for_its_ticket_only_and_until_the_end_of_its_job() {
        let vault = Vault::new(Some(Secret::new("usual")));
        vault.put(job(1), 7, Secret::new("first")).unwrap();
        vault.put(job(1), 8, Secret::new("second")).unwrap();
        assert_eq!(shown(vault.key_of(job(1), Some(7))), Ok(Some("first".into())));
        assert_eq!(shown(vault.key_of(job(1), Some(8))), Ok(Some("second".into())));
        assert_eq!(shown(vault.key_of(job(1), Some(9))), Err(Lost));
        assert_eq!(shown(vault.key_of(job(2), Some(7))), Err(Lost));
        assert_eq!(shown(vault.key_of(job(2), None)), Ok(Some("usual".into())));
        assert_eq!(shown(Vault::default().key_of(job(2), None)), Ok(None));
        vault.take_back(job(1), 8);
        assert_eq!(shown(vault.key_of(job(1), Some(7))), Ok(Some("first".into())));
        assert_eq!(vault.len(), 1);
        vault.forget(job(1));
        assert_eq!(shown(vault.key_of(job(1), Some(7))), Err(Lost));
        assert!(vault.is_empty());
        vault.forget(job(1));
        vault.take_back(job(1), 7);
    }

    #[test]
    fn there_is_room_for_so_many_keys_and_again_when_jobs_have_ended() {
        let vault = Vault::default();
        for ticket in 0..MOST as u64 {
            vault.put(job(u8::try_from(ticket % 200).unwrap()), ticket, Secret::new("k")).unwrap();
        }
        assert_eq!(vault.put(job(201), 1, Secret::new("k")), Err(Full));
        vault.forget(job(3));
        assert_eq!(vault.put(job(201), 1, Secret::new("k")), Ok(()));
    }

    #[test]
    fn a_failure_does_not_repeat_a_key() {
        let vault = Vault::new(Some(Secret::new("usual-key")));
        vault.put(job(1), 7, Secret::new("own-key-of-1")).unwrap();
        let told = |text: &str| {
            let node = FailedNode { id: "4".into(), class: "C".into(), message: text.into() };
            let failure =
                Failure { code: FailureCode::NodeError, message: format!("it said {text}"), node: Some(node) };
            Outcome::Failed(failure, Vec::new())
        };
        for key in ["own-key-of-1", "usual-key"] {
            assert_eq!(vault.without_keys(job(1), told(&format!("bad {key}!"))), told("bad ***!"));
        }
        assert_eq!(vault.without_keys(job(2), told("own-key-of-1")), told("own-key-of-1"));
        vault.put(job(3), 8, Secret::new("bad")).unwrap();
        assert_eq!(vault.without_keys(job(3), told("bad")), told("bad"));
        assert_eq!(vault.without_keys(job(3), Outcome::Cancelled), Outcome::Cancelled);
    }
}

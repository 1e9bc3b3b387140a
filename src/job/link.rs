//! Links to outputs that need no key: signed for one output of one job until one moment. Pure; who asks and what is served
//! is left to others.

use super::JobId;
use crate::clock::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;
use std::fmt;

/// What is signed begins with this: a signature made for anything else, or by other rules, is none here.
const PURPOSE: &str = "comfygate link to an output, 1";

/// Signs links to outputs, and knows its own signatures again.
pub struct LinkKey(SecretBox<[u8; 32]>);

/// Why a link is not believed. Neither says whether the job is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LinkError {
    /// It was changed, or was never signed here.
    #[error("the link's signature does not belong to it: use the URL as it was given, whole and unchanged")]
    Invalid,
    /// Its time is over.
    #[error(
        "the link has expired; who may see the job gets the output at the same path without the query, as long as it is kept"
    )]
    Expired,
}

impl LinkKey {
    /// How many bytes a key has.
    pub const BYTES: usize = 32;

    /// Takes a key that was drawn at random.
    pub fn new(key: [u8; Self::BYTES]) -> Self {
        Self(SecretBox::new(Box::new(key)))
    }

    /// Returns the query of a link to output `place` of `job` that holds until `expires`, in seconds since 1970.
    pub fn query(&self, job: JobId, place: usize, expires: i64) -> String {
        let signature = self.mac(job, place, expires).finalize().into_bytes();
        format!("exp={expires}&sig={}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Checks a link to output `place` of `job` that says `expires` and has this signature. The signature is looked at first,
    /// in constant time: what nobody has signed is not told to have expired.
    pub fn check(
        &self,
        job: JobId,
        place: usize,
        expires: i64,
        signature: &str,
        now: Timestamp,
    ) -> Result<(), LinkError> {
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| LinkError::Invalid)?;
        self.mac(job, place, expires).verify_slice(&signature).map_err(|_| LinkError::Invalid)?;
        if now.millis() < expires.saturating_mul(1000) { Ok(()) } else { Err(LinkError::Expired) }
    }

    fn mac(&self, job: JobId, place: usize, expires: i64) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).expect("HMAC takes keys of every length");
        // No part can hold a line break, so no two links have the same text.
        mac.update(format!("{PURPOSE}\n{job}\n{place}\n{expires}").as_bytes());
        mac
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRES: i64 = 1_800_000_000;

    fn job(last: u8) -> JobId {
        JobId::from_bytes([1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, last])
    }

    fn signature(key: &LinkKey) -> String {
        key.query(job(1), 0, EXPIRES).split_once("&sig=").unwrap().1.to_owned()
    }

    #[test]
    fn a_link_holds_for_its_output_until_its_second() {
        let key = LinkKey::new([7; 32]);
        let at = |millis| key.check(job(1), 0, EXPIRES, &signature(&key), Timestamp::from_millis(millis));
        assert_eq!(at(EXPIRES * 1000 - 1), Ok(()));
        assert_eq!(at(EXPIRES * 1000), Err(LinkError::Expired));
    }

    #[test]
    fn whatever_is_changed_the_signature_does_not_belong_to_it() {
        let key = LinkKey::new([7; 32]);
        let sig = signature(&key);
        let now = Timestamp::from_millis(0);
        for (job, place, expires, signature) in [
            (job(2), 0, EXPIRES, sig.clone()),
            (job(1), 1, EXPIRES, sig.clone()),
            (job(1), 0, EXPIRES + 1, sig.clone()),
            (job(1), 0, -EXPIRES, sig.clone()),
            (job(1), 0, EXPIRES, signature(&LinkKey::new([8; 32]))),
            (job(1), 0, EXPIRES, String::new()),
            (job(1), 0, EXPIRES, sig.to_lowercase()),
            (job(1), 0, EXPIRES, format!("{sig}A")),
            (job(1), 0, EXPIRES, format!("{sig}=")),
            (job(1), 0, EXPIRES, "ä".repeat(40)),
            (job(1), 0, EXPIRES, sig.chars().take(22).collect()),
        ] {
            assert_eq!(key.check(job, place, expires, &signature, now), Err(LinkError::Invalid), "{signature}");
        }
    }

    #[test]
    fn an_expired_link_that_nobody_signed_is_invalid_and_not_expired() {
        let key = LinkKey::new([7; 32]);
        let now = Timestamp::from_millis(i64::MAX);
        assert_eq!(key.check(job(1), 0, 5, &signature(&key), now), Err(LinkError::Invalid));
    }

    #[test]
    fn a_key_prints_three_stars() {
        assert_eq!(format!("{:?}", LinkKey::new([7; 32])), "***");
    }
}

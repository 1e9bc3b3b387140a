//! The token of a session, by which a browser is known again that has shown a key: the key's id, until when, and a signature.
//! Pure; what the key allows, and whether it still does, is looked up with each request by `keys`.

use crate::clock::Timestamp;
use crate::job::KeyId;
use crate::secret::{Secret, SecretHash};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;
use std::fmt;
use std::time::Duration;

/// How long a session lasts at most.
pub const LIFE: Duration = Duration::from_hours(12);

/// What is signed begins with this: a signature made for anything else, or by other rules, is none here.
const PURPOSE: &str = "comfygate session, 1";

/// Signs tokens of sessions, and knows its own signatures again.
pub struct SessionKey(SecretBox<[u8; 32]>);

/// What a token is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Claim {
    /// It was made for whoever has shown this key, and its time is not over.
    Good(KeyId),
    /// It was, and its time is over.
    Over,
    /// It was changed, or was never signed here, or with a key of the settings that is another by now.
    NotOurs,
}

impl SessionKey {
    /// How many bytes a key has.
    pub const BYTES: usize = 32;

    /// Takes a key that was drawn at random.
    pub fn new(key: [u8; Self::BYTES]) -> Self {
        Self(SecretBox::new(Box::new(key)))
    }

    /// Makes the token of a session that begins now. The key of the settings has the same id whatever it is, so a token for
    /// it holds for the one with the hash `of_settings` alone.
    pub(super) fn token(&self, key: &KeyId, of_settings: Option<&SecretHash>, now: Timestamp) -> Secret {
        let expires = (now + LIFE).millis() / 1000;
        let signature = self.mac(key, of_settings, expires).finalize().into_bytes();
        Secret::new(format!("{key}.{expires}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Says what a token is. Its signature is looked at first, in constant time.
    pub(super) fn check(&self, token: &str, of_settings: Option<&SecretHash>, now: Timestamp) -> Claim {
        let Some((key, expires, signature)) = parts(token) else { return Claim::NotOurs };
        let of_settings = of_settings.filter(|_| key == KeyId::of_settings());
        if self.mac(&key, of_settings, expires).verify_slice(&signature).is_err() {
            return Claim::NotOurs;
        }
        if now.millis() < expires.saturating_mul(1000) { Claim::Good(key) } else { Claim::Over }
    }

    fn mac(&self, key: &KeyId, of_settings: Option<&SecretHash>, expires: i64) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).expect("HMAC takes keys of every length");
        // No part can hold a line break, so no two tokens have the same text.
        mac.update(format!("{PURPOSE}\n{key}\n{expires}\n").as_bytes());
        mac.update(of_settings.map(|hash| hash.bytes().as_slice()).unwrap_or_default());
        mac
    }
}

fn parts(token: &str) -> Option<(KeyId, i64, Vec<u8>)> {
    let (key, rest) = token.split_once('.')?;
    let (expires, signature) = rest.split_once('.')?;
    let of_settings = KeyId::of_settings();
    let key = if key == of_settings.as_str() { of_settings } else { key.parse().ok()? };
    Some((key, expires.parse().ok()?, URL_SAFE_NO_PAD.decode(signature).ok()?))
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn key(text: &str) -> KeyId {
        text.parse().unwrap()
    }

    #[test]
    fn a_token_holds_for_its_key_until_its_second_and_has_nothing_of_the_key() {
        let signer = SessionKey::new([7; 32]);
        let token = signer.token(&key("abcdefghijkl"), None, NOW);
        assert!(token.expose().starts_with("abcdefghijkl.1800043200."), "{}", token.expose());
        let at = |millis| signer.check(token.expose(), None, NOW + Duration::from_millis(millis));
        assert_eq!(at(0), Claim::Good(key("abcdefghijkl")));
        assert_eq!(at(43_199_999), Claim::Good(key("abcdefghijkl")));
        assert_eq!(at(43_200_000), Claim::Over);
        assert_eq!(format!("{signer:?} {token:?}"), "*** ***");
    }

    #[test]
    fn whatever_is_changed_the_token_is_not_ours() {
        let signer = SessionKey::new([7; 32]);
        let token = signer.token(&key("abcdefghijkl"), None, NOW);
        let good = token.expose();
        let (head, signature) = good.rsplit_once('.').unwrap();
        let another = SessionKey::new([8; 32]).token(&key("abcdefghijkl"), None, NOW);
        for bad in [
            good.replace("abcdefghijkl", "abcdefghijkm"),
            good.replace("abcdefghijkl", "settings"),
            good.replace("1800043200", "1800043201"),
            good.replace("1800043200", "9999999999"),
            good.replace("1800043200", "99999999999999999999"),
            format!("{head}."),
            format!("{head}.{}", signature.to_lowercase()),
            format!("{good}A"),
            format!("{good}="),
            format!("{good}.{signature}"),
            head.to_owned(),
            String::new(),
            "..".to_owned(),
            another.expose().to_owned(),
        ] {
            assert_eq!(signer.check(&bad, None, NOW), Claim::NotOurs, "{bad}");
        }
    }

    #[test]
    fn a_session_of_the_settings_key_ends_when_that_is_another() {
        let signer = SessionKey::new([7; 32]);
        let (first, second) = (SecretHash::of("first"), SecretHash::of("second"));
        let token = signer.token(&KeyId::of_settings(), Some(&first), NOW);
        assert_eq!(signer.check(token.expose(), Some(&first), NOW), Claim::Good(KeyId::of_settings()));
        assert_eq!(signer.check(token.expose(), Some(&second), NOW), Claim::NotOurs);
        assert_eq!(signer.check(token.expose(), None, NOW), Claim::NotOurs);
        // Keys of the store do not mind which one the settings have.
        let token = signer.token(&key("abcdefghijkl"), None, NOW);
        assert_eq!(signer.check(token.expose(), Some(&second), NOW), Claim::Good(key("abcdefghijkl")));
    }
}

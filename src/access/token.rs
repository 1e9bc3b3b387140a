//! The text of a key: `cg_`, its id, `_`, and 32 random bytes. The beginning lets scanners find one that leaked.

use crate::job::KeyId;
use crate::secret::Secret;

/// What every key begins with.
const PREFIX: &str = "cg_";
/// How many letters 32 bytes have in base 62.
const SECRET_LENGTH: usize = 43;
const SECRET_LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How much chance a key is made of, in bytes: its id, and the secret part.
pub(super) const CHANCE: usize = KeyId::LENGTH + 32;

/// Makes a key.
pub(super) fn make(chance: &[u8; CHANCE]) -> (KeyId, Secret) {
    let (mut id, mut secret) = ([0; KeyId::LENGTH], [0; 32]);
    for (to, from) in id.iter_mut().chain(&mut secret).zip(chance) {
        *to = *from;
    }
    let id = KeyId::new(id);
    let text = format!("{PREFIX}{id}_{}", base62(secret));
    (id, Secret::new(text))
}

/// Returns the id of a text that looks like a key.
pub(super) fn id_of(text: &str) -> Option<KeyId> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let looks_good = secret.len() == SECRET_LENGTH && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
    id.parse().ok().filter(|_| looks_good)
}

/// Writes a number of 256 bits in base 62, always with the same number of letters.
fn base62(mut number: [u8; 32]) -> String {
    let mut letters = [0; SECRET_LENGTH];
    for letter in letters.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest * 256 + u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *letter = SECRET_LETTERS[rest as usize];
    }
    letters.iter().map(|letter| char::from(*letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_id_and_256_bits_that_all_count() {
        let (id, key) = make(&[7; CHANCE]);
        assert_eq!(key.expose().len(), 3 + 12 + 1 + 43);
        assert_eq!(id_of(key.expose()), Some(id));
        for place in KeyId::LENGTH..CHANCE {
            for bit in 0..8 {
                let mut other = [7; CHANCE];
                other[place] ^= 1 << bit;
                assert_ne!(make(&other).1.expose(), key.expose(), "{place} {bit}");
            }
        }
        assert_eq!(base62([0; 32]), "0".repeat(43));
        // 2^256 - 1, reckoned elsewhere.
        assert_eq!(base62([255; 32]), "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1");
    }

    #[test]
    fn what_is_no_key_has_no_id() {
        let secret = "a".repeat(43);
        assert!(id_of(&format!("cg_abcdefghijkl_{secret}")).is_some());
        for text in [
            String::new(),
            "cg_".into(),
            "cg__".into(),
            format!("CG_abcdefghijkl_{secret}"),
            format!("cg_abcdefghijkl_{secret}a"),
            format!("cg_abcdefghijkl{secret}"),
            format!("cg_abcdefghijk_{secret}"),
            format!("cg_abcdefghijk1_{secret}"),
            format!("cg_abcdefghijkl_{}ä", "a".repeat(41)),
            format!(" cg_abcdefghijkl_{secret}"),
        ] {
            assert_eq!(id_of(&text), None, "{text}");
        }
    }
}

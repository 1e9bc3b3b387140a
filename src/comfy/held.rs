//! How many bytes of images came over a socket and are not stored yet: more than a limit of them, and whoever stores them
//! cannot follow.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the bytes of images that somebody still holds.
#[derive(Clone, Debug)]
pub(super) struct Held {
    most: usize,
    now: Arc<AtomicUsize>,
}

impl Held {
    pub(super) fn new(most: usize) -> Self {
        Self { most, now: Arc::default() }
    }

    /// Counts `image` for as long as anything of it is held; an error where it is one too many. One that is larger than the
    /// limit may come alone. What `image` is a part of is held with it, so all of that counts.
    pub(super) fn count(&self, image: Bytes) -> Result<Bytes, String> {
        let size = image.len();
        let before = self.now.fetch_add(size, Ordering::Relaxed);
        let counted = Counted { image, now: Arc::clone(&self.now) };
        if before > 0 && before.saturating_add(size) > self.most {
            return Err(format!("{before} bytes of images wait to be stored, and no more are kept in memory"));
        }
        Ok(Bytes::from_owner(counted))
    }
}

struct Counted {
    image: Bytes,
    now: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.image
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.now.fetch_sub(self.image.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_until_its_last_part_is_dropped() {
        let held = Held::new(10);
        let image = |size: usize| Bytes::from(vec![1; size]);
        let first = held.count(image(6)).unwrap();
        let part = first.slice(2..3);
        assert!(held.count(image(5)).is_err());
        let second = held.count(image(4)).unwrap();
        drop((first, second));
        assert!(held.count(image(5)).is_err(), "a part of the first one is still held");
        drop(part);
        assert_eq!(held.now.load(Ordering::Relaxed), 0);
        let large = held.count(image(50)).unwrap();
        assert_eq!(large, image(50));
        assert!(held.count(image(1)).is_err());
    }
}

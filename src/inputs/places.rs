//! Places for what takes a while, so that so much is under way at once and no more: uploads and fetches. A tenant may take
//! four times what it leaves free, and who has none the last one, so whoever comes new finds a place though three others hang; four can take all. Decides only.

use crate::job::Tenant;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many places a tenant may take for each that it leaves free.
const SHARE: usize = 4;

/// Places, and who has them. Only tenants that have one are remembered, so there are never more of them than places.
#[derive(Debug)]
pub struct Places {
    all: usize,
    of_one: usize,
    taken: Mutex<HashMap<Tenant, usize>>,
}

/// Some places of a tenant, free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    tenant: Tenant,
    count: usize,
    places: Arc<Places>,
}

impl Places {
    /// Makes `all` places, of which one tenant may have `of_one` whatever is free.
    pub fn new(all: usize, of_one: usize) -> Arc<Self> {
        Arc::new(Self { all, of_one, taken: Mutex::default() })
    }

    /// Takes as many places as a tenant may have now, at most `wanted`; none where that is none.
    pub fn take(self: &Arc<Self>, tenant: &Tenant, wanted: usize) -> Option<Place> {
        let mut taken = self.lock();
        let free = self.all.saturating_sub(taken.values().sum());
        let own = taken.get(tenant).copied().unwrap_or(0);
        // Afterwards it has `own + count`, and `free - count` are left.
        let fair = (SHARE * free).saturating_sub(own) / (SHARE + 1);
        let fair = if own == 0 { fair.max(free.min(1)) } else { fair };
        let count = wanted.min(fair).min(self.of_one.saturating_sub(own));
        if count == 0 {
            return None;
        }
        *taken.entry(tenant.clone()).or_default() += count;
        Some(Place { tenant: tenant.clone(), count, places: Arc::clone(self) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Tenant, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Returns how many they are; at least one.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(own) = taken.get_mut(&self.tenant) {
            *own -= self.count;
            if *own == 0 {
                taken.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: usize) -> Tenant {
        Tenant::from_stored(format!("tenant{number}"))
    }

    /// Takes places one by one for as long as there are any.
    fn fill(places: &Arc<Places>, tenant: &Tenant) -> Vec<Place> {
        std::iter::from_fn(|| places.take(tenant, 1)).collect()
    }

    #[test]
    fn whoever_comes_fourth_finds_a_place_and_whoever_comes_fifth_may_not() {
        let places = Places::new(64, 64);
        let mut under_way = vec![fill(&places, &tenant(0))];
        assert_eq!(under_way[0].len(), 51, "four fifths");
        let second = places.take(&tenant(1), 64).unwrap();
        assert_eq!(second.count(), 10, "four fifths of what is left");
        drop(second);
        for number in 1..4 {
            under_way.push(fill(&places, &tenant(number)));
            assert!(!under_way[number].is_empty(), "{number}");
        }
        assert!(places.take(&tenant(4), 1).is_none(), "all are taken");
        under_way.clear();
        assert!(places.lock().is_empty(), "who has no place is not remembered");
        assert_eq!(fill(&places, &tenant(9)).len(), 51);
    }

    #[test]
    fn two_that_take_all_they_can_leave_some() {
        let places = Places::new(32, 16);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        loop {
            let (one, other) = (places.take(&tenant(1), 1), places.take(&tenant(2), 1));
            if one.is_none() && other.is_none() {
                break;
            }
            first.extend(one);
            second.extend(other);
        }
        assert_eq!((first.len(), second.len()), (14, 14));
        assert!(places.take(&tenant(3), 1).is_some());
    }

    #[test]
    fn one_has_never_more_than_its_number_and_takes_what_there_is_of_what_it_wants() {
        let places = Places::new(32, 16);
        let most = places.take(&tenant(1), 100).unwrap();
        assert_eq!((most.count(), places.take(&tenant(1), 1).is_none()), (16, true));
        drop(most);
        let some = places.take(&tenant(1), 4).unwrap();
        assert_eq!((some.count(), places.take(&tenant(1), 100).unwrap().count()), (4, 12));
    }

    proptest::proptest! {
        #[test]
        fn three_that_take_and_give_back_as_they_like_leave_a_place_to_a_fourth(
            turns in proptest::collection::vec((0..3_usize, 1..70_usize, proptest::bool::ANY), 1..60),
            is_for_forms in proptest::bool::ANY,
        ) {
            let places = if is_for_forms { Places::new(64, 64) } else { Places::new(32, 16) };
            let mut under_way: Vec<Vec<Place>> = vec![Vec::new(), Vec::new(), Vec::new()];
            for (who, wanted, gives_back) in turns {
                if gives_back {
                    under_way[who].pop();
                } else {
                    under_way[who].extend(places.take(&tenant(who), wanted));
                }
                proptest::prop_assert!(places.take(&tenant(3), 1).is_some());
            }
        }
    }
}

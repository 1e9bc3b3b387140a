//! Whose turn it is: tenants that wait for the same thing get it by deficit round robin. Decides only; who waits, and what
//! for, is the caller's to know.

use super::Tenant;
use std::collections::BTreeMap;

/// How many tenants' credits are remembered. Beyond it all are forgotten, which costs each of them a few turns at most.
const REMEMBERED: usize = 10_000;

/// One who waits: a tenant, what its next thing costs, and the thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate<T> {
    /// Who waits.
    pub tenant: Tenant,
    /// What it costs, from 1: a tenant whose things cost twice as much gets half as many.
    pub cost: u32,
    /// What it would get.
    pub thing: T,
}

/// The state of a deficit round robin among tenants, whose order is that of their names. With its turn a tenant's credit
/// grows by 1, the cost of the cheapest thing, so that nobody gets two in a turn.
///
/// With things of the same cost everybody who waits gets one before anybody gets a second. Who comes later gets no credit
/// for the time before, and who has all that it wanted takes no credit along.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Turns {
    last: Option<Tenant>,
    /// Only what is not 0; below 0 where somebody got something out of turn.
    credit: BTreeMap<Tenant, i64>,
}

impl Turns {
    /// Returns whose turn was last. The next one is the first after it by name that waits, and then around again.
    pub fn last(&self) -> Option<&Tenant> {
        self.last.as_ref()
    }

    /// Gives the turn to one of those who wait, and returns it. They come each once, in the order of names, beginning
    /// after [`Turns::last`] and ending with it; no more of them are looked at than needed. An error of the iterator gives
    /// the turn to nobody.
    pub fn give<T, E>(
        &mut self,
        waiting: impl Iterator<Item = Result<Candidate<T>, E>>,
    ) -> Result<Option<Candidate<T>>, E> {
        let mut passed = Vec::new();
        for candidate in waiting {
            let candidate = candidate?;
            if self.can_pay(&candidate) {
                return Ok(Some(self.pay(candidate)));
            }
            passed.push(candidate);
        }
        // Nobody has enough: the round goes on until somebody has, without going through it each time.
        let lacks = |candidate: &Candidate<T>| i64::from(candidate.cost) - self.credit(&candidate.tenant);
        let rounds = passed.iter().map(lacks).min().unwrap_or(1);
        for candidate in &passed {
            self.add(&candidate.tenant, rounds - 1);
        }
        Ok(passed.into_iter().find_map(|candidate| self.can_pay(&candidate).then(|| self.pay(candidate))))
    }

    /// Takes the cost of something that a tenant got out of turn from its credit.
    pub fn charge(&mut self, tenant: &Tenant, cost: u32) {
        self.add(tenant, -i64::from(cost));
    }

    /// Forgets what a tenant has saved: it waits for nothing any more. What it owes stays.
    pub fn leave(&mut self, tenant: &Tenant) {
        if self.credit(tenant) > 0 {
            self.credit.remove(tenant);
        }
    }

    fn can_pay<T>(&mut self, candidate: &Candidate<T>) -> bool {
        self.add(&candidate.tenant, 1);
        self.credit(&candidate.tenant) >= i64::from(candidate.cost)
    }

    fn pay<T>(&mut self, candidate: Candidate<T>) -> Candidate<T> {
        self.add(&candidate.tenant, -i64::from(candidate.cost));
        self.last = Some(candidate.tenant.clone());
        candidate
    }

    fn credit(&self, tenant: &Tenant) -> i64 {
        self.credit.get(tenant).copied().unwrap_or(0)
    }

    fn add(&mut self, tenant: &Tenant, change: i64) {
        let credit = self.credit(tenant) + change;
        if credit == 0 {
            self.credit.remove(tenant);
            return;
        }
        if self.credit.len() >= REMEMBERED && !self.credit.contains_key(tenant) {
            self.credit.clear();
        }
        self.credit.insert(tenant.clone(), credit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;
    use std::ops::Bound;

    #[test]
    fn one_who_wants_little_waits_for_one_turn_of_each_other() {
        let mut turns = Turns::default();
        let mut waiting = BTreeMap::from([(tenant("a"), vec![1; 10_000]), (tenant("c"), vec![1; 10_000])]);
        assert_eq!(served(&mut turns, &mut waiting, 5), ["a", "c", "a", "c", "a"]);
        waiting.insert(tenant("b"), vec![1; 2]);
        assert_eq!(served(&mut turns, &mut waiting, 7), ["b", "c", "a", "b", "c", "a", "c"]);
    }

    #[test]
    fn who_wants_twice_as_much_gets_half_as_many() {
        let mut turns = Turns::default();
        let mut waiting = BTreeMap::from([(tenant("dear"), vec![2; 1000]), (tenant("cheap"), vec![1; 1000])]);
        let order = served(&mut turns, &mut waiting, 300);
        assert_eq!(order.iter().filter(|name| *name == "dear").count(), 100);
    }

    #[test]
    fn what_is_dear_comes_even_if_nobody_else_waits() {
        let mut turns = Turns::default();
        let mut waiting = BTreeMap::from([(tenant("a"), vec![1_000_000, 7]), (tenant("b"), vec![2_000_000])]);
        assert_eq!(served(&mut turns, &mut waiting, 5), ["a", "a", "b"]);
        assert_eq!(turns.credit, BTreeMap::new());
    }

    #[test]
    fn what_came_out_of_turn_is_paid_for() {
        let mut turns = Turns::default();
        let mut waiting = BTreeMap::from([(tenant("a"), vec![1; 9]), (tenant("b"), vec![1; 9])]);
        turns.charge(&tenant("a"), 2);
        assert_eq!(served(&mut turns, &mut waiting, 6), ["b", "b", "a", "b", "a", "b"]);
    }

    #[test]
    fn an_error_gives_the_turn_to_nobody() {
        let mut turns = Turns::default();
        let failing = std::iter::once(Err::<Candidate<()>, _>("broken"));
        assert_eq!(turns.give(failing), Err("broken"));
        assert_eq!(turns, Turns::default());
    }

    proptest! {
        /// The plain model: everybody's credit grows by 1 in each round, and who can pay is served.
        #[test]
        fn turns_are_those_of_the_plain_model(
            queues in prop::collection::btree_map("[a-e]", prop::collection::vec(1..9_u32, 0..12), 1..5),
        ) {
            let mut waiting: BTreeMap<Tenant, Vec<u32>> =
                queues.into_iter().map(|(name, costs)| (tenant(&name), costs)).collect();
            let mut model = waiting.clone();
            let mut credit: BTreeMap<Tenant, u32> = BTreeMap::new();
            let mut expected = Vec::new();
            while model.values().any(|costs| !costs.is_empty()) {
                for (name, costs) in model.iter_mut().filter(|(_, costs)| !costs.is_empty()) {
                    let credit = credit.entry(name.clone()).or_default();
                    *credit += 1;
                    if *credit >= costs[0] {
                        *credit -= costs.remove(0);
                        expected.push(name.name().to_owned());
                    }
                }
            }
            let order = served(&mut Turns::default(), &mut waiting, usize::MAX);
            prop_assert_eq!(order, expected);
        }
    }

    fn served(turns: &mut Turns, waiting: &mut BTreeMap<Tenant, Vec<u32>>, most: usize) -> Vec<String> {
        let mut order = Vec::new();
        while order.len() < most {
            waiting.retain(|_, costs| !costs.is_empty());
            let last = turns.last().cloned().unwrap_or_default();
            let after = waiting.range((Bound::Excluded(&last), Bound::Unbounded));
            let ring = after.chain(waiting.range(..=&last));
            let candidate = |(name, costs): (&Tenant, &Vec<u32>)| {
                Ok::<_, Infallible>(Candidate { tenant: name.clone(), cost: costs[0], thing: () })
            };
            let Ok(given) = turns.give(ring.map(candidate));
            let Some(given) = given else { break };
            waiting.get_mut(&given.tenant).unwrap().remove(0);
            order.push(given.tenant.name().to_owned());
        }
        order
    }

    fn tenant(name: &str) -> Tenant {
        name.parse().unwrap()
    }
}

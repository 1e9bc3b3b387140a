//! Rows of counts by a name, of which there are never more than allowed: who comes when all places are taken shares one row
//! with all others of that kind.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The name of the row that the others share.
pub(super) const OTHER: &str = "other";

/// Rows by their names.
#[derive(Debug)]
pub(super) struct Table<M> {
    most: usize,
    fresh: fn() -> M,
    rows: RwLock<BTreeMap<Arc<str>, Arc<M>>>,
}

impl<M> Table<M> {
    /// Makes an empty table of at most `most` rows, and one that the others share.
    pub(super) fn new(most: usize, fresh: fn() -> M) -> Self {
        Self { most, fresh, rows: RwLock::default() }
    }

    /// Returns the row of this name, or the shared one where there is no place for it.
    pub(super) fn row(&self, name: &str) -> Arc<M> {
        if let Some(row) = self.rows.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(row);
        }
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        let own = rows.len() - usize::from(rows.contains_key(OTHER));
        let name = if own < self.most || rows.contains_key(name) { name } else { OTHER };
        Arc::clone(rows.entry(Arc::from(name)).or_insert_with(|| Arc::new((self.fresh)())))
    }

    /// Forgets all rows whose names are not kept; the shared one stays.
    pub(super) fn retain(&self, keep: impl Fn(&str) -> bool) {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        rows.retain(|name, _| name.as_ref() == OTHER || keep(name));
    }

    /// Returns all rows as they are now, in the order of their names.
    pub(super) fn rows(&self) -> Vec<(Arc<str>, Arc<M>)> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.iter().map(|(name, row)| (Arc::clone(name), Arc::clone(row))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;

    #[test]
    fn there_are_never_more_rows_than_places_and_one() {
        let table: Table<Counter> = Table::new(3, Counter::default);
        for number in 0..10_000 {
            table.row(&format!("name{number}")).inc();
        }
        let names: Vec<_> = table.rows().into_iter().map(|(name, row)| (name.to_string(), row.get())).collect();
        let expected = [("name0", 1), ("name1", 1), ("name2", 1), (OTHER, 9_997)];
        assert_eq!(names, expected.map(|(name, count)| (name.to_owned(), count)));
        table.row("name1").inc();
        assert_eq!(table.row("name1").get(), 2);
    }

    #[test]
    fn a_row_that_is_forgotten_makes_place_for_another() {
        let table: Table<Counter> = Table::new(1, Counter::default);
        table.row("a").inc();
        table.row("b").inc();
        table.retain(|name| name != "a");
        table.row("c").inc();
        let names: Vec<_> = table.rows().into_iter().map(|(name, row)| (name.to_string(), row.get())).collect();
        assert_eq!(names, [("c".to_owned(), 1), (OTHER.to_owned(), 1)]);
    }
}

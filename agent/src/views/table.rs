//! The rows of a view at one moment, and their order.

use crate::schema::views::{Column, Level, Value, View};

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What tells it apart from the others of its view, for people.
    pub name: String,
    /// By column, as [`View::columns`] has them. `None` where nothing was said of it.
    pub values: Vec<Option<f64>>,
}

/// The rows of a view.
#[derive(Clone, Debug)]
pub struct Table {
    /// Whose rows they are.
    pub view: &'static View,
    /// By name, until they are sorted otherwise.
    pub rows: Vec<Row>,
}

/// What rows are sorted by, the largest first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// The sum of these columns, each times its weight.
    Weighted(&'static [(&'static str, f64)]),
    /// The column of this key.
    Column(&'static str),
    /// The name, the first in the alphabet first.
    Name,
}

impl Table {
    /// The value of a column; `None` also where there is no such column.
    #[must_use]
    pub fn value(&self, row: &Row, key: &str) -> Option<f64> {
        row.values.get(self.view.column(key)?).copied().flatten()
    }

    /// Sorts the rows. Those of which the column says nothing are last; equal ones are in the order of their names.
    pub fn sort(&mut self, order: Order) {
        let weigh: Box<dyn Fn(&Row) -> f64> = match order {
            Order::Name => Box::new(|_| 0.0),
            Order::Column(key) => {
                let at = self.view.column(key);
                Box::new(move |row| at.and_then(|at| row.values[at]).unwrap_or(f64::NEG_INFINITY))
            }
            Order::Weighted(weights) => {
                let view = self.view;
                let weights: Vec<(usize, f64)> =
                    weights.iter().filter_map(|(key, weight)| Some((view.column(key)?, *weight))).collect();
                Box::new(move |row| {
                    weights.iter().map(|(at, weight)| row.values[*at].unwrap_or(0.0) * weight).sum()
                })
            }
        };
        let mut weighed: Vec<(f64, Row)> = self.rows.drain(..).map(|row| (weigh(&row), row)).collect();
        weighed.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| x.name.cmp(&y.name)));
        self.rows.extend(weighed.into_iter().map(|(_, row)| row));
    }
}

impl Row {
    /// The columns in which it has a trouble, the worst first.
    #[must_use]
    pub fn troubles(&self, view: &'static View) -> Vec<(&'static Column, f64, Level)> {
        let of = |(column, value): (&'static Column, &Option<f64>)| {
            let value = (*value)?;
            let level = column.level(value);
            (level > Level::Fine).then_some((column, value, level))
        };
        let mut troubles: Vec<_> = view.columns().zip(&self.values).filter_map(of).collect();
        troubles.sort_by_key(|(_, _, level)| std::cmp::Reverse(*level));
        troubles
    }

    /// How bad the worst of its values is.
    #[must_use]
    pub fn level(&self, view: &'static View) -> Level {
        let levels =
            view.columns().zip(&self.values).map(|(column, value)| value.map(|value| column.level(value)));
        levels.flatten().max().unwrap_or_default()
    }
}

/// What figures come to, until the last point is in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    /// The figure, or the part of the whole.
    pub(super) part: Option<f64>,
    pub(super) whole: Option<f64>,
}

impl Sum {
    pub(super) fn value(self, value: &Value) -> Option<f64> {
        let part = self.part?;
        match value {
            Value::Of(_) => Some(part),
            Value::Rest(_) => Some(100.0 - part),
            Value::Percent(..) => self.whole.filter(|whole| *whole > 0.0).map(|whole| 100.0 * part / whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::views::{BUSY, view};

    fn table(rows: &[(&str, &[(&str, f64)])]) -> Table {
        let view = view("all").unwrap();
        let row = |(name, values): &(&str, &[(&str, f64)])| {
            let value =
                |column: &Column| values.iter().find(|(key, _)| *key == column.key).map(|(_, value)| *value);
            Row { name: (*name).to_owned(), values: view.columns().map(value).collect() }
        };
        Table { view, rows: rows.iter().map(row).collect() }
    }

    fn names(mut table: Table, order: Order) -> Vec<String> {
        table.sort(order);
        table.rows.into_iter().map(|row| row.name).collect()
    }

    #[test]
    fn rows_are_sorted_by_any_column_and_what_has_no_value_is_last() {
        let rows: &[(&str, &[(&str, f64)])] = &[
            ("c", &[("cpu", 5.0)]),
            ("b", &[("cpu", 5.0), ("read", 2e6)]),
            ("a", &[("throttled", 0.0)]),
            ("d", &[("cpu", 0.0), ("throttled", 9.0)]),
        ];
        assert_eq!(names(table(rows), Order::Column("cpu")), ["b", "c", "d", "a"]);
        assert_eq!(names(table(rows), Order::Column("throttled")), ["d", "a", "b", "c"]);
        assert_eq!(names(table(rows), Order::Weighted(BUSY)), ["b", "c", "a", "d"]);
        assert_eq!(names(table(rows), Order::Name), ["a", "b", "c", "d"]);
    }

    #[test]
    fn the_worst_trouble_of_a_row_comes_first() {
        let table =
            table(&[("a", &[("cpu", 100.0), ("throttled", 7.0), ("wait_p99", 1e6)]), ("b", &[("cpu", 1.0)])]);
        let troubles = table.rows[0].troubles(table.view);
        let found: Vec<_> =
            troubles.iter().map(|(column, value, level)| (column.key, *value, *level)).collect();
        assert_eq!(found, [("wait_p99", 1e6, Level::Critical), ("throttled", 7.0, Level::Warn)]);
        assert_eq!(
            (table.rows[0].level(table.view), table.rows[1].level(table.view)),
            (Level::Critical, Level::Fine)
        );
    }
}

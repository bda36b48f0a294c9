//! Two gathers, and what the rows of a view did between them.
//!
//! Rates are differences. A counter that went backwards began anew, so all of it is new; a series that was not there before
//! has no rate yet, since nothing tells one that just began from one that has just got its name.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::name;
use super::table::{Row, Sum, Table};
use crate::point::{FieldValue, Name, Point, Timestamp};
use crate::schema::views::{Across, Column, Figure, How, Value, View};

/// The last gather, and the one before.
#[derive(Debug, Default)]
pub struct Sampler {
    before: Vec<Point>,
    points: Vec<Point>,
    /// For each of `points`, the one of its series in `before`.
    pairs: Vec<Option<usize>>,
    time: Option<Timestamp>,
    has_rates: bool,
}

impl Sampler {
    /// Takes the points of a gather. Those of an earlier time begin anew.
    pub fn push(&mut self, points: Vec<Point>) {
        let Some(time) = points.iter().map(|point| point.time).max() else { return };
        self.has_rates = self.time.is_some_and(|then| then < time);
        self.before = std::mem::replace(&mut self.points, points);
        self.time = Some(time);
        let before: HashMap<u64, usize> =
            self.before.iter().enumerate().map(|(at, point)| (hash(point), at)).collect();
        let pair = |point: &Point| {
            let at = *before.get(&hash(point))?;
            let other = &self.before[at];
            (other.measurement == point.measurement && other.tags == point.tags).then_some(at)
        };
        self.pairs = self.points.iter().map(pair).collect();
    }

    /// When the last gather was.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        self.time
    }

    /// The points of the last gather.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The name of the machine, which all points have.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.points.first()?.tag_value("host")
    }

    /// The name of the row of what has these tags, if it is of the view.
    #[must_use]
    pub fn name(view: &View, tags: &[(Name, Name)]) -> Option<String> {
        let mut name = String::new();
        name::put(view, tags, &mut name).then_some(name)
    }

    /// The rows of a view; `None` after the first gather, which has no rates.
    #[must_use]
    pub fn table(&self, view: &'static View) -> Option<Table> {
        let columns: Vec<&Column> = view.columns().collect();
        self.has_rates.then(|| Table { view, rows: self.rows(view, &columns) })
    }

    /// One column of a view, by row; nothing after the first gather.
    pub fn column(
        &self,
        view: &'static View,
        key: &str,
    ) -> impl Iterator<Item = (String, Option<f64>)> + use<> {
        let column = view.columns().find(|column| column.key == key).filter(|_| self.has_rates);
        let rows = column.map(|column| self.rows(view, &[column])).unwrap_or_default();
        rows.into_iter().map(|row| (row.name, row.values[0]))
    }

    /// By name.
    fn rows(&self, view: &'static View, columns: &[&'static Column]) -> Vec<Row> {
        let plan = Plan::of(view, columns);
        let mut rows = Rows { n_columns: columns.len(), ..Rows::default() };
        for makes_rows in [true, false] {
            for (point, pair) in self.points.iter().zip(&self.pairs) {
                let Some(figures) = plan.get(point) else { continue };
                if view.lists.contains(&point.measurement.as_str()) != makes_rows
                    || !name::put(view, &point.tags, &mut rows.name)
                {
                    continue;
                }
                let Some(row) = rows.entry(makes_rows) else { continue };
                let series = Series { point, before: pair.map(|at| &self.before[at]) };
                for (at, value) in figures {
                    series.add(value, &mut row[*at]);
                }
            }
        }
        rows.finish(columns)
    }
}

/// The columns to which points of a measurement add.
struct Plan(HashMap<&'static str, Vec<(usize, &'static Value)>>);

impl Plan {
    fn of(view: &View, columns: &[&'static Column]) -> Self {
        let mut plan: HashMap<&str, Vec<(usize, &Value)>> = HashMap::new();
        // One may make rows and add nothing to them.
        for name in view.lists {
            plan.entry(name).or_default();
        }
        for (at, column) in columns.iter().enumerate() {
            // Those of a share are of one measurement.
            if let Some(figure) = column.value.figures().next() {
                plan.entry(figure.measurement).or_default().push((at, &column.value));
            }
        }
        Self(plan)
    }

    fn get(&self, point: &Point) -> Option<&[(usize, &'static Value)]> {
        self.0.get(point.measurement.as_str()).map(Vec::as_slice)
    }
}

/// Rows by name.
#[derive(Default)]
struct Rows {
    n_columns: usize,
    /// That of the point at hand.
    name: String,
    places: HashMap<String, usize>,
    sums: Vec<Vec<Sum>>,
}

impl Rows {
    /// The row of `name`, made if it `may_begin` and is not there.
    fn entry(&mut self, may_begin: bool) -> Option<&mut Vec<Sum>> {
        let at = match self.places.get(self.name.as_str()) {
            Some(at) => *at,
            None if may_begin => {
                self.places.insert(self.name.clone(), self.sums.len());
                self.sums.push(vec![Sum::default(); self.n_columns]);
                self.sums.len() - 1
            }
            None => return None,
        };
        Some(&mut self.sums[at])
    }

    fn finish(self, columns: &[&Column]) -> Vec<Row> {
        let row = |(name, at): (String, usize)| {
            let values = columns.iter().zip(&self.sums[at]).map(|(column, sum)| sum.value(&column.value));
            Row { name, values: values.collect() }
        };
        let mut rows: Vec<Row> = self.places.into_iter().map(row).collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }
}

/// A point, and that of its series before.
struct Series<'a> {
    point: &'a Point,
    before: Option<&'a Point>,
}

impl Series<'_> {
    fn add(&self, value: &Value, sum: &mut Sum) {
        match value {
            Value::Of(figure) | Value::Rest(figure) => add(figure.across, &mut sum.part, self.figure(figure)),
            Value::Percent(part, whole) => {
                if let (Some(of), Some(all)) = (self.figure(part), self.figure(whole)) {
                    add(part.across, &mut sum.part, Some(of));
                    add(whole.across, &mut sum.whole, Some(all));
                }
            }
        }
    }

    /// What a figure is of this series alone.
    fn figure(&self, figure: &Figure) -> Option<f64> {
        let is_of = |(tag, value): &(&str, &str)| self.point.tag_value(tag).unwrap_or("") == *value;
        if !figure.only.iter().all(is_of) {
            return None;
        }
        let mut all = None;
        for field in figure.fields {
            let value = self.point.field_value(field).and_then(|value| match figure.how {
                How::Gauge => number(value),
                How::Rate => self.rate(value, field),
            });
            add(figure.across, &mut all, value);
        }
        all.map(|value| value * figure.scale)
    }

    /// What a counter grew by each second.
    fn rate(&self, value: &FieldValue, field: &str) -> Option<f64> {
        let (then, value) = (self.before?, number(value)?);
        // A field that is there once it counts something began at 0.
        let before = then.field_value(field).map_or(Some(0.0), number)?;
        let seconds = (self.point.time.0 - then.time.0) as f64 / 1e9;
        let grown = if before <= value { value - before } else { value };
        (seconds > 0.0).then(|| grown / seconds)
    }
}

fn add(across: Across, all: &mut Option<f64>, value: Option<f64>) {
    *all = match (*all, value) {
        (Some(a), Some(b)) => Some(if across == Across::Sum { a + b } else { a.max(b) }),
        (a, b) => a.or(b),
    };
}

/// Above 2^53 a counter loses its last bits, which no column shows.
fn number(value: &FieldValue) -> Option<f64> {
    match value {
        FieldValue::Float(value) => Some(*value),
        FieldValue::Int(value) => Some(*value as f64),
        FieldValue::UInt(value) => Some(*value as f64),
        FieldValue::Text(_) | FieldValue::Bool(_) => None,
    }
}

fn hash(point: &Point) -> u64 {
    let mut hasher = DefaultHasher::new();
    point.measurement.hash(&mut hasher);
    point.tags.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;

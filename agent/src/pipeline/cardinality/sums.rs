//! Points of several series that have become one: their sum. Pure.

use std::collections::HashMap;

use crate::point::{FieldValue, Name, Point};

/// Points that were added up, by series and time.
#[derive(Default)]
pub(super) struct Sums {
    sums: Vec<Sum>,
    /// The latest of a series and time.
    at: HashMap<(u64, i64), usize>,
}

struct Sum {
    point: Point,
    /// Where each field is: a point can have as many as fit into a line.
    fields: HashMap<Name, usize>,
}

impl Sum {
    fn of(point: Point) -> Self {
        let fields = point.fields.iter().zip(0..).map(|((key, _), at)| (key.clone(), at)).collect();
        Self { point, fields }
    }

    /// Whether each field has the type that it has here.
    fn takes(&self, point: &Point) -> bool {
        point.fields.iter().all(|(key, value)| {
            let at = self.fields.get(key);
            at.is_none_or(|at| {
                std::mem::discriminant(&self.point.fields[*at].1) == std::mem::discriminant(value)
            })
        })
    }

    fn add(&mut self, point: Point) {
        for (key, value) in point.fields {
            match self.fields.get(&key) {
                Some(at) => add(&mut self.point.fields[*at].1, value),
                None => {
                    self.fields.insert(key.clone(), self.point.fields.len());
                    self.point.fields.push((key, value));
                }
            }
        }
    }
}

/// Numbers are added; of texts and booleans the last one counts.
fn add(sum: &mut FieldValue, value: FieldValue) {
    match (sum, value) {
        (FieldValue::Int(sum), FieldValue::Int(value)) => *sum = sum.saturating_add(value),
        (FieldValue::UInt(sum), FieldValue::UInt(value)) => *sum = sum.saturating_add(value),
        (FieldValue::Float(sum), FieldValue::Float(value)) => *sum += value,
        (sum, value) => *sum = value,
    }
}

impl Sums {
    /// Adds a point of a series. One with a field of another type begins a point of its own: the server says what it takes.
    pub(super) fn add(&mut self, series: u64, point: Point) {
        let key = (series, point.time.0);
        match self.at.get(&key).and_then(|at| self.sums.get_mut(*at)).filter(|sum| sum.takes(&point)) {
            Some(sum) => sum.add(point),
            None => {
                self.at.insert(key, self.sums.len());
                self.sums.push(Sum::of(point));
            }
        }
    }

    /// The sums.
    pub(super) fn into_points(self) -> impl Iterator<Item = Point> {
        self.sums.into_iter().map(|sum| sum.point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Timestamp;

    #[test]
    fn numbers_of_one_series_and_time_are_added() {
        let point = |time| Point::new("m", Timestamp(time));
        let mut sums = Sums::default();
        sums.add(1, point(5).field("i", 2_i64).field("f", 0.5).field("s", "a"));
        sums.add(1, point(5).field("s", "b").field("i", 3_i64).field("u", 7_u64).field("b", true));
        sums.add(2, point(5).field("i", 100_i64));
        sums.add(1, point(6).field("i", 1_000_i64));
        sums.add(1, point(5).field("f", 0.25).field("u", u64::MAX));
        sums.add(1, point(5).field("i", 0.5));
        let points: Vec<Point> = sums.into_points().collect();
        let first = point(5).field("i", 5_i64).field("f", 0.75).field("s", "b").field("u", u64::MAX);
        assert_eq!(points[0], first.field("b", true));
        assert_eq!(points[1..3], [point(5).field("i", 100_i64), point(6).field("i", 1_000_i64)]);
        assert_eq!(points[3], point(5).field("i", 0.5), "of another type");
        assert_eq!(points.len(), 4);
    }
}

//! What a column was over the last gathers, for each row: what sparklines are drawn of. Pure.

use std::collections::{HashMap, VecDeque};

use crate::schema::views::{View, of_rows};
use crate::views::sampler::Sampler;

/// Gathers that are kept.
pub(super) const N_KEPT: usize = 120;

/// Those that a sparkline beside a row shows.
pub(super) const N_SHOWN: usize = 12;

/// The column.
const COLUMN: &str = "cpu";

/// A row's values, the oldest first. Of a gather that said nothing of it, 0.
pub(super) type Values = VecDeque<f32>;

/// The last values of each row of each view.
#[derive(Debug, Default)]
pub(super) struct History(HashMap<&'static str, HashMap<String, Values>>);

impl History {
    /// Takes the values of a gather. Rows that are gone are forgotten.
    pub(super) fn push(&mut self, sampler: &Sampler) {
        for view in of_rows() {
            let rows = self.0.entry(view.key).or_default();
            let before = std::mem::take(rows);
            let longest = before.values().map(VecDeque::len).max().unwrap_or(0).min(N_KEPT - 1);
            let mut before = before;
            for (name, value) in sampler.column(view, COLUMN) {
                let mut values =
                    before.remove(&name).unwrap_or_else(|| std::iter::repeat_n(0.0, longest).collect());
                if values.len() == N_KEPT {
                    values.pop_front();
                }
                values.push_back(value.unwrap_or(0.0) as f32);
                rows.insert(name, values);
            }
        }
    }

    /// Those of a row.
    pub(super) fn of(&self, view: &View, row: &str) -> Option<&Values> {
        self.0.get(view.key)?.get(row)
    }
}

/// The marks of a sparkline, from nothing to all.
const BARS: [&str; 2] = [" ▁▂▃▄▅▆▇█", " ..-:=+*#"];

/// The last values in as many characters, of which the highest is `most`.
pub(super) fn sparkline(
    values: impl DoubleEndedIterator<Item = f64>,
    width: usize,
    most: f64,
    is_unicode: bool,
) -> String {
    let bars: Vec<char> = BARS[usize::from(!is_unicode)].chars().collect();
    let bar = |value: f64| {
        // What there is at all can be seen.
        let share = if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 };
        bars[(share * (bars.len() - 1) as f64).ceil() as usize]
    };
    let mut line: Vec<char> = values.rev().take(width).map(bar).collect();
    line.resize(width, ' ');
    line.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::{Name, Point, Timestamp};
    use crate::schema::views::view;

    #[test]
    fn a_sparkline_has_the_latest_on_the_right() {
        let line = |values: &[f64], width| sparkline(values.iter().copied(), width, 8.0, true);
        assert_eq!(line(&[0.0, 8.0, 4.0, 0.1, 9.0], 4), "█▄▁█");
        assert_eq!(line(&[8.0], 3), "  █");
        assert_eq!(sparkline([0.0, 8.0, 1.0].into_iter(), 3, 8.0, false), " #.");
        assert_eq!(sparkline([0.0, 1.0].into_iter(), 2, 0.0, true), "  ");
    }

    #[test]
    fn rows_have_one_value_a_gather_and_are_forgotten_when_they_are_gone() {
        let (mut history, mut sampler) = (History::default(), Sampler::default());
        let mut gather = |second: i64, rows: &[&str]| {
            let points = rows.iter().map(|name| {
                let point = Point::new("cgroup_cpu", Timestamp(second * 1_000_000_000))
                    .tag("cgroup", Name::new(name));
                point.field("usage_ns", second * 500_000_000)
            });
            sampler.push(points.collect());
            history.push(&sampler);
            let all = view("all").unwrap();
            ["/a", "/b"]
                .map(|row| history.of(all, row).map(|values| values.iter().copied().collect::<Vec<_>>()))
        };
        gather(1, &["/a"]);
        assert_eq!(gather(2, &["/a"])[0], Some(vec![50.0]));
        assert_eq!(gather(3, &["/a", "/b"]), [Some(vec![50.0, 50.0]), Some(vec![0.0, 0.0])]);
        assert_eq!(gather(4, &["/b"]), [None, Some(vec![0.0, 0.0, 50.0])]);
        for second in 5..200 {
            gather(second, &["/b"]);
        }
        assert_eq!(gather(200, &["/b"])[1].as_ref().map(Vec::len), Some(N_KEPT));
    }
}

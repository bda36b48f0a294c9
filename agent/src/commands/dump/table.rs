//! The table of `seismograf dump`: one row per container, unit or cgroup, with rates per second.
//!
//! Pure: points in, text out.

use super::layout::{Frame, Screen};
use crate::cli::Sort;
use crate::point::Point;
use crate::schema::views::{BUSY, view};
use crate::views::machine::Machine;
use crate::views::sampler::Sampler;
use crate::views::table::Order;

/// The state from one gather to the next.
#[derive(Debug)]
pub(super) struct DumpTable {
    order: Order,
    sampler: Sampler,
}

impl DumpTable {
    pub(super) fn new(sort: Sort) -> Self {
        Self { order: order(sort), sampler: Sampler::default() }
    }

    /// The text for these points; `None` for the first gather, which has no rates.
    pub(super) fn render(&mut self, points: Vec<Point>, screen: Screen) -> Option<String> {
        self.sampler.push(points);
        let mut table = self.sampler.table(view("all")?)?;
        table.sort(self.order);
        let machine = Machine::of(&self.sampler);
        Some(Frame { heading: machine.heading(), has_losses: machine.has_losses(), table }.draw(screen))
    }
}

fn order(sort: Sort) -> Order {
    match sort {
        Sort::Busy => Order::Weighted(BUSY),
        Sort::Cpu => Order::Column("cpu"),
        Sort::Mem => Order::Column("mem"),
        Sort::Io => Order::Weighted(&[("read", 1.0), ("write", 1.0)]),
        Sort::Net => Order::Weighted(&[("rx", 1.0), ("tx", 1.0)]),
        Sort::Name => Order::Name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::{Name, Timestamp};

    const TEXT: Screen = Screen { width: 120, height: None, is_unicode: true };

    fn at(seconds: i64, points: &[(&str, i64)]) -> Vec<Point> {
        let point = |(cgroup, usage_ns): &(&str, i64)| {
            Point::new("cgroup_cpu", Timestamp(seconds * 1_000_000_000))
                .tag("cgroup", Name::new(cgroup))
                .field("usage_ns", *usage_ns)
                .field("context_switches", usage_ns / 1_000_000)
        };
        points.iter().map(point).collect()
    }

    #[test]
    fn shows_rates_with_the_busiest_first() {
        let mut table = DumpTable::new(Sort::Busy);
        assert_eq!(table.render(at(1, &[("/a", 0), ("/b", 0)]), TEXT), None);
        let text = table.render(at(3, &[("/a", 20_000_000), ("/b", 1_000_000_000)]), TEXT).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][..2], ["NAME", "(100%"]);
        assert_eq!(lines[2], ["/b", "50.0", "-", "-", "-", "-", "-", "500", "-", "-", "-", "-"]);
        assert_eq!(lines[3][..2], ["/a", "1.0"]);
    }

    #[test]
    fn a_counter_that_went_backwards_counts_as_new() {
        let mut table = DumpTable::new(Sort::Busy);
        table.render(at(1, &[("/a", 5_000_000_000)]), TEXT);
        let text = table.render(at(2, &[("/a", 1_000_000_000)]), TEXT).unwrap();
        assert!(text.contains("100.0"), "{text}");
    }

    #[test]
    fn a_container_has_its_name_and_two_of_one_name_their_ids() {
        let mut table = DumpTable::new(Sort::Busy);
        let points = |seconds| {
            let mut points = at(seconds, &[("/a", 5_000_000_000 * seconds), ("/b", 500_000_000 * seconds)]);
            for (point, id) in points.iter_mut().zip(["0123456789abcdef", "fedcba9876543210"]) {
                point.tags.clear();
                point.set_tag("container_name", "web");
                point.set_tag("container_id", id);
            }
            points
        };
        table.render(points(1), TEXT);
        let text = table.render(points(2), TEXT).unwrap();
        let names: Vec<Vec<&str>> =
            text.lines().skip(2).map(|line| line.split_whitespace().take(3).collect()).collect();
        assert_eq!(names[..2], [["web", "0123456789ab", "500.0"], ["web", "fedcba987654", "50.0"]]);
    }
    #[test]
    fn a_row_has_its_memory_and_can_be_sorted_by_anything() {
        let points = |seconds: i64| {
            let mut points = at(seconds, &[("/a", 9_000_000 * seconds), ("/b", 0), ("/c", 0)]);
            let time = points[0].time;
            for (cgroup, bytes, written, sent) in
                [("/a", 1_i64, 0_i64, 0_i64), ("/b", 3 << 20, seconds, 0), ("/c", 2, 0, seconds)]
            {
                let point = |measurement: &'static str| Point::new(measurement, time).tag("cgroup", cgroup);
                points.push(point("cgroup_mem").field("working_set_bytes", bytes));
                points.push(point("cgroup_blkio").field("write_bytes", written));
                points.push(point("cgroup_net").field("tx_bytes", sent));
            }
            points
        };
        for (sort, first) in [
            (Sort::Busy, "/a"),
            (Sort::Cpu, "/a"),
            (Sort::Mem, "/b"),
            (Sort::Io, "/b"),
            (Sort::Net, "/c"),
            (Sort::Name, "/a"),
        ] {
            let mut table = DumpTable::new(sort);
            table.render(points(1), TEXT);
            let text = table.render(points(2), TEXT).unwrap();
            let row = text.lines().nth(2).unwrap();
            assert!(row.starts_with(first), "{sort:?}: {text}");
            assert!(text.contains(" 3MiB "), "{text}");
        }
    }
}

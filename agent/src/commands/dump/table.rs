//! The rows of `seismograf dump`: one per container, unit or cgroup, with rates per second.
//!
//! Pure: points in, text out. Rates are differences of two gathers; a counter that went backwards counts as new.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use super::layout::{Frame, Screen, bytes, count};
use super::row::Row;
use crate::cli::Sort;
use crate::point::{FieldValue, Point, Timestamp};

/// Counters by series and field.
type Counters = HashMap<(String, String), i64>;

/// The state from one gather to the next.
#[derive(Debug)]
pub(super) struct Table {
    sort: Sort,
    last: Option<(Timestamp, Counters)>,
}

impl Table {
    pub(super) fn new(sort: Sort) -> Self {
        Self { sort, last: None }
    }

    /// The text for these points; `None` for the first gather, which has no rates.
    pub(super) fn render(&mut self, points: &[Point], screen: Screen) -> Option<String> {
        let time = points.iter().map(|point| point.time).max()?;
        let now = counters(points);
        let (then, before) = self.last.replace((time, now.clone()))?;
        let seconds = (time.0 - then.0) as f64 / 1e9;
        if seconds <= 0.0 {
            return None;
        }
        let rate = |key: &str, field: &str| {
            let key = (key.to_owned(), field.to_owned());
            let value = now.get(&key).copied().unwrap_or(0);
            let before = before.get(&key).copied().filter(|before| *before <= value).unwrap_or(0);
            (value - before) as f64 / seconds
        };
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for point in points {
            if let Some(name) = name(point) {
                add(rows.entry(name).or_default(), point, &rate);
            }
        }
        let mut rows: Vec<(String, Row)> = rows.into_iter().collect();
        rows.sort_by(|(_, a), (_, b)| b.weight(self.sort).total_cmp(&a.weight(self.sort)));
        let frame = Frame { heading: heading(points, &rate), has_losses: has_losses(points, &rate), rows };
        Some(frame.draw(screen))
    }
}

/// Adds a point to the row that it belongs to.
fn add(row: &mut Row, point: &Point, rate: &impl Fn(&str, &str) -> f64) {
    let key = series(point);
    let value = |field| point.field_value(field).and_then(number).unwrap_or(0.0);
    match &*point.measurement {
        "cgroup_cpu" => {
            row.cpu_percent += rate(&key, "usage_ns") / 1e7;
            row.switches += rate(&key, "context_switches");
        }
        "cgroup_mem" => row.memory_bytes += value("working_set_bytes"),
        "cgroup_blkio" => {
            row.read_bytes += rate(&key, "read_bytes");
            row.write_bytes += rate(&key, "write_bytes");
            row.io_p99_us = row.io_p99_us.max(value("read_p99_us")).max(value("write_p99_us"));
        }
        "cgroup_net" => {
            row.rx_bytes += rate(&key, "rx_bytes");
            row.tx_bytes += rate(&key, "tx_bytes");
            row.packets += rate(&key, "rx_packets") + rate(&key, "tx_packets");
        }
        _ => {}
    }
}

fn number(value: &FieldValue) -> Option<f64> {
    match value {
        FieldValue::Float(value) => Some(*value),
        FieldValue::Int(value) => Some(*value as f64),
        FieldValue::UInt(value) => Some(*value as f64),
        _ => None,
    }
}

/// Every integer of the points.
fn counters(points: &[Point]) -> Counters {
    let mut counters = HashMap::new();
    for point in points {
        for (field, value) in &point.fields {
            let value = match value {
                FieldValue::Int(value) => *value,
                FieldValue::UInt(value) => i64::try_from(*value).unwrap_or(i64::MAX),
                _ => continue,
            };
            counters.insert((series(point), field.to_string()), value);
        }
    }
    counters
}

/// The identity of a point's series: measurement and tags.
fn series(point: &Point) -> String {
    let mut series = point.measurement.to_string();
    for (key, value) in &point.tags {
        let _ = write!(series, "\0{key}\0{value}");
    }
    series
}

/// The name of a row for people: pod and container where they are known, otherwise the path.
fn name(point: &Point) -> Option<String> {
    if !matches!(&*point.measurement, "cgroup_cpu" | "cgroup_mem" | "cgroup_blkio" | "cgroup_net") {
        return None;
    }
    let parts: Vec<&str> =
        ["namespace", "pod_name", "container_name"].iter().filter_map(|tag| point.tag_value(tag)).collect();
    if point.tag_value("cgroup").is_none() && !parts.is_empty() {
        let id = point.tag_value("container_id").map(short_id);
        let id = id.map(|id| format!(" {id}"));
        return Some(parts.join("/") + id.as_deref().unwrap_or_default());
    }
    point.tag_value("cgroup").map(with_short_ids)
}

/// What `docker ps` shows of an id.
fn short_id(id: &str) -> String {
    id.chars().take(12).collect()
}

/// A path in which the ids of containers are as `docker ps` shows them.
fn with_short_ids(path: &str) -> String {
    const ID_DIGITS: usize = 64;
    let mut short = String::new();
    for part in path.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        if word.len() == ID_DIGITS {
            short += &short_id(word);
            short += &part[word.len()..];
        } else {
            short += part;
        }
    }
    short
}

/// The points of a measurement; with a tag, only those of this tag value.
fn find<'a>(
    points: &'a [Point],
    measurement: &str,
    tag: &str,
    value: &str,
) -> impl Iterator<Item = &'a Point> {
    let of = move |point: &&Point| {
        point.measurement == measurement && (tag.is_empty() || point.tag_value(tag) == Some(value))
    };
    points.iter().filter(of).collect::<Vec<_>>().into_iter()
}

/// The machine, in parts: CPU, memory, load, records, and the host's name.
fn heading(points: &[Point], rate: &impl Fn(&str, &str) -> f64) -> Vec<String> {
    let value = |measurement: &str, tag: &str, tagged: &str, field: &str| {
        find(points, measurement, tag, tagged).find_map(|point| number(point.field_value(field)?))
    };
    let mut parts = Vec::new();
    if let Some(idle) = value("cpu", "cpu", "cpu-total", "usage_idle") {
        let cpus = find(points, "cpu", "", "").filter_map(|point| point.tag_value("cpu"));
        let n_cpus = cpus.filter(|cpu| *cpu != "cpu-total").collect::<BTreeSet<_>>().len();
        let of = if n_cpus > 0 { format!(" of {n_cpus} CPUs") } else { String::new() };
        parts.push(format!("cpu {:.1}%{of}", 100.0 - idle));
    }
    if let (Some(used), Some(total)) = (value("mem", "", "", "used"), value("mem", "", "", "total")) {
        parts.push(format!("mem {} of {}", bytes(used), bytes(total)));
    }
    if let Some(load) = value("system", "", "", "load1") {
        parts.push(format!("load {load:.2}"));
    }
    let records: f64 =
        find(points, "seismograf", "part", "ring").map(|point| rate(&series(point), "records")).sum();
    parts.push(format!("records {}/s", count(records)));
    parts.extend(points.first().and_then(|point| point.tag_value("host")).map(str::to_owned));
    parts
}

/// Whether the kernel had no room for some amounts.
fn has_losses(points: &[Point], rate: &impl Fn(&str, &str) -> f64) -> bool {
    let losses = [
        ("cpu", "overflow_ns"),
        ("blkio", "overflow_bytes"),
        ("net", "overflow_rx_bytes"),
        ("net", "overflow_tx_bytes"),
    ];
    losses.into_iter().any(|(part, field)| {
        find(points, "seismograf", "part", part).any(|point| rate(&series(point), field) > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Screen = Screen { width: 120, height: None, is_unicode: true };

    fn at(seconds: i64, points: &[(&str, i64)]) -> Vec<Point> {
        let point = |(cgroup, usage_ns): &(&str, i64)| {
            Point::new("cgroup_cpu", Timestamp(seconds * 1_000_000_000))
                .tag("cgroup", *cgroup)
                .field("usage_ns", *usage_ns)
                .field("context_switches", usage_ns / 1_000_000)
        };
        points.iter().map(point).collect()
    }

    #[test]
    fn shows_rates_with_the_busiest_first() {
        let mut table = Table::new(Sort::Busy);
        assert_eq!(table.render(&at(1, &[("/a", 0), ("/b", 0)]), TEXT), None);
        let text = table.render(&at(3, &[("/a", 20_000_000), ("/b", 1_000_000_000)]), TEXT).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][..2], ["NAME", "(100%"]);
        assert_eq!(lines[2], ["/b", "50.0", "-", "-", "-", "-", "-", "500", "-"]);
        assert_eq!(lines[3][..2], ["/a", "1.0"]);
    }

    #[test]
    fn a_counter_that_went_backwards_counts_as_new() {
        let mut table = Table::new(Sort::Busy);
        table.render(&at(1, &[("/a", 5_000_000_000)]), TEXT);
        let text = table.render(&at(2, &[("/a", 1_000_000_000)]), TEXT).unwrap();
        assert!(text.contains("100.0"), "{text}");
    }

    #[test]
    fn a_container_has_its_name_and_two_of_one_name_their_ids() {
        let mut table = Table::new(Sort::Busy);
        let points = |seconds| {
            let mut points = at(seconds, &[("/a", 5_000_000_000 * seconds), ("/b", 500_000_000 * seconds)]);
            for (point, id) in points.iter_mut().zip(["0123456789abcdef", "fedcba9876543210"]) {
                point.tags.clear();
                point.set_tag("container_name", "web");
                point.set_tag("container_id", id);
            }
            points
        };
        table.render(&points(1), TEXT);
        let text = table.render(&points(2), TEXT).unwrap();
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
            let mut table = Table::new(sort);
            table.render(&points(1), TEXT);
            let text = table.render(&points(2), TEXT).unwrap();
            let row = text.lines().nth(2).unwrap();
            assert!(row.starts_with(first), "{sort:?}: {text}");
            assert!(text.contains(" 3MiB "), "{text}");
        }
    }

    #[test]
    fn the_heading_says_of_how_many_cpus_the_machine_is() {
        let cpu = |name, idle: f64| {
            Point::new("cpu", Timestamp(1)).tag("cpu", name).field("usage_idle", idle).field("x", 1_i64)
        };
        let points = [cpu("cpu0", 10.0), cpu("cpu1", 90.0), cpu("cpu-total", 50.0)];
        assert_eq!(heading(&points, &|_, _| 0.0), ["cpu 50.0% of 2 CPUs", "records -/s"]);
    }

    #[test]
    fn ids_in_paths_are_as_docker_shows_them() {
        let id = "0123456789abcdef".repeat(4);
        let path = format!("/system.slice/docker-{id}.scope/init");
        assert_eq!(with_short_ids(&path), "/system.slice/docker-0123456789ab.scope/init");
        assert_eq!(with_short_ids(&format!("/docker/{id}")), "/docker/0123456789ab");
        assert_eq!(with_short_ids("/user.slice/äbc"), "/user.slice/äbc");
    }
}

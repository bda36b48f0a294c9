//! The table of `seismograf dump`: one line per cgroup, busiest first, rates per second.
//!
//! Pure: points in, text out. Rates are differences of two gathers; a counter that went backwards counts as new.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use crate::point::{FieldValue, Point, Timestamp};

/// The numeric columns from the left: title and width.
const COLUMNS: [(&str, usize); 8] = [
    ("CPU%", 7),
    ("SWITCH/s", 9),
    ("READ/s", 8),
    ("WRITE/s", 8),
    ("IO p99", 8),
    ("RX/s", 8),
    ("TX/s", 8),
    ("PKT/s", 8),
];
/// The width of the table when there is no terminal.
const DEFAULT_WIDTH: usize = 120;
/// A name is never shortened to fewer columns than this.
const NAME_WIDTH: usize = 16;

/// Counters by series and field.
type Counters = HashMap<(String, String), i64>;

/// The state from one gather to the next.
#[derive(Debug, Default)]
pub(super) struct Table {
    last: Option<(Timestamp, Counters)>,
}

/// One cgroup's line.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    cpu_percent: f64,
    switches: f64,
    read_bytes: f64,
    write_bytes: f64,
    io_p99_us: f64,
    rx_bytes: f64,
    tx_bytes: f64,
    packets: f64,
}

impl Row {
    /// The sort key of the rows: a core's worth of CPU weighs as much as 100 MB/s.
    fn weight(&self) -> f64 {
        let bytes = self.read_bytes + self.write_bytes + self.rx_bytes + self.tx_bytes;
        self.cpu_percent + bytes / 1e6
    }
}

impl Table {
    /// The text for these points; `None` for the first gather, which has no rates. With the size of a terminal, the terminal is
    /// cleared first, and only what fits is shown.
    pub(super) fn render(&mut self, points: &[Point], terminal: Option<(usize, usize)>) -> Option<String> {
        let time = points.iter().map(|point| point.time).max()?;
        let counters = counters(points);
        let (then, before) =
            self.last.replace((time, counters)).map_or((None, HashMap::new()), |(t, c)| (Some(t), c));
        let seconds = (time.0 - then?.0) as f64 / 1e9;
        if seconds <= 0.0 {
            return None;
        }
        let now = self.last.as_ref().map(|(_, counters)| counters)?;
        let rate = |key: &str, field: &str| {
            let key = (key.to_owned(), field.to_owned());
            let value = now.get(&key).copied().unwrap_or(0);
            let before = before.get(&key).copied().filter(|before| *before <= value).unwrap_or(0);
            (value - before) as f64 / seconds
        };
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for point in points {
            let Some(name) = name(point) else { continue };
            let key = series(point);
            let row = rows.entry(name).or_default();
            match &*point.measurement {
                "cgroup_cpu" => {
                    row.cpu_percent += rate(&key, "usage_ns") / 1e7;
                    row.switches += rate(&key, "context_switches");
                }
                "cgroup_blkio" => {
                    row.read_bytes += rate(&key, "read_bytes");
                    row.write_bytes += rate(&key, "write_bytes");
                    for field in ["read_p99_us", "write_p99_us"] {
                        if let Some(FieldValue::Float(p99)) = point.field_value(field) {
                            row.io_p99_us = row.io_p99_us.max(*p99);
                        }
                    }
                }
                "cgroup_net" => {
                    row.rx_bytes += rate(&key, "rx_bytes");
                    row.tx_bytes += rate(&key, "tx_bytes");
                    row.packets += rate(&key, "rx_packets") + rate(&key, "tx_packets");
                }
                _ => {}
            }
        }
        let mut rows: Vec<(String, Row)> = rows.into_iter().collect();
        rows.sort_by(|(_, a), (_, b)| b.weight().total_cmp(&a.weight()));
        Some(draw(&heading(points, &rate), &rows, terminal))
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
    if !matches!(&*point.measurement, "cgroup_cpu" | "cgroup_blkio" | "cgroup_net") {
        return None;
    }
    let parts: Vec<&str> =
        ["namespace", "pod_name", "container_name"].iter().filter_map(|tag| point.tag_value(tag)).collect();
    if point.tag_value("cgroup").is_none() && !parts.is_empty() {
        let id = point.tag_value("container_id").map(|id| id.chars().take(12).collect::<String>());
        let id = id.map(|id| format!(" {id}"));
        return Some(parts.join("/") + id.as_deref().unwrap_or_default());
    }
    point.tag_value("cgroup").map(str::to_owned)
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

/// The machine in one or two lines: CPU, memory, load, and what the probes lost.
fn heading(points: &[Point], rate: &impl Fn(&str, &str) -> f64) -> String {
    let mut text = String::new();
    let float = |measurement: &str, tag: &str, value: &str, field: &str| {
        find(points, measurement, tag, value).find_map(|point| match point.field_value(field)? {
            FieldValue::Float(value) => Some(*value),
            FieldValue::Int(value) => Some(*value as f64),
            FieldValue::UInt(value) => Some(*value as f64),
            _ => None,
        })
    };
    if let Some(host) = points.first().and_then(|point| point.tag_value("host")) {
        let _ = write!(text, "{host}  ");
    }
    if let Some(idle) = float("cpu", "cpu", "cpu-total", "usage_idle") {
        let _ = write!(text, "cpu {:.1}%  ", 100.0 - idle);
    }
    if let (Some(used), Some(total)) = (float("mem", "", "", "used"), float("mem", "", "", "total")) {
        let _ = write!(text, "mem {} of {}  ", bytes(used), bytes(total));
    }
    if let Some(load) = float("system", "", "", "load1") {
        let _ = write!(text, "load {load:.2}  ");
    }
    let mut lost = 0.0;
    for (part, field) in [
        ("cpu", "overflow_ns"),
        ("blkio", "overflow_bytes"),
        ("net", "overflow_rx_bytes"),
        ("net", "overflow_tx_bytes"),
    ] {
        lost +=
            find(points, "seismograf", "part", part).map(|point| rate(&series(point), field)).sum::<f64>();
    }
    let records: f64 =
        find(points, "seismograf", "part", "ring").map(|point| rate(&series(point), "records")).sum();
    let _ = write!(text, "records {}/s", count(records));
    if lost > 0.0 {
        text.push_str("  SOME ROWS WERE LOST: see overflow_* in measurement seismograf");
    }
    text
}

fn draw(heading: &str, rows: &[(String, Row)], terminal: Option<(usize, usize)>) -> String {
    let (width, height) = terminal.unwrap_or((DEFAULT_WIDTH, usize::MAX));
    let numbers: usize = COLUMNS.iter().map(|(_, width)| width + 1).sum();
    let longest = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let name_width = width.saturating_sub(numbers).min(longest).max(NAME_WIDTH);
    let mut text = String::new();
    if terminal.is_some() {
        // Move home, then clear each line as it is written and the rest at the end: this does not flicker.
        text.push_str("\x1b[H");
    }
    let end = if terminal.is_some() { "\x1b[K\n" } else { "\n" };
    let _ = write!(text, "{heading}{end}{:<name_width$}", "CGROUP");
    for (title, width) in COLUMNS {
        let _ = write!(text, " {title:>width$}");
    }
    text.push_str(end);
    // Two lines are used already, and one is for the cursor.
    for (name, row) in rows.iter().take(height.saturating_sub(3)) {
        let cells = [
            format!("{:.1}", row.cpu_percent),
            count(row.switches),
            bytes(row.read_bytes),
            bytes(row.write_bytes),
            if row.io_p99_us > 0.0 { micros(row.io_p99_us) } else { String::new() },
            bytes(row.rx_bytes),
            bytes(row.tx_bytes),
            count(row.packets),
        ];
        let _ = write!(text, "{:<name_width$}", shortened(name, name_width));
        for ((_, width), cell) in COLUMNS.iter().zip(cells) {
            let _ = write!(text, " {cell:>width$}");
        }
        text.push_str(end);
    }
    if terminal.is_some() {
        text.push_str("\x1b[J");
    } else {
        text.push('\n');
    }
    text
}

/// Shortened from the left, because the end of a path tells cgroups apart; control characters do not reach the terminal.
fn shortened(name: &str, width: usize) -> String {
    let clean: Vec<char> = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if clean.len() <= width {
        return clean.into_iter().collect();
    }
    let tail = &clean[clean.len() - width.saturating_sub(1)..];
    std::iter::once('…').chain(tail.iter().copied()).collect()
}

/// Bytes with a unit, in at most seven characters; `-` for zero.
fn bytes(value: f64) -> String {
    scaled(value, &["B", "KiB", "MiB", "GiB", "TiB"], 1024.0)
}

/// A count with a unit.
fn count(value: f64) -> String {
    scaled(value, &["", "k", "M", "G"], 1000.0)
}

/// A time in microseconds.
fn micros(value: f64) -> String {
    scaled(value, &["us", "ms", "s"], 1000.0)
}

fn scaled(mut value: f64, units: &[&str], step: f64) -> String {
    let mut unit = 0;
    if value < 0.05 {
        return "-".into();
    }
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    if value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}{}", units[unit])
    } else {
        format!("{value:.1}{}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut table = Table::default();
        assert_eq!(table.render(&at(1, &[("/a", 0), ("/b", 0)]), None), None);
        let text = table.render(&at(3, &[("/a", 20_000_000), ("/b", 1_000_000_000)]), None).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][..2], ["CGROUP", "CPU%"]);
        assert_eq!(lines[2], ["/b", "50.0", "500", "-", "-", "-", "-", "-"]);
        assert_eq!(lines[3][..3], ["/a", "1.0", "10"]);
    }

    #[test]
    fn a_counter_that_went_backwards_counts_as_new() {
        let mut table = Table::default();
        table.render(&at(1, &[("/a", 5_000_000_000)]), None);
        let text = table.render(&at(2, &[("/a", 1_000_000_000)]), None).unwrap();
        assert!(text.contains("100.0"), "{text}");
    }

    #[test]
    fn a_container_has_its_name_and_two_of_one_name_their_ids() {
        let mut table = Table::default();
        let points = |seconds| {
            let mut points = at(seconds, &[("/a", 5_000_000_000 * seconds), ("/b", 500_000_000 * seconds)]);
            for (point, id) in points.iter_mut().zip(["0123456789abcdef", "fedcba9876543210"]) {
                point.tags.clear();
                point.set_tag("container_name", "web");
                point.set_tag("container_id", id);
            }
            points
        };
        table.render(&points(1), None);
        let text = table.render(&points(2), None).unwrap();
        let names: Vec<Vec<&str>> =
            text.lines().skip(2).map(|line| line.split_whitespace().take(3).collect()).collect();
        assert_eq!(names[..2], [["web", "0123456789ab", "500.0"], ["web", "fedcba987654", "50.0"]]);
    }

    #[test]
    fn fits_the_terminal() {
        let mut table = Table::default();
        let many: Vec<(String, i64)> =
            (0..50).map(|i| (format!("/kubepods/{}/{i}", "x".repeat(100)), i)).collect();
        let points: Vec<(&str, i64)> = many.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        table.render(&at(1, &points), Some((100, 10)));
        let text = table.render(&at(2, &points), Some((100, 10))).unwrap();
        assert_eq!(text.matches('\n').count(), 9);
        let plain = text.replace("\x1b[H", "").replace("\x1b[K", "").replace("\x1b[J", "");
        assert!(plain.lines().all(|line| line.chars().count() <= 100), "{plain}");
        assert!(plain.contains('…'));
    }

    #[test]
    fn units() {
        assert_eq!(bytes(0.0), "-");
        assert_eq!(bytes(1536.0), "1.5KiB");
        assert_eq!(bytes(1024.0 * 1024.0 * 200.0), "200MiB");
        assert_eq!(count(50_000.0), "50k");
        assert_eq!(micros(2_500.0), "2.5ms");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(shortened("/a\x1b[2J", 20), "/a?[2J");
    }
}

//! What is looked at: the rows that people know (containers, pods, workloads, units, the machine) and the columns of each.
//!
//! Owns which fields a figure is made of and how, its unit, and from where on it is a trouble. The table of `dump`, the
//! screen `top`, the page of `serve`, the dashboards and a section of `docs/metrics.md` are all made from it, so that a new
//! field is added once. How two gathers become figures is in the module `views` at the crate's top; here is only what a
//! query to a database and that module have to agree on.

mod columns;
mod kinds;

use std::fmt::Write;

use self::columns::{AGENT, MACHINE, OF_CGROUPS, OF_PODS};
pub use self::kinds::{Across, Column, Figure, How, Level, Thresholds, Unit, Value, View};

/// The measurements of a row of cgroups.
const CGROUP_POINTS: &[&str] = &["cgroup_cpu", "cgroup_mem", "cgroup_blkio", "cgroup_net"];
/// The measurements of a row of pods.
const POD_POINTS: &[&str] = &["pod_cpu", "pod_mem", "pod_blkio", "pod_net"];
/// The name of a container.
const CONTAINER: &[&str] = &["namespace", "pod_name", "container_name", "container_id"];

/// Every view: first what are rows of the machine, then the machine and the agent, which are one row each.
pub const VIEWS: &[View] = &[
    View {
        key: "all",
        title: "All",
        help: "Each container, each systemd unit that is not within one, and each cgroup that is neither. What they use adds up \
               to what the machine does.",
        has: &[],
        identities: &[&["cgroup"], CONTAINER],
        lists: CGROUP_POINTS,
        columns: OF_CGROUPS,
    },
    View {
        key: "containers",
        title: "Containers",
        help: "Each container, by namespace, pod and its name; by its path where it has none.",
        has: &["container_name", "runtime"],
        identities: &[CONTAINER, &["cgroup"]],
        lists: CGROUP_POINTS,
        columns: OF_CGROUPS,
    },
    View {
        key: "pods",
        title: "Pods",
        help: "Each pod of Kubernetes: its containers together, also those that ended.",
        has: &[],
        identities: &[&["namespace", "pod_name"], &["cgroup"]],
        lists: POD_POINTS,
        columns: OF_PODS,
    },
    View {
        key: "workloads",
        title: "Workloads",
        help: "What made pods, such as `deployment/web`: all its pods on this machine together.",
        has: &["workload"],
        identities: &[&["namespace", "workload"]],
        lists: POD_POINTS,
        columns: OF_PODS,
    },
    View {
        key: "units",
        title: "Units",
        help: "Each unit of the machine's systemd, with the containers that it started itself.",
        has: &["unit"],
        identities: &[&["unit"]],
        lists: CGROUP_POINTS,
        columns: OF_CGROUPS,
    },
    View {
        key: "machine",
        title: "Machine",
        help: "The machine as a whole, from the host inputs.",
        has: &[],
        identities: &[&["host"], &[]],
        lists: &["cpu", "mem", "system", "disk", "diskio", "net"],
        columns: MACHINE,
    },
    View {
        key: "agent",
        title: "Agent",
        help: "The agent itself, and what it lost.",
        has: &[],
        identities: &[&["host"], &[]],
        lists: &["seismograf"],
        columns: AGENT,
    },
];

/// The views of what is on the machine: all but the machine as a whole, and the agent.
pub fn of_rows() -> impl Iterator<Item = &'static View> {
    VIEWS.iter().filter(|view| !matches!(view.key, "machine" | "agent"))
}

/// What makes a row busy, by column and weight: a core's worth of CPU weighs as much as 100 MB/s.
pub const BUSY: &[(&str, f64)] = &[("cpu", 1.0), ("rx", 1e-6), ("tx", 1e-6), ("read", 1e-6), ("write", 1e-6)];

/// Fields of rows that no column shows, each with the reason.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("usage_percent", "what `usage_ns` grew by, which `cpu` is made of"),
    ("throttled_ns", "grows with the number of threads that waited: `throttled` says how often"),
    ("read_p50_us", "the median is fine while requests wait: `io_p99`"),
    ("write_p50_us", "likewise"),
    ("read_time_ns", "the mean latency hides what `io_p99` shows"),
    ("write_time_ns", "likewise"),
    ("discard_bytes", "no data moves"),
    ("discards", "likewise"),
    ("tx_dropped_bytes", "`refused` counts the packets"),
    ("usage_bytes", "with page cache that is given back at need: `mem` is what counts against the limit"),
    ("limit_bytes", "part of `mem_limit`"),
    ("page_faults", "most cost next to nothing: `major_faults`"),
    ("some_avg60", "`some_avg10` tells it sooner"),
    ("some_avg300", "likewise"),
    ("some_total_us", "likewise"),
    ("full_avg10", "part of `some_avg10`"),
    ("full_avg60", "likewise"),
    ("full_avg300", "likewise"),
    ("full_total_us", "likewise"),
];

/// The view of this key.
#[must_use]
pub fn view(key: &str) -> Option<&'static View> {
    VIEWS.iter().find(|view| view.key == key)
}

/// The section of `docs/metrics.md` about what is looked at.
pub(super) fn markdown() -> String {
    let mut page = "\
\n## What is looked at: containers, pods, workloads, units

The columns of `dump`, `top`, `serve` and the dashboards, and the fields that they are made of. `Δ` is what a counter grew by \
each second; of several series in one row (disks, instances) it is the sum, or where `max` says so the highest. A value is \
marked from `warn` and from `critical` on.
"
    .to_owned();
    for view in VIEWS {
        let names: Vec<String> =
            view.identities.iter().filter(|tags| !tags.is_empty()).map(|tags| quoted(tags)).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "\n### {}\n\n`{}`: {} A row is told apart by {}.",
            view.title,
            view.key,
            view.help,
            names.join(", else by ")
        );
        let first = VIEWS.iter().find(|other| other.lists == view.lists);
        if let Some(first) = first.filter(|first| first.key != view.key) {
            let _ = writeln!(page, "\nColumns are those of `{}`.", first.key);
            continue;
        }
        page.push_str("\n| column | | unit | of | | warn | critical |\n|---|---|---|---|---|---|---|\n");
        for Column { key, title, unit, help, value, thresholds } in view.columns() {
            let of = value.describe();
            let [warn, critical] =
                thresholds.map_or_else(Default::default, |t| [t.warn, t.critical].map(|t| t.to_string()));
            let unit = unit.name();
            let _ = writeln!(page, "| `{key}` | {title} | {unit} | {of} | {help} | {warn} | {critical} |");
        }
    }
    page.push_str("\nNot shown of rows:\n\n");
    for (field, why) in LEFT_OUT {
        let _ = writeln!(page, "- `{field}`: {why}");
    }
    page
}

fn quoted(tags: &[&str]) -> String {
    tags.iter().map(|tag| format!("`{tag}`")).collect::<Vec<_>>().join(", ")
}

impl Value {
    fn describe(&self) -> String {
        match self {
            Self::Of(figure) => figure.describe(),
            Self::Percent(part, whole) => format!("{} of {}", part.describe(), whole.describe()),
            Self::Rest(figure) => format!("100 - {}", figure.describe()),
        }
    }
}

impl Figure {
    fn describe(&self) -> String {
        let Self { measurement, fields, only, how, across, .. } = self;
        let rate = if *how == How::Rate { "Δ " } else { "" };
        let max = if *across == Across::Max { "max " } else { "" };
        let only: String = only
            .iter()
            .map(|(tag, value)| match *value {
                "" => format!(" without `{tag}`"),
                value => format!(" of `{value}`"),
            })
            .collect();
        format!("{max}{rate}[{measurement}](#{measurement}): {}{only}", quoted(fields))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::schema::{Field, Kind, MEASUREMENTS, Measurement};

    fn measurement(name: &str) -> &'static Measurement {
        MEASUREMENTS
            .iter()
            .find(|known| known.name == name)
            .unwrap_or_else(|| panic!("no measurement {name}"))
    }

    fn fields(figure: &Figure) -> impl Iterator<Item = &'static Field> {
        let measurement = measurement(figure.measurement);
        figure.fields.iter().map(move |name| {
            let field = measurement.fields.iter().find(|field| field.name == *name);
            field.unwrap_or_else(|| panic!("{}: no field {name}", measurement.name))
        })
    }

    fn has_tag(measurement: &Measurement, tag: &str) -> bool {
        // That of every measurement.
        tag == "host" || measurement.tags.iter().any(|known| known.name == tag)
    }

    fn all() -> impl Iterator<Item = (&'static View, &'static Column)> {
        VIEWS.iter().flat_map(|view| view.columns().map(move |column| (view, column)))
    }

    #[test]
    fn every_measurement_and_tag_is_described() {
        for view in VIEWS {
            for name in view.lists {
                let measurement = measurement(name);
                for tag in view.identities.iter().copied().flatten() {
                    assert!(has_tag(measurement, tag), "{}: {name}: {tag}", view.key);
                }
                let is_of_view = |tag: &&str| has_tag(measurement, tag);
                assert!(view.has.is_empty() || view.has.iter().any(is_of_view), "{name}");
            }
            let figures = view.columns().flat_map(|column| column.value.figures());
            for figure in figures {
                let measurement = measurement(figure.measurement);
                for tag in view.identities[0].iter().chain(figure.only.iter().map(|(tag, _)| tag)) {
                    assert!(has_tag(measurement, tag), "{}: {}: {tag}", view.key, measurement.name);
                }
            }
        }
    }

    #[test]
    fn every_field_is_of_a_kind_and_a_unit_that_fit_the_column() {
        for (view, column) in all() {
            let place = format!("{}: {}", view.key, column.key);
            for figure in column.value.figures() {
                assert!(!figure.fields.is_empty(), "{place}");
                for field in fields(figure) {
                    let is_number = matches!(field.kind, Kind::Int | Kind::UInt);
                    assert!(
                        is_number || (figure.how == How::Gauge && field.kind == Kind::Float),
                        "{place}: {field:?}"
                    );
                    if matches!(column.value, Value::Of(_) | Value::Rest(_)) {
                        assert_eq!(unit(field.unit, figure), column.unit, "{place}: {}", field.name);
                    }
                }
            }
            match &column.value {
                Value::Percent(part, whole) => {
                    assert_eq!(column.unit, Unit::Percent, "{place}");
                    assert_eq!((part.measurement, part.how), (whole.measurement, whole.how), "{place}");
                    let [a, b] = [part, whole].map(|figure| fields(figure).next().unwrap().unit);
                    // Of segments and packets, since a segment that is sent again is a packet.
                    assert!(a == b || (a, b) == ("segment", "packet"), "{place}: {a} of {b}");
                }
                Value::Rest(_) => assert_eq!(column.unit, Unit::Percent, "{place}"),
                Value::Of(_) => {}
            }
        }
    }

    /// What a field's unit is as a figure.
    fn unit(unit: &str, figure: &Figure) -> Unit {
        match (figure.how, unit, figure.scale) {
            (How::Rate, "ns", 1e-7) => Unit::Percent,
            (How::Rate, "byte", 1.0) => Unit::BytesPerSecond,
            (How::Rate, "ns" | "us" | "ms" | "%", _) => panic!("a time that grows is a share: {figure:?}"),
            (How::Rate, _, 1.0) => Unit::PerSecond,
            (How::Gauge, "%", 1.0) => Unit::Percent,
            (How::Gauge, "us", 1.0) | (How::Gauge, "ms", 1e3) => Unit::Micros,
            (How::Gauge, "byte", 1.0) => Unit::Bytes,
            (How::Gauge, "ns" | "us" | "ms", _) => panic!("a scale that does not fit: {figure:?}"),
            (How::Gauge, _, 1.0) => Unit::Count,
            _ => panic!("a scale that does not fit: {figure:?}"),
        }
    }

    #[test]
    fn a_key_is_there_once_and_says_the_same_everywhere() {
        let mut keys = HashSet::new();
        for view in VIEWS {
            assert!(keys.insert(view.key), "{}", view.key);
            let columns: HashSet<_> = view.columns().map(|column| column.key).collect();
            assert_eq!(columns.len(), view.columns().count(), "{}", view.key);
        }
        for (view, column) in all() {
            for (other, same) in all().filter(|(_, same)| same.key == column.key) {
                assert_eq!(column.unit, same.unit, "{} of {} and {}", column.key, view.key, other.key);
            }
            if let Some(Thresholds { warn, critical }) = column.thresholds {
                assert!(0.0 < warn && warn <= critical, "{}", column.key);
            }
        }
        for (key, _) in BUSY {
            assert!(of_rows().all(|view| view.column(key).is_some()), "{key}");
        }
    }

    #[test]
    fn every_field_of_a_row_is_a_column_or_left_out_with_a_reason() {
        let shown: HashSet<&str> = all()
            .flat_map(|(_, column)| column.value.figures().flat_map(|figure| figure.fields))
            .copied()
            .collect();
        let of_rows: Vec<&Field> = MEASUREMENTS
            .iter()
            .filter(|measurement| measurement.is_own() && measurement.name != crate::schema::SELF)
            .flat_map(|measurement| measurement.fields)
            .collect();
        for field in &of_rows {
            let is_left_out = LEFT_OUT.iter().any(|(name, _)| *name == field.name);
            assert!(shown.contains(field.name) || is_left_out, "{}: no column, and no reason", field.name);
        }
        for (name, _) in LEFT_OUT {
            assert!(of_rows.iter().any(|field| field.name == *name), "{name}: there is no such field");
        }
    }

    #[test]
    fn a_value_is_a_trouble_from_its_threshold_on() {
        let all = view("all").unwrap();
        let column = all.columns().find(|column| column.key == "throttled").unwrap();
        let Thresholds { warn, critical } = column.thresholds.unwrap();
        let levels = [warn - 0.1, warn, critical - 0.1, critical].map(|value| column.level(value));
        assert_eq!(levels, [Level::Fine, Level::Warn, Level::Warn, Level::Critical]);
    }
}

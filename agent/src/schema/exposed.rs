//! The fields of `seismograf` as metrics of Prometheus: names, units and types by its conventions.
//!
//! The part is in the name, since what a field means is told part by part.

use super::agent::SEISMOGRAF;
use super::losses::counted;

/// A metric that a field of a part is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exposed {
    /// Its name, with the unit, and `_total` where it counts.
    pub(crate) name: String,
    /// What it means.
    pub(crate) help: String,
    /// It counts up, as long as the agent runs.
    pub(crate) is_total: bool,
    /// What a value is divided by.
    pub(crate) divisor: f64,
    /// Why something was lost, where it says that: a label.
    pub(crate) reason: Option<&'static str>,
}

/// The fields that are of this moment; all others count up.
const GAUGES: &[&str] = &[
    "unseen_ns",
    "unseen_bytes",
    "unseen_ops",
    "unseen_rx_bytes",
    "unseen_tx_bytes",
    "cgroups",
    "unresolved_cgroups",
    "unresolved_containers",
    "waiting_rows",
    "named_containers",
    "named_pods",
    "map_bytes",
    "rss_bytes",
    "waiting",
    "spooled",
    "spool_bytes",
    "series",
    "series_limit",
];

/// Whether a field of `seismograf` is of this moment, and does not count.
pub(super) fn is_of_this_moment(field: &str) -> bool {
    GAUGES.contains(&field)
}

/// The metric of a field of a part of `seismograf`; `None` where there is no such field.
pub(crate) fn exposed(part: &str, field: &str) -> Option<Exposed> {
    let described = SEISMOGRAF.fields.iter().find(|known| known.name == field)?;
    if let Some(loss) = counted(part, field) {
        let unit = loss.field.unit;
        let help = format!("{unit}s that were lost, by stage and reason");
        let name = format!("seismograf_{unit}s_dropped_total");
        return Some(Exposed { name, help, is_total: true, divisor: 1.0, reason: Some(loss.reason) });
    }
    let is_total = !is_of_this_moment(field);
    let total = if is_total { "_total" } else { "" };
    let (base, unit, divisor) = match field.strip_suffix("_ns") {
        Some(base) => (base, "_seconds", 1e9),
        None => (field, "", 1.0),
    };
    // Of a field that several parts have, what is said of each begins with its name.
    let of_part = format!("`{part}`: ");
    let help = described.help.split("; ").find_map(|help| help.strip_prefix(&of_part));
    let help = match help {
        Some(help) if described.help.matches("`: ").count() > 1 => help,
        _ => described.help.strip_prefix(&of_part).unwrap_or(described.help),
    };
    let help = format!("{help} ({})", if divisor > 1.0 { "seconds" } else { described.unit });
    Some(Exposed {
        name: format!("seismograf_{part}_{base}{unit}{total}"),
        help,
        is_total,
        divisor,
        reason: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_unit_and_what_counts_says_so() {
        let name = |part, field| exposed(part, field).unwrap().name;
        assert_eq!(name("agent", "cpu_ns"), "seismograf_agent_cpu_seconds_total");
        assert_eq!(name("agent", "rss_bytes"), "seismograf_agent_rss_bytes");
        assert_eq!(name("output", "written"), "seismograf_output_written_total");
        assert_eq!(name("cpu", "unseen_ns"), "seismograf_cpu_unseen_seconds");
        assert_eq!(exposed("agent", "nothing"), None);
        let lost = exposed("output", "dropped_expired").unwrap();
        assert_eq!((&*lost.name, lost.reason), ("seismograf_points_dropped_total", Some("expired")));
    }

    #[test]
    fn help_is_of_the_part_alone() {
        let help = |part, field| exposed(part, field).unwrap().help;
        assert_eq!(help("agent", "rss_bytes"), "resident memory (byte)");
        assert!(help("listener", "refused").starts_with("connections, requests and datagrams"));
        assert!(!help("ring", "missed_runs").contains("those of one probe"));
        assert!(help("output", "waiting").starts_with("of these"));
    }

    #[test]
    fn what_is_of_this_moment_is_in_the_schema() {
        for gauge in GAUGES {
            assert!(SEISMOGRAF.fields.iter().any(|field| field.name == *gauge), "{gauge}");
        }
    }
}

//! A container as the docker daemon describes it, reduced to what is used.

use std::collections::BTreeMap;

use super::answers::{Health, Inspected};
use crate::line_protocol::truncated;
use crate::options::filter::IncludeExclude;
use crate::point::Timestamp;

/// The most labels of a container that become tags.
pub(super) const MAX_LABELS: usize = 256;
/// The most bytes of all these labels: InfluxDB rejects a series key above 64 KiB, and escaping can double them.
pub(super) const MAX_LABEL_BYTES: usize = 16 << 10;

/// What becomes tags besides a container's names.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Labels, by their keys.
    pub labels: IncludeExclude,
    /// Environment variables.
    pub variables: Vec<String>,
}

/// A container as the daemon last described it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name, without a slash.
    pub name: String,
    /// Its image as it was requested.
    pub image: String,
    /// `running`, `exited` …
    pub status: String,
    /// Its first process, in the host's PID namespace; `None` when it does not run.
    pub pid: Option<u32>,
    /// The exit code of its last run.
    pub exit_code: i64,
    /// One of its processes was OOM-killed.
    pub oom_killed: bool,
    /// How often docker restarted it by itself.
    pub restart_count: i64,
    /// When it last started; `None` for never.
    pub started_at: Option<Timestamp>,
    /// When it last ended, likewise.
    pub finished_at: Option<Timestamp>,
    /// The state of its health check, if it has one.
    pub health: Option<Health>,
    /// It is in the host's network namespace.
    pub has_host_network: bool,
    /// The labels and variables that were selected, without empty ones.
    pub tags: BTreeMap<String, String>,
    /// How many labels were dropped because there are too many.
    pub n_dropped_labels: usize,
}

impl Container {
    /// Takes what is used from the daemon's answer, and truncates it to what a database accepts.
    #[must_use]
    pub fn new(inspected: Inspected, selection: &Selection) -> Self {
        let Inspected { id, name, restart_count, state, config, host_config } = inspected;
        let (mut tags, mut bytes, mut n_dropped_labels) = (BTreeMap::new(), 0, 0);
        for (key, value) in config.labels {
            if value.is_empty() || !selection.labels.takes(&key) {
                continue;
            }
            let (key, value) = (truncated(key), truncated(value));
            bytes += key.len() + value.len();
            if tags.len() < MAX_LABELS && bytes <= MAX_LABEL_BYTES {
                tags.insert(key, value);
            } else {
                n_dropped_labels += 1;
            }
        }
        for (key, value) in config.env.iter().filter_map(|variable| variable.split_once('=')) {
            if !value.trim().is_empty() && selection.variables.iter().any(|name| name == key) {
                tags.insert(truncated(key.to_owned()), truncated(value.to_owned()));
            }
        }
        Self {
            id,
            name: truncated(name.trim_start_matches('/').to_owned()),
            image: truncated(config.image),
            status: truncated(state.status),
            pid: u32::try_from(state.pid).ok().filter(|pid| *pid > 0),
            exit_code: state.exit_code,
            oom_killed: state.oom_killed,
            restart_count,
            started_at: time(&state.started_at),
            finished_at: time(&state.finished_at),
            health: state.health.filter(|health| !matches!(health.status.as_str(), "" | "none")).map(
                |health| Health { status: truncated(health.status), failing_streak: health.failing_streak },
            ),
            has_host_network: host_config.network_mode == "host",
            tags,
            n_dropped_labels,
        }
    }

    /// Whether it has a cgroup.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.pid.is_some()
    }

    /// Whether it is to be inspected regularly: no event tells how often in a row a health check failed.
    pub(super) fn is_to_be_checked(&self) -> bool {
        self.runs() && self.health.as_ref().is_some_and(|health| health.status != "healthy")
    }
}

/// A time in RFC 3339; `None` for the year 1, which means never in Go, and for anything that is no time.
fn time(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    let ns = i64::try_from(time.as_nanosecond()).ok()?;
    (ns > 0).then_some(Timestamp(ns))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::line_protocol::MAX_TAG_BYTES;

    #[test]
    fn labels_are_truncated_and_counted() {
        let labels: serde_json::Map<String, Value> =
            (0..10_000).map(|i| (format!("l{i:05}"), json!("v".repeat(i)))).collect();
        let long = json!({"Id": "a", "Name": "/n".repeat(5000), "Config": {"Image": "i".repeat(5000), "Labels": {"k".repeat(5000): "v".repeat(5000)}, "Env": ["A=1"]}});
        let many = json!({"Id": "a", "Config": {"Labels": labels}});
        let all = Selection::default();
        let container = |value: &Value, selection: &Selection| {
            Container::new(serde_json::from_value(value.clone()).unwrap(), selection)
        };
        let long = container(&long, &all);
        assert_eq!((long.name.len(), long.image.len(), long.tags.len()), (MAX_TAG_BYTES, MAX_TAG_BYTES, 1));
        assert!(
            long.tags.iter().all(|(key, value)| key.len() == MAX_TAG_BYTES && value.len() == MAX_TAG_BYTES)
        );
        let tagged = container(&many, &all);
        let bytes: usize = tagged.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(
            bytes <= MAX_LABEL_BYTES && tagged.tags.len() > 100 && tagged.tags.len() <= MAX_LABELS,
            "{bytes}"
        );
        assert_eq!(tagged.tags.first_key_value().unwrap().0, "l00001", "sorted, without the empty one");
        assert_eq!(tagged.n_dropped_labels + tagged.tags.len(), 9_999);
        // The selection comes before the limit.
        let labels = IncludeExclude::new(("i", &["l09*9".to_owned()]), ("e", &["*99".to_owned()])).unwrap();
        let selected = Selection { labels, variables: Vec::new() };
        let selected = container(&many, &selected);
        assert!(selected.tags.keys().all(|key| key.starts_with("l09") && !key.ends_with("99")));
        assert_eq!(selected.tags.first_key_value().unwrap().0, "l09009");
    }

    #[rstest]
    #[case("2026-11-22T13:00:53.88339895Z", Some(1_795_352_453_883_398_950))]
    #[case("2026-11-22T15:00:53.88339895+02:00", Some(1_795_352_453_883_398_950))]
    #[case("0001-01-01T00:00:00Z", None)]
    #[case("", None)]
    #[case("yesterday", None)]
    #[case("9999-12-31T23:59:59Z", None)]
    fn times(#[case] text: &str, #[case] expected: Option<i64>) {
        assert_eq!(time(text), expected.map(Timestamp));
    }
}

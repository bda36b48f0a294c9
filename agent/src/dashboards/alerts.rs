//! The alerts: what should wake a person. One table, from which the scripts for Kapacitor are made.

use crate::schema::losses::{CountedLoss, OUTPUT_LOSSES};

/// An alert.
#[derive(Clone, Copy, Debug)]
pub struct Alert {
    /// The name of its file, and of the task.
    pub file: &'static str,
    /// What has happened, for people.
    pub help: &'static str,
    /// The message; `{{ index .Tags "host" }}` and the like are replaced.
    pub message: &'static str,
    /// The measurement.
    pub from: &'static str,
    /// The tags that have an alert each; `*` for each series.
    pub by: &'static [&'static str],
    /// When it is raised.
    pub kind: Kind,
}

/// When an alert is raised.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Anything that the rows of this part tell of was lost in the last minutes.
    Lost(&'static [CountedLoss], &'static str),
    /// Nothing came for a minute.
    Silence,
    /// A number of the last minutes is above a mark.
    Above {
        /// InfluxQL of the number: what is selected.
        number: &'static str,
        /// The fields in it.
        fields: &'static [&'static str],
        /// InfluxQL of a condition; empty for none.
        only: &'static str,
        /// A warning above this; none where there is only one mark.
        warning: Option<f64>,
        /// Critical above this.
        critical: f64,
    },
}

/// Every series has an alert of its own: what was counted is compared with what the same series had before.
const BY_SERIES: &[&str] = &["*"];

/// Every alert.
pub const ALERTS: &[Alert] = &[
    Alert {
        file: "node_down",
        help: "A node sends nothing any more.",
        message: "{{ index .Tags \"host\" }} {{ if eq .Level \"OK\" }}is back{{ else }}has sent nothing for a minute{{ end }}",
        from: "system",
        by: &["env", "host"],
        kind: Kind::Silence,
    },
    Alert {
        file: "disk_filling",
        help: "A file system is nearly full.",
        message: "{{ index .Tags \"path\" }} of {{ index .Tags \"host\" }} is {{ index .Fields \"number\" | printf \"%.1f\" }} % full",
        from: "disk",
        by: &["env", "host", "path"],
        kind: Kind::Above {
            number: "last(\"used_percent\")",
            fields: &["used_percent"],
            only: "\"mode\" != 'ro'",
            warning: Some(80.0),
            critical: 90.0,
        },
    },
    Alert {
        file: "oom_kills",
        help: "Processes of a container or unit were OOM-killed.",
        message: "{{ index .Fields \"number\" }} OOM kills in 5 minutes: {{ index .Tags \"namespace\" }} {{ index .Tags \"pod_name\" }} {{ index .Tags \"container_name\" }} {{ index .Tags \"unit\" }} on {{ index .Tags \"host\" }}",
        from: "cgroup_mem",
        by: BY_SERIES,
        kind: Kind::Above {
            number: "spread(\"oom_kills\")",
            fields: &["oom_kills"],
            only: "",
            warning: None,
            critical: 0.0,
        },
    },
    Alert {
        file: "throttling",
        help: "A container is kept from a CPU by its quota, for this much of one CPU in the last 5 minutes.",
        message: "kept from {{ index .Fields \"number\" | printf \"%.1f\" }} % of a CPU by its quota: {{ index .Tags \"namespace\" }} {{ index .Tags \"pod_name\" }} {{ index .Tags \"container_name\" }} {{ index .Tags \"unit\" }} on {{ index .Tags \"host\" }}",
        from: "cgroup_cpu",
        by: BY_SERIES,
        kind: Kind::Above {
            // Nanoseconds of the 300 s of the period, of 100.
            number: "spread(\"throttled_ns\") / 3000000000",
            fields: &["throttled_ns"],
            only: "",
            warning: Some(5.0),
            critical: 25.0,
        },
    },
    Alert {
        file: "agent_loss",
        help: "The agent counted something whose row was lost, or could not read what the kernel side said.",
        message: "{{ index .Fields \"number\" }} records were lost on {{ index .Tags \"host\" }}: see the dashboard of the agent",
        from: "seismograf",
        by: &["env", "host"],
        kind: Kind::Above {
            number: "spread(\"overflow_switches\") + spread(\"overflow_ops\") + spread(\"overflow_rx_packets\") + spread(\"overflow_tx_packets\") + spread(\"undecodable\") + spread(\"lost_cgroup_events\") + spread(\"lost_oom_kills\")",
            fields: &[
                "overflow_switches",
                "overflow_ops",
                "overflow_rx_packets",
                "overflow_tx_packets",
                "undecodable",
                "lost_cgroup_events",
                "lost_oom_kills",
            ],
            // Of all disks together.
            only: "\"device\" = ''",
            warning: None,
            critical: 0.0,
        },
    },
    Alert {
        file: "points_dropped",
        help: "Points of an output were refused by the server, or dropped from the buffer or the spool.",
        message: "{{ index .Fields \"number\" }} points of the output {{ index .Tags \"output\" }} of {{ index .Tags \"host\" }} were dropped",
        from: "seismograf",
        by: &["env", "host", "output"],
        kind: Kind::Lost(OUTPUT_LOSSES, "output"),
    },
    Alert {
        file: "series_limit",
        help: "An input has more series than `metric_series_limit`: new ones are added up in rows `other`.",
        message: "{{ index .Fields \"number\" }} points of the input {{ index .Tags \"input\" }} of {{ index .Tags \"host\" }} are of series beyond the limit: its log names the tag that grows",
        from: "seismograf",
        by: &["env", "host", "input"],
        kind: Kind::Above {
            number: "spread(\"collapsed\")",
            fields: &["collapsed"],
            only: "\"part\" = 'input'",
            warning: None,
            critical: 0.0,
        },
    },
];

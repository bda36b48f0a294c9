//! All nodes of a cluster.

use super::choices::{ENV, HOST};
use crate::dashboards::board::Only::{Has, Is};
use crate::dashboards::board::{
    Board, Draw, Item, Panel, Unit, groups, max, mean, only, panel, query, rate, rest, share, sum,
};

const BY_HOST: &[&str] = &["host"];

pub(super) const BOARD: Board = Board {
    file: "cluster",
    title: "Seismograf: cluster",
    help: "All nodes of a cluster side by side, and what its namespaces and workloads use.",
    choices: &[ENV, HOST],
    items: &[Item::Panels(PANELS)],
};

const PANELS: &[Panel] = &[
    panel("Nodes", Draw::Number, Unit::Count, &[query("system", &[groups("nodes", "uptime")], BY_HOST)]),
    panel(
        "Pods",
        Draw::Number,
        Unit::Count,
        &[query("pod_cpu", &[groups("pods", "usage_ns")], &["namespace", "pod_name"])],
    ),
    panel(
        "Containers",
        Draw::Number,
        Unit::Count,
        &[only(
            query(
                "cgroup_cpu",
                &[groups("containers", "usage_ns")],
                &["host", "namespace", "pod_name", "container_name"],
            ),
            &[Has("container_name")],
        )],
    ),
    panel(
        "CPU in use",
        Draw::Number,
        Unit::Percent,
        &[only(query("cpu", &[rest("busy", "usage_idle")], &[]), &[Is("cpu", "cpu-total")])],
    )
    .marked(80.0, 95.0),
    panel(
        "Fullest file system",
        Draw::Number,
        Unit::Percent,
        &[query("disk", &[max("used", "used_percent")], &[])],
    )
    .marked(80.0, 90.0),
    panel(
        "OOM kills",
        Draw::Number,
        Unit::Count,
        &[only(query("seismograf", &[sum("killed", "oom_kills")], &[]), &[Is("part", "ring")])],
    )
    .marked(1.0, 10.0),
    panel(
        "CPU in use by node",
        Draw::Lines,
        Unit::Percent,
        &[only(query("cpu", &[rest("busy", "usage_idle")], BY_HOST), &[Is("cpu", "cpu-total")])],
    )
    .marked(80.0, 95.0),
    panel(
        "Memory in use by node",
        Draw::Lines,
        Unit::Percent,
        &[query("mem", &[mean("used", "used_percent")], BY_HOST)],
    )
    .marked(80.0, 95.0),
    panel("Load by node", Draw::Lines, Unit::Count, &[query("system", &[mean("load1", "load1")], BY_HOST)]),
    panel(
        "File systems by node",
        Draw::Lines,
        Unit::Percent,
        &[query("disk", &[max("used", "used_percent")], &["host", "path"])],
    )
    .marked(80.0, 90.0),
    panel(
        "Network by node",
        Draw::Lines,
        Unit::BytesPerSecond,
        &[query("cgroup_net", &[rate("received", "rx_bytes"), rate("sent", "tx_bytes")], BY_HOST)],
    ),
    panel(
        "Disks by node",
        Draw::Lines,
        Unit::BytesPerSecond,
        &[query("cgroup_blkio", &[rate("read", "read_bytes"), rate("written", "write_bytes")], BY_HOST)],
    ),
    panel(
        "CPU by namespace",
        Draw::Stacked,
        Unit::Percent,
        &[query("pod_cpu", &[share("CPU", "usage_ns")], &["namespace"])],
    ),
    panel(
        "Memory by namespace",
        Draw::Stacked,
        Unit::Bytes,
        &[query("pod_mem", &[sum("working set", "working_set_bytes")], &["namespace"])],
    ),
    panel(
        "CPU by workload",
        Draw::Stacked,
        Unit::Percent,
        &[query("pod_cpu", &[share("CPU", "usage_ns")], &["namespace", "workload"])],
    ),
];

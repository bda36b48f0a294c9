//! Pods, their workloads and containers by CPU, memory, I/O and network.

use super::choices::{BY_CONTAINER, BY_POD, ENV, HOST, NAMESPACE, POD};
use crate::dashboards::board::{
    Board, Columns, Draw, Item, Only, Panel, Unit, mean, panel, query, share, sum,
};

pub(super) const BOARD: Board = Board {
    file: "pods",
    title: "Seismograf: pods",
    help: "Pods by CPU, memory, I/O and network, the workloads that they are of, and their containers where it matters.",
    choices: &[ENV, HOST, NAMESPACE, POD],
    items: &[
        Item::Columns(Columns { keys: &["cpu", "mem", "io_p99"], draw: Draw::Top, ..ALL }),
        Item::Columns(ALL),
        Item::Columns(Columns {
            view: "workloads",
            keys: &["cpu", "mem"],
            draw: Draw::Stacked,
            by: BY_WORKLOAD,
            only: &[],
        }),
        Item::Panels(PANELS),
    ],
};

const BY_WORKLOAD: &[&str] = &["namespace", "workload"];
const ALL: Columns =
    Columns { view: "pods", keys: &[], draw: Draw::Lines, by: BY_POD, only: &[Only::Has("pod_name")] };

const PANELS: &[Panel] = &[
    panel(
        "Kept from a CPU by the quota, by container",
        Draw::Lines,
        Unit::Percent,
        &[crate::dashboards::board::only(
            query("cgroup_cpu", &[share("throttled", "throttled_ns")], BY_CONTAINER),
            &[Only::Has("pod_name")],
        )],
    ),
    panel(
        "Memory of pods and its limit",
        Draw::Lines,
        Unit::Bytes,
        &[query("pod_mem", &[sum("charged", "usage_bytes"), sum("limit", "limit_bytes")], BY_POD)],
    ),
    panel(
        "Volumes",
        Draw::Lines,
        Unit::Bytes,
        &[query(
            "kubernetes_pod_volume",
            &[mean("used", "used_bytes")],
            &["namespace", "pod_name", "volume_name"],
        )],
    ),
    panel(
        "Writable layers and logs",
        Draw::Lines,
        Unit::Bytes,
        &[query(
            "kubernetes_pod_container",
            &[mean("layer", "rootfs_used_bytes"), mean("logs", "logsfs_used_bytes")],
            BY_CONTAINER,
        )],
    ),
];

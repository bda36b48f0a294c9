//! Noisy neighbours: who waits, and who is waited for.

use super::choices::{BY_ROW, ENV, HOST, NAMESPACE};
use crate::dashboards::board::{Board, Columns, Draw, Item, Panel, Unit, max, panel, query, rate, share};

pub(super) const BOARD: Board = Board {
    file: "neighbours",
    title: "Seismograf: noisy neighbours",
    help: "Containers and units that wait, for a CPU, their quota, a disk or the network, and those that use most.",
    choices: &[ENV, HOST, NAMESPACE],
    items: &[
        Item::Columns(Columns {
            keys: &["wait_p99", "io_p99", "throttled", "retransmits", "cpu", "wait"],
            draw: Draw::Top,
            ..ALL
        }),
        Item::Columns(ALL),
        Item::Panels(PANELS),
    ],
};

const ALL: Columns = Columns { view: "all", keys: &[], draw: Draw::Lines, by: BY_ROW, only: &[] };
const BY_RESOURCE: &[&str] = &["host", "namespace", "pod_name", "container_name", "unit", "resource"];

const PANELS: &[Panel] = &[
    panel(
        "Kept from a CPU by the quota",
        Draw::Lines,
        Unit::Percent,
        &[query("cgroup_cpu", &[share("throttled", "throttled_ns")], BY_ROW)],
    ),
    panel(
        "I/O latency, median",
        Draw::Lines,
        Unit::Micros,
        &[query("cgroup_blkio", &[max("read", "read_p50_us"), max("write", "write_p50_us")], BY_ROW)],
    ),
    panel(
        "Tasks that wait for disks",
        Draw::Lines,
        Unit::Percent,
        &[query("cgroup_blkio", &[share("reads", "read_time_ns"), share("writes", "write_time_ns")], BY_ROW)],
    ),
    panel(
        "Discarded",
        Draw::Lines,
        Unit::BytesPerSecond,
        &[query("cgroup_blkio", &[rate("discarded", "discard_bytes")], BY_ROW)],
    ),
    panel(
        "Page faults",
        Draw::Lines,
        Unit::PerSecond,
        &[query("cgroup_mem", &[rate("all", "page_faults")], BY_ROW)],
    ),
    panel(
        "Pressure: all tasks stand still",
        Draw::Lines,
        Unit::Percent,
        &[query("cgroup_pressure", &[max("10 s", "full_avg10")], BY_RESOURCE)],
    ),
];

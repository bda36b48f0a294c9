//! One node: what Telegraf's inputs say of it, and who uses it.

use super::choices::{BY_ROW, ENV, ONE_HOST};
use crate::dashboards::board::Only::Is;
use crate::dashboards::board::{
    Board, Columns, Draw, Item, Panel, Unit, max, mean, only, panel, query, rate, rest, share,
};

pub(super) const BOARD: Board = Board {
    file: "node",
    title: "Seismograf: node",
    help: "One node or virtual machine: CPU, memory, disks, network, pressure, and which containers and units use it.",
    choices: &[ENV, ONE_HOST],
    items: &[
        Item::Columns(Columns { view: "machine", keys: &[], draw: Draw::Number, by: &[], only: &[] }),
        Item::Panels(PANELS),
    ],
};

const TOTAL: &[crate::dashboards::board::Only] = &[Is("cpu", "cpu-total")];

const PANELS: &[Panel] = &[
    panel("Up for", Draw::Number, Unit::Seconds, &[query("system", &[max("up", "uptime")], &[])]),
    panel(
        "CPU",
        Draw::Stacked,
        Unit::Percent,
        &[only(
            query(
                "cpu",
                &[
                    mean("user", "usage_user"),
                    mean("nice", "usage_nice"),
                    mean("system", "usage_system"),
                    mean("irq", "usage_irq"),
                    mean("softirq", "usage_softirq"),
                    mean("iowait", "usage_iowait"),
                    mean("steal", "usage_steal"),
                    mean("guest", "usage_guest"),
                    mean("guest nice", "usage_guest_nice"),
                ],
                &[],
            ),
            TOTAL,
        )],
    ),
    panel("Each CPU", Draw::Lines, Unit::Percent, &[query("cpu", &[rest("busy", "usage_idle")], &["cpu"])]),
    panel(
        "Load",
        Draw::Lines,
        Unit::Count,
        &[query("system", &[mean("1 min", "load1"), mean("5 min", "load5"), mean("15 min", "load15")], &[])],
    ),
    panel(
        "CPU of containers and units",
        Draw::Stacked,
        Unit::Percent,
        &[query("cgroup_cpu", &[share("CPU", "usage_ns")], BY_ROW)],
    ),
    panel(
        "Memory",
        Draw::Lines,
        Unit::Bytes,
        &[query(
            "mem",
            &[
                mean("used", "used"),
                mean("available", "available"),
                mean("free", "free"),
                mean("cached", "cached"),
                mean("buffered", "buffered"),
                mean("shared", "shared"),
                mean("slab", "slab"),
                mean("dirty", "dirty"),
            ],
            &[],
        )],
    ),
    panel(
        "Swap",
        Draw::Lines,
        Unit::Bytes,
        &[query("swap", &[mean("used", "used"), mean("free", "free"), mean("total", "total")], &[])],
    ),
    panel(
        "Swapped in and out",
        Draw::Lines,
        Unit::BytesPerSecond,
        &[query("swap", &[rate("in", "in"), rate("out", "out")], &[])],
    ),
    panel(
        "Pressure",
        Draw::Lines,
        Unit::Percent,
        &[query(
            "pressure",
            &[max("10 s", "avg10"), max("1 min", "avg60"), max("5 min", "avg300")],
            &["resource", "type"],
        )],
    ),
    panel(
        "Processes",
        Draw::Lines,
        Unit::Count,
        &[query(
            "processes",
            &[
                mean("running", "running"),
                mean("blocked", "blocked"),
                mean("sleeping", "sleeping"),
                mean("idle", "idle"),
                mean("stopped", "stopped"),
                mean("zombies", "zombies"),
                mean("all", "total"),
                mean("threads", "total_threads"),
            ],
            &[],
        )],
    ),
    panel(
        "Kernel",
        Draw::Lines,
        Unit::PerSecond,
        &[query(
            "kernel",
            &[
                rate("context switches", "context_switches"),
                rate("interrupts", "interrupts"),
                rate("forks", "processes_forked"),
            ],
            &[],
        )],
    ),
    panel(
        "File systems",
        Draw::Lines,
        Unit::Percent,
        &[query("disk", &[max("used", "used_percent")], &["path"])],
    )
    .marked(80.0, 90.0),
    panel("Free space", Draw::Lines, Unit::Bytes, &[query("disk", &[mean("free", "free")], &["path"])]),
    panel(
        "Inodes",
        Draw::Lines,
        Unit::Percent,
        &[query("disk", &[max("used", "inodes_used_percent")], &["path"])],
    )
    .marked(80.0, 90.0),
    panel(
        "Disks",
        Draw::Lines,
        Unit::BytesPerSecond,
        &[query("diskio", &[rate("read", "read_bytes"), rate("written", "write_bytes")], &["name"])],
    ),
    panel(
        "Operations of disks",
        Draw::Lines,
        Unit::PerSecond,
        &[query("diskio", &[rate("reads", "reads"), rate("writes", "writes")], &["name"])],
    ),
    panel(
        "Disks at work",
        Draw::Lines,
        Unit::Percent,
        &[query("diskio", &[max("busy", "io_util")], &["name"])],
    )
    .marked(70.0, 90.0),
    panel(
        "Network",
        Draw::Lines,
        Unit::BytesPerSecond,
        &[query("net", &[rate("received", "bytes_recv"), rate("sent", "bytes_sent")], &["interface"])],
    ),
    panel(
        "Packets",
        Draw::Lines,
        Unit::PerSecond,
        &[query("net", &[rate("received", "packets_recv"), rate("sent", "packets_sent")], &["interface"])],
    ),
    panel(
        "Packets lost",
        Draw::Lines,
        Unit::PerSecond,
        &[query(
            "net",
            &[
                rate("errors in", "err_in"),
                rate("errors out", "err_out"),
                rate("dropped in", "drop_in"),
                rate("dropped out", "drop_out"),
            ],
            &["interface"],
        )],
    ),
];

//! The agent itself: what it costs, whether its sums are the machine's, what it lost.

use super::choices::{ENV, HOST};
use crate::dashboards::board::Only::{self, Is, Lacks};
use crate::dashboards::board::{
    Board, Columns, Draw, Item, Line, Panel, Query, Unit, mean, only, panel, query, rate, share, sum,
};

pub(super) const BOARD: Board = Board {
    file: "agent",
    title: "Seismograf: agent",
    help: "What the agent costs, whether its rows add up to the machine (machine = rows + overflow + unseen), what it lost and \
           why, and how it delivers.",
    choices: &[ENV, HOST],
    items: &[
        Item::Columns(Columns { view: "agent", keys: &[], draw: Draw::Lines, by: BY_HOST, only: &[] }),
        Item::Panels(PANELS),
    ],
};

/// A query of one part of `seismograf`.
const fn part(lines: &'static [Line], by: &'static [&'static str], part: &'static [Only]) -> Query {
    only(query("seismograf", lines, by), part)
}

const BY_HOST: &[&str] = &["host"];
const CPU: &[Only] = &[Is("part", "cpu")];
/// All disks together.
const BLKIO: &[Only] = &[Is("part", "blkio"), Lacks("device")];
const NET: &[Only] = &[Is("part", "net")];
const RUNQUEUE: &[Only] = &[Is("part", "runqueue")];
const RING: &[Only] = &[Is("part", "ring")];
const IDENTITY: &[Only] = &[Is("part", "identity")];
const OUTPUT: &[Only] = &[Is("part", "output")];
const INPUT: &[Only] = &[Is("part", "input")];
const LISTENER: &[Only] = &[Is("part", "listener")];
const PROBE: &[Only] = &[Is("part", "probe")];

const PANELS: &[Panel] = &[
    panel(
        "Memory of the kernel's maps",
        Draw::Lines,
        Unit::Bytes,
        &[part(&[mean("maps", "map_bytes")], BY_HOST, RING)],
    ),
    panel(
        "Time of the probes",
        Draw::Stacked,
        Unit::Percent,
        &[part(&[share("ran", "run_time_ns")], &["host", "probe"], PROBE)],
    ),
    panel(
        "Calls of the probes",
        Draw::Lines,
        Unit::PerSecond,
        &[part(&[rate("calls", "runs")], &["host", "probe"], PROBE)],
    ),
    panel(
        "Balance of CPU time",
        Draw::Lines,
        Unit::Percent,
        &[part(
            &[share("machine", "machine_ns"), share("rows", "rows_ns"), share("overflow", "overflow_ns")],
            BY_HOST,
            CPU,
        )],
    ),
    panel(
        "Balance of block I/O",
        Draw::Lines,
        Unit::BytesPerSecond,
        &[part(
            &[
                rate("machine", "machine_bytes"),
                rate("rows", "rows_bytes"),
                rate("overflow", "overflow_bytes"),
            ],
            BY_HOST,
            BLKIO,
        )],
    ),
    panel(
        "Balance of operations",
        Draw::Lines,
        Unit::PerSecond,
        &[part(
            &[rate("machine", "machine_ops"), rate("rows", "rows_ops"), rate("overflow", "overflow_ops")],
            BY_HOST,
            BLKIO,
        )],
    ),
    panel(
        "Balance of bytes received",
        Draw::Lines,
        Unit::BytesPerSecond,
        &[part(
            &[
                rate("machine", "machine_rx_bytes"),
                rate("rows", "rows_host_rx_bytes"),
                rate("overflow", "overflow_host_rx_bytes"),
                rate("rows, all namespaces", "rows_rx_bytes"),
            ],
            BY_HOST,
            NET,
        )],
    ),
    panel(
        "Balance of bytes sent",
        Draw::Lines,
        Unit::BytesPerSecond,
        &[part(
            &[
                rate("machine", "machine_tx_bytes"),
                rate("rows", "rows_host_tx_bytes"),
                rate("overflow", "overflow_host_tx_bytes"),
                rate("rows, all namespaces", "rows_tx_bytes"),
            ],
            BY_HOST,
            NET,
        )],
    ),
    // It can be negative for a moment, so its rate would not show all of it.
    panel("CPU time unseen", Draw::Lines, Unit::Nanos, &[part(&[sum("unseen", "unseen_ns")], BY_HOST, CPU)]),
    panel(
        "Bytes unseen",
        Draw::Lines,
        Unit::Bytes,
        &[
            part(&[sum("disks", "unseen_bytes")], BY_HOST, BLKIO),
            part(&[sum("received", "unseen_rx_bytes"), sum("sent", "unseen_tx_bytes")], BY_HOST, NET),
        ],
    ),
    panel(
        "Rows lost",
        Draw::Lines,
        Unit::PerSecond,
        &[
            part(&[rate("switches", "overflow_switches")], BY_HOST, CPU),
            part(&[rate("failed operations", "overflow_errors")], BY_HOST, BLKIO),
            part(&[rate("waits", "overflow_waits")], BY_HOST, RUNQUEUE),
            part(
                &[
                    rate("packets received", "overflow_rx_packets"),
                    rate("packets sent", "overflow_tx_packets"),
                    rate("packets refused", "overflow_tx_dropped_packets"),
                    rate("segments sent again", "overflow_tcp_retransmits"),
                ],
                BY_HOST,
                NET,
            ),
        ],
    )
    .marked(1.0, 100.0),
    panel(
        "Lost on the way from the kernel",
        Draw::Lines,
        Unit::PerSecond,
        &[part(
            &[
                rate("no room in the ring", "refused"),
                rate("undecodable", "undecodable"),
                rate("calls left out", "missed_runs"),
                rate("events of cgroups", "lost_cgroup_events"),
                rate("OOM kills", "lost_oom_kills"),
            ],
            BY_HOST,
            RING,
        )],
    )
    .marked(1.0, 100.0),
    panel(
        "Ring buffer",
        Draw::Lines,
        Unit::PerSecond,
        &[part(&[rate("records", "records"), rate("rows", "rows")], BY_HOST, RING)],
    ),
    panel(
        "Waits for a CPU, in rows and lost",
        Draw::Lines,
        Unit::Percent,
        &[part(&[share("rows", "rows_wait_ns"), share("overflow", "overflow_wait_ns")], BY_HOST, RUNQUEUE)],
    ),
    panel(
        "Names",
        Draw::Lines,
        Unit::Count,
        &[part(
            &[
                sum("cgroups", "cgroups"),
                sum("cgroups without a path", "unresolved_cgroups"),
                sum("containers without a name", "unresolved_containers"),
                sum("rows that wait for a name", "waiting_rows"),
                sum("containers with a name", "named_containers"),
                sum("pods with a name", "named_pods"),
            ],
            BY_HOST,
            IDENTITY,
        )],
    ),
    panel(
        "CPU time without a name",
        Draw::Lines,
        Unit::Percent,
        &[part(&[share("CPU", "unresolved_cpu_ns")], BY_HOST, IDENTITY)],
    ),
    panel(
        "Bytes without a name",
        Draw::Lines,
        Unit::BytesPerSecond,
        &[part(
            &[rate("disks", "unresolved_blkio_bytes"), rate("network", "unresolved_net_bytes")],
            BY_HOST,
            IDENTITY,
        )],
    ),
    panel(
        "Delivery",
        Draw::Lines,
        Unit::PerSecond,
        &[part(
            &[
                rate("taken", "taken"),
                rate("written", "written"),
                rate("refused by the server", "dropped_refused"),
                rate("pushed out of the buffer", "dropped_overflow"),
                rate("damaged in the spool", "dropped_damaged"),
                rate("too old in the spool", "dropped_expired"),
                rate("writes that failed", "failed_writes"),
            ],
            &["host", "output"],
            OUTPUT,
        )],
    ),
    panel(
        "Points that wait",
        Draw::Lines,
        Unit::Count,
        &[part(&[sum("waiting", "waiting"), sum("on the disk", "spooled")], &["host", "output"], OUTPUT)],
    ),
    panel(
        "The spool on the disk",
        Draw::Lines,
        Unit::Bytes,
        &[part(&[sum("bytes", "spool_bytes")], &["host", "output"], OUTPUT)],
    ),
    panel(
        "Received",
        Draw::Lines,
        Unit::PerSecond,
        &[part(
            &[
                rate("points", "points"),
                rate("lines that are none", "malformed"),
                rate("connections", "connections"),
                rate("turned away", "refused"),
            ],
            &["host", "input", "address"],
            LISTENER,
        )],
    ),
    panel(
        "Series of inputs with a limit",
        Draw::Lines,
        Unit::Count,
        &[part(&[sum("series", "series"), sum("limit", "series_limit")], &["host", "input"], INPUT)],
    ),
    panel(
        "Points beyond the limit of series",
        Draw::Lines,
        Unit::PerSecond,
        &[part(&[rate("added up", "collapsed")], &["host", "input"], INPUT)],
    )
    .marked(0.1, 100.0),
];

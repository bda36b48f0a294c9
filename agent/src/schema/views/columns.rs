//! The columns of each view, and the figures that they are made of.

use super::super::agent::SEISMOGRAF;
use super::kinds::{Across, Column, Figure, How, Thresholds, Unit, Value};

/// The agent's own measurement.
const SELF: &str = SEISMOGRAF.name;
/// What anything at all is above: one in a quarter of an hour.
const ANY: f64 = 0.001;

const fn column(
    key: &'static str,
    title: &'static str,
    unit: Unit,
    value: Value,
    help: &'static str,
) -> Column {
    Column { key, title, unit, help, value, thresholds: None }
}

/// A column of counters that grew.
const fn rate(
    key: &'static str,
    title: &'static str,
    unit: Unit,
    (measurement, fields): (&'static str, &'static [&'static str]),
    help: &'static str,
) -> Column {
    column(key, title, unit, Value::Of(grown(measurement, fields)), help)
}

/// What counters grew by.
const fn grown(measurement: &'static str, fields: &'static [&'static str]) -> Figure {
    Figure { measurement, fields, only: &[], how: How::Rate, across: Across::Sum, scale: 1.0 }
}

/// What counters of nanoseconds grew by, in per cent of the time that passed.
const fn share(measurement: &'static str, fields: &'static [&'static str]) -> Figure {
    Figure { scale: 1e-7, ..grown(measurement, fields) }
}

const fn now(measurement: &'static str, fields: &'static [&'static str]) -> Figure {
    Figure { how: How::Gauge, ..grown(measurement, fields) }
}

const fn highest(measurement: &'static str, fields: &'static [&'static str]) -> Figure {
    Figure { across: Across::Max, ..now(measurement, fields) }
}

impl Figure {
    const fn only(self, only: &'static [(&'static str, &'static str)]) -> Self {
        Self { only, ..self }
    }

    const fn busiest(self) -> Self {
        Self { across: Across::Max, ..self }
    }
}

impl Column {
    const fn marked(self, warn: f64, critical: f64) -> Self {
        Self { thresholds: Some(Thresholds { warn, critical }), ..self }
    }
}

/// The columns of rows: of these measurements of the row itself, and of what only cgroups have.
macro_rules! of_rows {
    ($cpu:literal, $mem:literal, $blkio:literal, $net:literal) => {
        &[
            &[column("cpu", "CPU%", Unit::Percent, Value::Of(share($cpu, &["usage_ns"])), "CPU time; 100 % is one CPU")],
            &[column(
                "mem",
                "MEM",
                Unit::Bytes,
                Value::Of(now($mem, &["working_set_bytes"])),
                "memory without page cache that is not in use",
            )],
            &[
                rate("rx", "RX/s", Unit::BytesPerSecond, ($net, &["rx_bytes"]), "received, from the IP header on"),
                rate("tx", "TX/s", Unit::BytesPerSecond, ($net, &["tx_bytes"]), "sent, from the IP header on"),
            ],
            &[
                rate("read", "READ/s", Unit::BytesPerSecond, ($blkio, &["read_bytes"]), "read from disks"),
                rate("write", "WRITE/s", Unit::BytesPerSecond, ($blkio, &["write_bytes"]), "written to disks"),
            ],
            &[rate("switches", "SWITCH/s", Unit::PerSecond, ($cpu, &["context_switches"]), "context switches")],
            &[column(
                "io_p99",
                "IO p99",
                Unit::Micros,
                Value::Of(highest($blkio, &["read_p99_us", "write_p99_us"])),
                "99th percentile of the time of a read or a write, on the slowest disk",
            )
            .marked(50_000.0, 500_000.0)],
            &[rate("packets", "PKT/s", Unit::PerSecond, ($net, &["rx_packets", "tx_packets"]), "packets, both ways")],
            &[column(
                "throttled",
                "THROT%",
                Unit::Percent,
                Value::Percent(grown("cgroup_cpu", &["nr_throttled"]), grown("cgroup_cpu", &["nr_periods"])),
                "periods in which the CPU quota was used up, of those in which it ran",
            )
            .marked(5.0, 25.0)],
            &[column(
                "mem_limit",
                "LIMIT%",
                Unit::Percent,
                Value::Percent(now($mem, &["working_set_bytes"]), now($mem, &["limit_bytes"])),
                "memory of its limit, where there is one",
            )
            .marked(80.0, 95.0)],
            &[column(
                "wait_p99",
                "WAIT p99",
                Unit::Micros,
                Value::Of(highest("cgroup_cpu", &["runqueue_wait_p99_us"])),
                "99th percentile of one wait for a CPU; with the probe `runqueue`",
            )
            .marked(10_000.0, 50_000.0)],
            &[column(
                "retransmits",
                "RETR%",
                Unit::Percent,
                Value::Percent(grown($net, &["tcp_retransmits"]), grown($net, &["tx_packets"])),
                "TCP segments sent again, of the packets sent; with the probe `tcp`",
            )
            .marked(1.0, 5.0)],
            &[
                column(
                    "psi_cpu",
                    "PSI cpu",
                    Unit::Percent,
                    Value::Of(highest("cgroup_pressure", &["some_avg10"]).only(&[("resource", "cpu")])),
                    "of the last 10 s, in which a task stood still for a CPU",
                )
                .marked(20.0, 60.0),
                column(
                    "psi_io",
                    "PSI io",
                    Unit::Percent,
                    Value::Of(highest("cgroup_pressure", &["some_avg10"]).only(&[("resource", "io")])),
                    "likewise for a disk",
                )
                .marked(10.0, 40.0),
                column(
                    "psi_mem",
                    "PSI mem",
                    Unit::Percent,
                    Value::Of(highest("cgroup_pressure", &["some_avg10"]).only(&[("resource", "memory")])),
                    "likewise for memory",
                )
                .marked(10.0, 40.0),
            ],
            &[column(
                "wait",
                "WAIT%",
                Unit::Percent,
                Value::Of(share("cgroup_cpu", &["runqueue_wait_ns"])),
                "time its tasks waited for a CPU; 100 % is one task that waits all the time; with the probe `runqueue`",
            )
            .marked(100.0, 400.0)],
            &[rate("ops", "IO/s", Unit::PerSecond, ($blkio, &["reads", "writes"]), "reads and writes of disks")],
            &[rate("io_errors", "IOERR/s", Unit::PerSecond, ($blkio, &["errors"]), "reads and writes that failed")
                .marked(ANY, ANY)],
            &[rate("refused", "DROP/s", Unit::PerSecond, ($net, &["tx_dropped_packets"]), "packets that a policy refused")],
            &[
                column("rss", "RSS", Unit::Bytes, Value::Of(now($mem, &["rss_bytes"])), "anonymous memory"),
                column("cache", "CACHE", Unit::Bytes, Value::Of(now($mem, &["cache_bytes"])), "page cache"),
            ],
            &[rate(
                "major_faults",
                "MAJFLT/s",
                Unit::PerSecond,
                ($mem, &["major_page_faults"]),
                "page faults that had to read from a disk",
            )
            .marked(100.0, 1_000.0)],
            &[rate("oom_kills", "OOM/s", Unit::PerSecond, ($mem, &["oom_kills"]), "processes that were OOM-killed")
                .marked(ANY, ANY)],
        ]
    };
}

pub(super) const OF_CGROUPS: &[&[Column]] =
    of_rows!("cgroup_cpu", "cgroup_mem", "cgroup_blkio", "cgroup_net");
pub(super) const OF_PODS: &[&[Column]] = of_rows!("pod_cpu", "pod_mem", "pod_blkio", "pod_net");

pub(super) const MACHINE: &[&[Column]] = &[
    &[
        column(
            "busy",
            "CPU%",
            Unit::Percent,
            Value::Rest(now("cpu", &["usage_idle"]).only(&[("cpu", "cpu-total")])),
            "of all CPUs",
        )
        .marked(85.0, 95.0),
        column("cpus", "CPUS", Unit::Count, Value::Of(now("system", &["n_cpus"])), "CPUs"),
    ],
    &[
        column("used", "USED", Unit::Bytes, Value::Of(now("mem", &["used"])), "memory that is in use"),
        column("total", "TOTAL", Unit::Bytes, Value::Of(now("mem", &["total"])), "memory of the machine"),
        column(
            "used_percent",
            "USED%",
            Unit::Percent,
            Value::Of(now("mem", &["used_percent"])),
            "memory in use",
        )
        .marked(85.0, 95.0),
    ],
    &[column(
        "load",
        "LOAD",
        Unit::Count,
        Value::Of(now("system", &["load1"])),
        "tasks that run or wait, over 1 minute",
    )],
    &[
        column(
            "steal",
            "STEAL%",
            Unit::Percent,
            Value::Of(now("cpu", &["usage_steal"]).only(&[("cpu", "cpu-total")])),
            "taken by the hypervisor",
        )
        .marked(5.0, 20.0),
        column(
            "iowait",
            "IOWAIT%",
            Unit::Percent,
            Value::Of(now("cpu", &["usage_iowait"]).only(&[("cpu", "cpu-total")])),
            "idle while I/O was outstanding",
        ),
    ],
    &[
        column(
            "rx",
            "RX/s",
            Unit::BytesPerSecond,
            Value::Of(grown("net", &["bytes_recv"]).busiest()),
            "received, by the busiest interface",
        ),
        column(
            "tx",
            "TX/s",
            Unit::BytesPerSecond,
            Value::Of(grown("net", &["bytes_sent"]).busiest()),
            "sent, by the busiest interface",
        ),
    ],
    &[rate(
        "net_errors",
        "NETERR/s",
        Unit::PerSecond,
        ("net", &["err_in", "err_out", "drop_in", "drop_out"]),
        "packets with an error, or dropped, of all interfaces",
    )],
    &[
        column(
            "read",
            "READ/s",
            Unit::BytesPerSecond,
            Value::Of(grown("diskio", &["read_bytes"]).busiest()),
            "read from the busiest disk",
        ),
        column(
            "write",
            "WRITE/s",
            Unit::BytesPerSecond,
            Value::Of(grown("diskio", &["write_bytes"]).busiest()),
            "written to the busiest disk",
        ),
        column(
            "io_util",
            "IOUTIL%",
            Unit::Percent,
            Value::Of(highest("diskio", &["io_util"])),
            "of the time, in which anything was under way on the busiest disk",
        ),
        column(
            "io_await",
            "AWAIT",
            Unit::Micros,
            Value::Of(Figure { scale: 1e3, ..highest("diskio", &["io_await"]) }),
            "mean time of a read or write on the slowest disk",
        )
        .marked(50_000.0, 500_000.0),
    ],
    &[
        column(
            "disk",
            "DISK%",
            Unit::Percent,
            Value::Of(highest("disk", &["used_percent"])),
            "of the fullest file system",
        )
        .marked(85.0, 95.0),
        column(
            "inodes",
            "INODE%",
            Unit::Percent,
            Value::Of(highest("disk", &["inodes_used_percent"])),
            "inodes of the fullest file system",
        )
        .marked(85.0, 95.0),
    ],
    &[column("swap", "SWAP%", Unit::Percent, Value::Of(now("swap", &["used_percent"])), "swap space in use")],
    &[
        column(
            "psi_cpu",
            "PSI cpu",
            Unit::Percent,
            Value::Of(highest("pressure", &["avg10"]).only(&[("resource", "cpu"), ("type", "some")])),
            "of the last 10 s, in which a task stood still for a CPU; with `collect = [\"psi\"]`",
        )
        .marked(20.0, 60.0),
        column(
            "psi_io",
            "PSI io",
            Unit::Percent,
            Value::Of(highest("pressure", &["avg10"]).only(&[("resource", "io"), ("type", "some")])),
            "likewise for a disk",
        )
        .marked(10.0, 40.0),
        column(
            "psi_mem",
            "PSI mem",
            Unit::Percent,
            Value::Of(highest("pressure", &["avg10"]).only(&[("resource", "memory"), ("type", "some")])),
            "likewise for memory",
        )
        .marked(10.0, 40.0),
    ],
    &[
        column("tasks", "TASKS", Unit::Count, Value::Of(now("processes", &["total"])), "processes"),
        column(
            "blocked",
            "BLOCKED",
            Unit::Count,
            Value::Of(now("processes", &["blocked"])),
            "processes that wait without being interruptible, mostly for a disk",
        ),
    ],
];

/// A part of the agent's own measurement.
const fn of_part(part: &'static [(&'static str, &'static str)], figure: Figure) -> Value {
    Value::Of(figure.only(part))
}

/// What was lost, which is always a trouble.
const fn lost(
    key: &'static str,
    title: &'static str,
    unit: Unit,
    part: &'static [(&'static str, &'static str)],
    figure: Figure,
    help: &'static str,
) -> Column {
    column(key, title, unit, of_part(part, figure), help).marked(ANY, ANY)
}

const RING: &[(&str, &str)] = &[("part", "ring")];
const OUTPUT: &[(&str, &str)] = &[("part", "output")];
const ITSELF: &[(&str, &str)] = &[("part", "agent")];

const fn own(fields: &'static [&'static str]) -> Figure {
    grown(SELF, fields)
}

pub(super) const AGENT: &[&[Column]] = &[
    &[
        column(
            "cpu",
            "CPU%",
            Unit::Percent,
            of_part(ITSELF, share(SELF, &["cpu_ns"])),
            "CPU time of the agent; 100 % is one CPU",
        )
        .marked(5.0, 50.0),
        column("rss", "RSS", Unit::Bytes, of_part(ITSELF, now(SELF, &["rss_bytes"])), "its resident memory"),
    ],
    &[column(
        "records",
        "REC/s",
        Unit::PerSecond,
        of_part(RING, own(&["records"])),
        "records read from the ring buffer",
    )],
    &[
        column(
            "gathered",
            "POINTS/s",
            Unit::PerSecond,
            of_part(ITSELF, own(&["gathered"])),
            "points gathered",
        ),
        column(
            "written",
            "WRITE/s",
            Unit::PerSecond,
            of_part(OUTPUT, own(&["written"])),
            "points stored on the other side",
        ),
        column(
            "waiting",
            "WAITING",
            Unit::Count,
            of_part(OUTPUT, highest(SELF, &["waiting"])),
            "points in the fullest buffer",
        ),
    ],
    &[
        lost(
            "lost_cpu",
            "LOST CPU",
            Unit::Percent,
            &[("part", "cpu")],
            share(SELF, &["overflow_ns"]),
            "CPU time whose row was lost",
        ),
        lost(
            "lost_io",
            "LOST IO",
            Unit::BytesPerSecond,
            &[("part", "blkio")],
            own(&["overflow_bytes"]),
            "block I/O whose row was lost",
        ),
        lost(
            "lost_net",
            "LOST NET",
            Unit::BytesPerSecond,
            &[("part", "net")],
            own(&["overflow_rx_bytes", "overflow_tx_bytes"]),
            "IP traffic whose row was lost",
        ),
        lost(
            "lost_records",
            "LOST REC",
            Unit::PerSecond,
            RING,
            own(&["undecodable", "lost_cgroup_events", "lost_oom_kills"]),
            "records that were lost, or not decoded",
        ),
        lost(
            "lost_points",
            "LOST PTS",
            Unit::PerSecond,
            OUTPUT,
            own(&["dropped_refused", "dropped_overflow"]),
            "points that the other side refused, or that a full buffer pushed out",
        ),
        lost(
            "lost_by_reload",
            "LOST RLD",
            Unit::PerSecond,
            ITSELF,
            own(&["lost"]),
            "points not written when their output ended with a reload",
        ),
    ],
    &[
        column(
            "failed_writes",
            "FAILED/s",
            Unit::PerSecond,
            of_part(OUTPUT, own(&["failed_writes"])),
            "writes that did not work",
        )
        .marked(ANY, 1.0),
        column(
            "gather_errors",
            "GATHERR/s",
            Unit::PerSecond,
            of_part(ITSELF, own(&["gather_errors", "missed_gathers"])),
            "gathers that gave less than they should, or were left out",
        )
        .marked(ANY, 1.0),
        column(
            "missed_runs",
            "MISSED/s",
            Unit::PerSecond,
            of_part(RING, own(&["missed_runs"])),
            "calls of probes that the kernel left out",
        )
        .marked(ANY, 100.0),
    ],
];
